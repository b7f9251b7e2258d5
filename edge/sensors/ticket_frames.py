"""ESC/POS, the language of ticket printers, without I/O: what a printer says of itself, and a reader of its commands.

Source: Epson's ESC/POS command reference (DLE EOT, GS r, GS V, GS ( k, GS v 0). Commands are written by python-escpos;
the reader is for who receives them: it keeps at most one command back and takes every byte for something.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge.sensors.interface import TicketCondition

ASK_PRINTER, ASK_OFFLINE, ASK_ERROR, ASK_ROLL = (bytes((0x10, 0x04, n)) for n in (1, 2, 3, 4))
ASK_DONE = b"\x1dr\x01"  # answered only after everything before it was printed
RASTER_BYTES_MAX = 1024 * 1024
_FIXED = 0b0001_0010  # bits 1 and 4 are set, bits 0 and 7 clear, in every answer to DLE EOT
_FIXED_MASK = 0b1001_0011

# What each fault asks of the officer, in Indonesian and English.
ADVICE: dict[str, tuple[str, str]] = {
    "paper-out": (
        "Kertas habis: pasang gulungan baru, lalu cetak ulang.",
        "Paper is out: put in a new roll, print again.",
    ),
    "cover-open": (
        "Tutup penutup pencetak struk, lalu cetak ulang.",
        "The printer's cover is open: close it, print again.",
    ),
    "cutter": (
        "Pemotong macet: matikan pencetak, buang kertas, nyalakan.",
        "The cutter is jammed: switch off, take the paper out.",
    ),
    "error": ("Pencetak bermasalah: matikan lalu nyalakan.", "The printer has failed: switch it off and on."),
    "offline": (
        "Pencetak tidak siap: periksa tombol dan kabel.",
        "The printer is not ready: check its button and cable.",
    ),
}


def decode_status(question: bytes, answer: int) -> tuple[str, ...] | None:
    """The faults that one answer to DLE EOT names; None where the byte is no such answer."""
    if answer & _FIXED_MASK != _FIXED:
        return None
    bits = {
        ASK_PRINTER: ((0x08, "offline"),),
        ASK_OFFLINE: ((0x04, "cover-open"), (0x20, "paper-out"), (0x40, "error")),
        ASK_ERROR: ((0x08, "cutter"), (0x20, "error"), (0x40, "error")),
        ASK_ROLL: ((0x60, "paper-out"),),
    }[question]
    return tuple(name for mask, name in bits if answer & mask == mask)


def condition_of(faults: Iterable[str], roll: int) -> TicketCondition:
    """All faults once, the general ones only where nothing says why; roll: the answer to ASK_ROLL."""
    found = set(faults)
    reasons = found - {"offline", "error"} or found - {"offline"} or found
    return TicketCondition(tuple(name for name in ADVICE if name in reasons), paper_low=roll & 0x0C == 0x0C)


def encode_status(question: int, condition: TicketCondition) -> int:
    """The printer's answer to DLE EOT `question` (1 to 4)."""
    faults = set(condition.faults)
    value = _FIXED
    if question == 1:
        value |= 0x08 if faults else 0
    elif question == 2:
        value |= (0x04 if "cover-open" in faults else 0) | (0x20 if "paper-out" in faults else 0)
        value |= 0x40 if faults & {"cutter", "error"} else 0
    elif question == 3:
        value |= (0x08 if "cutter" in faults else 0) | (0x20 if "error" in faults else 0)
    elif question == 4:
        value |= (0x60 if "paper-out" in faults else 0) | (0x0C if condition.paper_low else 0)
    return value


@dataclass(frozen=True, slots=True)
class Command:
    """One command. name: its letters in Epson's reference; number: its parameter; data: text, or a picture's rows.

    Text has the name "text", a byte that begins nothing known has "unknown"; size: bytes and rows of a picture.
    """

    name: str
    number: int = 0
    data: bytes = b""
    size: tuple[int, int] = (0, 0)


# Commands of a fixed length: prefix → (name, bytes of parameters).
_FIXED_LENGTH: dict[bytes, tuple[str, int]] = {
    b"\x1b@": ("ESC @", 0),
    b"\x1ba": ("ESC a", 1),
    b"\x1bE": ("ESC E", 1),
    b"\x1b-": ("ESC -", 1),
    b"\x1b!": ("ESC !", 1),
    b"\x1bM": ("ESC M", 1),
    b"\x1bt": ("ESC t", 1),
    b"\x1bd": ("ESC d", 1),
    b"\x1bJ": ("ESC J", 1),
    b"\x1bR": ("ESC R", 1),
    b"\x1b2": ("ESC 2", 0),
    b"\x1b3": ("ESC 3", 1),
    b"\x1b{": ("ESC {", 1),
    b"\x1bG": ("ESC G", 1),
    b"\x1d!": ("GS !", 1),
    b"\x1dB": ("GS B", 1),
    b"\x1db": ("GS b", 1),
    b"\x1dr": ("GS r", 1),
    b"\x10\x04": ("DLE EOT", 1),
    b"\x10\x05": ("DLE ENQ", 1),
}


class CommandReader:
    """Bytes in any pieces in, commands out."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Command]:
        """The commands that are complete now."""
        self._held += data
        found: list[Command] = []
        while self._held:
            taken = self._next(bytes(self._held))
            if taken is None:
                break
            length, command = taken
            del self._held[:length]
            found.append(command)
        return found

    def _next(self, held: bytes) -> tuple[int, Command] | None:
        """The first command and its length; None where more bytes are needed."""
        first = held[0]
        if first == 0x0A:
            return 1, Command("LF")
        if first not in (0x10, 0x1B, 0x1D):
            end = next((at for at, byte in enumerate(held) if byte < 0x20), len(held))
            return (end, Command("text", data=held[:end])) if end else (1, Command("unknown", number=first))
        if len(held) < 2:
            return None
        prefix = held[:2]
        if prefix in _FIXED_LENGTH:
            name, count = _FIXED_LENGTH[prefix]
            if len(held) < 2 + count:
                return None
            return 2 + count, Command(name, number=held[2] if count else 0)
        return self._variable(prefix, held)

    def _variable(self, prefix: bytes, held: bytes) -> tuple[int, Command] | None:
        if prefix == b"\x1dV":  # 0, 1: cut here; 65, 66: feed n first
            length = 2 if len(held) < 3 else 4 if held[2] in (65, 66) else 3
            return (length, Command("GS V", number=held[2])) if len(held) >= max(3, length) else None
        if prefix == b"\x1d(":
            if len(held) < 5:
                return None
            length = 5 + int.from_bytes(held[3:5], "little")
            if len(held) < length:
                return None
            return length, Command(f"GS ( {chr(held[2])}", data=held[5:length])
        if prefix == b"\x1dv":
            if len(held) < 8:
                return None
            width, rows = int.from_bytes(held[4:6], "little"), int.from_bytes(held[6:8], "little")
            if width * rows > RASTER_BYTES_MAX:
                return 8, Command("unknown", number=held[1])
            length = 8 + width * rows
            return (length, Command("GS v 0", data=held[8:length], size=(width, rows))) if len(held) >= length else None
        return 1, Command("unknown", number=held[0])
