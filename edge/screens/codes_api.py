"""The routes of scanned codes: a scanner that types into the page, and one on a port of the unit."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from contract.errors import CaptureRetry
from edge.code_lookup import look_up
from edge.codes import TEXT_CHARS_MAX
from edge.desk import Desk

SCAN_MAX_S = 20.0


class CodeForm(BaseModel):
    """The text of one code, as a scanner read it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    text: Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]


def add_codes(api: APIRouter, desk: Desk) -> None:
    """What a code says (POST), and the next code that the unit's own scanner reads (GET; 204 where none came)."""

    @api.post("/code")
    async def code(form: CodeForm) -> dict[str, Any]:
        return asdict(look_up(form.text, desk.services.register))

    @api.get("/code", response_model=None)
    async def next_code(wait_s: Annotated[float, Query(gt=0, le=SCAN_MAX_S)] = 10.0) -> dict[str, Any] | Response:
        try:
            text = await desk.services.sensors.code(wait_s)
        except CaptureRetry:
            return Response(status_code=204)
        return asdict(look_up(text, desk.services.register))
