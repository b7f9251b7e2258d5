"""Network cameras in software: an HTTP server on loopback that gives the picture of who stands in front of it.

A picture stands for what the lens sees: this is the one device whose twin is fed with pictures instead of speaking a
wire of its own. Faults are those of real cameras: late, cut short, too large, an error page, no answer.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.clock import SystemClock, utc

LATE_S_MAX = 60.0
SMALL_WIDTH_PX = 480
SMALL_JPEG_QUALITY = 80
HUGE_BYTES = 64 * 1024 * 1024
CHUNK = bytes(64 * 1024)


class CameraFault(StrEnum):
    """What a camera does wrong."""

    NONE = "none"
    BUSY = "busy"
    PAGE = "page"
    TRUNCATED = "truncated"
    HUGE = "huge"
    HANG_UP = "hang-up"
    STALL = "stall"


def empty_room(height_px: int, width_px: int) -> NDArray[np.uint8]:
    """What a portrait camera sees while nobody stands there: a grey wall that darkens towards its corners, RGB."""
    y, x = np.mgrid[-1 : 1 : height_px * 1j, -1 : 1 : width_px * 1j]
    wall = 205 - 35 * (x * x + y * y) / 2
    return np.repeat(wall.astype(np.uint8)[:, :, None], 3, axis=2)


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture as the camera sends it."""

    content_type: str
    data: bytes


def encoded(pixels: NDArray[np.uint8], *, jpeg_quality: int = 0) -> Picture:
    """PNG, or JPEG where a quality is given."""
    buffer = io.BytesIO()
    if jpeg_quality:
        Image.fromarray(pixels).save(buffer, format="JPEG", quality=jpeg_quality)
        return Picture("image/jpeg", buffer.getvalue())
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, png = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError("the picture cannot be encoded")
    return Picture("image/png", png.tobytes())


def small_path(path: str) -> str:
    """Where the small picture of a path is found: /face.png has /face-small.jpg."""
    return f"{path.rpartition('.')[0]}-small.jpg"


def sizes(path: str, pixels: NDArray[np.uint8]) -> dict[str, Picture]:
    """A picture at the camera's two addresses: whole as PNG, small as JPEG for a live picture."""
    height, width = pixels.shape[:2]
    small_width = min(width, SMALL_WIDTH_PX)
    small = cv2.resize(pixels, (small_width, round(height * small_width / width)), interpolation=cv2.INTER_AREA)
    small_picture = encoded(np.asarray(small, dtype=np.uint8), jpeg_quality=SMALL_JPEG_QUALITY)
    return {path: encoded(pixels), small_path(path): small_picture}


@dataclass(frozen=True, slots=True)
class Film:
    """Encoded frames by address, played without end."""

    frames: tuple[Mapping[str, Picture], ...]
    frames_per_s: float

    def now(self, path: str) -> Picture | None:
        """The frame of this moment."""
        return self.frames[int(time.monotonic() * self.frames_per_s) % len(self.frames)].get(path)


class CameraTwin:
    """One HTTP camera with any number of paths, such as /face.png, or /right.png and /left.png.

    port: on 127.0.0.1; 0 picks a free one. empty: the picture of each path while nobody is there.
    """

    def __init__(self, empty: dict[str, NDArray[np.uint8]], port: int = 0) -> None:
        self._paths = tuple(empty)
        self._empty = {place: shown for path, pixels in empty.items() for place, shown in sizes(path, pixels).items()}
        self._shown = dict(self._empty)
        self._film: Film | None = None
        self._lock = threading.Lock()
        self.fault = CameraFault.NONE
        self.late_s = 0.0
        self.requests = 0
        self._stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name=f"camera-{self.port}", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._server.server_address[1])

    def url(self, path: str) -> str:
        """The address of one path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def show(self, path: str, pixels: NDArray[np.uint8]) -> None:
        """Put a person before the lens. pixels: grey (H, W) or RGB (H, W, 3)."""
        if path not in self._paths:
            raise ValueError(f"this camera has no {path}; it has {', '.join(self._paths)}")
        pictures = sizes(path, pixels)
        with self._lock:
            self._shown.update(pictures)
            self._film = None

    def film(self, path: str, frames: Sequence[NDArray[np.uint8]], frames_per_s: float) -> None:
        """Let somebody move before the lens: frame after frame, again and again, until `show` or `clear`."""
        if path not in self._paths or not frames or frames_per_s <= 0:
            raise ValueError("a film needs a path of this camera, frames and a pace")
        encoded_frames = [sizes(path, frame) for frame in frames]
        with self._lock:
            self._film = Film(tuple(encoded_frames), frames_per_s)

    def clear(self) -> None:
        """Nobody stands there."""
        with self._lock:
            self._shown, self._film = dict(self._empty), None

    def close(self) -> None:
        """Stop serving."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def closed(self) -> bool:
        """Whether nothing is served any more."""
        return self._stopping.is_set()

    def picture(self, path: str) -> Picture | None:
        """What the lens of this path sees now."""
        with self._lock:
            self.requests += 1
            found = self._film.now(path) if self._film is not None else None
            return found or self._shown.get(path)

    def wait_late(self) -> None:
        """Delay an answer by the set time, less when the twin is closed."""
        if self.late_s:
            self._stopping.wait(min(self.late_s, LATE_S_MAX))

    def stall(self) -> None:
        """Hold a connection without a word."""
        self._stopping.wait(LATE_S_MAX)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        twin = self

        class Handler(BaseHTTPRequestHandler):
            """Answers one connection."""

            protocol_version = "HTTP/1.1"
            timeout = LATE_S_MAX
            server_version = "TwinCamera/1"

            def do_GET(self) -> None:
                """One snapshot; a camera that was closed says nothing more on a connection that was kept."""
                if twin.closed:
                    self.close_connection = True
                    return
                picture = twin.picture(self.path.partition("?")[0])
                twin.wait_late()
                if picture is None:
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                answer_snapshot(self, picture, twin.fault, twin.stall)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                """Pictures are asked for ten times a second: nothing is logged."""

        return Handler


def answer_snapshot(
    handler: BaseHTTPRequestHandler, picture: Picture, fault: CameraFault, stall: Callable[[], None]
) -> None:
    """Write one answer, with the fault that is set."""
    if fault is CameraFault.BUSY:
        handler.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
        return
    if fault is CameraFault.PAGE:
        picture = Picture("text/html", b"<html><body>Please log in</body></html>")
    if fault is CameraFault.HANG_UP:
        handler.close_connection = True
        return
    length = HUGE_BYTES if fault is CameraFault.HUGE else len(picture.data)
    handler.send_response(HTTPStatus.OK)
    handler.send_header("Content-Type", picture.content_type)
    handler.send_header("Content-Length", str(length))
    handler.send_header("X-Capture-Time", utc(SystemClock().wall_ms()).isoformat())
    handler.send_header("Cache-Control", "no-store")
    handler.end_headers()
    try:
        if fault is CameraFault.HUGE:
            for _ in range(HUGE_BYTES // len(CHUNK)):
                handler.wfile.write(CHUNK)
        elif fault is CameraFault.TRUNCATED:
            handler.wfile.write(picture.data[: len(picture.data) // 2])
            handler.close_connection = True
        elif fault is CameraFault.STALL:
            handler.wfile.write(picture.data[: len(picture.data) // 2])
            handler.wfile.flush()
            stall()
            handler.close_connection = True
        else:
            handler.wfile.write(picture.data)
    except (BrokenPipeError, ConnectionResetError):
        handler.close_connection = True
