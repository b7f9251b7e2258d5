"""The touch screen as a pad: what a page brings is in order and bounded, and a palm leaves no ink."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import CaptureRetry, DeviceError
from edge.sensors.interface import PenPoint, PointerBatch, PointerReport, PointerState
from edge.sensors.signature_screen import BATCHES_MAX, ScreenPad

NEVER = threading.Event()
DOWN, UP, WITHDRAWN = PointerState.DOWN, PointerState.UP, PointerState.WITHDRAWN


@pytest.fixture(autouse=True, scope="module")
def without_waiting() -> Iterator[None]:
    """Played time passes by itself: nobody waits for reports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge.sensors.signature_screen.READ_S", 0.0)
        yield


class PlayedClock:
    """Time that moves by 200 ms with every look at it; at the first look the page sends what it has."""

    def __init__(self, page: Callable[[], None]) -> None:
        self.now_ms = 1_000_000
        self.page: Callable[[], None] | None = page

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        page, self.page = self.page, None
        if page is not None:
            page()
        self.now_ms += 200
        return self.now_ms


def line(first: int, last: int, *, from_ms: float = 0, pressure: float = 0.5) -> tuple[PointerReport, ...]:
    """A stroke of one point a millisecond, pen up at its end."""
    drawn = tuple(PointerReport(x, 10, pressure, from_ms + x, DOWN) for x in range(first, last))
    return (*drawn, PointerReport(last, 10, 0, from_ms + last, UP))


def played(*batches: PointerBatch, width_mm: float = 0.0) -> Sequence[PenPoint]:
    """What the pad makes of batches that came as soon as it recorded."""

    def page() -> None:
        for batch in batches:
            assert pad.write(batch)

    pad = ScreenPad(settled_s=0.4, width_mm=width_mm, clock=PlayedClock(page))
    pad.open()
    return pad.capture(2, NEVER)


def inked(points: Sequence[PenPoint]) -> list[int]:
    return [round(point.x / (2540 / 96)) for point in points if point.down]


def test_what_was_drawn_arrives_with_its_own_times_and_pressure() -> None:
    points = played(PointerBatch(1, 0, 1000, line(0, 20)), PointerBatch(1, 1, 1000, line(30, 40)))
    assert inked(points) == [*range(20), *range(30, 40)]
    assert points[0].time_ms == 0
    assert [point.time_ms for point in points] == sorted(point.time_ms for point in points)
    assert all(abs(point.pressure - 32768) <= 1 for point in points if point.down)


def test_a_batch_sent_twice_counts_once() -> None:
    batch = PointerBatch(1, 0, 1000, line(0, 20))
    assert inked(played(batch, batch, PointerBatch(1, 1, 1000, line(30, 40)), batch)) == [*range(20), *range(30, 40)]


def test_a_page_loaded_anew_starts_the_signature_again() -> None:
    left_over = PointerBatch(1, 5, 1000, line(60, 70))
    points = played(PointerBatch(1, 0, 1000, line(0, 20)), PointerBatch(2, 0, 1000, line(30, 40)), left_over)
    assert inked(points) == [*range(30, 40)]


def test_a_palm_leaves_no_ink() -> None:
    palm = (*line(100, 130)[:-1], PointerReport(130, 10, 0, 130, WITHDRAWN))
    points = played(PointerBatch(1, 0, 1000, line(0, 20)), PointerBatch(1, 1, 1000, (*palm, *line(150, 160))))
    assert inked(points) == [*range(20), *range(150, 160)]
    with pytest.raises(CaptureRetry):
        played(PointerBatch(1, 0, 1000, palm))


def test_a_screen_without_pressure_still_writes() -> None:
    assert {point.pressure for point in played(PointerBatch(1, 0, 1000, line(0, 20, pressure=0))) if point.down} == {
        32768
    }


def test_the_ruler_scales_what_is_drawn() -> None:
    points = played(PointerBatch(1, 0, 1000, line(0, 20)), width_mm=200)
    assert max(point.x for point in points) == 19 * 20  # a pixel is 0.2 mm, and the last one has no ink


def test_nothing_is_taken_while_nobody_is_asked_and_no_more_than_the_limit() -> None:
    pad = ScreenPad()
    assert not pad.write(PointerBatch(1, 0, 1000, line(0, 5)))
    with pytest.raises(DeviceError):
        pad.capture(1, NEVER)
    pad.open()
    assert not pad.write(PointerBatch(1, 0, 1000, line(0, 5)))
    for wrong in ({"settled_s": 0.0}, {"width_mm": -1.0}, {"width_mm": 9000.0}):
        with pytest.raises(DeviceError):
            ScreenPad(**wrong)
    assert BATCHES_MAX * 200 < 1_000_000


reports = st.builds(
    PointerReport,
    st.floats(0, 20_000), st.floats(0, 20_000), st.floats(0, 1), st.floats(0, 1e12), st.sampled_from(PointerState),
)  # fmt: skip
batches = st.builds(
    PointerBatch, st.integers(0, 2), st.integers(0, 3), st.floats(200, 20_000), st.lists(reports, max_size=6).map(tuple)
)


@given(st.lists(batches, max_size=8))
@settings(max_examples=60, deadline=None)
def test_whatever_a_page_sends_is_a_signature_or_advice(sent: list[PointerBatch]) -> None:
    try:
        points = played(*sent)
    except CaptureRetry:
        return
    times = [point.time_ms for point in points]
    assert times == sorted(times)
    assert all(0 <= point.pressure <= 65535 for point in points)
