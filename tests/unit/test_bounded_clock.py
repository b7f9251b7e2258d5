"""The unit's time within bounds: a dead battery, a lying time server, a hand on the clock, the hub's signed word."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bounded_clock import (
    DAY_MS,
    HOUR_MS,
    JITTER_MS,
    KEEP_PERIOD_S,
    KEPT,
    OFF_MAX_MS,
    STEP_MAX_MS,
    BoundedClock,
    BoundedTime,
)

NOW = 1_795_000_000_000
BUILT = NOW - 30 * DAY_MS


class Machine:
    """A machine's clocks, set by hand."""

    def __init__(self, wall: int = NOW) -> None:
        self.wall, self.mono = wall, 5_000

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_ms(self) -> int:
        return self.mono

    def pass_ms(self, passed: int) -> None:
        self.wall += passed
        self.mono += passed


def test_a_clock_that_is_right_is_followed() -> None:
    time = BoundedTime(BUILT, NOW - HOUR_MS, NOW, 0)
    assert time.now(NOW + 60_000, 60_000) == NOW + 60_000
    assert time.state == "follows"


def test_without_a_battery_the_time_goes_on_from_the_last_and_then_follows_the_time_server() -> None:
    time = BoundedTime(BUILT, kept=NOW, wall=0, mono=0)
    assert time.state == "kept"
    assert time.now(10_000, 10_000) == NOW + 10_000
    assert time.now(NOW + HOUR_MS, 20_000) == NOW + HOUR_MS
    assert time.state == "follows"


def test_a_time_that_was_kept_from_a_wrong_clock_can_be_put_right_backwards() -> None:
    time = BoundedTime(BUILT, kept=NOW + 20 * DAY_MS, wall=NOW + 20 * DAY_MS, mono=0)
    assert time.now(NOW, 1_000) == NOW
    assert time.state == "follows"


@pytest.mark.parametrize("sure", [BUILT, NOW])
def test_nothing_is_before_what_is_sure(sure: int) -> None:
    time = BoundedTime(sure, 0, sure + DAY_MS, 0)
    assert time.now(sure - 1, 1_000) == sure + DAY_MS + 1_000
    assert time.state == "kept"


def test_the_hubs_word_moves_the_time_on_and_is_never_gone_behind() -> None:
    time = BoundedTime(BUILT, 0, BUILT, 0)
    time.hear(NOW, BUILT + 1_000, 1_000)
    assert time.now(BUILT + 2_000, 2_000) == NOW + 1_000
    assert time.now(NOW - 1, 3_000) == NOW + 2_000


def test_a_jump_of_a_year_waits_for_the_hubs_word() -> None:
    time, year = BoundedTime(BUILT, NOW, NOW, 0), 365 * DAY_MS
    assert time.now(NOW + year, 1_000) == NOW + 1_000
    assert time.state == "refuses"
    assert time.now(NOW + year + 60_000, 61_000) == NOW + 61_000
    time.hear(NOW + HOUR_MS, NOW + year + 62_000, 62_000)  # an old word does not reach it
    assert time.state != "follows"
    time.hear(NOW + year, NOW + year + 120_000, 120_000)
    assert time.state == "follows"
    assert time.now(NOW + year + 121_000, 121_000) == NOW + year + 121_000


def test_many_small_jumps_are_one_large_one() -> None:
    time, wall, mono = BoundedTime(BUILT, NOW, NOW, 0), NOW, 0
    for _ in range(100):
        wall, mono = wall + 20 * HOUR_MS, mono + 1_000
        time.now(wall, mono)
    assert time.now(wall, mono) <= NOW + mono + STEP_MAX_MS


def test_a_unit_may_have_been_off_for_months_but_not_for_years() -> None:
    assert BoundedTime(BUILT, NOW, NOW + OFF_MAX_MS, 0).state == "follows"
    long_off = BoundedTime(BUILT, NOW, NOW + OFF_MAX_MS + 1, 0)
    assert (long_off.state, long_off.now(NOW + OFF_MAX_MS + 1_001, 1_000)) == ("refuses", NOW + 1_000)


def test_a_box_that_lay_in_a_store_for_years_begins_with_its_own_clock() -> None:
    assert BoundedTime(BUILT, 0, BUILT + 900 * DAY_MS, 0).state == "follows"


readings = st.lists(st.tuples(st.integers(0, 2**45), st.integers(0, 10**9), st.integers(0, 2**45)), max_size=30)


@given(sure=st.integers(0, 2**42), kept=st.integers(0, 2**45), wall=st.integers(0, 2**45), steps=readings)
def test_whatever_the_clocks_say_the_bounds_hold(
    sure: int, kept: int, wall: int, steps: list[tuple[int, int, int]]
) -> None:
    time, mono, words = BoundedTime(sure, kept, wall, 0), 0, [sure]
    latest = time.now(wall, 0)
    for reading, passed, word in steps:
        mono += passed
        if word % 3 == 0:
            time.hear(word, reading, mono)
            words.append(word)
        found = time.now(reading, mono)
        latest = max(latest + passed, *words)
        assert max(words) <= found <= latest + STEP_MAX_MS + JITTER_MS * (len(steps) + 1)


@given(st.lists(st.integers(0, 10**7), max_size=20))
def test_without_a_step_the_time_goes_as_fast_as_the_monotonic_clock(passed: list[int]) -> None:
    time, begun = BoundedTime(BUILT, NOW, 0, 0), BoundedTime(BUILT, NOW, 0, 0).now(0, 0)
    total = 0
    for step in passed:
        total += step
        assert time.now(total, total) == begun + total


def test_the_time_is_kept_over_a_start_without_a_set_clock(tmp_path: Path) -> None:
    machine = Machine()
    clock = BoundedClock(machine, tmp_path)
    machine.pass_ms(HOUR_MS)
    clock.keep()
    assert BoundedClock(Machine(wall=0), tmp_path).wall_ms() == NOW + HOUR_MS


@pytest.mark.parametrize("content", [b"", b"tomorrow", b"-1", b"9" * 30, bytes(range(256))])
def test_a_spoiled_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEPT).write_bytes(content)
    assert BoundedClock(Machine(), tmp_path).wall_ms() == NOW


def test_the_softwares_own_time_bounds_a_new_box(tmp_path: Path) -> None:
    built = tmp_path / "built.txt"
    built.write_text(f"{NOW // 1000}\n")
    clock = BoundedClock(Machine(wall=0), tmp_path, built)
    assert (clock.wall_ms(), clock.state) == (NOW, "kept")
    clock.hear(NOW + DAY_MS)
    assert clock.wall_ms() == NOW + DAY_MS


async def test_the_time_is_kept_as_long_as_the_agent_runs(tmp_path: Path) -> None:
    machine, pauses = Machine(), 0
    clock = BoundedClock(machine, tmp_path)

    async def pause(seconds: float) -> None:
        nonlocal pauses
        assert seconds == KEEP_PERIOD_S
        pauses += 1
        machine.pass_ms(round(seconds * 1000))
        if pauses == 3:
            raise EOFError

    with pytest.raises(EOFError):
        await clock.keep_on(pause)
    assert int((tmp_path / KEPT).read_text()) == NOW + 2 * round(KEEP_PERIOD_S * 1000)
