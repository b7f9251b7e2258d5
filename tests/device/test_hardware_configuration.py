"""KIOSK_HARDWARE itself: pointed at a unit made of twins, every suite tries the devices that its unit.toml names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.device import test_enclosure_hardware
from tests.device.conftest import MASTER
from tests.device.controller_bench import board
from tests.device.hardware import CONFIGURATION, Hardware
from virtual.card_box import CardBox
from virtual.card_slot import SlotControl
from virtual.devices import Devices, load_devices, tell

SUITES = [
    f"tests/device/test_{name}.py"
    for name in (
        "fingerprint_scanners", "camera_drivers", "iris_scanners", "signature_pads", "drivers_code", "card_readers",
        "slap_scanners", "enclosure_hardware",
    )
]  # fmt: skip
RUN_TIMEOUT_S = 400
DEVICES = """
control = "devices.sock"
[units.desk-a1]
finger = { link = "finger", width_px = 192, height_px = 192 }
signature = { link = "pad", time_scale = 20 }
code = { link = "code" }
ticket = { link = "ticket" }
camera = {}
iris = {}
"""
UNIT = """
[devices.finger]
driver = "zfm"
port = "{folder}/finger"
width_px = 192
[devices.camera]
driver = "snapshot"
url = "{camera}"
[devices.iris]
driver = "snapshot"
url_right = "{iris_right}"
url_left = "{iris_left}"
[devices.signature]
driver = "isdv4"
port = "{folder}/pad"
[devices.code]
driver = "serial"
port = "{folder}/code"
[devices.ticket]
driver = "serial"
port = "{folder}/ticket"
[devices.card]
driver = "virtual.card_direct:DirectCardReader"
socket = "{folder}/card.reader"
"""


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Path]:
    """A unit of twins, and its card slot as a process."""
    (tmp_path / "devices.toml").write_text(DEVICES)
    config = load_devices(tmp_path / "devices.toml")
    CardBox(tmp_path / "cards").add_blanks(2, MASTER, 1)
    ends = ["--control", str(tmp_path / "card.sock"), "--direct", str(tmp_path / "card.reader")]
    command = [sys.executable, "-m", "virtual.card_slot", "serve", "--cards", str(tmp_path / "cards"), *ends]
    with subprocess.Popen(command) as slot:
        SlotControl(tmp_path / "card.sock").wait_until_up(20)
        devices = Devices(config)
        places = tell(config.control, {"status": True})["units"]["desk-a1"]
        tell(config.control, {"unit": "desk-a1", "person": {"seed": 1, "index": 3}})
        (tmp_path / "unit.toml").write_text(UNIT.format(folder=tmp_path, **places))
        yield tmp_path
        devices.close()
        slot.terminate()


def run(settings: dict[str, str], suites: Sequence[str] = SUITES) -> tuple[str, dict[str, int]]:
    """The output of the suites' hardware cases, and how many had which outcome."""
    plain = ["-o", "addopts=-p no:cacheprovider", "-n", "0", "-rs", "-k", "hardware"]
    command = [sys.executable, "-m", "pytest", *plain, *suites]
    done = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)}
    return done.stdout + done.stderr, counts


@pytest.mark.timeout(RUN_TIMEOUT_S + 60)
def test_every_configured_device_is_tried_and_what_is_not_there_is_skipped_with_the_reason(unit: Path) -> None:
    hands = f"{sys.executable} -m tests.device.twin_hands {unit}/devices.sock desk-a1 {unit}/card.sock"
    output, counts = run({"KIOSK_HARDWARE": str(unit / "unit.toml"), "KIOSK_HARDWARE_HANDS": hands})
    assert counts.get("failed", 0) + counts.get("error", 0) == 0, output
    assert counts["passed"] >= 30, output
    assert "has no [devices.slap]" in output


def test_without_a_configuration_no_hardware_is_tried() -> None:
    output, counts = run({"KIOSK_HARDWARE": ""}, SUITES[:1])  # the others are skipped in the run that this is part of
    assert set(counts) == {"skipped"}, output
    assert "names no configuration" in output


@pytest.mark.xdist_group("controller")
def test_a_named_controller_is_tried_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with board(tmp_path) as twin:
        (tmp_path / "unit.toml").write_text(f'[devices.controller]\ndriver = "panel"\nport = "{twin.port}"\n')
        hands = {"unplug": twin.terminal.unplug, "plug in": twin.terminal.plug_in}
        monkeypatch.setenv(CONFIGURATION, str(tmp_path / "unit.toml"))
        monkeypatch.setattr(Hardware, "ask", lambda _self, word: hands[word]())
        test_enclosure_hardware.test_hardware_opens_names_itself_and_works(Hardware("controller"))
        test_enclosure_hardware.test_hardware_unplugged_and_plugged_in_again(Hardware("controller"))
