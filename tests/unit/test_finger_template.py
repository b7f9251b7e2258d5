"""What would be lost if templates did not survive their formats, and what a forged one must not do."""

from __future__ import annotations

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import RekamError, RemoteError
from contract.finger_card import CardFormat
from contract.finger_minutiae import FingerView, Minutia, MinutiaeRecord, encode_record
from contract.sample import FingerPosition
from edge.matcher_lite import FingerTemplate, compare, extract
from edge.matcher_lite.finger_template import ISO_EXTRACTOR
from edge.matcher_lite.finger_warm import ridge_pattern


@pytest.fixture(scope="module")
def template() -> FingerTemplate:
    return extract(ridge_pattern(), position=FingerPosition.RIGHT_INDEX)


def test_our_bytes_give_the_same_template_back(template: FingerTemplate) -> None:
    back = FingerTemplate.from_bytes(template.to_bytes())
    for name in ("x", "y", "angle", "kind", "minutia_quality", "geometry", "codes"):
        assert np.array_equal(getattr(back, name), getattr(template, name)), name
    assert (back.position, back.quality, back.extractor, back.version) == (
        template.position, template.quality, template.extractor, template.version,
    )  # fmt: skip


def test_arrays_cannot_be_changed_behind_the_back_of_their_codes(template: FingerTemplate) -> None:
    with pytest.raises(ValueError, match="read-only"):
        template.x[0] = 1.0


def test_an_iso_record_keeps_every_minutia_within_a_pixel(template: FingerTemplate) -> None:
    back = FingerTemplate.from_iso(template.to_iso())
    assert back.extractor == ISO_EXTRACTOR
    assert back.position is FingerPosition.RIGHT_INDEX
    assert np.abs(back.x - template.x).max() < 0.6
    assert np.abs(back.y - template.y).max() < 0.6
    turn = np.abs(np.angle(np.exp(1j * (back.angle - template.angle))))
    assert turn.max() <= np.pi / 256 + 1e-4
    assert np.array_equal(back.kind, template.kind)
    assert compare(template, back).value > 0.9 * compare(template, template).value


@pytest.mark.parametrize("card_format", list(CardFormat))
def test_the_chip_holds_a_finger_in_512_bytes_that_still_matches(
    template: FingerTemplate, card_format: CardFormat
) -> None:
    octets = template.to_card(card_format)
    assert len(octets) <= 512
    back = FingerTemplate.from_card(octets, card_format, FingerPosition.RIGHT_INDEX)
    assert compare(back, template).value > 60.0


def test_a_record_of_another_resolution_is_scaled() -> None:
    view = FingerView(minutiae=(Minutia(1, 100, 200, 64, 50), Minutia(2, 150, 220, 0, 254)))
    half = FingerTemplate.from_iso(encode_record(MinutiaeRecord(200, 300, 394, 394, (view,))))
    assert half.x[0] == pytest.approx(100 * 500 / (394 * 2.54), abs=0.1)
    assert half.angle[0] == pytest.approx(np.pi / 2, abs=1e-3)
    assert list(half.minutia_quality) == [50, 0]


@pytest.mark.parametrize("count", [0, 1, 2, 255])
def test_records_of_any_number_of_minutiae_compare(template: FingerTemplate, count: int) -> None:
    random = np.random.default_rng(count)
    minutiae = tuple(Minutia(1, int(x), int(y), int(a), 50) for x, y, a in random.integers(0, 256, (count, 3)))
    record = MinutiaeRecord(300, 300, 197, 197, (FingerView(minutiae=minutiae),))
    other = FingerTemplate.from_iso(encode_record(record))
    assert other.minutiae == count
    assert compare(other, template).value >= 0.0
    assert compare(template, other).value >= 0.0
    assert compare(other, other).value >= 0.0


def test_minutiae_all_in_one_place_do_no_harm(template: FingerTemplate) -> None:
    view = FingerView(minutiae=(Minutia(1, 50, 50, 0, 50),) * 255)
    heap = FingerTemplate.from_iso(encode_record(MinutiaeRecord(100, 100, 197, 197, (view,))))
    assert np.isfinite(compare(heap, heap).value)
    assert np.isfinite(compare(heap, template).value)


def test_a_view_that_is_not_there_is_refused(template: FingerTemplate) -> None:
    with pytest.raises(RemoteError):
        FingerTemplate.from_iso(template.to_iso(), view=1)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 9), (1, 7), (2, "1"), (3, 99), (4, 101), (4, -1), (5, -3), (7, ["wet"]), (8, b"\x00"), (8, 5), (10, None),
        (13, b""), (11, [1]),
    ],
)  # fmt: skip
def test_a_template_with_a_forged_field_is_refused(template: FingerTemplate, place: int, value: object) -> None:
    fields = cbor2.loads(template.to_bytes())
    fields[place] = value
    with pytest.raises(RemoteError):
        FingerTemplate.from_bytes(cbor2.dumps(fields))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_template_or_a_refusal(octets: bytes) -> None:
    for read in (FingerTemplate.from_bytes, FingerTemplate.from_iso, FingerTemplate.from_card):
        try:
            made = read(octets)
        except RemoteError:
            continue
        assert made.minutiae <= 255


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_template_is_a_template_or_a_refusal(data: st.DataObject) -> None:
    for octets in (_GOOD.to_bytes(), _GOOD.to_iso()):
        damaged = bytearray(octets)
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        try:
            read = FingerTemplate.from_iso if octets.startswith(b"FMR") else FingerTemplate.from_bytes
            made = read(bytes(damaged))
            assert np.isfinite(compare(made, made).value)
        except RekamError as error:
            assert isinstance(error, RemoteError)


_GOOD = extract(ridge_pattern(5))
