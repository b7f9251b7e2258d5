"""The console: pages for officers and a JSON API for the same actions, as one FastAPI application.

Every request is answered by a thread of the server's pool with a database session of its own. Pages only read; what
changes something goes through `/api` with a JSON body, which no foreign page can send with our cookie.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import RequestResponseEndpoint

from contract.errors import RekamError, RemoteError, TransientError
from hub.central import Central
from hub.console.api import api_routes, visitor_of
from hub.console.officer_api import add_officer_routes
from hub.console.pages import page_routes
from hub.console.sessions import NotLoggedIn, Sessions, Visitor

FOLDER = Path(__file__).parent
BODY_BYTES_MAX = 64 * 1024
HOUR_MS = 3_600_000
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_application(central: Central) -> FastAPI:
    """The console of this hub."""
    context = central.context
    sessions = Sessions(context.keys.blob, context.clock, int(context.settings.console.session_h * HOUR_MS))
    application = FastAPI(title="Rekam hub", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    application.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    routes = api_routes(central, sessions)

    def visitor(request: Request) -> Visitor:
        return visitor_of(central, sessions, request)

    add_officer_routes(routes, central, visitor)
    application.include_router(routes, prefix="/api")
    application.include_router(page_routes(central, sessions, FOLDER / "templates"))
    application.add_exception_handler(RekamError, _answer_error)
    application.add_exception_handler(RequestValidationError, _answer_invalid)

    @application.middleware("http")
    async def bounded_and_framed(request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Refuse bodies that no form of ours sends, and tell browsers to be strict."""
        length = request.headers.get("content-length", "0")
        if "transfer-encoding" in request.headers or not length.isdigit() or int(length) > BODY_BYTES_MAX:
            return JSONResponse({"message": "The request is too large.", "next_step": "Send less."}, 413)
        response = await call_next(request)
        if not request.url.path.startswith("/static/"):
            response.headers.update(SECURITY_HEADERS)
        return response

    return application


async def _answer_error(request: Request, error: Exception) -> Response:
    """Our errors as JSON with what to do next; a page without a log-in leads to the log-in."""
    if not isinstance(error, RekamError):
        raise error
    is_api = request.url.path.startswith("/api/")
    if isinstance(error, NotLoggedIn):
        return JSONResponse(error.diagnostics(), 401) if is_api else RedirectResponse("/login", 303)
    code = 409 if isinstance(error, RemoteError) else 503 if isinstance(error, TransientError) else 500
    return JSONResponse(error.diagnostics(), code)


async def _answer_invalid(_request: Request, error: Exception) -> Response:
    """Which fields of a request are wrong, never what stood in them."""
    if not isinstance(error, RequestValidationError):
        raise error
    fields = ", ".join(".".join(str(part) for part in problem["loc"][1:]) or "body" for problem in error.errors()[:5])
    return JSONResponse(
        {
            "error": "RemoteError",
            "message": f"These fields are missing or wrong: {fields}.",
            "next_step": "Correct them; /api/openapi.json describes every request.",
        },
        422,
    )
