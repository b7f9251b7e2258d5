"""The personalisation station: a job, a blank, a chip that is encoded first, a print, a read-back, a release (M32–M36).

`PersonalisationDesk` runs the table of edge.personalisation_steps on real devices. Every step is kept before the next
begins, so that the work goes on where it stood after a power cut, with the same card and without printing twice. The
result goes out through `report`, which seals and spools it like a capture.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import structlog

from contract.chip_layout import chip_files
from contract.clock import Clock
from contract.dispatch import JobAnswer, PrintJob
from contract.errors import CaptureRetry, DeviceError, RekamError, RemoteError, TransientError
from contract.identifiers import uuid7
from edge.blank_picture import blank_picture
from edge.eligibility import Refusal
from edge.personalisation_steps import TEXTS, Event, Step, Work, advance_work, next_attempt, report_of
from edge.personalisation_store import StationStore
from edge.print_jobs import JobResult, PrinterCondition, PrintJobRef, PrintProgress
from edge.procedure import Advice, Fields, Refused, Retry
from edge.sealed_store import SealedStore
from edge.sensors.interface import CardReader
from edge.station_card import check_job
from edge.station_ports import About, Officers, Report, StationDevices
from edge.station_view import Notes, station_snapshot

READER_MARGIN_S = 30.0
ACT_WAIT_S = 25.0
REASON_LETTERS_MIN = 3
OPERATOR_ROLE, SECTION_HEAD_ROLE = "operator", "section-head"

T = TypeVar("T")
log = structlog.get_logger("edge.personalisation")


class PersonalisationDesk:
    """One station. Lives on the event loop; `load` it before use.

    report: seals and spools a body under a packet id; called again with the same id after a power cut.
    """

    def __init__(
        self, store: SealedStore, devices: StationDevices, officers: Officers, report: Report, clock: Clock
    ) -> None:
        self._store = StationStore(store)
        self._devices = devices
        self._officers = officers
        self._report = report
        self._clock = clock
        self._works: dict[str, Work] = {}
        self._job: PrintJob | None = None
        self._task: asyncio.Task[None] | None = None
        self._notes = Notes()
        self._revision = 1
        self._changed = asyncio.Event()
        self._about: dict[str, About] = {}
        self._actions: Mapping[str, Callable[[Work, Fields], Awaitable[None]]] = {
            "put_back": self._put_back,
            "check": self._check,
            "encode": self._encode,
            "print": self._print,
            "check_print": self._check_print,
            "print_again": self._print_again,
            "printed": self._seen_printed,
            "not_printed": self._print_again,
            "read_back": self._read_back,
            "release": self._release,
            "spoil": self._spoil,
            "retry": self._send_report,
        }

    # --- from the hub ---

    async def load(self) -> None:
        """Take up what a power cut left; a result that was not reported yet is reported."""
        for work in await asyncio.to_thread(self._store.works):
            job = await asyncio.to_thread(self._store.job, work.job_id)
            self._keep_in_mind(work, job)
            if work.step is not Step.WAITING:
                self._job = job
        work_now = self.current
        if work_now is not None and work_now.step is Step.REPORT:
            await self._attempt(self._send_report(work_now, {}))
        self.touch()

    async def accept(self, job: PrintJob) -> JobAnswer:
        """Take a print job in, or refuse it with a reason. The same job again gets the same answer."""
        try:
            if not await asyncio.to_thread(self._store.has, job.job_id):
                if await asyncio.to_thread(self._store.is_full):
                    raise RemoteError("The station has no room for more jobs.", next_step="Work some off first.")
                await asyncio.to_thread(check_job, job, self._devices.card)
                work = Work(job_id=job.job_id)
                await asyncio.to_thread(self._store.add, job, work)
                self._keep_in_mind(work, job)
                self.touch()
        except RemoteError as error:
            log.warning("print job refused", job_id=job.job_id, **error.diagnostics())
            return JobAnswer(job_id=job.job_id, accepted=False, reason=str(error)[:200], at_ms=self._clock.wall_ms())
        return JobAnswer(job_id=job.job_id, accepted=True, at_ms=self._clock.wall_ms())

    # --- the station's page (edge.ports.Station) ---

    @property
    def current(self) -> Work | None:
        """The work in hand, or None while jobs only wait."""
        return next((work for work in self._works.values() if work.step is not Step.WAITING), None)

    @property
    def busy(self) -> bool:
        """Whether an action is under way."""
        return self._task is not None and not self._task.done()

    def snapshot(self) -> dict[str, Any]:
        """Everything that the page draws itself from."""
        waiting = [
            {"job_id": work.job_id, "attempt": work.attempt, **self._about[work.job_id].shown()}
            for work in self._works.values()
            if work.step is Step.WAITING
        ]
        view = station_snapshot(self.current, self._job, waiting, self._notes, self.actions(), busy=self.busy)
        return {"revision": self._revision, **view}

    def actions(self) -> list[str]:
        """What may be done now."""
        work = self.current
        if self.busy:
            printing = work is not None and work.step is Step.PRINTING
            return ["cancel_print"] if printing else ["cancel"]
        if work is None:
            return ["start"] if self._works else []
        return list(TEXTS[work.step].actions)

    async def act(self, action: str, fields: Fields) -> None:
        """Do an action; returns when it is done, or after ACT_WAIT_S while it goes on. Raises Refused."""
        if action not in self.actions():
            code = Refusal.BUSY if self.busy else Refusal.NOT_ALLOWED
            raise Refused(code, f"'{action}' is not possible now.")
        if action == "cancel":
            self._devices.reader.cancel()
            return
        work = self.current
        if action == "cancel_print":
            if work is not None and work.print_id:
                await self._devices.printer.cancel(PrintJobRef(work.print_id, work.print_job, work.print_name))
            return
        self._notes = Notes(condition=self._notes.condition)
        run = self._start(fields) if work is None else self._actions[action](work, fields)
        task = self._task = asyncio.create_task(self._attempt(run), name=f"station-{action}")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # shown already, by _attempt
        self.touch()
        await asyncio.wait({task}, timeout=ACT_WAIT_S)
        if task.done():
            task.result()

    async def wait(self, after: int, timeout_s: float) -> None:
        """Return when the snapshot's revision is higher than `after`, or when the time is over."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self._revision <= after:
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                return
            try:
                await asyncio.wait_for(self._changed.wait(), remaining)
            except TimeoutError:
                return

    def picture(self, name: str) -> tuple[bytes, str] | None:
        """A picture for the page and its media type: front, back, or how the blank lies."""
        if name == "blank":
            return blank_picture(), "image/svg+xml"
        if self._job is None or name not in ("front", "back"):
            return None
        return (self._job.front if name == "front" else self._job.back), "image/png"

    async def check_printer(self) -> PrinterCondition:
        """The printer now, also for the page. Raises DeviceError."""
        condition = await self._devices.printer.condition()
        self._notes.condition = condition
        self.touch()
        return condition

    def touch(self) -> None:
        """Tell everybody who waits that the snapshot has changed."""
        self._revision += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def close(self) -> None:
        """End what runs; it goes on after the next start."""
        if self._task is not None and not self._task.done():
            self._devices.reader.cancel()
            self._task.cancel()
            await asyncio.wait({self._task})

    # --- steps ---

    async def _attempt(self, run: Awaitable[None]) -> None:
        """One action; what it raises is shown, and the step asks again. Raises Refused, for who asked."""
        try:
            await run
        except Refused as refused:
            self._notes.problem = refused.diagnostics()
            raise
        except Retry as retry:
            self._notes.advice = retry.advice
        except CaptureRetry as retry:
            self._notes.advice = Advice(retry.next_step, retry.message)
        except RekamError as error:
            self._notes.problem = error.diagnostics()
            log.warning("station step failed", **error.diagnostics())
        except Exception as error:
            log.exception("station step raised")
            self._notes.problem = DeviceError(
                f"The station could not do this step ({type(error).__name__}).",
                next_step="Try once more; then report the time to the technician.",
            ).diagnostics()
        finally:
            self._task = None
            self.touch()

    async def _start(self, fields: Fields) -> None:
        nik = fields.get("nik", "")
        operator = await self._officers.authorise(fields.get("operator", ""), OPERATOR_ROLE, fields)
        found = [work for work in self._works.values() if self._about[work.job_id].nik == nik]
        if not found:
            raise Refused(Refusal.INVALID, "No print job for this NIK is on this station.")
        self._job = await asyncio.to_thread(self._store.job, found[0].job_id)
        await self._move(found[0], Event.STARTED, operator=operator)

    async def _put_back(self, work: Work, _fields: Fields) -> None:
        await self._move(work, Event.PUT_BACK, operator="", steps=())
        self._job = None

    async def _check(self, work: Work, _fields: Fields) -> None:
        card_uid = await self._at_reader(self._devices.card.look_at_blank)
        bound_to = await asyncio.to_thread(self._store.job_of_chip, card_uid)
        if bound_to:
            raise RemoteError(
                "This card was used before, for this or another job; it is no fresh blank.",
                next_step="Take it off and set it aside as spoiled; lay another blank on the reader.",
            )
        await self._move(work, Event.BLANK_BOUND, binds=card_uid, card_uid=card_uid)

    async def _encode(self, work: Work, _fields: Fields) -> None:
        files, loop = chip_files(self._at_hand().chip_files), asyncio.get_running_loop()

        def on_progress(done: int, total: int) -> None:
            loop.call_soon_threadsafe(self._show_progress, done, total)

        digest = await self._at_reader(
            lambda reader, cancel: self._devices.card.encode(reader, cancel, files, work.card_uid, on_progress)
        )
        await self._move(work, Event.ENCODED, read_back=digest)

    async def _print(self, work: Work, _fields: Fields) -> None:
        """Begin a print: the job's name is kept before anything is sent, so that it can be found again."""
        condition = await self.check_printer()
        side: str = "back" if work.step is Step.TURN else "both" if condition.two_sided else "front"
        number = work.prints + 1
        name = f"rekam-{work.job_id}-{work.attempt}-{number}-{side}"
        work = await self._move(work, Event.PRINT_BEGUN, side=side, prints=number, print_name=name, print_id=0)
        job = self._at_hand()
        faces = {"both": [job.front, job.back], "front": [job.front], "back": [job.back]}[side]
        try:
            sent = await self._devices.printer.start(faces, name)
        except (TransientError, RemoteError):
            await self._move(work, Event.NOT_SENT)
            raise
        await self._follow(await self._note_sent(work, sent))

    async def _check_print(self, work: Work, _fields: Fields) -> None:
        """After a power cut of station or printer: find the job by its name and follow it, or ask a person."""
        found = await self._devices.printer.find(work.print_name)
        if found is None:
            await self._move(work, Event.FORGOTTEN)
            return
        await self._follow(await self._note_sent(work, found))

    async def _follow(self, work: Work) -> None:
        ref = PrintJobRef(work.print_id, work.print_job, work.print_name)
        try:
            outcome = await self._devices.printer.follow(ref, self._show_print)
        except RemoteError:
            await self._move(work, Event.FORGOTTEN)
            return
        if outcome.result is JobResult.COMPLETED:
            await self._move(work, Event.FRONT_DONE if work.side == "front" else Event.FACES_DONE)
            return
        await self._move(work, Event.PRINT_FAILED)
        faults = "; ".join(fault.advice_en for fault in outcome.faults) or f"the job was {outcome.result}"
        raise DeviceError(f"The card was not printed: {faults}", next_step="Look at the card, then choose below.")

    async def _print_again(self, work: Work, _fields: Fields) -> None:
        await self._move(work, Event.PRINT_AGAIN)

    async def _seen_printed(self, work: Work, _fields: Fields) -> None:
        await self._move(work, Event.FRONT_DONE if work.side == "front" else Event.FACES_DONE)

    async def _read_back(self, work: Work, _fields: Fields) -> None:
        job = self._at_hand()
        digest = await self._at_reader(
            lambda reader, cancel: self._devices.card.read_back(reader, cancel, job, work.card_uid)
        )
        await self._move(work, Event.CHECKED, read_back=digest)

    async def _release(self, work: Work, fields: Fields) -> None:
        officer = await self._officers.authorise(fields.get("operator", ""), SECTION_HEAD_ROLE, fields)
        if officer == work.operator:
            raise Refused(Refusal.NOT_ALLOWED, "Whoever made the card does not release it: a section head does.")
        work = await self._move(
            work, Event.RELEASED, released_by=officer, outcome="released", report_id=uuid7(self._clock)
        )
        await self._send_report(work, {})

    async def _spoil(self, work: Work, fields: Fields) -> None:
        reason = " ".join(fields.get("reason", "").split())[:200]
        if len(reason) < REASON_LETTERS_MIN:
            raise Refused(Refusal.INVALID, "A spoiled card is written off with a reason.")
        work = await self._move(work, Event.SPOILED, outcome="spoiled", reason=reason, report_id=uuid7(self._clock))
        await self._send_report(work, {})

    async def _send_report(self, work: Work, _fields: Fields) -> None:
        """Hand the result over to the spool; a spoiled job waits for another blank, a released one is done."""
        await asyncio.shield(
            asyncio.ensure_future(self._report(work.report_id, report_of(work, self._at_hand().capture_id)))
        )
        if work.outcome == "released":
            await asyncio.to_thread(self._store.finish, work.job_id)
            del self._works[work.job_id], self._about[work.job_id]
        else:
            again = next_attempt(work, self._clock.wall_ms())
            await asyncio.to_thread(self._store.put, again)
            self._works[work.job_id] = again
        self._job = None

    # --- how ---

    async def _move(self, work: Work, event: Event, *, binds: str = "", **changes: Any) -> Work:
        """Advance the work, durably, before anything else happens."""
        moved = advance_work(work, event, self._clock.wall_ms(), **changes)
        await asyncio.shield(asyncio.to_thread(self._store.put, moved, binds=binds))
        self._works[moved.job_id] = moved
        self._notes.progress, self._notes.print_faults = None, ()
        self.touch()
        return moved

    async def _note_sent(self, work: Work, sent: PrintJobRef) -> Work:
        """Keep the printer's own name of the job, beside those of earlier prints on this card."""
        names = [name for name in work.print_job.split(" ") if name and name != sent.uri]
        noted = work.model_copy(update={"print_id": sent.job_id, "print_job": " ".join([*names, sent.uri])[-200:]})
        await asyncio.shield(asyncio.to_thread(self._store.put, noted))
        self._works[noted.job_id] = noted
        return noted

    async def _at_reader(self, call: Callable[[CardReader, threading.Event], T]) -> T:
        return await self._devices.reader.run(call, self._devices.card.timeout_s + READER_MARGIN_S)

    def _at_hand(self) -> PrintJob:
        if self._job is None:
            raise Refused(Refusal.NO_SESSION)
        return self._job

    def _keep_in_mind(self, work: Work, job: PrintJob) -> None:
        self._works[work.job_id] = work
        self._about[work.job_id] = About(job.nik, job.biodata.name, job.card_number)

    def _show_progress(self, done: int, total: int) -> None:
        self._notes.progress = (done, total)
        self.touch()

    def _show_print(self, progress: PrintProgress) -> None:
        self._notes.print_faults = progress.faults
        self.touch()
