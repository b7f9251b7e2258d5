"""How a unit stays in: it says its birth and reports at every connect, and renews its certificate in time.

At two thirds of the certificate's life the next one is asked for over the service line. It is kept beside the present
one, used from the next connect on, and takes its place when the hub has confirmed it; a cut anywhere leaves one that
works. A unit that was off for weeks asks at the renewal door, which takes certificates that ended up to 180 days
ago and believes nothing but the proof in the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from contract import topics
from contract.certificates import load_certificate, serial_text
from contract.channel_mqtt import Connection, Disconnected, MqttChannel
from contract.channel_probe import probe
from contract.channel_renewal import Door, ask
from contract.clock import Clock
from contract.commissioning import (
    LateQuestion,
    Renewal,
    verify_confirmation,
    verify_renewal_answer,
)
from contract.commissioning_problems import Problem, Refusal
from contract.credential import Credential
from contract.dispatch import encode
from contract.durable_files import DurableFolder
from contract.errors import DeviceError, RekamError, RemoteError, TransientError
from contract.seal import StatementPublicKey
from edge.box_files import REPORTED, SELFTEST
from edge.config import UnitConfig
from edge.factory import load_factory
from edge.line_watch import LineWatch, words_of

CHECK_S = 3600.0
LATE_WAIT_S = 20.0
SHUT_OUT = (Problem.CERTIFICATE_ENDED, Problem.CERTIFICATE_REVOKED)
Kept = tuple[str, bytes, bool]
log = structlog.get_logger("standing")


class Standing:
    """A unit's good standing on its service line."""

    def __init__(
        self,
        channel: MqttChannel,
        credential: Credential,
        unit: str,
        hub: StatementPublicKey,
        clock: Clock,
        *,
        serial: str,
        software: str,
        late: Door,
        kept: Callable[[], list[Kept]] = list,
    ) -> None:
        """late: the renewal door; kept: further messages that are said at every connect."""
        self._channel = channel
        self._credential = credential
        self._unit = unit
        self._hub = hub
        self._clock = clock
        self._serial = serial
        self._software = software
        self._kept = kept
        self._late = late
        self._asked: Renewal | None = None
        self._renewed_ms: int | None = None
        self._wake = asyncio.Event()
        self._line = LineWatch(channel, credential.settings)
        self.problem: Refusal | None = None
        self.is_confirmed = False
        channel.on(topics.DN_CONFIRMED, self._confirmed, unit=unit)
        channel.on(topics.DN_RENEWAL, self._renewed, unit=unit)
        channel.on_connected(self._connected)
        channel.on_lost(self._lost)

    def status(self) -> dict[str, str]:
        """For the status page: why there is no line, or no next certificate; empty where all is well."""
        line = self._line.problem
        if line is not None and line.problem in SHUT_OUT:
            return words_of(self.problem or line)  # the hub's word says more than the broker's
        return words_of(line or self.problem)

    async def run(self) -> None:
        """Renew in time, and look why there is no line, for ever; what fails is tried again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._line.run(), name="line watch")
            tasks.create_task(self._renew(), name="renewal")

    async def _renew(self) -> None:
        while True:
            try:
                wait_s = await self._look_after()
            except Refusal as refusal:
                self.problem = refusal
                log.warning("no next certificate", **refusal.diagnostics())
                wait_s = CHECK_S  # the hub's word changes by what somebody does
            except RekamError as error:
                self.problem = None
                log.warning("no next certificate yet", **error.diagnostics())
                wait_s = LATE_WAIT_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            self._wake.clear()

    async def _look_after(self) -> float:
        """Ask for the next certificate where it is time to; how long to wait then."""
        if self._channel.connection is not None:
            tried = await asyncio.to_thread(lambda: self._credential.is_tried)
            if not tried and self._may_ask() and await asyncio.to_thread(lambda: self._credential.is_due):
                await self._ask()
            return CHECK_S
        if await asyncio.to_thread(self._is_shut_out):
            await renew_late(self._credential, self._late, self._hub)
            return CHECK_S
        return LATE_WAIT_S

    def _may_ask(self) -> bool:
        """Whether the last renewal is a while ago: to a clock that is weeks ahead every certificate looks old."""
        since_ms = self._clock.monotonic_ms() - self._renewed_ms if self._renewed_ms is not None else None
        return since_ms is None or since_ms >= CHECK_S * 1000

    def _is_shut_out(self) -> bool:
        """Whether the certificate opens nothing any more: past its end by this clock, or because the broker says so.

        Why, the renewal door knows: an old copy of a unit learns there that it is one, and the centre hears of it.
        """
        if self._credential.has_ended:
            return True
        refusal = probe(self._credential.settings())
        return refusal is not None and refusal.problem in SHUT_OUT

    async def _connected(self, _connection: Connection) -> None:
        self._credential.note_connected()
        birth = await asyncio.to_thread(self._credential.birth, self._serial, self._software)
        await self._channel.publish(topics.UP_BIRTH.at(unit=self._unit), birth, retain=topics.UP_BIRTH.retain)
        for topic, payload, retain in await asyncio.to_thread(self._kept):
            await self._channel.publish(topic, payload, retain=retain)
        self._wake.set()

    def _lost(self, _loss: Disconnected) -> None:
        self._credential.note_lost()

    async def _confirmed(self, _names: dict[str, str], payload: bytes) -> None:
        found = verify_confirmation(payload, self._hub, self._unit)
        if found.problem is not None:
            self.problem = Refusal(found.problem, found.detail)
            log.warning("birth not confirmed", **self.problem.diagnostics())
            await self._ask()  # with the newest certificate: a hub that lost it with a few days takes it up again
            return
        self.problem, self.is_confirmed = None, True
        if await asyncio.to_thread(self._credential.take_over, found.certificate):
            log.info("certificate taken over", certificate=found.certificate)

    async def _ask(self) -> None:
        if self._channel.connection is None:
            return
        try:
            self._asked = await asyncio.to_thread(self._credential.request)
            await self._channel.publish(topics.UP_RENEWAL.at(unit=self._unit), encode(self._asked))
            log.info("next certificate asked for")
        except (Disconnected, RemoteError) as error:
            log.info("next certificate not asked for", **error.diagnostics())

    async def _renewed(self, _names: dict[str, str], payload: bytes) -> None:
        asked = self._asked
        if asked is None:
            raise RemoteError("An answer to a renewal that nobody asked for.")
        answer = verify_renewal_answer(payload, self._hub, asked.request)
        if answer.problem is not None:
            self.problem = Refusal(answer.problem, answer.detail)
            if await asyncio.to_thread(give_up, self._credential, asked):
                self._channel.reconnect()
            raise self.problem
        await asyncio.to_thread(self._credential.keep_next, answer.certificate, answer.issuing)
        self._asked, self._renewed_ms = None, self._clock.monotonic_ms()
        self._channel.reconnect()

    async def renew_now(self) -> None:
        """Ask for the next certificate, because a technician said so."""
        await self._ask()


async def renew_late(credential: Credential, door: Door, hub: StatementPublicKey) -> None:
    """Ask for the next certificate at the renewal door. Raises Refusal, or TransientError to try again."""
    renewal = await asyncio.to_thread(credential.request)
    question = encode(LateQuestion(body=encode(renewal)))
    answer = verify_renewal_answer(await asyncio.to_thread(ask, door, question), hub, renewal.request)
    if answer.problem is not None:
        if await asyncio.to_thread(give_up, credential, renewal):
            raise TransientError("The hub does not follow the next certificate; the present one is asked with.")
        raise Refusal(answer.problem, answer.detail)
    await asyncio.to_thread(credential.keep_next, answer.certificate, answer.issuing)
    log.info("certificate renewed late")


def give_up(credential: Credential, refused: Renewal) -> bool:
    """The hub does not follow the certificate that this was asked with; whether it was the next one, and is no more."""
    return credential.give_up(serial_text(load_certificate(refused.certificate)))


def make_standing(
    config: UnitConfig,
    channel: MqttChannel,
    credential: Credential,
    hub: StatementPublicKey,
    clock: Clock,
    software: str,
) -> Standing:
    """The standing of a unit as its unit.toml has it."""
    folder = DurableFolder(config.broker.certificate.parent)
    try:
        serial = load_factory(folder.folder).serial
    except DeviceError:
        serial = config.unit.id  # a machine without a number of its own
    unit = config.unit.id

    def kept() -> list[Kept]:
        found = ((folder.read(REPORTED), topics.UP_REPORTED), (folder.read(SELFTEST), topics.UP_SELFTEST))
        return [(topic.at(unit=unit), content, topic.retain) for content, topic in found if content is not None]

    broker = config.broker
    late = Door(broker.host, broker.renewal_port or broker.port + 2, broker.ca)
    return Standing(channel, credential, unit, hub, clock, serial=serial, software=software, late=late, kept=kept)
