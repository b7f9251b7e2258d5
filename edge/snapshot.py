"""A procedure as screens and programs see it: one frozen picture with everything that a page needs to draw itself.

Samples are named, never carried: their small pictures are fetched one by one and are gone when the session ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from contract.packet import Biodata
from contract.sample import FingerPosition, Modality
from contract.transfer import Receipt
from edge.capture_state import Capture
from edge.enrolment import asked_sample
from edge.handover import Handover, asked_at_handover
from edge.ports import Kept
from edge.procedure import Procedure
from edge.prompts import HANDOVER_VERIFY, fill, label, prompt, signed_statement, statement_of_truth


class Answer(BaseModel):
    """Base of what the API answers: frozen."""

    model_config = ConfigDict(defer_build=True, frozen=True, hide_input_in_errors=True)


class Ask(Answer):
    """The sample that the next capture takes, and from whom. fingers: all of a slap that it takes."""

    modality: str
    position: int
    label_id: str
    label_en: str
    purpose: str
    person: str
    fingers: list[int] = []


class StepView(Answer):
    """One step of the progress line."""

    step: str
    title_id: str
    title_en: str
    state: Literal["done", "now", "todo"]


class Progress(Answer):
    """How far the procedure is; fingers: done of ten, where fingers are being taken."""

    done: int
    total: int
    fingers: int = 0


class SampleView(Answer):
    """A sample that was taken; href: its small picture."""

    modality: str
    position: int
    quality: int
    attempts: int
    forced: bool
    href: str


class Snapshot(Answer):
    """See the edge room's README, "Snapshot of a session or a handover"."""

    id: str
    kind: Literal["enrolment", "handover"]
    revision: int
    step: str
    state: Literal["asking", "busy", "ended"]
    actions: list[str]
    ask: Ask | None
    prompt_id: str
    prompt_en: str
    advice_id: str = ""
    advice_en: str = ""
    problem: dict[str, str] | None = None
    attempt: int = 0
    attempts_max: int
    steps: list[StepView]
    progress: Progress
    operator: str
    biodata: Biodata | None
    samples: list[SampleView] = []
    exceptions: list[dict[str, str | int]] = []
    papers: list[dict[str, str | int]] = []
    statement_id: str = ""
    statement_en: str = ""
    result: dict[str, Any] | None = None
    ticket: dict[str, str] | None = None
    card: dict[str, Any] | None = None
    attestation: dict[str, Any] | None = None


def session_snapshot(procedure: Procedure[Capture]) -> Snapshot:
    """A capture session as it stands."""
    capture = procedure.context
    asked = asked_sample(procedure)
    fingers_asked = [int(finger) for finger in capture.asked_fingers] if procedure.step == "fingers" else []
    ask = asked_of(asked, fingers_asked)
    prompt_id, prompt_en = prompt(procedure.step, (ask.label_id, ask.label_en) if ask else None)
    texts = statement_of_truth(capture.biodata) if procedure.step == "attest" else ("", "")
    fingers = sum(modality is Modality.FINGER for modality, _ in (*capture.taken, *capture.exceptions))
    return Snapshot(
        **shared_fields(procedure),
        ticket=asdict(capture.ticket) if capture.ticket else None,
        id=capture.capture_id,
        kind="enrolment",
        ask=ask,
        prompt_id=prompt_id,
        prompt_en=prompt_en,
        attempt=capture.attempts,
        attempts_max=capture.services.policy.attempts_max,
        progress=_progress(procedure, fingers),
        operator=capture.operator.operator,
        biodata=capture.biodata,
        samples=[
            SampleView(
                modality=taken.modality,
                position=taken.position,
                quality=taken.examined.quality,
                attempts=taken.attempts,
                forced=taken.forced,
                href=f"/api/session/sample/{taken.modality}/{taken.position}.jpg" if taken.examined.picture else "",
            )
            for taken in capture.taken.values()
        ],
        exceptions=[
            {"modality": item.modality, "position": item.position, "reason": item.reason}
            for item in capture.exceptions.values()
        ],
        papers=[{"paper": paper, "pages": len(capture.scans.get(paper, ()))} for paper in capture.papers],
        statement_id=texts[0],
        statement_en=texts[1],
        result=_session_result(procedure),
    )


def handover_snapshot(procedure: Procedure[Handover]) -> Snapshot:
    """A handover as it stands."""
    handover = procedure.context
    ask = asked_of(asked_at_handover(procedure))
    labels = (ask.label_id, ask.label_en) if ask else None
    step = "result" if procedure.step.startswith("result_") else procedure.step
    texts = fill(HANDOVER_VERIFY, labels) if step == "verify" else prompt(step, labels)
    chip = handover.chip
    return Snapshot(
        **shared_fields(procedure),
        ticket=asdict(handover.ticket) if handover.ticket else None,
        id=handover.handover_id,
        kind="handover",
        ask=ask,
        prompt_id=texts[0],
        prompt_en=texts[1],
        attempt=handover.attempts,
        attempts_max=handover.services.policy.attempts_max,
        progress=_progress(procedure, 0),
        operator=handover.operator.operator,
        biodata=chip.biodata if chip else None,
        result=_handover_result(procedure),
        card={
            "nik": handover.card.nik,
            "name": handover.card.name,
            "card_uid": handover.card.card_uid,
            "card_number": handover.card.card_number,
            "old_card_due": handover.card.old_card_due,
            "policy": handover.policy,
            "chip_fingers": [int(finger) for finger in chip.templates] if chip else [],
            "portrait": "/api/handover/portrait.jpg" if chip else "",
        },
        attestation=_attestation(handover),
    )


def _attestation(handover: Handover) -> dict[str, Any] | None:
    """What was e-signed at capture, once a dispute has opened it; its pen strokes are fetched apart."""
    page = handover.attested
    if page is None:
        return None
    statement_id, statement_en = signed_statement(page)
    return {
        "biodata": page.biodata.model_dump(),
        "statement_id": statement_id,
        "statement_en": statement_en,
        "differs": list(handover.disputed_fields),
        "agreed_ms": page.attestation.agreed_ms,
        "strokes": "/api/handover/strokes",
        "chip_signature": "/api/handover/signature.png",
    }


def shared_fields(procedure: Procedure[Any]) -> dict[str, Any]:
    """What every snapshot says of its procedure."""
    row = procedure.table[procedure.step]
    advice = procedure.advice
    shown = [step for step, item in procedure.table.items() if item.shown]
    place = shown.index(procedure.step) if procedure.step in shown else _place_of(procedure, shown)
    return {
        "revision": procedure.revision,
        "step": procedure.step,
        "state": "busy" if procedure.busy else "ended" if row.ends else "asking",
        "actions": procedure.actions(),
        "advice_id": advice.text_id if advice else "",
        "advice_en": advice.text_en if advice else "",
        "problem": procedure.problem,
        "steps": [
            StepView(
                step=step,
                title_id=procedure.table[step].title_id,
                title_en=procedure.table[step].title_en,
                state="done" if index < place or (index == place and row.ends) else "now" if index == place else "todo",
            )
            for index, step in enumerate(shown)
        ],
    }


def _place_of(procedure: Procedure[Any], shown: list[str]) -> int:
    """Where a step that has no place of its own belongs: after the last shown step that was walked."""
    walked = [shown.index(clock.step) for clock in procedure.clocks if clock.step in shown]
    return walked[-1] if walked else 0


def _progress(procedure: Procedure[Any], fingers: int) -> Progress:
    steps: list[StepView] = shared_fields(procedure)["steps"]
    return Progress(done=sum(step.state == "done" for step in steps), total=len(steps), fingers=fingers)


def asked_of(asked: tuple[Modality, int, str, str] | None, fingers: Sequence[int] = ()) -> Ask | None:
    """The sample that is asked for, with its names."""
    if asked is None:
        return None
    modality, position, purpose, person = asked
    label_id, label_en = label(modality, position)
    return Ask(
        modality=modality,
        position=position,
        label_id=label_id,
        label_en=label_en,
        purpose=purpose,
        person=person,
        fingers=list(fingers),
    )


def _session_result(procedure: Procedure[Capture]) -> dict[str, Any] | None:
    if not procedure.table[procedure.step].ends:
        return None
    capture = procedure.context
    outcome = {"saved": "captured", "refused": "LOCAL_DUPLICATE"}.get(procedure.step, procedure.step)
    found: dict[str, Any] = {"outcome": outcome, **packet_of(capture.kept, capture.receipt)}
    if procedure.step == "saved":
        found |= {"capture_id": capture.capture_id, "status": "BIO_CAPTURED"}
    if procedure.step in {"refused", "appealed"}:
        found |= {"code": "LOCAL_DUPLICATE", "similar_capture": capture.similar_capture}
    return found


def _handover_result(procedure: Procedure[Handover]) -> dict[str, Any] | None:
    if not procedure.table[procedure.step].ends:
        return None
    handover = procedure.context
    return {
        "outcome": procedure.step,
        "capture_id": handover.card.capture_id,
        "old_card": handover.old_card,
        "old_card_returned": handover.old_card_returned,
        "dispute": handover.dispute,
        "fallback": handover.fallback,
        "verification": [
            {"position": int(FingerPosition(check.position)), "value": check.value, "matched": check.matched}
            for check in handover.verification
        ],
        **packet_of(handover.kept, handover.receipt),
    }


def packet_of(kept: Kept | None, receipt: Receipt | None) -> dict[str, Any]:
    """What became of the packet, and the hub's receipt once there is one."""
    return {
        "packet_id": kept.packet_id if kept else "",
        "pid": kept.pid if kept else "",
        "kept_ms": kept.wall_ms if kept else 0,
        "receipt": None
        if receipt is None
        else {
            "disposition": receipt.disposition.value,
            "hub_sequence": receipt.hub_sequence,
            "time_ms": receipt.time_ms,
            "reason": receipt.reason,
        },
    }
