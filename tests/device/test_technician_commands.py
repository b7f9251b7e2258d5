"""The technician's commands on a unit whose devices are twins: what is there, what works, one sample on disk."""

from __future__ import annotations

import io
import json
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from PIL import Image
from typer.testing import CliRunner

from contract.errors import DeviceError
from edge import __main__ as commands
from edge.data_lock import only_agent
from edge.sensors import discovery
from edge.sensors.discovery import Found, discover
from virtual.devices import Devices, load_devices, tell
from virtual.i2c_parts import Atecc608Twin, Pca9685Twin, Sht31Twin, Vl53l0xTwin
from virtual.i2c_twin import I2cBusTwin

TWINS = """
control = "devices.sock"
[units.desk-a1]
finger = { link = "desk-a1/finger", width_px = 256, height_px = 288 }
signature = { link = "desk-a1/pad", time_scale = 50 }
code = { link = "desk-a1/code" }
ticket = { link = "desk-a1/ticket", papers = "papers" }
camera = {}
iris = {}
"""
UNIT = """
[unit]
id = "desk-a1"
site = "9901-A"
role = "desk"
[broker]
host = "localhost"
ca = "x"
certificate = "x"
key = "x"
[keys]
sign = "x"
open = "x"
store = "x"
hub_packet = "x"
recovery = "x"
hub_statement = "x"
issuer = "x"
"""
BUS = I2cBusTwin({0x29: Vl53l0xTwin(400), 0x40: Pca9685Twin(), 0x44: Sht31Twin(), 0x60: Atecc608Twin()})


class Unit:
    """A unit's configuration over running twins."""

    def __init__(self, folder: Path) -> None:
        (folder / "devices.toml").write_text(TWINS)
        config = load_devices(folder / "devices.toml")
        self.devices, self.control = Devices(config), config.control
        places = tell(self.control, {"status": True})["units"]["desk-a1"]
        tables: dict[str, dict[str, Any]] = {
            "camera": {"driver": "snapshot", "url": places["camera"]},
            "finger": {"driver": "zfm", "port": places["finger"], "width_px": 256},
            "iris": {"driver": "snapshot", "url_right": places["iris_right"], "url_left": places["iris_left"]},
            "signature": {"driver": "isdv4", "port": places["signature"], "settled_s": 0.3},
            "code": {"driver": "serial", "port": "/dev/no-such-scanner"},
            "ticket": {"driver": "serial", "port": places["ticket"]},
            "printer": {"uri": "ipp://127.0.0.1:1/ipp/print"},
        }
        self.config = folder / "unit.toml"
        lines = [UNIT]
        for kind, table in tables.items():
            lines += [f"[devices.{kind}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        self.config.write_text("\n".join(lines))
        (folder / "data").mkdir()
        self.data = folder / "data"

    def show(self, message: dict[str, Any]) -> None:
        tell(self.control, {"unit": "desk-a1", **message})

    def close(self) -> None:
        self.devices.close()


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(tmp_path)
    yield made
    made.close()
    structlog.reset_defaults()  # the commands' log lines go to a stream that has ended with them


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(commands.app, list(arguments), env={"COLUMNS": "240"})
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_the_selftest_says_what_works_and_what_to_do_about_the_rest(unit: Unit, tmp_path: Path) -> None:
    unit.show({"person": {"seed": 1, "index": 3}})
    page = tmp_path / "selftest.html"
    rows = json.loads(run("selftest", "-c", str(unit.config), "--json", "--html", str(page), code=1))
    by_kind = {row["kind"]: row for row in rows}
    for kind in ("camera", "finger", "iris", "signature", "ticket", "comparison"):
        assert by_kind[kind]["outcome"] == "ok", by_kind[kind]
    assert by_kind["code"]["outcome"] == by_kind["printer"]["outcome"] == "failed"
    assert "no-such-scanner" in by_kind["code"]["found"]
    assert by_kind["code"]["next_step"]
    assert by_kind["card"]["outcome"] == by_kind["enclosure"]["outcome"] == "not configured"
    assert by_kind["finger"]["time_ms"] > 0
    assert "pictures" not in by_kind["camera"]
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 3
    assert "Yang harus dilakukan" in text
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_a_printer_without_paper_fails_the_selftest_with_its_advice(unit: Unit) -> None:
    unit.show({"ticket": {"paper": "paper-out"}})
    rows = json.loads(run("selftest", "-c", str(unit.config), "--json", code=1))
    assert "Paper is out" in next(row["next_step"] for row in rows if row["kind"] == "ticket")


def test_a_running_agent_keeps_its_devices(unit: Unit) -> None:
    with only_agent(unit.data):
        for words in (["selftest"], ["capture", "finger", "--out", str(unit.data / "x.png")]):
            result = CliRunner().invoke(commands.app, [*words, "-c", str(unit.config)])
            assert isinstance(result.exception, DeviceError)
            assert "Stop it" in result.exception.next_step


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["portrait"], (600, 800)),
        (["finger", "--finger", "7"], (256, 288)),
        (["iris", "--eye", "left"], (320, 280)),
        (["signature"], (900, 400)),
    ],
)
def test_one_sample_is_judged_and_written_for_its_owner_only(
    unit: Unit, tmp_path: Path, words: list[str], size: tuple[int, int]
) -> None:
    unit.show({"person": {"seed": 1, "index": 3}})
    if words[0] == "finger":
        unit.show({"finger": {"person": [1, 3], "position": 7, "impression": 1, "preset": "guided"}})
    if words[0] == "signature":
        threading.Timer(0.5, unit.show, [{"signature": {"person": [1, 3]}}]).start()
    path = tmp_path / "sample.png"
    shown = run("capture", *words, "--out", str(path), "-c", str(unit.config))
    assert "of 100" in shown
    assert "holds biometric data of a person" in shown
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Image.open(io.BytesIO(path.read_bytes())).size == size
    result = CliRunner().invoke(commands.app, ["capture", *words, "--out", str(path), "-c", str(unit.config)])
    assert isinstance(result.exception, DeviceError)
    assert "--force" in result.exception.next_step


def test_advice_is_shown_before_each_further_attempt_and_nothing_is_written_without_a_finger(
    unit: Unit, tmp_path: Path
) -> None:
    path = tmp_path / "finger.png"
    words = ["capture", "finger", "--out", str(path), "-c", str(unit.config), "--attempts", "2", "--timeout-s", "1"]
    started = time.monotonic()
    result = CliRunner().invoke(commands.app, words)
    assert result.exit_code == 1
    assert time.monotonic() - started < 20
    assert not path.exists()


def test_what_the_wires_hold_is_listed_with_the_lines_that_name_it(tmp_path: Path) -> None:
    dev, sys = tmp_path / "dev", tmp_path / "sys"
    (dev / "serial" / "by-id").mkdir(parents=True)
    (dev / "ttyUSB0").touch()
    (dev / "ttyAMA0").touch()
    (dev / "serial" / "by-id" / "usb-FTDI_A1-if00").symlink_to(dev / "ttyUSB0")
    assert [item.name for item in discovery.serial_ports(dev)] == ["usb-FTDI_A1-if00", "ttyAMA0"]
    (sys / "video0").mkdir(parents=True)
    (sys / "video0" / "name").write_text("HD Camera\n")
    (found,) = discovery.cameras(sys)
    assert (found.name, 'device = "/dev/video0"' in found.table) == ("HD Camera (video0)", True)
    for name, bits in (("event0", "1000003"), ("event1", "0")):
        (sys / "input" / name / "device" / "capabilities").mkdir(parents=True)
        (sys / "input" / name / "device" / "name").write_text(f"thing {name}\n")
        (sys / "input" / name / "device" / "capabilities" / "abs").write_text(f"{bits}\n")
    tablet, keys = discovery.input_devices(sys / "input", tmp_path / "none")
    assert 'driver = "evdev"' in tablet.table
    assert keys.table == ""
    (dev / "usb").mkdir()
    (dev / "usb" / "lp0").touch()
    assert 'driver = "file"' in discovery.ticket_printers(dev)[0].table
    (dev / "tpmrm0").touch()
    assert f'tcti = "device:{dev}/tpmrm0"' in discovery.tpms(dev)[0].table
    (dev / "i2c-1").touch()
    names = {item.name.split()[0] for item in discovery.i2c_parts(dev, BUS.open)}
    assert names == {"vl53l0x", "pca9685", "atecc608", "sht31"}
    assert BUS.open_count == 0


def test_one_wire_that_hangs_or_breaks_hides_no_other() -> None:
    never = threading.Event()

    def hangs() -> list[Found]:
        never.wait(30)
        return []

    def breaks() -> list[Found]:
        raise DeviceError("pcscd is not running.")

    def works() -> list[Found]:
        return [Found("serial", "one")]

    started = time.monotonic()
    found, failed = discover(timeout_s=0.3, looks=[("SANE", hangs), ("PC/SC", breaks), ("serial", works)])
    never.set()
    assert time.monotonic() - started < 5
    assert [item.name for item in found] == ["one"]
    assert failed == ["SANE: did not end in 0 s", "PC/SC: pcscd is not running."]


def test_devices_lists_what_is_configured_without_its_passwords(unit: Unit) -> None:
    unit.config.write_text(unit.config.read_text().replace("http://", "http://admin:secret@", 1))
    shown = run("devices", "-c", str(unit.config), "--no-look")
    assert "isdv4" in shown
    assert "secret" not in shown
    assert "pca9685" in shown
    as_json = json.loads(run("devices", "-c", str(unit.config), "--no-look", "--json"))
    assert as_json["configured"]["finger"]["driver"] == "zfm"
    assert "secret" not in json.dumps(as_json)


@pytest.mark.parametrize("command", ["devices", "selftest", "capture"])
def test_each_command_shows_an_example(command: str) -> None:
    assert f"rekam-edge {command} " in run(command, "--help")
