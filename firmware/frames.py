"""Frames of the controller link: COBS and a zero around `ver | flags | seq | ack | type | body | crc32 LE`.

Written in what MicroPython and CPython both understand, and run by both: the two ends share these very lines, which
tests/golden pins to bytes. Consistent Overhead Byte Stuffing after Cheshire and Baker (1999); a frame is shorter than
254 bytes, so no block is ever full and decoding needs no special case. The checksum starts from a `salt` that the two
ends agree on when they greet each other (see link.py), so a frame of an earlier session is damage, never a message.
"""

import struct
from binascii import crc32

VERSION = 1
BODY_BYTES_MAX = 200
FRAME_BYTES_MIN = 9
FRAME_BYTES_MAX = FRAME_BYTES_MIN + BODY_BYTES_MAX
STUFFED_BYTES_MAX = FRAME_BYTES_MAX + 1

# Flags
RELIABLE = 1  # carries a sequence number and wants it acknowledged
NAK = 2  # the frame named by `ack` is missing: send it again now
EARLY = 16  # and the two bits above it: the frames ack+1, ack+2, ack+3 are here already

_HEAD = "<BBBBB"
_SUM = "<I"


class Frame:
    """One frame. ack: the sequence number that its sender expects next; kind: the message type."""

    def __init__(self, flags: int, seq: int, ack: int, kind: int, body: bytes) -> None:
        self.flags = flags
        self.seq = seq
        self.ack = ack
        self.kind = kind
        self.body = body


def stuff(data: bytes) -> bytes:
    """COBS of fewer than 254 bytes: the same without any zero, one byte longer."""
    return b"".join([bytes((len(part) + 1,)) + part for part in data.split(b"\x00")])


def unstuff(data: bytes) -> bytes | None:
    """The bytes behind their COBS, or None where it is none."""
    parts = []
    at, end = 0, len(data)
    while at < end:
        following = at + data[at]
        if following == at or following > end:
            return None
        parts.append(data[at + 1 : following])
        at = following
    return b"\x00".join(parts) if parts else None


def encode(frame: Frame, salt: int = 0) -> bytes:
    """The frame as it goes on the wire, with its closing zero. The body is at most BODY_BYTES_MAX long."""
    if len(frame.body) > BODY_BYTES_MAX:
        raise ValueError("body too long")
    data = struct.pack(_HEAD, VERSION, frame.flags, frame.seq, frame.ack, frame.kind) + frame.body
    return stuff(data + struct.pack(_SUM, crc32(data, salt))) + b"\x00"


def unpack(data: bytes) -> tuple[bytes, int] | None:
    """What lies between two zeros as (header and body, checksum), or None where it cannot be a frame."""
    plain = unstuff(data)
    if plain is None or not FRAME_BYTES_MIN <= len(plain) <= FRAME_BYTES_MAX:
        return None
    return plain[:-4], struct.unpack(_SUM, plain[-4:])[0]


def checked(data: bytes, checksum: int, salt: int = 0) -> Frame | None:
    """The frame whose checksum is right under `salt`, or None."""
    if crc32(data, salt) != checksum or data[0] != VERSION:
        return None
    return Frame(data[1], data[2], data[3], data[4], data[5:])


class Splitter:
    """Cuts a stream of bytes at its zeros. Whatever comes in, what is kept stays within one frame's length."""

    def __init__(self) -> None:
        self.overruns = 0
        self._pending = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """What was completed by these bytes, without the zeros; empty frames are dropped."""
        parts = data.split(b"\x00")
        found = []
        for part in parts[:-1]:
            whole = self._pending + part
            if self._skipping or len(whole) > STUFFED_BYTES_MAX:
                self.overruns += not self._skipping
            elif whole:
                found.append(whole)
            self._pending, self._skipping = b"", False
        if not self._skipping:
            self._pending += parts[-1]
            if len(self._pending) > STUFFED_BYTES_MAX:
                self._pending, self._skipping = b"", True
                self.overruns += 1
        return found
