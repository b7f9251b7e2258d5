"""Fakes that speak the agent's ports: devices, examiner and keeper of one unit, with a person in front of it.

A frame's pixels carry who and what is shown; the examiner's templates say so, and two compare alike where they are
the same person's same finger. Nothing sleeps and nothing is drawn at random.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from contract.attestation import AttestationPage, biodata_digest
from contract.comparison import Candidate, ComparisonScore
from contract.dispatch import ConsignedCard, GalleryEntry, RegisterEntry, RegisterPage
from contract.errors import CaptureRetry, DeviceError
from contract.finger_image import SLAP_FINGERS, SlapPosition
from contract.lifecycle import RecordState
from contract.operators import Lease, OperatorEntry, Roster, sign_lease
from contract.packet import Attestation, Biodata, Body, PacketKind
from contract.sample import FingerPosition, IrisPosition
from contract.seal import load_statement_key, load_statement_public_key
from contract.transfer import Receipt
from edge.capture_state import Services
from edge.config import PolicyTable
from edge.ports import ChipContent, Examined, Kept
from edge.prompts import statement_of_truth
from edge.register import Claim, Register
from edge.roster import RosterBook
from edge.screens.pictures import jpeg
from edge.sealed_store import SealedStore
from edge.sensors.interface import Frame, PenPoint, PointerBatch
from edge.trusted_time import TrustedTime

NIK = "9901014107900001"
CARD_UID = "04A1B2C3D4E5F6"
PAPERS = ("application-form", "family-card")
OPERATOR, SECOND, HEAD = "op-siti", "op-budi", "kasi-dewi"
KEY = ec.derive_private_key(0x5EED, ec.SECP256R1())
STATEMENT = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HUB_SIGNS = load_statement_key(
    STATEMENT.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
)
HUB_STATEMENT = load_statement_public_key(
    STATEMENT.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)
PREVIEW = jpeg(np.zeros((2, 2), np.uint8))
LEASE_FROM_MS, LEASE_UNTIL_MS = 1_780_000_000_000, 2_000_000_000_000


class SetClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_ms = 1_790_000_000_000

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms - 1_780_000_000_000


def biodata(nik: str = NIK, name: str = "SARI CONTOH") -> Biodata:
    return Biodata(
        nik=nik, name=name, birth_place="CONTOH", birth_date="1990-07-01", sex="PEREMPUAN", blood_type="O",
        address="JL. CONTOH 1", rt_rw="001/002", village="DESA CONTOH", district="KECAMATAN CONTOH",
        regency="KABUPATEN CONTOH", province="PROVINSI CONTOH", religion="ISLAM", marital_status="KAWIN",
        occupation="PETANI", nationality="WNI",
    )  # fmt: skip


def operator_entry(name: str, /, *roles: str, lease_until_ms: int = LEASE_UNTIL_MS, **changes: object) -> OperatorEntry:
    """An operator with a lease for every site. changes: of the entry, but sites and sequence of its lease."""
    public = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    lease = Lease(
        operator=name,
        roles=roles,
        sites=changes.pop("sites", ("*",)),  # type: ignore[arg-type]  # the model checks it
        from_ms=min(LEASE_FROM_MS, lease_until_ms - 1),
        until_ms=lease_until_ms,
        sequence=changes.pop("sequence", 1),  # type: ignore[arg-type]
        key_sha256=hashlib.sha256(public).digest(),
    )
    entry = OperatorEntry(
        operator=name,
        name=name.upper(),
        templates={2: f"{name}/2".encode(), 7: f"{name}/7".encode()},
        public_key=public,
        private_key=KEY.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        lease=sign_lease(lease, HUB_SIGNS),
    )
    return entry.model_copy(update=changes)


def roster_of(*entries: OperatorEntry, version: int = 1, **changes: object) -> Roster:
    """A roster of these, in the order that it wants."""
    operators = tuple(sorted(entries, key=lambda entry: entry.operator))
    return Roster.model_validate({"version": version, "operators": operators, **changes}, strict=False)


@dataclass
class FakeSensors:
    """One person in front of the unit. missing: fingers that never come; faults: raised once each, first to last.

    codes: what the unit's own scanner reads, last to first; the first one stands for the scanner itself.
    iris_burst: how much worse each picture of an eye is than its best; swapped: each eye looks like the other one.
    """

    person: str = "sari"
    fingers: dict[FingerPosition, tuple[str, int]] = field(default_factory=dict)
    quality: int = 80
    slaps: bool = False
    finger_quality: dict[FingerPosition, int] = field(default_factory=dict)
    iris_quality: dict[IrisPosition, int] = field(default_factory=dict)
    iris_burst: tuple[int, ...] = (0,)
    swapped: bool = False
    missing: set[FingerPosition] = field(default_factory=set)
    faults: list[Exception] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    ink: int = 40
    stride: int = 80
    cancelled: int = 0
    calls: list[str] = field(default_factory=list)
    pages: list[Frame] | None = None

    def _frame(self, text: str, quality: int) -> Frame:
        return Frame(np.zeros((2, 2), np.uint8), 500, {"shows": text, "quality": str(quality)})

    def _fault(self, call: str) -> None:
        self.calls.append(call)
        if self.faults:
            raise self.faults.pop(0)

    async def photo(self) -> Frame:
        self._fault("photo")
        return self._frame(f"{self.person}/face", self.quality)

    async def photo_preview(self) -> bytes:
        return PREVIEW

    async def live_picture(self, kind: str) -> bytes | None:
        return None

    async def finger(self, position: FingerPosition) -> Frame:
        self._fault(f"finger {int(position)}")
        if position in self.missing:
            raise CaptureRetry("No finger came.", next_step="Letakkan jari.")
        person, shown = self.fingers.get(position, (self.person, int(position)))
        return self._frame(f"{person}/{shown}", self.quality)

    @property
    def takes_slaps(self) -> bool:
        return self.slaps

    async def slap(self, slap: SlapPosition, missing: Sequence[FingerPosition]) -> Mapping[FingerPosition, Frame]:
        self._fault(f"slap {int(slap)}")
        wanted = [finger for finger in SLAP_FINGERS[slap] if finger not in missing]
        if self.missing & set(wanted):
            raise CaptureRetry("The slap was not taken well.", next_step="Lay all the fingers of the hand.")
        frames = {}
        for finger in wanted:
            person, shown = self.fingers.get(finger, (self.person, int(finger)))
            frames[finger] = self._frame(f"{person}/{shown}", self.finger_quality.get(finger, self.quality))
        return frames

    async def irises(self, positions: Sequence[IrisPosition]) -> Sequence[Sequence[Frame]]:
        self._fault("irises")
        return [
            [
                self._frame(
                    f"{self.person}/iris{3 - int(eye) if self.swapped else int(eye)}",
                    self.iris_quality.get(eye, self.quality) - worse,
                )
                for worse in self.iris_burst
            ]
            for eye in positions
        ]

    async def pen(self) -> Sequence[PenPoint]:
        self._fault("pen")
        return [PenPoint(self.stride * n, 100 + n % 7, 20_000, 10 * n, True) for n in range(self.ink)]

    @property
    def scans_papers(self) -> bool:
        return self.pages is not None

    async def scan_papers(self) -> Sequence[Frame]:
        self._fault("scan")
        return self.pages or []

    def pen_preview(self) -> Sequence[PenPoint]:
        return []

    @property
    def signs_on_screen(self) -> bool:
        return False

    def write_pen(self, batch: PointerBatch) -> bool:
        return False

    @property
    def has_code_scanner(self) -> bool:
        return bool(self.codes)

    async def code(self, wait_s: float) -> str:
        self._fault("code")
        if len(self.codes) <= 1:
            raise CaptureRetry("No code was shown.")
        return self.codes.pop()

    def cancel(self) -> None:
        self.cancelled += 1


@dataclass
class FakeExaminer:
    """Templates are the names of what was shown; site: captures that the site's 1:N holds."""

    site: dict[str, set[bytes]] = field(default_factory=dict)
    portrait: bytes = b"jpeg"
    eye_picture: bytes = b"jpeg"

    async def finger(self, frame: Frame, position: FingerPosition) -> Examined:
        shows = frame.metadata["shows"].encode()
        return Examined(b"FIR " + shows, int(frame.metadata["quality"]), b"jpeg", shows)

    async def face(self, frame: Frame) -> Examined:
        return Examined(b"FAC " + frame.metadata["shows"].encode(), int(frame.metadata["quality"]), self.portrait)

    async def iris(self, burst: Sequence[Frame], position: IrisPosition) -> Examined:
        best = max(burst, key=lambda frame: int(frame.metadata["quality"]))
        shows = best.metadata["shows"]
        eye = IrisPosition(int(shows[-1]))
        return Examined(b"IIR " + shows.encode(), int(best.metadata["quality"]), self.eye_picture, shows=eye)

    async def compare(self, probe: bytes, references: Sequence[bytes]) -> list[ComparisonScore]:
        return [ComparisonScore(80.0 if probe == reference else 5.0) for reference in references]

    async def search_site(self, probes: Mapping[FingerPosition, bytes], fmr: float) -> list[Candidate]:
        return [
            Candidate(capture, ComparisonScore(80.0))
            for capture, held in self.site.items()
            if held & set(probes.values())
        ]


@dataclass
class FakeKeeper:
    """Keeps bodies in a list. faults: raised before anything is kept."""

    register: Register
    full: bool = False
    kept: list[tuple[PacketKind, str, Body]] = field(default_factory=list)
    entries: list[GalleryEntry] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    receipts: dict[str, Receipt] = field(default_factory=dict)

    async def is_full(self) -> bool:
        return self.full

    async def keep(self, kind: PacketKind, packet_id: str, body: Body) -> Kept:
        if self.faults:
            raise self.faults.pop(0)
        self.kept.append((kind, packet_id, body))
        return Kept(packet_id, "ab" * 32, 1_790_000_000_000)

    async def keep_capture(self, packet_id: str, body: Body, entry: GalleryEntry) -> Kept:
        kept = await self.keep(PacketKind.ENROLMENT, packet_id, body)
        self.register.keep_claim(Claim(entry.nik, packet_id, confirmed=True))
        self.entries.append(entry)
        return kept

    async def receipt(self, pid: str) -> Receipt | None:
        return self.receipts.get(pid)


@dataclass
class FakeDesk:
    """A reader with one card on it."""

    chip: ChipContent
    attested: Biodata | None = None
    signature: bytes = b"no record"
    faults: list[Exception] = field(default_factory=list)

    async def read(self, card: ConsignedCard) -> ChipContent:
        if self.faults:
            raise self.faults.pop(0)
        return self.chip

    def attestation(self, card: ConsignedCard, chip: ChipContent) -> AttestationPage:
        if self.attested is None:
            raise DeviceError("no attestation")
        signed = Attestation(
            text_sha256=hashlib.sha256(statement_of_truth(self.attested)[0].encode()).digest(),
            biodata_sha256=biodata_digest(self.attested),
            signature=self.signature,
            agreed_ms=1_790_000_000_000,
        )
        return AttestationPage(
            capture_id=card.capture_id, card_number=card.card_number, biodata=self.attested, attestation=signed
        )

    def cancel(self) -> None:
        return


@dataclass
class Bench:
    """A unit made of fakes, with a register that knows one resident and three officers."""

    store: SealedStore
    clock: SetClock
    register: Register
    roster: RosterBook
    sensors: FakeSensors
    examiner: FakeExaminer
    keeper: FakeKeeper
    services: Services


def make_bench(folder: Path, *, status: RecordState = RecordState.UNREGISTERED, eligible: bool = True) -> Bench:
    clock = SetClock()
    store = SealedStore(folder / "unit.db", bytes(range(32)))
    register = Register(store, "9901-A")
    entry = RegisterEntry(biodata=biodata(), status=status, eligible=eligible, required_papers=PAPERS)
    register.take_page(RegisterPage(site="9901-A", page="p1", version=1, entries=(entry,)))
    roster = RosterBook(store, "9901-A", HUB_STATEMENT, TrustedTime(store, clock))
    roster.take(
        roster_of(
            operator_entry(OPERATOR, "operator"),
            operator_entry(SECOND, "front-desk-officer"),
            operator_entry(HEAD, "section-head"),
            operator_entry("op-late", "operator", lease_until_ms=1),
        )
    )
    sensors, examiner, keeper = FakeSensors(), FakeExaminer(), FakeKeeper(register)
    services = Services(sensors, examiner, keeper, register, roster, PolicyTable(), clock)
    return Bench(store, clock, register, roster, sensors, examiner, keeper, services)


def consigned(**changes: object) -> ConsignedCard:
    fields: dict[str, object] = {
        "capture_id": "01920000-0000-7000-8000-000000000001", "nik": NIK, "name": "SARI CONTOH", "card_uid": CARD_UID,
        "card_number": "C-1", "attestation": b"sealed", "old_card_due": True, "issuer_key": bytes(91),
    }  # fmt: skip
    return ConsignedCard.model_validate(fields | changes)


def chip(
    uid: str = CARD_UID,
    nik: str = NIK,
    fingers: Sequence[int] = (2, 7),
    person: str = "sari",
    name: str = "SARI CONTOH",
) -> ChipContent:
    return ChipContent(
        card_uid=uid,
        card_number="C-1",
        biodata=biodata(nik, name),
        portrait=b"jp2",
        signature=b"png",
        templates={FingerPosition(finger): f"{person}/{finger}".encode() for finger in fingers},
        attestation_key=bytes(32),
    )
