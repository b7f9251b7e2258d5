"""Every byte of a session lost, flipped or doubled: no wrong picture is ever taken, and nothing outlasts its time-out.

The session is played in memory with injected time: the module's twin answers at once, and a read that finds nothing
moves the clock on by its time-out.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import numpy as np
import pytest

from contract.errors import CaptureRetry, DeviceError, RekamError
from contract.sample import FingerPosition
from edge.sensors.fingerprint_zfm import ZfmScanner
from edge.sensors.fingerprint_zfm_frames import OVERHEAD_BYTES
from edge.sensors.fingerprint_zfm_link import DRAIN_S_MAX
from virtual.fingerprint_twin import FingerprintModule

WIDTH, HEIGHT = 32, 24
TIMEOUT_S = 5.0
SESSION_S_MAX = 60.0
DATA_BYTES = 64
Damage = Callable[[bytes, int], bytes]


class PlayedClock:
    """Time that moves only where somebody waits."""

    def __init__(self) -> None:
        self.now_ms = 0

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


class PlayedLink:
    """A line to the twin that damages the byte at one place of the whole session, once, towards host or module."""

    def __init__(self, module: FingerprintModule, clock: PlayedClock, damage: Damage, *, upwards: bool) -> None:
        self.module, self.clock, self.damage, self.upwards = module, clock, damage, upwards
        self.waiting = bytearray()
        self.sent_up = self.sent_down = 0

    def write(self, data: bytes) -> None:
        whole = self.sent_down
        self.sent_down += len(data)
        self.module.receive(data if self.upwards else self.damage(data, whole), self.clock.now_ms / 1000)
        answer = self.module.take(self.clock.now_ms / 1000)
        whole = self.sent_up
        self.sent_up += len(answer)
        self.waiting += self.damage(answer, whole) if self.upwards else answer

    def read(self, timeout_s: float) -> bytes:
        if not self.waiting:
            self.clock.now_ms += max(1, round(timeout_s * 1000))
            return b""
        self.clock.now_ms += 1
        data = bytes(self.waiting[:200])
        del self.waiting[:200]
        return data

    def set_baud(self, baud: int) -> None:
        return None

    def discard_input(self) -> None:
        self.waiting.clear()

    def close(self) -> None:
        self.waiting.clear()


class PlayedCancel(threading.Event):
    """A cancel event whose waits pass in played time."""

    def __init__(self, clock: PlayedClock) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.now_ms += round((timeout or 0) * 1000)
        return self.is_set()


def finger() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """A picture in which no two rows are alike, so that a lost or doubled piece shows."""
    levels = np.random.default_rng(7).integers(0, 16, (HEIGHT, WIDTH), dtype=np.uint8)
    return (levels * 17).astype(np.uint8)


def play(damage: Damage, *, upwards: bool = True) -> tuple[PlayedLink, bool]:
    """One session: open, capture, close. Returns the line and whether a picture was taken; checks what it is."""
    clock = PlayedClock()
    module = FingerprintModule(width_px=WIDTH, height_px=HEIGHT, data_bytes=DATA_BYTES)
    link = PlayedLink(module, clock, damage, upwards=upwards)
    scanner = ZfmScanner(
        port="played", width_px=WIDTH, height_px=HEIGHT, open_link=lambda port, baud: link, clock=clock
    )
    taken = False
    try:
        scanner.open()
        module.place(finger())
        frame = scanner.capture(FingerPosition.RIGHT_INDEX, TIMEOUT_S, PlayedCancel(clock))
        taken = True
        assert np.array_equal(frame.pixels, finger()), "a damaged picture was taken"
    except RekamError as error:
        assert isinstance(error, CaptureRetry | DeviceError)
    finally:
        scanner.close()
    assert clock.now_ms <= SESSION_S_MAX * 1000
    return link, taken


def undamaged(data: bytes, first: int) -> bytes:
    return data


def at(place: int, change: Callable[[int], bytes]) -> Damage:
    """Damage of the byte at `place` of the session."""

    def damage(data: bytes, first: int) -> bytes:
        inside = place - first
        if not 0 <= inside < len(data):
            return data
        return data[:inside] + change(data[inside]) + data[inside + 1 :]

    return damage


KINDS: dict[str, Callable[[int], bytes]] = {
    "lost": lambda byte: b"",
    "flipped low": lambda byte: bytes([byte ^ 0x01]),
    "flipped high": lambda byte: bytes([byte ^ 0x80]),
    "inverted": lambda byte: bytes([byte ^ 0xFF]),
    "doubled": lambda byte: bytes([byte, byte]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("upwards", [True, False], ids=["to host", "to module"])
def test_one_damaged_byte_anywhere_costs_a_repetition_and_no_picture(kind: str, *, upwards: bool) -> None:
    link, taken = play(undamaged)
    assert taken
    length = link.sent_up if upwards else link.sent_down
    assert length > (WIDTH * HEIGHT // 2 if upwards else OVERHEAD_BYTES)
    missed = [place for place in range(length) if not play(at(place, KINDS[kind]), upwards=upwards)[1]]
    assert missed == []


@pytest.mark.parametrize("kind", ["cut", "cut to module"])
def test_a_line_that_falls_silent_anywhere_ends_in_an_error_in_time(kind: str) -> None:
    link, _ = play(undamaged)
    upwards = kind == "cut"
    for place in range(link.sent_up if upwards else link.sent_down):

        def cut(data: bytes, first: int, place: int = place) -> bytes:
            return data[: max(0, place - first)]

        assert not play(cut, upwards=upwards)[1]


def test_a_whole_data_packet_lost_without_a_trace_is_noticed() -> None:
    packet = DATA_BYTES + OVERHEAD_BYTES
    link, _ = play(undamaged)
    last = link.sent_up
    for number in range(1, 5):
        start = last - number * packet

        def drop(data: bytes, first: int, start: int = start) -> bytes:
            inside = start - first
            return data[:inside] + data[inside + packet :] if 0 <= inside < len(data) else data

        _, taken = play(drop)
        assert taken


@pytest.mark.parametrize("seed", range(40))
def test_a_noisy_line_never_yields_a_wrong_picture(seed: int) -> None:
    chance = random.Random(seed)
    rate = chance.choice([0.0005, 0.002, 0.01])

    def noisy(data: bytes, first: int) -> bytes:
        out = bytearray()
        for byte in data:
            luck = chance.random()
            if luck < rate:
                continue
            out.append(byte ^ 1 << chance.randrange(8) if luck < 2 * rate else byte)
            if luck > 1 - rate:
                out.append(chance.randrange(256))
        return bytes(out)

    play(noisy)


def test_draining_is_bounded() -> None:
    assert DRAIN_S_MAX < SESSION_S_MAX
