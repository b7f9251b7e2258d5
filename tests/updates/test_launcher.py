"""The launcher and its rules: one of the two slots can always be started, and a bad one is left by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import provisioning
from contract.errors import DeviceError
from edge import launcher
from edge.launcher import BOOT_FILE, GOOD_WITHIN_S, NO_SLOT, NO_START, STARTS_MAX, Boot, BootEvent, BootFile, advance
from edge.slots import Release, Slots, read_release, release_mark, slots_of
from tests.commissioning.test_power_cuts import Cutter, PowerCut

LAUNCHER = Path(launcher.__file__)


def fill(folder: Path, slot: str, script: str = "exit 0", number: int = 1) -> None:
    """A slot whose interpreter is a shell script."""
    python = folder / slot / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    (folder / slot / "release.json").write_bytes(release_mark(Release(number, f"0.{number}.0")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, slot in enumerate("ab", 1):
        fill(tmp_path, slot, number=number)
    return tmp_path


def slots(folder: Path, own: str = "a") -> Slots:
    found = slots_of(
        {"REKAM_SLOTS": str(folder), "REKAM_SLOT": own, "REKAM_LAUNCHER": '["python3"]'}, prefix=folder / own
    )
    assert found is not None
    return found


def launch(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(LAUNCHER), str(folder), *options, "--", "run", "--config", "x.toml"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


# --- the rules ---


def test_good_and_trial_are_never_one_slot() -> None:
    seen, todo = set(), [Boot()]
    while todo:
        boot = todo.pop()
        assert boot.trial != boot.good and boot.slot in "ab" and 0 <= boot.starts <= STARTS_MAX
        assert boot.trial or boot.starts == 0
        if boot in seen:
            continue
        seen.add(boot)
        assert not boot.bad_ends or (boot.way_back and not boot.trial)
        for event in BootEvent:
            try:
                todo.append(advance(boot, event, "why"))
            except ValueError:
                needs_a_way_back = event in (BootEvent.BACK, BootEvent.STAY)
                assert event not in (BootEvent.GOOD, BootEvent.LEAVE) or not boot.trial
                assert event is not BootEvent.BEGIN or boot.trial
                assert not needs_a_way_back or boot.trial or not boot.way_back
                assert event is not BootEvent.START
    assert len(seen) < 400  # it was all of them


def test_a_trial_is_left_after_as_many_starts() -> None:
    boot = advance(Boot(), BootEvent.BEGIN)
    for start in range(1, STARTS_MAX + 1):
        boot = advance(boot, BootEvent.START)
        assert (boot.slot, boot.starts) == ("b", start)
    boot = advance(boot, BootEvent.START)
    assert (boot.slot, boot.left) == ("a", "b") and f"{STARTS_MAX} times" in boot.why


def test_a_slot_found_good_stays_and_the_other_may_be_written() -> None:
    boot = advance(advance(advance(Boot(), BootEvent.BEGIN, "j-1"), BootEvent.START), BootEvent.GOOD)
    assert boot == Boot(good="b", job="j-1", way_back=True) and boot.other == "a"
    assert advance(boot, BootEvent.START) == boot  # no count, and no write


# --- its disk ---


@given(st.binary(max_size=60) | st.dictionaries(
    st.sampled_from(["good", "trial", "starts", "left", "why", "job", "way_back", "bad_ends"]),
    st.none() | st.integers() | st.sampled_from("abc") | st.booleans(),
).map(lambda found: json.dumps(found).encode()))  # fmt: skip
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_spoiled_file_still_starts_a_whole_slot(folder: Path, content: bytes) -> None:
    (folder / BOOT_FILE).write_bytes(content)
    boot = BootFile(folder).choose()
    assert boot is not None and boot.slot in "ab"


@pytest.mark.parametrize(("first", "second"), list(product([True, False], repeat=2)))
def test_what_is_not_whole_is_not_started(tmp_path: Path, first: bool, second: bool) -> None:
    for slot, whole in (("a", first), ("b", second)):
        fill(tmp_path, slot)
        if not whole:
            (tmp_path / slot / "release.json").unlink()
    file = BootFile(tmp_path)
    file.write(Boot(good="a", trial="b"))
    boot = file.choose()
    assert (boot.slot if boot else "") == ("b" if second else "a" if first else "")
    if first and not second:
        assert boot is not None and "not whole" in boot.why and boot.left == "b"


def life(folder: Path, cutter: Cutter, *, well: bool) -> str:
    """A start and what the agent does then; the slot that ran. Raises PowerCut."""
    file = BootFile(folder, cutter)
    boot = file.choose()
    assert boot is not None
    agent = Slots(folder, "b" if boot.slot == "b" else "a", ("x",), cutter)
    if agent.is_on_trial:
        agent.found_good() if well else agent.leave("finger: silent")
    elif not boot.left and boot.good == "a":
        agent.begin("j-1")
    return boot.slot


@pytest.mark.parametrize("well", [True, False])
def test_a_power_cut_at_every_write_starts_one_of_the_two(tmp_path: Path, well: bool) -> None:
    for at in range(1, 100):
        folder = tmp_path / str(at)
        for number, slot in enumerate("ab", 1):
            fill(folder, slot, number=number)
        cutter = Cutter(at)
        ran = []
        for _ in range(8):
            try:
                ran.append(life(folder, cutter, well=well))
            except PowerCut:
                ran.append("cut")
        assert ran[-1] == ("b" if well else "a"), (cutter.places[at - 1], ran)
        if "cut" not in ran:
            break
    assert at > 6  # begun, counted, settled: before and after each


# --- as a process ---


def test_it_becomes_the_agent_of_the_good_slot_and_tells_it_how_to_be_launched_again(folder: Path) -> None:
    fill(folder, "a", 'echo "$$ $*"; env')
    ran = launch(folder)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split("\n")[0].endswith("-m edge run --config x.toml")
    told = dict(line.split("=", 1) for line in ran.stdout.split("\n") if "=" in line)
    assert (told["REKAM_SLOT"], told["REKAM_SLOTS"]) == ("a", str(folder)) and "PYTHONPATH" not in told
    found = slots_of(told, prefix=folder / "a")
    assert found is not None and found.command[:2] == (sys.executable, str(LAUNCHER))
    assert found.good_within_s == GOOD_WITHIN_S
    again = subprocess.run(found.command, capture_output=True, text=True, timeout=30, check=True)
    assert again.stdout.split("\n")[0].endswith("-m edge run --config x.toml")
    assert not (folder / BOOT_FILE).exists()  # nothing changed, nothing was written


def test_one_that_crashes_each_time_is_left(folder: Path) -> None:
    fill(folder, "a", "echo good")
    fill(folder, "b", "echo new; exit 1")
    slots(folder).begin("j-1")
    said = [launch(folder).stdout.strip() for _ in range(STARTS_MAX + 2)]
    assert said == ["new"] * STARTS_MAX + ["good"] * 2
    assert "3 times" in slots(folder).boot.why


def test_one_that_hangs_is_ended_and_left(folder: Path) -> None:
    fill(folder, "b", "exec sleep 60")
    slots(folder).begin("j-1")
    started = time.monotonic()
    assert launch(folder, "--good-within-s", "0.3").returncode == -signal.SIGKILL
    assert time.monotonic() - started < 20
    boot = slots(folder).boot
    assert (boot.slot, boot.left) == ("a", "b") and "within 0 s" in boot.why


def test_the_watcher_leaves_one_that_was_found_good_alone(folder: Path) -> None:
    write = json.dumps(json.dumps(asdict(Boot(good="b"))))
    fill(folder, "b", f"printf '%s' {write} > {folder}/boot.json; sleep 0.8; echo done")
    slots(folder).begin("j-1")
    assert launch(folder, "--good-within-s", "0.3").stdout == "done\n"
    assert slots(folder).boot == Boot(good="b")


def test_the_watcher_of_a_trial_that_was_left_does_not_end_the_next_one(folder: Path) -> None:
    """Both are starts of one process, which the agent turned into the launcher again."""
    file, agent = BootFile(folder), subprocess.Popen(["sleep", "60"])
    try:
        file.write(advance(Boot(), BootEvent.BEGIN, "j-1"))
        first = file.choose()
        assert first is not None
        file.write(advance(advance(first, BootEvent.LEAVE, "finger: silent"), BootEvent.BEGIN, "j-2"))
        second = file.choose()
        launcher.watch(file, first, os.pidfd_open(agent.pid), 0)
        assert file.read() == second and agent.poll() is None
    finally:
        agent.kill()
        agent.wait()


def test_on_a_disk_that_takes_nothing_the_good_slot_serves(folder: Path) -> None:
    """A release on trial that filled the disk is not started again, though nobody could count its starts."""
    fill(folder, "a", "echo good")
    fill(folder, "b", "echo new; exit 1")
    slots(folder).begin("j-1")
    (folder / ".boot.json.draft").mkdir()
    assert [launch(folder).stdout.strip() for _ in range(2)] == ["good"] * 2
    assert not slots(folder).is_left and slots(folder, "b").is_on_trial
    (folder / ".boot.json.draft").rmdir()
    assert launch(folder).stdout.strip() == "new"


def test_an_agent_that_ends_takes_its_watcher_with_it(folder: Path) -> None:
    fill(folder, "b", "exit 3")
    slots(folder).begin("j-1")
    assert launch(folder, "--good-within-s", "3600").returncode == 3
    assert not list(watchers(folder))


def watchers(folder: Path) -> Iterator[str]:
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder) in line.read_text():
                yield line.read_text()
        except OSError:
            continue


def test_with_nothing_to_run_it_says_what_to_do(tmp_path: Path) -> None:
    ran = launch(tmp_path)
    assert ran.returncode == NO_SLOT and "Install the Debian package" in ran.stderr
    assert launch(tmp_path / "nowhere").returncode == NO_SLOT


def test_the_service_gives_up_without_a_slot_and_only_then(folder: Path) -> None:
    """An interpreter that cannot be executed today is tried again; a trial is left after as many starts as ever."""
    (folder / "b" / "bin" / "python").write_text("#!/nowhere\n")
    slots(folder).begin("j-1")
    fill(folder, "a", "echo good")
    assert [launch(folder).returncode for _ in range(STARTS_MAX)] == [NO_START] * STARTS_MAX
    assert launch(folder).stdout == "good\n"
    service = Path(provisioning.__file__).parent / "unit_package/root/lib/systemd/system/rekam-edge.service"
    assert f"RestartPreventExitStatus={NO_SLOT}\n" in service.read_text(encoding="utf-8")


# --- as the agent sees it ---


def test_an_agent_that_nobody_launched_has_no_slots(folder: Path) -> None:
    told = {"REKAM_SLOTS": str(folder), "REKAM_SLOT": "a", "REKAM_LAUNCHER": '["python3"]'}
    assert slots_of({}) is None and slots_of(told) is None  # this interpreter is in no slot
    for wrong in ({"REKAM_SLOT": "c"}, {"REKAM_LAUNCHER": "x"}, {"REKAM_LAUNCHER": "[]"}, {"REKAM_LAUNCHER": "[1]"}):
        assert slots_of(told | wrong, prefix=folder / "a") is None


def test_the_slots_say_what_they_hold(folder: Path) -> None:
    found = slots(folder)
    assert (found.release("a"), found.release("b")) == (Release(1, "0.1.0"), Release(2, "0.2.0"))
    (folder / "b" / "release.json").unlink()
    assert found.release("b") is None and read_release(folder / "b") == Release()
    with pytest.raises(DeviceError):
        found.found_good()
    found.begin("j-1")
    with pytest.raises(DeviceError):
        found.begin("j-1")


def test_the_launcher_needs_nothing_but_the_interpreter() -> None:
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCHER), "--help"], capture_output=True, text=True, check=True, timeout=30
    )
    assert "boot.json" in ran.stdout and GOOD_WITHIN_S >= 300
    assert replace(Boot(), good="b").other == "a" and os.access(LAUNCHER, os.R_OK)
