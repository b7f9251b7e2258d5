"""Actions that need two persons: one proposes, another confirms, and only then the hub acts (M18, M23).

The database refuses a confirmation by the proposer as well; the evidence (packet, templates, history) is always kept.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.errors import RemoteError
from contract.lifecycle import RecordEvent, RecordState, is_allowed
from hub import register
from hub.context import HubContext
from hub.fleet import Role
from hub.packets import PacketBook, open_packet
from hub.records import DELETION, LOSS, Records, known
from hub.schema.tables import Packet, Proposal, Record, Resident, Unit

ADMISSION = "admission"
ACTIONS = (DELETION, LOSS, ADMISSION)
_EVENT = {DELETION: RecordEvent.DELETION_AUTHORISED, LOSS: RecordEvent.LOSS_DECLARED}
REASON_CHARACTERS = (5, 500)
ROLE = Role.DC_OFFICER


class Proposals:
    """Proposes and decides. Every method runs in the caller's transaction and raises RemoteError when refused."""

    def __init__(self, context: HubContext, records: Records, packets: PacketBook) -> None:
        self._context = context
        self._records = records
        self._packets = packets

    def propose(self, session: Session, action: str, subject: str, reason: str, operator: str) -> Proposal:
        """Propose a deletion or declaration of loss (subject: capture id), or an admission (subject: pid)."""
        register.operator_with(session, operator, ROLE)
        if action not in ACTIONS or not REASON_CHARACTERS[0] <= len(reason.strip()) <= REASON_CHARACTERS[1]:
            raise RemoteError("The proposal names no action or no reason.", next_step="Give a reason of 5–500 letters.")
        self._check_possible(session, action, subject)
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
        session.add(proposal)
        session.flush()
        return proposal

    def decide(self, session: Session, proposal_id: str, operator: str, *, confirm: bool) -> Proposal:
        """Confirm or refuse what somebody else proposed; on confirmation the action is carried out at once."""
        register.operator_with(session, operator, ROLE)
        proposal = session.get(Proposal, proposal_id, with_for_update=True)
        if proposal is None or proposal.decided_ms is not None:
            raise RemoteError("There is no such open proposal.", next_step="Reload the page.")
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

    def enter_unseen(self, session: Session, capture_id: str, nik: str, unit_id: str) -> Record:
        """Enter a capture known only from its proof of capture, so that its loss can be proposed (M18)."""
        digest = self._context.vault.nik_digest(nik)
        resident, unit = session.get(Resident, digest), session.get(Unit, unit_id)
        if resident is None or unit is None:
            raise RemoteError("NIK or unit are not known here.", next_step="Copy them from the proof of capture.")
        found = session.get(Record, capture_id)
        if found is not None:
            return found
        now = self._context.clock.wall_ms()
        biodata = register.biodata_of(self._context, resident).model_dump_json().encode()
        record = Record(
            capture_id=capture_id,
            nik_digest=digest,
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
        return record

    def _check_possible(self, session: Session, action: str, subject: str) -> None:
        if action == ADMISSION:
            packet = session.get(Packet, subject)
            if packet is None or not packet.quarantine or not packet.event_id:
                raise RemoteError(
                    "Only a quarantined packet that could be opened can be admitted.",
                    next_step="Keep the bytes; ask the sender's technician.",
                )
            return
        state = RecordState(known(session, subject).state)
        if not is_allowed(state, _EVENT[action]):
            raise RemoteError(f"A record in state {state} does not allow '{action}'.")

    def _carry_out(self, session: Session, proposal: Proposal) -> None:
        actor = f"{proposal.proposed_by}+{proposal.decided_by}"
        if proposal.action == ADMISSION:
            packet = session.get_one(Packet, proposal.subject)
            open_packet(self._context, packet.pid)
            packet.quarantine, packet.settled_ms = "", None
            return
        record = known(session, proposal.subject)
        self._records.move(session, record, _EVENT[proposal.action], actor, {"proposal": proposal.id})
