"""A technician's own certificate: renewed by itself in time and late, whatever is cut, and taken away at once."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import select

from contract.certificates import (
    certificate_key,
    certify_client,
    load_certificate,
    new_key,
    pem,
    private_pem,
    public_der,
    serial_text,
)
from contract.channel_mqtt import MqttChannel, MqttSettings
from contract.commissioning_problems import Problem
from contract.credential import FileSigner
from contract.dispatch import decode, encode
from contract.durable_files import DurableFolder
from contract.errors import RemoteError
from contract.identifiers import uuid7
from contract.technician import (
    DismissOrder,
    Order,
    RefusedOrder,
    RefusedResult,
    StatusOrder,
    StatusResult,
    Verb,
    sign_order,
)
from hub import certificates
from hub.certificates import CertificateState
from hub.issuers import load_issuers
from hub.schema.commissioning_tables import Certificate
from hub.service import HubService
from provisioning.line import HubLine, Refused
from provisioning.own_certificate import OwnCertificate, OwnRefusal
from provisioning.technician_identity import load_identity
from tests.commissioning.desk_world import DAY_MS, DeskWorld
from tests.commissioning.stage import FAST, LOCAL, PATIENCE, TECHNICIAN, Stage, make_stage, until

LIMIT_S = 5.0


class DeskLine:
    """The line to a hub without its network."""

    def __init__(self, world: DeskWorld, technician: str = TECHNICIAN) -> None:
        self.world, self.technician, self.connects = world, technician, 0

    async def ask(self, verb, body, kind):
        return decode(kind, self._reply(verb, body).body)

    async def tell(self, verb, body):
        self._reply(verb, body)

    async def come_back(self):
        self.connects += 1

    def _reply(self, verb, body):
        reply = self.world.order(verb, body, self.technician)
        if not reply.done:
            raise Refused(reply)
        return reply


def own_at(folder: Path, world: DeskWorld, observe=None) -> OwnCertificate:
    identity = load_identity(folder)
    settings = MqttSettings("h", 1, identity.ca, identity.certificate, identity.key, identity.technician)
    own = OwnCertificate(identity, settings, world.clock)
    if observe is not None:
        own.credential._files = DurableFolder(folder, observe)
    return own


def test_a_cut_at_every_write_leaves_one_that_works_and_one_that_counts(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path / "world")
    kept = world.folder / "technicians" / TECHNICIAN
    cuts = 0
    for cut_at in range(1, 40):
        world.clock.now_ms += 21 * DAY_MS
        folder = tmp_path / f"cut-{cut_at}"
        shutil.copytree(kept, folder)
        passed = 0

        def cut(_name: str, _done: bool, at: int = cut_at) -> None:
            nonlocal passed
            passed += 1
            if passed == at:
                raise KeyboardInterrupt

        try:
            asyncio.run(own_at(folder, world, cut).keep_good(DeskLine(world)))
            finished = True
        except KeyboardInterrupt:
            cuts, finished = cuts + 1, False
        again = own_at(folder, world)
        for _attempt in range(4):  # whatever serves, and after each failure, certificate and key belong together
            certificate, signer = again.credential.present()
            assert signer.public() == public_der(certificate_key(certificate))
            again.credential.note_lost()
        asyncio.run(own_at(folder, world).keep_good(DeskLine(world)))
        held = load_certificate((folder / "tls.crt").read_bytes())
        with world.database.reading() as session:
            active = session.scalars(select(Certificate.serial).where(
                Certificate.holder == TECHNICIAN, Certificate.state == "ACTIVE")).all()  # fmt: skip
        assert active == [serial_text(held)] and not (folder / "tls.next.pem").exists()
        assert FileSigner((folder / "tls.key").read_bytes()).public() == public_der(certificate_key(held))
        kept = folder
        if finished:
            break
    assert cuts >= 10 and finished


def test_not_before_its_time_and_never_for_another(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path / "world")
    folder, other = (world.folder / "technicians" / name for name in (TECHNICIAN, LOCAL))
    assert asyncio.run(own_at(folder, world).keep_good(DeskLine(world))) is False
    world.clock.now_ms += 21 * DAY_MS
    with pytest.raises(Refused) as refused:  # another's certificate, in an order of one's own
        asyncio.run(own_at(other, world).keep_good(DeskLine(world, TECHNICIAN)))
    assert refused.value.problem is Problem.NAME_DIFFERS
    renewal = encode(own_at(folder, world).credential.request())
    answer = world.desks.commissioning.renew(renewal)  # by the TLS key alone
    assert Problem.PROOF_WRONG.value.encode() in answer
    identity = load_identity(folder)
    order = Order(id=uuid7(world.clock), technician=TECHNICIAN, verb=Verb.STATUS, at_ms=world.clock.wall_ms(),
                  body=encode(StatusOrder()))  # fmt: skip
    with pytest.raises(RemoteError, match="only the next certificate"):
        world.desks.technicians.answer_late(TECHNICIAN, sign_order(order, identity.order))
    assert world.certificates(TECHNICIAN) == ["ACTIVE"]


def test_two_copies_of_a_folder_leave_one_that_counts(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path / "world")
    first = world.folder / "technicians" / TECHNICIAN
    second = tmp_path / "copy"
    shutil.copytree(first, second)
    world.clock.now_ms += 21 * DAY_MS
    assert asyncio.run(own_at(first, world).keep_good(DeskLine(world)))
    with pytest.raises(Refused) as refused:
        asyncio.run(own_at(second, world).keep_good(DeskLine(world)))
    assert refused.value.problem is Problem.CERTIFICATE_SUPERSEDED
    (kept,) = decode(RefusedResult, world.order(Verb.REFUSED, RefusedOrder()).body).rows
    assert (kept.technician, kept.verb, kept.problem) == (TECHNICIAN, "certificate", Problem.CERTIFICATE_SUPERSEDED)
    assert world.certificates(TECHNICIAN) == ["ACTIVE", "SUPERSEDED"]


def test_who_dismisses_works_wherever_the_other_does_and_says_why(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path / "world")
    for who, whom, reason in ((LOCAL, TECHNICIAN, "not mine to do"), (TECHNICIAN, TECHNICIAN, "tired of it"),
                              (TECHNICIAN, "nobody", "who is that"), (TECHNICIAN, LOCAL, " ")):  # fmt: skip
        reply = world.order(Verb.DISMISS, DismissOrder(technician=whom, reason=reason), who)
        assert not reply.done and reply.next_step
    assert world.order(Verb.DISMISS, DismissOrder(technician=LOCAL, reason="laptop stolen"), TECHNICIAN).done
    assert (world.certificates(LOCAL), world.certificates(TECHNICIAN)) == (["REVOKED"], ["ACTIVE"])
    reply = world.order(Verb.STATUS, StatusOrder(), LOCAL)  # over a session that the broker has not ended yet
    assert not reply.done and "no certificate any more" in reply.message
    with pytest.raises(Refused):
        world.clock.now_ms += 21 * DAY_MS
        asyncio.run(own_at(world.folder / "technicians" / LOCAL, world).keep_good(DeskLine(world, LOCAL)))


# --- over a real broker ---


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


def give_certificate(stage: Stage, hub: HubService, begun_days_ago: int) -> Path:
    """Let the technician hold a certificate of the hub's that began some days ago; their folder."""
    settings = hub.central.context.settings
    assert settings.authority is not None
    issuer = load_issuers(settings, settings.authority).issuing
    key = new_key()
    begun = datetime.now(UTC) - timedelta(days=begun_days_ago)
    certificate = certify_client(issuer, TECHNICIAN, key.public_key(), begun)
    folder = stage.folder / "technicians" / TECHNICIAN
    (folder / "tls.crt").write_bytes(pem(certificate, issuer.certificate))
    (folder / "tls.key").write_bytes(private_pem(key))
    with hub.central.context.database.transaction() as session:
        before = certificates.active_of(session, TECHNICIAN)
        assert before is not None
        before.state = CertificateState.SUPERSEDED
        session.flush()
        certificates.enter(session, certificate, CertificateState.ACTIVE, hub.central.context.clock.wall_ms())
    return folder


def is_listed(stage: Stage, serial: int) -> bool:
    found = x509.load_pem_x509_crl((stage.folder / "broker/crl.pem").read_bytes())
    return found.get_revoked_certificate_by_serial_number(serial) is not None


async def test_it_is_renewed_on_the_line_and_the_old_one_is_refused_from_then_on(stage: Stage, tmp_path: Path) -> None:
    with stage.broker:
        async with stage.hub() as hub:
            async with stage.line(LOCAL) as other:
                await other.ask(Verb.STATUS, StatusOrder(), StatusResult)
            folder = give_certificate(stage, hub, 21)
            shutil.copytree(folder, tmp_path / "old")
            async with stage.line() as line:
                assert await line.keep_certificate_good()
                await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
                assert not await line.keep_certificate_good()
            gone = load_certificate((tmp_path / "old/tls.crt").read_bytes()).serial_number
            await until(lambda: is_listed(stage, gone))
            await asyncio.sleep(0.5)  # the broker has read it
            losses = []
            old = MqttChannel(MqttSettings(
                "127.0.0.1", stage.broker.port, folder / "ca.crt", tmp_path / "old/tls.crt", tmp_path / "old/tls.key",
                TECHNICIAN, backoff=FAST))  # fmt: skip
            old.on_lost(losses.append)
            async with old:
                await until(lambda: len(losses) > 2 and old.connection is None)


async def test_after_weeks_in_a_drawer_it_comes_back_and_after_half_a_year_it_says_what_to_do(stage: Stage) -> None:
    with stage.broker:
        async with stage.hub() as hub:
            async with stage.line(LOCAL) as other:
                await other.ask(Verb.STATUS, StatusOrder(), StatusResult)
            give_certificate(stage, hub, 90)
            async with stage.line() as line:
                await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
                assert await line.keep_certificate_good()
            folder = give_certificate(stage, hub, 211)
            with pytest.raises(OwnRefusal, match="180 days") as refused:
                async with HubLine(load_identity(folder), lambda _: None, PATIENCE):
                    pass
            assert "rekam-provision enrol" in refused.value.next_step


async def test_a_dismissed_technicians_live_session_is_gone_within_five_seconds(stage: Stage) -> None:
    with stage.broker:
        async with stage.hub(), stage.line() as line, stage.line(LOCAL) as local:
            await local.ask(Verb.STATUS, StatusOrder(), StatusResult)
            losses = []
            local._channel.on_lost(losses.append)
            await line.tell(Verb.DISMISS, DismissOrder(technician=LOCAL, reason="laptop stolen on the road"))
            assert await until(lambda: bool(losses), LIMIT_S) < LIMIT_S
            await asyncio.sleep(1.0)
            assert local._channel.connection is None
