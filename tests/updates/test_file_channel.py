"""The files' way over the line: asked for until they come, taken only as what was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import topics
from contract.channel_mqtt import Connection, Disconnected, Handler, MqttChannel
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.topics import Topic
from contract.updates import FileAsk, FilePart, FileRole
from edge.update_channel import FileChannel, Span

NAME = "ab" * 32 + ".x.whl"
CONTENT = bytes(range(256)) * 1200


class Hub:
    """A line with a hub at its end. answer: what it says to an ask, None for silence."""

    def __init__(self, answer: Callable[[FileAsk], FilePart | None], packet_bytes_max: int | None = None) -> None:
        self.answer = answer
        self.connection = Connection(packet_bytes_max, 1)
        self.asked: list[FileAsk] = []
        self.away = 0
        self.paused_s: list[float] = []
        self._handler: Handler | None = None
        self.files = FileChannel(
            cast(MqttChannel, self),
            "desk-a1",
            pause=self._pause,
            uniform=lambda _low, high: high,
            answer_timeout_s=0.02,
        )

    def on(self, topic: Topic, handler: Handler, **_names: str) -> None:
        assert topic is topics.DN_UPDATE_PART
        self._handler = handler

    async def publish(self, topic: str, payload: bytes, *, expiry_s: int) -> bool:
        assert topic == "k/desk-a1/up/update/ask" and expiry_s > 0
        if self.away:
            self.away -= 1
            raise Disconnected("There is no connection to the broker.")
        ask = decode(FileAsk, payload)
        self.asked.append(ask)
        part = self.answer(ask)
        if part is not None:
            await self.say(part)
        return True

    async def say(self, part: FilePart) -> None:
        assert self._handler is not None
        await self._handler({}, encode(part))

    async def _pause(self, seconds: float) -> None:
        self.paused_s.append(seconds)
        await asyncio.sleep(0)


def served(ask: FileAsk) -> FilePart:
    return FilePart(request=ask.request, total=len(CONTENT), data=CONTENT[ask.offset : ask.offset + ask.length])


async def whole(hub: Hub) -> bytes:
    found = b""
    while True:
        span = await hub.files.read(FileRole.TARGET, NAME, len(found), 256 * 1024)
        assert span is not None and span.total == len(CONTENT)
        found += span.data
        if len(found) >= span.total:
            return found


@pytest.mark.parametrize("packet_bytes_max", [None, 4096, 100_000])
async def test_a_file_comes_whole_in_parts_that_the_broker_takes(packet_bytes_max: int | None) -> None:
    hub = Hub(served, packet_bytes_max)
    assert await whole(hub) == CONTENT
    assert all(ask.length <= min(65536, (packet_bytes_max or 2**20) - 1024) for ask in hub.asked)


async def test_a_line_that_is_away_and_a_hub_that_is_silent_cost_time_only() -> None:
    silent = iter([True, False] * 99)
    hub = Hub(lambda ask: None if next(silent) else served(ask))
    hub.away = 3
    assert await whole(hub) == CONTENT
    assert hub.paused_s[:3] == [1.0, 2.0, 4.0]
    assert len({ask.request for ask in hub.asked}) == len(hub.asked)


async def test_a_busy_hub_says_when_to_ask_again() -> None:
    busy = iter([True, *[False] * 99])
    hub = Hub(lambda ask: FilePart(request=ask.request, retry_after_ms=90_000) if next(busy) else served(ask))
    assert await whole(hub) == CONTENT and hub.paused_s == [90.0]


async def test_an_absent_file_is_none() -> None:
    hub = Hub(lambda ask: FilePart(request=ask.request, absent=True))
    assert await hub.files.read(FileRole.METADATA, "2.root.json", 0, 1000) is None


async def test_a_late_answer_is_not_taken_for_another() -> None:
    hub = Hub(served)
    await hub.say(FilePart(request=5, total=9, data=b"evil"))
    assert await whole(hub) == CONTENT


@pytest.mark.parametrize(
    "wrong",
    [
        lambda ask: FilePart(request=ask.request, total=10**6, data=bytes(ask.length + 1)),
        lambda ask: FilePart(request=ask.request, total=3, data=b"four"),
        lambda ask: FilePart(request=ask.request, total=10**6, data=b""),
        lambda ask: FilePart(request=ask.request, total=10**6 + ask.offset, data=bytes(ask.length)),
    ],
)
async def test_what_was_not_asked_for_is_refused(wrong: Callable[[FileAsk], FilePart]) -> None:
    with pytest.raises(RemoteError):
        await Hub(wrong, 4096).files.read(FileRole.TARGET, NAME, 0, 50_000)


async def test_a_name_that_is_none_is_not_even_asked_for() -> None:
    hub = Hub(served)
    with pytest.raises(RemoteError):
        await hub.files.read(FileRole.TARGET, "../hub.toml", 0, 100)
    assert not hub.asked


async def test_a_file_that_shrank_ends() -> None:
    hub = Hub(lambda ask: FilePart(request=ask.request, total=5, data=b""))
    assert await hub.files.read(FileRole.TARGET, NAME, 9, 100) == Span(5, b"")


@given(st.binary(max_size=100))
@settings(max_examples=50, deadline=None)
def test_garbage_from_the_line_is_refused_and_nothing_else_happens(garbage: bytes) -> None:
    hub = Hub(served)
    assert hub._handler is not None
    with pytest.raises(RemoteError):
        asyncio.run(_heard(hub, garbage))


async def _heard(hub: Hub, payload: bytes) -> None:
    assert hub._handler is not None
    await hub._handler({}, payload)
