"""A scanner that is driven by its maker's own program, which writes one picture file per finger into a folder.

Slap and ten-print scanners often come with such a program. A picture counts once its name appears under its final
name and its content decodes whole; it is removed after it was taken, because it is biometric data.
"""

from __future__ import annotations

import stat
import threading
from pathlib import Path

from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, DeviceError, RemoteError
from contract.image_formats import decode_image
from contract.sample import FingerPosition
from edge.sensors.interface import DeviceInfo, Frame, Pixels

SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff", ".jp2", ".wsq"})
FILE_BYTES_MAX = 32 * 1024 * 1024
PIXELS_MAX = 16_000_000
SIDE_PX_MIN = 16
FILES_MAX = 1000


class FolderScanner:
    """A FingerprintScanner.

    folder: where the maker's program writes. ppi: of its pictures (metadata of such files is often wrong).
    inverted: ridges are light. keep: leave the files instead of removing them after they were taken.
    """

    def __init__(
        self,
        *,
        folder: str,
        ppi: int = 500,
        inverted: bool = False,
        keep: bool = False,
        poll_interval_s: float = 0.2,
        clock: Clock | None = None,
    ) -> None:
        if not 150 <= ppi <= 4000:
            raise DeviceError("ppi must lie between 150 and 4000.")
        self._folder, self._ppi, self._inverted, self._keep = Path(folder), ppi, inverted, keep
        self._poll_interval_s, self._clock = poll_interval_s, clock or SystemClock()
        self._seen: set[tuple[str, int]] = set()
        self._is_open = False

    def open(self) -> DeviceInfo:
        """Look at the folder; what lies there already belongs to nobody and is passed over. Raises DeviceError."""
        self._seen = set(self._files())
        self._is_open = True
        return DeviceInfo(driver="folder", model=f"pictures in {self._folder.name}", capabilities=("image",))

    def close(self) -> None:
        """Stop looking."""
        self._is_open = False

    def capture(self, position: FingerPosition, timeout_s: float, cancel: threading.Event) -> Frame:
        """The next picture that appears: grey (H, W). Raises CaptureRetry when none came in time."""
        if not self._is_open:
            raise DeviceError("The scanner's folder is not open.")
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        while True:
            unread = ""
            for name, modified_ns in self._files():
                if (name, modified_ns) in self._seen:
                    continue
                pixels = self._read(self._folder / name)
                if pixels is None:
                    unread = name  # still being written, or damaged: looked at again in the next round
                    continue
                self._seen.add((name, modified_ns))
                return Frame(
                    pixels=255 - pixels if self._inverted else pixels,
                    ppi=self._ppi,
                    metadata={"finger_position": str(int(position))},
                )
            if self._clock.monotonic_ms() >= deadline_ms:
                if unread:
                    raise DeviceError(
                        f"The picture {unread} cannot be read.",
                        next_step="Remove it, and check which format the scanner's program writes.",
                    )
                raise CaptureRetry("No picture came.", next_step="Lay the finger on the scanner.")
            if cancel.wait(self._poll_interval_s):
                raise CaptureRetry("The capture was cancelled.")

    def _files(self) -> list[tuple[str, int]]:
        """Names and times of the picture files, oldest first; hidden files are drafts."""
        try:
            found = [
                (status.st_mtime_ns, path.name)
                for path in self._folder.iterdir()
                if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
                if stat.S_ISREG((status := path.stat()).st_mode)  # a pipe would be waited on for ever
            ]
        except FileNotFoundError as error:
            if self._folder.is_dir():
                return []  # a file went between listing and looking
            raise self._missing() from error
        except OSError as error:
            raise self._missing() from error
        if len(found) > FILES_MAX:
            raise DeviceError(
                f"More than {FILES_MAX} pictures lie in the scanner's folder.",
                next_step="Remove old pictures, and check that the scanner's program writes one at a time.",
            )
        return [(name, modified_ns) for modified_ns, name in sorted(found)]

    def _missing(self) -> DeviceError:
        return DeviceError(
            f"The scanner's folder {self._folder} cannot be read.",
            next_step="Start the scanner's program, and check folder and its rights.",
        )

    def _read(self, path: Path) -> Pixels | None:
        """The picture, or None while it is not whole."""
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                raise DeviceError(f"The picture {path.name} is larger than {FILE_BYTES_MAX} bytes.")
            pixels = decode_image(path.read_bytes(), max_pixels=PIXELS_MAX)
            if min(pixels.shape) < SIDE_PX_MIN:
                raise DeviceError(f"The picture {path.name} is too small for a finger.")
            if not self._keep:
                path.unlink(missing_ok=True)
        except (OSError, RemoteError):
            return None
        return pixels
