"""The console's JSON API: log in, look, and every action that an officer can take. Pages use it too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from contract.lifecycle import RecordEvent
from contract.packet import Name, Nik, UuidText
from contract.secret import SECRET_CHARACTERS_MAX
from hub import register
from hub.adjudication import Opinion
from hub.central import Central
from hub.console import fleet_views, views
from hub.console.sessions import COOKIE, NotLoggedIn, Sessions, Visitor
from hub.fleet import Role
from hub.proposals import LostCapture
from hub.records import known
from hub.schema.tables import Operator
from hub.verdicts import Verdict

Reason = Annotated[str, Field(min_length=1, max_length=1000)]
REGION_ROLES = (Role.ADB, Role.SECTION_HEAD, Role.DC_OFFICER)
STOCK_ROLES = (Role.SECTION_HEAD, Role.DISTRIBUTION, Role.DC_OFFICER)
_ANSWERS = {
    "search": RecordEvent.REGION_SAYS_SEARCH,
    "adjudicate": RecordEvent.REGION_SAYS_ADJUDICATE,
    "right": RecordEvent.REGION_SAYS_RIGHT,
}


def _wish(
    site: Annotated[str, Query(max_length=64)] = "",
    state: Literal["", "visit", "look", "offline", "online"] = "",
    text: Annotated[str, Query(max_length=64)] = "",
    page: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> fleet_views.Wish:
    return fleet_views.Wish(site, state, text, page)


FleetWish = Annotated[fleet_views.Wish, Depends(_wish)]


class Form(BaseModel):
    """Base of every request body: closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Login(Form):
    """Who, and their pass phrase."""

    operator: Name
    secret: Annotated[str, Field(min_length=1, max_length=SECRET_CHARACTERS_MAX)]


class DecisionForm(Form):
    """One adjudicator's decision. same_as, first: capture ids, with verdict `same`."""

    verdict: Verdict
    same_as: UuidText | None = None
    first: UuidText | None = None
    reason: Reason


class AnswerForm(Form):
    """The region's answer to REQUEST_VALIDATION."""

    answer: Literal["search", "adjudicate", "right"]


class ProposalForm(Form):
    """An action that a second officer has to confirm. subject: a capture id, or a pid for an admission."""

    action: Literal["deletion", "loss", "admission"]
    subject: Annotated[str, Field(pattern=r"^[0-9a-f-]{36,64}$")]
    reason: Reason


class ConfirmationForm(Form):
    """The second officer's word."""

    confirm: bool


class LossForm(Form):
    """A capture that never arrived, from its proof of capture, and the unit that was lost with it (M18)."""

    capture_id: UuidText
    nik: Nik
    unit: Name
    reason: Reason


class BlanksForm(Form):
    """Blanks that came to a place, or left it (below zero)."""

    place: Name
    count: int
    cause: Reason


def visitor_of(central: Central, sessions: Sessions, request: Request) -> Visitor:
    """Who asks, with the rights of this moment. Raises NotLoggedIn."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.cookies.get(COOKIE, "")
    name = sessions.operator_of(token)
    with central.context.database.reading() as session:
        operator = session.get(Operator, name)
    if operator is None or operator.revoked:
        raise NotLoggedIn("This operator may no longer work here.")
    return Visitor(operator.id, operator.name, frozenset(operator.roles.split(",")))


def api_routes(central: Central, sessions: Sessions) -> APIRouter:
    """Every `/api` route."""
    routes = APIRouter()
    database = central.context.database

    def visitor(request: Request) -> Visitor:
        return visitor_of(central, sessions, request)

    @routes.post("/login")
    def login(form: Login, response: Response) -> dict[str, Any]:
        """Log in: a token for programs, and the same as a cookie for browsers."""
        with database.reading() as session:
            operator = session.get(Operator, form.operator)
        sessions.check(operator, form.secret, form.operator)
        token = sessions.token(form.operator)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return {"token": token, "operator": form.operator, "roles": operator.roles.split(",") if operator else []}

    @routes.post("/logout")
    def logout(response: Response) -> dict[str, bool]:
        """Forget the cookie."""
        response.delete_cookie(COOKIE)
        return {"ok": True}

    _add_views(routes, central, visitor)
    _add_case_actions(routes, central, visitor)
    _add_record_actions(routes, central, visitor)
    _add_proposal_actions(routes, central, visitor)
    return routes


Guard = Callable[[Request], Visitor]


def _add_views(routes: APIRouter, central: Central, visitor: Guard) -> None:
    database = central.context.database

    @routes.get("/state")
    def state(_who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Counts, stalls, units, blanks, and what waits for a person."""
        with database.reading() as session:
            return views.overview(session, central)

    @routes.get("/units")
    def units(wish: FleetWish, _who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """A page of the units that are meant by site, what somebody has to see to, and every site with its worst."""
        with database.reading() as session:
            return fleet_views.fleet(session, central, wish)

    @routes.get("/records")
    def records(_who: Visitor = Depends(visitor), state: str = "") -> list[dict[str, Any]]:
        """The newest records, of one state or of all."""
        with database.reading() as session:
            return views.records(session, state)

    @routes.get("/records/{capture_id}")
    def record(capture_id: str, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """One record with its way, clocks, cards and cases."""
        with database.reading() as session:
            return views.record(session, central, capture_id, who.operator)

    @routes.get("/cards")
    def cards(_who: Visitor = Depends(visitor)) -> list[dict[str, Any]]:
        """Physical cards with their histories."""
        with database.reading() as session:
            return views.cards(session)

    @routes.get("/cases")
    def cases(who: Visitor = Depends(visitor)) -> list[dict[str, Any]]:
        """Cases and the visitor's seat in each."""
        with database.reading() as session:
            return views.cases(session, who.operator)

    @routes.get("/cases/{case_id}")
    def case(case_id: str, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """One case; other adjudicators' decisions only once it is decided."""
        with database.reading() as session:
            return views.case(session, central, case_id, who.operator)

    @routes.get("/quarantine")
    def quarantine(_who: Visitor = Depends(visitor)) -> list[dict[str, Any]]:
        """Packets that a person has to look at."""
        with database.reading() as session:
            return views.quarantine(session)

    @routes.get("/proposals")
    def proposals(_who: Visitor = Depends(visitor)) -> list[dict[str, Any]]:
        """Two-person actions."""
        with database.reading() as session:
            return views.proposals(session)


def _add_case_actions(routes: APIRouter, central: Central, visitor: Guard) -> None:
    database = central.context.database

    @routes.post("/cases/{case_id}/claim")
    def claim(case_id: str, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Take a seat in a case."""
        with database.transaction() as session:
            central.adjudication.claim(session, case_id, who.operator)
            return views.case(session, central, case_id, who.operator)

    @routes.post("/cases/{case_id}/decisions")
    def decide(case_id: str, form: DecisionForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Decide, once and for ever."""
        with database.transaction() as session:
            opinion = Opinion(form.verdict, form.same_as, form.first)
            central.adjudication.decide(session, case_id, who.operator, opinion, form.reason)
            return views.case(session, central, case_id, who.operator)


def _add_record_actions(routes: APIRouter, central: Central, visitor: Guard) -> None:
    database = central.context.database

    @routes.post("/records/{capture_id}/appeal")
    def appeal(capture_id: str, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Appeal a DUPLICATE_RECORD for the resident: fresh adjudicators."""
        with database.transaction() as session:
            site = known(session, capture_id).site
            register.operator_at(session, who.operator, site, *REGION_ROLES, Role.FRONT_DESK, Role.OPERATOR)
            case = central.adjudication.appeal(session, capture_id, who.operator)
            return {"case": case.id}

    @routes.post("/records/{capture_id}/reprocess")
    def reprocess(capture_id: str, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Let a failed capture enter again from the stored packet, once its cause is repaired (M23)."""
        with database.transaction() as session:
            register.operator_at(session, who.operator, known(session, capture_id).site, *REGION_ROLES)
            central.intake.reprocess(session, capture_id, who.operator)
            return views.record(session, central, capture_id, who.operator)

    @routes.post("/records/{capture_id}/answer")
    def answer(capture_id: str, form: AnswerForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """The region's answer to REQUEST_VALIDATION (M29)."""
        with database.transaction() as session:
            register.operator_at(session, who.operator, known(session, capture_id).site, *REGION_ROLES)
            central.adjudication.region_answers(session, capture_id, _ANSWERS[form.answer], who.operator)
            return views.record(session, central, capture_id, who.operator)

    @routes.post("/orders/{job_id}/resend")
    def resend(job_id: str, who: Visitor = Depends(visitor)) -> dict[str, str]:
        """Send a refused print order again."""
        with database.transaction() as session:
            register.operator_at(session, who.operator, central.orders.office_of(session, job_id), *STOCK_ROLES)
            return {"state": central.orders.send_again(session, job_id).state}

    @routes.post("/blanks")
    def blanks(form: BlanksForm, who: Visitor = Depends(visitor)) -> list[dict[str, Any]]:
        """Enter blanks that came to a place, or left it."""
        with database.transaction() as session:
            register.operator_at(session, who.operator, form.place, *STOCK_ROLES)
            central.ledger.receive_blanks(session, form.place, form.count, form.cause, who.operator)
            found: list[dict[str, Any]] = views.overview(session, central)["blanks"]
            return found


def _add_proposal_actions(routes: APIRouter, central: Central, visitor: Guard) -> None:
    database = central.context.database

    @routes.post("/proposals")
    def propose(form: ProposalForm, who: Visitor = Depends(visitor)) -> dict[str, str]:
        """Propose a deletion, a declaration of loss, or the admission of a quarantined packet."""
        with database.transaction() as session:
            made = central.proposals.propose(session, form.action, form.subject, form.reason, who.operator)
            return {"id": made.id}

    @routes.post("/losses")
    def declare_loss(form: LossForm, who: Visitor = Depends(visitor)) -> dict[str, str]:
        """Propose to declare a capture lost that never arrived."""
        with database.transaction() as session:
            lost = LostCapture(capture_id=form.capture_id, nik=form.nik, unit=form.unit)
            made = central.proposals.propose_loss(session, lost, form.reason, who.operator)
            return {"id": made.id}

    @routes.post("/proposals/{proposal_id}/decision")
    def confirm(proposal_id: str, form: ConfirmationForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Confirm or refuse what another officer proposed."""
        with database.transaction() as session:
            made = central.proposals.decide(session, proposal_id, who.operator, confirm=form.confirm)
            return {"id": made.id, "confirmed": made.confirmed}
