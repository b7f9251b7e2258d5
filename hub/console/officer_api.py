"""API routes for officers who look after units, operators and cards that come back (M47, M66, M67)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import Field

from contract.lifecycle import UnitEvent
from contract.packet import Name
from hub.central import Central
from hub.console.api import Form, Guard, Reason
from hub.console.sessions import Visitor

_ORDERS = {"suspend": UnitEvent.SUSPENDED, "resume": UnitEvent.RESUMED, "retire": UnitEvent.RETIRED}


class UnitForm(Form):
    """What happens to a unit."""

    unit: Name
    order: Literal["suspend", "resume", "retire"]
    reason: Reason


class OperatorForm(Form):
    """Whether an operator's rights are taken, or given back."""

    operator: Name
    revoked: bool
    reason: Reason


class CardForm(Form):
    """A physical card, by its chip."""

    card_uid: Annotated[str, Field(pattern=r"^[0-9A-F]{8,20}$")]
    reason: Reason


def add_officer_routes(routes: APIRouter, central: Central, visitor: Guard) -> None:
    """The routes of this module, beside the console's others."""
    database = central.context.database

    @routes.post("/units")
    def move_unit(form: UnitForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Suspend, resume or retire a unit (a dc-officer)."""
        with database.transaction() as session:
            unit = central.fleet.move_unit(session, form.unit, _ORDERS[form.order], who.operator, form.reason)
            return {"unit": unit.id, "state": unit.state}

    @routes.post("/operators")
    def set_revoked(form: OperatorForm, who: Visitor = Depends(visitor)) -> dict[str, Any]:
        """Revoke an operator, or give the rights back (a dc-officer)."""
        with database.transaction() as session:
            found = central.fleet.set_revoked(session, form.operator, who.operator, form.reason, revoked=form.revoked)
            return {"operator": found.id, "revoked": found.revoked}

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
