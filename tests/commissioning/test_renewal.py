"""A unit stays in: renewed on its own line, after weeks in a drawer at the renewal door, and never by fraud."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from contract.certificates import Issuer, certify_client, der, load_certificate, new_key, pem, private_pem, serial_text
from contract.channel_mqtt import MqttChannel
from contract.channel_mqtt_settings import tls_context
from contract.channel_renewal import Door
from contract.clock import SystemClock
from contract.commissioning_problems import Problem, Refusal
from contract.credential import Credential
from contract.durable_files import DurableFolder
from contract.seal import load_statement_public_key
from contract.technician import StatusOrder, StatusResult, Verb
from contract.unit_alerts import UnitAlert
from edge.standing import Standing, renew_late
from hub import certificates
from hub.certificates import CertificateState
from hub.issuers import load_issuers
from hub.service import HubService
from tests.commissioning.stage import UNIT, Stage, make_stage, until


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


class Unit:
    """A unit's line and its standing, as the agent wires them."""

    def __init__(self, stage: Stage, folder: Path | None = None) -> None:
        """folder: of a copy of the unit's disk."""
        self.folder = folder or stage.folder / "units" / UNIT
        files = {name: self.folder / f"tls.{ending}" for name, ending in (("certificate", "crt"), ("key", "key"))}
        settings = replace(stage.unit_settings(), **files)
        self.credential = Credential(settings, SystemClock(), DurableFolder(settings.certificate.parent))
        self.channel = MqttChannel(self.credential.settings)
        self.hub = load_statement_public_key((self.folder / "hub-statement.pub").read_bytes())
        self.late = Door("127.0.0.1", stage.ports[2], settings.ca)
        self.standing = Standing(
            self.channel, self.credential, UNIT, self.hub, SystemClock(), serial="S-1", software="test", late=self.late
        )

    def serial(self) -> str:
        return serial_text(load_certificate((self.folder / "tls.crt").read_bytes()))


def states(hub: HubService) -> list[str]:
    with hub.central.context.database.reading() as session:
        return [row.state for row in certificates.all_of(session, UNIT)]


def issuing(hub: HubService) -> Issuer:
    settings = hub.central.context.settings
    assert settings.authority is not None
    return load_issuers(settings, settings.authority).issuing


def give_certificate(stage: Stage, hub: HubService, ended_days_ago: int) -> None:
    """Let the unit hold a certificate of the hub's that ended some days ago."""
    issuer, key = issuing(hub), new_key()
    begun = datetime.now(UTC) - timedelta(days=ended_days_ago + 30)
    certificate = certify_client(issuer, UNIT, key.public_key(), begun)
    folder = stage.folder / "units" / UNIT
    (folder / "tls.crt").write_bytes(pem(certificate, issuer.certificate))
    (folder / "tls.key").write_bytes(private_pem(key))
    with hub.central.context.database.transaction() as session:
        before = certificates.active_of(session, UNIT)
        assert before is not None
        before.state = CertificateState.SUPERSEDED
        session.flush()
        certificates.enter(session, certificate, CertificateState.ACTIVE, hub.central.context.clock.wall_ms())


async def test_a_technician_has_a_unit_renew_and_its_line_comes_back_on_the_new_certificate(stage: Stage) -> None:
    unit = Unit(stage)
    before = unit.serial()
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line, unit.channel:
            running = asyncio.create_task(unit.standing.run())
            await until(lambda: unit.channel.connection is not None)
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            await unit.standing.renew_now()
            await until(lambda: unit.serial() != before)
            await until(lambda: unit.channel.connection is not None and unit.channel.connection.number >= 2)
            assert states(hub) == ["ACTIVE", "SUPERSEDED"]
            status = await line.ask(Verb.STATUS, StatusOrder(unit=UNIT), StatusResult)
            assert status.rows[0].certificates[0].serial == unit.serial()
            await until(lambda: not unit.credential.is_tried)
            running.cancel()


async def test_an_old_copy_of_a_unit_learns_at_the_renewal_door_what_it_is_and_the_centre_hears_of_it(
    stage: Stage,
) -> None:
    copy = Unit(stage, Path(shutil.copytree(stage.folder / "units" / UNIT, stage.folder / "copy")))
    unit = Unit(stage)
    before = unit.serial()
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line:
            async with unit.channel:
                running = asyncio.create_task(unit.standing.run())
                await until(lambda: unit.channel.connection is not None)
                await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
                await unit.standing.renew_now()
                await until(lambda: unit.serial() != before)
                running.cancel()
            async with copy.channel:
                running = asyncio.create_task(copy.standing.run())
                await until(lambda: copy.standing.status().get("problem") == Problem.CERTIFICATE_SUPERSEDED)
                running.cancel()
            assert "rekam-edge recommission" in copy.standing.status()["message_en"] and copy.serial() == before
            status = await line.ask(Verb.STATUS, StatusOrder(unit=UNIT), StatusResult)
            assert status.rows[0].alerts[0] is UnitAlert.CERTIFICATE_COPIED
            assert states(hub) == ["ACTIVE", "SUPERSEDED"]


async def test_a_unit_off_for_weeks_comes_back_by_itself(stage: Stage) -> None:
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            give_certificate(stage, hub, ended_days_ago=60)
            unit = Unit(stage)
            ended = unit.serial()
            async with unit.channel:
                running = asyncio.create_task(unit.standing.run())
                await until(lambda: unit.channel.connection is not None, 30)
                await until(lambda: unit.serial() != ended)
                running.cancel()
            assert states(hub).count("ACTIVE") == 1


async def test_a_unit_whose_next_certificate_ended_untried_comes_back_too(stage: Stage) -> None:
    """It was cut off between two certificates, and both ended meanwhile."""
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            give_certificate(stage, hub, ended_days_ago=60)
            unit = Unit(stage)
            unit.credential.request()
            fresh = load_pem_private_key((unit.folder / "tls.next.key").read_bytes(), None)
            issuer = issuing(hub)
            issued = certify_client(issuer, UNIT, fresh.public_key(), datetime.now(UTC) - timedelta(days=70))
            with hub.central.context.database.transaction() as session:
                certificates.enter(session, issued, CertificateState.PENDING, hub.central.context.clock.wall_ms())
            unit.credential.keep_next(der(issued), der(issuer.certificate))
            ended = unit.serial()
            async with unit.channel:
                running = asyncio.create_task(unit.standing.run())
                await until(lambda: unit.serial() not in (ended, serial_text(issued)), 30)
                running.cancel()
            assert states(hub).count("ACTIVE") == 1


async def test_after_half_a_year_only_a_new_claim_helps_and_the_unit_says_so(stage: Stage) -> None:
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            give_certificate(stage, hub, ended_days_ago=181)
            unit = Unit(stage)
            with pytest.raises(Refusal) as refused:
                await renew_late(unit.credential, unit.late, unit.hub)
            assert refused.value.problem is Problem.CERTIFICATE_TOO_OLD
            assert "rekam-provision box" in refused.value.next_step


async def test_a_revoked_unit_renews_on_neither_line(stage: Stage) -> None:
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            with hub.central.context.database.transaction() as session:
                hub.central.fleet.bar(session, UNIT, "stolen")
            unit = Unit(stage)
            with pytest.raises(Refusal) as refused:
                await renew_late(unit.credential, unit.late, unit.hub)
            assert (refused.value.problem, refused.value.detail) == (Problem.CERTIFICATE_REVOKED, "stolen")


def test_a_cut_while_the_next_certificate_takes_over_leaves_one_that_works(stage: Stage, tmp_path: Path) -> None:
    settings = stage.unit_settings()
    hub_settings = stage.folder / "hub"
    issuing_key = (hub_settings / "issuing.key").read_bytes()
    issuer = Issuer(
        load_certificate((hub_settings / "issuing.crt").read_bytes()), load_pem_private_key(issuing_key, None)
    )
    for cut_at in range(1, 9):
        credential = Credential(settings, SystemClock(), DurableFolder(settings.certificate.parent))
        credential.request()
        fresh = load_pem_private_key((settings.key.parent / "tls.next.key").read_bytes(), None)
        issued = certify_client(issuer, UNIT, fresh.public_key(), datetime.now(UTC))
        credential.keep_next(der(issued), der(issuer.certificate))
        passed = 0

        def cut(_name: str, _done: bool, at: int = cut_at) -> None:
            nonlocal passed
            passed += 1
            if passed == at:
                raise KeyboardInterrupt

        credential._files = DurableFolder(settings.certificate.parent, cut)
        with pytest.raises(KeyboardInterrupt):
            credential.take_over(serial_text(issued))
        again = Credential(settings, SystemClock(), DurableFolder(settings.certificate.parent))
        for _attempt in range(4):  # whatever is used now, and after each failure, certificate and key belong together
            tls_context(again.settings())
            again.note_lost()
        again.take_over(serial_text(issued))
        tls_context(again.settings())
