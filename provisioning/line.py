"""The technician's line to the hub: one signed order, said again until its reply comes, over a link that drops.

The same bytes are repeated, so the hub carries the order out once however often it hears it. While there is no line the
tool waits and says so; nothing is lost, because nothing is assumed done before the hub's signed reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from contract.channel_mqtt import Backoff, Connection, Disconnected, MqttChannel, MqttSettings
from contract.clock import Clock, SystemClock
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RemoteError, TransientError
from contract.identifiers import uuid7
from contract.packet import Model
from contract.technician import Order, Reply, Verb, sign_order, verify_reply
from contract.topics import TECHNICIAN_ORDER, TECHNICIAN_REPLY
from provisioning.technician_identity import Identity

REPEAT_S = 3.0
RECONNECT = Backoff(first_s=0.5, max_s=10.0)
R = TypeVar("R", bound=Model)


class Refused(RemoteError):
    """The hub did not do it, and says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.message or "The hub refused.", next_step=reply.next_step)
        self.problem = reply.problem


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an order may wait for its reply, and how often it is said again."""

    total_s: float = 900.0
    repeat_s: float = REPEAT_S


class HubLine:
    """A connection as one technician; use it as an async context. progress: told in words what is waited for."""

    def __init__(
        self,
        identity: Identity,
        progress: Callable[[str], None],
        patience: Patience = Patience(),
        clock: Clock | None = None,
    ) -> None:
        self._identity = identity
        self._progress = progress
        self._patience = patience
        self._clock = clock or SystemClock()
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._online = asyncio.Event()
        self._channel = MqttChannel(
            MqttSettings(
                host=identity.host,
                port=identity.port,
                ca=identity.ca,
                certificate=identity.certificate,
                key=identity.key,
                client_id=identity.technician,
                backoff=RECONNECT,
            )
        )
        self._channel.on(TECHNICIAN_REPLY, self._take, technician=identity.technician)
        self._channel.on_connected(self._connected)
        self._channel.on_lost(self._lost)

    @property
    def root(self) -> bytes:
        """The root's certificate, PEM. Raises DeviceError."""
        try:
            return self._identity.ca.read_bytes()
        except OSError as error:
            raise DeviceError(f"{self._identity.ca} cannot be read: {error.strerror}.") from None

    async def __aenter__(self) -> HubLine:
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._channel.__aexit__(*error)

    async def ask(self, verb: Verb, body: Model, kind: type[R]) -> R:
        """Give an order and wait for its result. Raises Refused, or TransientError when patience ends."""
        return decode(kind, await self._order(verb, body))

    async def tell(self, verb: Verb, body: Model) -> None:
        """Give an order that has no result. Raises as `ask` does."""
        await self._order(verb, body)

    async def _order(self, verb: Verb, body: Model) -> bytes:
        order = Order(
            id=uuid7(self._clock),
            technician=self._identity.technician,
            verb=verb,
            at_ms=self._clock.wall_ms(),
            body=encode(body),
        )
        signed = sign_order(order, self._identity.order)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[order.id] = reply
        try:
            async with asyncio.timeout(self._patience.total_s):
                found = await self._repeat(order, signed, reply)
        except TimeoutError:
            raise TransientError(
                f"The hub did not answer within {self._patience.total_s:.0f} s.",
                next_step="Check the link, and give the same command again: what was done is not done twice.",
            ) from None
        finally:
            del self._waiting[order.id]
        if not found.done:
            raise Refused(found)
        return found.body

    async def _repeat(self, order: Order, signed: bytes, reply: asyncio.Future[Reply]) -> Reply:
        topic = TECHNICIAN_ORDER.at(technician=self._identity.technician, order=order.id)
        while True:
            await self._online.wait()
            self._progress("Waiting for the hub")
            try:
                await self._channel.publish(topic, signed)
            except Disconnected:
                await asyncio.sleep(0)
            done, _ = await asyncio.wait({reply}, timeout=self._patience.repeat_s)
            if done:
                return reply.result()

    async def _take(self, names: dict[str, str], payload: bytes) -> None:
        waiting = self._waiting.get(names["order"])
        if waiting is not None and not waiting.done():
            waiting.set_result(verify_reply(payload, self._identity.hub, names["order"]))

    async def _connected(self, _connection: Connection) -> None:
        self._online.set()

    def _lost(self, loss: Disconnected) -> None:
        self._online.clear()
        self._progress(f"No line, trying again ({loss.message})")
