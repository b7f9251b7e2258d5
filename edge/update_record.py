"""What a unit remembers of updates: its version floor, the newest job, how far it came, and what it reports.

One durable file in the data folder, which outlives slots; which slot runs and why one was left is the launcher's file.
Where the two disagree after a power cut, the launcher's is what happened, and `settle` lets this one follow. What
another release's agent has written here is read as far as it is understood: the floor and the job survive going back.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
from pydantic import Field, ValidationError

from contract.cbor_bounds import loads_map
from contract.clock import Clock, utc
from contract.dispatch import encode
from contract.durable_files import DurableFolder, Observer, unobserved
from contract.errors import DeviceError, RemoteError
from contract.packet import Millis, Model, Name
from contract.update_problems import UPDATE_WORDING, UpdateProblem, UpdateRefusal
from contract.updates import Artefact, FloorNumber, Running, UpdateJob, UpdateReport, UpdateState
from edge.launcher import Boot
from edge.panel_words import version_text
from edge.slot_schema import SlotSchema, schema_in
from edge.slots import Release, Slots
from edge.software import version

RECORD, UPDATES_FOLDER = "record.bin", "update"
RECORD_BYTES_MAX = 64 * 1024
WRITING = frozenset({UpdateState.INSTALLING, UpdateState.TRIAL})
FAILED = frozenset({UpdateState.RETURNED, UpdateState.REFUSED})
AHEAD_MAX_MS = 86_400_000
STATES_ID = {
    UpdateState.RECEIVED: "Diterima", UpdateState.DOWNLOADING: "Mengunduh", UpdateState.READY: "Menunggu giliran",
    UpdateState.INSTALLING: "Memasang", UpdateState.TRIAL: "Masa percobaan", UpdateState.GOOD: "Berhasil",
    UpdateState.RETURNED: "Dikembalikan", UpdateState.REFUSED: "Ditolak", UpdateState.CANCELLED: "Dibatalkan",
}  # fmt: skip
log = structlog.get_logger("updates")


class Record(Model):
    """The file. failing: what was not well before a trial; firmware: image that its release brings, in the folder."""

    floor: FloorNumber = 0
    schema_number: FloorNumber = 0
    seen_ms: Millis = 0
    job: UpdateJob | None = None
    state: UpdateState | None = None
    problem: UpdateProblem | None = None
    detail: Annotated[str, Field(max_length=1000)] = ""
    failing: Annotated[tuple[Name, ...], Field(max_length=40)] = ()
    firmware: Annotated[str, Field(max_length=400)] = ""
    firmware_number: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0


class Updates:
    """The record of one unit. Methods block on the disk; Refusal (STORE_UNUSABLE) where that fails. Thread-safe."""

    def __init__(self, folder: Path, slots: Slots | None, clock: Clock, observe: Observer = unobserved) -> None:
        """folder: of the unit's updates, in its data folder; slots: None where it does not run from one."""
        self.folder = folder
        self.slots = slots
        self._clock = clock
        self._files = DurableFolder(folder, observe)
        self._turn = threading.RLock()
        self.record = self._read()
        self.writes = False  # this run has begun to write for the job, which is not taken back or replaced any more
        self.progress = (0, 0)
        # The board's own version, once the controller is known.
        self.firmware: tuple[str, int] = ("", 0)

    @property
    def release(self) -> Release:
        """What runs."""
        found = self.slots.release(self.slots.own) if self.slots else None
        return found if found is not None and found.version else Release(0, version())

    @property
    def floor(self) -> int:
        """Nothing with a smaller number is installed."""
        return max(self.record.floor, 0 if self.on_trial else self.release.number)

    @property
    def slot_schema(self) -> SlotSchema:
        """The schema of settings that what runs has brought."""
        return schema_in(self.slots.path(self.slots.own)) if self.slots else SlotSchema()

    @property
    def schema_number(self) -> int:
        """Of the schema of settings in force."""
        return max(self.record.schema_number, self.slot_schema.number)

    def schema_of_release(self) -> bytes | None:
        """That schema, where it came with what runs; None where the one beside the keys counts."""
        found = self.slot_schema
        return found.content if found.number > self.record.schema_number else None

    @property
    def on_trial(self) -> bool:
        """Whether what runs has yet to be found good."""
        return self.slots is not None and self.slots.is_on_trial

    @property
    def tried(self) -> Record:
        """The record, where what is on trial or was last is its job's; nothing where a package brought it."""
        job = self.record.job
        is_its = self.slots is not None and job is not None and self.slots.boot.job == job.job
        return self.record if is_its else Record()

    def now(self) -> datetime.datetime:
        """The time by the unit's own clock, within its bounds."""
        return utc(self._clock.wall_ms())

    def note(self, job: UpdateJob, state: UpdateState, **changes: object) -> bool:
        """The job has come so far, durably; False where it has ended meanwhile, or another took its place."""
        with self._turn:
            if not self._is_under_way(job):
                return False
            self._write(state=state, **changes)
            self.writes = state in WRITING
        log.info("update", state=state.value, job=job.job)
        return True

    def end(self, job: UpdateJob, refusal: UpdateRefusal, state: UpdateState = UpdateState.REFUSED) -> bool:
        """The job has ended without a new release; False where it had already."""
        with self._turn:
            if not self._is_under_way(job):
                return False
            self._write(state=state, problem=refusal.problem, detail=refusal.detail[:1000])
            self.writes = False
        log.warning("update", state=state.value, **refusal.diagnostics())
        return True

    def take_back(self) -> bool:
        """The hub does not want the job any more: whether it could still be taken back."""
        with self._turn:
            job = self.record.job
            return not self.writes and job is not None and self.note(job, UpdateState.CANCELLED)

    def returned(self, why: str) -> None:
        """What is on trial is given up."""
        if job := self.tried.job:
            self.end(job, UpdateRefusal(UpdateProblem.UNHEALTHY, why), UpdateState.RETURNED)
        else:
            log.warning("a release of no job is given up", why=why)

    def note_progress(self, done: int, whole: int) -> None:
        """Bytes here, bytes in all; kept in memory only, called from any thread."""
        self.progress = (done, whole)

    def know_firmware(self, number: int) -> None:
        """What the controller runs."""
        self.firmware = (version_text(number), number)

    def take(self, job: UpdateJob) -> bool:
        """A job from the hub: whether there is something to do. An older one, or the same again, is none.

        Nor is any while this run writes. A time of the hub's that was far ahead keeps no later job away.
        """
        with self._turn:
            seen_ms = self.record.seen_ms
            is_old = job.issued_ms < seen_ms <= self._clock.wall_ms() + AHEAD_MAX_MS
            if self.writes or is_old or self._is_known(job):
                log.info("job known already, or older than the last one", job=job.job)
                return False
            self.progress = (0, 0)
            self._write(
                job=job, seen_ms=job.issued_ms, state=UpdateState.RECEIVED, problem=None, detail="", failing=(),
                firmware="", firmware_number=0,
            )  # fmt: skip
        return True

    def may_come_back(self) -> bool:
        """Whether what was good before the release that runs is not below what a signer has called the lowest.

        Asked before the release is found good, which makes its own number the lowest for what is installed later.
        """
        return self._other_number() >= self.record.floor

    def raise_floor(self, number: int) -> None:
        """A signer says that nothing below may run any more; it never sinks."""
        with self._turn:
            if self.slots is not None and number > self._other_number():
                self.slots.forget_way_back()
            if number > self.record.floor:
                self._write(floor=number)

    def keep_schema(self, number: int) -> None:
        """This schema of settings lies beside the keys."""
        with self._turn:
            self._write(schema_number=max(number, self.record.schema_number))

    def found_good(self) -> None:
        """What runs is found good, the floor with it, and the job where it was that."""
        with self._turn:
            floor = max(self.record.floor, self.release.number)
            ended: dict[str, object] = {"problem": None, "detail": ""} if self.record.state not in FAILED else {}
            if self.tried.job:
                ended = {"state": UpdateState.GOOD, "problem": None, "detail": ""}
            self._write(floor=floor, **ended)
            self.writes = False

    def settle(self) -> bool:
        """After a start: let the record follow what the launcher did. Whether this start is a trial to be proved."""
        job, slots = self.record.job, self.slots
        if slots is None:
            return False
        boot = slots.boot
        self._note_crashes(slots, boot)
        if boot.trial == slots.own:
            if job is not None and boot.job == job.job and self.record.state is UpdateState.RETURNED:
                slots.leave(self.record.detail)  # it was given up, and then the power was cut
                return False
            return True
        if boot.trial and not self._leave_uncounted(slots):
            return False
        boot = slots.boot
        if job is None or boot.job != job.job:
            return False
        if boot.left:
            self.end(job, UpdateRefusal(UpdateProblem.NEVER_READY, boot.why), UpdateState.RETURNED)
        elif boot.good == slots.own and self._is_under_way(job):
            self.found_good()
        return False

    def running(self) -> Running:
        """What the unit runs."""
        release = self.release
        slot: Literal["", "a", "b"] = self.slots.own if self.slots else ""
        firmware, number = self.firmware
        return Running(
            version=release.version, number=release.number, slot=slot, floor=self.floor, firmware=firmware,
            firmware_number=number, schema_number=self.schema_number,
        )  # fmt: skip

    def report(self) -> UpdateReport:
        """What the hub is told."""
        record, (done, whole) = self.record, self.progress
        return UpdateReport(
            job=record.job.job if record.job else "", wave=record.job.wave if record.job else "", state=record.state,
            bytes_done=done, bytes_all=whole, problem=record.problem, detail=record.detail, running=self.running(),
            at_ms=self._clock.wall_ms(),
        )  # fmt: skip

    def status(self) -> Mapping[str, Any]:
        """For the unit's page and `rekam-edge status`: what runs, and how far the newest job is, in both languages."""
        record, running = self.record, self.running()
        found: dict[str, Any] = {
            "version": running.version, "number": running.number, "slot": running.slot, "floor": running.floor,
            "on_trial": self.on_trial, "schema": running.schema_number, "state": "",
        }  # fmt: skip
        if record.job is not None and record.state is not None:
            found |= {
                "state": record.state.value, "state_id": STATES_ID[record.state], "to": record.job.version,
                "artefact": record.job.artefact.value, "done": self.progress[0], "all": self.progress[1],
            }  # fmt: skip
        if record.problem is not None:
            said = UPDATE_WORDING[record.problem]
            found |= {
                "problem_id": f"{said.what_id} {said.do_id}",
                "problem_en": f"{said.what_en} {record.detail} {said.do_en}",
            }
        return found

    def check(self, job: UpdateJob, unit: str, present: int) -> bool:
        """Whether a job is to be done; False where it already is. present: the number of the artefact that is here.

        Raises UpdateRefusal for one that is not for this unit, or goes back.
        """
        if job.unit != unit:
            raise UpdateRefusal(UpdateProblem.FOR_OTHER_UNIT, f"It is for {job.unit}, this is {unit}.")
        if job.artefact is Artefact.EDGE and self.slots is None:
            raise UpdateRefusal(UpdateProblem.NO_SLOTS)
        lowest = max(present, self.floor) if job.artefact is Artefact.EDGE else present
        if job.number < lowest:
            raise UpdateRefusal(
                UpdateProblem.RELEASE_OLD, f"It is number {job.number}; {present} runs, and the floor is {lowest}."
            )
        return job.number != present

    def _note_crashes(self, slots: Slots, boot: Boot) -> None:
        """What the launcher made of a release that was found good, and then ended again and again."""
        job, known = self.record.job, self.record.problem
        if boot.came_back:
            # Of a release that no job brought, but the Debian package, only the problem is told.
            ended = {"state": UpdateState.RETURNED} if job is not None and boot.job == job.job else {}
            self._write(problem=UpdateProblem.CAME_BACK, detail=boot.why, **ended)
            slots.told()
        elif boot.stays and self.record.state not in FAILED:
            if self.record.detail != boot.stays:
                self._write(problem=UpdateProblem.NO_WAY_BACK, detail=boot.stays)
        elif not boot.stays and known is UpdateProblem.NO_WAY_BACK:
            self._write(problem=None, detail="")

    def _other_number(self) -> int:
        """Of the release in the slot that does not run; -1 where that holds none."""
        found = self.slots.release(self.slots.other) if self.slots is not None else None
        return found.number if found is not None else -1

    def _leave_uncounted(self, slots: Slots) -> bool:
        """The launcher started the good slot, since it could not count a start of the other: that one is left."""
        try:
            slots.leave("Its start could not be counted: the disk took nothing.")
        except DeviceError as error:
            log.warning("the trial waits", **error.diagnostics())
            return False
        return True

    def _is_known(self, job: UpdateJob) -> bool:
        tried = self.slots.boot.job if self.slots is not None else ""
        return job.job == tried or (self.record.job is not None and self.record.job.job == job.job)

    def _is_under_way(self, job: UpdateJob) -> bool:
        record = self.record
        is_it = record.job is not None and record.job.job == job.job
        return is_it and (record.state is None or not record.state.is_end)

    def _read(self) -> Record:
        content = self._files.read(RECORD)
        try:
            return _understood(loads_map(content, RECORD_BYTES_MAX)) if content is not None else Record()
        except RemoteError:
            return Record()  # the floor is found again: what runs is one

    def _write(self, **changes: object) -> None:
        record = self.record.model_copy(update=changes)
        self._files.write(RECORD, encode(record))
        self.record = record


def _understood(found: Mapping[str, Any]) -> Record:
    """A record as far as this software knows its fields, and their values."""
    kept: dict[str, Any] = {}
    for name in Record.model_fields:
        value = found.get(name)
        try:
            one = Record.model_validate({name: value} if name in found else {}, strict=False, extra="ignore")
            kept[name] = getattr(one, name)
        except ValidationError:
            continue
    return Record(**kept)
