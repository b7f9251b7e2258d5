"""A station for tests: a real sealed store and a virtual card, a printer that remembers, officers, and a power cut."""

import asyncio
import io
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from contract.apdu import parse_response
from contract.card_keys import SoftSam
from contract.chip_file import build_chip, sign_chip
from contract.dispatch import PrintJob
from contract.errors import CaptureRetry, DeviceError, RemoteError
from edge.eligibility import Refusal
from edge.personalisation import PersonalisationDesk
from edge.print_jobs import JobResult, PrinterCondition, PrintJobRef, PrintOutcome, PrintProgress
from edge.procedure import Refused
from edge.sealed_store import SealedStore
from edge.sensors.interface import DeviceInfo
from edge.station_card import StationCard
from edge.station_ports import StationDevices
from tests.unit.test_chip_file import BIODATA, CAPTURE_ID, FINGERS, ISSUER, ISSUER_PUBLIC
from virtual.card_box import CardBox
from virtual.card_slot import Slot

MASTER = bytes(range(32))
STORE_KEY = bytes(32)


def picture(colour):
    file = io.BytesIO()
    Image.new("RGB", (253, 160), colour).save(file, "PNG")
    return file.getvalue()


FRONT, BACK = picture("navy"), picture("maroon")


def make_job(number=1, *, issuer=ISSUER, biodata=BIODATA, card_number=None):
    card_number = card_number or f"9901-{number:010d}"
    files = sign_chip(
        build_chip(biodata, b"photo" * 300, b"signature" * 20, FINGERS, bytes(32)),
        issuer,
        card_number=card_number,
        capture_id=CAPTURE_ID,
        issued_on="2026-11-22",
    )
    return PrintJob(
        job_id=f"01890000-0000-7000-8000-{number:012x}",
        capture_id=CAPTURE_ID,
        card_number=card_number,
        nik=biodata.nik,
        biodata=biodata,
        chip_files=files.by_id,
        front=FRONT,
        back=BACK,
        destination="handover-a1",
        serves_here=False,
    )


class PowerCut(DeviceError):
    """The station's power has gone; nothing has any effect any more."""

    def __init__(self):
        super().__init__("The power has gone.")


class Fuse:
    """Blows at the nth point; from then on every point raises."""

    def __init__(self, points=10**9):
        self.points = points
        self.passed = 0

    @property
    def blown(self):
        return self.passed > self.points

    def burn(self):
        self.passed += 1
        if self.blown:
            raise PowerCut


class TickingClock:
    """A clock that moves on by itself, and never sleeps."""

    def __init__(self):
        self.now = 1_700_000_000_000

    def wall_ms(self):
        self.now += 10
        return self.now

    def monotonic_ms(self):
        return self.wall_ms()


class FusedStore(SealedStore):
    """A sealed store that loses power before or after a write."""

    def __init__(self, path, key, fuse):
        super().__init__(path, key)
        self.fuse = fuse

    def change(self, changes):
        self.fuse.burn()
        super().change(changes)
        self.fuse.burn()


class SlotReader:
    """A CardReader on a slot in this process."""

    def __init__(self, slot, fuse):
        self.slot = slot
        self.fuse = fuse

    def open(self):
        return DeviceInfo("slot", "a slot in this process")

    def close(self):
        pass

    def connect(self, timeout_s, cancel):
        if not self.slot.uid:
            raise CaptureRetry("No card came onto the reader.", next_step="Letakkan kartu.")
        return SlotChannel(self.slot, self.fuse)


class SlotChannel:
    def __init__(self, slot, fuse=None):
        self.slot, self.fuse, self.uid = slot, fuse or Fuse(), slot.uid

    def transmit(self, apdu):
        self.fuse.burn()
        answer = self.slot.exchange(apdu)
        if answer is None:
            raise CaptureRetry("The card was removed from the reader.", next_step="Letakkan kembali kartu.")
        response = parse_response(answer)
        return response.data, response.status

    def close(self):
        self.slot.exchange(b"\x00")


class ReaderThread:
    """A ReaderPort without a worker: the call runs on a thread of the loop."""

    def __init__(self, reader):
        self.reader = reader
        self.cancelled = threading.Event()

    async def run(self, call, timeout_s):
        return await asyncio.to_thread(call, self.reader, self.cancelled)

    def cancel(self):
        self.cancelled.set()


@dataclass
class RememberingPrinter:
    """A printer that outlives the station's power: it prints what it got, and remembers its jobs by name."""

    two_sided: bool = True
    fuse: Fuse = field(default_factory=Fuse)
    jobs: dict[str, list[bytes]] = field(default_factory=dict)
    results: list[JobResult] = field(default_factory=list)
    vanished: bool = False
    forgets: bool = False

    @property
    def sides(self):
        return [face for faces in self.jobs.values() for face in faces]

    async def condition(self):
        self._reach()
        return PrinterCondition("fake", "idle", "", self.two_sided, ())

    async def start(self, faces, name):
        self._reach()
        self.fuse.burn()
        result = self.results.pop(0) if self.results else JobResult.COMPLETED
        self.jobs[name] = list(faces) if result is JobResult.COMPLETED else []
        self.fuse.burn()
        return self._ref(name, result)

    async def find(self, name):
        self._reach()
        return self._ref(name, JobResult.COMPLETED) if name in self.jobs and not self.forgets else None

    async def follow(self, job, on_progress=None):
        self._reach()
        self.fuse.burn()
        if self.forgets:
            raise RemoteError("The printer has forgotten the job.")
        result = JobResult.COMPLETED if self.jobs.get(job.name) else JobResult.ABORTED
        if on_progress:
            on_progress(PrintProgress(job, result, (), ()))
        return PrintOutcome(job, result, (), ())

    async def cancel(self, job):
        self._reach()

    def _reach(self):
        if self.vanished:
            raise DeviceError("The printer does not answer.", next_step="Check its cable.")

    def _ref(self, name, result):
        return PrintJobRef(list(self.jobs).index(name) + 1, f"ipp://printer/{list(self.jobs).index(name) + 1}", name)


ROLES = {"op-1": ("operator",), "op-2": ("operator", "section-head"), "head-1": ("section-head",)}


class Roster:
    """Officers by name and role."""

    async def authorise(self, operator, role, fields):
        if role not in ROLES.get(operator, ()):
            raise Refused(Refusal.OPERATOR_UNKNOWN)
        return operator


class Stage:
    """A station, its desk, cards and printer; `restart` is what follows a power cut."""

    def __init__(self, folder: Path, *, two_sided=True, points=10**9, printer=None, port=None, blanks=5):
        self.folder = folder
        self.box = CardBox(folder / "cards")
        self.blanks = self.box.add_blanks(blanks, MASTER, 1)
        self.slot = Slot(self.box, random.Random(1).randbytes)
        self.fuse = Fuse(points)
        self.printer = printer or RememberingPrinter(two_sided)
        self.port = port or ReaderThread
        self.reports = {}
        self.report_error = None
        self.clock = TickingClock()
        self._open()

    def _open(self):
        if isinstance(self.printer, RememberingPrinter):
            self.printer.fuse = self.fuse
        self.store = FusedStore(self.folder / "unit.db", STORE_KEY, self.fuse)
        card = StationCard(SoftSam.load(MASTER), ISSUER_PUBLIC, timeout_s=1.0, extended=True)
        devices = StationDevices(self.port(SlotReader(self.slot, self.fuse)), self.printer, card)
        self.desk = PersonalisationDesk(self.store, devices, Roster(), self._report, self.clock)

    async def _report(self, report_id, body):
        self.fuse.burn()
        if self.report_error is not None:
            raise self.report_error
        self.reports[report_id] = body
        self.fuse.burn()

    async def restart(self):
        self.store.close()
        self.fuse = Fuse()
        self._open()
        await self.desk.load()

    @property
    def step(self):
        return self.desk.snapshot()["step"]

    def bodies(self, outcome):
        return [body for body in self.reports.values() if body.outcome == outcome]

    async def act(self, action, **fields):
        await self.desk.act(action, fields)
        return self.desk.snapshot()

    async def drive(self, until=None):
        """Do what a good operator does, until a step or until the job is done."""
        for _ in range(40):
            if self.fuse.blown or self.step == until:
                return
            work = self.desk.current
            if work is None and not self.desk.actions():
                return
            await self._next(work)
        raise AssertionError(f"stuck at {self.step}: {self.desk.snapshot()}")

    async def _next(self, work):
        step = self.step
        if step == "waiting":
            await self.act("start", nik=BIODATA.nik, operator="op-1")
        elif step in ("blank", "encode", "read_back"):
            if not self.slot.uid:
                self.slot.insert(work.card_uid or self.box.blanks()[0])
            await self.act({"blank": "check"}.get(step, step))
        elif step in ("preview", "turn"):
            self.slot.remove()
            await self.act("print")
        elif step == "printing":
            await self.act("check_print")
        elif step == "print_unsure":  # the operator looks at the card
            await self.act("printed" if self.printer.jobs.get(work.print_name) else "not_printed")
        elif step == "print_failed":
            await self.act("print_again")
        elif step == "release":
            await self.act("release", operator="head-1")
        elif step == "report":
            await self.act("retry")
