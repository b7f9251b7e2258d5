"""The unit's Debian package without its wheels: contents, same bytes twice, what systemd says of its units."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from contract.errors import DeviceError
from edge.config import TimeTable
from edge.factory import load_factory
from provisioning.unit_package.__main__ import LOCK
from provisioning.unit_package.package import HERE, Release, make_package
from provisioning.unit_package.sysroot import MACHINES
from provisioning.unit_package.unit_wheel import PROJECT, build_unit_wheel
from provisioning.unit_package.wheels import NO_WHEELS, hashed, pins

EPOCH = 1_795_000_000
RELEASE = Release("0.1.0", 0, EPOCH)
UNITS = HERE / "root/lib/systemd/system"
EXPOSURE_MAX = 20  # in tenths; unprotected services have 96
SERVICES = ("rekam-edge.service", "rekam-edge-anew.service", "rekam-time-servers.service")
WIRES = {"ttyUSB", "ttyACM", "ttyAMA", "ttyS", "video4linux", "media", "dma_heap", "i2c", "gpiochip", "input", "hidraw",
         "usb_device", "usb", "tpm"}  # fmt: skip

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own wheel."""
    return build_unit_wheel(tmp_path_factory.mktemp("own"), RELEASE.version, EPOCH)


@pytest.fixture(scope="module")
def package(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with that wheel alone."""
    folder = tmp_path_factory.mktemp("deb")
    return make_package([wheel], MACHINES["arm64"], RELEASE, folder / "work", folder / "out")


def members(package: Path) -> Iterator[tarfile.TarInfo]:
    """The files that a package installs."""
    listed = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=listed.stdout, mode="r|") as archive:
        yield from archive
    listed.wait()


@needs_dpkg
def test_two_builds_give_the_same_bytes(package: Path, tmp_path: Path) -> None:
    again = build_unit_wheel(tmp_path / "elsewhere", RELEASE.version, EPOCH)
    other = make_package([again], MACHINES["arm64"], RELEASE, tmp_path / "work", tmp_path / "out")
    assert other.name == package.name == "rekam-edge_0.1.0_arm64.deb"
    assert other.read_bytes() == package.read_bytes()


@needs_dpkg
def test_what_it_installs_is_owned_by_root_and_written_by_nobody_else(package: Path) -> None:
    found = {member.name.removeprefix("."): member for member in members(package)}
    for member in found.values():
        assert (member.uid, member.gid, member.mtime) == (0, 0, EPOCH), member.name
        assert not member.mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID), member.name
    runs = {name for name, member in found.items() if member.isfile() and member.mode & stat.S_IXUSR}
    assert runs == {"/usr/bin/rekam-edge"}
    wanted = {
        "/usr/lib/rekam/edge/launcher.py", "/usr/lib/rekam/edge/package_slot.py",
        "/usr/lib/rekam/wheelhouse/requirements.txt", "/usr/lib/clock-epoch",
        "/lib/systemd/system/rekam-edge.service", "/lib/udev/rules.d/70-rekam-edge.rules",
        "/usr/lib/sysusers.d/rekam-edge.conf", "/usr/lib/tmpfiles.d/rekam-edge.conf", "/etc/rekam/factory.toml",
        "/usr/lib/systemd/journald.conf.d/50-rekam-edge.conf", "/usr/lib/systemd/timesyncd.conf.d/50-rekam-edge.conf",
        "/usr/share/polkit-1/rules.d/60-rekam-edge.rules", "/usr/share/doc/rekam-edge/copyright",
    }  # fmt: skip
    assert wanted <= set(found), wanted - set(found)


@needs_dpkg
def test_its_control_fields(package: Path) -> None:
    fields = dict(
        line.partition(": ")[::2]
        for line in subprocess.check_output(["dpkg-deb", "--field", str(package)], text=True).splitlines()
        if not line.startswith(" ")
    )
    assert (fields["Package"], fields["Version"], fields["Architecture"]) == ("rekam-edge", "0.1.0", "arm64")
    assert {"pcscd", "libpcsclite1", "sane-utils", "python3-venv", "polkitd"} <= set(fields["Depends"].split(", "))
    assert int(fields["Installed-Size"]) > 1000
    # What a person may change stays theirs.
    control = subprocess.check_output(["dpkg-deb", "--info", str(package), "conffiles"], text=True)
    assert control.split() == ["/etc/rekam/factory.toml"]


def test_the_wheel_holds_what_a_unit_runs_and_nothing_else(wheel: Path) -> None:
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
        assert archive.read("edge/built.txt").decode() == f"{EPOCH}\n"
    rooms = {name.partition("/")[0] for name in names}
    assert rooms - {"rekam-0.1.0.dist-info"} == {"contract", "edge", "firmware"}
    assert "edge/matcher_lite/finger_quality.tflite" in names
    assert "edge/screens/templates/commissioning.html" in names
    assert re.findall(r"^rekam-\w+", entry_points, re.MULTILINE) == ["rekam-edge", "rekam-match"]


@pytest.mark.parametrize("architecture", sorted(MACHINES))
def test_the_lock_names_all_that_a_unit_needs_and_nothing_of_another_version(architecture: str) -> None:
    found = pins(LOCK.read_text(encoding="utf-8"), MACHINES[architecture])
    names = [pin.name for pin in found]
    assert len(set(names)) == len(names)
    assert all("--hash=sha256:" in pin.text and ";" not in pin.text for pin in found)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    machine = MACHINES[architecture].machine
    for line in [*project["dependencies"], *extras["edge"], *extras["pi"]]:
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"platform_machine": machine}):
            assert canonicalize_name(wanted.name) in names, line
    whole = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    for pin in found:
        stated = re.search(rf"^{re.escape(pin.name)}==(\S+)", whole, re.MULTILINE)
        assert stated is None or f"=={stated[1]} " in pin.text.splitlines()[0], pin.name
    assert (architecture == "arm64") == ("lgpio" in names)
    assert {"pyscard", "wsq"} <= NO_WHEELS & set(names)


def test_a_package_that_the_lock_lacks_is_named() -> None:
    with pytest.raises(DeviceError, match="no-such-thing"):
        pins(LOCK.read_text(encoding="utf-8"), MACHINES["arm64"], ["numpy", "no-such-thing"])


def test_requirements_pin_these_very_files(wheel: Path) -> None:
    assert re.fullmatch(r"rekam==0\.1\.0 --hash=sha256:[0-9a-f]{64}\n", hashed([wheel]))


def test_the_box_that_the_package_leaves_asks_the_machine_for_its_serial(tmp_path: Path) -> None:
    shutil.copy(HERE / "root/etc/rekam/factory.toml", tmp_path)
    tables = tomllib.loads((tmp_path / "factory.toml").read_text())
    assert tables == {}
    if Path("/etc/machine-id").is_file() and Path("/etc/machine-id").read_text().strip():
        assert load_factory(tmp_path).serial
    assert TimeTable().servers == ""


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened(name: str) -> None:
    found = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", str(UNITS / name)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout.splitlines()[-1:]


@needs_systemd
def test_systemd_finds_nothing_to_complain_of() -> None:
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, sorted(UNITS.iterdir()))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [
        line for line in (found.stdout + found.stderr).splitlines() if "rekam" in line and "not executable" not in line
    ]
    assert (found.returncode, ours) == (0, [])


def test_the_agent_is_watched_and_opens_only_wires_of_drivers() -> None:
    text = (UNITS / "rekam-edge.service").read_text(encoding="utf-8")
    for line in (
        "Type=notify",
        "User=rekam",
        "WatchdogSec=30s",
        "LimitCORE=0",
        "DevicePolicy=closed",
        "CapabilityBoundingSet=",
    ):
        assert f"\n{line}\n" in text, line
    assert set(re.findall(r"^DeviceAllow=char-(\S+) rw$", text, re.MULTILINE)) == WIRES
    assert text.count("DeviceAllow=") == len(WIRES)


def test_the_mark_of_a_package_says_its_release(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", str(package), str(tmp_path)], check=True)
    mark = json.loads((tmp_path / "usr/lib/rekam/wheelhouse/release.json").read_text())
    assert mark == {"number": 0, "version": "0.1.0"}
