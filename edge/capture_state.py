"""What one capture session has taken so far; in memory only, so power lost before sealing captures nothing (M14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from contract.clock import Clock
from contract.dispatch import GalleryEntry
from contract.finger_image import SLAP_FINGERS, SlapPosition
from contract.packet import (
    Attestation,
    Biodata,
    BiometricException,
    EnrolmentBody,
    PacketSample,
    PaperScan,
    PortraitReview,
    SignOff,
    StepClock,
    Verification,
)
from contract.sample import (
    ALL_FINGERS,
    BOTH_EYES,
    INDEX_FINGERS,
    FingerPosition,
    IrisPosition,
    Modality,
    eyes_are_swapped,
)
from contract.transfer import Receipt
from edge.config import PolicyTable
from edge.ports import Examined, Examiner, Keeper, Kept, Sensors, TicketState
from edge.register import Register
from edge.roster import Officer, RosterBook

VERIFICATIONS_MAX = 20
EXTRACTOR = "rekam"
SLAP_ORDER = (SlapPosition.RIGHT_FOUR, SlapPosition.LEFT_FOUR, SlapPosition.THUMBS)
SampleKey = tuple[Modality, int]


@dataclass(frozen=True, slots=True)
class Services:
    """What a session works with; the same for every session of a unit."""

    sensors: Sensors
    examiner: Examiner
    keeper: Keeper
    register: Register
    roster: RosterBook
    policy: PolicyTable
    clock: Clock
    extractor: str = EXTRACTOR


@dataclass(slots=True)
class Gate:
    """The quality gate of one sample (M12): how often it was presented, and the best presentation so far."""

    attempts: int = 0
    best: Examined | None = None

    def take(self, examined: Examined) -> None:
        """Count a presentation and keep it where it is the best."""
        self.attempts += 1
        if self.best is None or examined.quality > self.best.quality:
            self.best = examined


@dataclass(frozen=True, slots=True)
class Taken:
    """A sample that the gate let pass."""

    modality: Modality
    position: int
    examined: Examined
    attempts: int
    forced: bool = False

    def as_packet(self, purpose: str = "reference") -> PacketSample:
        """The sample as it goes into the packet."""
        return PacketSample(
            modality=self.modality,
            position=self.position,
            record=self.examined.record,
            quality=self.examined.quality,
            attempts=self.attempts,
            forced=self.forced,
            purpose="check" if purpose == "check" else "reference",
        )


@dataclass(slots=True)
class PendingException:
    """An exception that was claimed and is not confirmed yet (M12)."""

    modality: Modality
    position: int
    reason: str
    photo: bytes = b""


@dataclass(slots=True)
class Capture:
    """One resident's capture in progress."""

    services: Services
    capture_id: str
    biodata: Biodata
    operator: Officer
    papers: tuple[str, ...]
    clocks: Callable[[], tuple[StepClock, ...]] = tuple
    taken: dict[SampleKey, Taken] = field(default_factory=dict)
    checks: dict[int, Taken] = field(default_factory=dict)
    exceptions: dict[SampleKey, BiometricException] = field(default_factory=dict)
    pending_exception: PendingException | None = None
    gate: Gate = field(default_factory=Gate)
    slap_tries: dict[SlapPosition, int] = field(default_factory=dict)
    verification: list[Verification] = field(default_factory=list)
    portrait_review: PortraitReview | None = None
    eyes_confirmed_ms: int | None = None
    attestation: Attestation | None = None
    signoff: SignOff | None = None
    body: EnrolmentBody | None = None
    similar_capture: str = ""
    similar_value: float = 0.0
    refusal_id: str = ""
    appeal_of: str | None = None
    scans: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    kept: Kept | None = None
    receipt: Receipt | None = None
    ticket: TicketState | None = None

    @property
    def next_finger(self) -> FingerPosition | None:
        """The finger that is asked for next, or None when all ten are there or excepted."""
        return next((finger for finger in ALL_FINGERS if not self._settled(Modality.FINGER, finger)), None)

    @property
    def next_slap(self) -> SlapPosition | None:
        """The slap that is asked for next, 4-4-2; None where fingers come one by one, or all are settled."""
        if not self.services.sensors.takes_slaps:
            return None
        tries_max = self.services.policy.attempts_max
        wanted = (slap for slap in SLAP_ORDER if self.slap_tries.get(slap, 0) < tries_max)
        return next((slap for slap in wanted if len(self.open_fingers(slap)) > 1), None)

    @property
    def asked_fingers(self) -> tuple[FingerPosition, ...]:
        """The fingers that the next capture takes."""
        slap, finger = self.next_slap, self.next_finger
        return self.open_fingers(slap) if slap is not None else () if finger is None else (finger,)

    def open_fingers(self, slap: SlapPosition) -> tuple[FingerPosition, ...]:
        """The fingers of a slap that are neither there nor excepted."""
        return tuple(finger for finger in SLAP_FINGERS[slap] if not self._settled(Modality.FINGER, finger))

    @property
    def attempts(self) -> int:
        """How often what is asked for was presented."""
        slap = self.next_slap
        return self.gate.attempts if slap is None else self.slap_tries.get(slap, 0)

    @property
    def missing_eyes(self) -> tuple[IrisPosition, ...]:
        """The eyes that are not there yet."""
        return tuple(eye for eye in BOTH_EYES if not self._settled(Modality.IRIS, eye))

    @property
    def eyes_look_swapped(self) -> bool:
        """Whether both eyes are there and each looks like the other one. The judge errs: an advice, never a refusal."""
        right, left = (self.taken.get((Modality.IRIS, int(eye))) for eye in BOTH_EYES)
        if right is None or left is None:
            return False
        return eyes_are_swapped(left=left.examined.shows, right=right.examined.shows)

    @property
    def next_check(self) -> FingerPosition | None:
        """The finger that is verified next: both indexes, or where both are missing the first finger there is."""
        present = [finger for finger in ALL_FINGERS if (Modality.FINGER, int(finger)) in self.taken]
        wanted = [finger for finger in INDEX_FINGERS if finger in present] or present[:1]
        return next((finger for finger in wanted if int(finger) not in self.checks), None)

    @property
    def retries_used(self) -> bool:
        """Whether the sample that is asked for has had its last ordinary retry."""
        return self.gate.attempts >= self.services.policy.attempts_max

    @property
    def may_force(self) -> bool:
        """Whether the best presentation so far may be taken although the gate did not let it pass."""
        return self.retries_used and self.gate.best is not None and bool(self.gate.best.record)

    def finger_template(self, finger: FingerPosition) -> bytes:
        """The reference template of a finger that was taken."""
        return self.taken[Modality.FINGER, int(finger)].examined.template

    def fingers(self) -> dict[FingerPosition, bytes]:
        """Templates of all fingers taken, by position."""
        return {
            FingerPosition(position): taken.examined.template
            for (modality, position), taken in self.taken.items()
            if modality is Modality.FINGER
        }

    def accept(self, modality: Modality, position: int, examined: Examined, *, forced: bool = False) -> None:
        """Keep a sample and open the gate for the next one."""
        attempts = max(1, self.gate.attempts)
        self.taken[modality, position] = Taken(modality, position, examined, attempts, forced)
        self.open_gate()

    def open_gate(self) -> None:
        """The next sample starts with no attempts."""
        self.gate = Gate()

    def note_verification(self, verification: Verification) -> None:
        """Keep the outcome of a 1:1 comparison; the oldest give way beyond the packet's limit."""
        self.verification = [*self.verification, verification][-VERIFICATIONS_MAX:]

    def completed_body(self) -> EnrolmentBody:
        """Everything captured, still without the operator's word."""
        if self.attestation is None or self.portrait_review is None:
            raise ValueError("a capture is complete only once its portrait is reviewed and its attestation signed")
        samples = [taken.as_packet() for taken in self.taken.values()]
        samples += [taken.as_packet("check") for taken in self.checks.values()]
        return EnrolmentBody(
            biodata=self.biodata,
            samples=tuple(samples),
            exceptions=tuple(self.exceptions.values()),
            verification=tuple(self.verification),
            papers=self.papers,
            attestation=self.attestation,
            steps=self.clocks(),
            appeal_of=self.appeal_of,
            scans=tuple(
                PaperScan(paper=paper, page=number, image=page)
                for paper, pages in self.scans.items()
                for number, page in enumerate(pages, 1)
            ),
            portrait_review=self.portrait_review,
            eyes_confirmed_ms=self.eyes_confirmed_ms,
        )

    def gallery_entry(self) -> GalleryEntry:
        """What the units of this site must know to refuse a repeat at once (M15)."""
        return GalleryEntry(
            capture_id=self.capture_id,
            nik=self.biodata.nik,
            extractor=self.services.extractor,
            templates={int(finger): template for finger, template in self.fingers().items()},
        )

    def forget(self) -> None:
        """Drop every sample and everything made of them."""
        self.taken.clear()
        self.checks.clear()
        self.exceptions.clear()
        self.scans.clear()
        self.slap_tries.clear()
        self.pending_exception = None
        self.portrait_review = self.eyes_confirmed_ms = self.attestation = self.signoff = self.body = None
        self.open_gate()

    def _settled(self, modality: Modality, position: int) -> bool:
        return (modality, int(position)) in self.taken or (modality, int(position)) in self.exceptions
