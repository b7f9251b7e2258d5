"""Officers at the hub's console: the same requests that its pages make."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import httpx

from contract.errors import RemoteError, TransientError
from contract.lifecycle import RecordState

WAIT_S = 90.0
REQUEST_TIMEOUT_S = 20.0
OBSERVER = "dc-officer"


class HubClient:
    """The hub's JSON API. secrets: the folder with the officers' pass phrases."""

    def __init__(self, port: int, secrets: Path) -> None:
        self._secrets = secrets
        self._tokens: dict[str, str] = {}
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=REQUEST_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def record(self, capture_id: str) -> dict[str, Any] | None:
        """The record with its way, or None while the hub does not know it."""
        answer = await self._ask("GET", f"/api/records/{capture_id}")
        return dict(answer.json()) if answer.is_success else None

    async def state_of(self, capture_id: str) -> RecordState:
        """The record's state; UNREGISTERED while the hub does not know the capture."""
        found = await self.record(capture_id)
        return RecordState(found["state"]) if found else RecordState.UNREGISTERED

    async def wait_for(self, capture_id: str, states: set[RecordState]) -> RecordState:
        """Wait until the record is in one of these states. Raises RemoteError after the time-out."""
        end = monotonic() + WAIT_S
        while (state := await self.state_of(capture_id)) not in states:
            if monotonic() > end:
                raise RemoteError(f"The record stays {state}, not {', '.join(states)}.", next_step="See the hub's log.")
            await asyncio.sleep(0.15)
        return state

    async def wait_for_event(self, capture_id: str, event: str) -> bool:
        """Wait until an event stands in the record's history; False after the time-out."""
        end = monotonic() + WAIT_S
        while monotonic() < end:
            found = await self.record(capture_id)
            if found and any(link["event"] == event for link in found["history"]):
                return True
            await asyncio.sleep(0.15)
        return False

    async def packets(self) -> int:
        """How many packets the hub holds."""
        return int((await self._must("GET", "/api/state"))["packets"])

    async def card_state(self, card_uid: str) -> str:
        """Where the ledger sees a physical card."""
        cards = await self._must("GET", "/api/cards")
        return str(next((card["state"] for card in cards if card["card_uid"] == card_uid), "unknown"))

    async def judge_same(self, officer: str, capture_id: str) -> str:
        """Claim the open case of a capture and decide: the same person as the best candidate. Returns its capture."""
        cases = await self._must("GET", "/api/cases", officer)
        case = next(c for c in cases if c["capture_id"] == capture_id and c["decided_ms"] is None)
        claimed = await self._must("POST", f"/api/cases/{case['id']}/claim", officer, {})
        best = claimed["candidates"][0]
        decision = {"verdict": "same", "same_as": best["capture_id"], "reason": "Sidik jari dan iris sama."}
        if best["order_is_open"]:
            decision["first"] = best["capture_id"]
        await self._must("POST", f"/api/cases/{case['id']}/decisions", officer, decision)
        return str(best["capture_id"])

    async def _must(self, method: str, path: str, officer: str = OBSERVER, fields: Any = None) -> Any:
        answer = await self._ask(method, path, officer, fields)
        if not answer.is_success:
            raise RemoteError(f"The hub answers {answer.status_code} to {path}: {answer.text[:300]}")
        return answer.json()

    async def _ask(self, method: str, path: str, officer: str = OBSERVER, fields: Any = None) -> httpx.Response:
        """One request; a log-in before the first of each officer, and again where the hub was restarted."""
        answer = await self._send(method, path, officer, fields)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            del self._tokens[officer]
            answer = await self._send(method, path, officer, fields)
        return answer

    async def _send(self, method: str, path: str, officer: str, fields: Any) -> httpx.Response:
        if officer not in self._tokens:
            self._tokens[officer] = await self._log_in(officer)
        headers = {"Authorization": f"Bearer {self._tokens[officer]}"}
        try:
            return await self._http.request(method, path, headers=headers, json=fields)
        except httpx.TransportError as error:
            raise TransientError(f"The hub's console does not answer ({type(error).__name__}).") from None

    async def _log_in(self, officer: str) -> str:
        secret = (self._secrets / f"{officer}.secret").read_text(encoding="ascii")
        answer = await self._http.post("/api/login", json={"operator": officer, "secret": secret})
        if not answer.is_success:
            raise RemoteError(f"The hub refuses the log-in of {officer}: {answer.text[:200]}")
        return str(answer.json()["token"])
