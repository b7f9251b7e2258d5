"""The technician's commands on a unit's spool: packets leave and enter by media, and held ones are tried again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from contract.clock import SystemClock
from contract.errors import DeviceError
from edge import __main__ as commands
from edge.data_lock import only_agent
from edge.spool import Spool

KEY = bytes(32)


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Units are folders here: `--config FOLDER` is the unit whose data lie in it."""

    def config(folder: Path) -> Any:
        table = SimpleNamespace(id="desk-a1", site="9901-A", data_dir=folder)
        return SimpleNamespace(unit=table, keys=None, spool=SimpleNamespace(bytes_max=10**6, packets_max=9))

    monkeypatch.setattr(commands, "load_config", config)
    monkeypatch.setattr(commands, "load_store_key", lambda _keys: KEY)
    (tmp_path / "media").mkdir()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    spool = Spool(tmp_path / "one" / "spool", KEY, SystemClock(), 10**6, 9)
    spool.put(b"sealed", kind="enrolment", subject_id="c-1")
    spool.close()
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(commands.app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_packets_travel_by_media_from_one_unit_to_another(unit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("export", str(unit / "media"), "--config", str(unit / "one"))
    run("import", str(unit / "media"), "--config", str(unit / "other"))
    spool = Spool(unit / "other" / "spool", KEY, SystemClock(), 10**6, 9)
    assert [spool.read(packet.pid) for packet in spool.pending()] == [b"sealed"]
    spool.close()


def test_nobody_touches_the_spool_of_a_running_agent(unit: Path) -> None:
    with only_agent(unit / "one"):
        result = CliRunner().invoke(commands.app, ["export", str(unit / "media"), "--config", str(unit / "one")])
    assert isinstance(result.exception, DeviceError) and "Stop it" in result.exception.next_step
    assert list((unit / "media").iterdir()) == []


def test_held_packets_are_tried_again_by_the_running_agent(unit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def ask(_config: object, method: str, path: str) -> dict[str, int]:
        asked.append((method, path))
        return {"released": 3}

    monkeypatch.setattr(commands, "_ask", ask)
    run("release", "--config", str(unit / "one"))
    assert asked == [("POST", "/api/release")]


@pytest.mark.parametrize("command", ["export", "import", "release"])
def test_each_command_shows_an_example(command: str) -> None:
    assert f"rekam-edge {command} " in run(command, "--help")


@pytest.mark.parametrize("command", sorted(get_command(commands.app).commands))  # type: ignore[attr-defined]
def test_every_command_finds_the_unit_of_an_installed_package(command: str) -> None:
    """The package's `rekam-edge` says by the environment which unit.toml is meant."""
    shown = CliRunner().invoke(commands.app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert "REKAM_CONFIG" in shown
