"""Puts authority, commissioning and technicians on the line, and keeps the broker's lists as the database says.

Answers are published at once and never queued: who does not hear one asks again. The lists are written as soon as
something changed, the broker is made to read them, and then the sessions of those who were shut out are ended: well
within five seconds of the commit that revoked them. A session whose certificate has ended since it began is ended at
the next look, FULL_INTERVAL_S later at most. What could not be done is tried again, a start begins with it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import TypeVar

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from contract import topics
from contract.broker_access import CLAIM_ACCESS, service_access
from contract.channel_mqtt import MqttChannel, MqttSettings
from contract.commissioning import MESSAGE_BYTES_MAX, LateQuestion
from contract.dispatch import decode
from contract.errors import RekamError, RemoteError, TransientError
from contract.lifecycle import UnitState
from hub import certificates
from hub.authority import Authority
from hub.broker_control import BrokerControl
from hub.broker_files import ACCESS_FILE, CLAIM_ACCESS_FILE, LIST_FILE, BrokerFolder
from hub.central import Central
from hub.claim_gate import ClaimGate
from hub.commissioning import CommissioningDesk, DeskParts, Said
from hub.config import AuthoritySection
from hub.context import HubContext
from hub.public_keys import load_public_keys
from hub.renewal_door import RenewalDoor
from hub.schema.commissioning_tables import Certificate, Technician
from hub.schema.tables import Operator, Unit
from hub.technician_desk import TechnicianDesk
from hub.unit_inbox import UnitInbox
from hub.unit_setup import UnitSetups

POLL_INTERVAL_S = 0.1
FULL_INTERVAL_S = 20.0
SAID_AGAIN_S = 60.0
READ_AGAIN_S = 0.4  # Mosquitto looks for the signal at least every 100 ms
WAITING_MAX = 256

T = TypeVar("T")
log = structlog.get_logger("commissioning")


class CommissioningService:
    """The parts of the hub that let units in and put them out. `office` is the thread that may write."""

    def __init__(
        self,
        context: HubContext,
        section: AuthoritySection,
        central: Central,
        channel: MqttChannel,
        office: Executor,
        inbox: UnitInbox,
    ) -> None:
        """Load the authorities. Raises DeviceError."""
        self._context = context
        self._channel = channel
        self._office = office
        self._inbox = inbox
        self._changed = threading.Event()
        self._changed.set()
        self._said = ("", 0.0)
        self._folder = BrokerFolder(context.settings.path(section.broker_dir))
        self._control = BrokerControl(_control_settings(context, section))
        self._door = RenewalDoor(context.settings.broker.host, section.renewal_port, self._folder.folder, self._late)
        public = load_public_keys(context.settings)
        setups = UnitSetups(context, central.fleet)
        self.authority = Authority(context, section)
        parts = DeskParts(context, self.authority, setups, public, central.repository, self._changed.set)
        self.desk = CommissioningDesk(parts)
        self.technicians = TechnicianDesk(parts)
        self._setups = setups
        self._unread = True  # whatever an earlier life of the hub wrote, the broker may not have read
        self._put_out: dict[str, None] = {}
        self._known_out: set[str] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._gate = ClaimGate(context.clock)
        central.fleet.on_barred = self._changed.set

    def subscribe(self) -> None:
        """Register for everything that units and technicians say, before the channel starts."""
        on, desk = self._channel.on, self.desk
        on(topics.CLAIM_KNOCK, self._answered(lambda n, p: desk.on_knock(n["nonce"], p), self._gate))
        on(topics.CLAIM_ASK, self._answered(lambda n, p: desk.on_ask(n["nonce"], p), self._gate))
        on(topics.UP_BIRTH, self._birth)
        on(topics.UP_RENEWAL, self._answered(lambda n, p: desk.on_renewal(n["unit"], p)))
        on(topics.TECHNICIAN_ORDER, self._answered(self._order))
        on(topics.UP_REPORTED, self._reported)
        on(topics.UP_SELFTEST, self._selftest)
        on(topics.UP_PART, self._answered(self._part))

    async def prepare(self) -> None:
        """Before the first connection: hub and broker certified, the lists written."""
        await self._in_office(self.authority.certify_hub)
        await self._in_office(self._adopt_list)
        await self._in_office(self._write)

    async def run(self) -> None:
        """Keep lists, certificates and sessions right, and the renewal door open, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._door.run(), name="renewal door")
            tasks.create_task(self._keep_right(), name="lists")

    async def _keep_right(self) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0
        while True:
            try:
                if self._changed.is_set() or loop.time() >= due:
                    self._changed.clear()
                    await self._sync()
                    due = loop.time() + FULL_INTERVAL_S
                await self._end_sessions()
                self._said = ("", 0.0)
            except (RekamError, SQLAlchemyError) as error:
                self._say(error, loop.time())
                self._changed.set()
                await asyncio.sleep(1.0)
            await asyncio.sleep(POLL_INTERVAL_S)

    def _say(self, error: RekamError | SQLAlchemyError, now_s: float) -> None:
        """Log what keeps the lists waiting: once, and once a minute as long as it lasts."""
        fields = error.diagnostics() if isinstance(error, RekamError) else {"error": type(error).__name__}
        before, at_s = self._said
        if str(fields) != before or now_s - at_s >= SAID_AGAIN_S:
            self._said = (str(fields), now_s)
            log.critical("the broker's lists wait", **fields)

    async def _sync(self) -> None:
        """Files, signal, and who has to be put out. The hub's own new certificate serves from the next connect on."""
        await self._in_office(self.authority.certify_hub)
        out = await self._in_office(self._write)
        if self._unread:
            self._folder.reload()
            self._door.load_certificate()
            self._unread = False
            await asyncio.sleep(READ_AGAIN_S)
        self._put_out |= dict.fromkeys(sorted(out - self._known_out))
        self._known_out = out

    async def _end_sessions(self) -> None:
        """The latest first: at a start everybody who was ever shut out has their turn, and somebody may be urgent."""
        for holder in reversed(list(self._put_out)):
            if self._changed.is_set():
                return
            await self._control.end_session(holder)
            del self._put_out[holder]

    def _adopt_list(self) -> None:
        """What the broker's list knows better than the database, which may come from a backup."""
        try:
            held = (self._folder.folder / LIST_FILE).read_bytes()
        except OSError:
            return
        with self._context.database.transaction() as session:
            self.authority.adopt_list(session, held)

    def _write(self) -> set[str]:
        """Write what differs from the database; who is shut out by what was written.

        Both from one reading: whoever was shut out since is in no list yet, and would only come back.
        """
        with self._context.database.reading() as session:
            listed = self.authority.has_list(session)
            alarm = self.authority.alarm(session) if listed else ""
        if alarm:  # before a new one is signed: it is told, too, where the module with the key does not answer
            log.critical("alarm", message=alarm)
        with self._context.database.transaction() as session:
            access = _access(session)
            revocations = self.authority.revocation_list(session).encoded
            out = certificates.shut_out(session) | certificates.past_end(session, self._context.clock.wall_ms())
        self._unread |= self._folder.update(LIST_FILE, revocations)
        self._unread |= self._folder.update(ACCESS_FILE, access.encode())
        self._unread |= self._folder.update(CLAIM_ACCESS_FILE, CLAIM_ACCESS.encode())
        self._unread |= self.authority.certify_broker(self._folder.folder)
        return out

    async def _late(self, question: bytes) -> bytes:
        """The answer at the renewal door. Raises RemoteError, TransientError where there is none."""
        asked = decode(LateQuestion, question, MESSAGE_BYTES_MAX)
        if asked.technician:
            return await self._in_office(lambda: self.technicians.answer_late(asked.technician, asked.body))
        return await self._in_office(lambda: self.desk.renew(asked.body))

    def _order(self, names: dict[str, str], payload: bytes) -> list[Said]:
        return self.technicians.on_order(names["technician"], names["order"], payload)

    def _part(self, names: dict[str, str], payload: bytes) -> list[Said]:
        return self.technicians.relay.on_part(names["unit"], names["command"], payload)

    async def _reported(self, names: dict[str, str], payload: bytes) -> None:
        unit = names["unit"]
        await self._inbox.put(unit, lambda session: self._setups.take_reported(session, unit, payload))

    async def _selftest(self, names: dict[str, str], payload: bytes) -> None:
        unit = names["unit"]
        await self._inbox.put(unit, lambda session: self._setups.take_selftest(session, unit, payload))

    async def _birth(self, names: dict[str, str], payload: bytes) -> None:
        """Said once a connection and never asked again; an empty one clears what the broker retains."""
        if payload:
            unit = names["unit"]
            await self._inbox.put(unit, lambda session: self.desk.take_birth(session, unit, payload))

    def _answered(
        self, work: Callable[[dict[str, str], bytes], list[Said]], gate: ClaimGate | None = None
    ) -> Callable[[dict[str, str], bytes], Awaitable[None]]:
        """A handler that does `work` in the office and publishes what it says, without holding up the channel.

        gate: of claims; what it does not let in is dropped.
        """

        async def take(names: dict[str, str], payload: bytes) -> None:
            if gate is not None and not gate.enter(names["nonce"]):
                return
            if len(self._answering) >= WAITING_MAX:
                if gate is not None:
                    gate.leave(names["nonce"])
                raise TransientError("Too much waits for an answer; who asked will ask again.")
            task = asyncio.create_task(self._answer(work, names, payload))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            if gate is not None:
                task.add_done_callback(lambda _task: gate.leave(names["nonce"]))

        return take

    async def _answer(
        self, work: Callable[[dict[str, str], bytes], list[Said]], names: dict[str, str], payload: bytes
    ) -> None:
        try:
            for said in await self._in_office(lambda: work(names, payload)):
                await self._channel.publish(said.topic, said.payload, expiry_s=said.expiry_s)
        except (TransientError, RemoteError) as error:
            log.info("not answered", **error.diagnostics(), **names)
        except Exception as error:  # noqa: BLE001 - one message must not end the service of all the others
            log.critical("message dropped", error=type(error).__name__, **names)

    async def _in_office(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._office, work)


def _access(session: Session) -> str:
    """The service listener's list: units and technicians with a living certificate, and no others."""
    living = set(session.scalars(select(Certificate.holder).where(Certificate.state.in_(certificates.LIVING))))
    units = select(Unit.id, Unit.site).where(Unit.state != UnitState.RETIRED)
    technicians = select(Technician.id).join(Operator, Operator.id == Technician.id).where(Operator.revoked.is_(False))
    return service_access(
        [(name, site) for name, site in session.execute(units) if name in living],
        [name for name in session.scalars(technicians) if name in living],
    )


def _control_settings(context: HubContext, section: AuthoritySection) -> MqttSettings:
    settings = context.settings
    return MqttSettings(
        host="127.0.0.1",
        port=section.control_port,
        ca=settings.path(settings.broker.ca),
        certificate=settings.path(section.control_certificate),
        key=settings.path(section.control_key),
        client_id="",
    )
