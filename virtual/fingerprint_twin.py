"""A ZFM-compatible fingerprint module in software: answers byte by byte as an R30x does, from pictures laid on it.

It knows the commands a host needs to identify it, change its speed, take and read a picture and light its ring. It
keeps no templates: Img2Tz and the rest of the module's own matcher are refused with code 01, as an unknown command.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.sensors.fingerprint_zfm_frames import (
    BAUD_FACTOR_MAX,
    BAUD_STEP,
    DATA_SIZES_BYTES,
    DEFAULT_ADDRESS,
    WAKE_BYTE,
    Code,
    Instruction,
    Packet,
    PacketReader,
    Parameter,
    Pid,
    SystemParameters,
    data_packets,
    encode_packet,
    encode_system_parameters,
    pack_pixels,
)

Grey = NDArray[np.uint8]
WHITE = 255
PAUSE_S_MAX = 0.1
LEDS = {"r503": Instruction.AURA_LED_R503, "r558": Instruction.AURA_LED_R558}


def fitted(image: Grey, height_px: int, width_px: int) -> Grey:
    """The picture on a window of the given size: centred, cut where it is larger, white where it is smaller."""
    window = np.full((height_px, width_px), WHITE, dtype=np.uint8)
    height, width = min(height_px, image.shape[0]), min(width_px, image.shape[1])
    top, left = (height_px - height) // 2, (width_px - width) // 2
    from_top, from_left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    window[top : top + height, left : left + width] = image[from_top : from_top + height, from_left : from_left + width]
    return window


class FingerprintModule:
    """The module, without I/O. `place` and `lift` may be called from any thread. led: r503, r558 or none.

    A finger that is laid down is preceded by an empty window: one GenImg finds no finger after each `place`.
    """

    def __init__(
        self,
        *,
        width_px: int = 256,
        height_px: int = 288,
        password: int = 0,
        baud: int = 57600,
        data_bytes: int = 128,
        capacity: int = 200,
        led: str = "",
        baud_changes: bool = True,
    ) -> None:
        self.width_px, self.height_px = width_px, height_px
        self.parameters = SystemParameters(0, 4, capacity, 3, DEFAULT_ADDRESS, data_bytes, baud)
        self.wrong_sums = 0
        self.led_pattern: bytes | None = None
        self.commands: list[int] = []
        self._password, self._baud_changes = password, baud_changes
        self._led = LEDS.get(led)
        self._unlocked = password == 0
        self._reader = PacketReader()
        self._heard_s = 0.0
        self._out = bytearray(bytes([WAKE_BYTE]))
        self._finger: Grey | None = None
        self._fresh = False
        self._image: Grey | None = None
        self._baud = baud
        self._lock = threading.Lock()

    @property
    def baud(self) -> int:
        """The line speed in use."""
        return self._baud

    def place(self, image: Grey) -> None:
        """Lay a finger on the window. image: uint8 (H, W), dark ridges."""
        window = fitted(image, self.height_px, self.width_px)
        with self._lock:
            self._finger, self._fresh = window, True

    @property
    def touched(self) -> bool:
        """What the module's touch output says."""
        with self._lock:
            return self._finger is not None

    def lift(self) -> None:
        """Leave the window empty."""
        with self._lock:
            self._finger = None

    def receive(self, data: bytes, now_s: float) -> None:
        """Bytes from the host. A packet with a wrong sum, or with a pause inside, is not answered."""
        if now_s - self._heard_s > PAUSE_S_MAX:
            self._reader.reset()
        self._heard_s = now_s
        for event in self._reader.feed(data):
            if isinstance(event, Packet) and event.pid is Pid.COMMAND:
                self._obey(event.payload[0], event.payload[1:])

    def take(self, now_s: float) -> bytes:
        """Bytes for the host."""
        out = bytes(self._out)
        self._out.clear()
        if out:
            self._baud = self.parameters.baud
        return out

    def wait_s(self, now_s: float) -> float | None:
        """Only the host causes answers, but a change of speed takes effect after the answer left."""
        return 0.0 if self._out else None

    def _obey(self, instruction: int, parameters: bytes) -> None:
        self.commands.append(instruction)
        del self.commands[:-1000]
        if not self._unlocked and instruction not in (Instruction.VERIFY_PASSWORD, Instruction.READ_SYS_PARA):
            self._answer(Code.VERIFY_FIRST)
        elif instruction == Instruction.VERIFY_PASSWORD and len(parameters) == 4:
            self._unlocked = struct.unpack(">I", parameters)[0] == self._password
            self._answer(Code.OK if self._unlocked else Code.WRONG_PASSWORD)
        elif instruction == Instruction.READ_SYS_PARA:
            self._answer(Code.OK, encode_system_parameters(self.parameters))
        elif instruction == Instruction.SET_SYS_PARA and len(parameters) == 2:
            self._answer(self._set_parameter(parameters[0], parameters[1]))
        elif instruction == Instruction.GEN_IMAGE:
            self._answer(self._take_picture())
        elif instruction == Instruction.UP_IMAGE:
            self._send_picture()
        elif instruction == Instruction.HANDSHAKE:
            self._answer(Code.OK)
        elif instruction == Instruction.TEMPLATE_COUNT:
            self._answer(Code.OK, b"\0\0")
        elif instruction == self._led and len(parameters) == 4:
            self.led_pattern = parameters
            self._answer(Code.OK)
        else:
            self._answer(Code.RECEIVE_ERROR)

    def _set_parameter(self, number: int, value: int) -> Code:
        if number == Parameter.BAUD and 1 <= value <= BAUD_FACTOR_MAX and self._baud_changes:
            self.parameters = replace(self.parameters, baud=value * BAUD_STEP)
        elif number == Parameter.DATA_SIZE and value < len(DATA_SIZES_BYTES):
            self.parameters = replace(self.parameters, data_bytes=DATA_SIZES_BYTES[value])
        elif number == Parameter.SECURITY and 1 <= value <= 5:
            self.parameters = replace(self.parameters, security=value)
        else:
            return Code.BAD_REGISTER
        return Code.OK

    def _take_picture(self) -> Code:
        with self._lock:
            if self._finger is None or self._fresh:
                self._fresh = False
                return Code.NO_FINGER
            self._image = self._finger
        return Code.OK

    def _send_picture(self) -> None:
        if self._image is None:
            self._answer(Code.NO_IMAGE)
            return
        self._answer(Code.OK)
        for packet in data_packets(pack_pixels(self._image), self.parameters.data_bytes):
            self._out += self._summed(packet)

    def _answer(self, code: int, parameters: bytes = b"") -> None:
        self._out += self._summed(encode_packet(Pid.ACK, bytes([code]) + parameters))

    def _summed(self, packet: bytes) -> bytes:
        """The packet, with a wrong sum while that fault is set."""
        if not self.wrong_sums:
            return packet
        self.wrong_sums -= 1
        return packet[:-1] + bytes([packet[-1] ^ 0x01])
