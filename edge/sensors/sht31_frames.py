"""Sensirion SHT31 (temperature and humidity), without I/O: commands, and words with their CRC-8.

Source: Sensirion data sheet SHT3x-DIS, version 6: commands in tables 9–17, conversion in 4.13, CRC in 4.12
(polynomial 0x31, initial value 0xFF; CRC of BE EF is 92). Clock stretching is not used: a Raspberry Pi's I2C
controller does not wait long enough.
"""

from __future__ import annotations

import struct

from contract.errors import DeviceError
from edge.sensors.interface import Climate

MEASURE_HIGH = bytes.fromhex("2400")
MEASURE_S = 0.016  # 15.5 ms at most, table 4
READ_SERIAL = bytes.fromhex("3780")
READ_STATUS = bytes.fromhex("f32d")
CLEAR_STATUS = bytes.fromhex("3041")
SOFT_RESET = bytes.fromhex("30a2")
RESET_S = 0.002
WORD_BYTES = 3


def crc8(data: bytes) -> int:
    """The check byte of one word."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def encode_words(*words: int) -> bytes:
    """Words as the part sends them, each with its check byte."""
    return b"".join((raw := struct.pack(">H", word)) + bytes([crc8(raw)]) for word in words)


def decode_words(data: bytes) -> tuple[int, ...]:
    """The words of an answer. Raises DeviceError for a wrong length or check byte."""
    if not data or len(data) % WORD_BYTES:
        raise DeviceError(f"The SHT31 sent {len(data)} bytes.", next_step=_NOISE)
    words = []
    for offset in range(0, len(data), WORD_BYTES):
        raw, check = data[offset : offset + 2], data[offset + 2]
        if crc8(raw) != check:
            raise DeviceError("The SHT31's answer came damaged (CRC).", next_step=_NOISE)
        words.append(int.from_bytes(raw, "big"))
    return tuple(words)


def decode_climate(data: bytes) -> Climate:
    """A measurement's two words as physical values. Raises DeviceError."""
    words = decode_words(data)
    if len(words) != 2:
        raise DeviceError(f"The SHT31 sent {len(words)} words, not 2.", next_step=_NOISE)
    return Climate(-45 + 175 * words[0] / 65535, 100 * words[1] / 65535)


def encode_climate(climate: Climate) -> bytes:
    """What the part sends for these values."""
    raw = ((climate.temperature_c + 45) / 175 * 65535, climate.humidity_percent / 100 * 65535)
    return encode_words(*(min(65535, max(0, round(value))) for value in raw))


_NOISE = "Shorten the I2C cable and keep it away from motors and mains; try again."
