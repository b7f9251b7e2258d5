"""Packets of Wacom's serial pen tablets (ISDV4, W8001), without I/O; the driver and the twin share this file.

Source: the byte layouts that public drivers of these tablets agree on. Any byte with bit 7 set starts a packet; no
other byte has it. Pen packets have 9 bytes, query replies 11, touch packets 5, 7 or 13. 100 points are 1 mm.
"""

from __future__ import annotations

from dataclasses import dataclass

STOP = b"0"
QUERY_PEN = b"*"
QUERY_TOUCH = b"%"
START = b"1"

PEN_BYTES = 9
REPLY_BYTES = 11
TOUCH_BYTES = (5, 7, 13)
START_BIT = 0x80
REPLY_BIT = 0x40
PROXIMITY_BIT = 0x20
TOUCH_BIT = 0x10
TIP_BIT = 0x01
COORDINATE_MAX = 0xFFFF
PRESSURE_MAX = 0x3FF
PACKET_BYTES_MAX = max(TOUCH_BYTES)


@dataclass(frozen=True, slots=True)
class PenReport:
    """One pen packet. x, y in 0.01 mm, raw axes; pressure in the tablet's own steps."""

    x: int
    y: int
    pressure: int
    near: bool
    tip: bool


@dataclass(frozen=True, slots=True)
class TabletReply:
    """Answer to a query: the greatest values of each axis and the firmware version."""

    x_max: int
    y_max: int
    pressure_max: int
    version: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that belong to no packet of pen or query, with their number."""

    count: int


def _axes(packet: bytes) -> tuple[int, int, int]:
    """x, y and pressure of a pen packet or a reply."""
    x = (packet[1] & 0x7F) << 9 | (packet[2] & 0x7F) << 2 | (packet[6] & 0x60) >> 5
    y = (packet[3] & 0x7F) << 9 | (packet[4] & 0x7F) << 2 | (packet[6] & 0x18) >> 3
    pressure = (packet[5] & 0x7F) | (packet[6] & 0x07) << 7
    return x, y, pressure


def _axis_bytes(first: int, x: int, y: int, pressure: int) -> bytes:
    return bytes(
        [
            first,
            x >> 9 & 0x7F,
            x >> 2 & 0x7F,
            y >> 9 & 0x7F,
            y >> 2 & 0x7F,
            pressure & 0x7F,
            (x & 0x03) << 5 | (y & 0x03) << 3 | pressure >> 7 & 0x07,
        ]
    )


def encode_pen(report: PenReport) -> bytes:
    """A pen packet as on the wire, without tilt."""
    if not (0 <= report.x <= COORDINATE_MAX and 0 <= report.y <= COORDINATE_MAX):
        raise ValueError("coordinates need 16 bits")
    if not 0 <= report.pressure <= PRESSURE_MAX:
        raise ValueError("pressure needs 10 bits")
    first = START_BIT | (PROXIMITY_BIT if report.near else 0) | (TIP_BIT if report.tip else 0)
    return _axis_bytes(first, report.x, report.y, report.pressure) + b"\0\0"


def encode_reply(reply: TabletReply) -> bytes:
    """A query reply as on the wire."""
    head = _axis_bytes(START_BIT | REPLY_BIT, reply.x_max, reply.y_max, reply.pressure_max)
    return head + bytes([0, 0, reply.version >> 7 & 0x7F, reply.version & 0x7F])


class TabletReader:
    """Takes bytes as they come and gives pen reports, replies and counts of garbage. Holds at most one packet.

    Touch packets are counted as garbage: a signature is written with the pen.
    """

    def __init__(self) -> None:
        self._packet = bytearray()

    def reset(self) -> None:
        """Forget what is held."""
        self._packet.clear()

    def feed(self, data: bytes) -> list[PenReport | TabletReply | Garbage]:
        """What `data` completes, in order."""
        events: list[PenReport | TabletReply | Garbage] = []
        for byte in data:
            if byte & START_BIT:
                if self._packet:
                    events.append(Garbage(len(self._packet)))
                self._packet = bytearray([byte])
            elif self._packet:
                self._packet.append(byte)
            else:
                events.append(Garbage(1))
                continue
            self._complete(events)
        return events

    def _complete(self, events: list[PenReport | TabletReply | Garbage]) -> None:
        """Turn the held packet into an event when its last byte has come."""
        packet = self._packet
        first = packet[0]
        if first & REPLY_BIT:
            if len(packet) == REPLY_BYTES:
                x, y, pressure = _axes(bytes(packet))
                events.append(TabletReply(x, y, pressure, (packet[9] & 0x7F) << 7 | packet[10] & 0x7F))
                packet.clear()
        elif first & TOUCH_BIT:
            if len(packet) == PACKET_BYTES_MAX:
                events.append(Garbage(len(packet)))
                packet.clear()
        elif len(packet) == PEN_BYTES:
            x, y, pressure = _axes(bytes(packet))
            events.append(PenReport(x, y, pressure, bool(first & PROXIMITY_BIT), bool(first & TIP_BIT)))
            packet.clear()
