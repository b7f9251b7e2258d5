"""The minutiae codec keeps what it is given and survives what it should not have been given."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import RekamError, RemoteError
from contract.finger_card import CARD_BYTES_MAX, CardFormat, decode_card, encode_card
from contract.finger_minutiae import (
    Core,
    Delta,
    ExtendedArea,
    FingerView,
    Minutia,
    MinutiaeRecord,
    RidgeCount,
    decode_record,
    encode_record,
)
from contract.sample import FingerPosition

GOLDEN = encode_record(
    MinutiaeRecord(
        388,
        374,
        197,
        197,
        (
            FingerView(
                (Minutia(1, 100, 200, 64, 90), Minutia(2, 300, 50, 255, 0)),
                FingerPosition.RIGHT_INDEX,
                view_number=1,
                ridge_counts=(RidgeCount(0, 1, 5),),
                cores=(Core(110, 210, 32), Core(1, 2)),
                deltas=(Delta(3, 4, (5, 6, 7)),),
                areas=(ExtendedArea(3, b"quality"),),
            ),
            FingerView((), FingerPosition.LEFT_INDEX),
        ),
    )
)
minutiae = st.builds(
    Minutia,
    st.integers(0, 2),
    st.integers(0, 0x3FFF),
    st.integers(0, 0x3FFF),
    st.integers(0, 255),
    st.integers(0, 100),
)
views = st.builds(
    FingerView,
    st.lists(minutiae, max_size=255).map(tuple),
    st.sampled_from(FingerPosition),
    st.integers(0, 15),
    st.integers(0, 15),
    st.integers(0, 100),
)


@given(st.lists(views, min_size=1, max_size=4).map(tuple))
@settings(max_examples=60, deadline=None)
def test_every_record_comes_back_as_it_was(found: tuple[FingerView, ...]) -> None:
    record = MinutiaeRecord(500, 600, 197, 197, found)
    assert decode_record(encode_record(record)) == record


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_garbage_is_a_remote_error(garbage: bytes) -> None:
    for octets in (garbage, GOLDEN[:24] + garbage):
        with contextlib.suppress(RemoteError):
            decode_record(octets)
    for card_format in CardFormat:
        with contextlib.suppress(RemoteError):
            decode_card(garbage, card_format)


@given(st.integers(0, len(GOLDEN) - 1), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_is_a_value_or_a_remote_error(at: int, value: int) -> None:
    changed = bytearray(GOLDEN)
    changed[at] = value
    with contextlib.suppress(RemoteError):
        assert len(encode_record(decode_record(bytes(changed)))) == len(GOLDEN)


@pytest.mark.parametrize("length", range(len(GOLDEN)))
def test_a_truncated_record_is_refused(length: int) -> None:
    with pytest.raises(RemoteError):
        decode_record(GOLDEN[:length])


def test_bytes_after_the_record_are_refused() -> None:
    with pytest.raises(RemoteError):
        decode_record(GOLDEN + b"\x00")


def test_a_value_without_room_is_said_before_it_is_written() -> None:
    with pytest.raises(RekamError, match="Minutia x"):
        encode_record(MinutiaeRecord(9, 9, 197, 197, (FingerView((Minutia(1, 0x4000, 0, 0),)),)))
    with pytest.raises(RekamError, match="at least one view"):
        encode_record(MinutiaeRecord(9, 9, 197, 197, ()))


@given(views, st.sampled_from(CardFormat))
@settings(max_examples=60, deadline=None)
def test_a_card_template_never_outgrows_its_file(view: FingerView, card_format: CardFormat) -> None:
    octets = encode_card(view, 197, 197, card_format)
    assert len(octets) <= CARD_BYTES_MAX
    again = decode_card(octets, card_format)
    assert encode_card(again.views[0], again.ppcm_x, again.ppcm_y, card_format) == octets


def test_a_large_finger_is_moved_to_the_origin_and_keeps_its_shape() -> None:
    view = FingerView((Minutia(1, 400, 100, 0, 9), Minutia(1, 700, 300, 0, 9), Minutia(1, 900, 300, 0, 9)))
    found = decode_card(encode_card(view, 197, 197)).views[0].minutiae
    assert [(m.x, m.y) for m in found] == [(0, 51), (152, 152), (254, 152)]


def test_the_best_minutiae_stay_when_room_is_short() -> None:
    view = FingerView(tuple(Minutia(1, 10 * n, 10, 0, n % 50) for n in range(45)))
    found = decode_card(encode_card(view, 197, 197, max_bytes=30)).views[0].minutiae
    assert len(found) == 10
    assert found[0].x == round(350 * 100 / 197)
