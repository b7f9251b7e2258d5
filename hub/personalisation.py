"""From PRINT_READY_RECORD to a print job: chip files signed by the issuer, both faces, and the sealed attestation.

Only a record that is PRINT_READY_RECORD gets an order (M32); the guard of hub.records says so again when the job is
sent. Data come from the register as it stands, pictures and fingers from the capture's own images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.attestation import AttestationPage, seal_attestation
from contract.chip_file import ATTESTATION_KEY_BYTES, FINGERS_MAX, ChipFinger, build_chip, sign_chip
from contract.chip_layout import BUDGET, ChipFile
from contract.clock import utc
from contract.dispatch import PrintJob
from contract.errors import RekamError
from contract.lifecycle import RecordState
from contract.packet import Biodata, EnrolmentBody
from contract.sample import INDEX_FINGERS, FingerPosition, Modality
from edge.matcher_lite import FingerTemplate, extract
from hub import card_face, chip_pictures, register
from hub.card_face import CardFaces
from hub.context import HubContext
from hub.packets import open_capture
from hub.print_orders import OrderState, PrintOrders, desk_for, orders_of, station_for
from hub.records import is_printable
from hub.schema.tables import PrintOrder, Record, Resident, Site
from hub.search.features import finger_pixels

CARD_NUMBER_DIGITS = 10
_ENDED = (OrderState.RELEASED, OrderState.WITHDRAWN)
# The second where a card came back and was destroyed: the record waits for another one (M47).
_TO_BE_PRINTED = (RecordState.PRINT_READY_RECORD, RecordState.SENT_FOR_CARD_PRINTING)
log = structlog.get_logger("personalisation")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the database says about a card to be made."""

    capture_id: str
    pid: str
    biodata: Biodata
    region: str
    station: str
    desk: str
    serves_here: bool


class Renderer(Protocol):
    """Draws both faces of a card (hub.card_face.render)."""

    def __call__(
        self,
        biodata: Biodata,
        photo: NDArray[np.uint8],
        signature: Image.Image,
        *,
        card_number: str,
        issued_on: str,
        capture_id: str,
    ) -> CardFaces:
        """Both faces as PNG."""
        ...


class Personalisation:
    """Makes orders for records that are ready. Blocking; one thread calls it."""

    def __init__(self, context: HubContext, orders: PrintOrders, render: Renderer = card_face.render) -> None:
        self._context = context
        self._orders = orders
        self._render = render

    def order_due(self) -> int:
        """Make an order for every record that may be printed and has none; returns how many were made."""
        made = 0
        for capture_id in self._due():
            try:
                self._order(capture_id)
                made += 1
            except Exception as error:  # noqa: BLE001 - whatever one capture brings must not stop the other orders
                told = error.diagnostics() if isinstance(error, RekamError) else {"error": type(error).__name__}
                log.critical("no print order", capture_id=capture_id, **told)
        return made

    def _due(self) -> list[str]:
        with self._context.database.reading() as session:
            under_way = select(PrintOrder.job_id).where(
                PrintOrder.capture_id == Record.capture_id, PrintOrder.state.not_in(_ENDED)
            )
            query = (
                select(Record)
                .where(Record.state.in_(_TO_BE_PRINTED), ~under_way.exists())
                .order_by(Record.changed_ms)
                .limit(20)
            )
            return [record.capture_id for record in session.scalars(query) if is_printable(session, record)]

    def _order(self, capture_id: str) -> None:
        with self._context.database.reading() as session:
            recipe = self._recipe(session, session.get_one(Record, capture_id))
        body = open_capture(self._context, recipe.pid)
        job, attestation = self._job(recipe, body)
        with self._context.database.transaction() as session:
            record = session.get_one(Record, capture_id, with_for_update=True)
            if is_printable(session, record) and not _is_ordered(session, record):
                self._orders.place(session, job, recipe.station, attestation)
                self._orders.send_next(session, recipe.station)

    def _recipe(self, session: Session, record: Record) -> Recipe:
        resident = session.get_one(Resident, record.nik_digest)
        station, desk = station_for(session, resident), desk_for(session, resident)
        return Recipe(
            capture_id=record.capture_id,
            pid=record.pid,
            biodata=register.biodata_of(self._context, resident),
            region=session.get_one(Site, resident.site).region,
            station=station.id,
            desk=desk.id,
            serves_here=station.site == desk.site,
        )

    def _job(self, recipe: Recipe, body: EnrolmentBody) -> tuple[PrintJob, bytes]:
        """The job with its chip and faces, and the attestation that only this chip opens."""
        context = self._context
        serial = int.from_bytes(context.random_bytes(5)) % 10**CARD_NUMBER_DIGITS
        card_number = f"{recipe.region}-{serial:0{CARD_NUMBER_DIGITS}d}"
        chip_key = context.random_bytes(ATTESTATION_KEY_BYTES)
        issued_on = utc(context.clock.wall_ms()).date().isoformat()
        photo = chip_pictures.card_photo(_record_of(body, Modality.FACE))
        signature = _record_of(body, Modality.SIGNATURE)
        chip = build_chip(
            recipe.biodata,
            chip_pictures.chip_photo(photo),
            chip_pictures.chip_signature(signature),
            chip_fingers(body),
            chip_key,
        )
        signed = sign_chip(
            chip, context.keys.issuer, card_number=card_number, capture_id=recipe.capture_id, issued_on=issued_on
        )
        faces = self._render(
            recipe.biodata,
            photo,
            chip_pictures.signature(signature),
            card_number=card_number,
            issued_on=issued_on,
            capture_id=recipe.capture_id,
        )
        job = PrintJob(
            job_id=context.new_id(),
            capture_id=recipe.capture_id,
            card_number=card_number,
            nik=recipe.biodata.nik,
            biodata=recipe.biodata,
            chip_files=signed.by_id,
            front=faces.front,
            back=faces.back,
            destination=recipe.desk,
            serves_here=recipe.serves_here,
        )
        page = AttestationPage(
            capture_id=recipe.capture_id,
            card_number=card_number,
            biodata=body.biodata,
            attestation=body.attestation,
        )
        return job, seal_attestation(page, chip_key)


def chip_fingers(body: EnrolmentBody) -> list[ChipFinger]:
    """Both index fingers, or whichever fingers there are in their place (M37, M43), best first where any must do."""
    templates: dict[FingerPosition, FingerTemplate] = {}
    for sample in body.samples:
        if sample.modality is Modality.FINGER and sample.purpose == "reference":
            pixels, ppi = finger_pixels(sample.record)
            template = extract(pixels, ppi, FingerPosition(sample.position))
            if template.usable:
                templates[template.position] = template
    others = sorted((set(templates) - set(INDEX_FINGERS)), key=lambda position: -templates[position].quality)
    chosen = [*(position for position in INDEX_FINGERS if position in templates), *others][:FINGERS_MAX]
    room = BUDGET[ChipFile.FINGER1] - 1
    return [ChipFinger(position, templates[position].to_card(bytes_max=room)) for position in chosen]


def _record_of(body: EnrolmentBody, modality: Modality) -> bytes:
    return next(sample.record for sample in body.samples if sample.modality is modality)


def _is_ordered(session: Session, record: Record) -> bool:
    """Whether an order is under way; a released or withdrawn one does not count."""
    orders: list[PrintOrder] = orders_of(session, record)
    return any(order.state not in _ENDED for order in orders)
