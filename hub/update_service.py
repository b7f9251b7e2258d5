"""Puts updates on the line: gives units the files that they ask for, hears what became of jobs, goes on with rollouts.

One part at a time is on its way to the broker, within what the line's share allows, whoever and however many ask; so
receipts and captures never wait behind a release. A question that cannot be answered now is answered with when to ask
again, or not at all, and the unit repeats it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from contract.channel_mqtt import MqttChannel
from contract.dispatch import decode, encode
from contract.errors import RekamError, RemoteError
from contract.topics import DN_UPDATE_PART, UP_UPDATE, UP_UPDATE_ASK
from contract.updates import MESSAGE_BYTES_MAX, FileAsk, FilePart, FileRole
from hub.context import HubContext
from hub.fleet_watch import AT_WORK
from hub.line_share import SILENCE, LineShare
from hub.schema.tables import Unit
from hub.update_desk import UpdateDesk
from hub.update_repository import UpdateRepository

ASKS_WAITING_MAX = 64
BUSY_MS = 2000
DAMAGED_MS = 300_000
ADVANCE_INTERVAL_S = 2.0
REFRESH_INTERVAL_S = 60.0
VERIFY_INTERVAL_S = 3600.0
BACKOFF_S = 2.0
DIGEST_CHARACTERS = 64

T = TypeVar("T")
log = structlog.get_logger("updates")


class UpdateService:
    """Answers units about updates. `office` is the thread that may write."""

    def __init__(
        self, context: HubContext, repository: UpdateRepository, channel: MqttChannel, office: Executor
    ) -> None:
        section = context.settings.updates
        self._context = context
        self._repository = repository
        self._desk = UpdateDesk(context, repository)
        self._channel = channel
        self._office = office
        self._share = LineShare(section.bytes_per_s, section.unit_bytes_per_s, random.uniform)
        self._asks: asyncio.Queue[tuple[str, FileAsk]] = asyncio.Queue(ASKS_WAITING_MAX)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="updates")

    def subscribe(self) -> None:
        """Register for what units say of updates, before the channel starts."""
        self._channel.on(UP_UPDATE_ASK, self._on_ask)
        self._channel.on(UP_UPDATE, self._on_report)

    async def run(self) -> None:
        """Answer, sign and go on until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._answer_asks(), name="update files")
                tasks.create_task(self._every(ADVANCE_INTERVAL_S, self._office, self._desk.advance), name="rollouts")
                tasks.create_task(self._every(REFRESH_INTERVAL_S, self._office, self._refresh), name="update signing")
                tasks.create_task(self._every(VERIFY_INTERVAL_S, self._reader, self._verify), name="update files check")
        finally:
            self._reader.shutdown()

    def part(self, unit: str, ask: FileAsk) -> FilePart | None:
        """What a unit gets for its ask; None where it has no right to an answer. Blocks on the disk."""
        with self._context.database.reading() as session:
            row = session.get(Unit, unit)
            if row is None or row.state not in AT_WORK:
                return None
            if ask.role is FileRole.METADATA:
                content = self._repository.metadata_file(session, ask.name)
                if content is None:
                    return FilePart(request=ask.request, absent=True)
                data = content[ask.offset : ask.offset + ask.length]
                return FilePart(request=ask.request, total=len(content), data=data)
            digest, name = ask.name[:DIGEST_CHARACTERS], ask.name[DIGEST_CHARACTERS + 1 :]
            target = self._repository.file_targets(session).get(name)
        if target is None or target.hashes.get("sha256") != digest:
            return FilePart(request=ask.request, absent=True)
        found = self._repository.files.read(target, ask.offset, ask.length)
        if found is None:
            return FilePart(request=ask.request, retry_after_ms=DAMAGED_MS)
        return FilePart(request=ask.request, total=target.length, data=found)

    async def _on_ask(self, names: dict[str, str], payload: bytes) -> None:
        unit, ask = names["unit"], decode(FileAsk, payload, MESSAGE_BYTES_MAX)
        wait_ms = self._share.ask(unit, ask.length, self._context.clock.monotonic_ms())
        if wait_ms == SILENCE:
            return
        if not wait_ms:
            try:
                self._asks.put_nowait((unit, ask))
            except asyncio.QueueFull:
                wait_ms = BUSY_MS
        if wait_ms:
            await self._say(unit, FilePart(request=ask.request, retry_after_ms=wait_ms))

    async def _on_report(self, names: dict[str, str], payload: bytes) -> None:
        try:
            await self._in(self._office, lambda: self._desk.on_report(names["unit"], payload))
        except SQLAlchemyError as error:
            log.critical("message dropped", error=type(error).__name__, unit=names["unit"])

    async def _answer_asks(self) -> None:
        while True:
            unit, ask = await self._asks.get()
            try:
                part = await self._in(self._reader, lambda: self.part(unit, ask))  # noqa: B023 - awaited here
                if part is not None:
                    await self._say(unit, part)
            except RekamError as error:
                log.info("update file not sent, the unit asks again", unit=unit, **error.diagnostics())
            except SQLAlchemyError as error:
                log.critical("update file not sent", error=type(error).__name__)

    async def _say(self, unit: str, part: FilePart) -> None:
        """Publish an answer; one without data is not waited for, since the unit asks again anyway."""
        topic, qos = DN_UPDATE_PART.at(unit=unit), DN_UPDATE_PART.qos if part.data else 0
        try:
            await self._channel.publish(topic, encode(part), qos=qos, expiry_s=DN_UPDATE_PART.expiry_s)
        except RemoteError as error:
            log.warning("update file refused by the broker", unit=unit, **error.diagnostics())

    def _refresh(self) -> None:
        with self._context.database.transaction() as session:
            self._repository.refresh(session)
            alarm = self._repository.alarm(session)
        if alarm:
            log.critical("alarm", message=alarm)

    def _verify(self) -> None:
        with self._context.database.reading() as session:
            targets = self._repository.file_targets(session)
        self._repository.files.verify(targets)

    async def _every(self, interval_s: float, where: Executor, work: Callable[[], None]) -> None:
        while True:
            try:
                await self._in(where, work)
                await asyncio.sleep(interval_s)
            except (RekamError, SQLAlchemyError) as error:
                log.critical("updates wait", error=type(error).__name__)
                await asyncio.sleep(BACKOFF_S)

    async def _in(self, where: Executor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(where, work)
