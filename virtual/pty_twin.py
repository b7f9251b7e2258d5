"""A pseudo-terminal behind which a serial device's twin answers, with the faults that real cables have.

The twin's protocol is a state machine without I/O (`SerialDevice`); this module moves its bytes, at line speed where
that is asked, and loses, flips, delays or invents some of them where a fault is set. Unplugging closes the terminal
and removes its link, as a USB adapter does; plugging in makes a new one behind the same link.
"""

from __future__ import annotations

import os
import pty
import random
import select
import termios
import threading
import time
import tty
from collections import deque
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Protocol

READ_BYTES = 4096
PENDING_BYTES_MAX = 4 * 1024 * 1024
IDLE_S = 5.0
BITS_PER_BYTE = 10
SPEEDS = {getattr(termios, f"B{baud}"): baud for baud in (9600, 19200, 38400, 57600, 115200)}


class SerialDevice(Protocol):
    """The device's side of the wire, without I/O."""

    def receive(self, data: bytes, now_s: float) -> None:
        """Bytes from the host."""
        ...

    def take(self, now_s: float) -> bytes:
        """Bytes for the host that are due now."""
        ...

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until more may be due; None when only the host can cause any."""
        ...

    @property
    def baud(self) -> int:
        """The line speed the device listens and talks at; 0 when it does not matter."""
        ...


@dataclass(slots=True)
class WireFaults:
    """What goes wrong on the wire towards the host.

    Rates are per byte, 0 to 1; late_s delays every answer; mute swallows all. seed makes a run repeatable.
    """

    lost_per_byte: float = 0.0
    flipped_per_byte: float = 0.0
    noise_per_byte: float = 0.0
    late_s: float = 0.0
    mute: bool = False
    seed: int = 1
    _random: random.Random = field(default_factory=lambda: random.Random(1), repr=False)

    @classmethod
    def named(cls, settings: dict[str, float | bool]) -> WireFaults:
        """Faults from the fields of a control message. Raises ValueError for a field that does not exist."""
        known = {f.name for f in fields(cls) if not f.name.startswith("_")}
        if unknown := sorted(set(settings) - known):
            raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        faults = cls(**settings)  # type: ignore[arg-type]  # the names are checked above
        faults._random = random.Random(faults.seed)
        return faults

    def damage(self, data: bytes) -> bytes:
        """What is left of `data` at the host's end."""
        if self.mute:
            return b""
        if not (self.lost_per_byte or self.flipped_per_byte or self.noise_per_byte):
            return data
        chance, out = self._random, bytearray()
        for byte in data:
            if chance.random() < self.noise_per_byte:
                out.append(chance.randrange(256))
            if chance.random() < self.lost_per_byte:
                continue
            out.append(byte ^ 1 << chance.randrange(8) if chance.random() < self.flipped_per_byte else byte)
        return bytes(out)


class PtyTwin:
    """One serial device on a pseudo-terminal, served by a thread.

    link: where the terminal's name appears, such as /run/rekam/desk-a1/finger; "" for none. paced: bytes go out at
    the device's line speed instead of at once.
    """

    def __init__(self, device: SerialDevice, link: Path | None = None, *, paced: bool = False) -> None:
        self.device = device
        self.faults = WireFaults()
        self.lock = threading.Lock()
        self._link, self._paced = link, paced
        self._master = self._slave = -1
        self._wake_read, self._wake_write = os.pipe()
        self._outgoing: deque[tuple[float, bytes]] = deque()
        self._line_free_s = 0.0
        self._stopping = False
        self.plug_in()
        self._thread = threading.Thread(target=self._serve, name=f"twin-{link or 'pty'}", daemon=True)
        self._thread.start()

    @property
    def port(self) -> str:
        """The path for the driver: the link where there is one, else the terminal itself."""
        return str(self._link) if self._link else os.ttyname(self._slave)

    def plug_in(self) -> None:
        """Make the terminal and its link; nothing where it is plugged in already."""
        with self.lock:
            if self._master >= 0:
                return
            self._master, self._slave = pty.openpty()
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            if self._link:
                self._link.parent.mkdir(parents=True, exist_ok=True)
                self._link.unlink(missing_ok=True)
                self._link.symlink_to(os.ttyname(self._slave))
        self.wake()

    def unplug(self) -> None:
        """Close the terminal: the driver's next read or write fails, and opening the link finds nothing."""
        with self.lock:
            self._unplug()
        self.wake()

    def wake(self) -> None:
        """Let the thread look again, after something was changed on the device."""
        os.write(self._wake_write, b"w")

    def close(self) -> None:
        """Unplug and end the thread."""
        self._stopping = True
        self.wake()
        self._thread.join(5)
        self.unplug()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _unplug(self) -> None:
        if self._master < 0:
            return
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1
        self._outgoing.clear()
        if self._link:
            self._link.unlink(missing_ok=True)

    def _serve(self) -> None:
        while not self._stopping:
            with self.lock:
                master, wait_s = self._master, self._step()
                reading = [self._wake_read, master] if master >= 0 else [self._wake_read]
                blocked = bool(self._outgoing) and wait_s <= 0 and master >= 0
            try:
                select.select(reading, [master] if blocked else [], [], IDLE_S if blocked else wait_s)
            except (OSError, ValueError):
                continue  # unplugged between the two lines; the next round sees it
            if select.select([self._wake_read], [], [], 0)[0]:
                os.read(self._wake_read, READ_BYTES)

    def _step(self) -> float:
        """Move what can be moved now; returns the seconds until the next thing is due."""
        now_s = time.monotonic()
        if self._master < 0:
            return IDLE_S
        try:
            data = os.read(self._master, READ_BYTES)
        except OSError:  # nothing there, which a terminal without a reader reports as a failure
            data = b""
        heard = self._speeds_agree()  # before an answer that changes the speed leaves at the old one
        if data and heard:
            self.device.receive(data, now_s)
        out = self.device.take(now_s)
        if out and heard:
            self._queue(self.faults.damage(out), now_s + self.faults.late_s)
        self._write(now_s)
        waits = [IDLE_S, 0.0 if data else IDLE_S]
        if (device_wait_s := self.device.wait_s(now_s)) is not None:
            waits.append(device_wait_s)
        if self._outgoing:
            waits.append(self._outgoing[0][0] - now_s)
        return max(0.0, min(waits))

    def _queue(self, data: bytes, due_s: float) -> None:
        """Line up bytes for the host; those that no host would ever read are dropped."""
        if sum(len(chunk) for _, chunk in self._outgoing) + len(data) > PENDING_BYTES_MAX:
            return
        if not self._paced or not self.device.baud:
            self._outgoing.append((due_s, data))
            return
        slice_bytes = max(1, self.device.baud // BITS_PER_BYTE // 500)
        start_s = max(due_s, self._line_free_s)
        for offset in range(0, len(data), slice_bytes):
            piece = data[offset : offset + slice_bytes]
            start_s += len(piece) * BITS_PER_BYTE / self.device.baud
            self._outgoing.append((start_s, piece))
        self._line_free_s = start_s

    def _write(self, now_s: float) -> None:
        while self._outgoing and self._outgoing[0][0] <= now_s:
            due_s, data = self._outgoing[0]
            try:
                sent = os.write(self._master, data)
            except OSError:  # full until the driver reads
                return
            if sent == len(data):
                self._outgoing.popleft()
            else:
                self._outgoing[0] = (due_s, data[sent:])

    def _speeds_agree(self) -> bool:
        """Whether the host set the line speed that the device uses; elsewise each hears nothing it understands."""
        if not self.device.baud:
            return True
        return SPEEDS.get(termios.tcgetattr(self._slave)[5], 0) == self.device.baud
