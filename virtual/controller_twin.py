"""The controller board as a twin: its own firmware in the MicroPython VM, with what surrounds a chip simulated.

The firmware's modules run as bytecode, unchanged, in a heap of 64 KB, over a simulated `machine` (firmware/sim). This
module is the rest of the board: flash (a folder), switches, steppers with a card and a jam, thermistor, power, and a
watchdog that bites. The host's side is a pseudo-terminal with the faults of a real cable in both directions.

    python -m virtual.controller_twin --link /run/rekam/controller --flash DIR     until SIGTERM
"""

from __future__ import annotations

import argparse
import ast
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from provisioning.firmware_image import SOURCE, Image, build_image, compile_file, install_image
from virtual.pty_twin import PtyTwin, WireFaults

HEAP_KB = 64
FIRMWARE = ("main.py",)
TECHNICIANS_PORT = ("-m", "raw_repl")
READ_BYTES = 4096
RESET_EXIT_CODE = 3
POWER_ON, BITTEN = 1, 3
HIGH_MEANS_IT = frozenset({"presence", "tamper", "door"})
QUIET_INPUTS = {"presence": False, "tamper": False, "door": False}
STEPPERS = (("hopper_step", "hopper_direction", "hopper_home"), ("gate_step", "gate_direction", "gate_home"))
CARD_AT_STEPS = 700
NTC_BETA, NTC_KELVIN = 3950.0, 298.15


def board_pins(board: str) -> dict[str, int]:
    """The pins of a port by name, read from its source, which a computer cannot import."""
    tree = ast.parse((SOURCE / (board + ".py")).read_text(encoding="utf-8"))
    return {
        ast.unparse(node.targets[0]).lower(): int(ast.literal_eval(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }


@dataclass(slots=True)
class Stepper:
    """A motor and what it moves. at: steps from its home switch; stuck: nothing moves."""

    at: int = 30
    forward: bool = False
    stuck: bool = False
    steps: int = 0

    def step(self) -> None:
        """One step in the direction that is set."""
        self.steps += 1
        if not self.stuck:
            self.at = max(-3, self.at + (1 if self.forward else -1))


@dataclass(slots=True)
class Seen:
    """What the board shows. levels: outputs by pin name; duties: PWM shares of 65535; tones: Hz; boots: starts."""

    levels: dict[str, int] = field(default_factory=dict)
    duties: dict[str, int] = field(default_factory=dict)
    tones: list[int] = field(default_factory=list)
    ring: list[tuple[int, ...]] = field(default_factory=list)
    boots: int = 0
    bites: int = 0
    said: list[str] = field(default_factory=list)


class _Wire:
    """The VM's serial line as a SerialDevice for the pseudo-terminal."""

    baud = 0

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.faults = WireFaults()
        self._send = send
        self._waiting = bytearray()
        self._lock = threading.Lock()

    def receive(self, data: bytes, now_s: float) -> None:
        """From the host to the board, damaged where that is asked."""
        self._send(self.faults.damage(data))

    def put(self, data: bytes) -> None:
        """From the board to the host."""
        with self._lock:
            self._waiting += data

    def take(self, now_s: float) -> bytes:
        """What the board has said since."""
        with self._lock:
            data = bytes(self._waiting)
            self._waiting.clear()
        return data

    def wait_s(self, now_s: float) -> float | None:
        """The board wakes the terminal itself."""
        return None


class ControllerTwin:
    """One board, powered. flash: its flash as a folder, filled from `image` where it is empty.

    link: where the host finds the port. board: board_rp2 or board_esp32. key: the board's HMAC key, as provisioning
    writes it. program: FIRMWARE, or TECHNICIANS_PORT for the raw REPL on the same flash. All methods may be called
    from any thread.
    """

    def __init__(
        self, image: Image | None, flash: Path, link: Path | None = None, *, board: str = "board_rp2", key: bytes = b"",
        heap_kb: int = HEAP_KB, program: tuple[str, ...] = FIRMWARE,
    ) -> None:  # fmt: skip
        self.flash = flash
        self.seen = Seen()
        self.steppers = (Stepper(), Stepper())
        self.cards = 5
        self.card_out = False
        self._pins = board_pins(board)
        self._names = {number: name for name, number in self._pins.items()}
        self._heap_kb = heap_kb
        self._cause = POWER_ON
        self._powered = True
        self._stopping = False
        self._levels: dict[str, int] = {}
        self._raw = 32768
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._uart: socket.socket | None = None
        self._watchdog_ms = 0
        self._fed_s = 0.0
        self._program = program
        if image is not None and not (flash / "main.py").exists():
            install_image(image, flash, board, key)
        self._simulated = flash.parent / (flash.name + ".machine")
        self._simulated.mkdir(exist_ok=True)
        for source in (SOURCE / "sim").glob("*.py"):
            shutil.copy(source, self._simulated / source.name)
            compile_file(self._simulated / source.name).replace(self._simulated / (source.stem + ".mpy"))
            (self._simulated / source.name).unlink()
        for name, active in QUIET_INPUTS.items():
            self._levels[name] = int(active)
        self.wire = _Wire(self._send)
        self.terminal = PtyTwin(self.wire, link)
        self._thread = threading.Thread(target=self._serve, name="controller-twin", daemon=True)
        self._thread.start()

    @property
    def port(self) -> str:
        """The host's end of the line."""
        return self.terminal.port

    def fault(self, *, lost_per_byte: float = 0.0, flipped_per_byte: float = 0.0, seed: int = 1) -> None:
        """Make the cable bad in both directions, or good again."""
        for number, faults in enumerate((self.wire.faults, self.terminal.faults)):
            fresh = WireFaults.named(
                {"lost_per_byte": lost_per_byte, "flipped_per_byte": flipped_per_byte, "seed": seed + number}
            )
            faults.lost_per_byte, faults.flipped_per_byte = fresh.lost_per_byte, fresh.flipped_per_byte
            faults._random = fresh._random

    def set_input(self, name: str, active: bool) -> None:
        """Open the door, press the button, …: the state that matters is True."""
        with self._lock:
            self._levels[name] = int(active == (name in HIGH_MEANS_IT))
            self._tell(f"pin {self._pins[name]} {self._levels[name]}")

    def set_celsius(self, celsius: float | None) -> None:
        """The temperature at the LEDs; None cuts the thermistor."""
        with self._lock:
            ratio = math.exp(NTC_BETA * (1 / ((celsius or 0) + 273.15) - 1 / NTC_KELVIN))
            self._raw = 65535 if celsius is None else round(65535 * ratio / (1 + ratio))
            self._tell(f"adc {self._pins['thermistor']} {self._raw}")

    def take_card(self) -> None:
        """Somebody takes the card that lies at the exit."""
        with self._lock:
            self.card_out = False
            self._tell_switches()

    def hang(self) -> None:
        """Let the firmware hang where it is; the watchdog ends that."""
        with self._lock:
            self._tell("hang")

    def cut_power(self) -> None:
        """Power gone in the middle of whatever it is, and back at once."""
        with self._lock:
            self._cause = POWER_ON
            if self._process is not None:
                self._process.kill()

    def power(self, on: bool) -> None:
        """Switch the board off, or on again."""
        with self._lock:
            self._powered = on
            if not on:
                self.cut_power()

    def close(self) -> None:
        """End everything; the flash stays."""
        self._stopping = True
        with self._lock:
            if self._process is not None:
                self._process.kill()
        self._thread.join(5)
        self.terminal.close()

    # --- the chip's life ---

    def _serve(self) -> None:
        while not self._stopping:
            if not self._powered:
                time.sleep(0.01)
                continue
            process, line = self._start()
            code = self._follow(process, line)
            with self._lock:
                if self._uart is not None:
                    self._uart.close()
                self._process = self._uart = None
            if code == RESET_EXIT_CODE:
                self._cause = BITTEN  # as an RP2040 reports a wanted restart too

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, chips = socket.socketpair()
        chips.setblocking(False)
        ours.setblocking(False)
        environment = {
            "MICROPYPATH": f"{self._simulated}:.frozen",
            "UART": str(chips.fileno()),
            "RESET_CAUSE": str(self._cause),
            "UNIQUE_ID": "e66118604b4a2b21",
        }
        vm = Path(sys.executable).parent / "micropython"
        with self._lock:
            process = subprocess.Popen(
                [str(vm), "-X", f"heapsize={self._heap_kb}k", *self._program], cwd=self.flash, env=environment,
                pass_fds=(chips.fileno(),), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            chips.close()
            self._process, self._uart = process, ours
            self._watchdog_ms, self._fed_s = 0, time.monotonic()
            self.seen.boots += 1
            self._cause = POWER_ON
            for name, level in self._levels.items():
                self._tell(f"pin {self._pins[name]} {level}")
            self._tell(f"adc {self._pins['thermistor']} {self._raw}")
            self._tell_switches()
        return process, ours

    def _follow(self, process: subprocess.Popen[bytes], line: socket.socket) -> int:
        """Carry bytes and words until the chip stops; returns how it ended."""
        assert process.stdout is not None
        words, said = b"", process.stdout.fileno()
        while True:
            ready, _, _ = select.select([line.fileno(), said], [], [], 0.1)
            if line.fileno() in ready:
                self._carry(line)
            if said in ready:
                data = os.read(said, READ_BYTES)
                if not data:
                    break
                *complete, words = (words + data).split(b"\n")
                for word in complete:
                    self._hear(word.decode("ascii", "replace"))
            elif self._watchdog_ms and time.monotonic() - self._fed_s > self._watchdog_ms / 1000:
                with self._lock:
                    self.seen.bites += 1
                    self._watchdog_ms = 0
                    self._cause = BITTEN
                process.kill()
        if process.stdin is not None:
            process.stdin.close()
        process.stdout.close()
        return process.wait()

    def _carry(self, line: socket.socket) -> None:
        try:
            data = line.recv(READ_BYTES)
        except OSError:
            return
        if data:
            self.wire.put(data)
            self.terminal.wake()
        else:
            time.sleep(0.001)  # the chip has ended; its words end too

    def _send(self, data: bytes) -> None:
        """From the terminal's thread to the chip; what its buffer does not take is lost."""
        with self._lock:
            if self._uart is not None and data:
                try:
                    self._uart.send(data)
                except OSError:
                    return

    def _tell(self, words: str) -> None:
        stdin: IO[bytes] | None = self._process.stdin if self._process is not None else None
        if stdin is not None:
            try:
                stdin.write(words.encode() + b"\n")
                stdin.flush()
            except (OSError, ValueError):
                return

    def _hear(self, words: str) -> None:
        verb, _, rest = words.partition(" ")
        with self._lock:
            if verb == "fed":
                self._fed_s = time.monotonic()
            elif verb == "watchdog":
                self._watchdog_ms, self._fed_s = int(rest), time.monotonic()
            elif verb == "ring":
                self.seen.ring = list(ast.literal_eval(rest))
            elif verb == "pin":
                number, level = map(int, rest.split())
                self._driven(self._names.get(number, ""), level)
            elif verb == "pwm":
                number, duty, hertz = map(int, rest.split())
                self.seen.duties[self._names[number]] = duty
                if self._names[number] == "buzzer" and duty:
                    self.seen.tones.append(hertz)
            else:
                self.seen.said.append(words)

    def _driven(self, name: str, level: int) -> None:
        rising = level and not self.seen.levels.get(name)
        self.seen.levels[name] = level
        for stepper, (step, way, _) in zip(self.steppers, STEPPERS, strict=True):
            if name == way:
                stepper.forward = bool(level)
            elif name == step and rising:
                stepper.step()
                if stepper is self.steppers[0] and stepper.at == CARD_AT_STEPS and stepper.forward and self.cards:
                    self.cards, self.card_out = self.cards - 1, True
                self._tell_switches()

    def _tell_switches(self) -> None:
        switches = {home: stepper.at > 0 for stepper, (_, _, home) in zip(self.steppers, STEPPERS, strict=True)}
        switches["hopper_exit"] = not self.card_out
        for name, level in switches.items():
            if self._levels.get(name) != int(level):
                self._levels[name] = int(level)
                self._tell(f"pin {self._pins[name]} {int(level)}")


def main(arguments: list[str] | None = None) -> int:
    """Run one board until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m virtual.controller_twin", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--link", type=Path, required=True, help="where the port appears")
    parser.add_argument(
        "--flash", type=Path, required=True, help="folder that is the board's flash; made where missing"
    )
    parser.add_argument("--board", default="board_rp2", help="board_rp2 or board_esp32")
    parser.add_argument("--lost-per-byte", type=float, default=0.0, help="share of the bytes that the cable loses")
    options = parser.parse_args(arguments)
    options.flash.mkdir(parents=True, exist_ok=True)
    image = build_image(options.flash.parent / (options.flash.name + ".build"))
    twin = ControllerTwin(image, options.flash, options.link, board=options.board)
    twin.fault(lost_per_byte=options.lost_per_byte)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    stop.wait()
    twin.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
