"""Queue numbers are never handed out twice, and paper that fails stops nobody and can be printed again."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import TransientError
from edge.config import QueueTable
from edge.desk import Desk
from edge.diary import Diary
from edge.queue_numbers import DAYS_KEPT, NUMBER_MAX, QueueNumbers
from edge.sealed_store import SealedStore
from edge.sensors.interface import DeviceInfo, TicketCondition, TicketLine, TicketPair, TicketPart
from edge.sensors.ticket_escpos import TicketFault
from edge.sensors.worker import DeviceWorker
from edge.ticket_desk import TicketDesk
from edge.tickets import Place
from tests.screens.test_unit_pages import HEADERS, PRESSED, SESSION, client_of, make_desk
from tests.unit.edge_fakes import NIK, OPERATOR, Bench, SetClock, consigned, make_bench

PREFIXES = {"capture": "A", "handover": "B"}
PLACE = Place("9901-A", "desk-a1")
DAY_MS = 86_400_000


class FakePrinter:
    """Paper in memory. faults: raised once each."""

    def __init__(self) -> None:
        self.printed: list[str] = []
        self.faults: list[Exception] = []

    def open(self) -> DeviceInfo:
        return DeviceInfo("fake", "paper")

    def close(self) -> None:
        return

    def condition(self) -> TicketCondition:
        return TicketCondition()

    def print(self, parts: Sequence[TicketPart], timeout_s: float, cancel: threading.Event) -> None:
        if self.faults:
            raise self.faults.pop(0)
        texts = [part.text for part in parts if isinstance(part, TicketLine)]
        texts += [f"{part.name}: {part.value}" for part in parts if isinstance(part, TicketPair)]
        self.printed.append("\n".join(texts))


def numbers(folder: Path, clock: SetClock) -> tuple[SealedStore, QueueNumbers]:
    store = SealedStore(folder / "unit.db", bytes(range(32)))
    return store, QueueNumbers(store, clock, PREFIXES, PLACE.day)


def test_numbers_count_up_by_service_and_begin_anew_at_the_offices_midnight(tmp_path: Path) -> None:
    clock = SetClock()
    clock.now_ms = 1_790_000_000_000 // DAY_MS * DAY_MS + 16 * 3_600_000  # 23:00 in Jakarta, 16:00 UTC
    store, queue = numbers(tmp_path, clock)
    assert [queue.issue(s).number for s in ("capture", "capture", "handover")] == ["A-001", "A-002", "B-001"]
    clock.now_ms += 3_600_000
    assert queue.issue("capture").number == "A-001"
    assert [entry.number for entry in queue.waiting()] == ["A-001"]
    store.close()


@given(st.lists(st.sampled_from(["capture", "handover", "restart", "later", "earlier", "call"]), max_size=40))
@settings(max_examples=25, deadline=None)
def test_no_number_of_a_day_is_handed_out_twice(tmp_path_factory: pytest.TempPathFactory, events: list[str]) -> None:
    folder, clock = tmp_path_factory.mktemp("queue"), SetClock()
    store, queue = numbers(folder, clock)
    seen: set[str] = set()
    for event in events:
        if event == "restart":
            store.close()
            store, queue = numbers(folder, clock)
        elif event in ("later", "earlier"):
            clock.now_ms += (1 if event == "later" else -1) * DAY_MS * 4
        elif event == "call":
            called = queue.call()
            assert called is None or called not in queue.waiting()
        else:
            key = queue.issue(event).key
            assert key not in seen
            seen.add(key)
    assert len({entry.day for entry in queue._entries.values()}) <= DAYS_KEPT
    store.close()


def test_the_first_who_came_is_called_first_and_a_day_has_an_end(tmp_path: Path) -> None:
    clock = SetClock()
    store, queue = numbers(tmp_path, clock)
    for service in ("handover", "capture", "capture"):
        clock.now_ms += 1000
        queue.issue(service)
    assert queue.ahead_of(queue.waiting()[2]) == 1
    for number in ("B-001", "A-001"):
        clock.now_ms += 1
        called = queue.call()
        assert called is not None and called.number == number
    assert queue.call("handover") is None
    assert queue.last_called()[0].number == "A-001"
    queue._highest[f"{PLACE.day(clock.now_ms)}/A"] = NUMBER_MAX
    with pytest.raises(TransientError, match="No more numbers"):
        queue.issue("capture")
    store.close()


def test_the_queue_is_shown_while_numbers_are_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, queue = numbers(tmp_path, SetClock())
    monkeypatch.setattr(store, "change", lambda _changes: None)  # only memory is tried here
    done = threading.Event()

    def hand_out() -> None:
        for _ in range(1500):
            queue.issue("capture")
        done.set()

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = threading.Thread(target=hand_out)
        thread.start()
        shown = 0
        while not done.is_set():
            assert len(queue.waiting()) >= shown
            shown = len(queue.waiting())
        thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert len(queue.waiting()) == 1500
    store.close()


def test_two_services_cannot_share_a_prefix() -> None:
    with pytest.raises(ValueError, match="must differ"):
        QueueTable(capture_prefix="A", handover_prefix="A")


class Office:
    """A desk with a ticket printer and its pages."""

    def __init__(self, folder: Path) -> None:
        self.bench: Bench = make_bench(folder)
        self.bench.register.take_card(consigned())
        self.printer = FakePrinter()
        self.worker: DeviceWorker[Any] = DeviceWorker("ticket", lambda: self.printer)
        queue = QueueNumbers(self.bench.store, self.bench.clock, PREFIXES, PLACE.day)
        self.desk: Desk = make_desk(self.bench)
        self.desk.tickets = TicketDesk(self.worker, PLACE, queue)
        self.desk.diary = Diary(self.bench.store, self.bench.clock)

    async def capture(self, client: httpx.AsyncClient) -> dict[str, Any]:
        found = (await client.post("/api/session", json=SESSION)).json()
        while found["state"] != "ended":
            self.bench.sensors.person = OPERATOR if found["step"] == "sign_off" else "sari"
            action = PRESSED.get(found["step"], "capture")
            found = (await client.post(f"/api/session/{action}?wait_s=5")).json()
        return await settled(client, "session")


async def settled(client: httpx.AsyncClient, work: str) -> dict[str, Any]:
    """The snapshot once nothing is being printed."""
    for _ in range(200):
        found: dict[str, Any] = (await client.get(f"/api/{work}")).json()
        if found["ticket"] and found["ticket"]["state"] != "printing":
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("still printing")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.bench.store.close()


async def test_the_proof_is_printed_when_the_capture_is_saved(office: Office) -> None:
    async with client_of(office.desk) as client:
        client.headers.update(HEADERS)
        found = await office.capture(client)
        assert found["ticket"]["state"] == "printed"
        (proof,) = office.printer.printed
        assert "BUKTI PEREKAMAN" in proof
        assert f"NIK: {NIK}" in proof
        assert found["id"] in proof
        assert (await client.post("/api/session/finish")).json()["step"] == "finished"
    await office.worker.close()


async def test_a_printer_without_paper_stops_no_capture_and_the_proof_is_printed_later(office: Office) -> None:
    office.printer.faults = [TicketFault("paper-out"), TicketFault("paper-out")]
    async with client_of(office.desk) as client:
        client.headers.update(HEADERS)
        found = await office.capture(client)
        assert found["result"]["status"] == "BIO_CAPTURED"
        assert found["ticket"]["state"] == "failed"
        assert "Kertas habis" in found["ticket"]["message_id"]
        assert "Paper is out" in found["ticket"]["message_en"]
        assert (await client.post("/api/session/ticket")).json()["ticket"]["state"] == "printing"
        assert (await settled(client, "session"))["ticket"]["state"] == "failed"
        await client.post("/api/session/ticket")
        assert (await settled(client, "session"))["ticket"]["state"] == "printed"
    assert len(office.printer.printed) == 1
    await office.worker.close()


@pytest.mark.parametrize("outcome", ["berhasil", "gagal"])
async def test_a_handover_ends_with_its_papers(office: Office, outcome: str) -> None:
    async with client_of(office.desk) as client:
        client.headers.update(HEADERS)
        await client.post("/api/handover", json={"nik": NIK, "operator": OPERATOR})
        assert (await client.post("/api/handover/ticket")).status_code == 409  # nothing has been decided yet
        actions = [("old_card", {"state": "surrendered"}), ("read", {}), ("confirm", {})]
        last = [("capture", {}), ("sign", {})] if outcome == "berhasil" else [("give_up", {}), ("returned", {})]
        for action, fields in actions + last:
            answer = await client.post(f"/api/handover/{action}?wait_s=5", json=fields)
            assert answer.status_code == 200, answer.text
        found = await settled(client, "handover")
    assert found["step"] == outcome
    slip = office.printer.printed[-1]
    assert outcome.upper() in slip
    assert NIK not in slip
    if outcome == "berhasil":
        assert "TANDA TERIMA" in office.printer.printed[0]
        assert "KTP lama: diserahkan" in office.printer.printed[0]
    else:
        assert len(office.printer.printed) == 1
        assert "KTP lama: dikembalikan" in slip
    await office.worker.close()


async def test_a_driver_that_breaks_leaves_no_page_waiting_for_paper(office: Office) -> None:
    office.printer.faults = [KeyError("no such font")]
    async with client_of(office.desk) as client:
        client.headers.update(HEADERS)
        found = (await client.post("/api/queue", json={"service": "capture"})).json()
        assert found["ticket"]["state"] == "failed"
        again = (await client.post(f"/api/queue/{found['number']}/print", json={})).json()
    assert again["ticket"]["state"] == "printed"
    await office.worker.close()


async def test_a_number_counts_even_where_it_could_not_be_printed(office: Office) -> None:
    office.printer.faults = [TicketFault("cover-open")]
    async with client_of(office.desk) as client:
        client.headers.update(HEADERS)
        first = (await client.post("/api/queue", json={"service": "capture"})).json()
        assert (first["number"], first["ticket"]["state"]) == ("A-001", "failed")
        again = (await client.post("/api/queue/A-001/print")).json()
        assert again["ticket"]["state"] == "printed"
        second = (await client.post("/api/queue", json={"service": "capture"})).json()
        assert (second["number"], second["ahead"]) == ("A-002", 1)
        assert (await client.post("/api/queue/call", json={"service": "capture"})).json() == {"number": "A-001"}
        found = (await client.get("/api/queue")).json()
        assert [item["number"] for item in found["waiting"]] == ["A-002"]
        assert found["called"][0]["number"] == "A-001"
        assert (await client.post("/api/queue/C-001/print")).status_code == 404
        assert (await client.post("/api/queue", json={"service": "tea"})).status_code == 422
        diary = (await client.get("/api/diary")).json()
        assert {line["step"] for line in diary if line["work"] == "queue"} == {"A-001", "A-002"}
    await office.desk.leave()
    await office.worker.close()
