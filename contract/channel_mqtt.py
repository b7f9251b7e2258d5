"""The line between unit and hub: MQTT 5 over mutual TLS.

A broker's acknowledgement is worth little (it may have dropped the message), so this channel promises little and says
what it knows: whether somebody was subscribed (PUBACK reason 16), how large a packet the broker takes (CONNACK), and
why a connection ended (DISCONNECT reason). It reconnects by itself with full jitter, with a new client object each
time, because a client that resends what the broker refused would do so for ever. Nothing is queued while there is no
connection: what must not be lost lies in the spool or in the hub's outbox, not here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from contract.channel_mqtt_session import Session
from contract.channel_mqtt_settings import Backoff, Disconnected, KeptContext, MqttSettings, Will
from contract.errors import RekamError, RemoteError
from contract.topic_routes import Handler, TopicRoutes
from contract.topics import Topic

HEADROOM_BYTES = 512

__all__ = ["Backoff", "Connection", "Disconnected", "MqttChannel", "MqttSettings", "Will"]

ConnectedHandler = Callable[["Connection"], Awaitable[None]]
LostHandler = Callable[["Disconnected"], None]

log = structlog.get_logger("channel_mqtt")


@dataclass(frozen=True, slots=True)
class Connection:
    """A live connection. packet_bytes_max: the broker's limit, None where it names none; number: counts from 1."""

    packet_bytes_max: int | None
    number: int


class MqttChannel:
    """A connection that comes back. Register handlers, then `async with` it.

    `will`, and settings given as a function, are asked anew at every connect: for the boot and sequence of that moment,
    and because a certificate may have been renewed. Handlers run one after another, and a message is acknowledged when
    its handler is done: a slow process is not flooded, because the broker sends at most `receive_maximum` ahead.
    A handler's own errors (RekamError) are logged; any other exception ends the channel and is raised by `closed`.
    With clears_retained (the hub's), what somebody had the broker keep on a topic that keeps nothing is taken from it,
    unheard.
    """

    def __init__(
        self,
        settings: MqttSettings | Callable[[], MqttSettings],
        will: Callable[[], Will] | None = None,
        *,
        clears_retained: bool = False,
        uniform: Callable[[float, float], float] = random.uniform,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings if callable(settings) else lambda: settings
        self._will = will
        self._clears_retained = clears_retained
        self._uniform, self._sleep = uniform, sleep
        self._tls = KeptContext()
        self._routes = TopicRoutes()
        self._connected_handlers: list[ConnectedHandler] = []
        self._lost_handlers: list[LostHandler] = []
        self._session: Session | None = None
        self._connection: Connection | None = None
        self._connections = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def connection(self) -> Connection | None:
        """The live connection, or None."""
        return self._connection

    def on(self, topic: Topic, handler: Handler, **names: str) -> None:
        """Subscribe `handler` to `topic`; fields not given in `names` match everything. Before the channel starts."""
        self._routes.add(topic, names, handler)

    def on_connected(self, handler: ConnectedHandler) -> None:
        """Call `handler` after each connect, once every subscription stands."""
        self._connected_handlers.append(handler)

    def on_lost(self, handler: LostHandler) -> None:
        """Call `handler` whenever a connection, or an attempt at one, has failed."""
        self._lost_handlers.append(handler)

    async def __aenter__(self) -> MqttChannel:
        self._task = asyncio.create_task(self._keep_connected(), name="mqtt-channel")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def reconnect(self) -> None:
        """End the connection, if there is one, and come back with the settings of then."""
        if self._session is not None:
            self._session.close()

    async def closed(self) -> None:
        """Wait for the channel's end, which only a fault in a handler brings; raises that fault."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int = 0
    ) -> bool:
        """Publish and, at QoS 1, wait for the acknowledgement. Returns whether somebody is subscribed, as far as known.

        Raises Disconnected, or RemoteError where the broker refuses this message.
        """
        session = self._session
        if session is None or self._connection is None:
            raise Disconnected("There is no connection to the broker.")
        limit = self._connection.packet_bytes_max
        if limit is not None and len(payload) + len(topic) + HEADROOM_BYTES > limit:
            raise RemoteError(
                f"A message of {len(payload)} bytes is too large for the broker, which takes {limit}.",
                next_step="Raise max_packet_size in the broker's configuration.",
            )
        return await session.publish(topic, payload, qos, retain, expiry_s)

    async def _keep_connected(self) -> None:
        failures = 0
        while True:
            before = self._connections
            loss = await self._run_session()
            failures = 1 if self._connections > before else failures + 1
            for handler in self._lost_handlers:
                handler(loss)
            wait_s = self._settings().backoff.wait_s(failures, self._uniform, nobody_listens=loss.nobody_listens)
            log.info("connection lost", reason=loss.message, code=loss.reason_code, failures=failures, wait_s=wait_s)
            await self._sleep(wait_s)

    async def _run_session(self) -> Disconnected:
        """Connect, serve until the connection ends, and say why it did."""
        session = Session(self._settings(), self._will() if self._will else None, self._tls)
        serving: list[asyncio.Task[None]] = []
        try:
            packet_bytes_max = await session.connect()
            if filters := self._routes.filters():
                await session.subscribe(filters, retain_as_published=self._clears_retained)
            self._connections += 1
            self._connection, self._session = Connection(packet_bytes_max, self._connections), session
            log.info("connected", number=self._connections, packet_bytes_max=packet_bytes_max)
            serving = [asyncio.create_task(self._dispatch(session)), asyncio.create_task(self._greet(self._connection))]
            while not session.lost.done():
                waiting: list[asyncio.Future[Any]] = [session.lost, *serving]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in serving if task.done()]:
                    serving.remove(task)
                    task.result()
            return session.lost.result()
        except Disconnected as loss:
            return loss
        finally:
            self._session = self._connection = None
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            session.close()

    async def _greet(self, connection: Connection) -> None:
        for handler in self._connected_handlers:
            try:
                await handler(connection)
            except RekamError as error:
                log.warning("connected handler failed", **error.diagnostics())

    async def _dispatch(self, session: Session) -> None:
        while True:
            message = await session.incoming.get()
            hearers = list(self._routes.hearing(message.topic))
            if self._clears_retained and message.retain and not any(topic.retain for topic, _, _ in hearers):
                await session.clear(message)
                hearers.clear()
            for topic, names, handler in hearers:
                try:
                    topic.check_fresh(message.retain, getattr(message.properties, "MessageExpiryInterval", 0))
                    await handler(names, bytes(message.payload))
                except RekamError as error:
                    log.warning("message refused", topic=topic.template, **error.diagnostics())
            session.acknowledge(message)
