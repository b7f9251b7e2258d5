"""The queue of print jobs: one order a card, one job at a time before each station (`k/{unit}/dn/job/next`).

CARD_SHIPPED means that the print data reached the office: the station's answer to a job says so, and makes room for
the next one. Every method runs in the caller's transaction.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from contract import topics
from contract.chip_layout import chip_files
from contract.dispatch import JobAnswer, PrintJob, decode, encode
from contract.errors import RemoteError
from contract.lifecycle import RecordEvent, RecordState, UnitState
from hub import dispatches, outbox
from hub.context import HubContext
from hub.records import Records, is_printable, known
from hub.schema.tables import PrintOrder, Record, Resident, Site, Unit

STATION, DESKS = "station", ("handover", "desk")


class OrderState(StrEnum):
    """Where an order stands."""

    QUEUED = "queued"
    SENT = "sent"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    RELEASED = "released"
    WITHDRAWN = "withdrawn"


class PrintOrders:
    """Keeps orders and moves them."""

    def __init__(self, context: HubContext, records: Records) -> None:
        self._context = context
        self._records = records

    def place(self, session: Session, job: PrintJob, station: str, attestation: bytes) -> PrintOrder:
        """Enter an order; its record becomes SENT_FOR_CARD_PRINTING when the station's turn comes."""
        now = self._context.clock.wall_ms()
        order = PrintOrder(
            job_id=job.job_id,
            capture_id=job.capture_id,
            card_number=job.card_number,
            station=station,
            desk=job.destination,
            state=OrderState.QUEUED,
            made_ms=now,
            changed_ms=now,
            attestation=self._context.vault.lock(attestation, "attestation", job.job_id),
            job=self._context.vault.lock(encode(job), "print_order", job.job_id),
        )
        session.add(order)
        session.flush()
        return order

    def send_next(self, session: Session, station: str) -> PrintOrder | None:
        """Lay the oldest waiting job before a station that has answered the one before; returns it.

        A station that is not in service is sent nothing; its orders wait.
        """
        if session.get_one(Unit, station).state != UnitState.IN_SERVICE:
            return None
        at_station = PrintOrder.station == station
        query = select(PrintOrder).where(at_station, PrintOrder.state == OrderState.SENT)
        if session.scalars(query).first() is not None:
            return None
        order = self._next_printable(session, station)
        if order is None:
            if outbox.is_posted(session, topics.DN_JOB, unit=station):
                outbox.post(session, topics.DN_JOB, b"", self._context.clock.wall_ms(), unit=station)
            return None
        record = known(session, order.capture_id)
        if record.state == RecordState.PRINT_READY_RECORD:
            self._records.move(session, record, RecordEvent.PRINT_DATA_SENT, note={"job": order.job_id})
        dispatches.post_to_unit(session, self._context, topics.DN_JOB, self.job(order), station)
        self._set(session, order, OrderState.SENT)
        return order

    def _next_printable(self, session: Session, station: str) -> PrintOrder | None:
        """The oldest waiting order whose record may still be printed; the others before it are withdrawn (M32)."""
        waiting = select(PrintOrder).where(PrintOrder.station == station, PrintOrder.state == OrderState.QUEUED)
        for order in session.scalars(waiting.order_by(PrintOrder.made_ms)).all():
            if is_printable(session, known(session, order.capture_id)):
                return order
            self._set(session, order, OrderState.WITHDRAWN)
        return None

    def answered(self, session: Session, unit: str, job_id: str, answer: JobAnswer) -> PrintOrder:
        """A station holds the print data, or refuses them. Idempotent. Raises RemoteError for somebody else's job."""
        order = session.get(PrintOrder, job_id, with_for_update=True)
        if order is None or order.station != unit or answer.job_id != job_id:
            raise RemoteError("The answer is about a print job that this station does not have.")
        if order.state in (OrderState.SENT, OrderState.REFUSED):
            record = known(session, order.capture_id)
            if not answer.accepted:
                self._set(session, order, OrderState.REFUSED)
            else:
                self._set(session, order, OrderState.CONFIRMED)
                if record.state == RecordState.SENT_FOR_CARD_PRINTING:
                    self._records.move(session, record, RecordEvent.PRINT_DATA_CONFIRMED, unit, {"job": job_id})
        self.send_next(session, unit)
        return order

    def office_of(self, session: Session, job_id: str) -> str:
        """The site of the station that an order is for. Raises RemoteError for an order nobody made."""
        order = session.get(PrintOrder, job_id)
        if order is None:
            raise RemoteError("There is no such print order.", next_step="Reload the record's page.")
        return _site(session, order.station)

    def send_again(self, session: Session, job_id: str) -> PrintOrder:
        """Queue a refused order again, on an officer's word. Raises RemoteError for any other order."""
        order = session.get(PrintOrder, job_id, with_for_update=True)
        if order is None or order.state != OrderState.REFUSED:
            raise RemoteError("Only a refused print order is sent again.", next_step="Look at the order's state.")
        self._set(session, order, OrderState.QUEUED)
        self.send_next(session, order.station)
        return order

    def close(self, session: Session, order: PrintOrder, state: OrderState) -> None:
        """The order is released or withdrawn; its print data are dropped, the attestation stays for the desk."""
        was_before_station = order.state == OrderState.SENT
        self._set(session, order, state)
        if was_before_station:
            outbox.post(session, topics.DN_JOB, b"", self._context.clock.wall_ms(), unit=order.station)
            self.send_next(session, order.station)

    def job(self, order: PrintOrder) -> PrintJob:
        """The job as the station gets it."""
        return decode(PrintJob, self._context.vault.unlock(order.job, "print_order", order.job_id))

    def chip_digest(self, order: PrintOrder) -> bytes:
        """What a faithful read-back of the ordered chip hashes to (M35)."""
        return chip_files(self.job(order).chip_files).digest

    def attestation(self, order: PrintOrder) -> bytes:
        """The sealed attestation that travels with the card."""
        return self._context.vault.unlock(order.attestation, "attestation", order.job_id)

    def serves_here(self, session: Session, order: PrintOrder) -> bool:
        """Whether the desk that hands over belongs to the station's own office."""
        return _site(session, order.station) == _site(session, order.desk)

    def _set(self, session: Session, order: PrintOrder, state: OrderState) -> None:
        order.state, order.changed_ms = state, self._context.clock.wall_ms()
        session.flush()


def station_for(session: Session, resident: Resident) -> Unit:
    """The printing office of a resident's domicile, or the central bureau's where it has none (M33)."""
    stations = session.scalars(_in_service(STATION)).all()
    if not stations:
        raise RemoteError(
            "No personalisation station is in service.", next_step="Add a unit with the role 'station', or release one."
        )
    region = session.get_one(Site, resident.site).region
    at_home = [unit for unit in stations if session.get_one(Site, unit.site).region == region]
    return (at_home or list(stations))[0]


def desk_for(session: Session, resident: Resident) -> Unit:
    """The desk that hands the card over: the resident's own, else their site's, else one of their region."""
    if resident.desk:
        named = session.get(Unit, resident.desk)
        if named is not None and named.state == UnitState.IN_SERVICE:
            return named
    region = session.get_one(Site, resident.site).region
    for role in DESKS:
        desks = session.scalars(_in_service(role)).all()
        here = [unit for unit in desks if unit.site == resident.site]
        near = [unit for unit in desks if session.get_one(Site, unit.site).region == region]
        if here or near:
            return (here or near)[0]
    raise RemoteError(
        "No desk can hand this card over.", next_step="Add a unit with the role 'handover' to the region."
    )


def _in_service(role: str) -> Select[Unit]:
    return select(Unit).where(Unit.role == role, Unit.state == UnitState.IN_SERVICE).order_by(Unit.id)


def orders_of(session: Session, record: Record) -> list[PrintOrder]:
    """All print orders of a capture, oldest first."""
    query = select(PrintOrder).where(PrintOrder.capture_id == record.capture_id).order_by(PrintOrder.made_ms)
    return list(session.scalars(query))


def _site(session: Session, unit_id: str) -> str:
    unit = session.get(Unit, unit_id)
    return unit.site if unit is not None else ""
