"""The station as its page sees it: one JSON-able picture of jobs, step, prompts, printer and card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from contract.dispatch import PrintJob
from edge.card_printer import PrinterCondition
from edge.personalisation_steps import TEXTS, Step, Work, progress_of
from edge.printer_faults import PrinterFault
from edge.procedure import Advice

_BLANK_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 360" role="img" aria-label="blangko">
<path d="M240 8 l34 44 h-20 v36 h-28 v-36 h-20 z" fill="#b02a30"/>
<rect x="40" y="104" width="400" height="246" rx="16" fill="#eef5fa" stroke="#22508c" stroke-width="4"/>
<path d="M40 150 h400" stroke="#b02a30" stroke-width="6"/>
<g fill="#c49842"><path d="M240 172 l10 22 22 -16 -8 26 34 -10 -22 24 40 2 -36 14 32 18 -38 -2 12 30 -30 -20 -16 34
-16 -34 -30 20 12 -30 -38 2 32 -18 -36 -14 40 -2 -22 -24 34 10 -8 -26 22 16 z"/></g>
<rect x="222" y="222" width="36" height="40" rx="6" fill="#b02a30"/>
<text x="240" y="338" font-family="sans-serif" font-size="22" font-weight="700" text-anchor="middle"
 fill="#22508c">GARUDA MENGHADAP KE ATAS</text>
</svg>
"""


@dataclass(slots=True)
class Notes:
    """What is said beside the step: advice to the person, a problem, how far a write is, what the printer wants."""

    advice: Advice | None = None
    problem: dict[str, str] | None = None
    progress: tuple[int, int] | None = None
    print_faults: tuple[PrinterFault, ...] = ()
    condition: PrinterCondition | None = None


def blank_picture() -> bytes:
    """How the blank is laid into the printer: garuda upwards (SVG)."""
    return _BLANK_SVG.encode()


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
