"""Handover as a step table: old card in, chip read and verified, data checked, 1:1 on the unit, receipt (M41–M48).

Works with no network: the card was consigned with everything that is needed. The outcome is berhasil or gagal and is
sealed and spooled like a capture. Nothing is handed over without a receipt (M46); a gagal ends here, with the old
card back and the new one retained, and leads to no capture (M48): this table has no such step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from contract.attestation import AttestationPage
from contract.comparison import Decision
from contract.dispatch import ConsignedCard
from contract.identifiers import uuid7
from contract.packet import HandoverBody, PacketKind, StepClock, Verification
from contract.sample import INDEX_FINGERS, FingerPosition, Modality
from contract.transfer import Receipt
from edge.capture_state import VERIFICATIONS_MAX, Services
from edge.capture_steps import signature_record
from edge.eligibility import OPERATOR_ROLE, Refusal
from edge.officer import identify_officer
from edge.ports import ChipContent, ChipDesk, Kept, TicketState
from edge.procedure import Action, Fields, Procedure, Refused, Retry, Row
from edge.prompts import NOT_THE_SAME, OTHER_CARD, RETRY_CARD, RETRY_FINGER, RETRY_PEN
from edge.register import CardOutcome
from edge.roster import Officer

SECTION_HEAD_ROLE = "section-head"
HANDOVER_ROLES = (OPERATOR_ROLE, "front-desk-officer")
OldCard = Literal["surrendered", "none", "lost"]
OLD_CARD: Mapping[str, OldCard] = {"surrendered": "surrendered", "none": "none", "lost": "lost"}


@dataclass(slots=True)
class Handover:
    """One card and one resident at the desk."""

    services: Services
    desk: ChipDesk
    handover_id: str
    card: ConsignedCard
    operator: Officer
    clocks: Callable[[], tuple[StepClock, ...]] = tuple
    old_card: OldCard | None = None
    chip: ChipContent | None = None
    attested: AttestationPage | None = None
    dispute: Literal["none", "attestation agrees", "attestation differs"] = "none"
    fallback: Literal["none", "other finger", "section head"] = "none"
    decided_by: str | None = None
    attempts: int = 0
    given_up: list[FingerPosition] = field(default_factory=list)
    matched: list[FingerPosition] = field(default_factory=list)
    verification: list[Verification] = field(default_factory=list)
    receipt_signature: bytes = b""
    old_card_returned: bool = False
    kept: Kept | None = None
    receipt: Receipt | None = None
    ticket: TicketState | None = None

    @property
    def policy(self) -> Literal["either", "both"]:
        """One index or both: the stricter of what the card and what this desk asks for (M43)."""
        return "both" if "both" in (self.card.policy, self.services.policy.handover_policy) else "either"

    @property
    def indexes(self) -> tuple[FingerPosition, ...]:
        """The index fingers that the chip holds, right first (M43)."""
        templates = self.chip.templates if self.chip else {}
        return tuple(finger for finger in INDEX_FINGERS if finger in templates)

    @property
    def others(self) -> tuple[FingerPosition, ...]:
        """The other fingers on the chip: asked only where no index can be used."""
        templates = self.chip.templates if self.chip else {}
        return tuple(finger for finger in sorted(templates) if finger not in INDEX_FINGERS)

    @property
    def asked(self) -> FingerPosition | None:
        """The finger to present now, or None when there is none left to try."""
        pool = self.indexes if self.fallback == "none" and self.indexes else self.others
        return next((finger for finger in pool if finger not in self.given_up and finger not in self.matched), None)

    @property
    def is_verified(self) -> bool:
        """Whether the policy is met. A chip with one usable finger cannot be asked for two."""
        if self.policy == "both" and self.fallback == "none":
            return bool(self.matched) and set(self.matched) >= set(self.indexes)
        return bool(self.matched)

    @property
    def may_fall_back(self) -> bool:
        """Whether no index can be used: none on the chip, or an officer says that those there are cannot be read."""
        return not self.matched and bool(self.others) and self.fallback == "none"

    @property
    def has_no_finger(self) -> bool:
        """Whether the chip holds no finger that could be asked: only then may a section head decide."""
        return self.chip is not None and not self.chip.templates

    @property
    def disputed_fields(self) -> tuple[str, ...]:
        """Names of the biodata that differ between the chip and what was e-signed at capture (M45)."""
        if self.attested is None or self.chip is None:
            return ()
        signed, written = self.attested.biodata.model_dump(), self.chip.biodata.model_dump()
        return tuple(name for name, value in signed.items() if value != written[name])

    @property
    def failed_step(self) -> str:
        """Where a gagal leads: an old card that was taken in goes back to the resident first (M47)."""
        return "old_card_back" if self.old_card == "surrendered" else "result_gagal"

    def forget(self) -> None:
        """Drop what was read from the chip and the resident's signature."""
        self.chip = self.attested = None
        self.receipt_signature = b""

    def body(self, *, berhasil: bool) -> HandoverBody:
        """The result, for the record and for the hub."""
        if self.old_card is None:
            raise Refused(Refusal.NOT_ALLOWED, "The old card has not been recorded.")
        return HandoverBody(
            capture_id=self.card.capture_id,
            nik=self.card.nik,
            card_uid=self.card.card_uid,
            berhasil=berhasil,
            policy=self.policy,
            verification=tuple(self.verification),
            fallback=self.fallback,
            decided_by=self.decided_by,
            dispute=self.dispute,
            old_card=self.old_card,
            old_card_returned=self.old_card_returned,
            receipt_signature=self.receipt_signature,
            operator=self.operator.operator,
            steps=self.clocks(),
        )


async def record_old_card(handover: Handover, fields: Fields) -> str:
    """The old card comes in, or is recorded as none or lost; "none" only where the register knows of none (M49)."""
    state = OLD_CARD.get(fields.get("state", ""))
    if state is None:
        raise Refused(Refusal.INVALID, "The old card is 'surrendered', 'none' or 'lost'.")
    if state == "none" and handover.card.old_card_due:
        raise Refused(Refusal.INVALID, "The register knows of an old card: it is surrendered, or recorded as lost.")
    handover.old_card = state
    return "card"


async def read_card(handover: Handover, _fields: Fields) -> str:
    """Chip read by the authorised reader, issuer's signature verified, and it is this resident's card."""
    chip = await handover.desk.read(handover.card)
    if chip.card_uid != handover.card.card_uid or chip.biodata.nik != handover.card.nik:
        raise Retry(OTHER_CARD)
    handover.chip = chip
    return "data"


async def confirm_data(_handover: Handover, _fields: Fields) -> str:
    """The resident finds the printed and the chip data right (M42)."""
    return "verify"


async def dispute_data(handover: Handover, _fields: Fields) -> str:
    """The resident disputes: what was e-signed at capture is opened and decides (M45)."""
    if handover.chip is None:
        return "card"
    handover.attested = handover.desk.attestation(handover.card, handover.chip)
    handover.dispute = "attestation differs" if handover.disputed_fields else "attestation agrees"
    return "attestation"


async def settle_dispute(handover: Handover, _fields: Fields) -> str:
    """Both have seen what was signed, and how. Where the card agrees with it, the finger is still asked for."""
    if handover.attested is None:
        return "card"
    return "verify" if handover.dispute == "attestation agrees" else handover.failed_step


async def match_finger(handover: Handover, _fields: Fields) -> str:
    """The asked finger, 1:1 against the chip, on this unit (M43). Three failures give the finger up."""
    finger, chip = handover.asked, handover.chip
    if chip is None or finger is None:
        return "card" if chip is None else handover.failed_step
    services = handover.services
    examined = await services.examiner.finger(await services.sensors.finger(finger), finger)
    (score,) = await services.examiner.compare(examined.template, [chip.templates[finger]])
    matched = score.decide(services.policy.verify_fmr) is Decision.MATCH
    handover.attempts += 1
    outcome = Verification(
        position=int(finger), value=score.value, threshold_fmr=services.policy.verify_fmr, matched=matched
    )
    handover.verification = [*handover.verification, outcome][-VERIFICATIONS_MAX:]
    if matched:
        handover.matched.append(finger)
        handover.attempts = 0
        return "receipt" if handover.is_verified else "verify"
    if handover.attempts < services.policy.attempts_max:
        raise Retry(NOT_THE_SAME)
    handover.given_up.append(finger)
    handover.attempts = 0
    both_needed = handover.policy == "both" and handover.fallback == "none"
    if both_needed or handover.asked is None:
        return handover.failed_step
    raise Retry(NOT_THE_SAME)


async def fall_back(handover: Handover, _fields: Fields) -> str:
    """No index is usable: any other finger that the chip holds."""
    handover.fallback = "other finger"
    handover.attempts = 0
    return "verify"


async def section_head_decides(handover: Handover, fields: Fields) -> str:
    """No finger at all on the chip: the section head compares face or iris, and signs with a finger; counted."""
    services = handover.services
    name = fields.get("operator", "")
    officer = services.roster.may_work(name, SECTION_HEAD_ROLE)
    if isinstance(officer, Refusal):
        raise Refused(officer, "A section head on this unit's roster decides.")
    await identify_officer(services, officer, fields)
    handover.fallback, handover.decided_by = "section head", officer.operator
    return "receipt" if fields.get("decision") == "accept" else handover.failed_step


async def give_up(handover: Handover, _fields: Fields) -> str:
    """The officer ends the verification: gagal."""
    return handover.failed_step


async def give_old_card_back(handover: Handover, _fields: Fields) -> str:
    """The officer says that the old card and the letter are in the resident's hands again (M47)."""
    handover.old_card_returned = True
    return "result_gagal"


async def keep_old_card(_handover: Handover, _fields: Fields) -> str:
    """The resident has left without the old card: that is what the record says."""
    return "result_gagal"


async def sign_receipt(handover: Handover, _fields: Fields) -> str:
    """The resident signs for the card; before this nothing changes hands (M46)."""
    handover.receipt_signature = signature_record(await handover.services.sensors.pen())
    return "result_berhasil"


async def keep_berhasil(handover: Handover, _fields: Fields) -> str:
    """Seal and spool berhasil; the card has left this desk's list."""
    await _keep(handover, berhasil=True)
    await _settle(handover, CardOutcome.HANDED_OVER)
    return "berhasil"


async def keep_gagal(handover: Handover, _fields: Fields) -> str:
    """Seal and spool gagal: the new card is retained (M47)."""
    await _keep(handover, berhasil=False)
    await _settle(handover, CardOutcome.RETAINED)
    return "gagal"


async def _keep(handover: Handover, *, berhasil: bool) -> None:
    keeping = handover.services.keeper.keep(PacketKind.HANDOVER, handover.handover_id, handover.body(berhasil=berhasil))
    handover.kept = await asyncio.shield(asyncio.ensure_future(keeping))


async def _settle(handover: Handover, outcome: CardOutcome) -> None:
    await asyncio.to_thread(handover.services.register.settle_card, handover.card.card_uid, outcome)


async def finish(_handover: Handover, _fields: Fields) -> str:
    """The person has gone; the screen is free."""
    return "finished"


HANDOVER: Mapping[str, Row[Handover]] = {
    "old_card": Row("KTP lama", "Old card", {"old_card": Action(record_old_card)}),
    "card": Row("Kartu baru", "New card", {"read": Action(read_card)}, retry_id=RETRY_CARD),
    "data": Row("Periksa data", "Check the data", {"confirm": Action(confirm_data), "dispute": Action(dispute_data)}),
    "attestation": Row("Dokumen pengesahan", "Attestation", {"settle": Action(settle_dispute)}, shown=False),
    "verify": Row(
        "Cocokkan jari",
        "Match the finger",
        {
            "capture": Action(match_finger, lambda h: h.asked is not None),
            "other_finger": Action(fall_back, lambda h: h.may_fall_back),
            "section_head": Action(section_head_decides, lambda h: h.has_no_finger),
            "give_up": Action(give_up),
        },
        retry_id=RETRY_FINGER,
    ),
    "receipt": Row("Tanda terima", "Receipt", {"sign": Action(sign_receipt)}, retry_id=RETRY_PEN),
    "result_berhasil": Row(
        "Simpan", "Save", {"retry": Action(keep_berhasil)}, on_arrival=keep_berhasil, critical=True, shown=False
    ),
    "old_card_back": Row(
        "KTP lama kembali",
        "Old card back",
        {"returned": Action(give_old_card_back), "not_returned": Action(keep_old_card)},
        binding=True,
        shown=False,
    ),
    "result_gagal": Row(
        "Simpan", "Save", {"retry": Action(keep_gagal)}, on_arrival=keep_gagal, critical=True, shown=False
    ),
    "berhasil": Row("Berhasil", "Verified", {"finish": Action(finish)}, ends=True),
    "gagal": Row("Gagal", "Failed", {"finish": Action(finish)}, ends=True, shown=False),
    "cancelled": Row("Dibatalkan", "Cancelled", {"finish": Action(finish)}, ends=True, shown=False),
    "finished": Row("Selesai", "Finished", ends=True, shown=False),
}


def start_handover(
    services: Services, desk: ChipDesk, operator: str, *, nik: str = "", card_uid: str = ""
) -> Procedure[Handover]:
    """A new handover of a consigned card. Raises Refused for a card that is not here or is withdrawn."""
    officer = services.roster.may_work(operator, *HANDOVER_ROLES)
    if isinstance(officer, Refusal):
        raise Refused(officer)
    card = services.register.card(nik=nik, card_uid=card_uid)
    if card is None:
        raise Refused(Refusal.CARD_UNKNOWN)
    if card.withdrawn:
        raise Refused(Refusal.CARD_WITHDRAWN)
    handover = Handover(services, desk, uuid7(services.clock), card, officer)

    def cancel_devices() -> None:
        services.sensors.cancel()
        desk.cancel()

    procedure: Procedure[Handover] = Procedure(
        HANDOVER, "old_card", handover, services.clock, cancel_devices=cancel_devices, forget=Handover.forget
    )
    handover.clocks = procedure.closed_clocks
    return procedure


def asked_at_handover(procedure: Procedure[Handover]) -> tuple[Modality, int, str, str] | None:
    """What the next action takes: modality, position, purpose, and whose it is."""
    handover = procedure.context
    match procedure.step:
        case "verify" if handover.asked is not None:
            return Modality.FINGER, int(handover.asked), "check", "resident"
        case "verify" if handover.has_no_finger:
            return Modality.FINGER, int(FingerPosition.RIGHT_INDEX), "section head", "officer"
        case "receipt":
            return Modality.SIGNATURE, 0, "receipt", "resident"
        case _:
            return None
