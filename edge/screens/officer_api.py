"""The JSON API of the officers' page: who is signed on, and what an officer does at this unit (M67)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from contract.packet import Name
from edge.desk import Desk
from edge.eligibility import Refusal
from edge.officer_desk import OfficerDesk
from edge.officer_snapshot import OfficerSnapshot, officer_snapshot
from edge.procedure import Refused
from edge.screens.forms import WAIT_DEFAULT_S, ActionFields, Form, WaitS, texts
from edge.sign_on import Purpose

FINGER_STEPS = frozenset({"finger", "fingers", "sign_off"})


class IdentifyForm(Form):
    """Who identifies themselves, and why; subject: whose lock is lifted."""

    operator: Name
    purpose: Literal["sign-on", "new-pin", "unlock"] = "sign-on"
    subject: Annotated[str, Field(max_length=64)] = ""


class EnrolForm(Form):
    """Who is to become an operator, and as what."""

    operator: Name
    name: Annotated[str, Field(min_length=3, max_length=120)]
    roles: Annotated[list[Name], Field(min_length=1, max_length=4)]


def add_officers(api: APIRouter, desk: Desk) -> None:
    """The routes below /api/officers, /api/sign-on and /api/officer-work."""
    _add_roster(api, desk)
    _add_work(api, desk)


def _officers(desk: Desk) -> OfficerDesk:
    if desk.officers is None:
        raise Refused(Refusal.NOT_THIS_ROLE)
    return desk.officers


def _add_roster(api: APIRouter, desk: Desk) -> None:
    roster = desk.services.roster

    @api.get("/officers")
    async def officers() -> list[dict[str, Any]]:
        factors = _officers(desk).factors
        now_ms = roster.time.now_ms()
        return [
            {
                "operator": item.operator,
                "name": item.name,
                "roles": item.roles,
                "lease_until_ms": item.lease.until_ms,
                "lease_runs": item.lease.until_ms > now_ms,
                "pin": bool(factors.pin_of(item.entry)),
                "card": item.entry.card_uid is not None,
                "locked": factors.is_locked(item.entry),
                "pin_reset": factors.left_to_choose_ms(item.entry) is not None,
            }
            for item in roster.officers()
        ]

    @api.get("/sign-on")
    async def sign_on() -> dict[str, Any]:
        found = _officers(desk).sign_on.officer
        officer = {"operator": found.operator, "name": found.name, "roles": found.roles} if found else None
        until_ms = found.lease.until_ms if found else 0
        left_s = max(0, until_ms - roster.time.now_ms()) // 1000 if found else 0
        return {"officer": officer, "policy": roster.sign_on.value, "lease_until_ms": until_ms, "lease_left_s": left_s}

    @api.post("/sign-off")
    async def sign_off() -> dict[str, bool]:
        officers = _officers(desk)
        if not desk.is_free:
            raise Refused(Refusal.BUSY)
        officers.sign_on.sign_off()
        return {"signed_off": True}


def _add_work(api: APIRouter, desk: Desk) -> None:
    @api.post("/officer-work/identify", status_code=201)
    async def identify(form: IdentifyForm) -> OfficerSnapshot:
        return officer_snapshot(await desk.identify_officer(form.operator, Purpose(form.purpose), form.subject))

    @api.post("/officer-work/enrol", status_code=201)
    async def enrol(form: EnrolForm) -> OfficerSnapshot:
        return officer_snapshot(desk.enrol_operator(form.operator, form.name.strip(), form.roles))

    @api.get("/officer-work")
    async def work(after: int = 0, wait_s: Annotated[float, Query(ge=0, le=60)] = 0.0) -> OfficerSnapshot:
        procedure = _officers(desk).work
        await procedure.wait(after, wait_s)
        return officer_snapshot(procedure)

    @api.get("/officer-work/preview.jpg")
    async def preview() -> Response:
        if _officers(desk).work.step not in FINGER_STEPS:
            raise Refused(Refusal.NOT_ALLOWED)
        picture = await desk.services.sensors.live_picture("finger")
        return Response(status_code=404) if picture is None else Response(picture, media_type="image/jpeg")

    @api.post("/officer-work/{action}")
    async def act(action: str, fields: ActionFields | None = None, wait_s: WaitS = WAIT_DEFAULT_S) -> OfficerSnapshot:
        procedure = _officers(desk).work
        await desk.act(procedure, action, texts(fields), wait_s)
        return officer_snapshot(procedure)
