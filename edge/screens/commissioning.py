"""The page of a box that is not a unit yet: how far it is, what to compare, what stands in the way and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from contract.commissioning_problems import WORDING, Problem
from edge.box_files import Phase
from edge.commissioning import Commissioner
from edge.screens.guard import Guard

ROOM = Path(__file__).parent
REFRESH_S = 2
STEPS = (
    ("Klaim", "Claim"),
    ("Persetujuan", "Approval"),
    ("Sertifikat", "Certificate"),
    ("Konfigurasi", "Configuration"),
    ("Siap", "Ready"),
)
WAITING = frozenset({Problem.CLAIM_MISSING, Problem.NOT_APPROVED})
_HEADLINES = {
    Phase.UNCLAIMED: ("Pasang media klaim", "Insert the claim media"),
    Phase.KNOCKING: ("Menunggu persetujuan teknisi", "Waiting for the technician's approval"),
    Phase.BORN: ("Mendaftar di pusat", "Registering at the centre"),
    Phase.CONFIRMED: ("Mengambil konfigurasi dan memeriksa perangkat", "Taking the configuration, testing devices"),
    Phase.COMMISSIONED: ("Unit siap bertugas", "The unit is ready for service"),
}


def view(commissioner: Commissioner) -> dict[str, Any]:
    """What the page shows now, as plain values."""
    box = commissioner.box
    phase = box.phase
    reached = {Phase.UNCLAIMED: 0, Phase.KNOCKING: 1, Phase.BORN: 2, Phase.CONFIRMED: 3, Phase.COMMISSIONED: 5}[phase]
    if phase is Phase.KNOCKING and box.is_approved:
        reached = 2
    headline = _HEADLINES[phase if reached != 2 else Phase.BORN]
    identity = box.files.identity()
    refusal = commissioner.problem
    problem = None
    if refusal is not None:
        wording = WORDING[refusal.problem]
        problem = {
            "code": refusal.problem.value,
            "what_id": wording.what_id,
            "do_id": wording.do_id,
            "what_en": wording.what_en,
            "do_en": wording.do_en,
            "detail": refusal.detail,
            "waiting": refusal.problem in WAITING,
        }
    return {
        "phase": phase.value,
        "reached": reached,
        "headline_id": headline[0],
        "headline_en": headline[1],
        "serial": box.serial,
        "code": box.code if phase is Phase.KNOCKING else "",
        "unit": identity.unit if identity else "",
        "site": identity.site if identity else "",
        "problem": problem,
    }


def make_commissioning_app(commissioner: Commissioner, token: str) -> FastAPI:
    """The page, guarded like the agent's."""
    app = FastAPI(title="Rekam box", docs_url=None, redoc_url=None, openapi_url=None)
    templates = Environment(
        loader=FileSystemLoader(ROOM / "templates"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    app.mount("/static", StaticFiles(directory=ROOM / "static"), name="static")

    @app.get("/")
    def page() -> HTMLResponse:
        template = templates.get_template("commissioning.html")
        return HTMLResponse(template.render(steps=STEPS, refresh_s=REFRESH_S, **view(commissioner)))

    @app.get("/api/commissioning")
    def state() -> dict[str, Any]:
        return view(commissioner)

    @app.get("/{_other}")
    def other() -> RedirectResponse:
        return RedirectResponse("/")

    app.add_middleware(Guard, token=token)
    return app
