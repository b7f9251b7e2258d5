"""The receiving end on the line: floods, failing disks and deaf units do not stop it, and no receipt is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from contract.channel_mqtt import Connection, Disconnected
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RemoteError, TransientError
from contract.topics import DN_NEED, DN_RECEIPT, HUB_STATE, UP_CHUNK, UP_OFFER, UP_STATE
from contract.transfer import MESSAGE_BYTES_MAX, HubState, Step, UnitState
from hub.ingest import Outgoing
from hub.ingest_service import IngestService
from tests.unit.transfer_keys import SetClock

PID = "ab" * 32


class Bus:
    """A channel without a broker that remembers what the hub said."""

    def __init__(self) -> None:
        self.handlers = {}
        self.connected = []
        self.said: list[tuple[str, bytes]] = []
        self.heard = True
        self.broken = False
        self.cut = 0

    def on(self, topic, handler, **_names) -> None:
        self.handlers[topic.template] = handler

    def on_connected(self, handler) -> None:
        self.connected.append(handler)

    async def publish(self, topic, payload, *, qos=1, retain=False, expiry_s=0) -> bool:
        if self.broken:
            self.cut += 1
            raise Disconnected("cut")
        self.said.append((topic, payload))
        return self.heard

    async def say(self, topic, payload, **names) -> None:
        await self.handlers[topic.template](names, payload)


class Desk:
    """An ingest that does as it is told: the real one is tested with the hub's database."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.waiting = {1: "desk-a1", 2: "kiosk-b1"}
        self.marked: list[int] = []
        self.ticks = 0
        self.failing: Exception | None = None
        self.closed = False

    def observe(self, _step, _pid) -> None: ...

    def on_offer(self, unit, pid, payload):
        self.taken.append(payload)
        if payload == b"garbage":
            raise RemoteError("not an offer")
        if payload == b"full":
            raise DeviceError("disk full")
        return [Outgoing(DN_NEED.at(unit=unit, pid=pid), payload, Step.NEED_SENT, pid)]

    def on_chunk(self, unit, pid, payload):
        self.taken.append(payload)
        return [self._receipt(9, unit, pid)] if payload == b"last" else []

    def outbox(self, after):
        return [self._receipt(number, unit, PID) for number, unit in self.waiting.items() if number > after][:1]

    def mark_published(self, settled) -> None:
        for _pid, hub_sequence in settled:
            self.marked.append(hub_sequence)
            self.waiting.pop(hub_sequence, None)

    def finish(self):
        return []

    def tick(self) -> None:
        self.ticks += 1
        if self.failing is not None:
            failing, self.failing = self.failing, None
            raise failing

    def close(self) -> None:
        self.closed = True

    def _receipt(self, number, unit, pid):
        return Outgoing(DN_RECEIPT.at(unit=unit, pid=pid), b"receipt", Step.RECEIPT_SENT, pid, (pid, number))


class Served:
    """A running service."""

    def __init__(self) -> None:
        self.bus, self.desk = Bus(), Desk()
        self.service = IngestService(self.bus, self.desk, SetClock())

    async def __aenter__(self):
        self.task = asyncio.create_task(self.service.run())
        return self

    async def __aexit__(self, *_) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def until(self, condition) -> None:
        async with asyncio.timeout(5):
            while not condition():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.002)

    async def unit_online(self) -> None:
        state = UnitState(state="online", boot=1, software="1", sequence=1, time_ms=0)
        await self.bus.say(UP_STATE, encode(state), unit="desk-a1")

    def topics(self, topic) -> int:
        return sum(topic.parse(name) is not None for name, _ in self.bus.said)


async def test_messages_are_taken_in_order_and_answered():
    async with Served() as served:
        await served.bus.say(UP_OFFER, b"offer", unit="desk-a1", pid=PID)
        for chunk in (b"1", b"2", b"last"):
            await served.bus.say(UP_CHUNK, chunk, unit="desk-a1", pid=PID)
        await served.until(lambda: served.desk.marked == [9])
        assert served.desk.taken == [b"offer", b"1", b"2", b"last"]
        assert (served.topics(DN_NEED), served.topics(DN_RECEIPT)) == (1, 1)


@pytest.mark.parametrize("trouble", [b"garbage", b"full"])
async def test_trouble_with_one_message_does_not_touch_the_next(trouble):
    async with Served() as served:
        for payload in (trouble, trouble, b"offer"):
            await served.bus.say(UP_OFFER, payload, unit="desk-a1", pid=PID)
        await served.until(lambda: served.topics(DN_NEED) == 1)


async def test_a_flood_of_chunks_is_worked_off_without_holding_more_than_the_inbox():
    async with Served() as served:
        for number in range(1_000):
            await served.bus.say(UP_CHUNK, number.to_bytes(4), unit="desk-a1", pid=PID)
            assert served.service._inbox.qsize() <= 64
        await served.until(lambda: len(served.desk.taken) == 1_000)


async def test_waiting_receipts_go_out_when_a_unit_comes_on_line_and_are_marked_when_heard():
    async with Served() as served:
        await served.unit_online()
        await served.until(lambda: sorted(served.desk.marked) == [1, 2])


async def test_a_receipt_that_nobody_heard_stays_in_the_outbox():
    async with Served() as served:
        served.bus.heard = False
        served.service.publish_receipts()
        await served.until(lambda: served.topics(DN_RECEIPT) == 2)
        assert (served.desk.marked, len(served.desk.waiting)) == ([], 2)
        served.bus.heard = True
        await served.unit_online()
        await served.until(lambda: not served.desk.waiting)


async def test_a_cut_line_does_not_stop_the_service():
    async with Served() as served:
        served.bus.broken = True
        await served.bus.say(UP_OFFER, b"offer", unit="desk-a1", pid=PID)
        await served.until(lambda: served.bus.cut == 1)
        served.bus.broken = False
        await served.bus.say(UP_OFFER, b"again", unit="desk-a1", pid=PID)
        await served.until(lambda: served.topics(DN_NEED) == 1)


@pytest.mark.parametrize("failing", [DeviceError("disk full"), TransientError("database locked")])
async def test_a_disk_or_database_that_fails_for_a_while_does_not_stop_the_service(failing):
    async with Served() as served:
        served.desk.failing = failing
        await served.until(lambda: served.desk.ticks >= 1)
        await served.bus.say(UP_OFFER, b"offer", unit="desk-a1", pid=PID)
        await served.until(lambda: served.topics(DN_NEED) == 1)


async def test_the_hub_is_announced_once_it_listens_and_says_goodbye():
    async with Served() as served:
        assert not served.bus.said
        for handler in served.bus.connected:
            await handler(Connection(None, 1))
        await served.until(lambda: served.desk.ticks)
    states = [
        decode(HubState, said, MESSAGE_BYTES_MAX).online
        for topic, said in served.bus.said
        if topic == HUB_STATE.template
    ]
    assert states == [True, False]
    assert served.desk.closed
