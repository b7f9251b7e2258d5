"""The JSON API behind the unit's pages; the table of requests is in the edge room's README.

Routes translate and nothing more: bodies are bounded and checked here, rules are in the desk and its step tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import Field

from contract.errors import RemoteError
from contract.image_formats import decode_image
from contract.packet import CardUid, Name, Nik
from contract.sample import Modality
from contract.signature_series import decode_series
from contract.signature_strokes import ink_of, replay_data
from edge.desk import Desk
from edge.eligibility import Refusal
from edge.procedure import Procedure, Refused
from edge.screens.codes_api import add_codes
from edge.screens.forms import WAIT_DEFAULT_S, ActionFields, FieldText, Form, WaitS, texts
from edge.screens.officer_api import add_officers
from edge.sensors.interface import PointerBatch, PointerReport, PointerState
from edge.snapshot import Snapshot, handover_snapshot, session_snapshot

PEN_POINTS_MAX = 1000  # of one answer
PenAfter = Annotated[int, Query(ge=0, le=1_000_000)]
# Steps beside the photo at which a device may show what it sees, if it can.
LIVE_KINDS = {"fingers": "finger", "verify": "finger", "irises": "iris"}


class EligibilityForm(Form):
    """Whose eligibility is asked, with the papers that are ticked."""

    nik: Nik
    papers: Annotated[tuple[Name, ...], Field(max_length=20)] = ()


class SessionForm(EligibilityForm):
    """Who is captured, and by whom."""

    operator: Name


class HandoverForm(Form):
    """Whose card, and who serves; a card is found by NIK or by its chip's UID."""

    operator: Name
    nik: Nik | None = None
    card_uid: CardUid | None = None


class QueueForm(Form):
    """What somebody waits for."""

    service: Literal["capture", "handover"]


class PenReport(Form):
    """One report of the pointer in the signature field; see PointerReport."""

    x: Annotated[float, Field(ge=0, le=20_000, allow_inf_nan=False)]
    y: Annotated[float, Field(ge=0, le=20_000, allow_inf_nan=False)]
    p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    t: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
    s: PointerState


class PenForm(Form):
    """What the page's signature field reports, a few times a second."""

    stream: Annotated[int, Field(ge=0, lt=2**32)]
    sequence: Annotated[int, Field(ge=0, lt=2**32)]
    screen_px: Annotated[float, Field(ge=200, le=20_000, allow_inf_nan=False)]
    reports: Annotated[list[PenReport], Field(max_length=200)]

    def batch(self) -> PointerBatch:
        """As the pad takes it."""
        reports = tuple(PointerReport(item.x, item.y, item.p, item.t, item.s) for item in self.reports)
        return PointerBatch(self.stream, self.sequence, self.screen_px, reports)


def make_api(desk: Desk) -> APIRouter:
    """All routes below /api."""
    api = APIRouter(prefix="/api")
    _add_reports(api, desk)
    _add_register(api, desk)
    _add_session(api, desk)
    _add_handover(api, desk)
    _add_station(api, desk)
    _add_queue(api, desk)
    add_codes(api, desk)
    add_officers(api, desk)
    return api


def _add_reports(api: APIRouter, desk: Desk) -> None:
    @api.get("/status")
    async def status() -> Mapping[str, Any]:
        return await asyncio.to_thread(desk.reports.status)

    @api.post("/links")
    async def links() -> Any:
        return await desk.reports.links()

    @api.post("/release")
    async def release() -> dict[str, int]:
        return {"released": await asyncio.to_thread(desk.reports.release)}

    @api.get("/technician")
    async def technician(known: Annotated[str, Query(max_length=64)] = "", wait_s: WaitS = 0.0) -> dict[str, str]:
        return {"technician": await desk.technician_after(known, wait_s)}

    @api.get("/diary")
    async def diary(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
        if desk.diary is None:
            return []
        return [entry.model_dump() for entry in await asyncio.to_thread(desk.diary.latest, limit)]

    @api.get("/captures/{capture_id}")
    async def capture(capture_id: str) -> Mapping[str, Any]:
        found = await asyncio.to_thread(desk.reports.capture, capture_id)
        if found is None:
            raise Refused(Refusal.NO_SESSION, "This unit knows no such packet.")
        return found


def _add_register(api: APIRouter, desk: Desk) -> None:
    register = desk.services.register

    @api.get("/operators")
    async def operators() -> list[dict[str, Any]]:
        return [
            {"operator": item.operator, "name": item.name, "roles": item.roles, "lease_until_ms": item.lease.until_ms}
            for item in desk.services.roster.standing()
        ]

    @api.get("/residents")
    async def residents(limit: Annotated[int, Query(ge=1, le=500)] = 50) -> list[dict[str, Any]]:
        return [
            {
                "nik": entry.biodata.nik,
                "name": entry.biodata.name,
                "status": entry.status.value,
                "eligible": entry.eligible,
                "required_papers": entry.required_papers,
                "captured_here": register.claim_of(entry.biodata.nik) is not None,
            }
            for entry in register.entries(limit)
        ]

    @api.post("/eligibility")
    async def eligibility(form: EligibilityForm) -> dict[str, Any]:
        found = await desk.eligibility(form.nik, form.papers)
        message_id, message_en = found.messages
        return {
            "allowed": found.refusal is None,
            "code": found.refusal.value if found.refusal else "",
            "message_id": message_id,
            "message_en": message_en,
            "required_papers": found.entry.required_papers if found.entry else (),
            "biodata": found.entry.biodata.model_dump() if found.entry else None,
        }

    @api.get("/notices")
    async def notices() -> list[dict[str, Any]]:
        return [notice.model_dump(mode="json") for notice in register.notices()[:100]]

    @api.get("/consignments")
    async def consignments() -> list[dict[str, Any]]:
        shown = {"nik", "name", "card_uid", "card_number", "withdrawn", "old_card_due", "capture_id"}
        return [card.model_dump(include=shown) for card in register.cards()]


def _add_session(api: APIRouter, desk: Desk) -> None:
    @api.post("/session", status_code=201)
    async def start(form: SessionForm) -> Snapshot:
        return await desk.start_session(form.nik, form.operator, form.papers)

    @api.get("/session")
    async def session(after: int = 0, wait_s: WaitS = 0.0) -> Snapshot:
        procedure = desk.session()
        await procedure.wait(after, wait_s)
        return session_snapshot(procedure)

    @api.get("/session/preview.jpg")
    async def preview() -> Response:
        step = desk.session().step
        if step in {"photo", "exception_photo"}:
            picture: bytes | None = await desk.services.sensors.photo_preview()
        elif step in LIVE_KINDS:
            by_hand = step == "fingers" and desk.session().context.next_slap is not None
            picture = await desk.services.sensors.live_picture("slap" if by_hand else LIVE_KINDS[step])
        else:
            raise Refused(Refusal.NOT_ALLOWED)
        return Response(status_code=404) if picture is None else Response(picture, media_type="image/jpeg")

    @api.get("/session/pen")
    async def pen(after: PenAfter = 0) -> dict[str, Any]:
        if desk.session().step not in {"signature", "attest"}:
            raise Refused(Refusal.NOT_ALLOWED)
        return _pen(desk, after)

    @api.post("/session/pen")
    async def write(form: PenForm) -> dict[str, bool]:
        if desk.session().step not in {"signature", "attest"}:
            raise Refused(Refusal.NOT_ALLOWED)
        return {"taken": desk.services.sensors.write_pen(form.batch())}

    @api.get("/session/sample/{modality}/{position}.jpg")
    async def sample(modality: Modality, position: int) -> Response:
        picture = desk.session_picture(modality, position)
        if picture is None:
            return Response(status_code=404)
        return Response(picture, media_type="image/jpeg")

    @api.post("/session/ticket")
    async def ticket() -> Snapshot:
        desk.print_ticket(desk.session())
        return session_snapshot(desk.session())

    @api.post("/session/{action}")
    async def act(action: str, fields: ActionFields | None = None, wait_s: WaitS = WAIT_DEFAULT_S) -> Snapshot:
        return session_snapshot(await _act(desk, desk.session(), action, fields, wait_s))


def _add_handover(api: APIRouter, desk: Desk) -> None:
    @api.post("/handover", status_code=201)
    async def start(form: HandoverForm) -> Snapshot:
        if not form.nik and not form.card_uid:
            raise Refused(Refusal.INVALID, "Give the NIK, or the card's UID.")
        return await desk.start_handover(form.operator, nik=form.nik or "", card_uid=form.card_uid or "")

    @api.get("/handover")
    async def handover(after: int = 0, wait_s: WaitS = 0.0) -> Snapshot:
        procedure = desk.handover()
        await procedure.wait(after, wait_s)
        return handover_snapshot(procedure)

    @api.get("/handover/portrait.jpg")
    async def portrait() -> Response:
        chip = desk.handover().context.chip
        if chip is None:
            return Response(status_code=404)
        return Response(await asyncio.to_thread(_shown, chip.portrait, ".jpg"), media_type="image/jpeg")

    @api.get("/handover/signature.png")
    async def signature() -> Response:
        chip = desk.handover().context.chip
        if chip is None:
            return Response(status_code=404)
        return Response(await asyncio.to_thread(_shown, chip.signature, ".png"), media_type="image/png")

    @api.get("/handover/strokes")
    async def strokes() -> dict[str, Any]:
        page = desk.handover().context.attested
        if page is None or desk.handover().step != "attestation":
            raise Refused(Refusal.NOT_ALLOWED)
        return await asyncio.to_thread(_strokes, page.attestation.signature)

    @api.get("/handover/pen")
    async def pen(after: PenAfter = 0) -> dict[str, Any]:
        if desk.handover().step != "receipt":
            raise Refused(Refusal.NOT_ALLOWED)
        return _pen(desk, after)

    @api.post("/handover/ticket")
    async def ticket() -> Snapshot:
        desk.print_ticket(desk.handover())
        return handover_snapshot(desk.handover())

    @api.post("/handover/pen")
    async def write(form: PenForm) -> dict[str, bool]:
        if desk.handover().step != "receipt":
            raise Refused(Refusal.NOT_ALLOWED)
        return {"taken": desk.services.sensors.write_pen(form.batch())}

    @api.post("/handover/{action}")
    async def act(action: str, fields: ActionFields | None = None, wait_s: WaitS = WAIT_DEFAULT_S) -> Snapshot:
        return handover_snapshot(await _act(desk, desk.handover(), action, fields, wait_s))


def _add_station(api: APIRouter, desk: Desk) -> None:
    @api.get("/station")
    async def station(after: int = 0, wait_s: WaitS = 0.0) -> Mapping[str, Any]:
        if desk.station is None:
            raise Refused(Refusal.NOT_THIS_ROLE)
        await desk.station.wait(after, wait_s)
        return desk.station.snapshot()

    @api.get("/station/picture/{name}")
    async def picture(name: Name) -> Response:
        found = desk.station.picture(name) if desk.station else None
        return Response(status_code=404) if found is None else Response(found[0], media_type=found[1])

    @api.post("/station/{action}")
    async def act(action: str, fields: ActionFields | None = None) -> Mapping[str, Any]:
        if desk.station is None:
            raise Refused(Refusal.NOT_THIS_ROLE)
        desk.check_not_held()
        await desk.station.act(action, texts(fields))
        return desk.station.snapshot()


def _add_queue(api: APIRouter, desk: Desk) -> None:
    @api.get("/queue")
    async def queue() -> dict[str, Any]:
        tickets = desk.tickets
        if tickets is None:
            raise Refused(Refusal.NOT_THIS_ROLE)
        waiting, called = tickets.queue.waiting(), tickets.queue.last_called()
        return {
            "services": tickets.queue.services,
            "printer": tickets.prints,
            "waiting": [{"number": e.number, "service": e.service, "issued_ms": e.issued_ms} for e in waiting[:200]],
            "called": [{"number": e.number, "service": e.service, "called_ms": e.called_ms} for e in called[:5]],
        }

    @api.post("/queue", status_code=201)
    async def issue(form: QueueForm) -> dict[str, Any]:
        return await desk.queue_number(form.service)

    @api.post("/queue/call")
    async def call(form: QueueForm) -> dict[str, Any]:
        return {"number": await desk.call_number(form.service)}

    @api.post("/queue/{number}/print")
    async def reprint(number: Name) -> dict[str, Any]:
        return await desk.reprint_number(number)


async def _act(
    desk: Desk, procedure: Procedure[Any], action: str, fields: Mapping[str, FieldText] | None, wait_s: float
) -> Procedure[Any]:
    await desk.act(procedure, action, texts(fields), wait_s)
    return procedure


def _pen(desk: Desk, after: int) -> dict[str, Any]:
    """Points of the signature in progress from number `after` on, or from its start where it has fewer: another one."""
    points = desk.services.sensors.pen_preview()
    first = after if after <= len(points) else 0
    page = points[first : first + PEN_POINTS_MAX]
    return {"first": first, "points": [[point.x, point.y, point.pressure, point.down] for point in page]}


def _shown(image: bytes, suffix: str) -> bytes:
    """A picture from the chip in a format that every browser shows. Raises RemoteError."""
    pixels = decode_image(image, max_pixels=4_000_000, colour=True)
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels[:, :, ::-1]))
    if not done:
        raise RemoteError("A picture on the chip cannot be shown.")
    return encoded.tobytes()


def _strokes(record: bytes) -> dict[str, Any]:
    """The pen's way for the replay: per stroke [[x mm, y mm, pressure, s], …]. Raises RemoteError."""
    return replay_data(ink_of(decode_series(record)))
