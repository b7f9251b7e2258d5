"""The officers' pages, rendered on the server: Indonesian first, English beside it. They only read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.templating import Jinja2Templates
from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.clock import utc
from contract.errors import RemoteError
from contract.lifecycle import RecordState
from contract.packet import EnrolmentBody, PacketSample, RefusalBody
from hub import returns
from hub.central import Central
from hub.console import fleet_views, operator_views, pictures, views
from hub.console.api import FleetWish, Guard, visitor_of
from hub.console.sessions import Sessions, Visitor
from hub.console.words import in_indonesian
from hub.fleet import Role
from hub.notices import biodata_as_captured
from hub.packets import open_packet
from hub.schema.tables import Case, Packet, Record

log = structlog.get_logger("console")
WAY = (
    RecordState.RECEIVED_AT_CENTRAL,
    RecordState.SENT_FOR_DEDUP,
    RecordState.PRINT_READY_RECORD,
    RecordState.SENT_FOR_CARD_PRINTING,
    RecordState.CARD_SHIPPED,
    RecordState.CARD_PRINTED,
    RecordState.CARD_ISSUED,
)
ATTENTION = frozenset(
    {
        RecordState.ENROLL_FAILURE_AT_CENTRAL,
        RecordState.ENROLL_FAILURE_AT_REGIONAL,
        RecordState.SEARCH_FAILURE_AT_CENTRAL,
        RecordState.ADJUDICATE_RECORD,
        RecordState.ADJUDICATE_IN_PROCESS,
        RecordState.REQUEST_VALIDATION,
        RecordState.DUPLICATE_RECORD,
    }
)

Show = Callable[..., Response]


def page_routes(central: Central, sessions: Sessions, folder: Path) -> APIRouter:
    """Every page."""
    routes = APIRouter(default_response_class=HTMLResponse)
    templates = Jinja2Templates(directory=folder)
    templates.env.filters.update(moment=_moment, duration=_duration, tone=_tone, words=_words, indonesian=in_indonesian)
    database = central.context.database
    name = central.context.settings.hub.name

    def visitor(request: Request) -> Visitor:
        return visitor_of(central, sessions, request)

    def show(request: Request, template: str, here: str, who: Visitor | None, **values: Any) -> Response:
        return templates.TemplateResponse(
            request, template, {"hub": name, "here": here, "visitor": who, "Role": Role, **values}
        )

    @routes.get("/login")
    def login(request: Request) -> Response:
        """Log in."""
        return show(request, "login.html", "login", None)

    @routes.get("/")
    def overview(request: Request, who: Visitor = Depends(visitor)) -> Response:
        """Records by state, stalls, cards, units; refreshed by htmx."""
        with database.reading() as session:
            found = views.overview(session, central)
            latest = views.records(session, "")[:12]
        part = "overview_part.html" if request.headers.get("hx-request") else "overview.html"
        return show(request, part, "overview", who, o=found, latest=latest, way=WAY, attention=ATTENTION)

    @routes.get("/records")
    def records(request: Request, who: Visitor = Depends(visitor), state: str = "") -> Response:
        """A list of records."""
        with database.reading() as session:
            found = views.records(session, state)
        return show(request, "records.html", "records", who, records=found, state=state, states=list(RecordState))

    @routes.get("/records/{capture_id}")
    def record(capture_id: str, request: Request, who: Visitor = Depends(visitor)) -> Response:
        """One record: its way, clocks, cards, and what may be done."""
        with database.reading() as session:
            found = views.record(session, central, capture_id, who.operator)
            pid = _pid_of(session, capture_id)
        asked = found["state"] == RecordState.REQUEST_VALIDATION and found["biodata"] is not None
        portrait = pictures.portrait(_samples(central, pid)) if asked else ""
        return show(request, "record.html", "records", who, r=found, way=WAY, portrait=portrait)

    _add_fleet_pages(routes, central, visitor, show)
    _add_paper_pages(routes, central, visitor, show)
    _add_case_pages(routes, central, visitor, show)
    _add_ledger_pages(routes, central, visitor, show)
    return routes


def _add_fleet_pages(routes: APIRouter, central: Central, visitor: Guard, show: Show) -> None:
    database = central.context.database

    @routes.get("/units")
    def units(request: Request, wish: FleetWish, who: Visitor = Depends(visitor)) -> Response:
        """The fleet by site, and what somebody has to see to; refreshed by htmx."""
        with database.reading() as session:
            found = fleet_views.fleet(session, central, wish)
        part = "fleet_part.html" if request.headers.get("hx-request") else "fleet.html"
        return show(request, part, "units", who, f=found, wish=wish)

    @routes.get("/operators")
    def operators(request: Request, who: Visitor = Depends(visitor)) -> Response:
        """Operators of the visitor's region, and who waits for a second officer (M67)."""
        with database.reading() as session:
            found = operator_views.operators(session, central, who)
        return show(request, "operators.html", "operators", who, o=found)


def _add_paper_pages(routes: APIRouter, central: Central, visitor: Guard, show: Show) -> None:
    @routes.get("/records/{capture_id}/papers")
    def papers(capture_id: str, request: Request, who: Visitor = Depends(visitor)) -> Response:
        """The papers that were scanned with a capture; for who may read the resident's biodata, and noted."""
        with central.context.database.reading() as session:
            found = views.record(session, central, capture_id, who.operator)
            pid = _pid_of(session, capture_id)
        if found["biodata"] is None:
            raise RemoteError(
                "These papers are not yours to read.", next_step="Ask an officer of the resident's region."
            )
        log.info("papers read", capture_id=capture_id, reader=who.operator)
        body = open_packet(central.context, pid).body
        scans = body.scans if isinstance(body, EnrolmentBody) else ()
        pages = [(scan.paper, scan.page, pictures.paper(scan.image)) for scan in scans]
        return show(request, "papers.html", "records", who, r=found, pages=pages)


def _add_case_pages(routes: APIRouter, central: Central, visitor: Guard, show: Show) -> None:
    database = central.context.database

    @routes.get("/cases")
    def cases(request: Request, who: Visitor = Depends(visitor)) -> Response:
        """Cases to claim, to decide, and decided ones."""
        with database.reading() as session:
            found = views.cases(session, who.operator)
        return show(request, "cases.html", "cases", who, cases=found)

    @routes.get("/cases/{case_id}")
    def case(case_id: str, request: Request, who: Visitor = Depends(visitor), candidate: str = "") -> Response:
        """One case; pictures only for who has a seat in it, or once it is decided."""
        with database.reading() as session:
            found = views.case(session, central, case_id, who.operator)
        chosen = next((c for c in found["candidates"] if c["capture_id"] == candidate), None)
        chosen = chosen or (found["candidates"][0] if found["candidates"] else None)
        may_see = who.may(Role.ADJUDICATOR) and (found["seat"] != "none" or found["decided_ms"] is not None)
        evidence = _evidence(central, found["capture_id"], chosen["capture_id"] if chosen else "") if may_see else None
        return show(request, "case.html", "cases", who, c=found, chosen=chosen, evidence=evidence)


def _add_ledger_pages(routes: APIRouter, central: Central, visitor: Guard, show: Show) -> None:
    database = central.context.database

    @routes.get("/actions")
    def actions(request: Request, who: Visitor = Depends(visitor)) -> Response:
        """Two-person actions and the quarantine."""
        with database.reading() as session:
            found, held = views.proposals(session), views.quarantine(session)
            units = views.overview(session, central)["units"]
        return show(request, "actions.html", "actions", who, proposals=found, quarantine=held, units=units)

    @routes.get("/cards")
    def cards(request: Request, who: Visitor = Depends(visitor)) -> Response:
        """The ledger of physical cards and blanks."""
        with database.reading() as session:
            found, blanks = views.cards(session), views.overview(session, central)["blanks"]
            ending = returns.cards_to_end(session)
        return show(request, "cards.html", "cards", who, cards=found, blanks=blanks, ending=ending)


def _evidence(central: Central, capture_id: str, other_id: str) -> dict[str, Any]:
    """Everything that two captures show, side by side; the right one empty where a case has no candidate."""
    with central.context.database.reading() as session:
        pids = [_pid_of(session, capture_id), _pid_of(session, other_id) if other_id else ""]
        people = [_biodata_of(session, central, capture_id), _biodata_of(session, central, other_id)]
    samples = [_samples(central, pid) if pid else [] for pid in pids]
    return {"sides": pictures.compare_sides(samples[0], samples[1]), "people": people}


def _pid_of(session: Session, capture_id: str) -> str:
    record = session.get(Record, capture_id)
    if record is not None:
        return record.pid
    query = select(Packet.pid).where(Packet.event_id == capture_id).order_by(Packet.received_ms).limit(1)
    return session.scalars(query).first() or ""


def _samples(central: Central, pid: str) -> list[PacketSample]:
    body = open_packet(central.context, pid).body
    if not isinstance(body, EnrolmentBody | RefusalBody):
        raise RemoteError("This packet holds no samples.", next_step="Go back to the list of cases.")
    return list(body.samples)


def _biodata_of(session: Session, central: Central, capture_id: str) -> dict[str, str]:
    record = session.get(Record, capture_id) if capture_id else None
    if record is not None:
        return biodata_as_captured(central.context, record).model_dump()
    pid = _pid_of(session, capture_id) if capture_id else ""
    if not pid or session.scalars(select(Case).where(Case.capture_id == capture_id)).first() is None:
        return {}
    body = open_packet(central.context, pid).body
    return body.biodata.model_dump() if isinstance(body, RefusalBody) else {}


def _moment(wall_ms: int | None) -> str:
    """A wall time for people, UTC."""
    return utc(wall_ms).strftime("%d-%m-%Y %H:%M:%S") if wall_ms else "–"


def _duration(duration_ms: int | None) -> str:
    """A duration in the largest units that say enough."""
    if duration_ms is None:
        return "–"
    seconds = duration_ms / 1000
    for limit, size, unit in ((120, 1, "dtk"), (7200, 60, "mnt"), (172_800, 3600, "jam")):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}" if unit == "dtk" and seconds < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} hari"


def _tone(state: str) -> str:
    """Which colour a record's or card's state is shown in."""
    if state in ATTENTION:
        return "warn"
    if state in ("CARD_ISSUED", "held", "released", "PRINT_READY_RECORD"):
        return "good"
    if state in ("INACTIVE", "spoiled", "destroyed", "refused", "retained"):
        return "bad"
    return "plain"


def _words(state: str) -> str:
    """An official status with spaces, so that long ones can wrap."""
    return state.replace("_", " ")
