"""A capture's clocks are the standards' lines, each over the right report (M65)."""

from __future__ import annotations

from hub.clocks import CENTRE_STANDARDS, MINUTE_MS, UNIT_STANDARDS, Part, _line, _of_part
from hub.schema.tables import ClockStep

CAPTURE = "01a205c4-4700-7567-a74e-84d49f5f28e7"
HANDOVER = "01a205c5-0000-7567-a74e-84d49f5f28e7"


def step(source: str, name: str, started_s: int, ended_s: int) -> ClockStep:
    return ClockStep(source=source, step=name, started_ms=started_s * 1000, ended_ms=ended_s * 1000, capture_id=CAPTURE)


def standard(name: str):
    return next(line for line in UNIT_STANDARDS if line.name == name)


def test_the_six_standards_of_the_procedure_have_their_limits() -> None:
    limits = {line.name: line.limit_ms // MINUTE_MS for line in (*UNIT_STANDARDS, *CENTRE_STANDARDS)}
    assert limits == {
        "papers": 2,
        "capture to sent": 4,
        "encode and print": 4,
        "verification": 2,
        "archive and handover": 1,
        "1:N and notice": 24 * 60,
        "whole": 24 * 60,
    }


def test_the_check_after_capture_is_not_taken_for_the_check_at_handover() -> None:
    steps = [step(CAPTURE, "verify", 0, 100), step(HANDOVER, "card", 500, 510), step(HANDOVER, "verify", 510, 530)]
    line = _line(standard("verification"), _of_part(steps, Part.HANDOVER), {})
    assert line is not None
    assert line.duration_ms == 30_000
    assert line.within


def test_capture_counts_until_the_centre_has_it_and_says_when_that_was_too_late() -> None:
    steps = [step(CAPTURE, "photo", 10, 20), step(CAPTURE, "sign_off", 100, 110)]
    sent = standard("capture to sent")
    assert _line(sent, steps, {}) is None
    line = _line(sent, steps, {"RECEIVED_AT_CENTRAL": 3_600_000})
    assert line is not None
    assert not line.within


def test_a_second_try_at_the_desk_is_the_one_that_counts() -> None:
    steps = [step(HANDOVER, "receipt", 0, 5), step(HANDOVER[:-1] + "8", "receipt", 900, 907)]
    line = _line(standard("archive and handover"), _of_part(steps, Part.HANDOVER), {})
    assert line is not None
    assert line.duration_ms == 7_000
