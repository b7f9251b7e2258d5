"""Bytes composed by hand from the tables of ISO/IEC 19794-2:2005."""

from __future__ import annotations

import pytest

from contract.errors import RemoteError
from contract.finger_card import CardFormat, decode_card, encode_card
from contract.finger_minutiae import (
    Core,
    Delta,
    ExtendedArea,
    FingerView,
    Minutia,
    MinutiaeRecord,
    MinutiaKind,
    RidgeCount,
    decode_record,
    encode_record,
)
from contract.sample import FingerPosition

# Two views: right index with two minutiae and every kind of extended data, left index with none.
GOLDEN = bytes.fromhex(
    "464D5200" "20323000"  # FMR, version 20
    "00000057"  # 87 bytes
    "0000"  # capture equipment
    "0184" "0176"  # 388 by 374 pixels
    "00C5" "00C5"  # 197 pixels per cm
    "02" "00"  # two views, reserved
    "02" "10" "50" "02"  # right index, view 1, live plain, quality 80, two minutiae
    "4064" "00C8" "40" "5A"  # ending at 100, 200, 90 degrees, quality 90
    "812C" "0032" "FF" "00"  # bifurcation at 300, 50, last unit of angle, quality not reported
    "0027"  # 39 bytes of extended data
    "0001" "0008" "01" "00" "01" "05"  # ridge count: method 1, between minutiae 0 and 1: 5
    "0002" "0016" "02" "406E" "00D2" "20" "0001" "0002" "01" "4003" "0004" "05" "06" "07"
    "0003" "0009" "1122334455"  # cell quality, carried along
    "07" "00" "00" "00" "0000"  # left index, nothing
)  # fmt: skip

RECORD = MinutiaeRecord(
    width_px=388,
    height_px=374,
    ppcm_x=197,
    ppcm_y=197,
    views=(
        FingerView(
            minutiae=(Minutia(MinutiaKind.ENDING, 100, 200, 64, 90), Minutia(MinutiaKind.BIFURCATION, 300, 50, 255, 0)),
            position=FingerPosition.RIGHT_INDEX,
            view_number=1,
            quality=80,
            ridge_counts=(RidgeCount(0, 1, 5),),
            ridge_count_method=1,
            cores=(Core(110, 210, 32), Core(1, 2)),
            deltas=(Delta(3, 4, (5, 6, 7)),),
            areas=(ExtendedArea(3, bytes.fromhex("1122334455")),),
        ),
        FingerView(minutiae=(), position=FingerPosition.LEFT_INDEX),
    ),
)


def test_a_record_is_written_as_the_tables_say() -> None:
    assert encode_record(RECORD) == GOLDEN


def test_a_record_is_read_as_the_tables_say() -> None:
    assert decode_record(GOLDEN) == RECORD


def test_a_card_template_takes_three_bytes_a_minutia() -> None:
    view = FingerView((Minutia(1, 100, 200, 64, 90), Minutia(2, 300, 50, 255, 0)))
    compact = encode_card(view, 197, 197)
    assert compact == bytes.fromhex("336650981980")  # 5.1 mm, 10.2 mm, ending at 90 degrees; 360 is 0
    record = decode_card(compact, position=FingerPosition.RIGHT_INDEX)
    assert record.ppcm_x == 100
    assert record.views[0].minutiae == (Minutia(1, 51, 102, 64), Minutia(2, 152, 25, 0))


def test_a_normal_card_template_takes_five_bytes_a_minutia() -> None:
    view = FingerView((Minutia(1, 100, 200, 64, 90),))
    normal = encode_card(view, 197, 197, CardFormat.NORMAL)
    assert normal == bytes.fromhex("41FC03F740")  # 5.08 mm, 10.15 mm
    assert decode_card(normal, CardFormat.NORMAL).views[0].minutiae == (Minutia(1, 508, 1015, 64),)


def test_an_ansi_record_is_named_instead_of_misread() -> None:
    ansi = b"FMR\x00 20\x00" + (26).to_bytes(2, "big") + bytes(16)
    with pytest.raises(RemoteError, match="ANSI INCITS 378"):
        decode_record(ansi)
