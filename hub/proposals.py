"""Actions that need two persons: one proposes, another confirms, and only then the hub acts (M18, M23).

The database refuses a confirmation by the proposer as well; the evidence (packet, templates, history) is always kept.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.errors import RemoteError
from contract.lifecycle import RecordEvent, RecordState, is_allowed
from contract.packet import Model, Name, Nik, UuidText
from hub import register
from hub.context import HubContext
from hub.fleet import Role
from hub.operator_desk import APPROVING, OperatorDesk
from hub.packets import PacketBook, open_packet
from hub.records import DELETION, LOSS, Records, known
from hub.schema.tables import Operator, Packet, Proposal, Record, Resident, Unit

ADMISSION, REINSTATEMENT, PIN_RESET = "admission", "reinstatement", "pin-reset"
ACTIONS = (DELETION, LOSS, ADMISSION, REINSTATEMENT, PIN_RESET)
_EVENT = {DELETION: RecordEvent.DELETION_AUTHORISED, LOSS: RecordEvent.LOSS_DECLARED}
REASON_CHARACTERS = (5, 500)
ROLE = Role.DC_OFFICER


class LostCapture(Model):
    """What a proof of capture says of a capture that never arrived: its id, the person's NIK, the unit that held it."""

    capture_id: UuidText
    nik: Nik
    unit: Name


class Proposals:
    """Proposes and decides. Every method runs in the caller's transaction and raises RemoteError when refused."""

    def __init__(self, context: HubContext, records: Records, packets: PacketBook, operators: OperatorDesk) -> None:
        self._context = context
        self._operators = operators
        self._records = records
        self._packets = packets

    def propose(self, session: Session, action: str, subject: str, reason: str, operator: str) -> Proposal:
        """Propose something about a capture (deletion, loss), a packet (admission) or an operator (the others)."""
        self._check_words(action, reason)
        self._check_right(session, action, subject, operator)
        self._check_possible(session, action, subject)
        return self._write(session, action, subject, reason, operator)

    def _check_words(self, action: str, reason: str) -> None:
        if action not in ACTIONS or not REASON_CHARACTERS[0] <= len(reason.strip()) <= REASON_CHARACTERS[1]:
            raise RemoteError("The proposal names no action or no reason.", next_step="Give a reason of 5–500 letters.")

    def _check_right(self, session: Session, action: str, subject: str, operator: str) -> None:
        """Whether somebody may propose or decide this. PINs are for whoever gives their owner's rights."""
        if action == PIN_RESET:
            self._operators.check_reset(session, subject, operator)
        else:
            register.operator_with(session, operator, ROLE)

    def _write(
        self, session: Session, action: str, subject: str, reason: str, operator: str, unseen: bytes = b""
    ) -> Proposal:
        query = select(Proposal).where(
            Proposal.action == action, Proposal.subject == subject, Proposal.decided_ms.is_(None)
        )
        if session.scalars(query).first() is not None:
            raise RemoteError("The same is proposed already.", next_step="Ask a second officer to confirm it.")
        proposal = Proposal(
            id=self._context.new_id(),
            action=action,
            subject=subject,
            reason=reason.strip(),
            proposed_by=operator,
            proposed_ms=self._context.clock.wall_ms(),
        )
        proposal.unseen = self._context.vault.lock(unseen, "proposal", proposal.id) if unseen else None
        session.add(proposal)
        session.flush()
        return proposal

    def decide(self, session: Session, proposal_id: str, operator: str, *, confirm: bool) -> Proposal:
        """Confirm or refuse what somebody else proposed; on confirmation the action is carried out at once."""
        proposal = session.get(Proposal, proposal_id, with_for_update=True)
        if proposal is None or proposal.decided_ms is not None:
            register.operator_with(session, operator, *APPROVING)
            raise RemoteError("There is no such open proposal.", next_step="Reload the page.")
        if confirm:
            self._check_right(session, proposal.action, proposal.subject, operator)
        else:
            register.operator_with(session, operator, *(APPROVING if proposal.action == PIN_RESET else (ROLE,)))
        if proposal.proposed_by == operator:
            raise RemoteError(
                "Nobody confirms or refuses what they proposed.", next_step="Ask a second officer to log in."
            )
        proposal.decided_by, proposal.decided_ms = operator, self._context.clock.wall_ms()
        proposal.confirmed = confirm
        session.flush()
        if confirm:
            self._carry_out(session, proposal)
        return proposal

    def propose_loss(self, session: Session, capture: LostCapture, reason: str, operator: str) -> Proposal:
        """Propose to declare a capture lost of which only the proof of capture is here (M18).

        It enters the records when a second person confirms; until then its NIK stays as it is.
        """
        register.operator_with(session, operator, ROLE)
        self._check_words(LOSS, reason)
        self._named(session, capture)
        if session.get(Record, capture.capture_id) is None:
            unseen = capture.model_dump_json().encode()
            return self._write(session, LOSS, capture.capture_id, reason, operator, unseen)
        return self.propose(session, LOSS, capture.capture_id, reason, operator)

    def _named(self, session: Session, capture: LostCapture) -> tuple[Resident, Unit]:
        resident = session.get(Resident, self._context.vault.nik_digest(capture.nik))
        unit = session.get(Unit, capture.unit)
        if resident is None or unit is None:
            raise RemoteError("NIK or unit are not known here.", next_step="Copy them from the proof of capture.")
        return resident, unit

    def _enter_unseen(self, session: Session, capture: LostCapture) -> None:
        """Enter a capture known only from its proof of capture, unless its packet came since."""
        capture_id = capture.capture_id
        resident, unit = self._named(session, capture)
        if session.get(Record, capture_id) is not None:
            return
        now = self._context.clock.wall_ms()
        biodata = register.biodata_of(self._context, resident).model_dump_json().encode()
        record = Record(
            capture_id=capture_id,
            nik_digest=resident.nik_digest,
            site=unit.site,
            unit=unit.id,
            pid="",
            boot_id=b"",
            monotonic_ms=0,
            sequence=0,
            wall_ms=now,
            earliest_ms=0,
            latest_ms=now,
            received_ms=now,
            biodata=self._context.vault.lock(biodata, "record", capture_id),
        )
        self._records.add(session, record)
        for event in (RecordEvent.CAPTURE_COMPLETED, RecordEvent.PACKET_QUEUED):
            self._records.move(session, record, event, unit.id, {"source": "proof of capture"})

    def _check_possible(self, session: Session, action: str, subject: str) -> None:
        if action == ADMISSION:
            packet = session.get(Packet, subject)
            if packet is None or not packet.quarantine:
                raise RemoteError("Only a quarantined packet can be admitted.", next_step="Reload the page.")
            self._open_again(packet)
            return
        if action == PIN_RESET:
            return  # said by _check_right
        if action == REINSTATEMENT:
            operator = session.get(Operator, subject)
            if operator is None or not operator.revoked:
                raise RemoteError("Only a revoked operator can be reinstated.", next_step="Reload the page.")
            return
        state = RecordState(known(session, subject).state)
        if not is_allowed(state, _EVENT[action]):
            raise RemoteError(f"A record in state {state} does not allow '{action}'.")

    def _open_again(self, packet: Packet) -> None:
        """Open a packet with what is known now: its unit may have been enrolled since. Raises RemoteError."""
        envelope = open_packet(self._context, packet.pid)
        packet.kind, packet.event_id, packet.signer = envelope.kind, envelope.id, envelope.unit

    def _carry_out(self, session: Session, proposal: Proposal) -> None:
        actor = f"{proposal.proposed_by}+{proposal.decided_by}"
        if proposal.action == ADMISSION:
            packet = session.get_one(Packet, proposal.subject)
            self._open_again(packet)
            packet.quarantine, packet.settled_ms = "", None
            return
        if proposal.action == REINSTATEMENT:
            self._operators.reinstate(session, proposal.subject, actor, proposal.reason)
            return
        if proposal.action == PIN_RESET:
            self._operators.reset_pin(session, proposal.subject, actor, proposal.reason)
            return
        if proposal.unseen is not None:
            unseen = self._context.vault.unlock(proposal.unseen, "proposal", proposal.id)
            self._enter_unseen(session, LostCapture.model_validate_json(unseen))
        record = known(session, proposal.subject)
        self._records.move(session, record, _EVENT[proposal.action], actor, {"proposal": proposal.id})
