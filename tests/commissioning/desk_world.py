"""The hub's side of commissioning without its network, and boxes without theirs: a test hands on each message."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from sqlalchemy import select

from contract import topics
from contract.certificates import der, load_certificate, new_key, public_der
from contract.clock import SystemClock
from contract.commissioning import Claim, encode_claim
from contract.dispatch import decode, encode
from contract.durable_files import DurableFolder, Observer, unobserved
from contract.identifiers import uuid7
from contract.packet import Model
from contract.technician import (
    ApproveOrder,
    ClaimAsk,
    ClaimsOrder,
    ClaimsResult,
    KnocksOrder,
    KnocksResult,
    Order,
    Reply,
    Verb,
    sign_order,
    verify_reply,
)
from edge.box import Box
from edge.box_files import BoxFiles
from edge.factory import Factory
from hub.authority import Authority
from hub.central import assemble
from hub.commissioning import CommissioningDesk, DeskParts, Said
from hub.config import HubSettings, load_settings
from hub.context import HubContext, load_keys
from hub.fleet import load_fleet, load_register
from hub.public_keys import load_public_keys
from hub.schema.commissioning_tables import Certificate
from hub.schema.database import Database
from hub.schema.tables import Outbox, Unit
from hub.technician_desk import TechnicianDesk
from hub.unit_setup import UnitSetups
from hub.vault import Vault
from provisioning.technician_identity import load_identity
from tests.commissioning.stage import SITE, TECHNICIAN, make_stage
from tests.empty_databases import empty_postgresql

START = datetime(2026, 11, 25, tzinfo=UTC)
HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS


class SetClock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = START) -> None:
        self.now_ms = int(now.timestamp() * 1000)

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


def hub_authority(settings: HubSettings) -> Authority:
    """The authority of a hub that was set up and has not run yet."""
    database = Database(settings.database_url, "OFF")
    database.upgrade()
    keys = load_keys(settings)
    assert settings.authority is not None
    return Authority(HubContext(settings, database, Vault(keys.blob), keys, SystemClock()), settings.authority)


@dataclass
class Desks:
    """The hub's desks on one database; made anew they know only what was committed."""

    context: HubContext
    commissioning: CommissioningDesk
    technicians: TechnicianDesk
    setups: UnitSetups
    authority: Authority


class DeskWorld:
    """A hub, its technicians, and the boxes that knock at it."""

    def __init__(self, folder: Path, database: str = "sqlite") -> None:
        self.clock = SetClock()
        self.folder = make_stage(folder, START).folder
        self.settings = load_settings(self.folder / "hub" / "hub.toml")
        url = empty_postgresql() if database == "postgresql" else self.settings.database_url
        self.database = Database(url, "OFF")
        self.desks = self.restart()
        central = assemble(self.desks.context)
        fleet = load_fleet(self.folder / "hub" / "fleet.json")
        central.enrol_fleet(fleet, load_register(self.folder / "hub" / "register.json"))

    def restart(self) -> Desks:
        """The hub begins again, from its database."""
        keys = load_keys(self.settings)
        context = HubContext(self.settings, self.database, Vault(keys.blob), keys, self.clock)
        section = self.settings.authority
        assert section is not None
        authority = Authority(context, section)
        central = assemble(context)
        setups = UnitSetups(context, central.fleet)
        public = load_public_keys(self.settings)
        parts = DeskParts(context, authority, setups, public, central.repository, lambda: None)
        self.desks = Desks(context, CommissioningDesk(parts), TechnicianDesk(parts), setups, authority)
        return self.desks

    def order(self, verb: Verb, body: Model, technician: str = TECHNICIAN) -> Reply:
        """A technician's order and its reply, without the line."""
        identity = load_identity(self.folder / "technicians" / technician)
        order = Order(
            id=uuid7(self.clock), technician=technician, verb=verb, at_ms=self.clock.wall_ms(), body=encode(body)
        )
        said = self.desks.technicians.on_order(technician, order.id, sign_order(order, identity.order))
        return verify_reply(said[0].payload, identity.hub, order.id)

    def claim(self, serial: str = "", life_h: int = 72) -> bytes:
        """A claim as it lies on its media."""
        key = new_key()
        nonce = f"c-{secrets.token_hex(8)}"
        asked = ClaimsOrder(
            claims=(ClaimAsk(nonce=nonce, serial=serial, key=public_der(key.public_key())),), life_h=life_h
        )
        reply = self.order(Verb.CLAIMS, asked)
        assert reply.done, reply
        result = decode(ClaimsResult, reply.body)
        private = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return encode_claim(
            Claim(
                nonce=nonce,
                serial=serial,
                certificate=result.certificates[0],
                key=private,
                ca=der(load_certificate((self.folder / "hub" / "ca.crt").read_bytes())),
                hub_statement=result.hub_statement,
                hub_dispatch=result.hub_dispatch,
                host=result.host,
                claim_port=result.claim_port,
                service_port=result.service_port,
                renewal_port=result.renewal_port,
                made_ms=result.made_ms,
                expires_ms=result.expires_ms,
            )
        )

    def knocks(self) -> KnocksResult:
        """Who knocks, as a technician sees it."""
        return decode(KnocksResult, self.order(Verb.KNOCKS, KnocksOrder()).body)

    def approve(self, box: Box, unit: str, technician: str = TECHNICIAN, **changes: object) -> Reply:
        """Approve the knocking box with this serial under this name."""
        row = next(row for row in self.knocks().rows if row.fingerprint == box.code)
        order = ApproveOrder(
            nonce=row.nonce, unit=unit, site=SITE, role="desk", serial=row.serial, key_digest=row.key_digest, tables={}
        )
        return self.order(Verb.APPROVE, order.model_copy(update=changes), technician)

    def deliver(self, topic: str, payload: bytes) -> list[Said]:
        """A unit's message to the hub, as the service hands it on."""
        desk = self.desks.commissioning
        if names := topics.CLAIM_KNOCK.parse(topic):
            return desk.on_knock(names["nonce"], payload)
        if names := topics.CLAIM_ASK.parse(topic):
            return desk.on_ask(names["nonce"], payload)
        if names := topics.UP_BIRTH.parse(topic):
            with self.database.transaction() as session:
                confirm = desk.take_birth(session, names["unit"], payload)
            return confirm()
        if names := topics.UP_REPORTED.parse(topic):
            with self.database.transaction() as session:
                self.desks.setups.take_reported(session, names["unit"], payload)
        elif names := topics.UP_SELFTEST.parse(topic):
            with self.database.transaction() as session:
                self.desks.setups.take_selftest(session, names["unit"], payload)
        return []

    def desired(self, unit: str) -> bytes:
        """The configuration that the broker holds for a unit."""
        with self.database.reading() as session:
            row = session.scalars(select(Outbox).where(Outbox.topic == topics.DN_DESIRED.at(unit=unit))).first()
        return row.payload if row is not None else b""

    def state(self, unit: str) -> str:
        """A unit's state."""
        with self.database.reading() as session:
            row = session.get(Unit, unit)
        return row.state if row is not None else ""

    def certificates(self, unit: str) -> list[str]:
        """The states of a unit's certificates."""
        with self.database.reading() as session:
            return sorted(session.scalars(select(Certificate.state).where(Certificate.holder == unit)))


def make_box(
    world: DeskWorld, folder: Path, serial: str = "S-1", observe: Observer = unobserved, clock: SetClock | None = None
) -> Box:
    """A box on this folder; made anew it knows only what is on its disk."""
    files = BoxFiles(DurableFolder(folder, observe))
    return Box(files, Factory(serial=serial, model="test"), clock or world.clock, "rekam test")


def hear(box: Box, said: Said) -> None:
    """The hub's message to a box, as its driver hands it on."""
    if topics.CLAIM_ANSWER.parse(said.topic):
        box.hear_answer(said.payload)
    elif topics.CLAIM_GRANT.parse(said.topic):
        box.hear_grant(said.payload)
    elif topics.DN_CONFIRMED.parse(said.topic):
        box.hear_confirmation(said.payload)
