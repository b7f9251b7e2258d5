"""The line's share of updates: no unit gets more than its own, all together no more than theirs, and nobody starves."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.line_share import ASK_COST_BYTES, BURST_BYTES_MIN, REMINDERS_MAX, SILENCE, UNITS_MAX, LineShare

UNIT_RATE, ALL_RATE = 256 * 1024, 1024 * 1024
PART = 65536


def share() -> LineShare:
    return LineShare(ALL_RATE, UNIT_RATE, lambda low, high: (low + high) / 2)


def test_a_unit_gets_its_burst_then_its_rate() -> None:
    line, given_at = share(), []
    for now_ms in range(0, 10_000, 5):
        if line.ask("a", PART, now_ms) == 0:
            given_at.append(now_ms)
    assert given_at[:3] == [0, 5, 10]
    got = len(given_at) * (PART + ASK_COST_BYTES)
    assert UNIT_RATE * 10 * 0.95 < got <= UNIT_RATE * 10 + BURST_BYTES_MIN


def test_who_keeps_to_what_was_said_is_served_and_who_does_not_hears_nothing() -> None:
    line = share()
    while not (wait_ms := line.ask("a", PART, 0)):
        pass
    said = [line.ask("a", PART, 1) for _ in range(100)]
    assert [answer for answer in said if answer != SILENCE] == [wait_ms - 1] * REMINDERS_MAX
    assert line.ask("a", PART, wait_ms) == 0


def test_a_crowd_shares_what_there_is_and_everybody_gets_through() -> None:
    line = share()
    need = {f"u{number}": 8 for number in range(100)}
    again = dict.fromkeys(need, 0)
    given_bytes, now_ms = 0, 0
    while any(need.values()):
        now_ms += 10
        assert now_ms < 400_000, "somebody starves"
        for unit in [unit for unit, at in again.items() if need[unit] and at <= now_ms]:
            wait_ms = line.ask(unit, PART, now_ms)
            if wait_ms == 0:
                need[unit] -= 1
                given_bytes += PART
            else:
                assert wait_ms > 0
                again[unit] = now_ms + wait_ms
    assert given_bytes == 100 * 8 * PART
    assert given_bytes / now_ms * 1000 > 0.5 * ALL_RATE  # and the line is used


def test_small_asks_are_no_way_around_and_many_names_cost_no_memory() -> None:
    line = share()
    given_count = sum(line.ask("a", 1, now_ms) == 0 for now_ms in range(2000))
    assert given_count <= (BURST_BYTES_MIN + 2 * UNIT_RATE) / ASK_COST_BYTES + 1
    for number in range(UNITS_MAX + 50):
        line.ask(f"n{number}", 1, 3000 + number)
    assert len(line._askers) <= UNITS_MAX


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, PART), st.integers(0, 400)), max_size=200))
@settings(deadline=None)
def test_nobody_ever_gets_more_than_burst_and_rate(asks: list[tuple[str, int, int]]) -> None:
    line, got, now_ms = share(), dict.fromkeys("abc", 0), 0
    for unit, length, passes_ms in asks:
        now_ms += passes_ms
        if line.ask(unit, length, now_ms) == 0:
            got[unit] += length
    for unit in "abc":
        assert got[unit] <= BURST_BYTES_MIN + UNIT_RATE * now_ms / 1000 + 1
    assert sum(got.values()) <= ALL_RATE + ALL_RATE * now_ms / 1000 + 1
