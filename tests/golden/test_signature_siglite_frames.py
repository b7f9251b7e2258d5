"""The SigLite pad's wire, with packets worked out by hand from the layout its users published."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.sensors.signature_siglite_frames import COORDINATE_MAX, PadGarbage, PadReader, PadReport, encode_report

# Pen near and down; x is 0x55 with upper bits 0x0A, y is 0x2A with upper bits 0x03.
REPORT_BYTES = bytes([0xC1, 0x55, 0x0A, 0x2A, 0x03])
REPORT = PadReport(x=0x55 | 0x0A << 7, y=0x2A | 0x03 << 7, near=True, down=True)


def test_a_report_is_read_and_written() -> None:
    assert PadReader().feed(REPORT_BYTES) == [REPORT]
    assert encode_report(REPORT) == REPORT_BYTES


def test_no_position_is_no_report() -> None:
    assert PadReader().feed(bytes([0x80, 0x7F, 0x1F, 0x7F, 0x1F])) == [PadGarbage(5)]


def test_a_cut_report_costs_itself_only() -> None:
    for kept in range(1, len(REPORT_BYTES)):
        assert PadReader().feed(REPORT_BYTES[:kept] + REPORT_BYTES) == [PadGarbage(kept), REPORT]


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_reports_or_garbage(data: bytes) -> None:
    taken = 0
    for event in PadReader().feed(data):
        if isinstance(event, PadReport):
            taken += 5
            assert 0 <= event.x < COORDINATE_MAX
            assert 0 <= event.y < COORDINATE_MAX
        else:
            taken += event.count
    assert len(data) - 5 < taken <= len(data)
