"""Garbage without end leaves a bounded log in which other lines still stand."""

from __future__ import annotations

import pytest
import structlog

from hub.log_bound import EVENTS_MAX, MINUTE_MS, PER_MINUTE, LogBound


class Ticks:
    now_ms = 0

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


def written(bound: LogBound, event: str, times: int) -> list[dict[str, object]]:
    lines = []
    for number in range(times):
        try:
            lines.append(dict(bound(None, "warning", {"event": event, "number": number})))
        except structlog.DropEvent:
            continue
    return lines


def test_of_the_same_words_so_many_are_written_a_minute_and_the_next_says_how_many_were_left_out() -> None:
    clock = Ticks()
    bound = LogBound(clock)
    assert len(written(bound, "message refused", 100_000)) == PER_MINUTE
    assert len(written(bound, "session ended", 1)) == 1
    clock.now_ms += MINUTE_MS
    (line,) = written(bound, "message refused", 1)
    assert line["left_out"] == 100_000 - PER_MINUTE
    clock.now_ms += MINUTE_MS
    assert "left_out" not in written(bound, "message refused", 1)[0]


def test_it_keeps_no_more_words_than_it_may() -> None:
    bound = LogBound(Ticks())
    for number in range(5 * EVENTS_MAX):
        written(bound, f"words {number}", 1)
    assert len(bound._minutes) <= EVENTS_MAX


def test_it_stands_in_the_chain_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    from hub.__main__ import configure_log

    before = structlog.get_config()
    try:
        configure_log(Ticks())
        for _ in range(PER_MINUTE + 50):
            structlog.get_logger("x").warning("message refused", unit="u")
    finally:
        structlog.configure(**before)
    assert capsys.readouterr().out.count("message refused") == PER_MINUTE
