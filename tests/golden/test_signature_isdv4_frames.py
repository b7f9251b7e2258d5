"""The pen tablet's wire, with packets worked out by hand from the published bit layout."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.sensors.signature_isdv4_frames import (
    COORDINATE_MAX,
    PACKET_BYTES_MAX,
    PRESSURE_MAX,
    Garbage,
    PenReport,
    TabletReader,
    TabletReply,
    encode_pen,
    encode_reply,
)

# Lead, proximity and tip bits; pressure is 0x21 with its upper three bits 011.
PEN = bytes([0xA1, 0x12, 0x34, 0x05, 0x67, 0x21, 0b0100_1011, 0x00, 0x00])
PEN_REPORT = PenReport(
    x=0x12 << 9 | 0x34 << 2 | 2, y=0x05 << 9 | 0x67 << 2 | 1, pressure=0x21 | 3 << 7, near=True, tip=True
)
# A tablet of 97.28 by 72.00 mm with 1024 steps, firmware 2.3.
REPLY = bytes([0xC0, 0x13, 0x00, 0x0E, 0x08, 0x7F, 0b0000_0111, 0x00, 0x00, 0x02, 0x03])
TABLET = TabletReply(x_max=0x13 << 9, y_max=0x0E << 9 | 0x08 << 2, pressure_max=1023, version=2 << 7 | 3)


def test_pen_and_reply_packets_are_read_and_written() -> None:
    assert TabletReader().feed(PEN + REPLY) == [PEN_REPORT, TABLET]
    assert encode_pen(PEN_REPORT) == PEN
    assert encode_reply(TABLET) == REPLY


def test_a_touch_packet_of_thirteen_bytes_does_not_spill_into_the_next() -> None:
    touch = bytes([0x90]) + bytes(12)
    assert TabletReader().feed(touch + PEN) == [Garbage(13), PEN_REPORT]
    assert TabletReader().feed(bytes([0x90]) + bytes(6) + PEN) == [Garbage(7), PEN_REPORT]


def test_a_cut_packet_costs_itself_only() -> None:
    for kept in range(1, len(PEN)):
        assert TabletReader().feed(PEN[:kept] + PEN) == [Garbage(kept), PEN_REPORT]


REPORTS = st.builds(
    PenReport,
    x=st.integers(0, COORDINATE_MAX),
    y=st.integers(0, COORDINATE_MAX),
    pressure=st.integers(0, PRESSURE_MAX),
    near=st.booleans(),
    tip=st.booleans(),
)


@given(st.lists(REPORTS, max_size=8))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read(reports: list[PenReport]) -> None:
    assert TabletReader().feed(b"".join(map(encode_pen, reports))) == reports


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_packets_or_garbage(data: bytes) -> None:
    taken = 0
    for event in TabletReader().feed(data):
        taken += event.count if isinstance(event, Garbage) else 11 if isinstance(event, TabletReply) else 9
        if isinstance(event, PenReport):
            assert 0 <= event.x <= COORDINATE_MAX
            assert 0 <= event.pressure <= PRESSURE_MAX
    assert len(data) - PACKET_BYTES_MAX < taken <= len(data)
