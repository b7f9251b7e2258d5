"""A print job and the printer's condition as values, for those who do not speak IPP themselves (RFC 8011)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge.printer_faults import PrinterFault


class JobResult(StrEnum):
    """How a print job ended."""

    COMPLETED = "completed"
    CANCELED = "canceled"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class PrinterCondition:
    """The printer now. state: idle, processing or stopped; two_sided: it turns the card itself."""

    model: str
    state: str
    message: str
    two_sided: bool
    faults: tuple[PrinterFault, ...]


@dataclass(frozen=True, slots=True)
class PrintJobRef:
    """A job at the printer. uri: names it for good, as a personalisation's record does."""

    job_id: int
    uri: str
    name: str


@dataclass(frozen=True, slots=True)
class PrintProgress:
    """A job under way. result: None until it ended; faults: what the printer waits for now."""

    job: PrintJobRef
    result: JobResult | None
    reasons: tuple[str, ...]
    faults: tuple[PrinterFault, ...]


@dataclass(frozen=True, slots=True)
class PrintOutcome:
    """How a job ended, and every complaint there was on the way."""

    job: PrintJobRef
    result: JobResult
    reasons: tuple[str, ...]
    faults: tuple[PrinterFault, ...]
