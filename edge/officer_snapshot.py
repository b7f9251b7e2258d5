"""An officer's work as its page sees it: sign-on, PIN, lock, enrolment of an operator. No secret is in it."""

from __future__ import annotations

from typing import Any, Literal

from contract.sample import FingerPosition, Modality
from edge.officer import officer_position
from edge.officer_desk import OfficerWork
from edge.operator_enrolment import FINGERS_WANTED, OperatorEnrolment
from edge.prompts import officer_prompt
from edge.sign_on import SignOn
from edge.snapshot import Answer, Ask, StepView, asked_of, packet_of, shared_fields

PROVING = frozenset({"finger", "pin", "card", "new_pin"})


class OfficerSnapshot(Answer):
    """See the edge room's README, "Officers"."""

    id: str
    kind: Literal["sign-on", "new-pin", "unlock", "enrol"]
    revision: int
    step: str
    state: Literal["asking", "busy", "ended"]
    actions: list[str]
    ask: Ask | None
    prompt_id: str
    prompt_en: str
    advice_id: str = ""
    advice_en: str = ""
    notice_id: str = ""
    notice_en: str = ""
    problem: dict[str, str] | None = None
    steps: list[StepView]
    operator: str
    who: str
    fingers: list[dict[str, int]]
    fingers_wanted: int = 0
    result: dict[str, Any] | None = None


def officer_snapshot(procedure: OfficerWork) -> OfficerSnapshot:
    """An officer's work as it stands."""
    work = procedure.context
    finger = _asked_finger(procedure.step, work)
    ask = asked_of((Modality.FINGER, int(finger), procedure.step, "officer") if finger is not None else None)
    who = work.name if isinstance(work, OperatorEnrolment) else work.officer.name
    prompt_id, prompt_en = officer_prompt(procedure.step, who, (ask.label_id, ask.label_en) if ask else None)
    is_enrolment = isinstance(work, OperatorEnrolment)
    notice = None if isinstance(work, OperatorEnrolment) or procedure.step not in PROVING else work.notice
    return OfficerSnapshot(
        **shared_fields(procedure),
        notice_id=notice.text_id if notice else "",
        notice_en=notice.text_en if notice else "",
        id=work.enrolment_id if isinstance(work, OperatorEnrolment) else f"{work.purpose}-{work.officer.operator}",
        kind="enrol" if isinstance(work, OperatorEnrolment) else work.purpose.value,
        ask=ask,
        prompt_id=prompt_id,
        prompt_en=prompt_en,
        operator=work.enroller.operator if isinstance(work, OperatorEnrolment) else work.officer.operator,
        who=who,
        fingers=[
            {"position": position, "quality": taken.examined.quality, "attempts": taken.attempts}
            for position, taken in (work.taken.items() if isinstance(work, OperatorEnrolment) else ())
        ],
        fingers_wanted=FINGERS_WANTED if is_enrolment else 0,
        result=packet_of(work.kept, work.receipt) if isinstance(work, OperatorEnrolment) and work.kept else None,
    )


def _asked_finger(step: str, work: SignOn | OperatorEnrolment) -> FingerPosition | None:
    if isinstance(work, OperatorEnrolment):
        if step == "fingers":
            return work.asked
        return officer_position(work.enroller, {}) if step == "sign_off" else None
    return officer_position(work.officer, {}) if step == "finger" else None
