"""The line to a ZFM module: one command after another, each with its own answer, at a speed that both ends use.

The wire has no numbers: an answer that comes late looks like the next command's, and would pass one finger's picture
off for another's. So after every answer that was missed the line is brought into step again by a question whose answer
looks like no other; the module answers in order, so nothing older can follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

from contract.clock import Clock
from contract.errors import DeviceError
from edge.sensors.fingerprint_zfm_frames import (
    BAUD_FACTOR_MAX,
    BAUD_STEP,
    Code,
    Instruction,
    Noise,
    Packet,
    PacketReader,
    Parameter,
    Pid,
    encode_command,
)
from edge.sensors.serial_link import ByteLink, LinkOpener

COMMAND_ATTEMPTS = 3
PROBE_TIMEOUT_S = 0.3
QUIET_S = 0.05
DRAIN_S_MAX = 15.0
STEP_TIMEOUTS = 3  # how many time-outs a late answer is waited for
REPLY_BYTES = {Instruction.READ_SYS_PARA: 16, Instruction.TEMPLATE_COUNT: 2}
BAUDS_TRIED = (57600, 115200, 9600, 38400, 19200)
WIRING = "Check cable, power and baud of the module, then run 'rekam-edge selftest'."


@dataclass(frozen=True, slots=True)
class Reply:
    """An acknowledgement: its code, what came with it, and what was already read behind it."""

    code: int
    parameters: bytes
    behind: tuple[Packet | Noise, ...]


class ZfmLink:
    """An open line to one module. noise_bytes: what came and belonged to nothing."""

    def __init__(
        self, port: str, baud: int, address: int, command_timeout_s: float, open_link: LinkOpener, clock: Clock
    ) -> None:
        self.baud = baud
        self.noise_bytes = 0
        self._port, self._address, self._clock = port, address, clock
        self._command_timeout_s = command_timeout_s
        self._reader = PacketReader(address)
        self._link: ByteLink = open_link(port, baud)

    def close(self) -> None:
        """Release the port."""
        self._link.close()

    def command(self, instruction: Instruction, parameters: bytes = b"") -> Reply:
        """Send a command until it is answered. Every command used here may be repeated: none changes a later one."""
        for _ in range(COMMAND_ATTEMPTS):
            reply = self._exchange(instruction, parameters, self._command_timeout_s)
            if reply is None:
                if not self._step():
                    break
            elif reply.code != Code.RECEIVE_ERROR:
                return reply
            else:
                self.drain()
        raise DeviceError(
            f"The fingerprint module on {self._port} does not answer {instruction.name}.", next_step=WIRING
        )

    def read(self) -> list[Packet | Noise] | None:
        """What came within a command's time-out; None where nothing did."""
        data = self._link.read(self._command_timeout_s)
        return self._reader.feed(data) if data else None

    def drain(self) -> None:
        """Read until the line is quiet, so that the next answer is not looked for in the rest of the last."""
        end_ms = self._clock.monotonic_ms() + round(DRAIN_S_MAX * 1000)
        while self._clock.monotonic_ms() < end_ms:
            data = self._link.read(QUIET_S)
            if not data:
                break
            self.noise_bytes += len(data)
        self._reader.reset()

    def find_speed(self) -> None:
        """Ask at the configured speed, then at the other usual ones. Raises DeviceError."""
        for baud in (self.baud, *(b for b in BAUDS_TRIED if b != self.baud)):
            if self._answers_at(baud, 2) and self._step():  # the first command after noise may be lost in it
                return
        raise DeviceError(
            f"No fingerprint module answers on {self._port} at {', '.join(map(str, BAUDS_TRIED))} bit/s.",
            next_step="Check wiring (TX and RX crossed), power and address of the module.",
        )

    def raise_speed(self, baud_max: int) -> None:
        """Ask for a higher speed; where the module cannot be heard at it, stay at the old one. Raises DeviceError."""
        factor = min(baud_max // BAUD_STEP, BAUD_FACTOR_MAX)
        old, new = self.baud, factor * BAUD_STEP
        if self.command(Instruction.SET_SYS_PARA, bytes([Parameter.BAUD, factor])).code != Code.OK:
            return
        for baud in (new, old):
            if self._answers_at(baud, COMMAND_ATTEMPTS) and self._step():
                return
        raise DeviceError(f"The fingerprint module was lost between {old} and {new} bit/s.", next_step=WIRING)

    def _answers_at(self, baud: int, attempts: int) -> bool:
        self._link.set_baud(baud)
        for _ in range(attempts):
            if self._exchange(Instruction.READ_SYS_PARA, b"", PROBE_TIMEOUT_S) is not None:
                self.baud = baud
                return True
        return False

    def _exchange(self, instruction: Instruction, parameters: bytes, timeout_s: float) -> Reply | None:
        """One command and the first acknowledgement that can be its own within timeout_s, or None."""
        self._link.discard_input()
        self._reader.reset()
        self._link.write(encode_command(instruction, parameters, self._address))
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        while (remaining_ms := deadline_ms - self._clock.monotonic_ms()) > 0:
            events = self._reader.feed(self._link.read(remaining_ms / 1000))
            for index, event in enumerate(events):
                if isinstance(event, Packet) and event.pid is Pid.ACK and _may_answer(instruction, event.payload):
                    return Reply(event.payload[0], event.payload[1:], tuple(events[index + 1 :]))
                self.noise_bytes += event.count if isinstance(event, Noise) else len(event.payload)
        self.noise_bytes += self._reader.reset()
        return None

    def _step(self) -> bool:
        """Bring both ends into step: whether a question came back whose answer no other command has."""
        patience_ms = round(max(PROBE_TIMEOUT_S, STEP_TIMEOUTS * self._command_timeout_s) * 1000)
        for marker in (Instruction.TEMPLATE_COUNT, Instruction.READ_SYS_PARA):
            self._reader.reset()
            self._link.write(encode_command(marker, b"", self._address))
            asked_ms = heard_ms = self._clock.monotonic_ms()
            while heard_ms - asked_ms < DRAIN_S_MAX * 1000:
                left_ms = heard_ms + patience_ms - self._clock.monotonic_ms()
                data = self._link.read(left_ms / 1000) if left_ms > 0 else b""
                if not data:
                    break
                heard_ms = self._clock.monotonic_ms()
                for event in self._reader.feed(data):
                    if isinstance(event, Packet) and event.pid is Pid.ACK and _is_answer(marker, event.payload):
                        return True
                    self.noise_bytes += event.count if isinstance(event, Noise) else len(event.payload)
        return False


def _is_answer(instruction: Instruction, payload: bytes) -> bool:
    if payload == bytes([Code.VERIFY_FIRST]):
        return True  # a module that is locked answers nothing else before its password
    return payload[0] == Code.OK and len(payload) - 1 == REPLY_BYTES.get(instruction, 0)


def _may_answer(instruction: Instruction, payload: bytes) -> bool:
    """Whether an acknowledgement can be this instruction's: success carries as much as it should."""
    return payload[0] != Code.OK or _is_answer(instruction, payload)
