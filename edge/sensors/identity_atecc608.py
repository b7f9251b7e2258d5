"""Driver of the ATECC608: a unit's identity in a part that never gives its private key away.

It reads, counts the unit's starts, and signs with a slot that was commissioned before. It locks nothing and makes no
key: locking a zone cannot be undone, so it belongs to a command that a person gives knowingly, and we have none.
"""

from __future__ import annotations

import time

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError
from edge.sensors import atecc608_frames as frames
from edge.sensors.i2c_link import BusOpener, I2cPart, NobodyAnswers, Sleep, open_kernel_bus
from edge.sensors.interface import DeviceInfo

COMMAND_TIMEOUT_S = 1.0
POLL_S = 0.005


class Atecc608:
    """An IdentityChip. address: 0x60, 0x35 (Trust & Go) or 0x36 (TrustFLEX); slot: of the unit's signing key."""

    def __init__(
        self,
        *,
        bus: int = 1,
        address: int = 0x60,
        slot: int = 0,
        open_bus: BusOpener = open_kernel_bus,
        sleep: Sleep = time.sleep,
        clock: Clock | None = None,
    ) -> None:
        if not 0 <= slot < frames.SLOTS:
            raise DeviceError(f"The ATECC608 has no slot {slot}.", next_step="Give a slot from 0 to 15.")
        self._bus, self._address, self._slot = bus, address, slot
        self._open_bus, self._sleep = open_bus, sleep
        self._clock = clock or SystemClock()
        self._part: I2cPart | None = None
        self._configuration: frames.ChipConfiguration | None = None

    def open(self) -> DeviceInfo:
        """Wake the part and read who it is. Raises DeviceError."""
        self.close()
        self._part = I2cPart("ATECC608", self._bus, self._address, self._open_bus, self._sleep)
        first, third = self._do(frames.read_block(0), frames.read_block(2))
        found = self._configuration = frames.decode_configuration(first, third)
        return DeviceInfo(
            "atecc608",
            "Microchip ATECC608",
            serial=found.serial.hex().upper(),
            firmware=found.revision.hex(),
            capabilities=("locked",) if found.configuration_locked and found.data_locked else ("not locked",),
        )

    def close(self) -> None:
        """Release the bus; the part sleeps already."""
        part, self._part = self._part, None
        if part is not None:
            part.close()

    def serial(self) -> str:
        """The part's serial number, 18 hexadecimal digits."""
        if self._configuration is None:
            raise DeviceError("The identity chip is not open.")
        return self._configuration.serial.hex().upper()

    def public_key(self) -> bytes:
        """The slot's public key: X and Y, 32 bytes each. Raises DeviceError where the slot holds no key."""
        (key,) = self._do(frames.public_key_of(self._slot))
        return _sized(key, frames.PUBLIC_KEY_BYTES, "public key")

    def sign(self, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest: R and S, 32 bytes each. Raises DeviceError."""
        if len(digest) != frames.DIGEST_BYTES:
            raise DeviceError(f"A digest has 32 bytes, not {len(digest)}.")
        _done, signature = self._do(frames.load_digest(digest), frames.sign_with(self._slot))
        return _sized(signature, frames.SIGNATURE_BYTES, "signature")

    def starts(self) -> int:
        """How many starts of the unit were counted. Raises DeviceError."""
        return self._counter(one_more=False)

    def count_start(self) -> int:
        """Count one start more, up to 2,097,151; how many there were then. Raises DeviceError."""
        return self._counter(one_more=True)

    def _counter(self, *, one_more: bool) -> int:
        (count,) = self._do(frames.counter(frames.STARTS_COUNTER, one_more=one_more))
        return int.from_bytes(_sized(count, frames.COUNTER_BYTES, "count"), "little")

    def _do(self, *commands: bytes) -> list[bytes]:
        """Wake, do the commands one after the other, and put the part to sleep, whatever happened."""
        part = self._part
        if part is None:
            raise DeviceError("The identity chip is not open.")
        self._wake(part)
        try:
            return [self._answer(part, command) for command in commands]
        finally:
            try:
                part.write(bytes((frames.SLEEP,)))
            except DeviceError:  # it falls asleep by itself after 1.3 s
                pass

    def _wake(self, part: I2cPart) -> None:
        try:
            found = self._woken(part)
        except NobodyAnswers:
            found = b""
        if found != frames.WOKEN:  # missing, or awake since somebody was cut off: then it first has to sleep
            part.write(bytes((frames.SLEEP,)))
            found = self._woken(part)
        if found != frames.WOKEN:
            raise DeviceError(
                f"The ATECC608 woke with {found.hex()}.",
                next_step="Lower the I2C clock to 100 kHz (dtparam=i2c_arm_baudrate); check the wires.",
            )

    def _woken(self, part: I2cPart) -> bytes:
        part.poke(frames.WAKE_ADDRESS)
        part.sleep(frames.WAKE_S)
        return part.read(len(frames.WOKEN))

    def _answer(self, part: I2cPart, command: bytes) -> bytes:
        """Send a command and ask until the part acknowledges its address again."""
        part.write(command)
        deadline_ms = self._clock.monotonic_ms() + round(COMMAND_TIMEOUT_S * 1000)
        while True:
            part.sleep(POLL_S)
            try:
                return frames.decode_answer(part.read(frames.ANSWER_BYTES_MAX))
            except NobodyAnswers:
                if self._clock.monotonic_ms() >= deadline_ms:
                    raise


def _sized(data: bytes, length: int, what: str) -> bytes:
    if len(data) != length:
        raise DeviceError(f"The ATECC608 sent a {what} of {len(data)} bytes, not {length}.")
    return data
