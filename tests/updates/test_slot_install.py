"""A release in a slot of its own, with the true venv and the true pip; what fails leaves no slot to be started."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import threading
from pathlib import Path

import pytest

from contract.errors import DeviceError
from contract.update_problems import UpdateProblem, UpdateRefusal
from contract.updates import Artefact, TargetCustom
from edge import slot_install
from edge.launcher import BootFile
from edge.slot_check import main as check_main
from edge.slot_install import Installer
from edge.slots import Release, Slots, release_mark
from edge.software import version
from edge.update_client import Fetched
from tests.commissioning.test_configuration import OLD
from tests.updates.wheels import FAILS, agent_wheel, make_wheel

PART = make_wheel("part", "1.0", {"part.py": "VALUE = 7\n"})


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "release.json").write_bytes(release_mark(Release(1, "0.1.0")))
    return Slots(tmp_path, "a", ("x",))


def fetched(folder: Path, *wheels: tuple[str, bytes], release: str = "0.2.0") -> Fetched:
    paths = []
    for name, content in wheels:
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    custom = TargetCustom(artefact=Artefact.EDGE, number=2, version=release)
    hashes = tuple(hashlib.sha256(content).hexdigest() for _, content in wheels)
    return Fetched(custom, folder / "manifest", tuple(paths), hashes)


def install(slots: Slots, found: Fetched) -> list[str]:
    """The steps that were done."""
    steps: list[str] = []
    Installer(
        slots, slots.folder / "unit.toml", lambda name, done: steps.append(name) if done else None
    ).install(found)  # fmt: skip
    return steps


def refused(slots: Slots, found: Fetched) -> str:
    with pytest.raises(UpdateRefusal) as refusal:
        install(slots, found)
    assert refusal.value.problem is UpdateProblem.INSTALL_FAILED
    assert slots.release("b") is None and not BootFile(slots.folder).is_whole("b")
    return refusal.value.detail


def test_a_release_is_installed_over_what_was_there(slots: Slots, tmp_path: Path) -> None:
    left_over = tmp_path / "b" / "lib" / "left-over.py"
    left_over.parent.mkdir(parents=True)
    left_over.touch()
    good = fetched(tmp_path, agent_wheel("0.2.0", requires=["part>=1"]), PART)
    assert install(slots, good) == ["clear", "environment", "packages", "check", "sync", "mark"]
    assert slots.release("b") == Release(2, "0.2.0") and not left_over.exists()
    python = tmp_path / "b" / "bin" / "python"
    said = subprocess.run([python, "-c", "import part; print(part.VALUE)"], capture_output=True, text=True, check=True)
    assert said.stdout == "7\n"


def test_what_the_system_brings_neither_replaces_a_wheel_nor_forbids_one(
    slots: Slots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package's slot sees the system's packages: the same version as a wheel's, and one that lacks its own needs."""
    system = tmp_path / "system"
    for name, needs in (("part", ""), ("pygobject", "Requires-Dist: pycairo\n")):
        info = system / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
    ours = slot_install._environment
    monkeypatch.setattr(slot_install, "_environment", lambda: {**ours(), "PYTHONPATH": str(system)})
    install(slots, fetched(tmp_path, agent_wheel("0.2.0", requires=["part>=1"]), PART))
    assert list((tmp_path / "b").rglob("site-packages/part.py"))


def test_wheels_that_do_not_fit_each_other_are_not_installed(slots: Slots, tmp_path: Path) -> None:
    needs = ["part>=2", "absent", "pip; extra == 'x'", "nothing; python_version < '3'"]
    said = refused(slots, fetched(tmp_path, agent_wheel("0.2.0", requires=needs), PART))
    assert "needs part>=2, and here is 1.0" in said and "absent, which is absent" in said and "nothing" not in said


def test_a_wheel_that_changed_on_the_disk_is_not_installed(slots: Slots, tmp_path: Path) -> None:
    found = fetched(tmp_path, agent_wheel("0.2.0"))
    found.wheels[0].write_bytes(agent_wheel("0.2.0", FAILS)[1])
    assert "hash" in refused(slots, found).lower()


def test_nothing_is_installed_while_a_step_of_one_that_was_killed_still_writes(slots: Slots, tmp_path: Path) -> None:
    found = fetched(tmp_path, agent_wheel("0.2.0"))
    installer = Installer(slots, tmp_path / "unit.toml")
    with (tmp_path / "install.lock").open("a") as held:  # as the orphan's inherited descriptor
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(0.3, installer.stop).start()
        with pytest.raises(DeviceError):
            installer.install(found)
    assert not (tmp_path / "b").exists()


def test_an_installation_that_is_stopped_leaves_no_mark(slots: Slots, tmp_path: Path) -> None:
    installer = Installer(slots, tmp_path / "unit.toml", lambda name, done: installer.stop() if done else None)
    with pytest.raises(DeviceError):
        installer.install(fetched(tmp_path, agent_wheel("0.2.0")))
    assert slots.release("b") is None


def test_a_release_looks_at_itself_before_it_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "unit.toml"
    config.write_text(OLD, encoding="utf-8")
    assert check_main([version(), "--config", str(config), "--cold"]) == 0
    assert check_main(["9.9.9", "--config", str(config), "--cold"]) == 2
    assert "says that it is 9.9.9" in capsys.readouterr().err
    config.write_text(OLD + "\n[policy2]\nx = 1\n", encoding="utf-8")
    assert check_main([version(), "--config", str(config), "--cold"]) == 2
    assert "policy2" in capsys.readouterr().err
