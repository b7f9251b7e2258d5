"""The technician's line to the hub: one signed order, said again until its reply comes, over a link that drops.

The same bytes are repeated, so the hub carries the order out once however often it hears it. While there is no line the
tool waits and says so; nothing is lost, because nothing is assumed done before the hub's signed reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar

from contract.channel_mqtt import Backoff, Connection, Disconnected, MqttChannel, MqttSettings
from contract.channel_probe import probe
from contract.clock import Clock, SystemClock, utc
from contract.commissioning_problems import Problem, Refusal
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RemoteError, TransientError
from contract.identifiers import uuid7
from contract.packet import Model
from contract.seal import load_public_key
from contract.technician import Order, Reply, Verb, sign_order, verify_reply
from contract.topics import COMMAND_LIFE_S, TECHNICIAN_ORDER, TECHNICIAN_PART, TECHNICIAN_REPLY
from contract.unit_command import CommandOrder, Part, Passed
from provisioning.line_trouble import PASSING, LineRefused, waits_for
from provisioning.own_certificate import OwnCertificate
from provisioning.technician_identity import Identity
from provisioning.unit_answer import UnitAnswer

REPEAT_S = 3.0
ATTEMPT_S = 5.0
LOSSES_BEFORE_LOOK, DENIED_MAX = 3, 5  # after a renewal both certificates are tried twice
RECONNECT = Backoff(first_s=0.5, max_s=10.0)
R = TypeVar("R", bound=Model)


class Refused(RemoteError):
    """The hub, or a unit, did not do it, and says why."""

    def __init__(self, reply: Reply | Part) -> None:
        super().__init__(reply.message or "The hub refused.", next_step=reply.next_step)
        self.problem = reply.problem


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an order may wait for its reply, and how often it is said again; a command to a unit, how often."""

    total_s: float = 900.0
    repeat_s: float = REPEAT_S
    attempt_s: float = ATTEMPT_S


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
        self._answers: dict[str, UnitAnswer] = {}
        self._online = asyncio.Event()
        self._refused = asyncio.Event()
        self._trouble: LineRefused | None = None
        self._losses = self._denied = 0
        self._looking: asyncio.Task[None] | None = None
        settings = MqttSettings(
            host=identity.host,
            port=identity.port,
            ca=identity.ca,
            certificate=identity.certificate,
            key=identity.key,
            client_id=identity.technician,
            backoff=RECONNECT,
        )
        self._own = OwnCertificate(identity, settings, self._clock)
        self._channel = MqttChannel(self._own.credential.settings)
        self._channel.on(TECHNICIAN_REPLY, self._take, technician=identity.technician)
        self._channel.on(TECHNICIAN_PART, self._take_part, technician=identity.technician)
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
        await self._own.renew_late(self._progress)
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._channel.__aexit__(*error)

    async def keep_certificate_good(self) -> bool:
        """Renew the technician's own certificate where it is time to; whether another serves now. Raises Refused."""
        return await self._own.keep_good(self)

    async def come_back(self) -> None:
        """Connect anew, with the certificate of now."""
        self._online.clear()
        self._channel.reconnect()
        async with asyncio.timeout(self._patience.total_s):
            await self._line()

    async def ask(self, verb: Verb, body: Model, kind: type[R]) -> R:
        """Give an order and wait for its result. Raises Refused, or TransientError when patience ends."""
        return decode(kind, await self._order(verb, body))

    async def tell(self, verb: Verb, body: Model) -> None:
        """Give an order that has no result. Raises as `ask` does."""
        await self._order(verb, body)

    async def command(self, verb: Verb, unit: str, ask: Model, kind: type[R]) -> AsyncGenerator[R, None]:
        """Ask a unit for something now; the parts of its answer as they come, over however many drops of the line.

        Each attempt counts for seconds, so a unit that hears none does nothing. Raises Refused where hub or unit
        refuses, TransientError when patience ends.
        """
        answer = UnitAnswer(unit, uuid7(self._clock))
        self._answers[answer.command] = answer
        giving = asyncio.create_task(self._give(verb, answer, encode(ask)))
        until = asyncio.get_running_loop().time() + self._patience.total_s
        try:
            while not (part := await self._next_part(answer, giving, until)).last:
                yield decode(kind, part.body)
        finally:
            del self._answers[answer.command]
            giving.cancel()
            await asyncio.gather(giving, return_exceptions=True)

    async def _next_part(self, answer: UnitAnswer, giving: asyncio.Task[None], until: float) -> Part:
        """The next part. Raises what ended the giving, or Refused."""
        coming = asyncio.create_task(answer.next())
        try:
            async with asyncio.timeout_at(until):
                await asyncio.wait({coming, giving}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    giving.result()
                part = await coming
        except TimeoutError:
            raise TransientError(
                f"{answer.unit} did not answer within {self._patience.total_s:.0f} s.",
                next_step=f"See 'rekam-provision status {answer.unit}', and give the command again: nothing waits.",
            ) from None
        finally:
            coming.cancel()
        if part.message:
            raise Refused(part)
        return part

    async def _give(self, verb: Verb, answer: UnitAnswer, ask: bytes) -> None:
        """Give the command again and again: every attempt says what was heard. Raises Refused."""
        while True:
            body = CommandOrder(
                unit=answer.unit, command=answer.command, answer_key=answer.public, heard=answer.heard, ask=ask
            )
            passed = decode(Passed, await self._order(verb, body, life_s=COMMAND_LIFE_S))
            answer.sign_key = load_public_key(passed.sign_key, answer.unit)
            said = f"last word {utc(passed.seen_ms):%Y-%m-%d %H:%M} UTC" if passed.seen_ms else "never heard of"
            online = f"Waiting for {answer.unit}" if passed.online else f"{answer.unit} is off-line, {said}: waiting"
            self._progress(online if not answer.heard else f"{answer.unit} answers")
            await asyncio.sleep(self._patience.attempt_s)

    async def _order(self, verb: Verb, body: Model, life_s: int = 0) -> bytes:
        """The result of an order. life_s: it counts for so long only, and then another is given; 0: the same again."""
        order = self._signed(verb, body)
        try:
            async with asyncio.timeout(self._patience.total_s):
                while (found := await self._say(*order, life_s)) is None:
                    order = self._signed(verb, body) if life_s else order
        except TimeoutError:
            raise TransientError(
                f"The hub did not answer within {self._patience.total_s:.0f} s.",
                next_step="Check the link, and give the same command again: what was done is not done twice.",
            ) from None
        if not found.done:
            raise Refused(found)
        return found.body

    def _signed(self, verb: Verb, body: Model) -> tuple[str, bytes]:
        """An order of now: its id, and the bytes that are said."""
        order = Order(
            id=uuid7(self._clock),
            technician=self._identity.technician,
            verb=verb,
            at_ms=self._clock.wall_ms(),
            body=encode(body),
        )
        return order.id, sign_order(order, self._identity.order)

    async def _say(self, order: str, signed: bytes, life_s: int) -> Reply | None:
        """Say an order once there is a line, and wait a little for its reply; None where none came."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[order] = reply
        try:
            await self._line()
            self._progress("Waiting for the hub")
            topic = TECHNICIAN_ORDER.at(technician=self._identity.technician, order=order)
            try:
                await self._channel.publish(topic, signed, expiry_s=life_s)
                self._denied = 0
            except Disconnected:
                await asyncio.sleep(0)
            except RemoteError:  # the access list lags behind a fresh certificate by a moment
                self._denied += 1
                if self._denied >= DENIED_MAX:
                    raise LineRefused(Refusal(Problem.ACCESS_DENIED)) from None
            done, _ = await asyncio.wait({reply}, timeout=self._patience.repeat_s)
            return reply.result() if done else None
        finally:
            del self._waiting[order]

    async def _line(self) -> None:
        """Wait for the line. Raises LineRefused where waiting brings none."""
        waits = [asyncio.create_task(event.wait()) for event in (self._online, self._refused)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._trouble is not None and not self._online.is_set():
            raise self._trouble

    async def _look(self) -> None:
        """Say why there is no line; what does not pass by itself ends the waiting."""
        found = await asyncio.to_thread(probe, self._own.credential.settings())
        if found is None or self._online.is_set():
            return
        self._progress(waits_for(found) if found.problem in PASSING else LineRefused(found).message)
        if found.problem not in PASSING:
            self._trouble = LineRefused(found)
            self._refused.set()

    async def _take_part(self, names: dict[str, str], payload: bytes) -> None:
        answer = self._answers.get(names["command"])
        if answer is not None:
            answer.take(payload)

    async def _take(self, names: dict[str, str], payload: bytes) -> None:
        waiting = self._waiting.get(names["order"])
        if waiting is not None and not waiting.done():
            waiting.set_result(verify_reply(payload, self._identity.hub, names["order"]))

    async def _connected(self, _connection: Connection) -> None:
        self._own.credential.note_connected()
        self._losses, self._trouble = 0, None
        self._refused.clear()
        self._online.set()

    def _lost(self, loss: Disconnected) -> None:
        self._own.credential.note_lost()
        self._online.clear()
        self._progress(f"No line, trying again ({loss.message})")
        self._losses += 1
        if self._losses >= LOSSES_BEFORE_LOOK and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())
