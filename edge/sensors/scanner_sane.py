"""Driver of document scanners through SANE's `scanimage`, a process of its own, so that a backend may crash or hang.

Pages pass through a private folder in memory (/dev/shm), never over a disk, and are gone when the call ends. The exit
status is SANE's own (SANE_Status, SANE standard 4.2.7): an empty feeder, a jam and an open cover are a person's to put
right, everything else the technician's.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, DeviceError
from edge.sensors.interface import DeviceInfo, Frame

PROGRAM = "scanimage"
PREFIX = "rekam-scan-"
MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
OPEN_TIMEOUT_S = 15.0
LIST_TIMEOUT_S = 12.0
POLL_S = 0.05
STOP_GRACE_S = 3.0
FILE_BYTES_MAX = 64 * 1024 * 1024
SCAN_BYTES_MAX = 320 * 1024 * 1024  # of one scan, in memory: ten pages of A4 in colour at 300 ppi have 261 MB
PAGE_PIXELS_MAX = 40_000_000  # A4 at 600 ppi has 35 million
MM_PER_INCH = 25.4
_ASIDES = ("rounded value", "received signal", "trying to stop")
_LOWER = "Lower resolution_ppi in [devices.scanner]."
GOOD, CANCELLED, BUSY, INVALID, JAMMED, NO_DOCS, COVER_OPEN, IO_ERROR, ACCESS_DENIED = 0, 2, 3, 4, 6, 7, 8, 9, 11

# What a person does about it, in Indonesian and English.
ADVICE = {
    JAMMED: (
        "Kertas macet di pemindai: keluarkan, susun lagi, pindai ulang.",
        "Paper is jammed: take it out, stack it, scan again.",
    ),
    NO_DOCS: ("Tidak ada kertas: letakkan berkas di pemindai.", "There is no paper: put the papers into the feeder."),
    COVER_OPEN: ("Tutup penutup pemindai, lalu pindai ulang.", "The scanner's cover is open: close it, scan again."),
}
_TECHNICIAN = {
    BUSY: ("is in use by another program", "End the other program, then scan again."),
    IO_ERROR: ("does not answer", "Check its cable and power; the next scan opens it anew."),
    ACCESS_DENIED: ("may not be used", "Add the agent's user to the group scanner."),
}


class PaperTrouble(CaptureRetry):
    """The scanner waits for a hand: `advice_id` is for the officer, in Indonesian; `pages` came whole before it."""

    def __init__(self, status: int, pages: Sequence[Frame] = ()) -> None:
        self.advice_id, advice_en = ADVICE[status]
        self.pages = tuple(pages)
        super().__init__(
            f"The scan stopped after {len(pages)} pages." if pages else "Nothing was scanned.", next_step=advice_en
        )


@dataclass(frozen=True, slots=True)
class FoundScanner:
    """A scanner that SANE finds. device: what [devices.scanner] names."""

    device: str
    vendor: str
    model: str
    kind: str


class SaneScanner:
    """A DocumentScanner. device: as `scanimage -L` names it.

    source: of the device, such as "Automatic Document Feeder"; empty for its default.
    pages_max: of one scan; further pages stay in the feeder for the next. mode: Gray or Color. options:
    further options of the device, as for scanimage.
    """

    def __init__(
        self,
        *,
        device: str,
        resolution_ppi: int = 200,
        mode: str = "Gray",
        source: str = "",
        width_mm: float = 210.0,
        height_mm: float = 297.0,
        pages_max: int = 10,
        options: str = "",
        clock: Clock | None = None,
    ) -> None:
        if not 75 <= resolution_ppi <= 600 or not 1 <= pages_max <= 20:
            raise DeviceError(
                "resolution_ppi or pages_max is out of bounds.", next_step="Give 75 to 600 ppi and 1 to 20 pages."
            )
        words = shlex.split(options)
        if any(not word.startswith("--") or word.startswith(("--batch", "--output", "--format")) for word in words):
            raise DeviceError(
                f"options is {options!r}.", next_step="Write options of the device as --name=value; see scanimage -A."
            )
        self._device, self._ppi, self._feeds = (
            device,
            resolution_ppi,
            "feeder" in source.lower() or "adf" in source.lower(),
        )
        self._pages_max = pages_max
        self._options = [f"--resolution={resolution_ppi}", f"--mode={mode}", "-x", str(width_mm), "-y", str(height_mm)]
        self._options += ([f"--source={source}"] if source else []) + words
        self._clock = clock or SystemClock()
        self._opened = False

    def open(self) -> DeviceInfo:
        """Set every option without scanning. Raises DeviceError."""
        clear_abandoned()
        status, said, _ = self._run([*self._options, "--dont-scan"], OPEN_TIMEOUT_S, threading.Event())
        if status != GOOD:
            raise self._failed(status, said)
        self._opened = True
        source = ("feeder",) if self._feeds else ("flatbed",)
        return DeviceInfo("sane", self._device, firmware=_version(), capabilities=(*source, f"{self._ppi} ppi"))

    def close(self) -> None:
        """Nothing is held between two scans."""
        self._opened = False

    def scan(self, timeout_s: float, cancel: threading.Event) -> Sequence[Frame]:
        """The page on the glass, or every page in the feeder."""
        if not self._opened:
            raise DeviceError("The scanner is not open.")
        with _memory_folder() as folder:
            count = self._pages_max if self._feeds else 1
            batch = [f"--batch={folder}/%03d.png", f"--batch-count={count}", "--format=png"]
            status, said, cancelled = self._run([*self._options, *batch], timeout_s, cancel, folder)
            if cancelled or status == CANCELLED:
                raise CaptureRetry("The scan was cancelled.")
            files = sorted(folder.glob("*.png"))
            if status == NO_DOCS and files:
                status = GOOD  # a feeder with fewer sheets than pages_max ends this way
            if status != GOOD and status not in ADVICE:
                raise self._failed(status, said)
            pages = self._pages(files)  # scanimage names a page so only once it is whole
        if status in ADVICE:
            raise PaperTrouble(status, pages)
        if not pages:
            raise PaperTrouble(NO_DOCS)
        return pages

    def _pages(self, files: Sequence[Path]) -> list[Frame]:
        pages: list[Frame] = []
        for path in files:
            pages.append(self._page(path))
            if sum(page.pixels.nbytes for page in pages) > SCAN_BYTES_MAX:
                raise DeviceError("The pages are too large together.", next_step=_LOWER)
        return pages

    def _page(self, path: Path) -> Frame:
        try:
            with Image.open(path, formats=("PNG",)) as picture:
                if picture.width * picture.height > PAGE_PIXELS_MAX:
                    raise DeviceError("The page is too large.", next_step=_LOWER)
                return Frame(np.asarray(picture.convert("RGB" if picture.mode != "L" else "L")), self._ppi)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DeviceError(
                f"The scanner's picture cannot be read ({type(error).__name__}).", next_step="Scan again."
            ) from None

    def _run(
        self, words: Sequence[str], timeout_s: float, cancel: threading.Event, folder: Path | None = None
    ) -> tuple[int, str, bool]:
        """Exit status, last words on stderr, and whether `cancel` ended it. Raises DeviceError when time is over."""
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    [PROGRAM, "-d", self._device, *words],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
                    env={**os.environ, "LC_ALL": "C"}, start_new_session=True,
                )  # fmt: skip
            except OSError:
                raise DeviceError(f"{PROGRAM} is not installed.", next_step="apt install sane-utils") from None
            deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
            try:
                while process.poll() is None:
                    if cancel.wait(POLL_S):
                        return CANCELLED, "", True
                    if self._clock.monotonic_ms() >= deadline_ms:
                        raise DeviceError(
                            "The scanner did not end in time.",
                            next_step="Switch it off and on, then scan again.",
                        )
                    if folder is not None and _is_flooded(folder):
                        raise DeviceError("The page is too large.", next_step=_LOWER)
            finally:
                _stop(process)
            said.seek(max(0, said.seek(0, os.SEEK_END) - 600))
            return process.returncode, said.read().decode(errors="replace"), False

    def _failed(self, status: int, said: str) -> DeviceError:
        if status in _TECHNICIAN:
            what, next_step = _TECHNICIAN[status]
            return DeviceError(f"The scanner {self._device} {what}.", next_step=next_step)
        lines = [line.removeprefix(f"{PROGRAM}: ") for line in said.splitlines() if line.startswith(f"{PROGRAM}: ")]
        words = [line for line in lines if not line.startswith(_ASIDES)]
        reason = words[-1][:160] if words else f"status {status}"
        return DeviceError(
            f"The scanner {self._device} cannot scan: {reason}.",
            next_step="Compare [devices.scanner] with 'scanimage -L' and 'scanimage -d DEVICE -A'.",
        )


def list_scanners(timeout_s: float = LIST_TIMEOUT_S) -> list[FoundScanner]:
    """What SANE finds on USB and on the network; takes some seconds. Empty where SANE is not installed."""
    try:
        listing = subprocess.run(
            [PROGRAM, "-f", "%d\t%v\t%m\t%t%n"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = (line.split("\t") for line in listing.splitlines())
    return [FoundScanner(*(cell[:100] for cell in row)) for row in rows if len(row) == 4]


def clear_abandoned(memory: Path = MEMORY) -> None:
    """Remove the pages of scans whose agent was killed in the middle of them."""
    for folder in memory.glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _memory_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_flooded(folder: Path) -> bool:
    """Whether a page, or all together, take more memory than papers can."""
    sizes = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # scanimage renames a page when it is whole
            sizes.append(path.stat().st_size)
    return max(sizes, default=0) > FILE_BYTES_MAX or sum(sizes) > SCAN_BYTES_MAX


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGINT lets scanimage bring the scanner's carriage home; what does not listen is killed."""
    if process.poll() is not None:
        return
    for number, grace_s in ((signal.SIGINT, STOP_GRACE_S), (signal.SIGKILL, STOP_GRACE_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
            return


def _version() -> str:
    try:
        found = subprocess.run([PROGRAM, "-V"], capture_output=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.decode(errors="replace").strip().rpartition(" ")[2][:40]
