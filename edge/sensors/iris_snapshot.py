"""Driver of iris cameras that give a near-infrared picture per HTTP request, one URL for each eye."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError
from contract.sample import IrisPosition
from edge.sensors.http_snapshot import SnapshotClient, decode_picture
from edge.sensors.interface import DeviceInfo, Frame


class SnapshotIrisScanner:
    """An IrisScanner.

    url_right, url_left: the picture of the person's right and left eye. timeout_s: for identifying the camera at
    open. credentials_file: user:password for digest authentication.
    """

    def __init__(
        self,
        *,
        url_right: str,
        url_left: str,
        timeout_s: float = 10.0,
        credentials_file: str = "",
        clock: Clock | None = None,
    ) -> None:
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
            driver="snapshot", model=f"network iris camera, {width}×{height}", capabilities=("right", "left")
        )

    def close(self) -> None:
        """Drop the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

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
