"""The link check (M21) says which hop is broken, in whatever way hops break, and the centre is told the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contract.channel_mqtt import Disconnected, MqttChannel
from contract.clock import SystemClock
from contract.dispatch import decode
from contract.topics import UP_EVENT, UP_STATUS
from contract.transfer import MESSAGE_BYTES_MAX, UplinkStatus
from edge import links
from edge.links import LinkWatch, check_links
from tests.fault.rig import UNIT
from tests.fault.rig_world import make_world
from tests.unit.uplink_fakes import Desk, Hub
from virtual.broker import PrivateBroker, free_port

CLOCK = SystemClock()
HOST = "127.0.0.1"


class Line:
    """A channel whose broker answers as the test says: whether somebody hears, an error, or nothing."""

    def __init__(self, answer: bool | Exception | None) -> None:
        self.answer = answer
        self.topics: list[str] = []

    async def publish(self, topic: str, _payload: bytes) -> bool:
        self.topics.append(topic)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
        return bool(self.answer)


@asynccontextmanager
async def machine() -> AsyncIterator[int]:
    """A machine that accepts connections; its port."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def check(line: Line, port: int, *, hub: bool = True) -> list[tuple[bool, str]]:
    """Whether each hop was reached, and what was seen instead."""
    hops = await check_links(line, UNIT, HOST, port, lambda: hub, CLOCK)  # type: ignore[arg-type]
    assert [hop.name for hop in hops] == [links.LINE, links.BROKER, links.CENTRE]
    assert all((hop.round_trip_ms > 0) is hop.reachable for hop in hops)
    return [(hop.reachable, hop.problem) for hop in hops]


async def test_a_whole_line_has_a_time_at_every_hop() -> None:
    async with machine() as port:
        line = Line(True)
        assert await check(line, port) == [(True, ""), (True, ""), (True, "")]
    assert line.topics == [UP_EVENT.at(unit=UNIT, event="link-check")]


async def test_behind_a_machine_that_is_gone_nothing_is_asked() -> None:
    line = Line(True)
    found = await check(line, free_port())
    assert found == [(False, "ConnectionRefusedError"), (False, links.NOT_REACHED), (False, links.NOT_REACHED)]
    assert line.topics == []


@pytest.mark.parametrize("hears_and_hub", [(False, True), (True, False), (False, False)])
async def test_a_broker_without_a_hub_behind_it_is_told_apart(hears_and_hub: tuple[bool, bool]) -> None:
    hears, hub = hears_and_hub
    async with machine() as port:
        assert await check(Line(hears), port, hub=hub) == [(True, ""), (True, ""), (False, "the hub is not on-line")]


async def test_a_broker_that_lets_go_or_says_nothing_is_the_broken_hop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "ANSWER_TIMEOUT_S", 0.02)
    async with machine() as port:
        cut = await check(Line(Disconnected("the line was cut " * 40)), port)
        assert cut[1] == (False, ("the line was cut " * 40)[:200]) and cut[2] == (False, links.NOT_REACHED)
        assert (await check(Line(None), port))[1] == (False, "no acknowledgement")


async def test_an_address_of_any_length_is_shown_and_not_fatal() -> None:
    hops = await check_links(Line(True), UNIT, "a" * 300, 8883, lambda: True, CLOCK)  # type: ignore[arg-type]
    assert not hops[0].reachable and len(hops[0].address) == 200


async def test_the_centre_is_told_the_newest_check_with_the_uplink_s_status(tmp_path) -> None:  # type: ignore[no-untyped-def]
    async with machine() as port, Desk(tmp_path, Hub()) as desk:
        online = [True]
        watch = LinkWatch(Line(True), UNIT, HOST, port, lambda: online[0], desk.clock)  # type: ignore[arg-type]
        desk.uplink.links = lambda: watch.latest
        assert desk.uplink.status().links is None
        await watch.check()
        online[0] = False
        shown = await watch.check()
        before = desk.line.count(UP_STATUS)
        await desk.until(lambda: desk.line.count(UP_STATUS) > before)
    sent = [payload for topic, payload in desk.line.published if UP_STATUS.parse(topic)]
    told = decode(UplinkStatus, sent[-1], MESSAGE_BYTES_MAX).links
    assert told is not None and told.broken_at is not None and told.broken_at.name == links.CENTRE
    assert [hop.model_dump() for hop in told.hops] == shown


async def test_on_a_real_broker_the_hub_is_reached_only_while_it_listens(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rig = make_world(tmp_path, packet_bytes_max=20_000)
    heard = asyncio.Event()

    async def hear(_names: dict[str, str], _payload: bytes) -> None:
        heard.set()

    with PrivateBroker(rig.folder / "broker" / "mosquitto.conf", tmp_path / "broker.log"):
        hub, unit = MqttChannel(rig.mqtt("hub")), MqttChannel(rig.mqtt(UNIT))
        hub.on(UP_EVENT, hear)
        port = rig.mqtt(UNIT).port
        async with unit, asyncio.timeout(20):
            while unit.connection is None:  # noqa: ASYNC110 - tests look from outside
                await asyncio.sleep(0.01)
            without = await check_links(unit, UNIT, HOST, port, lambda: True, CLOCK)
            async with hub:
                while hub.connection is None or not heard.is_set():
                    found = await check_links(unit, UNIT, HOST, port, lambda: True, CLOCK)
                    await asyncio.sleep(0.01)
    assert [hop.reachable for hop in without] == [True, True, False]
    assert all(hop.reachable for hop in found) and found[1].round_trip_ms < 5_000
