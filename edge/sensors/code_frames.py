"""What a serial barcode scanner sends, without I/O; the driver and the twin share this file.

Scanners send the text of a code and an end mark, which is CR, LF or both by their set-up sheet; some put STX before
and ETX behind it. The longest QR code holds 4,296 characters.
"""

from __future__ import annotations

from dataclasses import dataclass

TEXT_BYTES_MAX = 8192
END_MARKS = frozenset(b"\r\n\x03")
START_MARK = 0x02
SPACE, DELETE = 0x20, 0x7F


@dataclass(frozen=True, slots=True)
class CodeText:
    """The text of one code."""

    text: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Bytes up to an end mark that are no text."""

    count: int


def encode_code(text: str) -> bytes:
    """A code as a scanner sends it."""
    return text.encode("utf-8") + b"\r\n"


class CodeReader:
    """Takes bytes as they come and gives a text at each end mark. Holds at most TEXT_BYTES_MAX."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._too_long = 0

    def reset(self) -> None:
        """Forget what is held."""
        self._held.clear()
        self._too_long = 0

    def feed(self, data: bytes) -> list[CodeText | Unreadable]:
        """What `data` completes, in order; empty lines are nothing."""
        events: list[CodeText | Unreadable] = []
        for byte in data:
            if byte in END_MARKS:
                if self._held or self._too_long:
                    events.append(self._finished())
                    self.reset()
            elif byte == START_MARK:
                self.reset()
            elif len(self._held) >= TEXT_BYTES_MAX:
                self._too_long += 1
            else:
                self._held.append(byte)
        return events

    def _finished(self) -> CodeText | Unreadable:
        size = len(self._held) + self._too_long
        if self._too_long or any(byte < SPACE or byte == DELETE for byte in self._held):
            return Unreadable(size)
        try:
            return CodeText(self._held.decode("utf-8"))
        except UnicodeDecodeError:
            return Unreadable(size)
