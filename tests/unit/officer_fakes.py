"""A desk of fakes with officers at it, driven by the API that its pages use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from contract.operators import OperatorEntry
from contract.secret import hash_secret
from edge.config import UnitTable
from edge.desk import Desk, Reports
from edge.officer_desk import OfficerDesk
from edge.ports import ChipContent
from edge.screens.app import make_app
from edge.second_factor import FactorBook
from tests.unit.edge_fakes import (
    HEAD,
    NIK,
    OPERATOR,
    PAPERS,
    Bench,
    FakeDesk,
    chip,
    consigned,
    make_bench,
    operator_entry,
    roster_of,
)

TOKEN = "t" * 43
PIN, OTHER = "482913", "739105"
RECORD = hash_secret(PIN, bytes(16), 2)
WORK, HOUR_MS = "/api/officer-work", 3_600_000
Answer = dict[str, Any]


class FakeProof:
    """A reader with one officer's card on it."""

    def __init__(self, content: ChipContent) -> None:
        self.content, self.faults = content, list[Exception]()

    async def uid(self) -> str:
        return (await self.owner()).card_uid

    async def owner(self) -> ChipContent:
        if self.faults:
            raise self.faults.pop(0)
        return self.content

    def cancel(self) -> None:
        return


class Unit:
    """A desk made of fakes, driven by its API. `start` is the agent starting again on the same store."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.proof = FakeProof(chip(person=OPERATOR))
        self.bench.register.take_card(consigned())
        self.start()

    def start(self, *, reads_cards: bool = True) -> None:
        bench = self.bench
        self.factors = FactorBook(bench.store, bench.roster.time)
        self.officers = OfficerDesk(bench.services, self.factors, self.proof if reads_cards else None)
        reports = Reports(dict, list, lambda _name: None, lambda: 0)
        table = UnitTable.model_validate({"id": "desk-a1", "site": "9901-A", "role": "desk"})
        self.desk = Desk(table, bench.services, reports, chip_desk=FakeDesk(chip()), officers=self.officers)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(make_app(self.desk, TOKEN), raise_app_exceptions=False),
            base_url="http://127.0.0.1:8101", headers={"X-Rekam-Token": TOKEN},
        )  # fmt: skip

    def roster(self, *entries: OperatorEntry, **changes: object) -> None:
        version = self.bench.roster.held.version + 1
        self.bench.roster.take(roster_of(*entries, version=version, **changes))

    async def post(self, path: str, **fields: Any) -> Answer:
        return (await self.http.post(f"{path}?wait_s=5", json=fields)).json()  # type: ignore[no-any-return]

    async def get(self, path: str) -> Any:
        return (await self.http.get(path)).json()

    async def identify(self, operator: str = OPERATOR, person: str = "", **fields: str) -> Answer:
        """Begin, and lay a finger."""
        found = await self.post(f"{WORK}/identify", operator=operator, **fields)
        if "code" in found:
            return found
        self.bench.sensors.person = person or operator
        return await self.post(f"{WORK}/capture")

    async def on_duty(self) -> str:
        officer = (await self.get("/api/sign-on"))["officer"]
        return officer["operator"] if officer else ""

    async def capture(self, operator: str = OPERATOR) -> Answer:
        return await self.post("/api/session", nik=NIK, operator=operator, papers=list(PAPERS))


def siti(**changes: object) -> OperatorEntry:
    return operator_entry(OPERATOR, "operator", **changes)


def head(**changes: object) -> OperatorEntry:
    return operator_entry(HEAD, "section-head", **changes)


@asynccontextmanager
async def desk_of_fakes(folder: Path) -> AsyncIterator[Unit]:
    """A desk with nobody at it yet."""
    bench = make_bench(folder)
    made = Unit(bench)
    yield made
    await made.http.aclose()
    bench.store.close()
