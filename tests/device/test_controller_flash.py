"""Flashing a board by cable: mpremote's transport against a raw REPL in the VM, then the flash it has written runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from contract.errors import DeviceError
from provisioning.__main__ import app
from provisioning.controller_flash import flash_controller, read_or_make_key
from provisioning.firmware_image import Image
from tests.device.controller_bench import KEY, built, panel_on, until
from virtual.controller_twin import TECHNICIANS_PORT, ControllerTwin


def technicians(folder: Path) -> ControllerTwin:
    (folder / "flash").mkdir(exist_ok=True)
    twin = ControllerTwin(None, folder / "flash", folder / "usb", program=TECHNICIANS_PORT)
    until(lambda: twin.seen.boots, "the board's power")
    return twin


def few(version: int | None = None) -> Image:
    """A smaller image, where the test is about the way and not about what runs."""
    whole = built(version)
    modules = {name: whole.modules[name] for name in ("board_rp2.mpy", "board_esp32.mpy", "link.mpy", "version.mpy")}
    return Image(whole.version, modules, whole.root)


def test_an_empty_board_is_flashed_and_runs(tmp_path: Path) -> None:
    told: list[str] = []
    twin = technicians(tmp_path)
    try:
        done = flash_controller(twin.port, built(), board="board_rp2", key=KEY, progress=told.append)
    finally:
        twin.close()
    assert done.has_key and done.files == len(built().modules) + len(built().root) + 2
    assert told[0] == "service mode" and told[-1] == "restart"
    assert not (tmp_path / "flash" / "service").exists()
    running = ControllerTwin(built(), tmp_path / "flash", tmp_path / "port")
    try:
        with panel_on(running.port) as panel:
            identity = panel.identify()
            assert (identity.version, identity.slot, identity.has_key) == (built().version, 0, True)
    finally:
        running.close()


def test_a_running_board_is_flashed_in_spite_of_its_watchdog_and_keeps_its_events(tmp_path: Path) -> None:
    running = ControllerTwin(built(), tmp_path / "flash", tmp_path / "port", key=KEY)
    with panel_on(running.port) as panel:
        panel.identify()
    running.close()
    events = (tmp_path / "flash" / "events.log").read_bytes()
    (tmp_path / "flash" / "a" / "firmware" / "stale.mpy").write_bytes(b"of an older release")
    twin = technicians(tmp_path)
    try:
        done = flash_controller(twin.port, few(0x000200), board="board_esp32")
        assert twin.seen.boots >= 2, "it was restarted into service"
    finally:
        twin.close()
    assert done.has_key, "the key of before stays"
    assert (tmp_path / "flash" / "events.log").read_bytes() == events
    assert not (tmp_path / "flash" / "a" / "firmware" / "stale.mpy").exists()
    assert not (tmp_path / "flash" / "slots.dat").exists()
    assert (tmp_path / "flash" / "board.txt").read_text() == "board_esp32\n"


def test_a_flashing_that_broke_off_leaves_the_board_in_service_and_is_finished_later(tmp_path: Path) -> None:
    twin = technicians(tmp_path)

    def pull_the_cable(what: str) -> None:
        if what.endswith("link.mpy"):
            twin.terminal.unplug()

    try:
        with pytest.raises(DeviceError, match="cannot be flashed"):
            flash_controller(twin.port, few(), board="board_rp2", progress=pull_the_cable)
        assert (tmp_path / "flash" / "service").exists()
        twin.terminal.plug_in()
        assert flash_controller(twin.port, few(), board="board_rp2").files == 4 + 3 + 1
    finally:
        twin.close()
    assert not (tmp_path / "flash" / "service").exists()


def test_a_board_that_nobody_knows_is_not_flashed(tmp_path: Path) -> None:
    twin = technicians(tmp_path)
    try:
        with pytest.raises(DeviceError, match="linux"):  # what the VM says it is
            flash_controller(twin.port, built())
        with pytest.raises(DeviceError, match="no board"):
            flash_controller(twin.port, built(), board="board_avr")
    finally:
        twin.close()
    with pytest.raises(DeviceError, match="cannot be flashed"):
        flash_controller(str(tmp_path / "nothing"), built())


def test_the_command_makes_the_key_that_only_its_owner_reads_and_says_what_is_wrong(tmp_path: Path) -> None:
    key = tmp_path / "board.key"
    arguments = ["flash-controller", "--port", str(tmp_path / "nothing"), "--key", str(key)]
    failed = CliRunner().invoke(app, [*arguments, "--new-key"])
    assert failed.exit_code == 1 and "cannot be flashed" in " ".join(failed.output.split())
    assert key.stat().st_mode & 0o777 == 0o600
    again = CliRunner().invoke(app, [*arguments, "--new-key"])
    assert again.exit_code == 1 and "exists" in again.output
    assert read_or_make_key(key, make=False) == key.read_bytes()
    key.write_bytes(b"short")
    with pytest.raises(DeviceError, match="32 bytes"):
        read_or_make_key(key, make=False)
