"""API routes for officers who look after units, operators and cards that come back (M47, M66, M67)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import Field

from contract.lifecycle import UnitEvent
from contract.packet import CardUid, Name, UuidText
from hub import alarms, register
from hub.central import Central
from hub.console import operator_views
from hub.console.api import Form, Guard, Reason
from hub.console.sessions import Visitor
from hub.fleet import Role
from hub.proposals import PIN_RESET, REINSTATEMENT

_ORDERS = {"suspend": UnitEvent.SUSPENDED, "resume": UnitEvent.RESUMED, "retire": UnitEvent.RETIRED}


class UnitForm(Form):
    """What happens to a unit."""

    unit: Name
    order: Literal["suspend", "resume", "retire"]
    reason: Reason


class OperatorForm(Form):
    """Whether an operator's rights are taken at once, or proposed to be given back."""

    operator: Name
    revoked: bool
    reason: Reason


class PinResetForm(Form):
    """Whose PIN is to be reset, and why."""

    operator: Name
    reason: Reason


class GrantForm(Form):
    """The rights that an enrolled person gets."""

    roles: Annotated[list[Role], Field(min_length=1, max_length=8)]
    sites: Annotated[list[Name], Field(min_length=1, max_length=20)]


class ReasonForm(Form):
    """Why."""

    reason: Reason


class CardForm(Form):
    """A physical card, by its chip."""

    card_uid: CardUid
    reason: Reason


def add_officer_routes(routes: APIRouter, central: Central, visitor: Guard) -> None:
    """The routes of this module, beside the console's others."""
    database = central.context.database
    _add_alarm_route(routes, central, visitor)
    _add_card_routes(routes, central, visitor)

    @routes.post("/units")
    def move_unit(form: UnitForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Suspend, resume or retire a unit (a dc-officer)."""
        with database.transaction() as session:
            unit = central.fleet.move_unit(session, form.unit, _ORDERS[form.order], who.operator, form.reason)
            return {"unit": unit.id, "state": unit.state}

    @routes.get("/operators")
    def operators(who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Operators of the visitor's region: rights, leases, sign-ons; and who waits for approval."""
        with database.reading() as session:
            return operator_views.operators(session, central, who)

    @routes.post("/operators")
    def set_revoked(form: OperatorForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Revoke an operator at once, or propose to give the rights back: a second officer has to confirm that."""
        with database.transaction() as session:
            if form.revoked:
                found = central.operators.revoke(session, form.operator, who.operator, form.reason)
                return {"operator": found.id, "revoked": found.revoked}
            made = central.proposals.propose(session, REINSTATEMENT, form.operator, form.reason, who.operator)
            return {"operator": form.operator, "proposal": made.id}

    @routes.post("/operators/pin-reset")
    def propose_pin_reset(form: PinResetForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Ask that a forgotten PIN be reset: a second officer has to confirm that."""
        with database.transaction() as session:
            made = central.proposals.propose(session, PIN_RESET, form.operator, form.reason, who.operator)
            return {"operator": form.operator, "proposal": made.id}

    @routes.post("/enrolments/{enrolment_id}/approval")
    def approve(enrolment_id: UuidText, form: GrantForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Give an enrolled person rights, as another officer than the one who enrolled them."""
        with database.transaction() as session:
            found = central.operators.approve(session, enrolment_id, who.operator, form.roles, form.sites)
            return {"operator": found.id, "roles": found.roles.split(","), "sites": found.sites.split(",")}

    @routes.post("/enrolments/{enrolment_id}/refusal")
    def refuse(enrolment_id: UuidText, form: ReasonForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Turn an enrolment down."""
        with database.transaction() as session:
            central.operators.refuse(session, enrolment_id, who.operator, form.reason)
            return {"enrolment": enrolment_id, "state": "refused"}


def _add_card_routes(routes: APIRouter, central: Central, visitor: Guard) -> None:
    database = central.context.database

    @routes.post("/cards/return")
    def send_back(form: CardForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Send a retained or undeliverable card back to the office that made it."""
        with database.transaction() as session:
            card = central.returns.send_back(session, form.card_uid, who.operator, form.reason)
            return {"card_uid": card.card_uid, "state": card.state, "place": card.place}

    @routes.post("/cards/destroy")
    def destroy(form: CardForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Destroy a returned or spoiled card, as another person than the one who returned or spoiled it."""
        with database.transaction() as session:
            card = central.returns.destroy(session, form.card_uid, who.operator, form.reason)
            return {"card_uid": card.card_uid, "state": card.state}


def _add_alarm_route(routes: APIRouter, central: Central, visitor: Guard) -> None:
    @routes.post("/units/{unit}/alarms/{alarm_id}/seen")
    def see_alarm(unit: Name, alarm_id: UuidText, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Say that a unit's alarm was dealt with (a dc-officer or technician); it is dropped a while after that."""
        with central.context.database.transaction() as session:
            register.operator_with(session, who.operator, Role.DC_OFFICER, Role.TECHNICIAN)
            alarms.note_seen(session, unit, alarm_id, who.operator, central.context.clock.wall_ms())
        return {"unit": unit, "alarm_id": alarm_id}
