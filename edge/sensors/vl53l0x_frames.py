"""ST VL53L0X (time of flight, up to 2 m), without I/O: registers, and what a fresh part must be told.

Sources: ST data sheet DocID029104 (identification in table 4: C0 = EE, C1 = AA, C2 = 10) and the register names of
ST's published API (STSW-IMG005). ST documents most registers only by that API; their values below are its defaults.
0xFF selects a page of registers.
"""

from __future__ import annotations

from dataclasses import dataclass

PAGE, SYSRANGE_START, SEQUENCE_CONFIG = 0xFF, 0x00, 0x01
INTERRUPT_CONFIG, INTERRUPT_CLEAR, INTERRUPT_STATUS = 0x0A, 0x0B, 0x13
RANGE_STATUS, POWER, STOP_VARIABLE, MODEL_ID = 0x14, 0x80, 0x91, 0xC0
NVM_STROBE, NVM_ADDRESS, NVM_SPADS = 0x83, 0x94, 0x92
MSRC_CONTROL, RATE_LIMIT, GPIO_MUX, PAD_2V8 = 0x60, 0x44, 0x84, 0x89
SPAD_MAP, SPAD_START, SPAD_OFFSET, SPAD_REQUESTED = 0xB0, 0xB6, 0x4F, 0x4E
MODEL = bytes((0xEE, 0xAA, 0x10))
RATE_LIMIT_MCPS = 0.25
SPAD_MAP_BYTES = 6
APERTURE_START = 12
VALID = 11  # device range status of a good measurement
OUT_OF_RANGE_MM = 8190
RANGE_BLOCK_BYTES = 12
VHV_CALIBRATION, PHASE_CALIBRATION = (0x01, 0x40), (0x02, 0x00)  # sequence step, start bits
SEQUENCE_IN_USE = 0xE8  # dynamic SPAD selection, pre-range and final range

# ST's tuning settings, as pairs of register and value in their order.
TUNING = bytes.fromhex(
    "ff01 0000 ff00 0900 1000 1100 2401 25ff 7500 ff01 4e2c 4800 3020 ff00 3009 5400 3104 3203 4083 4625 6000 2700"
    "5006 5100 5296 5608 5730 6100 6200 6400 6500 66a0 ff01 2232 4714 49ff 4a00 ff00 7a0a 7b00 7821 ff01 2334 4200"
    "44ff 4526 4605 4040 0e06 201a 4340 ff00 3403 3544 ff01 3104 4b09 4c05 4d04 ff00 4400 4520 4708 4828 6700 7004"
    "7101 72fe 7600 7700 ff01 0d01 ff00 8001 01f8 ff01 8e01 0001 ff00 8000"
)


@dataclass(frozen=True, slots=True)
class Distance:
    """One measurement. distance_mm: None where nothing stands before the sensor."""

    distance_mm: int | None


def pairs(settings: bytes) -> list[bytes]:
    """Settings as single writes: register and value."""
    return [settings[offset : offset + 2] for offset in range(0, len(settings), 2)]


def rate_limit_bytes(mcps: float = RATE_LIMIT_MCPS) -> bytes:
    """The least signal that counts, in mega counts per second, as 9.7 fixed point."""
    return round(mcps * 128).to_bytes(2, "big")


def reference_spads(found: bytes, number: int, *, aperture: bool) -> bytes:
    """The map of the first `number` good reference SPADs, from the map of all good ones (48 bits, lowest first)."""
    chosen, enabled = bytearray(SPAD_MAP_BYTES), 0
    first = APERTURE_START if aperture else 0
    for spad in range(first, SPAD_MAP_BYTES * 8):
        if enabled < number and found[spad // 8] >> spad % 8 & 1:
            chosen[spad // 8] |= 1 << spad % 8
            enabled += 1
    return bytes(chosen)


def decode_distance(block: bytes) -> Distance:
    """The result registers from RANGE_STATUS on: the status in bits 3–6, the distance in the last two bytes."""
    status = block[0] >> 3 & 0x0F
    distance_mm = int.from_bytes(block[10:12], "big")
    good = status == VALID and distance_mm < OUT_OF_RANGE_MM
    return Distance(distance_mm if good else None)


def encode_distance(distance: Distance) -> bytes:
    """The result registers that mean this distance."""
    status = VALID if distance.distance_mm is not None else 4  # 4: no signal came back
    shown = OUT_OF_RANGE_MM if distance.distance_mm is None else distance.distance_mm
    return bytes((status << 3,)) + bytes(9) + shown.to_bytes(2, "big")
