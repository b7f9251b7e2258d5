"""The hub's loops and its disk: one item that raises, a flood, or a failed sync ends nothing but itself."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from contract.channel_disk import Disk, SyncSite
from contract.errors import DeviceError, RekamError, TransientError
from contract.identifiers import pid_of
from contract.topics import UP_OFFER
from contract.transfer import Chunk, Offer
from hub import service as hub_service
from hub.ingest_service import INBOX_MESSAGES_MAX, IngestService
from hub.parts import PartStore
from hub.schema.database import Database
from hub.service import HubService
from tests.unit.test_ingest_service import Bus, Desk
from tests.unit.transfer_keys import SetClock

PID = "cd" * 32
ERRORS = [TransientError("locked"), DeviceError("disk"), IntegrityError("", {}, Exception())]


def service_of(**central: Any) -> HubService:
    """A hub with these parts and nothing around them."""
    service = object.__new__(HubService)
    service._central = SimpleNamespace(**central)  # type: ignore[assignment]  # only the parts that the loop asks for
    service._office = service._search = ThreadPoolExecutor(1)
    service._ingest = None
    return service


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_service, "BACKOFF_S", 0.0)


def raising(bad: str, error: Exception, done: list[str]) -> Callable[[str], str]:
    def work(item: str) -> str:
        done.append(item)
        if item == bad:
            raise error
        return "done"

    return work


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_search_that_raises_does_not_keep_the_others_waiting(error: Exception) -> None:
    done: list[str] = []
    dedup = SimpleNamespace(due=lambda: ["bad", "good"], search=raising("bad", error, done))
    asyncio.run(service_of(dedup=dedup)._work_off_searches())
    assert done == ["bad", "good"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_packet_that_raises_keeps_neither_packets_nor_print_orders_waiting(error: Exception) -> None:
    done: list[str] = []
    process = raising("bad", error, done)
    intake = SimpleNamespace(due=lambda: ["bad", "good"], process_some=lambda pids: (process(pids[0]), pids[1:])[1])
    personalisation = SimpleNamespace(order_due=lambda: done.append("orders"))
    asyncio.run(service_of(intake=intake, personalisation=personalisation)._work_off_packets())
    assert done == ["bad", "good", "orders"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_work_that_raises_is_tried_again(no_wait: None, error: Exception) -> None:
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise error
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(service_of()._every(0.0, work))
    assert calls == 3


def test_a_message_that_nobody_expected_ends_itself_and_one_of_ours_is_told() -> None:
    def stumble() -> None:
        raise ZeroDivisionError

    def refuse() -> None:
        raise TransientError("locked")

    asyncio.run(service_of()._heard(stumble))
    with pytest.raises(RekamError):
        asyncio.run(service_of()._heard(refuse))


def test_a_flood_of_offers_holds_the_channel_back_and_not_the_memory() -> None:
    async def flood() -> int:
        bus, desk = Bus(), Desk()
        service = IngestService(bus, desk, SetClock())  # type: ignore[arg-type]  # stand-ins
        longest = 0
        handle = service._handle

        def watched(waiting: deque[Any]) -> list[Any]:
            nonlocal longest
            longest = max(longest, len(waiting))
            return handle(waiting)

        service._handle = watched  # type: ignore[method-assign]  # looks on
        running = asyncio.create_task(service.run())
        for _ in range(20 * INBOX_MESSAGES_MAX):
            await bus.say(UP_OFFER, b"offer", unit="desk-a1", pid=PID)
        while len(desk.taken) < 20 * INBOX_MESSAGES_MAX:  # noqa: ASYNC110 - the stand-in has no event
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return longest

    assert asyncio.run(flood()) <= INBOX_MESSAGES_MAX


def test_a_message_that_breaks_the_ingest_is_dropped_and_the_next_one_answered() -> None:
    async def talk() -> list[tuple[str, bytes]]:
        bus, desk = Bus(), Desk()
        offered = desk.on_offer

        def on_offer(unit: str, pid: str, payload: bytes) -> list[Any]:
            if payload == b"bad":
                raise IntegrityError("", {}, Exception())
            return offered(unit, pid, payload)

        desk.on_offer = on_offer  # type: ignore[method-assign]  # breaks on purpose
        service = IngestService(bus, desk, SetClock())  # type: ignore[arg-type]  # stand-ins
        running = asyncio.create_task(service.run())
        await bus.say(UP_OFFER, b"bad", unit="desk-a1", pid=PID)
        await bus.say(UP_OFFER, b"good", unit="desk-a1", pid=PID)
        while not any(payload == b"good" for _, payload in bus.said):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return bus.said

    assert asyncio.run(talk())


def test_a_failed_sync_is_the_technicians_and_is_never_trusted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"x" * 70_000
    pid = pid_of(data)
    store = PartStore(tmp_path / "parts", SetClock())
    part = store.open("desk-a1", pid, Offer(length=len(data), chunk=65_536, count=2, key_id="desk-a1", attempt=1))
    store.write(part, Chunk(index=0, data=data[:65_536]))
    store.write(part, Chunk(index=1, data=data[65_536:]))

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DeviceError):
        store.finish(part, tmp_path / "packet")
    assert store.find("desk-a1", pid) is None
    assert not (tmp_path / "packet").exists()
    for sync in (
        lambda: Disk().sync_folder(tmp_path, SyncSite.PART_NAME),
        lambda: Disk().write_draft(tmp_path / "map", b"map", SyncSite.PART_MAP),
    ):
        with pytest.raises(DeviceError):
            sync()
    assert list(tmp_path.glob("*.draft")) == []


def test_work_is_left_alone_while_nothing_was_written_and_looked_for_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'hub.db'}", "OFF")
    database.upgrade()
    service = service_of()
    service._context = SimpleNamespace(database=database)  # type: ignore[assignment]  # only what is asked for
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1

    async def looks() -> list[int]:
        look, counted = service._where_written(work), []
        monkeypatch.setattr(hub_service, "LOOK_AGAIN_S", 3600.0)
        for write in (False, False, True, False):
            if write:
                with database.transaction() as session:
                    session.execute(text("SELECT 1"))
            await look()
            counted.append(calls)
        with suppress(ZeroDivisionError), database.transaction():
            raise ZeroDivisionError  # nothing is written
        await look()
        counted.append(calls)
        monkeypatch.setattr(hub_service, "LOOK_AGAIN_S", 0.0)
        look = service._where_written(work)
        for _ in range(2):
            await look()
        return [*counted, calls]

    assert asyncio.run(looks()) == [1, 1, 2, 2, 2, 4]
    database.close()
