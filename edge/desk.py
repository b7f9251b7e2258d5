"""What the unit's pages, and programs beside them, can ask of the unit: one capture and one handover at a time.

Holds the open procedures and nothing else; every rule is in the step tables and in the register's checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from contract.errors import RekamError
from contract.sample import Modality
from contract.transfer import Receipt
from edge.capture_state import Capture, Services
from edge.config import UnitTable
from edge.diary import BoxLines, Diary, DiaryPen
from edge.eligibility import OPERATOR_ROLE, Eligibility, Refusal, check_eligibility
from edge.enclosure import WorkView
from edge.enrolment import start_enrolment
from edge.handover import HANDOVER_ROLES as OFFICER_ROLES
from edge.handover import Handover, start_handover
from edge.officer_desk import OfficerDesk, OfficerWork
from edge.ports import ChipDesk, Station, TicketState
from edge.procedure import Fields, Procedure, Refused
from edge.sign_on import Purpose
from edge.snapshot import Snapshot, handover_snapshot, session_snapshot
from edge.ticket_desk import TicketDesk

log = structlog.get_logger("edge.desk")

CAPTURE_ROLES = frozenset({"kiosk", "desk", "mobile"})
HANDOVER_ROLES = frozenset({"handover", "desk", "mobile"})
PRINTED_STEPS = frozenset({"saved", "berhasil", "gagal"})
STATION_ROLES = frozenset({"station"})


@dataclass(frozen=True, slots=True)
class Reports:
    """What the composition root tells of the rest of the unit, as JSON-able maps; release: tries held packets again."""

    status: Callable[[], Mapping[str, Any]]
    links: Callable[[], Any]
    capture: Callable[[str], Mapping[str, Any] | None]
    release: Callable[[], int]


class Desk:
    """The open work of one unit. Lives on the event loop."""

    def __init__(
        self,
        unit: UnitTable,
        services: Services,
        reports: Reports,
        *,
        chip_desk: ChipDesk | None = None,
        station: Station | None = None,
        diary: Diary | None = None,
        tickets: TicketDesk | None = None,
        officers: OfficerDesk | None = None,
    ) -> None:
        self.unit = unit
        self.services = services
        self.reports = reports
        self.chip_desk = chip_desk
        self.station = station
        self.diary = diary
        self.tickets = tickets
        self.officers = officers
        if officers is not None:
            officers.note = lambda work, step, operator: self._note(work, step, "", operator)
        self.watch: Callable[[WorkView | None], None] = lambda _work: None
        self._pen = DiaryPen()
        self._printing: set[asyncio.Task[None]] = set()
        self._box_lines = BoxLines()
        self._session: Procedure[Capture] | None = None
        self._handover: Procedure[Handover] | None = None
        self._starting = asyncio.Lock()
        self.technician = ""
        self._technician_changed = asyncio.Event()

    @property
    def is_free(self) -> bool:
        """Whether nobody is served and no device works for a person."""
        officers = self.officers is not None and not self.officers.is_free
        at_work = self._serves or self._printing or (self.station is not None and self.station.busy)
        return not (at_work or officers or self.technician or self._starting.locked())

    @property
    def _serves(self) -> bool:
        """Whether a capture or a handover is open."""
        return any(work is not None and not work.ended for work in (self._session, self._handover))

    @contextmanager
    def held_by(self, technician: str) -> Iterator[None]:
        """Keep the unit to a technician who is not here: no work begins meanwhile. Raises Refused where it is not free.

        The pages say so for as long as it lasts.
        """
        if not self.is_free:
            raise Refused(Refusal.BUSY)
        self._set_technician(technician)
        self._note("technician", "test", "", technician)
        try:
            yield
        finally:
            self._set_technician("")

    async def technician_after(self, known: str, wait_s: float) -> str:
        """Who tests the unit from afar, or nobody; waits as long as it is whom the page knows."""
        if self.technician == known:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._technician_changed.wait()
        return self.technician

    def _set_technician(self, technician: str) -> None:
        self.technician = technician
        self._tell_pages()

    def _tell_pages(self) -> None:
        changed, self._technician_changed = self._technician_changed, asyncio.Event()
        changed.set()

    @property
    def takes_captures(self) -> bool:
        """Whether this unit's role captures residents."""
        return self.unit.role in CAPTURE_ROLES

    @property
    def hands_over(self) -> bool:
        """Whether this unit's role hands cards over, and it has a reader to do it with."""
        return self.unit.role in HANDOVER_ROLES and self.chip_desk is not None

    # --- capture ---

    async def eligibility(self, nik: str, papers: Sequence[str]) -> Eligibility:
        """The check before a session, for the desk's form."""
        full = await self.services.keeper.is_full()
        return check_eligibility(self.services.register, nik, papers, spool_full=full)

    async def start_session(self, nik: str, operator: str, papers: Sequence[str]) -> Snapshot:
        """Begin a capture. Raises Refused."""
        if not self.takes_captures:
            raise Refused(Refusal.NOT_THIS_ROLE)
        async with self._starting:
            self._free()
            try:
                self._require(operator, OPERATOR_ROLE)
                procedure = await start_enrolment(self.services, nik, operator, papers)
            except Refused as refused:
                self._note("enrolment", refused.refusal.value, nik, operator)
                raise
            self._follow(procedure, "enrolment", nik, operator, procedure.context.capture_id)
            self._session = procedure
        return session_snapshot(procedure)

    def session(self) -> Procedure[Capture]:
        """The open capture. Raises Refused."""
        if self._session is None:
            raise Refused(Refusal.NO_SESSION)
        return self._session

    def session_picture(self, modality: str, position: int) -> bytes | None:
        """The small picture of a sample that was taken, or None."""
        taken = self.session().context.taken.get((Modality(modality), position)) if modality in set(Modality) else None
        return taken.examined.picture or None if taken else None

    # --- handover ---

    async def start_handover(self, operator: str, *, nik: str = "", card_uid: str = "") -> Snapshot:
        """Begin a handover. Raises Refused."""
        if not self.hands_over or self.chip_desk is None:
            raise Refused(Refusal.NOT_THIS_ROLE)
        async with self._starting:
            self._free()
            try:
                self._require(operator, *OFFICER_ROLES)
                procedure = start_handover(self.services, self.chip_desk, operator, nik=nik, card_uid=card_uid)
            except Refused as refused:
                self._note("handover", refused.refusal.value, nik, operator)
                raise
            self._follow(procedure, "handover", procedure.context.card.nik, operator, procedure.context.handover_id)
            self._handover = procedure
        return handover_snapshot(procedure)

    def handover(self) -> Procedure[Handover]:
        """The open handover. Raises Refused."""
        if self._handover is None:
            raise Refused(Refusal.NO_SESSION)
        return self._handover

    # --- both ---

    async def act(self, procedure: Procedure[Any], action: str, fields: Fields, wait_s: float) -> None:
        """Start an action and wait for its end, but no longer than `wait_s`. Raises Refused."""
        if action == "cancel":
            await procedure.cancel()
            return
        if self.officers is not None and procedure in (self._session, self._handover) and not procedure.ended:
            self.officers.check_work(procedure)
        task = procedure.start(action, fields)
        await asyncio.wait({task}, timeout=wait_s)
        if procedure.step == "finished":
            self._close(procedure)

    # --- officers ---

    async def identify_officer(self, operator: str, purpose: Purpose, subject: str = "") -> OfficerWork:
        """An officer signs on, changes their PIN, or lifts a lock. Raises Refused while somebody is served.

        It may be done beside open work whose own officer may not go on: the one who signs on takes it over.
        """
        self.check_not_held()
        officers = self._officers()
        if any(work is not None and officers.may_finish(work) for work in (self._session, self._handover)):
            raise Refused(Refusal.BUSY)
        return await officers.identify(operator, purpose, subject)

    def enrol_operator(self, operator_id: str, name: str, roles: Sequence[str]) -> OfficerWork:
        """The officer who is signed on takes a new operator. Raises Refused."""
        self.check_not_held()
        if self._serves:
            raise Refused(Refusal.BUSY)
        return self._officers().enrol(operator_id, name, roles)

    def _officers(self) -> OfficerDesk:
        if self.officers is None:
            raise Refused(Refusal.NOT_THIS_ROLE)
        return self.officers

    def _require(self, operator: str, *roles: str) -> None:
        if self.officers is not None:
            self.officers.require(operator, *roles)

    async def cancel_open(self) -> None:
        """The cancel button on the unit's box: what is open ends as if its page had said so; else nothing happens."""
        for procedure in (self._session, self._handover):
            if procedure is not None and procedure.may_cancel:
                await procedure.cancel()

    def note(self, work: str, step: str) -> None:
        """A line in the diary that belongs to nobody's capture. A contact that chatters does not fill the disk."""
        if self._box_lines.may_write(self.services.clock.monotonic_ms()):
            self._note(work, step, "", "")

    def note_receipt(self, pid: str, receipt: Receipt) -> None:
        """The hub has signed for a packet: the screen that waits for it is told."""
        if self.officers is not None:
            self.officers.note_receipt(pid, receipt)
        for procedure in (self._session, self._handover):
            context = procedure.context if procedure else None
            if procedure is not None and context is not None and context.kept is not None and context.kept.pid == pid:
                context.receipt = receipt
                procedure.touch()

    def answer_waiting(self) -> None:
        """Let every page that waits for a change have its answer now, so that the pages can end in good order."""
        for waited_for in (self._session, self._handover, self.station):
            if waited_for is not None:
                waited_for.touch()
        self._tell_pages()

    async def leave(self) -> None:
        """The agent stops: what is open is cancelled and forgotten."""
        if self.officers is not None:
            await self.officers.leave()
        for procedure in (self._session, self._handover):
            if procedure is not None and procedure.may_cancel:
                try:
                    await procedure.cancel()
                except RekamError:
                    continue
            if procedure is not None:
                procedure.context.forget()
        for task in self._printing:
            task.cancel()
        await self._pen.finish()
        await asyncio.gather(*self._printing, return_exceptions=True)

    # --- paper ---

    async def queue_number(self, service: str) -> dict[str, Any]:
        """Hand out a number; it counts whether or not it could be printed. Raises Refused."""
        tickets = self._tickets(service)
        entry, ahead = await tickets.issue(service)
        self._note("queue", entry.number, "", "")
        return {"number": entry.number, "service": service, "ahead": ahead, "ticket": await self._paper(entry.number)}

    async def reprint_number(self, number: str) -> dict[str, Any]:
        """Print one of today's numbers once more. Raises Refused."""
        return {"number": number, "ticket": await self._paper(number)}

    async def call_number(self, service: str) -> str | None:
        """Call the next number, or None where nobody waits. Raises Refused."""
        entry = await self._tickets(service).call(service)
        return entry.number if entry else None

    def print_ticket(self, procedure: Procedure[Any]) -> None:
        """Print what belongs to the outcome of this work, again where it was printed before. Raises Refused."""
        context, tickets = procedure.context, self._tickets()
        if isinstance(context, Capture):
            papers = tickets.of_capture(context) if procedure.step == "saved" else ()
        else:
            ended = procedure.step in ("berhasil", "gagal")
            papers = tickets.of_handover(context, berhasil=procedure.step == "berhasil") if ended else ()
        if not papers or (context.ticket is not None and context.ticket.state == "printing"):
            raise Refused(Refusal.NOT_ALLOWED, "There is nothing to print now.")
        context.ticket = TicketState("printing")
        procedure.touch()

        async def run() -> None:
            context.ticket = await tickets.print(papers)
            procedure.touch()

        task = asyncio.create_task(run(), name="ticket")
        self._printing.add(task)
        task.add_done_callback(self._printing.discard)

    def _tickets(self, service: str = "") -> TicketDesk:
        if self.tickets is None or (service and service not in self.tickets.queue.services):
            raise Refused(Refusal.NOT_THIS_ROLE)
        return self.tickets

    async def _paper(self, number: str) -> dict[str, str]:
        tickets = self._tickets()
        entry = tickets.queue.find(number)
        if entry is None:
            raise Refused(Refusal.NO_SESSION, "This number was not handed out today.")
        return asdict(await tickets.print(tickets.number(entry)))

    def _follow(self, procedure: Procedure[Any], work: str, nik: str, operator: str, session_id: str) -> None:
        """Write the start and every further step of this work into the diary (M10), and print what it ends with."""

        def on_step(step: str) -> None:
            self._note(work, step, nik, operator, session_id)
            if self.tickets is not None and self.tickets.prints and step in PRINTED_STEPS:
                self.print_ticket(procedure)

        def on_touch() -> None:
            ends = procedure.table[procedure.step].ends
            self.watch(WorkView(procedure.step, procedure.busy, ends, problem=procedure.problem is not None))

        procedure.on_step, procedure.on_touch = on_step, on_touch
        on_touch()
        self._note(work, procedure.step, nik, operator, session_id)

    def _note(self, work: str, step: str, nik: str, operator: str, session_id: str = "") -> None:
        if self.diary is not None:
            self._pen.write(self.diary, work, step, nik, operator, session_id)

    def _free(self) -> None:
        """Make room for new work. Raises Refused while a person is being served, or a technician tests the unit."""
        self.check_not_held()
        for procedure in (self._session, self._handover):
            if procedure is not None and not procedure.ended:
                raise Refused(Refusal.BUSY)
            if procedure is not None:
                self._close(procedure)

    def check_not_held(self) -> None:
        """Raises Refused while a technician tests the unit."""
        if self.technician:
            raise Refused(Refusal.TECHNICIAN)

    def _close(self, procedure: Procedure[Any]) -> None:
        if procedure not in (self._session, self._handover):
            if self.officers is not None:
                self.officers.closed(procedure)
            return
        procedure.context.forget()
        self.watch(None)
        if procedure is self._session:
            self._session = None
        if procedure is self._handover:
            self._handover = None
