"""The build of the firmware: what goes in, what comes out, how large it may be, and who touches the chip."""

from __future__ import annotations

import ast
import json
import struct
from pathlib import Path

import pytest

from contract.errors import DeviceError
from edge.panel_update import image_version
from provisioning.firmware_image import BOARDS, MODULES_BYTES_MAX, SOURCE, build_image, main, read_image, write_image
from tests.device.controller_bench import built
from virtual.controller_twin import board_pins


def test_every_module_of_the_room_is_compiled_and_within_the_bound() -> None:
    sources = {path.stem for path in SOURCE.glob("*.py")}
    assert {name.removesuffix(".mpy") for name in built().modules} == sources - {"main", "starter", "dictionary"}
    assert set(built().root) == {"main.py", "starter.mpy", "slots.mpy"}
    assert sum(map(len, built().modules.values())) <= MODULES_BYTES_MAX // 2
    assert all(code.startswith(b"M\x06") for code in built().modules.values()), "bytecode of version 6"


def test_the_same_sources_give_the_same_image_and_the_manifest_tells_it(tmp_path: Path) -> None:
    assert build_image(tmp_path / "again").content == built().content
    write_image(built(), tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    content = (tmp_path / "out" / "controller.bin").read_bytes()
    assert (manifest["version"], manifest["bytes"]) == (image_version(content), len(content))
    assert set(manifest["files"]) == {*built().modules, *built().root}
    assert struct.unpack("<4sIB", content[:9]) == (b"RKFW", built().version, len(built().modules))


def test_a_built_image_is_read_back_and_one_that_was_changed_is_refused(tmp_path: Path) -> None:
    write_image(built(), tmp_path)
    assert read_image(tmp_path) == built()
    link = tmp_path / "modules" / "link.mpy"
    link.write_bytes(link.read_bytes()[:-1] + b"!")
    with pytest.raises(DeviceError, match="manifest"):
        read_image(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DeviceError, match="no built firmware"):
        read_image(tmp_path)


def test_only_the_board_and_its_starter_touch_the_chip() -> None:
    touching = set()
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if {"machine", "neopixel", "time", "esp32", "rp2"} & set(names):
                touching.add(path.stem)
    assert touching == {"board", "board_rp2", "board_esp32", "starter"}


def test_no_pin_serves_twice_and_no_tone_changes_a_lamps_frequency() -> None:
    for board in BOARDS:
        pins = board_pins(board)
        assert len(set(pins.values())) == len(pins)
    pins = board_pins("board_rp2")
    slices = [pins[name] // 2 % 8 for name in ("buzzer", "nir_850", "nir_940")]
    assert len(set(slices)) == 3, "an RP2040's PWM slice has one frequency for two pins"
    assert not set(board_pins("board_esp32").values()) & {1, 3, 6, 7, 8, 9, 10, 11, 12}, "console, flash, flash voltage"


def test_source_that_does_not_compile_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    for name, text in (
        ("dictionary.py", "OK = 0\n"),
        ("main.py", ""),
        ("wrong.py", "async def f():\n    yield from x\n"),
    ):
        (tmp_path / "source" / name).write_text(text)
    (tmp_path / "source" / "wrong.py").write_text("def f():\n    return {**a, **b}\nx = 1 if\n")
    monkeypatch.setattr("provisioning.firmware_image.SOURCE", tmp_path / "source")
    with pytest.raises((DeviceError, SyntaxError)):
        build_image(tmp_path / "out")


def test_the_command_prints_the_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    assert f"of {MODULES_BYTES_MAX} bytes" in capsys.readouterr().out
