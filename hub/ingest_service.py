"""Puts hub.ingest on the line: messages in through a bounded inbox, answers and receipts out.

Whatever a single message is about, it ends with that message: the units behind it do not wait for its repair.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
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
OUTBOX_INTERVAL_S = 0.1  # a fleet that comes back wakes it a thousand times

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
    more than the chunk, and packets that are complete together are committed together. A full inbox holds the channel
    back, and that the broker. Nothing in it is acknowledged to the unit yet; what a crash takes is offered again.

    The hub is announced as on-line (`hub/state`) once its subscriptions stand, and not before.
    """

    def __init__(self, channel: MqttChannel, ingest: Ingest, clock: Clock) -> None:
        self._channel = channel
        self._ingest = ingest
        self._clock = clock
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ingest")
        self._wake = asyncio.Event()
        self._inbox: asyncio.Queue[Incoming] = asyncio.Queue(INBOX_MESSAGES_MAX)
        self._saying: set[tuple[str, int]] = set()
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
            waiting.append(await self._inbox.get())
            while not self._inbox.empty() and len(waiting) < INBOX_MESSAGES_MAX:
                waiting.append(self._inbox.get_nowait())
            try:
                await self._say(await self._in_worker(lambda: self._handle(waiting)))
            except (TransientError, RemoteError) as error:
                log.info("answer not sent, the unit will ask again", **error.diagnostics())
            except SQLAlchemyError as error:
                log.critical("receipts not marked, they are said again", error=type(error).__name__)

    def _handle(self, waiting: deque[Incoming]) -> list[Outgoing]:
        """Take all messages, in order; their answers. What is wrong with a message stays its own trouble."""
        answers: list[Outgoing] = []
        while waiting:
            message = waiting.popleft()
            try:
                answers += message.entrance(message.unit, message.pid, message.payload)
            except RekamError as error:
                log.warning("message refused", unit=message.unit, **error.diagnostics())
            except Exception as error:  # noqa: BLE001 - one unit's message must not end the service of all the others
                log.critical("message dropped", unit=message.unit, pid=message.pid, error=type(error).__name__)
        return answers + self._ingest.finish()

    async def _work_off_outbox(self) -> None:
        while True:
            try:
                await self._in_worker(self._ingest.tick)
                async with asyncio.timeout(TICK_INTERVAL_S):
                    await self._wake.wait()
                self._wake.clear()
                await self._publish_outbox()
                await asyncio.sleep(OUTBOX_INTERVAL_S)
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
            await self._say([message for message in batch if message.settles not in self._saying])
            after = max(message.settles[1] for message in batch if message.settles)

    async def _say(self, messages: Sequence[Outgoing]) -> None:
        """Publish in the order given, not waiting for one acknowledgement before the next; mark the receipts heard.

        The channel bounds how many are on their way. Raises what the first failure was.
        """
        receipts = {message.settles for message in messages if message.settles}
        self._saying |= receipts
        try:
            outcomes = await asyncio.gather(*map(self._publish, messages), return_exceptions=True)
            if heard := [
                m.settles for m, outcome in zip(messages, outcomes, strict=True) if outcome is True and m.settles
            ]:
                await self._in_worker(lambda: self._ingest.mark_published(heard))
        finally:
            self._saying -= receipts
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _publish(self, message: Outgoing) -> bool:
        """Whether somebody hears it."""
        heard = await self._channel.publish(message.topic, message.payload)
        self._ingest.observe(message.step, message.pid)
        return heard

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
