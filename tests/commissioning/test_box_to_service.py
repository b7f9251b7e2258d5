"""From claim media to a unit in service over a real broker: the agent's commissioning, the hub, a technician's tool."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contract.commissioning import CLAIM_FILE
from contract.commissioning_problems import Problem
from contract.technician import StatusOrder, StatusResult, Verb
from edge.box_files import Phase
from edge.config import load_config
from provisioning.line import Refused
from tests.commissioning.boxes import approval, knocking, make_commissioner, put_claims
from tests.commissioning.stage import LOCAL, OTHER_SITE, SITE, Stage, make_stage, until

NAME = "desk-b7"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


async def test_a_box_becomes_a_unit_in_service_with_one_approval(stage: Stage, tmp_path: Path) -> None:
    box = make_commissioner(tmp_path / "box", "S-1", tmp_path / "media")
    with stage.broker:
        async with stage.hub(), stage.line() as line:
            running = asyncio.create_task(box.run())
            await until(lambda: box.problem is not None and box.problem.problem is Problem.CLAIM_MISSING)
            await put_claims(line, [tmp_path / "media"])
            (row,) = await knocking(line)
            await until(lambda: box.box.code == row.fingerprint)
            assert (row.serial, row.key_home) == ("S-1", "tls=software sign=software")
            tables = {"policy": {"attempts_max": 5}, "screen": {"port": 8177}}
            await line.tell(Verb.APPROVE, approval(row, NAME, tables=tables))
            await asyncio.wait_for(running, 30)
            status = await line.ask(Verb.STATUS, StatusOrder(unit=NAME), StatusResult)
            while status.rows[0].state != "in service":
                await asyncio.sleep(0.1)
                status = await line.ask(Verb.STATUS, StatusOrder(unit=NAME), StatusResult)
    (unit,) = status.rows
    assert (unit.site, unit.serial, unit.desired_version, unit.reported_version) == (SITE, "S-1", 1, 1)
    assert [held.state for held in unit.certificates] == ["ACTIVE"]
    assert unit.certificates[0].key_home == "tls=software sign=software"
    config = load_config(tmp_path / "box" / "unit.toml")
    assert (config.unit.id, config.unit.site, config.policy.attempts_max, config.screen.port) == (NAME, SITE, 5, 8177)
    assert box.box.phase is Phase.COMMISSIONED
    trusted = (stage.folder / "releases" / "update-root.json").read_bytes()
    assert (tmp_path / "box" / "update-root.json").read_bytes() == trusted


async def test_a_stolen_copy_of_a_claim_gets_nothing(stage: Stage, tmp_path: Path) -> None:
    media = tmp_path / "media"
    thief_media = tmp_path / "copy"
    honest = make_commissioner(tmp_path / "box", "S-1", media)
    thief = make_commissioner(tmp_path / "thief", "S-9", thief_media)
    with stage.broker:
        async with stage.hub(), stage.line() as line:
            await put_claims(line, [media])
            running = asyncio.create_task(honest.run())
            (row,) = await knocking(line)
            thief_media.mkdir()
            (thief_media / CLAIM_FILE).write_bytes((media / CLAIM_FILE).read_bytes())
            running_thief = asyncio.create_task(thief.run())
            await until(lambda: thief.problem is not None and thief.problem.problem is Problem.KEYS_CHANGED)
            await line.tell(Verb.APPROVE, approval(row, NAME))
            await asyncio.wait_for(running, 30)
            await until(lambda: thief.problem is not None and thief.problem.problem is Problem.CLAIM_USED)
            running_thief.cancel()
    assert thief.box.phase is Phase.KNOCKING


async def test_a_technician_without_rights_approves_nothing_and_is_told_whom_to_ask(
    stage: Stage, tmp_path: Path
) -> None:
    box = make_commissioner(tmp_path / "box", "S-1", tmp_path / "media")
    with stage.broker:
        async with stage.hub(), stage.line() as line, stage.line(LOCAL) as local:
            await put_claims(line, [tmp_path / "media"])
            running = asyncio.create_task(box.run())
            (row,) = await knocking(line)
            with pytest.raises(Refused) as refused:
                await local.tell(Verb.APPROVE, approval(row, NAME))
            assert refused.value.problem is Problem.NO_RIGHTS
            with pytest.raises(Refused, match="not the box that was seen"):
                await local.tell(Verb.APPROVE, approval(row, NAME, site=OTHER_SITE, key_digest=bytes(32)))
            with pytest.raises(Refused, match="not in the register of sites"):
                await line.tell(Verb.APPROVE, approval(row, NAME, site="9999-Z"))
            assert (await knocking(line))[0].nonce == row.nonce
            running.cancel()


async def test_a_wrong_configuration_is_named_on_both_sides_and_put_right(stage: Stage, tmp_path: Path) -> None:
    from contract.technician import ConfigureOrder

    box = make_commissioner(tmp_path / "box", "S-1", tmp_path / "media")
    with stage.broker:
        async with stage.hub(), stage.line() as line:
            await put_claims(line, [tmp_path / "media"])
            running = asyncio.create_task(box.run())
            (row,) = await knocking(line)
            await line.tell(Verb.APPROVE, approval(row, NAME, tables={"policy": {"attempts_max": 500}}))
            await until(lambda: box.problem is not None and box.problem.problem is Problem.CONFIGURATION_INVALID)
            assert box.problem is not None and "policy.attempts_max" in box.problem.detail
            status = await line.ask(Verb.STATUS, StatusOrder(unit=NAME), StatusResult)
            assert status.rows[0].problem is Problem.CONFIGURATION_INVALID
            assert "policy.attempts_max" in status.rows[0].detail
            with pytest.raises(Refused, match="is not configured from here"):
                await line.tell(Verb.CONFIGURE, ConfigureOrder(unit=NAME, tables={"keys": {"sign": "/etc/shadow"}}))
            await line.tell(Verb.CONFIGURE, ConfigureOrder(unit=NAME, tables={"policy": {"attempts_max": 2}}))
            await asyncio.wait_for(running, 30)
    assert load_config(tmp_path / "box" / "unit.toml").policy.attempts_max == 2


async def test_a_device_that_fails_keeps_the_unit_out_of_service_and_says_which(stage: Stage, tmp_path: Path) -> None:
    box = make_commissioner(tmp_path / "box", "S-1", tmp_path / "media")
    finger = {"devices.finger": {"driver": "zfm", "port": str(tmp_path / "no-such-port"), "width_px": 256, "ppi": 500}}
    with stage.broker:
        async with stage.hub(), stage.line() as line:
            await put_claims(line, [tmp_path / "media"])
            running = asyncio.create_task(box.run())
            (row,) = await knocking(line)
            await line.tell(Verb.APPROVE, approval(row, NAME, tables=finger))
            await until(lambda: box.problem is not None and box.problem.problem is Problem.SELFTEST_FAILED)
            assert box.problem is not None and "finger" in box.problem.detail
            status = await line.ask(Verb.STATUS, StatusOrder(unit=NAME), StatusResult)
            while status.rows[0].problem is None:
                status = await line.ask(Verb.STATUS, StatusOrder(unit=NAME), StatusResult)
            assert (status.rows[0].state, status.rows[0].problem) == ("configured", Problem.SELFTEST_FAILED)
            running.cancel()
