"""Carries out what technicians ask of the unit for now: a test, its log, its next certificate (contract.unit_command).

Who may ask is decided at the hub; here it is checked that hub and technician have signed, that it is meant for this
unit, and that it is fresh: the broker says how long it still counts, and this clock must agree within minutes. A
command begins once, whatever is repeated, delayed or replayed, and also over a restart. While its answer is remembered,
sealed as it was sent, another attempt gets the parts that its tool has not heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import structlog

from contract import topics
from contract.channel_mqtt import MqttChannel
from contract.clock import Clock, utc
from contract.commissioning import CLOCK_SKEW_MS_MAX
from contract.commissioning_problems import Problem, Refusal
from contract.dispatch import decode_kept, encode
from contract.errors import RekamError, RemoteError, TransientError
from contract.packet import Millis, Model, UuidText
from contract.seal import SigningKey
from contract.technician import Verb
from contract.unit_command import LIFE_MS, PARTS_MAX, Command, CommandOrder, Part, open_order, seal_part
from edge.sealed_store import SealedStore

JOBS_MAX = 6
SAID_AGAIN_MAX = 8  # parts an attempt gets again; the next one gets the rest
JOB_LIFE_MS = 10 * 60 * 1000
BEGUN_MAX = 40
KIND, BEGUN = "command", "begun"
M = TypeVar("M", bound=Model)
Handler = Callable[[str, bytes], AsyncGenerator[Model, None]]
log = structlog.get_logger("edge.commands")


class Opener(Protocol):
    """Opens what the hub sealed to this unit."""

    def __call__(self, kind: type[M], payload: bytes) -> M:
        """The message. Raises RemoteError."""
        ...


class Begun(Model):
    """The newest commands that were begun, by id, with the hub's time; older ones than `floor_ms` are refused."""

    floor_ms: Millis = 0
    commands: tuple[tuple[UuidText, Millis], ...] = ()

    def refuses(self, command: str, issued_ms: int) -> bool:
        """Whether this command must not begin: it began before, or is too old to be told from one that did."""
        return issued_ms <= self.floor_ms or any(command == known for known, _ in self.commands)

    def after(self, command: str, issued_ms: int) -> Begun:
        """The same with one more."""
        commands = (*self.commands, (command, issued_ms))
        forgotten, kept = commands[:-BEGUN_MAX], commands[-BEGUN_MAX:]
        return Begun(floor_ms=max([self.floor_ms, *(at for _, at in forgotten)]), commands=kept)


@dataclass(slots=True)
class _Job:
    """A command under way or done: its parts as they were sent, sealed."""

    command: str
    answer_key: bytes
    since_ms: int
    parts: list[bytes] = field(default_factory=list)
    done: bool = False


class CommandDesk:
    """The commands of one unit. Lives on the event loop. handlers: called with the technician and what is asked."""

    def __init__(
        self,
        channel: MqttChannel,
        opened: Opener,
        unit: str,
        sign: SigningKey,
        store: SealedStore,
        clock: Clock,
        handlers: Mapping[Verb, Handler],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._channel = channel
        self._opened = opened
        self._unit = unit
        self._sign = sign
        self._store = store
        self._clock = clock
        self._handlers = handlers
        self._spawn = spawn
        self._jobs: dict[str, _Job] = {}
        known = store.get(KIND, BEGUN)
        self._begun = Begun() if known is None else decode_kept(Begun, known)
        channel.on(topics.DN_COMMAND, self._take, unit=unit)

    async def _take(self, names: dict[str, str], payload: bytes) -> None:
        command = self._opened(Command, payload)
        if (command.unit, command.command) != (self._unit, names["command"]):
            raise RemoteError("The command is for another unit, or another one than its topic says.")
        order, body = open_order(command)
        handler = self._handlers.get(order.verb)
        if handler is None:
            raise RemoteError(f"This unit does not know the command '{order.verb}'.")
        mono = self._clock.monotonic_ms()
        self._jobs = {name: job for name, job in self._jobs.items() if mono - job.since_ms < JOB_LIFE_MS}
        job = self._jobs.get(command.command)
        if job is None:
            refusal = await self._begin(command, body)
            if refusal is not None:
                await self._refuse(body, refusal)
                return
            job = self._jobs[command.command]
            # A log that is followed is asked for every few seconds, and would be full of that.
            say = log.debug if order.verb is Verb.LOGS else log.info
            say("command begins", verb=order.verb, technician=command.technician)
            self._spawn(self._carry_out(job, handler(command.technician, body.ask)))
        elif job.answer_key != body.answer_key:
            raise RemoteError("The command was given before with another key.")
        else:
            await self._say(job.command, job.parts[body.heard : body.heard + SAID_AGAIN_MAX])

    async def _begin(self, command: Command, body: CommandOrder) -> Refusal | None:
        """Enter a job for a command that is heard for the first time, durably; or why it must not begin."""
        now = self._clock.wall_ms()
        if abs(now - command.issued_ms) > CLOCK_SKEW_MS_MAX + LIFE_MS:
            shown, given = utc(now), utc(command.issued_ms)
            detail = f"It shows {shown:%Y-%m-%d %H:%M} UTC; the command was given at {given:%Y-%m-%d %H:%M} UTC."
            return Refusal(Problem.CLOCK_WRONG, detail)
        if self._begun.refuses(command.command, command.issued_ms):
            return Refusal(Problem.COMMAND_OVER)
        if len(self._jobs) >= JOBS_MAX and not self._make_room():
            return Refusal(Problem.UNIT_BUSY, "Other technicians' commands are under way.")
        self._begun = self._begun.after(command.command, command.issued_ms)
        await asyncio.to_thread(self._store.put, KIND, BEGUN, encode(self._begun))
        self._jobs[command.command] = _Job(command.command, body.answer_key, self._clock.monotonic_ms())
        return None

    def _make_room(self) -> bool:
        """Forget the oldest answer that is complete; whether there was one."""
        done = next((name for name, job in self._jobs.items() if job.done), None)
        if done is not None:
            del self._jobs[done]
        return done is not None

    async def _carry_out(self, job: _Job, bodies: AsyncGenerator[Model, None]) -> None:
        ended: dict[str, Any] = {}
        try:
            async with aclosing(bodies):
                async for body in bodies:
                    if len(job.parts) >= PARTS_MAX - 1:
                        raise TransientError("The answer has too many parts.", next_step="Ask for less.")
                    await self._add(job, body=encode(body))
        except RekamError as error:
            ended = _said(error)
        except Exception as error:  # whoever asked is told, and the unit goes on
            log.exception("command failed", error=type(error).__name__)
            ended = {"message": "The unit failed at it.", "next_step": "Read 'rekam-provision logs' of this unit."}
        await self._add(job, last=True, **ended)

    async def _refuse(self, body: CommandOrder, refusal: Refusal) -> None:
        """Say why it does not begin. A tool that has parts from before a restart waits for the one after those."""
        number = min(body.heard, PARTS_MAX - 1)
        part = Part(unit=self._unit, command=body.command, number=number, last=True, **_said(refusal))
        await self._say(body.command, [await asyncio.to_thread(seal_part, part, self._sign, body.answer_key)])

    async def _add(self, job: _Job, *, last: bool = False, **fields: Any) -> None:
        """Keep the next part, and send it."""
        part = Part(unit=self._unit, command=job.command, number=len(job.parts), last=last, **fields)
        sealed = await asyncio.to_thread(seal_part, part, self._sign, job.answer_key)
        job.parts.append(sealed)
        job.done = last
        await self._say(job.command, [sealed])

    async def _say(self, command: str, parts: list[bytes]) -> None:
        """Send parts; what is lost is asked for again."""
        with suppress(TransientError):
            for sealed in parts:
                topic = topics.UP_PART.at(unit=self._unit, command=command)
                await self._channel.publish(topic, sealed, expiry_s=topics.UP_PART.expiry_s)


def _said(error: RekamError) -> dict[str, Any]:
    problem = error.problem if isinstance(error, Refusal) else None
    return {"problem": problem, "message": error.message[:600], "next_step": error.next_step[:600]}
