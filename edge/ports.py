"""What sessions ask of the rest of the unit: devices, examination of samples, keeping of packets. Tests give fakes.

Everything here is asynchronous and bounded; who implements it moves the work off the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from contract.attestation import AttestationPage
from contract.comparison import Candidate, ComparisonScore
from contract.dispatch import ConsignedCard, GalleryEntry
from contract.finger_image import SlapPosition
from contract.packet import Biodata, Body, PacketKind
from contract.sample import FingerPosition, IrisPosition
from contract.transfer import Receipt
from edge.procedure import Advice, Fields
from edge.sensors.interface import Frame, PenPoint, PointerBatch


@dataclass(frozen=True, slots=True)
class Examined:
    """A sample that has been looked at.

    record: ISO/IEC 19794 record that goes into the packet; quality: 0–100; picture: JPEG for the screen;
    template: ISO/IEC 19794-2 record of a finger, empty otherwise; advice: what to do better, where there is something.
    shows: which eye an iris picture seems to be; UNKNOWN in doubt and for everything else.
    """

    record: bytes
    quality: int
    picture: bytes
    template: bytes = b""
    advice: Advice | None = None
    shows: IrisPosition = IrisPosition.UNKNOWN


@dataclass(frozen=True, slots=True)
class Kept:
    """A packet that is durably in the spool."""

    packet_id: str
    pid: str
    wall_ms: int


@dataclass(frozen=True, slots=True)
class TicketState:
    """What became of a piece of paper; the messages say what to do where it failed."""

    state: Literal["printing", "printed", "failed"]
    message_id: str = ""
    message_en: str = ""


class Sensors(Protocol):
    """The devices of the unit. Raises CaptureRetry, DeviceError, TransientError."""

    async def photo(self) -> Frame:
        """A portrait at full resolution."""
        ...

    async def photo_preview(self) -> bytes:
        """A small picture of now, JPEG."""
        ...

    async def live_picture(self, kind: str) -> bytes | None:
        """The same from the finger, slap or iris scanner; None where the device has no live picture."""
        ...

    async def finger(self, position: FingerPosition) -> Frame:
        """One finger, once it lies on the scanner."""
        ...

    @property
    def takes_slaps(self) -> bool:
        """Whether this unit has a scanner for four fingers at once."""
        ...

    async def slap(self, slap: SlapPosition, missing: Sequence[FingerPosition]) -> Mapping[FingerPosition, Frame]:
        """Every finger of a slap that is not `missing`, once the hand lies on the scanner."""
        ...

    async def irises(self, positions: Sequence[IrisPosition]) -> Sequence[Sequence[Frame]]:
        """For each asked eye its near-infrared frames of one presentation, at least one."""
        ...

    async def pen(self) -> Sequence[PenPoint]:
        """A signature, once the pen rests."""
        ...

    @property
    def scans_papers(self) -> bool:
        """Whether this unit has a document scanner."""
        ...

    async def scan_papers(self) -> Sequence[Frame]:
        """The page on the glass, or every page in the feeder."""
        ...

    def pen_preview(self) -> Sequence[PenPoint]:
        """The points of the signature in progress."""
        ...

    @property
    def signs_on_screen(self) -> bool:
        """Whether people sign on the unit's own touch screen, so that its page brings the points."""
        ...

    def write_pen(self, batch: PointerBatch) -> bool:
        """Points that a page brings; False where no signature is being taken from the screen."""
        ...

    @property
    def has_code_scanner(self) -> bool:
        """Whether a code scanner is connected to the unit; one that types like a keyboard is the page's."""
        ...

    async def code(self, wait_s: float) -> str:
        """The text of the next code that is shown to the unit's own scanner."""
        ...

    def cancel(self) -> None:
        """End every capture that is under way."""
        ...


class Examiner(Protocol):
    """Looks at samples and compares them: the comparison worker. Raises TransientError when it had to be restarted."""

    async def finger(self, frame: Frame, position: FingerPosition) -> Examined:
        """Extraction, quality and record of one finger image."""
        ...

    async def face(self, frame: Frame) -> Examined:
        """Quality and record of a portrait."""
        ...

    async def iris(self, burst: Sequence[Frame], position: IrisPosition) -> Examined:
        """Quality and record of one eye, of the best picture of several, and which eye that seems to show."""
        ...

    async def compare(self, probe: bytes, references: Sequence[bytes]) -> list[ComparisonScore]:
        """One finger template against several, in their order."""
        ...

    async def search_site(self, probes: Mapping[FingerPosition, bytes], fmr: float) -> list[Candidate]:
        """The captures of this site that hold these fingers at a false match rate, best first."""
        ...


class Keeper(Protocol):
    """Seals bodies and keeps them until the hub has signed for them."""

    async def is_full(self) -> bool:
        """Whether the spool is above its high-water mark."""
        ...

    async def keep(self, kind: PacketKind, packet_id: str, body: Body) -> Kept:
        """Seal and spool: durable when it returns, nothing kept where it raises."""
        ...

    async def keep_capture(self, packet_id: str, body: Body, entry: GalleryEntry) -> Kept:
        """The same for an enrolment: its NIK is claimed and its templates enter the site gallery with it."""
        ...

    async def receipt(self, pid: str) -> Receipt | None:
        """The hub's receipt, once there is one."""
        ...


@dataclass(frozen=True, slots=True)
class ChipContent:
    """What an authorised reader found on a chip whose issuer signature is genuine.

    portrait, signature: image files; templates: {finger position: ISO/IEC 19794-2 record}; attestation_key: opens the
    attestation that came with the card.
    """

    card_uid: str
    card_number: str
    biodata: Biodata
    portrait: bytes
    signature: bytes
    templates: Mapping[FingerPosition, bytes]
    attestation_key: bytes


class CardProof(Protocol):
    """The card reader as a proof of who is there."""

    async def uid(self) -> str:
        """The UID of the genuine card that is laid on the reader: both sides have authenticated each other.

        Raises CaptureRetry where no card came, RemoteError for one that is not ours.
        """
        ...

    async def owner(self) -> ChipContent:
        """What the card that is laid on the reader holds, where its issuer signed it. Raises as `uid` does."""
        ...

    def cancel(self) -> None:
        """End a wait that is under way."""
        ...


class ChipDesk(Protocol):
    """The card reader of a handover desk, with the reader key behind it."""

    async def read(self, card: ConsignedCard) -> ChipContent:
        """Read the card that lies on the reader and verify it.

        Raises CaptureRetry where no card came or it was taken away, RemoteError for a chip that is not genuine.
        """
        ...

    def attestation(self, card: ConsignedCard, chip: ChipContent) -> AttestationPage:
        """What the resident e-signed at capture, opened with the chip's key. Raises RemoteError."""
        ...

    def cancel(self) -> None:
        """End a read that is under way."""
        ...


class Station(Protocol):
    """The personalisation desk as its page drives it."""

    @property
    def busy(self) -> bool:
        """Whether an action is under way."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Jobs, the one in work, its step, prompt and allowed actions."""
        ...

    async def act(self, action: str, fields: Fields) -> None:
        """Do an action; returns when it is done. Raises Refused."""
        ...

    async def wait(self, after: int, timeout_s: float) -> None:
        """Return when the snapshot's revision is higher than `after`."""
        ...

    def touch(self) -> None:
        """Tell everybody who waits that the snapshot has changed."""
        ...

    def picture(self, name: str) -> tuple[bytes, str] | None:
        """A picture for the page and its media type: front, back, or how the blank lies."""
        ...
