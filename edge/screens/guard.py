"""Who may speak to the unit's pages: this machine's own browser and programs, and nobody's web page.

The pages listen on loopback. A page of some other site, open in the same browser, could still try to post here, or to
reach us under a name of its own (DNS rebinding): so the Host must be loopback, a browser's Origin must be ours, and
every API request needs the token that our pages set as a cookie, or that a program reads from the token file.
"""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "rekam_token"
HEADER = "x-rekam-token"
BODY_BYTES_MAX = 16 * 1024
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SAFE = frozenset({"GET", "HEAD"})
POLICY = "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; frame-ancestors 'none'; form-action 'self'"


def make_token(folder: Path) -> str:
    """A new token for this start of the agent, left for programs in `screen.token` (mode 600)."""
    token = secrets.token_urlsafe(32)
    path = folder / "screen.token"
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token)
    draft.replace(path)
    return token


def drop_token(folder: Path) -> None:
    """The agent ends: its token opens nothing any more, and nobody shall take it for a running agent's."""
    (folder / "screen.token").unlink(missing_ok=True)


def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine's loopback."""
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK
    except ValueError:
        return False


class Guard:
    """ASGI middleware: refuses what did not come from this machine's own pages or programs."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, then let it through with safe headers on its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._problem(scope)
        if problem is not None:
            status, message = problem
            answer = JSONResponse(
                {"error": "Forbidden", "message": message, "next_step": "Open the unit's own page.", "code": "INVALID"},
                status,
            )
            await answer(scope, receive, send)
            return
        sets_cookie = not scope["path"].startswith(("/api", "/static"))

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                if not scope["path"].startswith("/static"):
                    headers["Cache-Control"] = "no-store"
                if sets_cookie:
                    headers.append("Set-Cookie", f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/")
            await send(message)

        await self._app(scope, receive, send_safely)

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if not is_loopback(headers.get("host", "")):
            return 403, "The request names another host."
        if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")) > BODY_BYTES_MAX:
            return 413, f"A request has at most {BODY_BYTES_MAX} bytes."
        if scope["method"] not in SAFE:
            if "chunked" in headers.get("transfer-encoding", ""):
                return 411, "A request must say its length."
            origin = headers.get("origin")
            if origin is not None and origin != f"http://{headers.get('host')}":
                return 403, "The request comes from another site."
            if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
                return 403, "The request comes from another site."
        if scope["path"].startswith("/api") and not self._has_token(scope, headers):
            return 403, "The request carries no valid token."
        return None

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        given = headers.get(HEADER) or Request(scope).cookies.get(COOKIE, "")
        return hmac.compare_digest(given.encode(), self._token.encode())
