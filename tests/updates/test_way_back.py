"""A release that was found good and then ends again and again: the unit comes back to the one before, and says so.

What the service says of an agent's end counts; a power cut says nothing. Nothing goes back to a release that is below
the signer's floor, that another one has overwritten, or that says itself that it cannot read what is there now.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import provisioning
from contract.durable_files import DurableFolder
from contract.errors import DeviceError
from contract.settings_schema import SettingsSchema
from contract.update_problems import UpdateProblem
from contract.updates import Artefact, TargetCustom, UpdateState
from edge import data_format, launcher
from edge.__main__ import _software_rows
from edge.launcher import BAD_ENDS_MAX, BOOT_ID, LIFE_FILE, SHORT_LIFE_S, Boot, BootEvent, BootFile, advance
from edge.package_slot import install
from edge.slot_check import main as check_main
from edge.slot_schema import schema_in
from edge.slots import Release, release_mark
from edge.software import version
from edge.update_client import Fetched
from tests.commissioning.test_configuration import OLD
from tests.commissioning.test_power_cuts import Cutter, PowerCut
from tests.unit.test_package_slot import wheelhouse
from tests.updates.campaign import BAD_RELEASES, ROOT
from tests.updates.repository import Repository, job_for
from tests.updates.test_launcher import LAUNCHER, fill, launch
from tests.updates.test_unit_updates import WHEELS, begun, proved
from tests.updates.unit_rig import Life, MarkingInstaller, Unit

CRASHED = {"SERVICE_RESULT": "signal", "EXIT_CODE": "killed", "EXIT_STATUS": "SEGV"}
STOPPED = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}
TO_PUT_RIGHT = {"SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited", "EXIT_STATUS": "2"}


def lived(file: BootFile, told: dict[str, str], seconds: float = 1.0, agent: tuple[str, ...] = ()) -> str:
    """A start, a life of so many seconds, and the service's word on its end; the slot that ran."""
    boot = file.choose(agent=agent)
    assert boot is not None
    file.begin_life()
    path = file.folder / LIFE_FILE
    machine, since_s = json.loads(path.read_bytes())
    path.write_text(json.dumps([machine, since_s - seconds]), encoding="utf-8")
    file.end_life(told)
    return boot.slot


@pytest.fixture
def file(tmp_path: Path) -> BootFile:
    """Slot b was found good after slot a."""
    for number, slot in enumerate("ab", 1):
        fill(tmp_path, slot, number=number)
    found = BootFile(tmp_path)
    found.write(advance(advance(Boot(), BootEvent.BEGIN, "j-1"), BootEvent.GOOD))
    return found


# --- when it comes back, and when not ---


def test_it_comes_back_once_after_so_many_bad_ends_in_a_row(file: BootFile, capfd: pytest.CaptureFixture[str]) -> None:
    ran = [lived(file, CRASHED) for _ in range(BAD_ENDS_MAX + 1)]
    assert ran == ["b"] * BAD_ENDS_MAX + ["a"]
    boot = file.read()
    assert (boot.good, boot.left, boot.came_back, boot.job) == ("a", "b", True, "j-1")
    assert boot.why == f"It ended 5 times in a row within {SHORT_LIFE_S:.0f} s of its start, at last: signal SEGV."
    assert f"Back to slot a: {boot.why}" in capfd.readouterr().err
    assert [lived(file, CRASHED) for _ in range(3 * BAD_ENDS_MAX)] == ["a"] * 3 * BAD_ENDS_MAX  # nowhere else to go


def test_a_power_cut_counts_for_nothing_however_many(file: BootFile) -> None:
    """A mobile kit's power flaps: nobody hears of the ends, and the next start is another boot of the machine."""
    before = file.read()
    for _ in range(40):
        assert file.choose() is not None
        file.begin_life()
    machine, since_s = json.loads((file.folder / LIFE_FILE).read_bytes())
    (file.folder / LIFE_FILE).write_text(json.dumps([f"not {machine}", since_s]), encoding="utf-8")
    file.end_life(CRASHED)
    assert file.read() == before
    file.end_life(CRASHED)  # and a life is judged once
    assert file.read() == before


@pytest.mark.parametrize("told", [STOPPED, TO_PUT_RIGHT, {}, {"SERVICE_RESULT": "start-limit-hit"}])
def test_who_was_stopped_or_says_what_to_put_right_neither_counts_nor_clears(
    file: BootFile, told: dict[str, str]
) -> None:
    for _ in range(BAD_ENDS_MAX - 1):
        lived(file, CRASHED)
        lived(file, told)
    assert file.read().bad_ends == BAD_ENDS_MAX - 1 and file.read().good == "b"
    lived(file, CRASHED)
    assert lived(file, STOPPED) == "a"


def test_a_long_life_clears_the_count_however_it_ended(file: BootFile) -> None:
    for told in (CRASHED, STOPPED):
        for _ in range(BAD_ENDS_MAX - 1):
            lived(file, CRASHED)
        lived(file, told, SHORT_LIFE_S + 1)
        assert file.read() == Boot(good="b", job="j-1", way_back=True)


@given(st.binary(max_size=60) | st.builds(
    lambda since, machine: json.dumps([machine, since]).encode(),
    st.none() | st.floats() | st.text(max_size=3), st.sampled_from([BOOT_ID.read_text(encoding="ascii"), ""]),
))  # fmt: skip
def test_a_spoiled_life_is_not_judged_or_is_a_bad_one(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = BootFile(tmp_path_factory.mktemp("slots"))
    file.write(Boot(good="b", way_back=True))
    (file.folder / LIFE_FILE).write_bytes(content)
    file.end_life(CRASHED)
    assert file.read().bad_ends in (0, 1)


def test_a_trial_is_not_counted_twice(file: BootFile) -> None:
    file.write(advance(file.read(), BootEvent.BEGIN, "j-2"))
    assert lived(file, CRASHED) == "a" and file.read() == Boot(good="b", trial="a", starts=1, job="j-2")


def test_a_slot_that_says_it_cannot_read_what_is_there_is_no_way_back(file: BootFile) -> None:
    fill(
        file.folder,
        "a",
        'echo "$@" > asked; echo "The data have form 2." >&2; exit 2'.replace("asked", f"{file.folder}/asked"),
    )
    agent = ("run", "--config", "/etc/rekam/unit.toml")
    assert [lived(file, CRASHED, agent=agent) for _ in range(BAD_ENDS_MAX + 1)] == ["b"] * (BAD_ENDS_MAX + 1)
    asked = (file.folder / "asked").read_text(encoding="utf-8").split()
    assert asked == ["-m", "edge.slot_check", "0.1.0", "--config", "/etc/rekam/unit.toml", "--cold"]
    boot = file.read()
    assert boot.stays.endswith("Slot a is no way back: The data have form 2.") and "5 times" in boot.stays
    assert (boot.bad_ends, boot.way_back) == (1, True)
    fill(file.folder, "a")  # the settings were put right meanwhile: it is asked again after as many
    assert [lived(file, CRASHED, agent=agent) for _ in range(BAD_ENDS_MAX)][-1] == "a"


def test_a_slot_that_is_not_whole_or_cannot_run_is_no_way_back(file: BootFile) -> None:
    (file.folder / "a" / "bin" / "python").write_text("#!/nowhere\n")
    for _ in range(BAD_ENDS_MAX):
        lived(file, CRASHED)
    assert lived(file, CRASHED) == "b" and "cannot be asked (FileNotFoundError)" in file.read().stays
    (file.folder / "a" / "release.json").unlink()
    for _ in range(BAD_ENDS_MAX):
        lived(file, CRASHED)
    assert "not whole" in file.read().stays
    lived(file, STOPPED, SHORT_LIFE_S + 1)
    assert file.read().stays == ""


def test_a_power_cut_at_every_write_of_the_way_back(tmp_path: Path) -> None:
    for at in range(1, 60):
        for number, slot in enumerate("ab", 1):
            fill(tmp_path / str(at), slot, number=number)
        BootFile(tmp_path / str(at)).write(Boot(good="b", job="j-1", way_back=True))
        file, cut = BootFile(tmp_path / str(at), cutter := Cutter(at)), False
        for _ in range(BAD_ENDS_MAX + 2):
            try:
                lived(file, CRASHED)
            except PowerCut:
                cut = True
                boot = file.read()
                assert boot.good in "ab" and boot.way_back == (boot.good == "b") and file.is_whole(boot.slot)
        assert file.read().good == "a" and file.read().came_back, cutter.places[at - 1 :]
        if not cut:
            break
    assert len(cutter.places) == 2 * (BAD_ENDS_MAX + 1)  # each bad end, and coming back: before and after


def test_what_earlier_software_wrote_is_read_and_has_no_way_back(file: BootFile) -> None:
    kept = {"format": 1, "good": "b", "trial": "", "starts": 0, "left": "", "why": "", "job": "j-1"}
    (file.folder / "boot.json").write_text(json.dumps(kept), encoding="utf-8")
    assert file.read() == Boot(good="b", job="j-1")
    for wrong in ({"way_back": 1}, {"bad_ends": "5"}, {"bad_ends": True}, {"came_back": None}):
        (file.folder / "boot.json").write_text(json.dumps({**kept, **wrong}), encoding="utf-8")
        assert file.read() == Boot()
    (file.folder / "boot.json").write_text(json.dumps({**kept, "bad_ends": 99}), encoding="utf-8")
    assert file.choose() == Boot(good="b", job="j-1", bad_ends=99)


def test_the_service_says_how_it_ended_and_a_hung_start_is_a_short_life() -> None:
    service = Path(provisioning.__file__).parent / "unit_package/root/lib/systemd/system/rekam-edge.service"
    text = service.read_text(encoding="utf-8")
    assert "\nExecStopPost=-/usr/bin/python3 /usr/lib/rekam/edge/launcher.py /var/lib/rekam/slots --ended\n" in text
    assert "\nTimeoutStartSec=5min\n" in text and launcher.CHECK_TIMEOUT_S < 300 < SHORT_LIFE_S


def test_as_the_service_runs_it(file: BootFile) -> None:
    fill(file.folder, "a", 'case "$*" in *slot_check*) exit 0;; esac; echo old')
    fill(file.folder, "b", "echo new; kill -SEGV $$", number=2)
    said = []
    for _ in range(BAD_ENDS_MAX + 1):
        said.append(launch(file.folder).stdout.strip())
        ended = [sys.executable, "-I", "-S", str(LAUNCHER), str(file.folder), "--ended"]
        subprocess.run(ended, env={**os.environ, **CRASHED}, check=True, timeout=30)
    assert said == ["new"] * BAD_ENDS_MAX + ["old"]


# --- what is written over, or must not run again, is no way back ---


def test_an_installation_forgets_the_way_back_before_it_writes(file: BootFile) -> None:
    house = wheelhouse(file.folder / "house")
    (house / "release.json").write_bytes(release_mark(Release(0, "9.0")))
    shutil.rmtree(file.folder / "a")
    (file.folder / "a").write_bytes(b"")  # nothing can be filled here
    with pytest.raises(OSError, match="a/release"):
        install(file.folder, house, file.folder)
    assert file.read() == Boot(good="b", job="j-1")


async def test_the_unit_tells_why_it_came_back_and_tries_the_release_by_a_new_job_only(unit: Unit) -> None:
    await begun(unit)
    await proved(unit)
    crash(unit, BAD_ENDS_MAX)
    updates = unit.updates()
    assert not updates.settle() and unit.running == Release(1, "0.1.0")
    report = updates.report()
    assert (report.state, report.problem, report.job) == (UpdateState.RETURNED, UpdateProblem.CAME_BACK, "j-2")
    assert "5 times in a row" in report.detail and report.running.slot == "a"
    found = dict(updates.status())
    assert "kembali ke yang sebelumnya" in found["problem_id"] and "signal SEGV" in found["problem_en"]
    assert "crash loop" in _software_rows(found)["Update's problem"]
    life = Life(unit, unit.updates())
    assert not life.updates.settle()
    await life.until(lambda: bool(life.line.said), job_for(2, "0.2.0"))
    assert life.line.states == [UpdateState.RETURNED] and not life.restarted.is_set()
    again = Life(unit, unit.updates())
    await again.until_settled(job_for(2, "0.2.0", job="j-again", issued_ms=99))
    assert again.restarted.is_set()
    assert (await proved(unit)).report().state is UpdateState.GOOD
    assert not unit.updates().settle() and unit.updates().report().problem is None


async def test_it_does_not_come_back_below_the_floor_of_a_signer(unit: Unit, repository: Repository) -> None:
    repository.add_release(3, "0.3.0", WHEELS, floor=3)
    await begun(unit, 3, "0.3.0")
    await proved(unit)
    crash(unit, 3 * BAD_ENDS_MAX)
    assert unit.running == Release(3, "0.3.0")


async def test_a_floor_that_comes_later_takes_the_way_back_away(unit: Unit, repository: Repository) -> None:
    await begun(unit)
    await proved(unit)
    assert unit.slots_folder is not None and BootFile(unit.slots_folder).read().way_back
    repository.add_release(3, "0.3.0", WHEELS, floor=2)
    life = Life(unit, unit.updates(), is_free=lambda: False)  # it is fetched, and not begun
    await life.until(lambda: UpdateState.READY in life.line.states, job_for(3, "0.3.0", issued_ms=9))
    assert not BootFile(unit.slots_folder).read().way_back


async def test_a_release_that_no_job_brought_is_told_all_the_same(unit: Unit) -> None:
    slots_, custom = unit.launch(), TargetCustom(artefact=Artefact.EDGE, number=2, version="0.2.0")
    assert slots_ is not None
    MarkingInstaller(slots_, Path()).install(Fetched(custom, Path()))
    slots_.begin("")
    await proved(unit)
    crash(unit, BAD_ENDS_MAX)
    updates = unit.updates()
    assert not updates.settle()
    assert (updates.report().state, updates.report().problem) == (None, UpdateProblem.CAME_BACK)


async def test_a_unit_that_cannot_come_back_says_so_until_it_runs_for_long(unit: Unit) -> None:
    await begun(unit)
    await proved(unit)
    assert unit.slots_folder is not None
    python = unit.slots_folder / "a" / "bin" / "python"
    python.write_text("#!/bin/sh\necho 'The data have form 2.' >&2; exit 2\n")
    crash(unit, BAD_ENDS_MAX)
    updates = unit.updates()
    assert not updates.settle()
    report = updates.report()
    assert (report.state, report.problem) == (UpdateState.GOOD, UpdateProblem.NO_WAY_BACK)
    assert "The data have form 2." in report.detail and "tidak dapat kembali" in str(updates.status()["problem_id"])
    lived(BootFile(unit.slots_folder), STOPPED, SHORT_LIFE_S + 1)
    after = unit.updates()
    assert not after.settle() and after.report().problem is None


async def test_a_power_cut_while_the_return_is_noted(unit: Unit) -> None:
    await begun(unit)
    await proved(unit)
    crash(unit, BAD_ENDS_MAX)
    for at in range(1, 9):
        try:
            unit.updates(Cutter(at)).settle()
            break
        except PowerCut:
            continue
    assert at > 3
    report = unit.updates().report()
    assert (report.state, report.problem) == (UpdateState.RETURNED, UpdateProblem.CAME_BACK)


@pytest.fixture
def repository() -> Repository:
    found = Repository()
    found.add_release(2, "0.2.0", WHEELS)
    return found


@pytest.fixture
def unit(tmp_path: Path, repository: Repository) -> Unit:
    return Unit(tmp_path, repository)


def crash(unit: Unit, times: int) -> None:
    assert unit.slots_folder is not None
    for _ in range(times):
        lived(BootFile(unit.slots_folder), CRASHED)


# --- the form of the data ---


def test_software_that_reads_less_than_the_disk_holds_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "unit.toml"
    path.write_text(OLD.replace('role = "desk"', 'role = "desk"\ndata_dir = "data"'), encoding="utf-8")
    (tmp_path / "data").mkdir()
    data_format.note(tmp_path / "data")
    asked = [version(), "--config", str(path), "--cold"]
    assert check_main(asked) == 0
    data_format.note(tmp_path / "data", data_format.READS + 1)
    assert check_main(asked) == 2 and "a newer one wrote them" in capsys.readouterr().err
    data_format.note(tmp_path / "data")  # it never sinks
    with pytest.raises(DeviceError):
        data_format.check(tmp_path / "data")
    (tmp_path / "data" / data_format.FORMAT_FILE).write_bytes(b"\xff")
    data_format.check(tmp_path / "data")
    assert launcher.PUT_RIGHT == 2


# --- the schema of settings goes with the release that brought it ---


def rule(attempts_max: int) -> bytes:
    return json.dumps({"properties": {"policy": {"properties": {"attempts_max": {"maximum": attempts_max}}}}}).encode()


def forbids(unit: Unit, attempts: int) -> str:
    """What the schema in force at the next start has against a setting."""
    updates, path = unit.updates(), unit.folder / "unit.toml"
    updates.settle()
    if not path.exists():
        path.write_text(OLD.replace("tls.crt", "keys/tls.crt"), encoding="utf-8")
    content = updates.schema_of_release() or DurableFolder(unit.keys).read("settings-schema.json")
    return SettingsSchema(content).objection({"policy": {"attempts_max": attempts}}) if content else ""


async def with_schemas(unit: Unit, repository: Repository) -> None:
    """Schema 1 came by itself; 0.2.0 brings schema 2, and 0.3.0 none."""
    only = TargetCustom(artefact=Artefact.CONFIGURATION_SCHEMA, number=1, version="1")
    repository.add("settings-1.json", rule(9), only)
    repository.add_release(2, "0.2.0", WHEELS, schema=("settings-2.json", 2, rule(4)))
    repository.add_release(3, "0.3.0", WHEELS)
    life = Life(unit, unit.updates())
    more = {"artefact": Artefact.CONFIGURATION_SCHEMA, "target": "settings-1.json"}
    await life.until_settled(job_for(1, "1", issued_ms=0, **more))
    assert "maximum 9" in forbids(unit, 10) and not forbids(unit, 9)
    await begun(unit, issued_ms=2)


async def test_a_return_restores_the_schema_that_was_in_force(unit: Unit, repository: Repository) -> None:
    await with_schemas(unit, repository)
    assert "maximum 4" in forbids(unit, 9)  # on trial it is part of the release
    await proved(unit, {"finger": "silent"})
    assert not forbids(unit, 9) and "maximum 9" in forbids(unit, 10)
    again = Life(unit, unit.updates())
    await again.until_settled(job_for(2, "0.2.0", job="j-again", issued_ms=9))
    await proved(unit)
    assert "maximum 4" in forbids(unit, 9) and unit.updates().running().schema_number == 2
    crash(unit, BAD_ENDS_MAX)
    assert not forbids(unit, 9) and unit.updates().running().schema_number == 1


async def test_the_next_release_without_a_schema_keeps_it_and_one_of_its_own_stays(
    unit: Unit, repository: Repository
) -> None:
    await with_schemas(unit, repository)
    await proved(unit)
    await begun(unit, 3, "0.3.0", issued_ms=9)
    await proved(unit)
    assert unit.running.number == 3 and "maximum 4" in forbids(unit, 9)
    repository.add("settings-5.json", rule(6), TargetCustom(
        artefact=Artefact.CONFIGURATION_SCHEMA, number=5, version="5"
    ))  # fmt: skip
    repository.publish()
    life = Life(unit, unit.updates())
    more = {"artefact": Artefact.CONFIGURATION_SCHEMA, "target": "settings-5.json"}
    await life.until_settled(job_for(5, "5", issued_ms=20, **more))
    assert "maximum 6" in forbids(unit, 9)
    crash(unit, BAD_ENDS_MAX)
    assert unit.updates().running().number == 2 and "maximum 6" in forbids(unit, 9)


@given(st.binary(max_size=80))
def test_a_spoiled_schema_in_a_slot_is_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    slot = tmp_path_factory.mktemp("a")
    (slot / launcher.SCHEMA_FILE).write_bytes(content)
    assert schema_in(slot).number >= 0


@pytest.mark.parametrize(("path", "change"), BAD_RELEASES.values(), ids=BAD_RELEASES)
def test_the_bad_releases_of_the_campaign_still_differ_from_the_product(path: str, change: tuple[str, str]) -> None:
    """`make updates` takes half an hour: it must not find out at the end that a line has moved."""
    assert (ROOT / path).read_text(encoding="utf-8").count(change[0]) == 1
