"""The parts of an enclosure on the I2C bus, each a state machine of its registers: LEDs, presence, climate, identity.

They share the codecs with the drivers; what the data sheet demands in order (asleep for the prescaler, awake for a
command, calibrated before measuring) they demand too.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from edge.sensors import atecc608_frames as atecc
from edge.sensors import pca9685_frames as pca
from edge.sensors import sht31_frames as sht
from edge.sensors import vl53l0x_frames as tof
from edge.sensors.interface import Climate
from virtual.i2c_twin import NotAcknowledged


class Pca9685Twin:
    """Sixteen outputs. duty(channel) is what an oscilloscope would show."""

    def __init__(self) -> None:
        self.registers = bytearray(256)
        self.registers[pca.MODE1] = pca.SLEEP | 0x01
        self.registers[pca.MODE2] = pca.OUTPUT_PUSH_PULL
        self.registers[pca.PRE_SCALE] = 0x1E
        for channel in range(pca.CHANNELS):
            self.registers[pca.led_register(channel) + 3] = 0x10
        self._pointer = 0

    def duty(self, channel: int) -> float:
        """The share of time that an output is on."""
        if self.registers[pca.MODE1] & pca.SLEEP:
            return 0.0
        first = pca.led_register(channel)
        return pca.duty_of(bytes(self.registers[first : first + 4]))

    def write(self, data: bytes) -> None:
        """The register's number, then its value and those of the following ones."""
        if not data:
            return
        self._pointer = data[0]
        for value in data[1:]:
            self._store(self._pointer, value)
            if self.registers[pca.MODE1] & pca.AUTO_INCREMENT:
                self._pointer = (self._pointer + 1) & 0xFF

    def read(self, length: int) -> bytes:
        """Registers from the one that was named last."""
        return bytes(self.registers[(self._pointer + offset) & 0xFF] for offset in range(length))

    def general_call(self) -> None:
        """Nothing: this call is no software reset."""

    def _store(self, register: int, value: int) -> None:
        if register == pca.PRE_SCALE and not self.registers[pca.MODE1] & pca.SLEEP:
            return  # blocked while the oscillator runs, 7.3.5
        if pca.ALL_LED_ON_L <= register < pca.PRE_SCALE:
            for channel in range(pca.CHANNELS):
                self.registers[pca.led_register(channel) + register - pca.ALL_LED_ON_L] = value
        self.registers[register] = value


class Sht31Twin:
    """Temperature and humidity of the test's choice. Answers a read only after a command that makes data."""

    def __init__(self, climate: Climate | None = None, serial: int = 0x0BADCAFE) -> None:
        self.climate = climate or Climate(31.5, 60.0)
        self._serial = serial
        self._answer: bytes | None = None

    def write(self, data: bytes) -> None:
        """One command of two bytes."""
        if data == sht.MEASURE_HIGH:
            self._answer = sht.encode_climate(self.climate)
        elif data == sht.READ_SERIAL:
            self._answer = sht.encode_words(self._serial >> 16, self._serial & 0xFFFF)
        elif data in (sht.SOFT_RESET, sht.CLEAR_STATUS):
            self._answer = None
        else:
            raise NotAcknowledged

    def read(self, length: int) -> bytes:
        """The answer, once."""
        answer, self._answer = self._answer, None
        if answer is None:
            raise NotAcknowledged
        return answer[:length]

    def general_call(self) -> None:
        """Nothing: this call is no reset."""


class Vl53l0xTwin:
    """Distance of the test's choice. Measures only once both calibrations were done. broken: it never finishes."""

    def __init__(self, distance_mm: int | None = None) -> None:
        self.distance_mm = distance_mm
        self.broken = False
        self.pages: dict[int, bytearray] = {page: bytearray(256) for page in (0, 1, 6, 7)}
        self.pages[0][tof.MODEL_ID : tof.MODEL_ID + 3] = tof.MODEL
        self.pages[0][tof.SPAD_MAP : tof.SPAD_MAP + 6] = b"\xff" * 6
        self.pages[1][tof.STOP_VARIABLE] = 0x3C
        self.pages[7][tof.NVM_SPADS] = 0x85  # five aperture SPADs
        self.calibrations = 0
        self._page = self._pointer = 0

    @property
    def spads(self) -> int:
        """How many reference SPADs are enabled."""
        return bin(int.from_bytes(self.pages[0][tof.SPAD_MAP : tof.SPAD_MAP + 6], "little")).count("1")

    def write(self, data: bytes) -> None:
        """The register's number, then values from there on."""
        if not data:
            return
        self._pointer = data[0]
        for offset, value in enumerate(data[1:]):
            self._store(self._pointer + offset, value)

    def read(self, length: int) -> bytes:
        """Registers of the chosen page from the one that was named last."""
        page = self.pages.setdefault(self._page, bytearray(256))
        return bytes(page[(self._pointer + offset) & 0xFF] for offset in range(length))

    def general_call(self) -> None:
        """Nothing."""

    def _store(self, register: int, value: int) -> None:
        if register == tof.PAGE:
            self._page = value
            return
        page = self.pages.setdefault(self._page, bytearray(256))
        page[register & 0xFF] = value
        if self._page == 7 and register == tof.NVM_STROBE and value == 0 and not self.broken:
            page[register] = 0x10
        elif self._page == 0 and register == tof.INTERRUPT_CLEAR:
            page[tof.INTERRUPT_STATUS] = 0
        elif self._page == 0 and register == tof.SYSRANGE_START and value & 0x01 and not self.broken:
            self._measure(page, value)

    def _measure(self, page: bytearray, start: int) -> None:
        wanted = {tof.VHV_CALIBRATION: 1, tof.PHASE_CALIBRATION: 2}
        done = wanted.get((page[tof.SEQUENCE_CONFIG], start & ~0x01))
        if done:
            self.calibrations |= done
        shown = self.distance_mm if self.calibrations == 3 else None
        block = tof.encode_distance(tof.Distance(shown))
        page[tof.RANGE_STATUS : tof.RANGE_STATUS + len(block)] = block
        page[tof.INTERRUPT_STATUS] = 0x04
        page[tof.SYSRANGE_START] = 0


class Atecc608Twin:
    """A commissioned key store, its key in slot 0; sleeps until the bus is pulled low, is busy after commands."""

    def __init__(self, seed: bytes = b"twin", *, locked: bool = True) -> None:
        secret = int.from_bytes(hashlib.sha256(seed).digest(), "big") % (2**255) + 1
        self.key = ec.derive_private_key(secret, ec.SECP256R1())
        self.busy_reads = 2
        self.commands = 0
        lock = 0x00 if locked else 0x55
        serial = hashlib.sha256(b"serial" + seed).digest()
        self._zone = bytearray(128)
        self._zone[0:4], self._zone[4:8], self._zone[8:13] = b"\x01\x23" + serial[:2], b"\0\0\x60\x03", serial[2:7]
        self._zone[86] = self._zone[87] = lock
        self._awake = False
        self._answer, self._wait = b"", 0
        self._digest: bytes | None = None
        self.counters = [0, 0]

    @property
    def awake(self) -> bool:
        """Whether it would take a command."""
        return self._awake

    def general_call(self) -> None:
        """SDA was low long enough: wake."""
        if not self._awake:
            self._awake, self._answer, self._wait = True, atecc.WOKEN, 0

    def write(self, data: bytes) -> None:
        """A word address, and a command behind it."""
        if not self._awake:
            raise NotAcknowledged
        if data[:1] in (bytes((atecc.SLEEP,)), bytes((atecc.IDLE,))):
            self._awake = False
            if data[0] == atecc.SLEEP:
                self._digest = None
            return
        self.commands += 1
        self._answer, self._wait = atecc.encode_answer(self._run(data)), self.busy_reads

    def read(self, length: int) -> bytes:
        """The answer, once the command is done; bytes after it read as FF."""
        if not self._awake or not self._answer:
            raise NotAcknowledged
        if self._wait:
            self._wait -= 1
            raise NotAcknowledged
        return self._answer[:length].ljust(length, b"\xff")

    def _run(self, frame: bytes) -> bytes:
        command = atecc.decode_command(frame)
        if command is None:
            return bytes((atecc.Status.CRC,))
        opcode, param1, param2, data = command
        if opcode == atecc.OP_INFO:
            return bytes(self._zone[4:8])
        if opcode == atecc.OP_READ and param1 == 0x80 and param2 >> 3 < 4:
            return bytes(self._zone[32 * (param2 >> 3) :][:32])
        if opcode == atecc.OP_NONCE and param1 == 0x03 and len(data) == 32:
            self._digest = data
            return bytes((atecc.Status.OK,))
        if opcode == atecc.OP_COUNTER and param1 in (0, 1) and param2 in (0, 1):
            return self._count(param2, param1)
        if opcode in (atecc.OP_GENKEY, atecc.OP_SIGN):
            return self._with_key(opcode, param2)
        return bytes((atecc.Status.PARSE,))

    def _count(self, number: int, more: int) -> bytes:
        if self.counters[number] + more > atecc.COUNTER_MAX:
            return bytes((atecc.Status.EXECUTION,))
        self.counters[number] += more
        return self.counters[number].to_bytes(atecc.COUNTER_BYTES, "little")

    def _with_key(self, opcode: int, slot: int) -> bytes:
        if slot != 0:
            return bytes((atecc.Status.EXECUTION,))
        if opcode == atecc.OP_GENKEY:
            numbers = self.key.public_key().public_numbers()
            return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        if self._digest is None:
            return bytes((atecc.Status.EXECUTION,))
        digest, self._digest = self._digest, None  # TempKey is used up
        signature = self.key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256())))
        r, s = utils.decode_dss_signature(signature)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
