"""The web application of one unit: pages, API, and how errors become answers that say what to do next."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from contract.errors import CaptureRetry, DeviceError, RekamError, RemoteError, TransientError
from edge.desk import Desk
from edge.eligibility import Refusal
from edge.procedure import Refused
from edge.screens.api import make_api
from edge.screens.guard import Guard
from edge.screens.hands import hands

ROOM = Path(__file__).parent
REPLAY = ROOM.parent / "matcher_lite" / "signature_replay.js"  # one player for these pages and for `rekam-match replay`
PAPERS = {
    "application-form": ("Formulir permohonan", "Application form"),
    "family-card": ("Fotokopi Kartu Keluarga", "Copy of the family card"),
    "old-card": ("KTP lama", "Old card"),
    "letter-rt-rw": ("Surat pengantar RT/RW", "Letter of RT/RW"),
    "removal-letter": ("Surat keterangan pindah", "Removal letter"),
}
ROLES = {
    "operator": ("Operator perekaman", "Capture operator"),
    "front-desk-officer": ("Petugas pendukung pelayanan", "Front-desk officer"),
    "distribution-officer": ("Petugas pendistribusian", "Distribution officer"),
    "section-head": ("Kepala seksi", "Section head"),
}
STATUS_OF: dict[type[RekamError], int] = {
    CaptureRetry: 409,
    DeviceError: 503,
    TransientError: 503,
    RemoteError: 422,
}
REFUSAL_STATUS = {Refusal.NO_SESSION: 404, Refusal.NOT_THIS_ROLE: 404, Refusal.INVALID: 422}


class Page(StrEnum):
    """The pages; each is the template of its name."""

    KIOSK = "kiosk"
    DESK = "desk"
    HANDOVER = "handover"
    STATION = "station"
    QUEUE = "queue"
    OFFICERS = "officers"
    STATUS = "status"
    PROOF = "proof"


HOME = {"kiosk": "/kiosk", "desk": "/desk", "mobile": "/desk", "handover": "/handover", "station": "/station"}


def make_app(desk: Desk, token: str) -> FastAPI:
    """The application, guarded by `token`."""
    app = FastAPI(title="Rekam unit", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(make_api(desk))
    app.add_api_route("/static/signature_replay.js", _replay_script)
    app.mount("/static", StaticFiles(directory=ROOM / "static"), name="static")
    _add_pages(app, desk)
    app.add_exception_handler(RekamError, _refuse)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Guard, token=token)
    return app


def _add_pages(app: FastAPI, desk: Desk) -> None:
    templates = Environment(
        loader=FileSystemLoader(ROOM / "templates"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    shared = {"unit": desk.unit, "hands": hands(), "papers": PAPERS, "roles": ROLES, "desk": desk}

    @app.get("/")
    async def home() -> RedirectResponse:
        return RedirectResponse(HOME.get(desk.unit.role, "/status"))

    @app.get("/{name}")
    async def page(name: Page) -> HTMLResponse:
        return HTMLResponse(templates.get_template(f"{name}.html").render(page=name.value, **shared))


async def _replay_script() -> FileResponse:
    return FileResponse(REPLAY, media_type="text/javascript")


async def _refuse(_request: Request, error: Exception) -> JSONResponse:
    """An error as an answer: what happened, and what to do next."""
    if isinstance(error, Refused):
        status = REFUSAL_STATUS.get(error.refusal, 409)
        return JSONResponse({**error.diagnostics(), "code": error.refusal.value}, status)
    if isinstance(error, RekamError):
        status = next((code for kind, code in STATUS_OF.items() if isinstance(error, kind)), 500)
        return JSONResponse({**error.diagnostics(), "code": ""}, status)
    raise error


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """A body or query that is not what the table says; fields are named, contents are not repeated."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    fields = ", ".join(sorted({".".join(str(part) for part in problem["loc"]) for problem in problems}))
    message = f"The request is not valid: {fields[:200]}."
    return JSONResponse(
        {"error": "Invalid", "message": message, "next_step": "Correct the named fields.", "code": "INVALID"}, 422
    )
