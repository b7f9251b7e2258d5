"""rekam-hub on a terminal: help that teaches, and the database's state without a running hub."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from hub.__main__ import cli
from hub.schema.database import Database
from tests.hub_world import DESK, SITE_K, biodata, build_world, enrolment


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A hub.toml beside a database with one failed capture, and that capture's id."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "hub.toml").write_text('[hub]\ndatabase_url = "sqlite:///hub.db"\n')
    for world in build_world(folder, "sqlite"):
        world.register(biodata(1))
        capture_id = world.send(DESK, enrolment(biodata(1)).model_copy(update={"signoff": None}))
    return folder / "hub.toml", capture_id


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments), env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.mark.parametrize("command", ["run", "migrate", "status", "history"])
def test_every_commands_help_teaches_by_an_example(command: str) -> None:
    code, output = run(command, "--help")
    assert code == 0
    assert f"rekam-hub {command}" in output


def test_status_counts_and_verifies(config: tuple[Path, str]) -> None:
    code, output = run("status", "--config", str(config[0]))
    assert code == 0
    assert "ENROLL_FAILURE_AT_CENTRAL" in output
    assert f"Blanks at {SITE_K}: 50 left" in output
    assert "every one verified" in output


def test_history_shows_the_way_and_says_where_none_is(config: tuple[Path, str]) -> None:
    code, output = run("history", config[1], "--config", str(config[0]))
    assert code == 0
    assert "SIGNOFF_MISSING" in output
    code, output = run("history", "nobody", "--config", str(config[0]))
    assert (code, "No record" in output) == (1, True)


def test_an_altered_history_is_told_by_status(config: tuple[Path, str], tmp_path: Path) -> None:
    for path in config[0].parent.glob("hub.*"):
        shutil.copy(path, tmp_path / path.name)
    database = Database(f"sqlite:///{tmp_path / 'hub.db'}")
    with database.transaction() as session:
        session.execute(text("DROP TRIGGER record_history_no_update"))
        session.execute(text("UPDATE record_history SET to_state = 'CARD_ISSUED' WHERE sequence = 3"))
    database.close()
    code, output = run("status", "--config", str(tmp_path / "hub.toml"))
    assert code == 1
    assert "broken at link 3" in output


def test_migrate_is_repeatable_and_a_missing_file_says_what_to_do(config: tuple[Path, str], tmp_path: Path) -> None:
    assert run("migrate", "--config", str(config[0])) == run("migrate", "--config", str(config[0]))
    code, output = run("migrate", "--config", str(tmp_path / "none.toml"))
    assert code == 1
    assert "rekam-provision setup" in output
