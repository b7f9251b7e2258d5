"""A bounded cursor over bytes from outside, and checked fields for bytes to the outside.

Every codec of the ISO/IEC 19794 parts reads through it, so that a length which lies can only ever end in a
RemoteError. All integers are big endian (ISO/IEC 19794-1, clause 5).
"""

from __future__ import annotations

import struct
from typing import Any

from contract.errors import RekamError, RemoteError


class OctetReader:
    """Reads big-endian fields from `octets`; `what` names the record in messages."""

    __slots__ = ("_octets", "_offset", "_what")

    def __init__(self, octets: bytes, what: str) -> None:
        self._octets = octets
        self._offset = 0
        self._what = what

    @property
    def remaining(self) -> int:
        """Octets not read yet."""
        return len(self._octets) - self._offset

    def take(self, count: int) -> bytes:
        """The next `count` octets, or RemoteError when the record ends before."""
        if count < 0 or count > self.remaining:
            raise self.error(f"ends early: {count} bytes are announced at byte {self._offset}, {self.remaining} left")
        start = self._offset
        self._offset += count
        return self._octets[start : self._offset]

    def unpack(self, fields: struct.Struct) -> tuple[Any, ...]:
        """The next fields as `fields` describes them."""
        return fields.unpack(self.take(fields.size))

    def uint(self, count: int) -> int:
        """An unsigned integer of `count` octets."""
        return int.from_bytes(self.take(count), "big")

    def u8(self) -> int:
        """An unsigned octet."""
        return self.uint(1)

    def u16(self) -> int:
        """An unsigned integer of two octets."""
        return self.uint(2)

    def u32(self) -> int:
        """An unsigned integer of four octets."""
        return self.uint(4)

    def part(self, count: int, what: str) -> OctetReader:
        """A reader over the next `count` octets only."""
        return OctetReader(self.take(count), f"{self._what}, {what}")

    def expect(self, octets: bytes, field: str) -> None:
        """Read a constant field."""
        if self.take(len(octets)) != octets:
            raise self.error(f"has no {field} {octets!r}")

    def expect_end(self) -> None:
        """RemoteError where octets follow that nothing announced."""
        if self.remaining:
            raise self.error(f"has {self.remaining} bytes that no field announces")

    def error(self, finding: str) -> RemoteError:
        """A RemoteError that names the record."""
        return RemoteError(f"The {self._what} {finding}.")


def checked_size(octets: bytes, max_bytes: int, what: str) -> bytes:
    """`octets` as bytes where they are neither empty nor more than `max_bytes`; else RemoteError."""
    if not 0 < len(octets) <= max_bytes:
        raise RemoteError(f"The {what} has {len(octets)} bytes; 1 to {max_bytes} are accepted.")
    return bytes(octets)


def field(value: int, count: int, name: str, *, maximum: int | None = None) -> bytes:
    """`value` as an unsigned big-endian field of `count` octets; RekamError where it does not fit."""
    top = (1 << (8 * count)) - 1 if maximum is None else maximum
    if not 0 <= value <= top:
        raise RekamError(f"{name} is {value}; the record has room for 0 to {top}.")
    return int(value).to_bytes(count, "big")
