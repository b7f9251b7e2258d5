"""What the pen did must come out of any record: ours, an older one of ours, others'; bounded and cleaned."""

from __future__ import annotations

import contextlib
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.attestation import (
    PAGE_BYTES_MAX,
    SIGNATURE_BYTES_MAX,
    AttestationPage,
    biodata_digest,
    open_attestation,
    seal_attestation,
)
from contract.errors import RemoteError
from contract.packet import Attestation
from contract.signature_series import (
    Channel,
    ChannelDescription,
    SignatureSeries,
    decode_series,
    encode_series,
    signature_of,
)
from contract.signature_strokes import INK_POINTS_MAX, REST_S_MAX, Ink, ink_of
from edge.capture_steps import SIGNATURE_POINTS_MAX, signature_record
from edge.sensors.interface import PenPoint
from tests.unit.edge_fakes import biodata
from virtual.people import person

PadPoint = tuple[int, int, int, int, bool]


def line(count: int, *, x: int = 0, y: int = 0, start_ms: int = 0) -> list[PadPoint]:
    """A stroke of 10 mm down and to the right, in 0.01 mm, a point each 10 ms, pressed ever harder."""
    return [(x + 1000 * n // count, y + 500 * n // count, start_ms + 10 * n, 1000 + 10 * n, True) for n in range(count)]


def through_bytes(points: list[PadPoint]) -> Ink:
    return ink_of(decode_series(encode_series(signature_of(points, units_per_mm=100.0))))


def test_a_stroke_comes_back_in_millimetres_seconds_and_pressure() -> None:
    ink = through_bytes(line(101))
    (stroke,) = ink.strokes
    assert stroke[0] == (0.0, 0.0, 0.0, 0.0)
    assert stroke[-1] == (pytest.approx(9.9, abs=0.02), pytest.approx(4.95, abs=0.02), 1.0, pytest.approx(1.0))
    assert ink.length_mm == pytest.approx(math.hypot(9.9, 4.95), abs=0.05)
    assert (ink.width_mm, ink.height_mm) == (pytest.approx(9.9, abs=0.02), pytest.approx(4.95, abs=0.02))


def test_y_is_stored_upwards_as_the_standard_has_it_and_shown_downwards() -> None:
    series = signature_of([(0, 300, 0, 1, True), (0, 700, 10, 1, True)], units_per_mm=100.0)
    assert series.channels[Channel.Y] == (-300, -700)
    assert [mark[1] for mark in ink_of(series).strokes[0]] == [0.0, 4.0]


def first_version(points: list[PadPoint]) -> SignatureSeries:
    """As our records were until Y was turned over."""
    x, y, time_ms, force, down = zip(*points, strict=True)
    columns = {Channel.X: x, Channel.Y: y, Channel.T: time_ms, Channel.F: force, Channel.S: tuple(map(int, down))}
    scaling = {Channel.X: 100.0, Channel.Y: 100.0, Channel.T: 1000.0}
    described = {
        channel: ChannelDescription(
            scaling=scaling.get(channel),
            value_min=None if channel is Channel.S else min(values),
            value_max=None if channel is Channel.S else max(values),
        )
        for channel, values in columns.items()
    }
    return SignatureSeries(columns, described)


def test_a_record_of_our_first_version_is_not_shown_upside_down() -> None:
    points = [*line(40, x=500, y=300), *line(40, x=900, y=2500, start_ms=900)]
    old = decode_series(encode_series(first_version(points)))
    assert ink_of(old) == through_bytes(points)


def test_a_pen_without_switch_time_or_force_is_read_all_the_same() -> None:
    described = {Channel.X: ChannelDescription(), Channel.Y: ChannelDescription()}
    ink = ink_of(SignatureSeries({Channel.X: (0, 50, 100), Channel.Y: (0, 80, 0)}, described))
    (stroke,) = ink.strokes
    assert [mark[2] for mark in stroke] == [0.5, 0.5, 0.5]
    assert [mark[3] for mark in stroke] == pytest.approx([0.0, 0.01, 0.02])


def test_force_lifts_the_pen_where_there_is_no_switch() -> None:
    described = {channel: ChannelDescription() for channel in (Channel.X, Channel.Y, Channel.F)}
    columns = {Channel.X: (0, 1, 2, 3, 4), Channel.Y: (0, 0, 0, 0, 0), Channel.F: (9, 9, 0, 9, 9)}
    assert [len(stroke) for stroke in ink_of(SignatureSeries(columns, described)).strokes] == [2, 2]


def test_a_leap_a_stray_touch_and_hovering_are_left_out() -> None:
    clean = through_bytes(line(200))
    leaping = line(200)
    leaping[90] = (9000, 9000, 900, 4000, True)
    assert through_bytes(leaping).width_mm == clean.width_mm
    heel = [(20_000, 12_000, 3000, 500, True), (20_001, 12_000, 3010, 500, True)]
    assert through_bytes([*line(200), (10_000, 6000, 2500, 0, False), *heel]).width_mm == clean.width_mm
    dot = [(1100, 100, 3000, 500, True)]
    assert len(through_bytes([*line(200), (1000, 0, 2500, 0, False), *dot]).strokes) == 2


def test_a_clock_that_steps_back_stands_and_a_long_rest_is_cut() -> None:
    points = [(0, 0, 0, 1, True), (10, 0, 50, 1, True), (20, 0, 20, 1, True), (30, 0, 60_000, 1, True)]
    times = [mark[3] for mark in through_bytes(points).strokes[0]]
    assert times == sorted(times) and times[-1] <= 0.05 + REST_S_MAX


def test_the_number_of_marks_is_bounded_and_strokes_keep_their_ends() -> None:
    points = [(n % 3000, n % 900, n // 10, 1000, n % 50 != 0) for n in range(60_000)]
    ink = through_bytes(points)
    assert 0 < ink.point_count <= INK_POINTS_MAX
    assert all(len(stroke) >= 2 for stroke in ink.strokes)


def test_an_empty_record_and_one_that_only_hovers_have_no_ink() -> None:
    assert through_bytes([]) == Ink(())
    assert through_bytes([(n, n, n, 0, False) for n in range(9)]) == Ink(())
    assert Ink(()).duration_s == Ink(()).length_mm == 0


def test_a_signing_of_more_than_a_minute_is_a_record_and_not_an_error() -> None:
    points = [PenPoint(20 * n, 100 * (n % 7), 20_000, 100 * n, True) for n in range(1200)]
    ink = ink_of(decode_series(signature_record(points)))
    assert ink.duration_s == pytest.approx(119.9, abs=0.05)


def test_the_longest_recording_of_a_pad_still_fits_into_its_attestation() -> None:
    points = [PenPoint(n % 20_000, n % 9000, 40_000, n, True) for n in range(60_000)]
    record = signature_record(points)
    assert len(record) <= SIGNATURE_BYTES_MAX and decode_series(record).point_count <= SIGNATURE_POINTS_MAX
    attestation = Attestation(
        text_sha256=bytes(32), biodata_sha256=biodata_digest(biodata()), signature=record, agreed_ms=1
    )
    page = AttestationPage(
        capture_id="01920000-0000-7000-8000-000000000001", card_number="C-1", biodata=biodata(), attestation=attestation
    )
    sealed = seal_attestation(page, bytes(32))
    assert len(sealed) <= PAGE_BYTES_MAX
    assert open_attestation(sealed, bytes(32), "C-1") == page


def test_virtual_peoples_signatures_come_through_whole() -> None:
    for index in range(4):
        written = person(2, index).signature(0)
        moves = zip(written.time_ms, written.x_mm, written.y_mm, written.pressure, strict=True)
        points = [(round(x * 100), round(y * 100), int(t), round(p * 65535), bool(p > 0)) for t, x, y, p in moves]
        ink = through_bytes(points)
        assert ink.point_count == sum(point[4] for point in points)


@given(st.sets(st.sampled_from(sorted(Channel))), st.integers(0, 30), st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_record_that_decodes_gives_bounded_ink(
    chosen: set[Channel], count: int, chance: Random, bare: bool
) -> None:
    draw = chance.randint
    columns = {
        channel: tuple(draw(channel.value_min, channel.value_max) for _ in range(count))
        for channel in sorted({*chosen, Channel.X, Channel.Y}, reverse=True)
    }
    described = {
        channel: ChannelDescription(scaling=None if bare else draw(1, 60_000) / 7.0, value_min=draw(0, 900))
        for channel in columns
    }
    ink = ink_of(decode_series(encode_series(SignatureSeries(columns, described))))
    for stroke in ink.strokes:
        for x, y, pressure, time in stroke:
            assert 0 <= x <= ink.width_mm + 1e-6 and 0 <= y <= ink.height_mm + 1e-6
            assert 0 <= pressure <= 1 and 0 <= time <= ink.duration_s


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage_is_a_value_or_a_remote_error(garbage: bytes) -> None:
    with contextlib.suppress(RemoteError):
        ink_of(decode_series(b"SDI\x00 10\x00" + garbage))
