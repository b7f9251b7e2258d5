"""Packets of the ZFM-20, R30x and R503 fingerprint modules, without I/O; the driver and the twin share this file.

Source: user manuals of R303, R305 and R503 (section "Communications protocol"): big endian,
`EF 01 | address u32 | PID u8 | length u16 | payload | sum u16`, length = payload + 2, sum = PID + length bytes +
payload modulo 2^16. Pictures travel with 4 bits a pixel, the first pixel in the high nibble.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from contract.errors import RemoteError

HEADER = b"\xef\x01"
DEFAULT_ADDRESS = 0xFFFFFFFF
PAYLOAD_BYTES_MAX = 256
OVERHEAD_BYTES = 11
IMAGE_BYTES_MAX = 512 * 1024
BAUD_STEP = 9600
BAUD_FACTOR_MAX = 12
DATA_SIZES_BYTES = (32, 64, 128, 256)
GREY_STEP = 17
WAKE_BYTE = 0x55


class Pid(IntEnum):
    """Packet identifier."""

    COMMAND = 0x01
    DATA = 0x02
    ACK = 0x07
    LAST_DATA = 0x08


class Instruction(IntEnum):
    """Instruction codes that this product uses."""

    GEN_IMAGE = 0x01
    UP_IMAGE = 0x0A
    SET_SYS_PARA = 0x0E
    READ_SYS_PARA = 0x0F
    VERIFY_PASSWORD = 0x13
    HANDSHAKE = 0x17
    TEMPLATE_COUNT = 0x1D
    AURA_LED_R503 = 0x35
    AURA_LED_R558 = 0x3C


class Code(IntEnum):
    """Confirmation codes of an acknowledgement."""

    OK = 0x00
    RECEIVE_ERROR = 0x01
    NO_FINGER = 0x02
    IMAGE_FAIL = 0x03
    CANNOT_UPLOAD_IMAGE = 0x0F
    WRONG_PASSWORD = 0x13
    NO_IMAGE = 0x15
    BAD_REGISTER = 0x1A
    VERIFY_FIRST = 0x21


class Parameter(IntEnum):
    """System parameters that SetSysPara can change."""

    BAUD = 4
    SECURITY = 5
    DATA_SIZE = 6


@dataclass(frozen=True, slots=True)
class Packet:
    """One verified packet."""

    pid: Pid
    payload: bytes


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes that belong to no valid packet."""

    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class SystemParameters:
    """Answer to ReadSysPara. capacity: templates the module can hold; data_bytes: payload of a data packet."""

    status: int
    system_id: int
    capacity: int
    security: int
    address: int
    data_bytes: int
    baud: int


def encode_packet(pid: Pid, payload: bytes, address: int = DEFAULT_ADDRESS) -> bytes:
    """One packet as on the wire. payload: 1 to PAYLOAD_BYTES_MAX bytes."""
    if not 1 <= len(payload) <= PAYLOAD_BYTES_MAX:
        raise ValueError(f"payload of {len(payload)} bytes, not 1 to {PAYLOAD_BYTES_MAX}")
    body = struct.pack(">BH", pid, len(payload) + 2) + payload
    return HEADER + struct.pack(">I", address) + body + struct.pack(">H", sum(body) & 0xFFFF)


def encode_command(instruction: Instruction, parameters: bytes = b"", address: int = DEFAULT_ADDRESS) -> bytes:
    """A command packet as on the wire."""
    return encode_packet(Pid.COMMAND, bytes([instruction]) + parameters, address)


def data_packets(content: bytes, data_bytes: int, address: int = DEFAULT_ADDRESS) -> Iterator[bytes]:
    """The data packets that carry `content`, the last one marked. data_bytes: payload of each."""
    starts = range(0, len(content), data_bytes)
    for start in starts:
        pid = Pid.LAST_DATA if start == starts[-1] else Pid.DATA
        yield encode_packet(pid, content[start : start + data_bytes], address)


class PacketReader:
    """Takes bytes as they come and gives verified packets and the noise between them.

    Holds at most one packet of the greatest length besides what was just fed. After noise it looks for the next
    header, also inside a packet whose sum was wrong, so that one bad byte costs one packet.
    """

    def __init__(self, address: int = DEFAULT_ADDRESS) -> None:
        self._address = struct.pack(">I", address)
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes held that are no complete packet yet."""
        return len(self._buffer)

    def reset(self) -> int:
        """Forget what is held; returns how many bytes that was."""
        held = len(self._buffer)
        self._buffer.clear()
        return held

    def feed(self, data: bytes) -> list[Packet | Noise]:
        """What `data` completes, in order."""
        buffer = self._buffer
        buffer += data
        events: list[Packet | Noise] = []
        position = 0
        while True:
            start = buffer.find(HEADER, position)
            if start < 0:
                start = len(buffer) - (1 if buffer.endswith(HEADER[:1]) else 0)
            start = max(start, position)
            if start > position:
                events.append(Noise(start - position, "no header"))
            position = start
            found = self._packet_at(position)
            if found is None:
                break
            event, taken = found
            events.append(event)
            position += taken
        del buffer[:position]
        return events

    def _packet_at(self, position: int) -> tuple[Packet | Noise, int] | None:
        """The packet or noise that starts at a header, with its length; None while bytes are missing."""
        buffer = self._buffer
        head = bytes(buffer[position : position + 9])
        if len(head) < 9:
            return None
        pid, length = struct.unpack_from(">BH", head, 6)
        if head[2:6] != self._address:
            return Noise(2, "another address"), 2
        if pid not in Pid.__members__.values() or not 3 <= length <= PAYLOAD_BYTES_MAX + 2:
            return Noise(2, "no such packet"), 2
        end = position + 9 + length
        if len(buffer) < end:
            return None
        body = buffer[position + 6 : end - 2]
        if sum(body) & 0xFFFF != buffer[end - 2] << 8 | buffer[end - 1]:
            return Noise(2, "wrong sum"), 2
        return Packet(Pid(pid), bytes(body[3:])), end - position


def parse_system_parameters(parameters: bytes) -> SystemParameters:
    """The 16 bytes behind the confirmation code of ReadSysPara. Raises RemoteError on any other content."""
    if len(parameters) != 16:
        raise RemoteError(f"The module's parameters are {len(parameters)} bytes instead of 16.")
    status, system_id, capacity, security, address, size_code, factor = struct.unpack(">HHHHIHH", parameters)
    if size_code >= len(DATA_SIZES_BYTES) or not 1 <= factor <= BAUD_FACTOR_MAX:
        raise RemoteError(f"The module's packet size code {size_code} or baud factor {factor} does not exist.")
    return SystemParameters(
        status, system_id, capacity, security, address, DATA_SIZES_BYTES[size_code], factor * BAUD_STEP
    )


def encode_system_parameters(parameters: SystemParameters) -> bytes:
    """The 16 bytes behind the confirmation code of ReadSysPara."""
    return struct.pack(
        ">HHHHIHH",
        parameters.status,
        parameters.system_id,
        parameters.capacity,
        parameters.security,
        parameters.address,
        DATA_SIZES_BYTES.index(parameters.data_bytes),
        parameters.baud // BAUD_STEP,
    )


def unpack_pixels(content: bytes, width_px: int) -> NDArray[np.uint8]:
    """An image transfer as grey pixels (H, width_px). Raises RemoteError unless it is made of whole rows."""
    if width_px < 2 or width_px % 2 or not content or len(content) * 2 % width_px:
        raise RemoteError(f"An image of {len(content)} bytes has no whole rows of {width_px} pixels.")
    packed = np.frombuffer(content, dtype=np.uint8)
    pixels = np.empty((packed.size, 2), dtype=np.uint8)
    pixels[:, 0] = packed >> 4
    pixels[:, 1] = packed & 0x0F
    pixels *= GREY_STEP
    return pixels.reshape(-1, width_px)


def pack_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Grey pixels (H, even W) as an image transfer, rounded to the nearest of 16 levels."""
    levels = (pixels.astype(np.uint16) + GREY_STEP // 2) // GREY_STEP
    return bytes((levels[:, 0::2] << 4 | levels[:, 1::2]).astype(np.uint8).tobytes())
