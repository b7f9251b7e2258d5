"""The link check (M21): hop by hop, reachable or not, and how long the answer took. One button and one command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import cbor2

from contract.channel_mqtt import MqttChannel
from contract.clock import Clock
from contract.errors import RemoteError, TransientError
from contract.topics import UP_EVENT

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop. round_trip_ms: 0 where it was not reached; problem: what was seen instead."""

    name: str
    address: str
    reachable: bool
    round_trip_ms: float
    problem: str = ""


async def check_links(
    channel: MqttChannel, unit: str, host: str, port: int, hub_online: Callable[[], bool], clock: Clock
) -> list[Hop]:
    """Unit to the broker's machine, the broker's own answer, and whether the hub listens behind it."""
    line = await _reach(host, port)
    if not line.reachable:
        silent = "the hop before was not reached"
        return [line, Hop("broker (MQTT)", unit, False, 0.0, silent), Hop("pusat (hub)", "hub", False, 0.0, silent)]
    broker, hears = await _ask_broker(channel, unit, clock)
    if hears and hub_online():
        return [line, broker, Hop("pusat (hub)", "hub", True, broker.round_trip_ms)]
    problem = "the hub is not on-line" if broker.reachable else "the hop before was not reached"
    return [line, broker, Hop("pusat (hub)", "hub", False, 0.0, problem)]


async def _reach(host: str, port: int) -> Hop:
    """How long the broker's machine takes to accept a connection."""
    started_s = monotonic()
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError) as error:
        return Hop("jaringan (TCP)", f"{host}:{port}", False, 0.0, type(error).__name__)
    took_ms = (monotonic() - started_s) * 1000
    writer.close()
    return Hop("jaringan (TCP)", f"{host}:{port}", True, took_ms)


async def _ask_broker(channel: MqttChannel, unit: str, clock: Clock) -> tuple[Hop, bool]:
    """How long the broker takes to acknowledge, and whether somebody at the centre is subscribed."""
    started_s = monotonic()
    payload = cbor2.dumps({"at_ms": clock.wall_ms()})
    try:
        topic = UP_EVENT.at(unit=unit, event="link-check")
        hears = await asyncio.wait_for(channel.publish(topic, payload), ANSWER_TIMEOUT_S)
    except (TransientError, RemoteError) as error:
        return Hop("broker (MQTT)", unit, False, 0.0, error.message), False
    except TimeoutError:
        return Hop("broker (MQTT)", unit, False, 0.0, "no acknowledgement"), False
    return Hop("broker (MQTT)", unit, True, (monotonic() - started_s) * 1000), hears
