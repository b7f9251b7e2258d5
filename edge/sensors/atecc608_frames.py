"""Microchip ATECC608 (key store for P-256), without I/O: commands, answers, CRC-16.

Source: Microchip ATECC608A/B data sheet summary DS40002237 and the published cryptoauthlib (opcodes, word addresses,
layout of the configuration zone). A command is `03 | count | opcode | param1 | param2 (LE) | data | CRC (LE)`, an
answer `count | data | CRC`; the CRC covers everything from the count on, polynomial 0x8005 over bits from the lowest,
initial value 0. Pinned: Info is 03 07 30 00 00 00 03 5D, the answer to waking is 04 11 33 43, "done" is 04 00 03 40.
No command that locks a zone or writes a slot is in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from contract.errors import DeviceError

SLEEP, IDLE, COMMAND = 0x01, 0x02, 0x03  # word addresses
WAKE_ADDRESS = 0x00
WAKE_S = 0.0015
WOKEN = bytes.fromhex("04113343")
ANSWER_BYTES_MAX = 67
SIGNATURE_BYTES = PUBLIC_KEY_BYTES = 64
DIGEST_BYTES = 32
SLOTS = 16
OP_READ, OP_NONCE, OP_COUNTER, OP_INFO, OP_GENKEY, OP_SIGN = 0x02, 0x16, 0x24, 0x30, 0x40, 0x41
COUNTER_BYTES = 4
STARTS_COUNTER = 1  # of two; the other one may limit the use of a key
COUNTER_MAX = 2_097_151


class Status(IntEnum):
    """The single byte of an answer without data."""

    OK = 0x00
    PARSE = 0x03
    ECC_FAULT = 0x05
    SELF_TEST = 0x07
    HEALTH_TEST = 0x08
    EXECUTION = 0x0F
    AFTER_WAKE = 0x11
    WATCHDOG = 0xEE
    CRC = 0xFF


_MEANING = {
    Status.PARSE: ("does not know the command", "Check that the part is an ATECC608."),
    Status.EXECUTION: ("refuses: the slot holds no key, or may not do this", "Commission the part, or correct 'slot'."),
    Status.ECC_FAULT: ("could not compute", "Try again; replace the part if it stays."),
    Status.SELF_TEST: ("failed its self-test", "Replace the part."),
    Status.HEALTH_TEST: ("has bad randomness", "Switch the power off and on; replace the part if it stays."),
    Status.WATCHDOG: ("was about to fall asleep", "Try again."),
    Status.CRC: ("received a damaged command", "Shorten the I2C cable; try again."),
}


@dataclass(frozen=True, slots=True)
class ChipConfiguration:
    """What the configuration zone says. serial: nine bytes; locked: whether configuration, and data, are for good."""

    serial: bytes
    revision: bytes
    configuration_locked: bool
    data_locked: bool


def crc16(data: bytes) -> bytes:
    """The check bytes of a command or an answer, lowest first."""
    crc = 0
    for byte in data:
        for bit in range(8):
            different = (byte >> bit & 1) ^ (crc >> 15)
            crc = (crc << 1 & 0xFFFF) ^ (0x8005 if different else 0)
    return crc.to_bytes(2, "little")


def encode_command(opcode: int, param1: int = 0, param2: int = 0, data: bytes = b"") -> bytes:
    """A command with its word address."""
    body = bytes((7 + len(data), opcode, param1)) + param2.to_bytes(2, "little") + data
    return bytes((COMMAND,)) + body + crc16(body)


def decode_command(frame: bytes) -> tuple[int, int, int, bytes] | None:
    """opcode, param1, param2 and data of a command, or None where its length or CRC is wrong."""
    if len(frame) < 8 or frame[0] != COMMAND or frame[1] != len(frame) - 1 or crc16(frame[1:-2]) != frame[-2:]:
        return None
    return frame[2], frame[3], int.from_bytes(frame[4:6], "little"), frame[6:-2]


def encode_answer(data: bytes) -> bytes:
    """An answer as the part sends it."""
    body = bytes((len(data) + 3,)) + data
    return body + crc16(body)


def decode_answer(frame: bytes) -> bytes:
    """The data of an answer; frame may be longer than it. Raises DeviceError for damage and for a refusal."""
    count = frame[0] if frame else 0
    if not 4 <= count <= min(len(frame), ANSWER_BYTES_MAX) or crc16(frame[: count - 2]) != frame[count - 2 : count]:
        raise DeviceError("The ATECC608's answer came damaged (CRC).", next_step="Shorten the I2C cable; try again.")
    data = frame[1 : count - 2]
    if count == 4 and data[0] != Status.OK:
        known = data[0] in set(Status)
        what, next_step = _MEANING.get(Status(data[0]), ("is asleep", "Try again.")) if known else ("failed", "")
        raise DeviceError(f"The ATECC608 {what} (status {data[0]:#04x}).", next_step=next_step)
    return data


def read_block(block: int) -> bytes:
    """Command: 32 bytes of the configuration zone."""
    return encode_command(OP_READ, 0x80, block << 3)


def public_key_of(slot: int) -> bytes:
    """Command: the public key that belongs to the slot's private key. It makes no new key."""
    return encode_command(OP_GENKEY, 0x00, slot)


def load_digest(digest: bytes) -> bytes:
    """Command: 32 bytes from outside into TempKey (Nonce in pass-through)."""
    return encode_command(OP_NONCE, 0x03, 0, digest)


def sign_with(slot: int) -> bytes:
    """Command: sign what lies in TempKey, which came from outside."""
    return encode_command(OP_SIGN, 0x80, slot)


def counter(number: int, *, one_more: bool = False) -> bytes:
    """Command: read one of the two monotonic counters, or count it up; the answer is 4 bytes, lowest first."""
    return encode_command(OP_COUNTER, 0x01 if one_more else 0x00, number)


def decode_configuration(first: bytes, third: bytes) -> ChipConfiguration:
    """Blocks 0 and 2 of the configuration zone: bytes 0–31 and 64–95. A lock byte of 0x55 means open."""
    if len(first) != 32 or len(third) != 32:
        raise DeviceError("The ATECC608's configuration is too short.")
    return ChipConfiguration(
        serial=first[0:4] + first[8:13],
        revision=first[4:8],
        configuration_locked=third[87 - 64] != 0x55,
        data_locked=third[86 - 64] != 0x55,
    )
