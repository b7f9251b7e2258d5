"""A hand on a unit's screen: the same requests that the pages make, for the people of the demo."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import httpx

from contract.errors import RemoteError

Snapshot = Mapping[str, Any]
REQUEST_TIMEOUT_S = 75.0


class UnitClient:
    """The JSON API of one unit, as edge/README.md describes it."""

    def __init__(self, name: str, port: int, data: Path) -> None:
        """name: the unit id; data: its data folder, where the screen's token lies."""
        self.name = name
        token = (data / "screen.token").read_text(encoding="ascii").strip()
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"X-Rekam-Token": token}, timeout=REQUEST_TIMEOUT_S
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; RemoteError with the unit's own words where it refuses."""
        return _answer(await self._http.get(path, params=query))

    async def post(self, path: str, fields: Mapping[str, Any] | None = None, *, wait_s: float = 30.0) -> Any:
        """The answer to a POST that waits for the action's end."""
        return _answer(await self._http.post(path, json=dict(fields or {}), params={"wait_s": wait_s}))

    async def wait_for_roster(self, timeout_s: float) -> None:
        """Wait until the hub's dispatches have arrived: the operators, and with them register and keys."""
        end = monotonic() + timeout_s
        while not await self.get("/api/operators"):
            if monotonic() > end:
                raise RemoteError(f"{self.name} has no roster after {timeout_s:.0f} s.", next_step="Look at its log.")
            await asyncio.sleep(0.1)

    async def settle(self, path: str, snapshot: Snapshot, timeout_s: float = 60.0) -> Snapshot:
        """Wait until a session asks for something again, or has ended."""
        rounds = int(timeout_s / 5) + 1
        for _ in range(rounds):
            if snapshot["state"] != "busy":
                return snapshot
            snapshot = await self.get(path, after=snapshot["revision"], wait_s=5)
        raise RemoteError(f"{self.name} is still busy in step '{snapshot['step']}' after {timeout_s:.0f} s.")


class Refused(RemoteError):
    """The unit refused a request; `code` is one of the words of its README."""

    def __init__(self, code: str, message: str, next_step: str) -> None:
        super().__init__(message, next_step=next_step)
        self.code = code


def _answer(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json() if "json" in response.headers.get("content-type", "") else response.content
    try:
        fields = response.json()
    except ValueError:
        raise RemoteError(f"{response.request.url.path} answered {response.status_code}.") from None
    raise Refused(
        str(fields.get("code", "")), str(fields.get("message", response.text)), str(fields.get("next_step", ""))
    )
