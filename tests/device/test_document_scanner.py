"""Papers on a real SANE scanner: the test backend of SANE itself, with every status that it can return."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import CaptureRetry, DeviceError
from edge.config import PolicyTable
from edge.device_bench import DeviceBench
from edge.sensors.drivers import open_driver
from edge.sensors.interface import DocumentScanner
from edge.sensors.scanner_sane import JAMMED, MEMORY, PREFIX, PaperTrouble, SaneScanner, clear_abandoned, list_scanners
from edge.sensors.worker import WorkerState

pytestmark = pytest.mark.skipif(shutil.which("scanimage") is None, reason="sane-utils is not installed")
NEVER = threading.Event()
FEEDER = "Automatic Document Feeder"


def scanner(**settings: object) -> DocumentScanner:
    table = {
        "driver": "sane",
        "device": "test",
        "resolution_ppi": 75,
        "width_mm": 100.0,
        "height_mm": 150.0,
        **settings,
    }
    made = open_driver("scanner", table)
    assert isinstance(made, DocumentScanner)
    return made


def leftovers() -> list[Path]:
    return list(MEMORY.glob(f"{PREFIX}{os.getpid()}-*"))


def test_a_page_on_the_glass() -> None:
    device = scanner(options="--test-picture=Grid")
    info = device.open()
    assert info.driver == "sane"
    assert info.firmware
    (page,) = device.scan(20, NEVER)
    assert page.ppi == 75
    assert page.pixels.shape == (442, 295)  # 150 × 100 mm
    assert 20 < page.pixels.mean() < 235
    device.close()
    with pytest.raises(DeviceError, match="not open"):
        device.scan(1, NEVER)
    assert leftovers() == []


def test_every_page_in_the_feeder_and_in_colour() -> None:
    device = scanner(source=FEEDER, mode="Color", options="--test-picture='Color pattern'")
    device.open()
    pages = device.scan(30, NEVER)
    assert len(pages) == 10  # SANE's test feeder holds ten
    assert pages[0].pixels.shape == (442, 295, 3)
    few = scanner(source=FEEDER, pages_max=3)
    few.open()
    assert len(few.scan(30, NEVER)) == 3
    more = scanner(source=FEEDER, pages_max=15)
    more.open()
    assert len(more.scan(30, NEVER)) == 10, "a feeder that runs empty has given what it held"


@pytest.mark.parametrize(
    ("status", "words"), [("JAMMED", "jammed"), ("NO_DOCS", "no paper"), ("COVER_OPEN", "cover is open")]
)
def test_what_a_hand_can_put_right_is_advice_in_both_languages(status: str, words: str) -> None:
    device = scanner(source=FEEDER, options=f"--read-return-value=SANE_STATUS_{status}")
    device.open()
    with pytest.raises(PaperTrouble, match=words) as caught:
        device.scan(60, NEVER)
    assert caught.value.advice_id
    assert leftovers() == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("DEVICE_BUSY", "in use"),
        ("IO_ERROR", "does not answer"),
        ("ACCESS_DENIED", "may not be used"),
        ("NO_MEM", "Out of memory"),
        ("UNSUPPORTED", "not supported"),
        ("EOF", "cannot"),
    ],
)
def test_everything_else_is_the_technicians(status: str, words: str) -> None:
    device = scanner(options=f"--read-return-value=SANE_STATUS_{status}")
    device.open()
    with pytest.raises(DeviceError, match=words) as caught:
        device.scan(20, NEVER)
    assert caught.value.next_step
    assert leftovers() == []


@pytest.mark.parametrize("end", ["cancel", "deadline"])
def test_a_slow_scan_can_be_ended_and_the_next_one_works(end: str) -> None:
    slow = scanner(options="--read-delay=yes --read-delay-duration=200000 --read-limit=yes --read-limit-size=100")
    slow.open()
    cancel = threading.Event()
    started = time.monotonic()
    if end == "cancel":
        threading.Timer(0.2, cancel.set).start()
        with pytest.raises(CaptureRetry, match="cancelled"):
            slow.scan(60, cancel)
    else:
        with pytest.raises(DeviceError, match="in time"):
            slow.scan(0.3, NEVER)
    assert time.monotonic() - started < 8
    assert leftovers() == []
    device = scanner()
    device.open()
    assert len(device.scan(20, NEVER)) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": "no-such-scanner"}, "cannot scan"),
        ({"options": "--no-such-option=1"}, "unrecognized option"),
        ({"mode": "Sepia"}, "cannot scan"),
    ],
)
def test_a_wrong_table_says_what_to_compare(settings: dict[str, object], words: str) -> None:
    with pytest.raises(DeviceError, match=words) as caught:
        scanner(**settings).open()
    assert "scanimage -L" in caught.value.next_step


@pytest.mark.parametrize(
    "settings", [{"resolution_ppi": 2400}, {"pages_max": 500}, {"options": "--batch=/etc/x"}, {"options": "-o /etc/x"}]
)
def test_no_table_can_ask_for_more_than_fits_or_write_elsewhere(settings: dict[str, object]) -> None:
    with pytest.raises(DeviceError):
        scanner(**settings)


def test_pages_that_are_too_large_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.sensors.scanner_sane.SCAN_BYTES_MAX", 442 * 295 * 2)
    device = scanner(source=FEEDER, pages_max=2)
    device.open()
    assert len(device.scan(30, NEVER)) == 2
    device = scanner(source=FEEDER, pages_max=3)
    device.open()
    with pytest.raises(DeviceError, match="too large together"):
        device.scan(30, NEVER)
    assert leftovers() == []


def test_a_program_that_floods_crashes_or_ignores_its_end_is_contained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "scanimage"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    batch = 'for a in "$@"; do case $a in --batch=*) f=${a#--batch=};; esac; done'
    for script, words in (
        ("trap '' INT TERM; sleep 60", "in time"),
        (f"{batch}; echo nonsense >$(printf $f 1)", "cannot be read"),
        (f"{batch}; head -c 70000000 /dev/zero >$(printf $f 1); sleep 60", "too large"),
        ("kill -SEGV $$", "cannot scan"),
    ):
        program.write_text(f'#!/bin/bash\ncase "$*" in *--dont-scan*|-V) exit 0;; esac\n{script}\n')
        program.chmod(0o755)
        device = SaneScanner(device="test")
        device.open()
        with pytest.raises(DeviceError, match=words):
            device.scan(1.0, NEVER)
        assert leftovers() == []


def test_pages_before_a_jam_are_given_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (60, 80), 200).save(tmp_path / "sheet.png")
    program = tmp_path / "scanimage"
    program.write_text(
        f"""#!/bin/bash
case "$*" in *--dont-scan*|-V) exit 0;; esac
for a in "$@"; do case $a in --batch=*) f=${{a#--batch=}};; esac; done
cp {tmp_path}/sheet.png $(printf $f 1); cp {tmp_path}/sheet.png $(printf $f 2)
head -c 90 {tmp_path}/sheet.png >$(printf $f 3).part
exit {JAMMED}
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    device = SaneScanner(device="test", source=FEEDER)
    device.open()
    with pytest.raises(PaperTrouble, match="after 2 pages") as caught:
        device.scan(20, NEVER)
    assert [page.pixels.shape for page in caught.value.pages] == [(80, 60), (80, 60)]
    assert "jam" in caught.value.next_step.lower()
    assert leftovers() == []


async def test_the_agents_bench_starts_nothing_before_it_scans_and_can_end_a_scan() -> None:
    slow = {"driver": "sane", "device": "test", "resolution_ppi": 75, "options": "--read-delay=yes --read-limit=yes"}
    tables: dict[str, dict[str, str | int]] = {
        "scanner": slow,
        "ticket": {"driver": "serial", "port": "/dev/none"},
        "climate": {"driver": "sht31"},
    }
    before = set(threading.enumerate())
    bench = DeviceBench(tables, PolicyTable())
    assert bench.scans_papers
    assert set(threading.enumerate()) <= before
    scanning = asyncio.create_task(bench.scan_papers())
    for _ in range(500):
        if bench.scanner is not None and bench.scanner.state is WorkerState.BUSY:
            break
        await asyncio.sleep(0.01)
    bench.cancel()
    with pytest.raises(CaptureRetry, match="cancelled"):
        await scanning
    await bench.close()
    assert leftovers() == []


def test_pages_of_an_agent_that_was_killed_are_cleared_away_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    abandoned, alive, foreign = (tmp_path / f"{PREFIX}{name}-x" for name in (killed.pid, os.getpid(), "somebody"))
    for folder in (abandoned, alive, foreign):
        folder.mkdir()
        (folder / "page1.pnm").write_bytes(b"P5 1 1 255 0")
    clear_abandoned(tmp_path)
    assert (abandoned.exists(), alive.exists(), foreign.exists()) == (False, True, True)


def test_what_sane_finds_is_listed_without_an_error() -> None:
    assert all(found.device for found in list_scanners(20))


def test_pages_are_what_lay_on_the_glass() -> None:
    black, white = scanner(options="--test-picture='Solid black'"), scanner(options="--test-picture='Solid white'")
    for device, value in ((black, 0), (white, 255)):
        device.open()
        assert np.all(device.scan(20, NEVER)[0].pixels == value)
