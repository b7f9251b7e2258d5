"""Driver of the single-finger modules ZFM-20, R30x, R503 and their kin over a UART.

The module takes the picture (GenImg) and sends it (UpImage); extraction and comparison are this product's own. The
wire has a 16-bit sum per packet and no repetition, so the driver repeats a whole transfer when anything between its
packets was damaged, and takes a picture only if every byte of it was verified.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, DeviceError, RemoteError
from contract.sample import FingerPosition
from edge.sensors.fingerprint_zfm_frames import (
    DEFAULT_ADDRESS,
    IMAGE_BYTES_MAX,
    Code,
    Instruction,
    Noise,
    Packet,
    Pid,
    SystemParameters,
    parse_system_parameters,
    unpack_pixels,
)
from edge.sensors.fingerprint_zfm_link import ZfmLink
from edge.sensors.gpio_line import InputLine, LineOpener, open_gpio_line
from edge.sensors.interface import DeviceInfo, Frame
from edge.sensors.serial_link import LinkOpener, SerialLink

TRANSFER_ATTEMPTS = 4
# Sensors by the bytes of their pictures, two pixels each: R30x and ZFM-20, R503, and two smaller ones.
SIZES_PX = {36_864: (256, 288), 18_432: (192, 192), 29_952: (208, 288), 12_800: (160, 160)}
LED_INSTRUCTIONS = {"r503": Instruction.AURA_LED_R503, "r558": Instruction.AURA_LED_R558}
LED_OFF = bytes([0x04, 0, 0, 0])
LED_WAITING = bytes([0x01, 0x80, 0x02, 0])  # breathing blue: lay the finger
LED_TAKEN = bytes([0x03, 0, 0x03, 0])  # steady purple: lift the finger


class ZfmScanner:
    """A FingerprintScanner. One thread at a time.

    port: a tty. baud: the module's line speed; where it does not answer, the other usual speeds are tried.
    baud_max: raise the speed to this when the module takes it; 0 leaves it. width_px: 0 knows the sensor by the size of
    its picture, and refuses one that is none of SIZES_PX. height_px: 0 takes what arrives, but never less than arrived
    before, so that a lost packet shows from the second picture on; with the number set it shows from the first.
    password_file: a file with the module's password as a number; empty for 0. led: none, r503 or r558. wake_pin: GPIO
    line of the module's touch output, -1 for none; with it the module is asked for pictures only while it is touched.
    lift_between: wait for an empty window between two captures. inverted: ridges are light.
    """

    def __init__(
        self,
        *,
        port: str,
        baud: int = 57600,
        baud_max: int = 0,
        width_px: int = 0,
        height_px: int = 0,
        ppi: int = 500,
        address: int = DEFAULT_ADDRESS,
        password_file: str = "",
        led: str = "none",
        wake_pin: int = -1,
        wake_active_low: bool = True,
        lift_between: bool = True,
        inverted: bool = False,
        poll_interval_s: float = 0.05,
        command_timeout_s: float = 1.0,
        open_link: LinkOpener = SerialLink,
        open_line: LineOpener = open_gpio_line,
        clock: Clock | None = None,
    ) -> None:
        if led not in ("none", *LED_INSTRUCTIONS):
            raise DeviceError(f"There is no LED kind {led!r}.", next_step="Set led to none, r503 or r558.")
        if width_px < 0 or width_px % 2 or ppi <= 0 or height_px < 0:
            raise DeviceError("width_px must be even, height_px not negative and ppi positive.")
        self._port, self._baud, self._baud_max = port, baud, baud_max
        self._width_px, self._ppi, self._inverted = width_px, ppi, inverted
        self._height_px, self._rows_seen = height_px, 0
        self._address = address
        self._password_file = password_file
        self._led = LED_INSTRUCTIONS.get(led)
        self._lift_between = lift_between
        self._poll_interval_s, self._command_timeout_s = poll_interval_s, command_timeout_s
        self._open_link, self._clock = open_link, clock or SystemClock()
        self._wake_pin, self._wake_active_low, self._open_line = wake_pin, wake_active_low, open_line
        self._wake: InputLine | None = None
        self._link: ZfmLink | None = None
        self._parameters: SystemParameters | None = None
        self._must_lift = False
        self.transfers_repeated = 0

    def open(self) -> DeviceInfo:
        """Open the port, find the line speed, give the password and read the parameters. Raises DeviceError."""
        self.close()
        self._link = link = ZfmLink(
            self._port, self._baud, self._address, self._command_timeout_s, self._open_link, self._clock
        )
        if self._wake_pin >= 0:
            self._wake = self._open_line(self._wake_pin, self._wake_active_low)
        link.find_speed()
        password = self._password()
        code = self._opened().command(Instruction.VERIFY_PASSWORD, struct.pack(">I", password)).code
        if code != Code.OK:
            raise DeviceError(
                f"The fingerprint module refuses the password (code {code:02X}).",
                next_step="Put the module's password into password_file.",
            )
        self._parameters = self._read_parameters()
        if self._baud_max > link.baud:
            link.raise_speed(self._baud_max)
        self._light(LED_OFF)
        self._must_lift = False
        return DeviceInfo(
            driver="zfm",
            model=f"ZFM-compatible, system {self._parameters.system_id:04X}, {self._parameters.capacity} templates",
            serial=f"{self._parameters.address:08X}",
            capabilities=(
                "image",
                f"baud {link.baud}",
                *(("led",) if self._led else ()),
                *(("touch",) if self._wake else ()),
            ),
        )

    def close(self) -> None:
        """Release the port."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
        wake, self._wake = self._wake, None
        if wake is not None:
            wake.close()

    def capture(self, position: FingerPosition, timeout_s: float, cancel: threading.Event) -> Frame:
        """Wait for a finger and read its picture: grey (H, width_px), dark ridges, 16 levels.

        position is recorded only: the window cannot know which finger lies on it. Raises CaptureRetry when no finger
        came or the picture was not complete in time, DeviceError when the module fails.
        """
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        self._light(LED_WAITING)
        try:
            self._await_finger(deadline_ms, cancel)
            started_ms = self._clock.monotonic_ms()
            pixels = self._read_image(deadline_ms, cancel)
        except CaptureRetry:
            self._light(LED_OFF)
            raise
        self._light(LED_TAKEN)
        self._must_lift = self._lift_between
        return Frame(
            pixels=255 - pixels if self._inverted else pixels,
            ppi=self._ppi,
            metadata={
                "finger_position": str(int(position)),
                "transfer_ms": str(self._clock.monotonic_ms() - started_ms),
                "transfers_repeated": str(self.transfers_repeated),
                "noise_bytes": str(self._opened().noise_bytes),
            },
        )

    def _await_finger(self, deadline_ms: int, cancel: threading.Event) -> None:
        """Poll GenImg until a finger lies on the window, after it was empty where that is asked."""
        while True:
            code = self._touched_picture()
            if code == Code.NO_FINGER:
                self._must_lift = False
            elif code == Code.OK and not self._must_lift:
                return
            elif code not in (Code.OK, Code.IMAGE_FAIL):
                raise DeviceError(f"The fingerprint module cannot take a picture (code {code:02X}).")
            if self._clock.monotonic_ms() >= deadline_ms:
                if self._must_lift:
                    raise CaptureRetry("The finger was not lifted.", next_step="Lift the finger and lay it down again.")
                raise CaptureRetry("No finger came.", next_step="Lay the finger flat on the window.")
            if cancel.wait(self._poll_interval_s):
                raise CaptureRetry("The capture was cancelled.")

    def _touched_picture(self) -> int:
        """GenImg's code; no finger, without asking the module, while nothing touches it."""
        if self._wake is not None and not self._wake.is_active():
            return Code.NO_FINGER
        return self._opened().command(Instruction.GEN_IMAGE).code

    def _read_image(self, deadline_ms: int, cancel: threading.Event) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        """Transfer the picture until one transfer arrives without damage and with the known number of rows."""
        reason = ""
        for attempt in range(TRANSFER_ATTEMPTS):
            self.transfers_repeated += 1 if attempt else 0
            content, reason = self._transfer(deadline_ms, cancel)
            if content is None:
                self._opened().drain()
                continue
            try:
                pixels = unpack_pixels(content, self._width_of(content))
            except RemoteError as error:
                reason = f"{error.message} Is width_px right?"
                continue
            rows = pixels.shape[0]
            if rows < self._rows_seen or self._height_px not in (0, rows):
                reason = f"{rows} rows arrived instead of {self._height_px or self._rows_seen}"
                continue
            self._rows_seen = rows
            return pixels
        raise DeviceError(
            f"The picture arrived damaged {TRANSFER_ATTEMPTS} times: {reason}.",
            next_step="Shorten or shield the cable, lower baud, and check width_px and height_px.",
        )

    def _width_of(self, content: bytes) -> int:
        """The sensor's width, given or known by the size of its picture. Raises RemoteError."""
        if self._width_px:
            return self._width_px
        if len(content) not in SIZES_PX:
            raise RemoteError(f"A picture of {len(content)} bytes is of no sensor that is known here.")
        return SIZES_PX[len(content)][0]

    def _transfer(self, deadline_ms: int, cancel: threading.Event) -> tuple[bytes | None, str]:
        """One UpImage: the bytes of the picture, or None and why this transfer cannot be trusted."""
        reply = self._opened().command(Instruction.UP_IMAGE)
        if reply.code != Code.OK:
            return None, f"the module refused to send it (code {reply.code:02X})"
        content = bytearray()
        events: Sequence[Packet | Noise] = reply.behind
        while True:
            for event in events:
                if isinstance(event, Noise):
                    self._opened().noise_bytes += event.count
                    return None, event.reason
                if event.pid not in (Pid.DATA, Pid.LAST_DATA):
                    return None, "an answer came between its packets"
                content += event.payload
                if event.pid is Pid.LAST_DATA:
                    return bytes(content), ""
            if len(content) > IMAGE_BYTES_MAX:
                return None, f"it is larger than {IMAGE_BYTES_MAX} bytes"
            if cancel.is_set():
                self._opened().drain()
                raise CaptureRetry("The capture was cancelled.")
            if self._clock.monotonic_ms() >= deadline_ms:
                self._opened().drain()
                raise CaptureRetry("The picture was not complete in time.")
            arrived = self._opened().read()
            if arrived is None:
                return None, "it ended early"
            events = arrived

    def _read_parameters(self) -> SystemParameters:
        reply = self._opened().command(Instruction.READ_SYS_PARA)
        if reply.code != Code.OK:
            raise DeviceError(f"The fingerprint module does not tell its parameters (code {reply.code:02X}).")
        try:
            return parse_system_parameters(reply.parameters)
        except RemoteError as error:
            raise DeviceError(error.message, next_step="Check that the module is ZFM-compatible.") from error

    def _light(self, pattern: bytes) -> None:
        """Set the LED ring where there is one."""
        if self._led is not None:
            self._opened().command(self._led, pattern)

    def _password(self) -> int:
        if not self._password_file:
            return 0
        try:
            value = int(Path(self._password_file).read_text(encoding="ascii").strip(), 0)
        except (OSError, ValueError) as error:
            raise DeviceError("The fingerprint module's password file cannot be read as a number.") from error
        if not 0 <= value <= 0xFFFFFFFF:
            raise DeviceError("The fingerprint module's password is not a number of 32 bits.")
        return value

    def _opened(self) -> ZfmLink:
        if self._link is None:
            raise DeviceError("The fingerprint module is not open.")
        return self._link
