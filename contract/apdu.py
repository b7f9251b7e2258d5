"""Command and response APDUs, short and extended (ISO/IEC 7816-4, 5.1), and the BER-TLV objects inside them.

Reader and card both speak through it, so it is pinned by golden bytes; what comes in is bounded and either parses
or raises RemoteError.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from contract.errors import RekamError, RemoteError

SHORT_DATA_MAX = 255
SHORT_LE_MAX = 256
EXTENDED_LE_MAX = 65_536
COMMAND_BYTES_MAX = 4 + 3 + 65_535 + 2


class Instruction(IntEnum):
    """INS of the commands that the card understands (ISO/IEC 7816-4, 7816-9 for ACTIVATE)."""

    ACTIVATE_FILE = 0x44
    MUTUAL_AUTHENTICATE = 0x82
    GET_CHALLENGE = 0x84
    SELECT = 0xA4
    READ_BINARY = 0xB0
    GET_DATA = 0xCA
    UPDATE_BINARY = 0xD6


class Status(IntEnum):
    """Status words SW1-SW2 in use (ISO/IEC 7816-4, 5.6)."""

    SUCCESS = 0x9000
    END_OF_FILE = 0x6282
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    SECURITY_NOT_SATISFIED = 0x6982
    AUTHENTICATION_BLOCKED = 0x6983
    CONDITIONS_NOT_SATISFIED = 0x6985
    SM_OBJECT_MISSING = 0x6987
    SM_OBJECT_INCORRECT = 0x6988
    FILE_NOT_FOUND = 0x6A82
    NOT_ENOUGH_MEMORY = 0x6A84
    WRONG_P1_P2 = 0x6A86
    WRONG_OFFSET = 0x6B00
    INSTRUCTION_UNKNOWN = 0x6D00
    CLASS_UNKNOWN = 0x6E00


@dataclass(frozen=True, slots=True)
class Command:
    """One command. data: Nc bytes, may be empty; le: Ne, the bytes wanted back, 0 for none."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int = 0

    @property
    def header(self) -> bytes:
        """CLA INS P1 P2."""
        return bytes((self.cla, self.ins, self.p1, self.p2))

    def encode(self, *, extended: bool = False) -> bytes:
        """The APDU; extended where asked, or where a length does not fit the short form."""
        if len(self.data) > 65_535 or not 0 <= self.le <= EXTENDED_LE_MAX:
            raise RekamError(f"A command of {len(self.data)} bytes that asks for {self.le} cannot be encoded.")
        extended = extended or len(self.data) > SHORT_DATA_MAX or self.le > SHORT_LE_MAX
        size = 2 if extended else 1
        prefix = b"\x00" if extended and (self.data or self.le) else b""
        lc = len(self.data).to_bytes(size, "big") + self.data if self.data else b""
        le = (self.le % (1 << 8 * size)).to_bytes(size, "big") if self.le else b""
        return self.header + prefix + lc + le


@dataclass(frozen=True, slots=True)
class Response:
    """One response: data and the status word."""

    data: bytes
    status: int

    def encode(self) -> bytes:
        """The APDU: data, SW1, SW2."""
        return self.data + self.status.to_bytes(2, "big")


def parse_command(octets: bytes) -> Command:
    """A command from the wire, by the seven cases of ISO/IEC 7816-4, 5.1. Raises RemoteError."""
    if not 4 <= len(octets) <= COMMAND_BYTES_MAX:
        raise RemoteError(f"{len(octets)} bytes are no command APDU.")
    cla, ins, p1, p2 = octets[:4]
    body = octets[4:]
    if not body:
        return Command(cla, ins, p1, p2)
    if len(body) == 1:
        return Command(cla, ins, p1, p2, b"", body[0] or SHORT_LE_MAX)
    if body[0]:
        data, le = _split(body[1:], body[0], 1)
        return Command(cla, ins, p1, p2, data, le)
    if len(body) == 3:
        return Command(cla, ins, p1, p2, b"", int.from_bytes(body[1:], "big") or EXTENDED_LE_MAX)
    if len(body) < 3:
        raise RemoteError("The command APDU ends within its extended length.")
    data, le = _split(body[3:], int.from_bytes(body[1:3], "big"), 2)
    return Command(cla, ins, p1, p2, data, le)


def parse_response(octets: bytes) -> Response:
    """A response from the wire. Raises RemoteError where it lacks its status word."""
    if not 2 <= len(octets) <= EXTENDED_LE_MAX + 2:
        raise RemoteError(f"{len(octets)} bytes are no response APDU.")
    return Response(octets[:-2], int.from_bytes(octets[-2:], "big"))


def tlv(tag: int, value: bytes) -> bytes:
    """A BER-TLV object with a one-byte tag and a definite length."""
    if len(value) < 0x80:
        length = bytes((len(value),))
    elif len(value) <= 0xFF:
        length = bytes((0x81, len(value)))
    elif len(value) <= 0xFFFF:
        length = b"\x82" + len(value).to_bytes(2, "big")
    else:
        raise RekamError(f"{len(value)} bytes do not fit into one data object.")
    return bytes((tag,)) + length + value


def parse_tlvs(octets: bytes, count_max: int = 8) -> list[tuple[int, bytes]]:
    """The (tag, value) objects that fill `octets`, in order. Raises RemoteError."""
    found: list[tuple[int, bytes]] = []
    rest = octets
    while rest:
        if len(found) == count_max or len(rest) < 2:
            raise RemoteError("The card's data objects do not end where they should.")
        tag, length, start = rest[0], rest[1], 2
        if length > 0x80:
            start = 2 + (length & 0x7F)
            if length > 0x82 or len(rest) < start:
                raise RemoteError("A data object has a length of an unknown form.")
            length = int.from_bytes(rest[2:start], "big")
        elif length == 0x80:
            raise RemoteError("A data object has an indefinite length.")
        if len(rest) < start + length:
            raise RemoteError(f"A data object announces {length} bytes, {len(rest) - start} are left.")
        found.append((tag, rest[start : start + length]))
        rest = rest[start + length :]
    return found


def _split(rest: bytes, count: int, le_size: int) -> tuple[bytes, int]:
    """Data of `count` bytes, then Le of `le_size` bytes or nothing."""
    if count == 0 or len(rest) not in (count, count + le_size):
        raise RemoteError(f"The command APDU announces {count} bytes and has {len(rest)}.")
    if len(rest) == count:
        return rest, 0
    return rest[:count], int.from_bytes(rest[count:], "big") or 1 << 8 * le_size
