"""Driver of network cameras that give a picture per HTTP request: the portrait camera of many kiosks."""

from __future__ import annotations

import threading

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError
from edge.sensors.http_snapshot import SnapshotClient, decode_picture, is_small_jpeg, reduced
from edge.sensors.interface import DeviceInfo, Frame

PREVIEW_WIDTH_PX = 480


class SnapshotCamera:
    """A Camera.

    url: of the full picture; preview_url: of a smaller one where the camera has it, else the full one is reduced.
    timeout_s: for identifying the camera at open. credentials_file: user:password for digest authentication.
    """

    def __init__(
        self,
        *,
        url: str,
        preview_url: str = "",
        timeout_s: float = 10.0,
        credentials_file: str = "",
        clock: Clock | None = None,
    ) -> None:
        self._url, self._preview_url = url, preview_url or url
        self._timeout_s, self._credentials_file = timeout_s, credentials_file
        self._clock = clock or SystemClock()
        self._client: SnapshotClient | None = None

    def open(self) -> DeviceInfo:
        """Fetch one picture. Raises DeviceError where the camera gives none."""
        self.close()
        self._client = SnapshotClient(self._clock, self._credentials_file)
        frame = self.capture(self._timeout_s, threading.Event())
        height, width = frame.pixels.shape[:2]
        return DeviceInfo(
            driver="snapshot",
            model=f"network camera, {width}×{height}, {frame.metadata.get('content_type', '')}",
            capabilities=("portrait", "preview"),
        )

    def close(self) -> None:
        """Drop the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def capture(self, timeout_s: float, cancel: threading.Event) -> Frame:
        """The picture of this moment, RGB (H, W, 3)."""
        data, metadata = self._opened().fetch(self._url, timeout_s, cancel)
        return Frame(pixels=decode_picture(data, colour=True), metadata=metadata)

    def preview(self, timeout_s: float) -> Frame:
        """A picture no wider than PREVIEW_WIDTH_PX."""
        return _small(*self._opened().fetch(self._preview_url, timeout_s, threading.Event()))

    def preview_encoded(self, timeout_s: float) -> bytes | Frame:
        """The same as the camera sent it, where that is a small JPEG."""
        data, metadata = self._opened().fetch(self._preview_url, timeout_s, threading.Event())
        return data if is_small_jpeg(data, PREVIEW_WIDTH_PX) else _small(data, metadata)

    def _opened(self) -> SnapshotClient:
        if self._client is None:
            raise DeviceError("The camera is not open.")
        return self._client


def _small(data: bytes, metadata: dict[str, str]) -> Frame:
    return Frame(pixels=reduced(decode_picture(data, colour=True), PREVIEW_WIDTH_PX), metadata=metadata)
