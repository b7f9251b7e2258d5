"""Driver of the SHT31: temperature and humidity inside the enclosure, measured when somebody asks."""

from __future__ import annotations

import time

from contract.errors import DeviceError
from edge.sensors.i2c_link import BusOpener, I2cPart, Sleep, open_kernel_bus
from edge.sensors.interface import Climate, DeviceInfo
from edge.sensors.sht31_frames import (
    CLEAR_STATUS,
    MEASURE_HIGH,
    MEASURE_S,
    READ_SERIAL,
    RESET_S,
    SOFT_RESET,
    WORD_BYTES,
    decode_climate,
    decode_words,
)


class Sht31:
    """A ClimateSensor. bus: N of /dev/i2c-N; address: 0x44, or 0x45 with ADDR high."""

    def __init__(
        self, *, bus: int = 1, address: int = 0x44, open_bus: BusOpener = open_kernel_bus, sleep: Sleep = time.sleep
    ) -> None:
        self._bus, self._address = bus, address
        self._open_bus, self._sleep = open_bus, sleep
        self._part: I2cPart | None = None

    def open(self) -> DeviceInfo:
        """Reset the part and read its serial number. Raises DeviceError."""
        self.close()
        self._part = part = I2cPart("SHT31", self._bus, self._address, self._open_bus, self._sleep)
        part.write(SOFT_RESET)
        part.sleep(RESET_S)
        part.write(CLEAR_STATUS)
        high, low = decode_words(part.write_read(READ_SERIAL, 2 * WORD_BYTES))
        return DeviceInfo("sht31", "Sensirion SHT31", serial=f"{high:04X}{low:04X}", capabilities=("climate",))

    def close(self) -> None:
        """Release the bus."""
        part, self._part = self._part, None
        if part is not None:
            part.close()

    def read(self) -> Climate:
        """One measurement; takes 16 ms. Raises DeviceError."""
        if self._part is None:
            raise DeviceError("The climate sensor is not open.")
        self._part.write(MEASURE_HIGH)
        self._part.sleep(MEASURE_S)
        return decode_climate(self._part.read(2 * WORD_BYTES))
