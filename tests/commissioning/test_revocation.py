"""Revocation acts on the session that lives, not only on the next one; lists are kept right by the hub alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import select

from contract import topics
from contract.certificates import OPERATIONAL_LIFE, certify_client, new_key, pem, private_pem
from contract.channel_mqtt import Disconnected, MqttChannel
from contract.commissioning_problems import Problem
from contract.errors import RemoteError
from contract.technician import DepartureResult, StatusOrder, StatusResult, UnitOrder, Verb
from hub import certificates, commissioning_service
from hub.certificates import CertificateState
from hub.schema.commissioning_tables import Certificate, UnitHistory
from hub.service import HubService
from provisioning.line import Refused
from tests.commissioning.stage import LOCAL, UNIT, Stage, make_stage, until
from tests.commissioning.test_renewal import issuing

LIMIT_S = 5.0


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


async def test_a_revoked_units_live_session_is_gone_within_five_seconds(stage: Stage) -> None:
    losses: list[tuple[float, Disconnected]] = []
    unit = MqttChannel(stage.unit_settings())
    unit.on_lost(lambda loss: losses.append((time.monotonic(), loss)))
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line, unit:
            await until(lambda: unit.connection is not None)
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)  # the hub is there
            losses.clear()
            ordered = time.monotonic()
            order = UnitOrder(unit=UNIT, reason="stolen on the road")
            gone = await line.ask(Verb.REVOKE, order, DepartureResult)
            await until(lambda: bool(losses))
            assert losses[0][0] - ordered < LIMIT_S
            assert (gone.state, gone.received, gone.pending) == ("suspended", 0, -1)
            await asyncio.sleep(1.5)  # it tries again all the time, and is never let in
            assert unit.connection is None and len(losses) > 2
            with hub.central.context.database.reading() as session:
                held = session.scalars(select(Certificate).where(Certificate.holder == UNIT)).all()
                steps = session.scalars(select(UnitHistory.event).where(UnitHistory.subject == UNIT)).all()
            assert [row.state for row in held] == ["REVOKED"]
            assert list(steps) == ["suspended"]
    listed = x509.load_pem_x509_crl((stage.folder / "broker/crl.pem").read_bytes())
    assert listed.get_revoked_certificate_by_serial_number(int(held[0].serial, 16)) is not None
    assert f"user {UNIT}\n" not in (stage.folder / "broker/acl").read_text()


@asynccontextmanager
async def ending_soon(stage: Stage, hub: HubService) -> AsyncIterator[tuple[MqttChannel, datetime]]:
    """The unit on the line with a certificate of the hub's that ends in a few seconds, and when that is."""
    key, end = new_key(), datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
    issuer = issuing(hub)
    certificate = certify_client(issuer, UNIT, key.public_key(), end - OPERATIONAL_LIFE)
    settings = stage.unit_settings()
    settings.certificate.write_bytes(pem(certificate, issuer.certificate))
    settings.key.write_bytes(private_pem(key))
    with hub.central.context.database.transaction() as session:
        now_ms = hub.central.context.clock.wall_ms()
        certificates.activate(
            session, certificates.enter(session, certificate, CertificateState.PENDING, now_ms), now_ms
        )
    async with MqttChannel(settings) as unit:
        await until(lambda: unit.connection is not None)
        yield unit, end


async def test_a_session_does_not_outlive_its_certificate(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker looks at a certificate when a connection begins, and never again."""
    monkeypatch.setattr(commissioning_service, "FULL_INTERVAL_S", 1.0)
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            async with ending_soon(stage, hub) as (unit, end):
                await until(lambda: unit.connection is None)
                assert timedelta(0) <= datetime.now(UTC) - end < timedelta(seconds=LIMIT_S)
                await asyncio.sleep(1.0)
                assert unit.connection is None


async def test_a_unit_revoked_after_its_certificate_ended_loses_its_session_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commissioning_service, "FULL_INTERVAL_S", 3600.0)
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            async with ending_soon(stage, hub) as (unit, end):
                await asyncio.sleep((end - datetime.now(UTC)).total_seconds() + 1.0)
                assert unit.connection is not None
                ordered = time.monotonic()
                await line.ask(Verb.REVOKE, UnitOrder(unit=UNIT, reason="stolen on the road"), DepartureResult)
                await until(lambda: unit.connection is None)
                assert time.monotonic() - ordered < LIMIT_S


async def test_a_revocation_that_the_broker_missed_is_carried_out_when_both_are_back(stage: Stage) -> None:
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            stage.broker.kill()
            with hub.central.context.database.transaction() as session:
                hub.central.fleet.bar(session, UNIT, "while the broker was down")
        stage.broker.start()
        unit = MqttChannel(stage.unit_settings())
        async with unit, stage.hub(), stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            await asyncio.sleep(1.5)
            assert unit.connection is None


async def test_a_technician_orders_only_where_they_work_and_only_with_a_reason(stage: Stage) -> None:
    with stage.broker:
        async with stage.hub(), stage.line() as line, stage.line(LOCAL) as local:
            with pytest.raises(Refused) as refused:
                await local.ask(Verb.REVOKE, UnitOrder(unit=UNIT, reason="not mine at all"), DepartureResult)
            assert refused.value.problem is Problem.NO_RIGHTS
            assert "Ask a technician who has" in refused.value.next_step
            with pytest.raises(Refused, match="needs a reason"):
                await line.ask(Verb.SUSPEND, UnitOrder(unit=UNIT, reason=""), DepartureResult)
            with pytest.raises(Refused, match="No unit is called"):
                await line.ask(Verb.SUSPEND, UnitOrder(unit="desk-zz", reason="no such"), DepartureResult)


async def test_an_order_is_carried_out_once_however_often_it_is_heard_and_after_a_stopped_broker(stage: Stage) -> None:
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            stage.broker.kill()
            order = UnitOrder(unit=UNIT, reason="kept in the workshop")
            waiting = asyncio.create_task(line.ask(Verb.SUSPEND, order, DepartureResult))
            await asyncio.sleep(1.5)
            assert not waiting.done()
            stage.broker.start()
            assert (await waiting).state == "suspended"
            with hub.central.context.database.reading() as session:
                steps = session.scalars(select(UnitHistory.event).where(UnitHistory.subject == UNIT)).all()
            assert list(steps) == ["suspended"]


async def test_nobody_is_heard_under_another_name(stage: Stage) -> None:
    """As the hub hears it: a unit under its own name, and neither as another unit, nor as a technician or a claim."""
    heard: list[str] = []
    hub = MqttChannel(stage.hub_settings())
    unit = MqttChannel(stage.unit_settings())
    forbidden = (
        topics.UP_BIRTH.at(unit="desk-b2"), topics.TECHNICIAN_ORDER.at(technician="tek-andi", order="x"),
        topics.CLAIM_KNOCK.at(nonce="c-1"),
    )  # fmt: skip

    async def note(_names: dict[str, str], payload: bytes) -> None:
        heard.append(payload.decode())

    for topic in (topics.UP_BIRTH, topics.TECHNICIAN_ORDER, topics.CLAIM_KNOCK):
        hub.on(topic, note)
    with stage.broker:
        async with hub, unit:
            for name in forbidden:
                await until(lambda: hub.connection is not None and unit.connection is not None)
                # Mosquitto ends the session too: after a denied publish it reads no more of it.
                with pytest.raises((RemoteError, Disconnected)):
                    await unit.publish(name, name.encode())
            while "mine" not in heard:
                with suppress(Disconnected):
                    await unit.publish(topics.UP_BIRTH.at(unit=UNIT), b"mine")
                await asyncio.sleep(0.05)
    assert set(heard) == {"mine"}


def test_setup_writes_a_list_that_is_valid_for_a_week(stage: Stage) -> None:
    listed = x509.load_pem_x509_crl((stage.folder / "broker/crl.pem").read_bytes())
    assert (listed.next_update_utc - datetime.now(UTC)).days in (6, 7)
