"""The steps of making one card (M34–M36), as a table: what may follow what, and what may be done at each step.

Pure. `advance_work` moves the work of one blank by an event and, where the physical card changed, the card by the CARD
lifecycle, so that no card can be released that was not encoded, printed and read back, in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from contract.lifecycle import CardEvent, CardState, IllegalTransition, advance
from contract.packet import Model, PersonalisationBody, StepClock, Text, UuidText

STEP_CLOCKS_MAX = 60
ATTEMPTS_MAX = 99


class Step(StrEnum):
    """Where the work of one job stands."""

    WAITING = "waiting"
    BLANK = "blank"
    ENCODE = "encode"
    PREVIEW = "preview"
    PRINTING = "printing"
    TURN = "turn"
    FAILED = "print_failed"
    UNSURE = "print_unsure"
    READ_BACK = "read_back"
    RELEASE = "release"
    REPORT = "report"


class Event(StrEnum):
    """What can happen to it."""

    STARTED = "started"
    PUT_BACK = "put back"
    BLANK_BOUND = "blank bound"
    ENCODED = "encoded, read back, closed"
    PRINT_BEGUN = "print begun"
    NOT_SENT = "nothing was sent to the printer"
    FRONT_DONE = "front printed, card to be turned"
    FACES_DONE = "both faces printed"
    PRINT_FAILED = "print canceled or given up"
    FORGOTTEN = "the printer has forgotten the job"
    PRINT_AGAIN = "the card is unprinted, print again"
    CHECKED = "read back and compared"
    RELEASED = "released"
    SPOILED = "spoiled"
    REPORTED = "reported"


Side = Literal["both", "front", "back"]


class Work(Model):
    """One job's work on one blank; sealed at rest after every change.

    card_uid: bound to the job from BLANK_BOUND on (M36); print_name: under which the printer knows the job that runs,
    or ran; print_job: the printer's own names of all jobs that printed on this card; report_id: packet id of the
    report, made once, so that a report repeated after a power cut is the same report.
    """

    job_id: UuidText
    step: Step = Step.WAITING
    card: CardState = CardState.BLANK
    card_uid: str = ""
    operator: str = ""
    attempt: Annotated[int, Field(ge=1, le=ATTEMPTS_MAX)] = 1
    prints: Annotated[int, Field(ge=0, le=999)] = 0
    side: Side = "both"
    print_name: str = ""
    print_id: int = 0
    print_job: str = ""
    read_back: bytes = b""
    outcome: Literal["", "released", "spoiled"] = ""
    reason: Text = ""
    released_by: str = ""
    report_id: str = ""
    entered_ms: int = 0
    steps: Annotated[tuple[StepClock, ...], Field(max_length=STEP_CLOCKS_MAX)] = ()


@dataclass(frozen=True, slots=True)
class StepText:
    """What a step is called and what it asks of the operator."""

    title_id: str
    title_en: str
    prompt_id: str
    prompt_en: str
    actions: tuple[str, ...]


_S, _E = Step, Event
TABLE: Mapping[tuple[Step, Event], Step] = {
    (_S.WAITING, _E.STARTED): _S.BLANK,
    (_S.BLANK, _E.PUT_BACK): _S.WAITING,
    (_S.BLANK, _E.BLANK_BOUND): _S.ENCODE,
    (_S.ENCODE, _E.ENCODED): _S.PREVIEW,
    (_S.PREVIEW, _E.PRINT_BEGUN): _S.PRINTING,
    (_S.TURN, _E.PRINT_BEGUN): _S.PRINTING,
    (_S.PRINTING, _E.NOT_SENT): _S.PREVIEW,
    (_S.PRINTING, _E.FRONT_DONE): _S.TURN,
    (_S.PRINTING, _E.FACES_DONE): _S.READ_BACK,
    (_S.PRINTING, _E.PRINT_FAILED): _S.FAILED,
    (_S.PRINTING, _E.FORGOTTEN): _S.UNSURE,
    (_S.FAILED, _E.PRINT_AGAIN): _S.PREVIEW,
    (_S.UNSURE, _E.PRINT_AGAIN): _S.PREVIEW,
    (_S.UNSURE, _E.FRONT_DONE): _S.TURN,
    (_S.UNSURE, _E.FACES_DONE): _S.READ_BACK,
    (_S.READ_BACK, _E.CHECKED): _S.RELEASE,
    (_S.RELEASE, _E.RELEASED): _S.REPORT,
    (_S.REPORT, _E.REPORTED): _S.WAITING,
    **{(step, _E.SPOILED): _S.REPORT for step in Step if step not in (_S.WAITING, _S.BLANK, _S.REPORT)},
}
_BACK_TO_THE_SIDE = (Event.NOT_SENT, Event.PRINT_AGAIN)
_CARD_EVENTS: Mapping[Event, CardEvent] = {
    Event.ENCODED: CardEvent.CHIP_ENCODED,
    Event.FACES_DONE: CardEvent.FACE_PRINTED,
    Event.CHECKED: CardEvent.READ_BACK,
    Event.SPOILED: CardEvent.SPOILED,
}

TEXTS: Mapping[Step, StepText] = {
    Step.WAITING: StepText(
        "Pekerjaan", "Job", "Masukkan NIK, lalu mulai.", "Enter the NIK, then start.", ("start",)
    ),
    Step.BLANK: StepText(
        "Blangko", "Blank",
        "Letakkan satu blangko di atas pembaca kartu, lalu tekan Periksa.",
        "Lay one blank on the card reader, then press Check.",
        ("check", "put_back"),
    ),
    Step.ENCODE: StepText(
        "Encode chip", "Encode the chip",
        "Blangko siap. Tekan Encode dan biarkan kartu di atas pembaca.",
        "The blank is ready. Press Encode and leave the card on the reader.",
        ("encode", "spoil"),
    ),
    Step.PREVIEW: StepText(
        "Cetak", "Print",
        "Encoding kartu berhasil. Apakah Anda ingin melanjutkan proses cetak kartu? "
        "Letakkan blangko di pencetak dengan garuda menghadap ke atas.",
        "Card Encoding Successfully. Would you like to process print the card? "
        "Lay the blank into the printer with the garuda upwards.",
        ("print", "spoil"),
    ),
    Step.PRINTING: StepText(
        "Mencetak", "Printing", "Kartu sedang dicetak.", "The card is being printed.", ("check_print", "spoil")
    ),
    Step.TURN: StepText(
        "Balik kartu", "Turn the card",
        "Sisi depan sudah dicetak. Balik kartu, masukkan kembali, lalu tekan Cetak.",
        "The front is printed. Turn the card over, put it in again, then press Print.",
        ("print", "spoil"),
    ),
    Step.FAILED: StepText(
        "Cetak gagal", "Print failed",
        "Pencetakan berhenti. Bila kartu masih bersih, cetak lagi; bila sudah tercetak sebagian, catat sebagai rusak.",
        "Printing stopped. If the card is still clean, print again; if it is partly printed, write it off as spoiled.",
        ("print_again", "spoil"),
    ),
    Step.UNSURE: StepText(
        "Periksa kartu", "Look at the card",
        "Pencetak tidak lagi mengenal pekerjaan ini. Lihat kartunya: apakah sudah tercetak lengkap?",
        "The printer no longer knows this job. Look at the card: is it printed completely?",
        ("printed", "not_printed", "spoil"),
    ),
    Step.READ_BACK: StepText(
        "Baca ulang", "Read back",
        "Letakkan kartu yang baru dicetak di atas pembaca, lalu tekan Baca.",
        "Lay the card that was just printed on the reader, then press Read.",
        ("read_back", "spoil"),
    ),
    Step.RELEASE: StepText(
        "Pelepasan", "Release",
        "Chip dan cetakan cocok. Kepala seksi memeriksa kartu dengan berkasnya, lalu melepaskan.",
        "Chip and print agree. The section head checks the card against its file, then releases it.",
        ("release", "spoil"),
    ),
    Step.REPORT: StepText(
        "Simpan", "Save", "Hasil disimpan untuk dikirim ke pusat.", "The result is saved for the centre.", ("retry",)
    ),
}  # fmt: skip
SHOWN = (Step.BLANK, Step.ENCODE, Step.PREVIEW, Step.PRINTING, Step.READ_BACK, Step.RELEASE)
_PLACE_OF = {Step.TURN: Step.PRINTING, Step.FAILED: Step.PRINTING, Step.UNSURE: Step.PRINTING}


def advance_work(work: Work, event: Event, now_ms: int, **changes: Any) -> Work:
    """The work after `event`, with fields that changed. Raises IllegalTransition, and then nothing has changed."""
    following = TABLE.get((work.step, event))
    if following is None:
        raise IllegalTransition(
            f"'{event}' cannot happen at step '{work.step}'.", next_step="Look at the step on the screen."
        )
    if following is Step.PREVIEW and event in _BACK_TO_THE_SIDE and work.side == "back":
        following = Step.TURN
    card = advance(work.card, _CARD_EVENTS[event]) if event in _CARD_EVENTS else work.card
    clock = StepClock(step=work.step, started_ms=work.entered_ms or now_ms, ended_ms=max(now_ms, work.entered_ms))
    kept = changes.pop("steps", (*work.steps, clock)[-STEP_CLOCKS_MAX:])
    return work.model_copy(update={"step": following, "card": card, "entered_ms": now_ms, "steps": kept, **changes})


def next_attempt(work: Work, now_ms: int) -> Work:
    """The same job again, with another blank, after one was spoiled and reported."""
    return Work(job_id=work.job_id, attempt=min(work.attempt + 1, ATTEMPTS_MAX), entered_ms=now_ms)


def report_of(work: Work, capture_id: str) -> PersonalisationBody:
    """What the hub is told of this blank: chip, print jobs and read-back bound together (M36)."""
    return PersonalisationBody(
        job_id=work.job_id,
        capture_id=capture_id,
        card_uid=work.card_uid,
        print_job=work.print_job,
        outcome="released" if work.outcome == "released" else "spoiled",
        reason=work.reason,
        read_back_sha256=work.read_back,
        operator=work.operator,
        released_by=work.released_by or None,
        steps=work.steps,
    )


def progress_of(step: Step) -> list[tuple[Step, Literal["done", "now", "todo"]]]:
    """The progress line: each shown step and how it stands."""
    if step in (Step.WAITING, Step.REPORT):
        return [(shown, "todo" if step is Step.WAITING else "done") for shown in SHOWN]
    place = SHOWN.index(_PLACE_OF.get(step, step))
    return [
        (shown, "done" if index < place else "now" if index == place else "todo") for index, shown in enumerate(SHOWN)
    ]
