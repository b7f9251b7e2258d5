"""One picture from a network camera: an HTTP GET that is bounded in time and size, and a picture checked at the door.

Network cameras answer a snapshot URL with the picture of that moment, as JPEG or PNG, often behind digest
authentication. What comes back is untrusted until it was decoded within limits.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from contract.clock import Clock
from contract.errors import CaptureRetry, DeviceError, RemoteError
from contract.image_formats import ImageFormat, decode_image, image_format
from edge.sensors.interface import Pixels

PICTURE_BYTES_MAX = 24 * 1024 * 1024
PIXELS_MAX = 48_000_000
SIDE_PX_MIN = 16
STALL_S_MAX = 2.0
JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
FORMATS = (ImageFormat.PNG, ImageFormat.JPEG)
CREDENTIALS_BYTES_MAX = 1024


class SnapshotClient:
    """Keeps the connection to one camera. credentials_file: a file with user:password, or empty."""

    def __init__(self, clock: Clock, credentials_file: str = "") -> None:
        self._clock = clock
        self._http = httpx.Client(
            auth=_credentials(credentials_file) if credentials_file else None,
            timeout=STALL_S_MAX,
            follow_redirects=False,
            trust_env=False,
        )

    def close(self) -> None:
        """Drop the connection."""
        self._http.close()

    def fetch(self, url: str, timeout_s: float, cancel: threading.Event) -> tuple[bytes, dict[str, str]]:
        """The body of a GET, and what the camera said about it.

        A camera that sends nothing for STALL_S_MAX is given up, so `cancel` is noticed within that time. Raises
        DeviceError on anything but one complete answer 200, CaptureRetry when cancelled.
        """
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        body = bytearray()
        try:
            with self._http.stream("GET", url, timeout=min(timeout_s, STALL_S_MAX)) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise DeviceError(
                        f"The camera answers {answer.status_code} for its snapshot.",
                        next_step="Check url and credentials_file of the camera, and that the camera is ready.",
                    )
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > PICTURE_BYTES_MAX:
                        raise DeviceError(f"The camera's picture is larger than {PICTURE_BYTES_MAX} bytes.")
                    if cancel.is_set():
                        raise CaptureRetry("The capture was cancelled.")
                    if self._clock.monotonic_ms() >= deadline_ms:
                        raise DeviceError(
                            "The camera's picture was not complete in time.",
                            next_step="Check the camera's network, or ask it for a smaller picture.",
                        )
                metadata = {"content_type": answer.headers.get("content-type", "")[:100]}
                if "x-capture-time" in answer.headers:
                    metadata["capture_time"] = answer.headers["x-capture-time"][:100]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DeviceError(
                f"The camera cannot be reached: {type(error).__name__}.",
                next_step="Check the camera's power, network and url, then run 'rekam-edge selftest'.",
            ) from error
        return bytes(body), metadata


def decode_picture(data: bytes, *, colour: bool) -> Pixels:
    """A PNG or JPEG as uint8 pixels: (H, W, 3) RGB where `colour` is set, else (H, W). Raises DeviceError."""
    try:
        if image_format(data) not in FORMATS:
            raise RemoteError("It is neither PNG nor JPEG.")
        pixels = decode_image(data, max_pixels=PIXELS_MAX, colour=colour)
    except RemoteError as error:
        raise DeviceError(
            f"The camera sent no complete picture: {error.message}",
            next_step="Check that url gives a snapshot and not a page or a stream.",
        ) from error
    if min(pixels.shape[:2]) < SIDE_PX_MIN:
        raise DeviceError(f"The camera's picture has fewer than {SIDE_PX_MIN} pixels on a side.")
    return pixels


def is_small_jpeg(data: bytes, width_px_max: int) -> bool:
    """Whether a picture can be shown as it is: a JPEG of that width at most, by its head, that is there to its end."""
    if not data.startswith(JPEG_START) or not data.endswith(JPEG_END):
        return False
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as head:
            return SIDE_PX_MIN <= head.width <= width_px_max and SIDE_PX_MIN <= head.height <= 4 * width_px_max
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def reduced(pixels: Pixels, width_px_max: int) -> Pixels:
    """The picture at no more than the given width, for a preview."""
    if pixels.shape[1] <= width_px_max:
        return pixels
    height = max(1, round(pixels.shape[0] * width_px_max / pixels.shape[1]))
    small = Image.fromarray(pixels).resize((width_px_max, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.uint8)


def _credentials(path: str) -> httpx.DigestAuth:
    try:
        text = Path(path).read_text(encoding="utf-8")[:CREDENTIALS_BYTES_MAX].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError("The camera's credentials_file cannot be read.") from error
    user, colon, password = text.partition(":")
    if not colon:
        raise DeviceError("The camera's credentials_file is not user:password.")
    return httpx.DigestAuth(user, password)
