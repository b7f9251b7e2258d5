"""Driver of the VL53L0X: is somebody standing before the unit. Single measurements, when somebody asks.

The order of the start follows ST's API: data initialisation, reference SPADs, tuning, two calibrations.
"""

from __future__ import annotations

import time

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError
from edge.sensors import vl53l0x_frames as frames
from edge.sensors.i2c_link import BusOpener, I2cPart, Sleep, open_kernel_bus
from edge.sensors.interface import DeviceInfo
from edge.sensors.vl53l0x_frames import Distance

READY_TIMEOUT_S = 0.5
POLL_S = 0.005
_FIRST_PAGE = bytes.fromhex("ff00 8000")
_OPEN_NVM = bytes.fromhex("8001 ff01 0000 ff06")
_ASK_NVM = bytes.fromhex("ff07 8101 8001 946b 8300")
_END_NVM = bytes.fromhex("8100 ff06")
_CLOSE_NVM = bytes.fromhex("ff01 0001 ff00 8000")
_PRIVATE, _PUBLIC = bytes.fromhex("8001 ff01 0000"), bytes.fromhex("0001 ff00 8000")


class Vl53l0x:
    """A PresenceSensor. near_mm: nearer than this, somebody is there."""

    def __init__(
        self,
        *,
        bus: int = 1,
        address: int = 0x29,
        near_mm: int = 1000,
        open_bus: BusOpener = open_kernel_bus,
        sleep: Sleep = time.sleep,
        clock: Clock | None = None,
    ) -> None:
        self._bus, self._address, self._near_mm = bus, address, near_mm
        self._open_bus, self._sleep = open_bus, sleep
        self._clock = clock or SystemClock()
        self._part: I2cPart | None = None
        self._stop_variable = 0

    def open(self) -> DeviceInfo:
        """Identify the part, tell it ST's settings and calibrate it. Raises DeviceError."""
        self.close()
        self._part = I2cPart("VL53L0X", self._bus, self._address, self._open_bus, self._sleep)
        self._write_all(_FIRST_PAGE)  # an earlier start may have been cut off on another page
        model = self._read(frames.MODEL_ID, 3)
        if model != frames.MODEL:
            raise DeviceError(
                f"The part at {self._address:#04x} calls itself {model.hex()}: it is no VL53L0X.",
                next_step="Correct 'address' in unit.toml.",
            )
        self._start_data()
        self._choose_spads()
        self._write_all(frames.TUNING)
        self._write(frames.INTERRUPT_CONFIG, 0x04)  # a new sample is ready
        self._write(frames.GPIO_MUX, self._read(frames.GPIO_MUX)[0] & ~0x10)
        self._write(frames.INTERRUPT_CLEAR, 0x01)
        for step, start in (frames.VHV_CALIBRATION, frames.PHASE_CALIBRATION):
            self._write(frames.SEQUENCE_CONFIG, step)
            self._write(frames.SYSRANGE_START, 0x01 | start)
            self._wait(frames.INTERRUPT_STATUS, 0x07)
            self._write(frames.INTERRUPT_CLEAR, 0x01)
            self._write(frames.SYSRANGE_START, 0x00)
        self._write(frames.SEQUENCE_CONFIG, frames.SEQUENCE_IN_USE)
        return DeviceInfo("vl53l0x", "ST VL53L0X", firmware=f"revision {model[2]:02x}", capabilities=("distance",))

    def close(self) -> None:
        """Release the bus; the part sleeps between measurements by itself."""
        part, self._part = self._part, None
        if part is not None:
            part.close()

    def read(self) -> Distance:
        """One measurement; takes about 33 ms. Raises DeviceError."""
        self._write_all(_PRIVATE)
        self._write(frames.STOP_VARIABLE, self._stop_variable)
        self._write_all(_PUBLIC)
        self._write(frames.SYSRANGE_START, 0x01)
        self._wait(frames.INTERRUPT_STATUS, 0x07)
        found = frames.decode_distance(self._read(frames.RANGE_STATUS, frames.RANGE_BLOCK_BYTES))
        self._write(frames.INTERRUPT_CLEAR, 0x01)
        return found

    def present(self) -> bool:
        """Whether somebody stands before the unit now."""
        distance_mm = self.read().distance_mm
        return distance_mm is not None and distance_mm < self._near_mm

    def _start_data(self) -> None:
        self._write(frames.PAD_2V8, self._read(frames.PAD_2V8)[0] | 0x01)
        self._write(0x88, 0x00)
        self._write_all(_PRIVATE)
        self._stop_variable = self._read(frames.STOP_VARIABLE)[0]
        self._write_all(_PUBLIC)
        self._write(frames.MSRC_CONTROL, self._read(frames.MSRC_CONTROL)[0] | 0x12)
        self._opened().write(bytes((frames.RATE_LIMIT,)) + frames.rate_limit_bytes())
        self._write(frames.SEQUENCE_CONFIG, 0xFF)

    def _choose_spads(self) -> None:
        """Enable as many good reference SPADs as the part's memory says, of the kind that it says."""
        self._write_all(_OPEN_NVM)
        self._write(frames.NVM_STROBE, self._read(frames.NVM_STROBE)[0] | 0x04)
        self._write_all(_ASK_NVM)
        self._wait(frames.NVM_STROBE, 0xFF)
        self._write(frames.NVM_STROBE, 0x01)
        word = self._read(frames.NVM_SPADS)[0]
        self._write_all(_END_NVM)
        self._write(frames.NVM_STROBE, self._read(frames.NVM_STROBE)[0] & ~0x04)
        self._write_all(_CLOSE_NVM)
        good = self._read(frames.SPAD_MAP, frames.SPAD_MAP_BYTES)
        self._write_all(bytes((frames.PAGE, 1, frames.SPAD_OFFSET, 0, frames.SPAD_REQUESTED, 0x2C, frames.PAGE, 0)))
        self._write(frames.SPAD_START, 0xB4)
        chosen = frames.reference_spads(good, word & 0x7F, aperture=bool(word & 0x80))
        self._opened().write(bytes((frames.SPAD_MAP,)) + chosen)

    def _wait(self, register: int, mask: int) -> None:
        deadline_ms = self._clock.monotonic_ms() + round(READY_TIMEOUT_S * 1000)
        while not self._read(register)[0] & mask:
            if self._clock.monotonic_ms() >= deadline_ms:
                raise DeviceError(
                    "The VL53L0X does not finish its measurement.",
                    next_step="Switch the enclosure's power off and on; replace the part if it stays.",
                )
            self._opened().sleep(POLL_S)

    def _read(self, register: int, length: int = 1) -> bytes:
        return self._opened().write_read(bytes((register,)), length)

    def _write(self, register: int, value: int) -> None:
        self._opened().write(bytes((register, value & 0xFF)))

    def _write_all(self, settings: bytes) -> None:
        for pair in frames.pairs(settings):
            self._opened().write(pair)

    def _opened(self) -> I2cPart:
        if self._part is None:
            raise DeviceError("The presence sensor is not open.")
        return self._part
