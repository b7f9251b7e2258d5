"""What becomes of a packet once it lies here: opened again, checked, and dealt with by its kind (M23).

A capture that fails a check is ENROLL_FAILURE_* with a code that says what to do next; its bytes are kept, so that it
can be reprocessed. Reports from stations and desks go to hub.issuance. Whatever does not fit is quarantined: it
arrived, the unit may purge it, and a person looks at it (M18). Blocking; one thread calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from contract.errors import RekamError, RemoteError
from contract.lifecycle import RecordEvent, RecordState
from contract.packet import (
    EnrolmentBody,
    Envelope,
    HandoverBody,
    OperatorBody,
    PersonalisationBody,
    PinBody,
    RefusalBody,
)
from hub import clocks, rights
from hub.adjudication import Adjudication, Cause
from hub.context import HubContext
from hub.enrolment_checks import Facts, Finding, check
from hub.fleet import Role
from hub.issuance import Issuance
from hub.operator_desk import OperatorDesk
from hub.packets import PacketBook, open_packet
from hub.records import IRISES, NOT_SWAPPED, PORTRAIT, REVOKED, SIGN_OFF, Records, known
from hub.schema.tables import Operator, Packet, Record, Resident, Site, Unit
from hub.search.fusion import PersonMatch

BATCH = 50
HELD_MS = 10_000
MOMENT_MS = 100  # for opening packets that then share a transaction; an ordinary capture takes longer than that alone
log = structlog.get_logger("intake")


@dataclass(frozen=True, slots=True)
class Opened:
    """A packet, what is in it, and what the checks of a capture found."""

    pid: str
    envelope: Envelope
    finding: Finding | None


class Intake:
    """Deals with packets that nobody has dealt with yet."""

    def __init__(
        self,
        context: HubContext,
        records: Records,
        packets: PacketBook,
        issuance: Issuance,
        adjudication: Adjudication,
        operators: OperatorDesk,
    ) -> None:
        self._context = context
        self._records = records
        self._packets = packets
        self._issuance = issuance
        self._adjudication = adjudication
        self._operators = operators
        self._held: dict[str, int] = {}

    def due(self) -> list[str]:
        """The oldest packets that nobody has dealt with yet."""
        with self._context.database.reading() as session:
            query = select(Packet.pid).where(Packet.settled_ms.is_(None), Packet.pid.not_in(self._held_now()))
            return list(session.scalars(query.order_by(Packet.received_ms).limit(BATCH)))

    def process_some(self, pids: Sequence[str]) -> Sequence[str]:
        """Deal with the first of these packets, as many as are opened in a moment; returns the others.

        Afterwards each is released or quarantined, and what it says is in the database. Only where the hub itself is in
        trouble (disk, database) it stays as it is, and comes again after a while: the unit keeps its copy until then.
        They share a transaction, unless one of them spoils it. Never raises for what is in a packet: those behind it
        must not wait for it.
        """
        until_ms = self._context.clock.monotonic_ms() + MOMENT_MS
        opened: list[Opened] = []
        taken = 0
        for pid in pids:
            if taken and self._context.clock.monotonic_ms() >= until_ms:
                break
            taken += 1
            self._guard(pid, lambda: opened.append(self._open(pid)))  # noqa: B023 - called before it changes
        try:
            self._settle(opened)
        except Exception as error:  # noqa: BLE001 - see _guard, which has the word then
            log.info("packets are dealt with one by one", packets=len(opened), error=type(error).__name__)
            for one in opened:
                self._guard(one.pid, lambda: self._settle([one]))  # noqa: B023 - see above
        return pids[taken:]

    def _guard(self, pid: str, work: Callable[[], None]) -> None:
        """Do something with a packet, and say what it is when that fails: the sender's fault, the hub's, or ours."""
        try:
            try:
                work()
            except RemoteError as error:
                self._quarantine(pid, error.message)
            except RekamError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a packet brings must not stop those behind it
                log.critical("packet cannot be dealt with", pid=pid, error=type(error).__name__)
                self._quarantine(pid, f"The hub could not deal with this packet ({type(error).__name__}).")
        except RekamError as error:
            log.critical("packet waits for the hub's repair", pid=pid, **error.diagnostics())
            self._held[pid] = self._context.clock.monotonic_ms() + HELD_MS
        except SQLAlchemyError as error:
            log.critical("packet waits for the hub's repair", pid=pid, error=type(error).__name__)
            self._held[pid] = self._context.clock.monotonic_ms() + HELD_MS

    def _open(self, pid: str) -> Opened:
        envelope = open_packet(self._context, pid)
        return Opened(pid, envelope, self._check(envelope))

    def _settle(self, opened: Sequence[Opened]) -> None:
        with self._context.database.transaction() as session:
            for one in opened:
                packet = session.get_one(Packet, one.pid, with_for_update=True)
                if packet.settled_ms is None:
                    self._packets.settle(session, packet, self._act(session, packet, one.envelope, one.finding))

    def _held_now(self) -> list[str]:
        """Packets whose turn has not come again since the hub could not read them."""
        now_ms = self._context.clock.monotonic_ms()
        self._held = {pid: until_ms for pid, until_ms in self._held.items() if until_ms > now_ms}
        return list(self._held)

    def reprocess(self, session: Session, capture_id: str, operator: str) -> None:
        """Let a failed capture enter again from the stored packet, on an officer's signed word (M23)."""
        record = known(session, capture_id)
        self._records.move(session, record, RecordEvent.PACKET_ENTERED, operator)
        self._records.move(session, record, RecordEvent.REPROCESSED, operator)
        self._records.arrive(session, record, operator)
        session.get_one(Packet, record.pid).settled_ms = None

    def _act(self, session: Session, packet: Packet, envelope: Envelope, finding: Finding | None) -> str:
        """What the packet's kind asks for; returns why a person has to look at it, or an empty string."""
        body = envelope.body
        unit = session.get(Unit, envelope.unit)
        if not isinstance(body, EnrolmentBody) and (unit is None or unit.site != envelope.site):
            return "The packet names another site than the one where its unit stands."
        if self._is_told_before(session, packet, envelope):
            return ""
        if isinstance(body, EnrolmentBody):
            clocks.keep(session, envelope.id, envelope.kind, envelope.id, body.steps)
            return self._enrol(session, packet, envelope, body, finding)
        if isinstance(body, PersonalisationBody):
            clocks.keep(session, envelope.id, envelope.kind, body.capture_id, body.steps)
            return self._issuance.personalised(session, envelope, body)
        if isinstance(body, HandoverBody):
            clocks.keep(session, envelope.id, envelope.kind, body.capture_id, body.steps)
            return self._issuance.handed_over(session, envelope, body)
        if isinstance(body, OperatorBody):
            return self._operators.receive(session, envelope, body)
        if isinstance(body, PinBody):
            return self._operators.take_pin(session, envelope, body)
        return self._refuse(session, envelope, body)

    def _is_told_before(self, session: Session, packet: Packet, envelope: Envelope) -> bool:
        """Whether the same event came before under another seal; for captures the record itself knows."""
        if isinstance(envelope.body, EnrolmentBody):
            return False
        query = select(Packet.pid).where(
            Packet.event_id == envelope.id,
            Packet.signer == packet.signer,
            Packet.pid != packet.pid,
            Packet.settled_ms.is_not(None),
            Packet.quarantine == "",
        )
        return session.scalars(query).first() is not None

    def _enrol(
        self, session: Session, packet: Packet, envelope: Envelope, body: EnrolmentBody, finding: Finding | None
    ) -> str:
        if session.get(Record, envelope.id) is None:  # admitted from quarantine by two persons
            refusal = self._packets.enter(session, packet, envelope, body)
            if refusal:
                return refusal
        record = known(session, envelope.id)
        if record.state != RecordState.RECEIVED_AT_CENTRAL or record.pid != packet.pid:
            return ""  # another seal of a capture that is on its way already
        if finding is None:
            record.failure = ""
            officer = session.get(Operator, body.signoff.operator) if body.signoff is not None else None
            revoked = officer is not None and officer.revoked
            note = {SIGN_OFF: REVOKED} if revoked else {}
            if body.portrait_review is not None and body.portrait_review.differs:
                note[PORTRAIT] = ", ".join(body.portrait_review.differs)
            if body.eyes_confirmed_ms is not None:
                note[IRISES] = NOT_SWAPPED
            self._records.move(session, record, RecordEvent.CHECKS_PASSED, note=note)
        else:
            record.failure = finding.failure
            note = {"code": str(finding.failure), "detail": finding.detail}
            self._records.move(session, record, finding.event, note=note)
        return ""

    def _refuse(self, session: Session, envelope: Envelope, body: RefusalBody) -> str:
        """A repeat refused on the spot: kept as evidence; its appeal goes before adjudicators (M15)."""
        if session.get(Record, envelope.id) is not None:
            return "The refusal carries the id of a capture that is known here."
        if not body.appealed:
            return ""
        if session.get(Record, body.similar_capture) is None:
            return "The refusal names a capture that has not arrived here."
        match = PersonMatch(body.similar_capture, body.value, {})
        self._adjudication.open(session, envelope.id, Cause.REFUSAL_APPEALED, [match])
        return ""

    def _check(self, envelope: Envelope) -> Finding | None:
        """The checks of a capture, with the images decoded; outside of any transaction, because that takes time."""
        if not isinstance(envelope.body, EnrolmentBody):
            return None
        with self._context.database.reading() as session:
            unit = session.get(Unit, envelope.unit)
            digest = self._context.vault.nik_digest(envelope.body.biodata.nik)
            here = [
                operator
                for operator in session.scalars(select(Operator))
                if rights.holds(operator, Role, envelope.site)
            ]
            keys = {
                operator.id: operator.public_key
                for operator in here
                if operator.public_key and rights.holds(operator, (Role.OPERATOR,), envelope.site)
            }
            facts = Facts(
                unit_site=unit.site if unit is not None else "",
                may_capture=unit is not None and unit.role in rights.CAPTURE_UNITS,
                site_known=session.get(Site, envelope.site) is not None,
                nik_known=session.get(Resident, digest) is not None,
                signing_key=keys.get,
                is_officer={operator.id for operator in here if not operator.revoked}.__contains__,
                verify_fmr_max=self._context.settings.policy.verify_fmr,
            )
        return check(envelope, envelope.body, facts)

    def _quarantine(self, pid: str, reason: str) -> None:
        log.warning("packet quarantined", pid=pid, reason=reason)
        with self._context.database.transaction() as session:
            packet = session.get_one(Packet, pid, with_for_update=True)
            if packet.settled_ms is None:
                self._packets.settle(session, packet, reason)
