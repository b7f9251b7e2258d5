"""The repository's files over the unit's line: bytes of a named file are asked of the hub and come in parts.

Nothing that comes is believed here beyond its form: whoever asked verifies it. A line that drops costs time and nothing
else; the same part is asked for again until it comes or nobody wants it any more.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from contract import topics
from contract.channel_mqtt import Backoff, MqttChannel
from contract.dispatch import decode, encode
from contract.errors import RekamError, RemoteError, TransientError
from contract.packet import refused
from contract.transfer import chunk_bytes
from contract.updates import PART_MESSAGE_BYTES_MAX, FileAsk, FilePart, FileRole

ANSWER_TIMEOUT_S = 30.0
WINDOW_PARTS = 4  # asked for at once, so that a long line is not waited for at every part
AGAIN = Backoff(first_s=1.0, max_s=60.0)
Pause = Callable[[float], Awaitable[object]]
log = structlog.get_logger("updates")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file from the offset that was asked for. total: the file's whole length, as the hub says."""

    total: int
    data: bytes


class FileChannel:
    """Asks for files. Made before the channel starts; used on its loop."""

    def __init__(
        self,
        channel: MqttChannel,
        unit: str,
        *,
        pause: Pause = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self._channel = channel
        self._unit = unit
        self._pause, self._uniform = pause, uniform
        self._answer_timeout_s = answer_timeout_s
        self._waiting: dict[int, asyncio.Future[FilePart]] = {}
        channel.on(topics.DN_UPDATE_PART, self._part, unit=unit)

    async def read(self, role: FileRole, name: str, offset: int, length_max: int) -> Span | None:
        """Some bytes from `offset` on, at most `length_max`; None where there is no such file.

        Waits for as long as it takes. Raises RemoteError where the answers contradict each other or what was asked.
        """
        step = chunk_bytes(self._channel.connection.packet_bytes_max if self._channel.connection else None)
        asked = [(at, min(step, offset + length_max - at)) for at in range(offset, offset + length_max, step)]
        first = await self._ask(role, name, *asked[0])
        if first.absent:
            return None
        wanted = [(at, length) for at, length in asked[1:WINDOW_PARTS] if at < first.total]
        rest = await asyncio.gather(*(self._ask(role, name, at, length) for at, length in wanted))
        data = bytearray(first.data)
        for (at, _), part in zip(wanted, rest, strict=True):
            if part.absent or part.total != first.total:
                raise RemoteError(f"The hub changed the file {name} while it was fetched.")
            if at != offset + len(data):
                break  # the part before came short: what follows is asked for again
            data += part.data
        return Span(first.total, bytes(data))

    async def _ask(self, role: FileRole, name: str, offset: int, length: int) -> FilePart:
        """One part, asked for until it comes. Raises RemoteError for an answer that cannot be one."""
        failures = 0
        while True:
            wait_s = AGAIN.wait_s(failures, self._uniform) if failures else 0.0
            if wait_s:
                await self._pause(wait_s)
            part = await self._answer(_asked(role, name, offset, length))
            if part is None:
                failures += 1
            elif part.retry_after_ms:
                await self._pause(part.retry_after_ms / 1000)
            elif part.absent or (part.data and len(part.data) <= length and offset + len(part.data) <= part.total):
                return part
            elif part.total <= offset and not part.data:
                return part  # the file is shorter than the unit believed; it finds out by the hash
            else:
                raise RemoteError(f"The hub's answer for {name} at {offset} is no part of it.")

    async def _answer(self, ask: FileAsk) -> FilePart | None:
        """The hub's answer to one ask; None where the line or the hub is away."""
        answered: asyncio.Future[FilePart] = asyncio.get_running_loop().create_future()
        self._waiting[ask.request] = answered
        topic = topics.UP_UPDATE_ASK
        try:
            await self._channel.publish(topic.at(unit=self._unit), encode(ask), expiry_s=topic.expiry_s)
            async with asyncio.timeout(self._answer_timeout_s):
                return await answered
        except (TransientError, TimeoutError):
            return None
        except RekamError as error:
            log.warning("file not asked for", **error.diagnostics())
            return None
        finally:
            del self._waiting[ask.request]

    async def _part(self, _names: dict[str, str], payload: bytes) -> None:
        part = decode(FilePart, payload, PART_MESSAGE_BYTES_MAX)
        answered = self._waiting.get(part.request)
        if answered is not None and not answered.done():
            answered.set_result(part)


def _asked(role: FileRole, name: str, offset: int, length: int) -> FileAsk:
    try:
        return FileAsk(request=secrets.randbelow(2**53) + 1, role=role, name=name, offset=offset, length=length)
    except ValidationError as error:
        raise refused("FileAsk", error) from None
