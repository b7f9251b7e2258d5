"""The station as its page sees it: one JSON-able picture of jobs, step, prompts, printer and card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from contract.dispatch import PrintJob
from edge.personalisation_steps import TEXTS, Step, Work, progress_of
from edge.print_jobs import PrinterCondition
from edge.printer_faults import PrinterFault
from edge.procedure import Advice


@dataclass(slots=True)
class Notes:
    """What is said beside the step: advice to the person, a problem, how far a write is, what the printer wants."""

    advice: Advice | None = None
    problem: dict[str, str] | None = None
    progress: tuple[int, int] | None = None
    print_faults: tuple[PrinterFault, ...] = ()
    condition: PrinterCondition | None = None


def station_snapshot(
    work: Work | None,
    job: PrintJob | None,
    waiting: Sequence[dict[str, Any]],
    notes: Notes,
    actions: Sequence[str],
    *,
    busy: bool,
) -> dict[str, Any]:
    """The page's data. pictures: what GET /api/station/picture/{name} gives now."""
    step = work.step if work else Step.WAITING
    text = TEXTS[step]
    faults = notes.print_faults or (notes.condition.faults if notes.condition else ())
    return {
        "state": "busy" if busy else "asking" if work or waiting else "idle",
        "step": step.value,
        "title_id": text.title_id,
        "title_en": text.title_en,
        "prompt_id": text.prompt_id,
        "prompt_en": text.prompt_en,
        "advice_id": notes.advice.text_id if notes.advice else "",
        "advice_en": notes.advice.text_en if notes.advice else "",
        "problem": notes.problem,
        "actions": list(actions),
        "jobs": list(waiting),
        "job": _job_view(work, job) if work and job else None,
        "pictures": ["front", "back", "blank"] if job else ["blank"],
        "progress": {"done": notes.progress[0], "total": notes.progress[1]} if notes.progress else None,
        "printer": {
            "model": notes.condition.model if notes.condition else "",
            "state": notes.condition.state if notes.condition else "",
            "faults": [asdict(fault) for fault in faults],
        },
        "steps": [
            {"step": shown.value, "title_id": TEXTS[shown].title_id, "title_en": TEXTS[shown].title_en, "state": state}
            for shown, state in progress_of(step)
        ],
        "operator": work.operator if work else "",
    }


def _job_view(work: Work, job: PrintJob) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "capture_id": job.capture_id,
        "card_number": job.card_number,
        "biodata": job.biodata.model_dump(),
        "destination": job.destination,
        "serves_here": job.serves_here,
        "attempt": work.attempt,
        "card": work.card.value,
        "card_uid": work.card_uid,
        "print_job": work.print_job,
    }
