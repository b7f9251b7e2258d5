"""Taking a new operator with their own fingers (M67): two fingers, a second factor, the enrolling officer's sign-off.

The record goes the way of every packet: sealed, spooled, receipted. Nobody gets a right by it: that is for a second
officer at the centre to give.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contract.comparison import Decision
from contract.identifiers import uuid7
from contract.operators import OPERATORS_MAX, SignOnPolicy
from contract.packet import OperatorBody, PacketKind
from contract.sample import ALL_FINGERS, INDEX_FINGERS, FingerPosition, Modality
from contract.transfer import Receipt
from edge.capture_state import Gate, Services, Taken
from edge.capture_steps import SAME_FINGER_FMR
from edge.eligibility import Refusal
from edge.officer import identify_officer, sign_off
from edge.ports import CardProof, Kept, TicketState
from edge.procedure import Action, Fields, Procedure, Refused, Retry, Row
from edge.prompts import AGAIN_BETTER, RETRY_CARD, RETRY_FINGER, SAME_OFFICER_FINGER, WRONG_CARD
from edge.roster import Officer
from edge.sign_on import HEAD_ROLES, pin_record

FINGERS_WANTED = 2
ROLES = ("operator", "front-desk-officer", "distribution-officer", "section-head")
# Indexes first; whoever cannot give one gives the next.
ORDER = (*INDEX_FINGERS, *(finger for finger in ALL_FINGERS if finger not in INDEX_FINGERS))


@dataclass(slots=True)
class OperatorEnrolment:
    """A person who is to become an operator; in memory only until it is sealed."""

    services: Services
    card: CardProof | None
    enroller: Officer
    enrolment_id: str
    operator_id: str
    name: str
    roles: tuple[str, ...]
    taken: dict[int, Taken] = field(default_factory=dict)
    passed_over: set[FingerPosition] = field(default_factory=set)
    gate: Gate = field(default_factory=Gate)
    pin: str = ""
    card_uid: str | None = None
    body: OperatorBody | None = None
    kept: Kept | None = None
    receipt: Receipt | None = None
    ticket: TicketState | None = None

    @property
    def asked(self) -> FingerPosition:
        """The finger to give next."""
        left = [finger for finger in ORDER if int(finger) not in self.taken]
        return next((finger for finger in left if finger not in self.passed_over), left[0])

    @property
    def may_go_without(self) -> bool:
        """Whether the site lets somebody in by the finger alone."""
        return self.services.roster.sign_on is SignOnPolicy.FINGER

    def forget(self) -> None:
        """Drop everything that was taken."""
        self.taken.clear()
        self.pin, self.card_uid, self.body = "", None, None
        self.gate = Gate()


async def take_finger(work: OperatorEnrolment, _fields: Fields) -> str:
    """The finger that is asked for: good enough, not given before, and nobody else's on the roster."""
    services, finger = work.services, work.asked
    examined = await services.examiner.finger(await services.sensors.finger(finger), finger)
    work.gate.take(examined)
    if examined.quality < services.policy.finger_quality_min or not examined.template:
        raise Retry(examined.advice or AGAIN_BETTER)
    earlier = [taken.examined.template for taken in work.taken.values()]
    if await _is_among(services, examined.template, earlier, SAME_FINGER_FMR):
        raise Retry(SAME_OFFICER_FINGER)
    others = [
        template
        for officer in services.roster.officers()
        if officer.operator != work.operator_id
        for template in officer.templates.values()
    ]
    if await _is_among(services, examined.template, others, services.policy.local_duplicate_fmr):
        raise Refused(Refusal.OPERATOR_KNOWN)
    work.taken[int(finger)] = Taken(Modality.FINGER, int(finger), examined, work.gate.attempts)
    work.gate = Gate()
    return "fingers" if len(work.taken) < FINGERS_WANTED else "factor"


async def other_finger(work: OperatorEnrolment, _fields: Fields) -> str:
    """The asked finger cannot be given: another one is asked."""
    work.passed_over.add(work.asked)
    work.gate = Gate()
    return "fingers"


async def with_pin(_work: OperatorEnrolment, _fields: Fields) -> str:
    """The new operator will show a PIN besides the finger."""
    return "enrolment_pin"


async def with_card(_work: OperatorEnrolment, _fields: Fields) -> str:
    """The new operator will show their own identity card besides the finger."""
    return "enrolment_card"


async def without(_work: OperatorEnrolment, _fields: Fields) -> str:
    """The finger alone."""
    return "sign_off"


async def take_pin(work: OperatorEnrolment, fields: Fields) -> str:
    """The PIN, given twice."""
    work.pin = await pin_record(fields)
    return "sign_off"


async def take_card(work: OperatorEnrolment, _fields: Fields) -> str:
    """The person's own card: genuine, with one of the fingers just taken on its chip, and no other officer's."""
    if work.card is None:
        raise Refused(Refusal.SECOND_FACTOR)
    chip = await work.card.owner()
    held = list(chip.templates.values())
    taken_by_others = {officer.entry.card_uid for officer in work.services.roster.officers()} - {None}
    own = [
        await _is_among(work.services, taken.examined.template, held, work.services.policy.sign_fmr)
        for taken in work.taken.values()
    ]
    known = work.services.roster.officer(work.operator_id)
    is_new = known is None or known.entry.card_uid != chip.card_uid
    if not any(own) or (is_new and chip.card_uid in taken_by_others):
        raise Retry(WRONG_CARD)
    work.card_uid = chip.card_uid
    return "sign_off"


async def officer_signs_off(work: OperatorEnrolment, fields: Fields) -> str:
    """The enrolling officer's finger, then their signature over everything that was taken."""
    officer = work.services.roster.may_finish(work.enroller.operator, *HEAD_ROLES)
    if isinstance(officer, Refusal):
        raise Refused(officer)
    match = await identify_officer(work.services, officer, fields)
    body = OperatorBody(
        operator=work.operator_id,
        name=work.name,
        roles=work.roles,
        fingers=tuple(taken.as_packet() for taken in work.taken.values()),
        templates={position: taken.examined.template for position, taken in work.taken.items()},
        pin=work.pin,
        card_uid=work.card_uid,
    )
    work.body = body.model_copy(update={"signoff": sign_off(match, body.digest())})
    return "seal"


async def seal_and_spool(work: OperatorEnrolment, _fields: Fields) -> str:
    """Durable before it is said, even where the task around it is cancelled."""
    if work.body is None:
        return "sign_off"
    keeping = work.services.keeper.keep(PacketKind.OPERATOR, work.enrolment_id, work.body)
    work.kept = await asyncio.shield(asyncio.ensure_future(keeping))
    work.forget()
    return "enrolled"


async def finish(_work: OperatorEnrolment, _fields: Fields) -> str:
    """The screen is free."""
    return "finished"


async def _is_among(services: Services, template: bytes, others: Sequence[bytes], fmr: float) -> bool:
    scores = await services.examiner.compare(template, others) if others else []
    return any(score.decide(fmr) is Decision.MATCH for score in scores)


ENROLMENT: Mapping[str, Row[OperatorEnrolment]] = {
    "fingers": Row(
        "Sidik jari",
        "Fingers",
        {"capture": Action(take_finger), "other": Action(other_finger)},
        retry_id=RETRY_FINGER,
    ),
    "factor": Row(
        "Pengaman kedua",
        "Second factor",
        {
            "with_pin": Action(with_pin),
            "with_card": Action(with_card, lambda work: work.card is not None),
            "without": Action(without, lambda work: work.may_go_without),
        },
    ),
    "enrolment_pin": Row("PIN", "PIN", {"pin": Action(take_pin)}, shown=False),
    "enrolment_card": Row("Kartu", "Card", {"card": Action(take_card)}, shown=False, retry_id=RETRY_CARD),
    "sign_off": Row("Pengesahan", "Sign-off", {"capture": Action(officer_signs_off)}, retry_id=RETRY_FINGER),
    "seal": Row(
        "Penyimpanan",
        "Saving",
        {"retry": Action(seal_and_spool)},
        on_arrival=seal_and_spool,
        shown=False,
        critical=True,
    ),
    "enrolled": Row("Selesai", "Done", {"finish": Action(finish)}, ends=True),
    "cancelled": Row("Dibatalkan", "Cancelled", {"finish": Action(finish)}, ends=True, shown=False),
    "finished": Row("Selesai", "Finished", ends=True, shown=False),
}


def start_operator_enrolment(
    services: Services, card: CardProof | None, enroller: Officer, operator_id: str, name: str, roles: Sequence[str]
) -> Procedure[OperatorEnrolment]:
    """Begin to take a new operator, or one anew. Raises Refused for roles that are not given at units, oneself, or one
    too many for the site."""
    if not roles or not set(roles) <= set(ROLES) or operator_id == enroller.operator:
        raise Refused(Refusal.INVALID, "Choose roles from the list, and another person than yourself.")
    if services.roster.officer(operator_id) is None and len(services.roster.officers()) >= OPERATORS_MAX:
        raise Refused(Refusal.ROSTER_FULL)
    work = OperatorEnrolment(services, card, enroller, uuid7(services.clock), operator_id, name, tuple(roles))

    def cancel_devices() -> None:
        services.sensors.cancel()
        if card is not None:
            card.cancel()

    return Procedure(
        ENROLMENT, "fingers", work, services.clock, cancel_devices=cancel_devices, forget=OperatorEnrolment.forget
    )
