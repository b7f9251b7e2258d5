"""A bad serial line in virtual time with the controller link's two ends on it, and what is checked of every delivery.

The line carries bytes at its speed, flips bits and loses bytes at given rates, and cuts what arrives into pieces. Each
end sends numbered messages; a delivery that is not the very next message of the other end is an error.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass

from firmware.link import Link

NUMBER_KIND = 40
BAUD = 115200


class Damage:
    """Flips bits and loses bytes at rates per bit and per byte, by drawing the gaps between them."""

    def __init__(self, seed: int, bit_error_rate: float = 0.0, byte_loss_rate: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._flip_rate, self._loss_rate = bit_error_rate, byte_loss_rate
        self._to_flip = self._gap(bit_error_rate)
        self._to_loss = self._gap(byte_loss_rate)
        self.flipped = self.lost = 0

    def _gap(self, rate: float) -> int:
        return int(math.log(1.0 - self._random.random()) / math.log1p(-rate)) if rate else 1 << 62

    def carry(self, data: bytes) -> bytes:
        """What comes out at the other end."""
        out = bytearray(data)
        bits = len(out) * 8
        while self._to_flip < bits:
            out[self._to_flip // 8] ^= 1 << self._to_flip % 8
            self.flipped += 1
            self._to_flip += 1 + self._gap(self._flip_rate)
        self._to_flip -= bits
        kept = bytearray()
        start = 0
        while self._to_loss < len(out):
            kept += out[start : self._to_loss]
            start = self._to_loss + 1
            self.lost += 1
            self._to_loss += 1 + self._gap(self._loss_rate)
        self._to_loss -= len(out)
        return bytes(kept + out[start:])


def numbered(number: int, sender: int) -> bytes:
    """The message of a number: its length and content follow from it, so that a wrong delivery shows."""
    content = random.Random(number * 2 + sender)
    length = content.choice((8, 12, 20, 20, 40, 90, 196))
    return number.to_bytes(4, "little") + content.randbytes(length)


@dataclass(slots=True)
class Tally:
    """What one end received. wrong: deliveries that were not the next message; doubled or skipped ones are wrong."""

    sent: int = 0
    received: int = 0
    wrong: int = 0


class BadLine:
    """Two ends and the line between them. Time runs in whole milliseconds and only as fast as things happen."""

    def __init__(self, seed: int, bit_error_rate: float, byte_loss_rate: float) -> None:
        self.now_ms = 0
        self.ends = (Link(seed * 2 + 1, b"host"), Link(seed * 2 + 2, b"board"))
        self.tallies = (Tally(), Tally())
        self._damage = tuple(Damage(seed * 2 + way, bit_error_rate, byte_loss_rate) for way in (0, 1))
        self._under_way: tuple[deque[tuple[int, bytes]], ...] = (deque(), deque())
        self._line_free_ms = [0.0, 0.0]
        self._random = random.Random(seed)

    @property
    def frames(self) -> int:
        """Frames that both ends have put on the line."""
        return sum(end.frames_out for end in self.ends)

    def run(self, frames: int, *, sending: bool = True) -> None:
        """Go on until so many frames are on the line; with sending=False only what is queued is brought over."""
        while self.frames < frames:
            self.step(sending=sending)

    def settle(self, steps_max: int = 1_000_000) -> bool:
        """Bring over what is queued; False where that does not end."""
        for _ in range(steps_max):
            if all(end.idle() for end in self.ends):
                return True
            self.step(sending=False)
        return False

    def step(self, *, sending: bool) -> None:
        """Both ends act, then time goes on to the next thing that happens."""
        for way, end in enumerate(self.ends):
            tally = self.tallies[way]
            while sending and end.room() > 8:
                end.send(NUMBER_KIND, numbered(tally.sent, way))
                tally.sent += 1
            data = end.take(self.now_ms)
            if data:
                start = max(self._line_free_ms[way], self.now_ms)
                self._line_free_ms[way] = start + len(data) * 10_000 / BAUD
                arrives_ms = math.ceil(self._line_free_ms[way])
                self._under_way[way].append((arrives_ms, self._damage[way].carry(data)))
        nexts = [self.now_ms + max(1, end.wait_ms(self.now_ms)) for end in self.ends]
        nexts += [queue[0][0] for queue in self._under_way if queue]
        self.now_ms = max(self.now_ms, min(nexts))
        for way in (0, 1):
            self._arrive(way)

    def _arrive(self, way: int) -> None:
        receiver, queue, sender = self.ends[1 - way], self._under_way[way], self.tallies[way]
        while queue and queue[0][0] <= self.now_ms:
            data = queue.popleft()[1]
            cut = self._random.randint(0, len(data))
            for piece in (data[:cut], data[cut:]):
                receiver.receive(piece, self.now_ms)
            while (message := receiver.next_message()) is not None:
                sender.wrong += message != (NUMBER_KIND, numbered(sender.received, way))
                sender.received += 1
