"""What the agent asks of each kind of device. Drivers are plain blocking classes; worker.py gives each a thread.

Every call is bounded by `timeout_s` and watches `cancel`. A person who must try again is a CaptureRetry with advice;
a device that fails is a DeviceError; a device that speaks nonsense is a DeviceError too, once its driver gave up.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from contract.finger_image import SlapPosition
from contract.sample import FingerPosition, IrisPosition

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """Who a device says it is: for the selftest's table and for the packet's provenance."""

    driver: str
    model: str
    serial: str = ""
    firmware: str = ""
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a camera or scanner.

    pixels: uint8, (H, W) grey or (H, W, 3) RGB; ppi: 0 where the device has no scale; metadata: of this very frame.
    """

    pixels: Pixels
    ppi: int = 0
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PenPoint:
    """One report of a signature pad. x, y in 0.01 mm from the top left; pressure 0–65535; time in ms."""

    x: int
    y: int
    pressure: int
    time_ms: int
    down: bool


class Device(Protocol):
    """What every device can do."""

    def open(self) -> DeviceInfo:
        """Connect and identify. Raises DeviceError."""
        ...

    def close(self) -> None:
        """Release the port; never raises, and may be called twice."""
        ...


@runtime_checkable
class Camera(Device, Protocol):
    """A colour camera for the portrait. Its live picture is a LivePicture's."""

    def capture(self, timeout_s: float, cancel: threading.Event) -> Frame:
        """One frame at full resolution, RGB."""
        ...

    def preview(self, timeout_s: float) -> Frame:
        """One small frame for the live picture."""
        ...


@runtime_checkable
class FingerprintScanner(Device, Protocol):
    """A single-finger scanner."""

    def capture(self, position: FingerPosition, timeout_s: float, cancel: threading.Event) -> Frame:
        """Wait for a finger and take it: grey, dark ridges, ppi > 0. Raises CaptureRetry where no finger came."""
        ...


@runtime_checkable
class SlapScanner(Device, Protocol):
    """A scanner that takes four fingers or both thumbs at once."""

    def capture(
        self, slap: SlapPosition, missing: Collection[FingerPosition], timeout_s: float, cancel: threading.Event
    ) -> Mapping[FingerPosition, Frame]:
        """One frame for each finger of the slap that is not `missing`: grey, dark ridges, ppi > 0.

        Raises CaptureRetry where the hand did not come or did not lie well.
        """
        ...


@runtime_checkable
class LivePicture(Device, Protocol):
    """What a device can do that says "preview" among its capabilities; many fingerprint modules cannot."""

    def preview(self, timeout_s: float) -> Frame:
        """One small frame of now. Shown to people, never kept."""
        ...


@runtime_checkable
class EncodedPicture(Device, Protocol):
    """A LivePicture whose device sends JPEG: what can be shown as it came is not decoded and encoded again."""

    def preview_encoded(self, timeout_s: float) -> bytes | Frame:
        """A small JPEG of now as the device sent it; a frame where it sent something else, or something large."""
        ...


@runtime_checkable
class Illumination(Protocol):
    """Near-infrared light for an iris camera. Whoever makes the light bounds it for the eye's sake; callers may not.

    Both methods block for at most about a second and may be called from any thread.
    """

    def on(self, wavelength_nm: int, level_percent: int, duration_ms: int) -> None:
        """Light at level_percent (1–100) of what is safe for the eye, for at most duration_ms, then dark by itself.

        Raises TransientError while the light must rest for the eye's or the lamp's sake, DeviceError where there is
        no light of that wavelength, the lamp is too hot, or its controller does not answer.
        """
        ...

    def off(self) -> None:
        """Dark at once. Raises DeviceError where the controller does not answer; it goes dark by itself then."""
        ...


@runtime_checkable
class IrisScanner(Device, Protocol):
    """A near-infrared camera for one eye or both."""

    def capture(self, positions: Sequence[IrisPosition], timeout_s: float, cancel: threading.Event) -> Sequence[Frame]:
        """One grey near-infrared frame per asked eye, in the asked order."""
        ...


@runtime_checkable
class IrisBurst(Device, Protocol):
    """What an IrisScanner can do that says "burst": it leaves the choice among several pictures to who can judge."""

    def burst(
        self, positions: Sequence[IrisPosition], timeout_s: float, cancel: threading.Event
    ) -> Sequence[Sequence[Frame]]:
        """For each asked eye, in the asked order, the pictures of one presentation that are worth a look, best first.

        At least one each, within timeout_s. Raises as `capture` does.
        """
        ...


@runtime_checkable
class SignaturePad(Device, Protocol):
    """A pen tablet."""

    def capture(self, timeout_s: float, cancel: threading.Event) -> Sequence[PenPoint]:
        """Record until the pen rests for the pad's settled time after writing, or until `cancel` asks to finish."""
        ...

    def preview(self) -> Sequence[PenPoint]:
        """The points of the recording in progress, for the live picture."""
        ...


class PointerState(IntEnum):
    """What a pointer does on a touch screen. WITHDRAWN: the stroke in progress was a palm or a system gesture."""

    UP = 0
    DOWN = 1
    WITHDRAWN = 2


@dataclass(frozen=True, slots=True)
class PointerReport:
    """One report of a pointer. x_px, y_px: from the field's top left; pressure: 0–1; time_ms: the page's own clock."""

    x_px: float
    y_px: float
    pressure: float
    time_ms: float
    state: PointerState


@dataclass(frozen=True, slots=True)
class PointerBatch:
    """Reports that a page sends together. stream: another number for each signature and page; sequence: from 0."""

    stream: int
    sequence: int
    screen_px: float
    reports: tuple[PointerReport, ...]


@runtime_checkable
class PointerPad(SignaturePad, Protocol):
    """A SignaturePad whose points a page brings: the unit's own touch screen."""

    def write(self, batch: PointerBatch) -> bool:
        """Take a page's reports; False while nothing is being recorded. Never blocks; safe beside a capture."""
        ...


@runtime_checkable
class CodeScanner(Device, Protocol):
    """A scanner of barcodes and QR codes: summons letter, family card, NIK."""

    def scan(self, timeout_s: float, cancel: threading.Event) -> str:
        """The text of the next code that is shown. Raises CaptureRetry where none was shown in time."""
        ...


@runtime_checkable
class DocumentScanner(Device, Protocol):
    """A scanner for papers: a flatbed, or a feeder."""

    def scan(self, timeout_s: float, cancel: threading.Event) -> Sequence[Frame]:
        """The page on the glass, or every page in the feeder, in their order; grey or RGB, ppi > 0.

        Raises CaptureRetry where a hand is needed (feeder empty, jam, cover); one with `pages` has those before it.
        """
        ...


@dataclass(frozen=True, slots=True)
class TicketLine:
    """A line of text, wrapped where it is long. scale: 1 to 8 times the font's size."""

    text: str
    scale: int = 1
    bold: bool = False
    align: Literal["left", "center", "right"] = "left"


@dataclass(frozen=True, slots=True)
class TicketPair:
    """A name and its value, beside each other where they fit."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class TicketCode:
    """A QR code that holds `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class TicketRule:
    """A line across the paper."""


TicketPart = TicketLine | TicketPair | TicketCode | TicketRule


@dataclass(frozen=True, slots=True)
class TicketCondition:
    """A ticket printer now. faults: keywords of ticket_frames.ADVICE; paper_low: the roll ends soon."""

    faults: tuple[str, ...] = ()
    paper_low: bool = False


@runtime_checkable
class TicketPrinter(Device, Protocol):
    """A small printer for numbers, proofs and receipts on a roll of paper."""

    def condition(self) -> TicketCondition:
        """What the printer complains of. Raises DeviceError where it does not answer."""
        ...

    def print(self, parts: Sequence[TicketPart], timeout_s: float, cancel: threading.Event) -> None:
        """Print one ticket and cut it; returns when the printer says that it lies there.

        Raises DeviceError where it does not: what of it was printed is unknown, and printing it again does no harm.
        """
        ...


@dataclass(frozen=True, slots=True)
class Climate:
    """Inside the enclosure: temperature in °C, relative humidity in %."""

    temperature_c: float
    humidity_percent: float


@runtime_checkable
class ClimateSensor(Device, Protocol):
    """Temperature and humidity inside the enclosure."""

    def read(self) -> Climate:
        """One measurement, in less than 0.1 s. Raises DeviceError."""
        ...


@runtime_checkable
class PresenceSensor(Device, Protocol):
    """Whether somebody stands before the unit."""

    def present(self) -> bool:
        """One measurement, in less than 0.5 s. Raises DeviceError."""
        ...


@runtime_checkable
class IdentityChip(Device, Protocol):
    """A part that holds a P-256 private key and never gives it away."""

    def serial(self) -> str:
        """The part's own serial number, in hexadecimal."""
        ...

    def public_key(self) -> bytes:
        """X and Y of the configured slot's key, 32 bytes each. Raises DeviceError where there is none."""
        ...

    def sign(self, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest: R and S, 32 bytes each. Raises DeviceError."""
        ...


@runtime_checkable
class KeyMaker(Protocol):
    """An identity chip whose key pair the unit makes itself, in the chip, while nothing relies on it yet."""

    def make_key(self) -> bool:
        """Make the pair where there is none; whether it was made. Raises DeviceError."""
        ...


class CardChannel(Protocol):
    """A powered smart card in a reader, until it is removed or `close` is called."""

    @property
    def uid(self) -> str:
        """The chip's UID in upper-case hexadecimal."""
        ...

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """Send a command APDU; returns (data, status word). Raises CaptureRetry when the card was removed."""
        ...

    def close(self) -> None:
        """Power the card off; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class CardState:
    """What lies on a reader. changes: a count that moves with every card laid or lifted, also of one for another."""

    present: bool
    changes: int


@runtime_checkable
class CardReader(Device, Protocol):
    """A contactless smart-card reader and writer."""

    def card_present(self) -> bool:
        """Whether a card lies on the reader now."""
        ...

    def wait_for_change(self, seen: CardState | None, timeout_s: float, cancel: threading.Event) -> CardState:
        """What lies on the reader as soon as it differs from `seen`; at once where `seen` is None.

        After timeout_s, or when `cancel` is set, what lies there then. Raises DeviceError when the reader is gone.
        """
        ...

    def connect(self, timeout_s: float, cancel: threading.Event) -> CardChannel:
        """Wait for a card and power it. Raises CaptureRetry where none came."""
        ...
