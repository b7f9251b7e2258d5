"""Driver of iris cameras that give a near-infrared picture per HTTP request, one URL for each eye."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError
from contract.sample import IrisPosition
from edge.sensors.http_snapshot import SnapshotClient, decode_picture
from edge.sensors.interface import DeviceInfo, Frame

BURST_MAX = 30


class SnapshotIrisScanner:
    """An IrisScanner.

    url_right, url_left: the picture of the person's right and left eye. timeout_s: for identifying the camera at
    open. credentials_file: user:password for digest authentication. burst: pictures of each eye, as far as time allows.
    """

    def __init__(
        self,
        *,
        url_right: str,
        url_left: str,
        timeout_s: float = 10.0,
        credentials_file: str = "",
        burst: int = 3,
        clock: Clock | None = None,
    ) -> None:
        if not 1 <= burst <= BURST_MAX:
            raise DeviceError(f"burst lies in 1–{BURST_MAX}.")
        self._burst = burst
        self._urls = {IrisPosition.RIGHT: url_right, IrisPosition.LEFT: url_left}
        self._timeout_s, self._credentials_file = timeout_s, credentials_file
        self._clock = clock or SystemClock()
        self._client: SnapshotClient | None = None

    def open(self) -> DeviceInfo:
        """Fetch one picture of each eye. Raises DeviceError where the camera gives none."""
        self.close()
        self._client = SnapshotClient(self._clock, self._credentials_file)
        frames = self.capture(tuple(self._urls), self._timeout_s, threading.Event())
        height, width = frames[0].pixels.shape
        return DeviceInfo(
            driver="snapshot", model=f"network iris camera, {width}×{height}", capabilities=("right", "left", "burst")
        )

    def close(self) -> None:
        """Drop the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def burst(
        self, positions: Sequence[IrisPosition], timeout_s: float, cancel: threading.Event
    ) -> Sequence[Sequence[Frame]]:
        """Several pictures of each asked eye, in turn; another round only where the slowest so far would still fit."""
        began_ms = before_ms = self._clock.monotonic_ms()
        rounds, slowest_ms = list[Sequence[Frame]](), 0
        while len(rounds) < self._burst:
            left_s = timeout_s - (before_ms - began_ms) / 1000
            if rounds and left_s * 1000 <= 2 * slowest_ms:
                break
            rounds.append(self.capture(positions, left_s, cancel))
            now_ms = self._clock.monotonic_ms()
            slowest_ms, before_ms = max(slowest_ms, now_ms - before_ms), now_ms
        return [list(pictures) for pictures in zip(*rounds, strict=True)]

    def capture(self, positions: Sequence[IrisPosition], timeout_s: float, cancel: threading.Event) -> Sequence[Frame]:
        """One grey picture (H, W) for each asked eye, in the asked order; timeout_s bounds all of them together."""
        if self._client is None:
            raise DeviceError("The iris camera is not open.")
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        frames = []
        for position in positions:
            if position not in self._urls:
                raise DeviceError("The iris camera was asked for an unknown eye.")
            left_s = (deadline_ms - self._clock.monotonic_ms()) / 1000
            if left_s <= 0:
                raise DeviceError("The iris camera did not give both eyes in time.")
            data, metadata = self._client.fetch(self._urls[position], left_s, cancel)
            eye = IrisPosition(position).name
            frames.append(Frame(pixels=decode_picture(data, colour=False), metadata={**metadata, "eye": eye}))
        return frames
