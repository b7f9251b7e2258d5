"""A line without a broker, a hub that answers, and a desk with the real spool and uplink between them."""

from __future__ import annotations

import asyncio

from contract.channel_mqtt import Connection, Disconnected
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.identifiers import pid_of
from contract.topics import DN_NEED, DN_RECEIPT, HUB_STATE, UP_CHUNK, UP_OFFER
from contract.transfer import (
    MESSAGE_BYTES_MAX,
    Disposition,
    HubState,
    Need,
    Offer,
    Receipt,
    Step,
    decode_chunk,
    sign_receipt,
)
from edge.spool import Spool
from edge.uplink import Uplink
from edge.uplink_settings import UplinkSettings
from tests.unit.transfer_keys import STATEMENT_KEY, STATEMENT_PUBLIC, STORE_KEY, SetClock

UNIT = "desk-a1"
SETTINGS = UplinkSettings(
    unit=UNIT,
    site="9901-A",
    backoff_first_s=0.001,
    backoff_max_s=0.002,
    answer_timeout_s=0.05,
    idle_s=0.01,
    status_interval_s=0.01,
)


class Line:
    """A channel without a broker: what is published goes to a hub of this test's making."""

    def __init__(self, hub) -> None:
        self.connection: Connection | None = Connection(None, 1)
        self.handlers: dict[str, list] = {}
        self.connected: list = []
        self.lost: list = []
        self.hub = hub
        self.published: list[tuple[str, bytes]] = []

    def on(self, topic, handler, **_names) -> None:
        self.handlers.setdefault(topic.template, []).append((topic, handler))

    def on_connected(self, handler) -> None:
        self.connected.append(handler)

    def on_lost(self, handler) -> None:
        self.lost.append(handler)

    async def publish(self, topic, payload, *, qos=1, retain=False, expiry_s=0) -> bool:
        if self.connection is None:
            raise Disconnected("cut")
        self.published.append((topic, payload))
        return await self.hub.hear(self, topic, payload)

    async def say(self, topic: str, payload: bytes) -> None:
        for entries in self.handlers.values():
            for known, handler in entries:
                names = known.parse(topic)
                if names is not None:
                    try:
                        await handler(names, payload)
                    except RemoteError:
                        self.published.append(("refused", payload))

    async def hub_is(self, online: bool) -> None:
        await self.say(HUB_STATE.template, encode(HubState(online=online, time_ms=0)))

    def cut(self, loss: Disconnected | None = None) -> None:
        for handler in self.lost:
            handler(loss or Disconnected("cut"))

    async def connect(self, packet_bytes_max=None) -> None:
        self.connection = Connection(packet_bytes_max, 2)
        for handler in self.connected:
            await handler(self.connection)

    def count(self, topic) -> int:
        return sum(topic.parse(name) is not None for name, _ in self.published)


class Hub:
    """Answers as a hub does; each test overrides what is to go wrong."""

    disposition = Disposition.RELEASED
    key = STATEMENT_KEY

    def __init__(self) -> None:
        self.offers: dict[str, Offer] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.committed: list[str] = []

    async def hear(self, line, topic, payload) -> bool:
        if names := UP_OFFER.parse(topic):
            await self.on_offer(line, names["pid"], decode(Offer, payload, MESSAGE_BYTES_MAX))
        elif names := UP_CHUNK.parse(topic):
            await self.on_chunk(line, names["pid"], decode_chunk(payload))
        return True

    async def on_offer(self, line, pid, offer) -> None:
        self.offers[pid] = offer
        if pid in self.committed:
            await self.send_receipt(line, pid)
        else:
            missing = [index for index in range(offer.count) if index not in self.parts.setdefault(pid, {})]
            need = Need(attempt=offer.attempt, chunk=offer.chunk, ranges=tuple((each, each) for each in missing))
            await line.say(DN_NEED.at(unit=UNIT, pid=pid), encode(need))

    async def on_chunk(self, line, pid, chunk) -> None:
        self.parts[pid][chunk.index] = chunk.data
        if len(self.parts[pid]) == self.offers[pid].count and pid not in self.committed:
            assert pid_of(b"".join(data for _, data in sorted(self.parts[pid].items()))) == pid
            self.committed.append(pid)
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self.send_receipt(line, pid)))

    async def send_receipt(self, line, pid) -> None:
        receipt = Receipt(
            pid=pid, length=self.offers[pid].length, hub_sequence=1, time_ms=1, disposition=self.disposition
        )
        await line.say(DN_RECEIPT.at(unit=UNIT, pid=pid), sign_receipt(receipt, self.key))


class Desk:
    """A spool with an uplink on a line to a hub."""

    def __init__(self, folder, hub, settings=SETTINGS, online=True) -> None:
        self.clock = SetClock()
        self.clock.monotonic_ms = lambda: int(asyncio.get_running_loop().time() * 1000)
        self.spool = Spool(folder / "spool", STORE_KEY, self.clock, 10**9, 10**6)
        self.line, self.hub, self.online = Line(hub), hub, online
        self.steps: list[Step] = []
        self.uplink = Uplink(
            self.line,
            self.spool,
            settings,
            STATEMENT_PUBLIC,
            self.clock,
            observe=lambda step, _pid: self.steps.append(step),
            uniform=lambda _low, high: high,
        )

    def put(self, sealed=b"sealed") -> str:
        pid = self.spool.put(sealed, kind="enrolment", subject_id="c")
        self.uplink.wake()
        return pid

    async def __aenter__(self):
        self.task = asyncio.create_task(self.uplink.run())
        if self.online:
            await self.line.hub_is(online=True)
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.spool.close()

    async def until(self, condition, timeout_s=5.0) -> None:
        async def poll():
            while not condition():
                self.task.done() and self.task.result()
                await asyncio.sleep(0.002)

        await asyncio.wait_for(poll(), timeout_s)

    async def a_while(self) -> None:
        await asyncio.sleep(0.15)
