"""A unit in service is configured: at the hub by order, and with the real programs over a real broker and back."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.commissioning_problems import Problem
from contract.configuration import Reported
from contract.dispatch import decode, encode
from contract.technician import AssignOrder, ConfigureOrder, SettingsOrder, SettingsResult, Verb
from contract.topics import UP_REPORTED
from edge.config import load_config
from hub.schema.commissioning_tables import UnitSetup
from provisioning.configure_command import difference
from tests.commissioning.desk_world import DeskWorld
from tests.commissioning.stage import LOCAL, OTHER_SITE, UNIT, make_stage
from tests.commissioning.test_tool import running, tool, wait_for
from virtual.broker import free_port

pytestmark = pytest.mark.xdist_group("commissioning-configure")
TABLES = {"policy": {"attempts_max": 5}}


@pytest.fixture
def world(tmp_path: Path) -> DeskWorld:
    return DeskWorld(tmp_path)


def shown(world: DeskWorld) -> SettingsResult:
    return decode(SettingsResult, world.order(Verb.SETTINGS, SettingsOrder(unit=UNIT)).body)


def report(world: DeskWorld, **fields: Any) -> None:
    world.deliver(UP_REPORTED.at(unit=UNIT), encode(Reported(at_ms=1, **fields)))


def test_a_technician_sees_what_a_unit_is_told_and_what_it_made_of_it(world: DeskWorld) -> None:
    assert (shown(world).version, shown(world).tables) == (0, {})
    assert world.order(Verb.CONFIGURE, ConfigureOrder(unit=UNIT, tables=TABLES, after=0)).done
    found = shown(world)
    assert (found.version, found.tables, found.in_force, found.refused) == (1, TABLES, False, False)
    with world.database.reading() as session:
        digest = session.get_one(UnitSetup, UNIT).digest
    report(world, version=1, digest=digest)
    assert shown(world).in_force
    world.order(Verb.CONFIGURE, ConfigureOrder(unit=UNIT, tables={"policy": {"attempts_max": 6}}, after=1))
    problem = Problem.CONFIGURATION_UNHEALTHY
    report(world, version=1, digest=digest, refused_version=2, problem=problem, detail="finger: No answer.")
    found = shown(world)
    assert (found.in_force, found.refused, found.reported_version, found.problem) == (False, True, 1, problem)


def test_two_technicians_do_not_undo_each_other_unseen(world: DeskWorld) -> None:
    assert world.order(Verb.CONFIGURE, ConfigureOrder(unit=UNIT, tables=TABLES, after=0)).done
    late = world.order(Verb.CONFIGURE, ConfigureOrder(unit=UNIT, tables={}, after=0))
    assert (late.done, late.problem) == (False, Problem.CONFIGURATION_OLD) and "configure" in late.next_step
    assert shown(world).tables == TABLES


def test_secrets_and_other_peoples_units_are_refused_at_the_hub(world: DeskWorld) -> None:
    secret = ConfigureOrder(unit=UNIT, tables={"devices.camera": {"password": "geheim7"}})
    refused = world.order(Verb.CONFIGURE, secret)
    assert refused.problem is Problem.CONFIGURATION_SECRET and "geheim7" not in refused.message
    assert "_file" in refused.next_step
    for verb, order in (
        (Verb.CONFIGURE, ConfigureOrder(unit=UNIT, tables=TABLES)),
        (Verb.SETTINGS, SettingsOrder(unit=UNIT)),
    ):
        assert world.order(verb, order, LOCAL).problem is Problem.NO_RIGHTS
    assert shown(world).version == 0


def test_another_site_is_another_version_and_a_hub_from_its_backup_counts_on(world: DeskWorld) -> None:
    from contract.lifecycle import UnitState
    from hub.schema.tables import Unit

    assert world.order(Verb.CONFIGURE, ConfigureOrder(unit=UNIT, tables=TABLES)).done
    with world.database.transaction() as session:
        session.get_one(Unit, UNIT).state = UnitState.SUSPENDED
    assert world.order(Verb.ASSIGN, AssignOrder(unit=UNIT, site=OTHER_SITE)).done
    assert shown(world).version == 2
    report(world, version=9, digest=bytes(32))
    assert world.order(Verb.CONFIGURE, ConfigureOrder(unit=UNIT, tables=TABLES)).done
    assert shown(world).version == 10


def test_a_unit_does_not_move_on_settings_that_it_gave_up(world: DeskWorld) -> None:
    """They would go with it, and it would go back from them to the old site."""
    from contract.lifecycle import UnitState
    from hub.schema.tables import Unit

    assert world.order(Verb.CONFIGURE, ConfigureOrder(unit=UNIT, tables=TABLES)).done
    report(world, version=0, refused_version=1, problem=Problem.CONFIGURATION_UNHEALTHY, detail="finger: No answer.")
    with world.database.transaction() as session:
        session.get_one(Unit, UNIT).state = UnitState.SUSPENDED
    refused = world.order(Verb.ASSIGN, AssignOrder(unit=UNIT, site=OTHER_SITE))
    assert not refused.done and "version 1" in refused.message and "configure" in refused.next_step
    with world.database.reading() as session:
        assert session.get_one(Unit, UNIT).site != OTHER_SITE
    assert world.order(Verb.CONFIGURE, ConfigureOrder(unit=UNIT, tables={}, after=1)).done
    assert world.order(Verb.ASSIGN, AssignOrder(unit=UNIT, site=OTHER_SITE)).done


def test_the_difference_names_the_table_and_only_what_changes() -> None:
    before = {"screen": {"port": 8101}, "policy": {"attempts_max": 4, "card_timeout_s": 30.0}}
    after = {"policy": {"card_timeout_s": 30.0, "attempts_max": 5}, "screen": {"port": 8101}}
    lines = difference(before, after)
    assert [line for line in lines[3:] if line[0] in "+-"] == ["-attempts_max = 4", "+attempts_max = 5"]
    assert " [policy]" in lines and difference(before, before) == []


def page_status(port: int) -> Any:
    """What the unit's own page asks for."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        client.get("/status").raise_for_status()
        return client.get("/api/status").raise_for_status().json()


@pytest.mark.timeout(300)
def test_a_running_unit_takes_up_what_it_is_told_and_goes_back_from_what_does_not_work(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    home, screen = stage.folder / "units" / UNIT, free_port()
    path = home / "unit.toml"
    text = path.read_text(encoding="utf-8")
    assert "port = 1\n" in text
    path.write_text(text.replace("port = 1\n", f"port = {screen}\n"), encoding="utf-8")
    me = ("--identity", str(stage.folder / "technicians" / "tek-andi"), "--wait", "150")

    def configure(settings: str, *words: str, done: bool = True) -> Any:
        (tmp_path / "desk.toml").write_text(settings, encoding="utf-8")
        return tool("configure", UNIT, "--settings", str(tmp_path / "desk.toml"), *words, *me, done=done)

    def status(port: int) -> Any:
        return httpx.get(f"http://127.0.0.1:{port}/status").raise_for_status().text

    with (
        stage.broker,
        running(tmp_path / "hub.log", "hub", "run", "--config", str(stage.folder / "hub/hub.toml")),
        running(tmp_path / "unit.log", "edge", "run", "--config", str(path)) as unit,
    ):
        wait_for("the unit", lambda: tool("status", UNIT, *me)["units"][0]["online"])
        other = free_port()
        wanted = f"[screen]\nport = {other}\n[policy]\nattempts_max = 7\n"
        asked = configure(wanted, done=False)
        assert f"+port = {other}" in asked["diff"] and "--yes" in asked["next_step"] and asked["version"] == 0
        found = configure(wanted, "--yes")
        assert (found["outcome"], found["version"], found["reported"]) == ("in force", 1, 1), found
        assert load_config(path).policy.attempts_max == 7 and UNIT in wait_for("its pages", lambda: status(other))
        assert configure(wanted)["outcome"] == "unchanged"

        unknown = configure(f"[screen]\nport = {other}\n[policy]\nattempts = 7\n", "--yes", done=False)
        assert (unknown["problem"], unknown["reported"]) == ("configuration-invalid", 1)
        assert "policy.attempts" in unknown["detail"] and "Correct the named keys" in unknown["next_step"]
        secret = configure('[uplink]\napi_key = "geheim7"\n', "--yes", done=False)
        assert secret["problem"] == "configuration-secret" and "geheim7" not in str(secret)

        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            back = configure(f"[screen]\nport = {port}\n", "--yes", done=False)
        assert (back["outcome"], back["problem"]) == ("refused", "configuration-unhealthy"), back
        assert str(port) in back["detail"] and back["reported"] == 1
        assert load_config(path).policy.attempts_max == 7 and UNIT in wait_for("its pages", lambda: status(other))
        seen = wait_for("its status", lambda: page_status(other))["configuration"]
        assert (seen["version"], seen["refused"], seen["on_trial"]) == (1, 3, False)
        assert "kembali ke yang sebelumnya" in seen["problem_id"] and str(port) in seen["problem_en"]
        assert unit.poll() is None  # the same process number all the time
    assert "geheim7" not in (tmp_path / "unit.log").read_text() + (tmp_path / "hub.log").read_text()
