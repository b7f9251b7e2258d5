"""Packets of Topaz SigLite signature pads, without I/O; the driver and the twin share this file.

Source: what users of these pads found out (19200 baud, 8 data bits, odd parity): five bytes, the first with bit 7 set;
bit 0 pen down, bit 6 pen near; then x and y with 12 bits each, seven in the first byte and five in the second. The
pair FFF, FFF says that there is no position. No maker's document was at hand: see edge/sensors/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass

PACKET_BYTES = 5
START_BIT = 0x80
NEAR_BIT = 0x40
DOWN_BIT = 0x01
COORDINATE_MAX = 0xFFF


@dataclass(frozen=True, slots=True)
class PadReport:
    """One report. x, y in the pad's own steps, from 0 to COORDINATE_MAX - 1."""

    x: int
    y: int
    near: bool
    down: bool


@dataclass(frozen=True, slots=True)
class PadGarbage:
    """Bytes that belong to no report, and reports without a position."""

    count: int


def encode_report(report: PadReport) -> bytes:
    """One report as on the wire."""
    if not (0 <= report.x < COORDINATE_MAX and 0 <= report.y < COORDINATE_MAX):
        raise ValueError("coordinates need 12 bits")
    first = START_BIT | (NEAR_BIT if report.near else 0) | (DOWN_BIT if report.down else 0)
    return bytes([first, report.x & 0x7F, report.x >> 7, report.y & 0x7F, report.y >> 7])


class PadReader:
    """Takes bytes as they come and gives reports and garbage. Holds at most one packet."""

    def __init__(self) -> None:
        self._packet = bytearray()

    def reset(self) -> None:
        """Forget what is held."""
        self._packet.clear()

    def feed(self, data: bytes) -> list[PadReport | PadGarbage]:
        """What `data` completes, in order."""
        events: list[PadReport | PadGarbage] = []
        for byte in data:
            if byte & START_BIT:
                if self._packet:
                    events.append(PadGarbage(len(self._packet)))
                self._packet = bytearray([byte])
            elif self._packet:
                self._packet.append(byte)
            else:
                events.append(PadGarbage(1))
            if len(self._packet) == PACKET_BYTES:
                events.append(self._report())
                self._packet.clear()
        return events

    def _report(self) -> PadReport | PadGarbage:
        first, x_low, x_high, y_low, y_high = self._packet
        x, y = x_low | (x_high & 0x1F) << 7, y_low | (y_high & 0x1F) << 7
        if x >= COORDINATE_MAX or y >= COORDINATE_MAX:
            return PadGarbage(PACKET_BYTES)
        return PadReport(x, y, bool(first & NEAR_BIT), bool(first & DOWN_BIT))
