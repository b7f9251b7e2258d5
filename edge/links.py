"""The link check (M21): hop by hop, reachable or not, and how long the answer took. One button and one command.

The unit also checks by itself from time to time, and says what it found with its uplink's status, so that the same
table is seen at the unit, at the site and from the centre.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import cbor2

from contract.channel_mqtt import MqttChannel
from contract.clock import Clock
from contract.errors import RemoteError, TransientError
from contract.topics import UP_EVENT
from contract.transfer import LinkCheck, LinkHop

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
CHECK_INTERVAL_S = 600.0
FIRST_CHECK_S = 15.0
TEXT_CHARACTERS_MAX = 200
LINE, BROKER, CENTRE = "jaringan (TCP)", "broker (MQTT)", "pusat (hub)"
NOT_REACHED = "the hop before was not reached"


class LinkWatch:
    """Checks the links when asked and by itself; `latest` is what the centre is told."""

    def __init__(
        self, channel: MqttChannel, unit: str, host: str, port: int, hub_online: Callable[[], bool], clock: Clock
    ) -> None:
        self._channel = channel
        self._unit = unit
        self._host = host
        self._port = port
        self._hub_online = hub_online
        self._clock = clock
        self.latest: LinkCheck | None = None

    async def check(self) -> list[dict[str, Any]]:
        """Check now; the hops as JSON-able values."""
        hops = await check_links(self._channel, self._unit, self._host, self._port, self._hub_online, self._clock)
        self.latest = LinkCheck(at_ms=max(0, self._clock.wall_ms()), hops=tuple(hops))
        return [hop.model_dump() for hop in hops]

    async def run(self) -> None:
        """Check a little after the start, then again and again, until cancelled."""
        await asyncio.sleep(FIRST_CHECK_S)
        while True:
            await self.check()
            await asyncio.sleep(CHECK_INTERVAL_S)


async def check_links(
    channel: MqttChannel, unit: str, host: str, port: int, hub_online: Callable[[], bool], clock: Clock
) -> list[LinkHop]:
    """Unit to the broker's machine, the broker's own answer, and whether the hub listens behind it."""
    line = await _reach(host, port)
    if not line.reachable:
        return [line, _silent(BROKER, unit, NOT_REACHED), _silent(CENTRE, "hub", NOT_REACHED)]
    broker, hears = await _ask_broker(channel, unit, clock)
    if hears and hub_online():
        return [line, broker, _reached(CENTRE, "hub", broker.round_trip_ms)]
    return [line, broker, _silent(CENTRE, "hub", "the hub is not on-line" if broker.reachable else NOT_REACHED)]


async def _reach(host: str, port: int) -> LinkHop:
    """How long the broker's machine takes to accept a connection."""
    address = f"{host}:{port}"
    started_s = monotonic()
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError, UnicodeError) as error:  # the last: a host name that cannot be one
        return _silent(LINE, address, type(error).__name__)
    took_ms = (monotonic() - started_s) * 1000
    writer.close()
    return _reached(LINE, address, took_ms)


async def _ask_broker(channel: MqttChannel, unit: str, clock: Clock) -> tuple[LinkHop, bool]:
    """How long the broker takes to acknowledge, and whether somebody at the centre is subscribed."""
    started_s = monotonic()
    payload = cbor2.dumps({"at_ms": clock.wall_ms()})
    try:
        topic = UP_EVENT.at(unit=unit, event="link-check")
        hears = await asyncio.wait_for(channel.publish(topic, payload), ANSWER_TIMEOUT_S)
    except (TransientError, RemoteError) as error:
        return _silent(BROKER, unit, error.message), False
    except TimeoutError:
        return _silent(BROKER, unit, "no acknowledgement"), False
    return _reached(BROKER, unit, (monotonic() - started_s) * 1000), hears


def _reached(name: str, address: str, round_trip_ms: float) -> LinkHop:
    return LinkHop(name=name, address=address[:TEXT_CHARACTERS_MAX], reachable=True, round_trip_ms=round_trip_ms)


def _silent(name: str, address: str, problem: str) -> LinkHop:
    limit = TEXT_CHARACTERS_MAX
    return LinkHop(name=name, address=address[:limit], reachable=False, problem=problem[:limit])
