"""Puts hub.ingest on the line: messages in through a bounded inbox, answers and receipts out.

Whatever a single message is about, it ends with that message: the units behind it do not wait for its repair.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from contract.channel_mqtt import Connection, MqttChannel, Will
from contract.clock import Clock
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RekamError, RemoteError, TransientError
from contract.topics import HUB_STATE, UP_CHUNK, UP_OFFER, UP_STATE
from contract.transfer import MESSAGE_BYTES_MAX, HubState, UnitState
from hub.ingest import Ingest, Outgoing

TICK_INTERVAL_S = 1.0
INBOX_MESSAGES_MAX = 64

T = TypeVar("T")
log = structlog.get_logger("ingest")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message of a unit, and the method of Ingest that takes it."""

    entrance: Callable[[str, str, bytes], list[Outgoing]]
    unit: str
    pid: str
    payload: bytes


def hub_will(clock: Clock) -> Will:
    """What the broker says of a hub that vanished."""
    return Will(HUB_STATE.template, encode(HubState(online=False, time_ms=clock.wall_ms())))


class IngestService:
    """Puts an Ingest on the channel: one worker thread, messages in order, receipts from the outbox.

    Messages wait in a bounded inbox, and the worker takes what is there at once: a thread switch per chunk would cost
    more than the chunk. A full inbox holds the channel back, and that the broker. Nothing in it is acknowledged to the
    unit yet; what a crash takes is offered again.

    The hub is announced as on-line (`hub/state`) once its subscriptions stand, and not before.
    """

    def __init__(self, channel: MqttChannel, ingest: Ingest, clock: Clock) -> None:
        self._channel = channel
        self._ingest = ingest
        self._clock = clock
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ingest")
        self._wake = asyncio.Event()
        self._inbox: asyncio.Queue[Incoming] = asyncio.Queue(INBOX_MESSAGES_MAX)
        channel.on(UP_OFFER, self._on_offer)
        channel.on(UP_CHUNK, self._on_chunk)
        channel.on(UP_STATE, self._on_unit_state)
        channel.on_connected(self._announce)

    async def run(self) -> None:
        """Work off inbox and outbox until cancelled; then close the parts and say that the hub is gone."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._work_off_inbox(), name="ingest-inbox")
                tasks.create_task(self._work_off_outbox(), name="ingest-outbox")
        finally:
            await asyncio.shield(self._farewell())

    def publish_receipts(self) -> None:
        """Look into the outbox now: a receipt was written there by somebody else (a release, a verdict)."""
        self._wake.set()

    async def _on_offer(self, names: dict[str, str], payload: bytes) -> None:
        await self._inbox.put(Incoming(self._ingest.on_offer, names["unit"], names["pid"], payload))

    async def _on_chunk(self, names: dict[str, str], payload: bytes) -> None:
        await self._inbox.put(Incoming(self._ingest.on_chunk, names["unit"], names["pid"], payload))

    async def _on_unit_state(self, _names: dict[str, str], payload: bytes) -> None:
        if decode(UnitState, payload, MESSAGE_BYTES_MAX).state == "online":
            self._wake.set()

    async def _announce(self, _connection: Connection) -> None:
        state = HubState(online=True, time_ms=self._clock.wall_ms())
        await self._channel.publish(HUB_STATE.template, encode(state), retain=True)
        self._wake.set()

    async def _work_off_inbox(self) -> None:
        waiting: deque[Incoming] = deque()
        while True:
            if not waiting:  # and only then: what waits here must not grow beyond what the inbox may hold
                waiting.append(await self._inbox.get())
                while not self._inbox.empty() and len(waiting) < INBOX_MESSAGES_MAX:
                    waiting.append(self._inbox.get_nowait())
            for answer in await self._in_worker(lambda: self._handle(waiting)):
                try:
                    await self._publish(answer)
                except (TransientError, RemoteError) as error:
                    log.info("answer not sent, the unit will ask again", **error.diagnostics())

    def _handle(self, waiting: deque[Incoming]) -> list[Outgoing]:
        """Take messages from the left until one has an answer. What is wrong with a message stays its own trouble."""
        answers: list[Outgoing] = []
        while waiting and not answers:
            message = waiting.popleft()
            try:
                answers = message.entrance(message.unit, message.pid, message.payload)
            except RekamError as error:
                log.warning("message refused", unit=message.unit, **error.diagnostics())
            except Exception as error:  # noqa: BLE001 - one unit's message must not end the service of all the others
                log.critical("message dropped", unit=message.unit, pid=message.pid, error=type(error).__name__)
        return answers

    async def _work_off_outbox(self) -> None:
        while True:
            try:
                await self._in_worker(self._ingest.tick)
                async with asyncio.timeout(TICK_INTERVAL_S):
                    await self._wake.wait()
                self._wake.clear()
                await self._publish_outbox()
            except TimeoutError:
                continue
            except (TransientError, RemoteError, DeviceError) as error:
                log.warning("outbox waits", **error.diagnostics())
                await asyncio.sleep(TICK_INTERVAL_S)
            except SQLAlchemyError as error:
                log.critical("outbox waits", error=type(error).__name__)
                await asyncio.sleep(TICK_INTERVAL_S)

    async def _publish_outbox(self) -> None:
        after = 0
        while batch := await self._in_worker(lambda: self._ingest.outbox(after)):  # noqa: B023 - awaited before it changes
            for message in batch:
                await self._publish(message)
                after = message.settles[1] if message.settles else after

    async def _publish(self, message: Outgoing) -> None:
        heard = await self._channel.publish(message.topic, message.payload)
        self._ingest.observe(message.step, message.pid)
        if heard and message.settles is not None:
            pid, hub_sequence = message.settles
            await self._in_worker(lambda: self._ingest.mark_published(pid, hub_sequence))

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def _farewell(self) -> None:
        await self._in_worker(self._ingest.close)
        self._worker.shutdown(wait=False)
        gone: Awaitable[bool] = self._channel.publish(
            HUB_STATE.template, encode(HubState(online=False, time_ms=self._clock.wall_ms())), retain=True
        )
        try:
            await gone
        except TransientError:
            log.info("the broker's will says that the hub is gone")
