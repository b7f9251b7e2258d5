"""An operator's life over a real broker: enrolled at one desk, approved, at work at another, revoked there too."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import select

from contract.channel_mqtt import MqttChannel
from contract.clock import SystemClock
from contract.dispatch import encode
from contract.sample import FingerPosition
from contract.transfer import Receipt
from edge import sign_on
from edge.capture_state import Services
from edge.config import load_config
from edge.downlink import Downlink
from edge.eligibility import Refusal
from edge.keys import load_keys
from edge.matcher_lite import extract
from edge.moment import MomentSource
from edge.officer_desk import OfficerDesk, OfficerWork, SignOnTeller
from edge.officer_snapshot import officer_snapshot
from edge.packing import PacketKeeper, Sealer
from edge.ports import CardProof, Examined
from edge.presence import Presence
from edge.procedure import Refused
from edge.register import Register
from edge.roster import KIND, Officer, RosterBook
from edge.sealed_store import SealedStore
from edge.second_factor import FactorBook
from edge.sensors.interface import Frame
from edge.sign_on import Purpose
from edge.site_gallery import SiteGallery
from edge.spool import Spool
from edge.trusted_time import TrustedTime
from edge.uplink import Uplink
from edge.uplink_settings import uplink_settings
from hub import rosters
from hub.schema.operator_tables import OperatorEnrolment, OperatorHistory, SignOn, UnitRoster
from hub.schema.tables import Operator as OperatorRow
from hub.service import HubService
from provisioning.world import Operator, Unit
from tests.commissioning.stage import SITE, UNIT, Stage, make_stage, until
from tests.unit.edge_fakes import FakeExaminer, FakeSensors
from tests.unit.test_edge_downlink import Memory
from virtual.people import person

OTHER, HEAD, NEW, CENTRE = "desk-a2", "kasi-dewi", "op-rina", "dc-1"
PEOPLE = {HEAD: 21, NEW: 22}
FINGERS = (FingerPosition.RIGHT_INDEX, FingerPosition.LEFT_INDEX)
PIN, EARLIER, LATER, DAY_MS = "482913", "739105", "560218", 86_400_000


class OffClock(SystemClock):
    """The machine's clock, set wrong by so much."""

    offset_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.offset_ms


class RealFingers(FakeExaminer):
    """Gives whoever is shown their real template, as the hub has to read it."""

    templates: dict[str, bytes] = {}  # noqa: RUF012 - the same for all

    async def finger(self, frame: Frame, position: FingerPosition) -> Examined:
        shows = frame.metadata["shows"]
        return Examined(b"FIR " + shows.encode(), 80, b"jpeg", self.templates.get(shows, shows.encode()))


class Desk:
    """A unit's officers with everything between them and the hub real; devices and comparison are fakes."""

    def __init__(self, stage: Stage, unit: str) -> None:
        self.stage, self.unit, self.clock = stage, unit, OffClock()
        self.config = load_config(stage.folder / "units" / unit / "unit.toml")
        self.keys = load_keys(unit, self.config.keys, None)
        self.sensors = FakeSensors()
        self.card: CardProof | None = None
        self.examiner = RealFingers()
        self.parts = AsyncExitStack()

    async def start(self, *, on_line: bool = True) -> Desk:
        """The agent's start, as far as officers go."""
        config, keys, clock = self.config, self.keys, self.clock
        folder = self.stage.folder / "data" / self.unit
        self.store = store = SealedStore(folder / "unit.db", keys.store)
        self.parts.callback(store.close)
        register = Register(store, SITE)
        self.roster = RosterBook(store, SITE, keys.hub_statement, TrustedTime(store, clock))
        spool = Spool(folder / "spool", keys.store, clock, 10**9, 100)
        self.parts.callback(spool.close)
        gallery, moments = SiteGallery(store, Memory(), register), MomentSource(store, clock)
        presence = Presence(self.unit, "test", clock)
        channel = MqttChannel(self.stage.unit_settings(self.unit), presence.will)

        async def on_receipt(_receipt: Receipt) -> None:
            return

        Downlink(
            channel, self.unit, SITE, keys.open, keys.hub_dispatch, keys.hub_statement, register, self.roster, gallery,
            moments, on_receipt,
        )  # fmt: skip
        uplink = Uplink(channel, spool, uplink_settings(self.unit, SITE, config.uplink), keys.hub_statement, clock)
        keeper = PacketKeeper(
            Sealer(self.unit, SITE, keys.sign, (keys.hub_packet, keys.recovery)), spool, store, register, gallery,
            moments, clock, wake=uplink.wake, share=lambda _entry: None,
        )  # fmt: skip
        presence.attach(channel)
        services = Services(self.sensors, self.examiner, keeper, register, self.roster, config.policy, clock)
        factors = FactorBook(store, self.roster.time)
        teller = SignOnTeller(self.unit, factors, channel.publish)
        channel.on_connected(teller.say)
        self.officers = OfficerDesk(services, factors, self.card)
        if not on_line:
            return self
        await self.parts.enter_async_context(channel)
        for work in (uplink.run(), teller.run()):
            task = asyncio.create_task(work)
            self.parts.callback(task.cancel)
        return self

    async def stop(self) -> None:
        """The line goes, and the agent with it."""
        await self.parts.aclose()
        self.parts = AsyncExitStack()

    def knows(self, operator: str) -> bool:
        return self.roster.officer(operator) is not None

    async def act(self, work: OfficerWork, action: str, who: str = "", **fields: str) -> str:
        self.sensors.person = who or self.sensors.person
        await work.start(action, fields)
        return work.step

    async def sign_on(self, operator: str, pin: str = "") -> str:
        work = await self.officers.identify(operator, Purpose.SIGN_ON)
        step = await self.act(work, "capture", operator)
        step = await self.act(work, "pin", pin=pin) if step == "pin" else step
        self.officers.closed(work)
        return step


def rows(service: HubService, kind: type, *where: object) -> list[object]:
    with service.central.context.database.reading() as session:
        return list(session.scalars(select(kind).where(*where)))  # type: ignore[arg-type]


def told(service: HubService, operator: str) -> set[str]:
    """What the operators' history says of this one."""
    return {link.event for link in rows(service, OperatorHistory, OperatorHistory.subject == operator)}  # type: ignore[attr-defined]


def holds(service: HubService, unit: str) -> bool:
    """Whether the hub knows that the unit holds the newest roster."""
    return any(row.held == row.version for row in rows(service, UnitRoster, UnitRoster.unit == unit))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def templates() -> dict[str, bytes]:
    found = {
        f"{name}/{int(finger)}": extract(person(3, index).finger(finger, 0)).to_iso()
        for name, index in PEOPLE.items()
        for finger in FINGERS
    }
    RealFingers.templates = found
    return found


@pytest.fixture
def stage(tmp_path: Path, templates: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(sign_on, "PIN_COST", 2)
    monkeypatch.setattr(rosters, "ASKED_EVERY_MS", 0)
    made = officers_stage(tmp_path, templates, "desk")
    with made.broker:
        yield made


def officers_stage(tmp_path: Path, templates: dict[str, bytes], other_role: Literal["desk", "handover"]) -> Stage:
    """Two units at one site, a section head there, an officer of the centre."""
    finger = tmp_path / "head.fmr"
    finger.write_bytes(templates[f"{HEAD}/2"])
    return make_stage(
        tmp_path,
        units=(Unit(id=OTHER, site=SITE, role=other_role, screen_port=2),),
        operators=(
            Operator(id=HEAD, name="Dewi", roles=("section-head",), sites=(SITE,), templates={"2": finger}),
            Operator(id=CENTRE, name="Pusat", roles=("dc-officer",), sites=("*",)),
        ),
    )


async def enrol(desk: Desk) -> None:
    """The head takes a new operator with two fingers and a PIN."""
    assert await desk.sign_on(HEAD) == "signed_on"
    work = desk.officers.enrol(NEW, "Rina Contoh", ["operator"])
    for _ in FINGERS:
        await desk.act(work, "capture", NEW)
    await desk.act(work, "with_pin")
    assert await desk.act(work, "pin", pin=PIN, again=PIN) == "sign_off"
    assert await desk.act(work, "capture", HEAD) == "enrolled"


async def test_from_the_first_finger_to_the_last_day(stage: Stage) -> None:
    async with stage.hub() as service:
        first, second = await Desk(stage, UNIT).start(), await Desk(stage, OTHER).start()
        await until(lambda: first.knows(HEAD) and second.knows(HEAD))
        await enrol(first)
        await until(lambda: bool(rows(service, OperatorEnrolment)))
        assert not first.knows(NEW)
        (waiting,) = rows(service, OperatorEnrolment)
        operators, database = service.central.operators, service.central.context.database
        with database.transaction() as session:
            operators.approve(session, waiting.id, CENTRE, ["operator"], [SITE])  # type: ignore[attr-defined]
        await until(lambda: first.knows(NEW) and second.knows(NEW))
        assert await second.sign_on(NEW, PIN) == "signed_on"
        await until(lambda: bool(rows(service, SignOn, SignOn.unit == OTHER, SignOn.signed_on == 1)))

        await second.stop()  # the line to the other desk is cut, and meanwhile the operator is dismissed
        with database.transaction() as session:
            operators.revoke(session, NEW, CENTRE, "dismissed today")
        await until(lambda: not first.knows(NEW) and holds(service, UNIT))
        assert not holds(service, OTHER)  # and the officer at the console sees that
        store = SealedStore(stage.folder / "data" / OTHER / "unit.db", second.keys.store)
        book = RosterBook(store, SITE, second.keys.hub_statement, TrustedTime(store, second.clock))
        assert isinstance(book.may_work(NEW, "operator"), Officer)  # off-line the lease still runs …
        second.clock.offset_ms = 8 * DAY_MS
        assert book.may_work(NEW, "operator") is Refusal.LEASE_ENDED  # … and ends
        store.close()
        second.clock.offset_ms = 0

        await second.start()
        await until(lambda: not second.knows(NEW) and holds(service, OTHER))
        with pytest.raises(Refused) as caught:
            await second.sign_on(NEW, PIN)
        assert caught.value.refusal is Refusal.OPERATOR_UNKNOWN
        assert {"enrolled", "approved", "lease signed", "revoked"} <= told(service, NEW)
        await first.stop()
        await second.stop()


async def choose(desk: Desk, operator: str, old: str, new: str) -> str:
    """The operator changes the PIN at this desk."""
    work = await desk.officers.identify(operator, Purpose.NEW_PIN)
    step = await desk.act(work, "capture", operator)
    step = await desk.act(work, "pin", pin=old) if step == "pin" else step
    assert step == "new_pin"
    return await desk.act(work, "pin", pin=new, again=new)


async def test_two_desks_change_a_pin_unheard_of_each_other_and_two_officers_reset_it(stage: Stage) -> None:
    async with stage.hub() as service:
        first, second = await Desk(stage, UNIT).start(), await Desk(stage, OTHER).start()
        await until(lambda: first.knows(HEAD) and second.knows(HEAD))
        await enrol(first)
        await until(lambda: bool(rows(service, OperatorEnrolment)))
        (waiting,) = rows(service, OperatorEnrolment)
        central, database = service.central, service.central.context.database
        with database.transaction() as session:
            central.operators.approve(session, waiting.id, CENTRE, ["operator"], [SITE])  # type: ignore[attr-defined]
        await until(lambda: first.knows(NEW) and second.knows(NEW))

        await second.stop()  # off-line, and there the PIN is changed first …
        await second.start(on_line=False)
        assert await choose(second, NEW, PIN, EARLIER) == "pin_changed"
        assert await choose(first, NEW, PIN, LATER) == "pin_changed"  # … and elsewhere after that
        await until(lambda: "PIN changed" in told(service, NEW))
        await second.stop()
        await second.start()
        await until(lambda: "PIN superseded" in told(service, NEW) and holds(service, UNIT) and holds(service, OTHER))
        work = await second.officers.identify(NEW, Purpose.SIGN_ON)
        assert await second.act(work, "capture", NEW) == "pin"
        assert "diganti di tempat lain" in officer_snapshot(work).notice_id
        assert await second.act(work, "pin", pin=EARLIER) == "pin"
        assert await second.act(work, "pin", pin=LATER) == "signed_on"
        assert await first.sign_on(NEW, LATER) == "signed_on"

        with database.transaction() as session:
            asked = central.proposals.propose(session, "pin-reset", NEW, "forgot it on leave", HEAD)
        with database.transaction() as session:
            central.proposals.decide(session, asked.id, CENTRE, confirm=True)
        await until(lambda: all(desk.roster.officer(NEW).entry.pin == "" for desk in (first, second)))  # type: ignore[union-attr]
        work = await second.officers.identify(NEW, Purpose.SIGN_ON)
        assert await second.act(work, "capture", NEW) == "new_pin"
        assert await second.act(work, "pin", pin=PIN, again=PIN) == "signed_on"
        await until(lambda: first.roster.officer(NEW).entry.pin != "")  # type: ignore[union-attr]
        assert await first.sign_on(NEW, LATER) == "pin"
        first.officers.sign_on.close()
        assert await first.sign_on(NEW, PIN) == "signed_on"
        await first.stop()
        await second.stop()


async def test_a_unit_whose_roster_was_damaged_has_the_whole_again(stage: Stage) -> None:
    async with stage.hub() as service:
        desk = await Desk(stage, UNIT).start()
        await until(lambda: desk.knows(HEAD) and holds(service, UNIT))
        whole = desk.roster._roster
        await desk.stop()
        store = SealedStore(stage.folder / "data" / UNIT / "unit.db", desk.keys.store)
        store.put(KIND, "", encode(whole.model_copy(update={"operators": ()})))
        store.close()
        await desk.start()
        with service.central.context.database.transaction() as session:
            for operator in session.scalars(select(OperatorRow)):
                operator.name += " BARU"
            rosters.say_to_all(session, service.central.context)
        await until(lambda: desk.knows(HEAD) and holds(service, UNIT))
        officer = desk.roster.officer(HEAD)
        assert officer is not None and officer.name == "Dewi BARU"
        assert hashlib.sha256(encode(desk.roster._roster)).digest() == desk.roster.held.digest
        await desk.stop()
