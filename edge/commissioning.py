"""Takes a box from first boot to its unit.toml, over the broker's doors, and shows at every moment what to do.

It looks for claim media, knocks until a technician approves, is born with its certificate, takes its configuration and
tests its devices, all by itself; what goes wrong is named on the screen and tried again. Nothing here is remembered but
by the box's files, so that it may lose power at any moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from contract import topics
from contract.certificates import load_certificate, pem
from contract.channel_mqtt import Backoff, Connection, Disconnected, MqttChannel, MqttSettings
from contract.channel_probe import probe
from contract.clock import Clock
from contract.commissioning import CLAIM_BYTES_MAX, CLAIM_FILE
from contract.commissioning_problems import Problem, Refusal
from contract.configuration import SelftestRow
from contract.errors import RemoteError
from edge.box import Box, Saying
from edge.box_files import CA, TLS_CHAIN, TLS_KEY, Phase, claim_credential
from edge.config import UnitConfig
from edge.factory import Factory
from edge.sensors.selftest import Outcome, examine_devices

CREDENTIAL, ANCHOR = "claim.pem", "claim-ca.crt"
REPEAT_S = 2.0
MEDIA_S = 2.0
RETEST_S = 30.0
LOSSES_BEFORE_PROBE, REFUSED_BEFORE_TOLD = 2, 3
RECONNECT = Backoff(first_s=0.5, max_s=15.0)
Devices = Mapping[str, Mapping[str, object]]
log = structlog.get_logger("commissioning")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are said and looked for again; tests are quicker."""

    repeat_s: float = REPEAT_S
    media_s: float = MEDIA_S
    retest_s: float = RETEST_S
    reconnect: Backoff = RECONNECT


async def test_devices(devices: Devices) -> list[SelftestRow]:
    """The unit's own test of what its configuration names, one row a device."""
    rows = await examine_devices(devices)
    return [
        SelftestRow(
            kind=row.kind,
            driver=row.driver[:200],
            passed=row.outcome is Outcome.OK,
            model=row.model[:200],
            time_ms=row.time_ms,
            next_step=f"{row.found} {row.next_step}".strip()[:500],
        )
        for row in rows
        if row.outcome is not Outcome.MISSING
    ]


class Commissioner:
    """Runs one box until it is commissioned."""

    def __init__(
        self,
        box: Box,
        factory: Factory,
        clock: Clock,
        pace: Pace = Pace(),
        tester: Callable[[Devices], Awaitable[Sequence[SelftestRow]]] = test_devices,
    ) -> None:
        self.box = box
        self._factory = factory
        self._clock = clock
        self._pace = pace
        self._tester = tester
        self._line_problem: Refusal | None = None
        self._media_problem: Refusal | None = None
        self._losses = self._refused = 0
        self._turn = asyncio.Event()
        self._settling = asyncio.Lock()  # what is tested, reported and taken up is one configuration

    @property
    def problem(self) -> Refusal | None:
        """What stands in the way now: the box's own trouble, then the line's; waiting for a person comes last."""
        own = self.box.problem
        waits = own is not None and own.problem is Problem.NOT_APPROVED
        return (None if waits else own) or self._line_problem or own or self._media_problem

    async def run(self) -> None:
        """Return once `unit.toml` is there. Raises RekamError where the disk cannot be used."""
        media = asyncio.create_task(self._watch_media(), name="media")
        try:
            while (phase := await asyncio.to_thread(lambda: self.box.phase)) is not Phase.COMMISSIONED:
                log.info("commissioning", phase=phase)
                if phase is Phase.UNCLAIMED:
                    await self._turn.wait()
                elif phase is Phase.KNOCKING:
                    await self._through_claim_door()
                else:
                    await self._through_service_door()
                self._turn.clear()
        finally:
            media.cancel()
            await asyncio.gather(media, return_exceptions=True)

    async def _watch_media(self) -> None:
        """Take up a claim wherever one appears, while the box has no name, or is refused under the one it has."""
        while True:
            open_to_claims = await asyncio.to_thread(lambda: self.box.phase) in (Phase.UNCLAIMED, Phase.KNOCKING)
            refused = self._line_problem is not None and self._line_problem.problem is Problem.BROKER_REFUSES
            if (open_to_claims or refused) and await asyncio.to_thread(self._look_at_media):
                self._losses, self._line_problem = 0, None
                self._turn.set()
            await asyncio.sleep(self._pace.media_s)

    def _look_at_media(self) -> bool:
        """Whether a claim was taken up; what is wrong with those that are there goes to the screen."""
        problem: Refusal | None = None
        for path in self._claim_files():
            try:
                with path.open("rb") as file:
                    content = file.read(CLAIM_BYTES_MAX + 1)
                taken = self.box.take_claim(content)
            except OSError:
                problem = Refusal(Problem.CLAIM_INCOMPLETE, f"({path.name} cannot be read)")
            except Refusal as refusal:
                problem = refusal
            else:
                self._media_problem = None
                return taken
        if problem is None and self.box.phase is Phase.UNCLAIMED:
            problem = self.box.files.part_problem() or Refusal(Problem.CLAIM_MISSING)
        self._media_problem = problem
        return False

    def _claim_files(self) -> list[Path]:
        """Claim files in the media folders, at most two folders deep, the newest first."""
        found: list[tuple[float, Path]] = []
        for folder in self._factory.media:
            for pattern in (CLAIM_FILE, f"*/{CLAIM_FILE}", f"*/*/{CLAIM_FILE}"):
                with suppress(OSError):
                    found += [(path.stat().st_mtime, path) for path in folder.glob(pattern) if path.is_file()]
        return [path for _, path in sorted(found, reverse=True)]

    async def _through_claim_door(self) -> None:
        """Knock and ask until there is an identity, or another claim."""
        settings = await asyncio.to_thread(self._claim_settings)
        nonce = settings.client_id
        channel = MqttChannel(settings)
        channel.on(topics.CLAIM_ANSWER, self._heard(self.box.hear_answer), nonce=nonce)
        channel.on(topics.CLAIM_GRANT, self._heard(self.box.hear_grant), nonce=nonce)
        await self._talk(channel, settings, lambda: self.box.nonce == nonce and self.box.phase is Phase.KNOCKING)

    async def _through_service_door(self) -> None:
        """Be born, take the configuration, test, report, and finish."""
        identity = await asyncio.to_thread(self.box.files.identified)
        settings = self._service_settings()
        channel = MqttChannel(settings)
        configured: asyncio.Queue[UnitConfig] = asyncio.Queue()

        async def desired(_names: dict[str, str], payload: bytes) -> None:
            if self.box.phase is not Phase.CONFIRMED:
                raise RemoteError("The configuration came before the birth was confirmed; it comes again.")
            async with self._settling:
                config = await asyncio.to_thread(self.box.hear_desired, payload)
                if config is not None:
                    configured.put_nowait(config)
            await self._publish_all(channel, self.box.reports())

        channel.on(topics.DN_CONFIRMED, self._heard(self.box.hear_confirmation), unit=identity.unit)
        if self.box.phase is Phase.CONFIRMED:
            channel.on(topics.DN_DESIRED, desired, unit=identity.unit)
        testing = asyncio.create_task(self._test_and_finish(channel, configured))
        try:
            was = self.box.phase
            await self._talk(channel, settings, lambda: self.box.phase is was and not testing.done())
            if testing.done():
                testing.result()
        finally:
            testing.cancel()
            await asyncio.gather(testing, return_exceptions=True)

    async def _test_and_finish(self, channel: MqttChannel, configured: asyncio.Queue[UnitConfig]) -> None:
        """Test what the newest configuration names until it passes; then report, and finish."""
        config = await configured.get()
        while True:
            while not configured.empty():
                config = configured.get_nowait()
            rows = await self._tester(config.devices)
            async with self._settling:
                if not configured.empty():
                    continue  # another one has come meanwhile: what was tested is not what would be taken up
                passed = await asyncio.to_thread(self.box.note_selftest, rows)
            said = await self._publish_all(channel, self.box.reports())
            async with self._settling:
                if passed and said and configured.empty():
                    await asyncio.to_thread(self.box.files.finish)
                    log.info("commissioned", unit=config.unit.id, site=config.unit.site)
                    self._turn.set()
                    return
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.repeat_s if passed else self._pace.retest_s):
                    config = await configured.get()

    async def _talk(self, channel: MqttChannel, settings: MqttSettings, going_on: Callable[[], bool]) -> None:
        """Say what there is to say, again and again, until something durable changed."""
        channel.on_connected(self._connected)
        channel.on_lost(self._lost)
        self._turn.clear()
        async with channel:
            while await asyncio.to_thread(going_on):
                saying = await asyncio.to_thread(self._say)
                if saying is not None and channel.connection is not None:
                    await self._publish_all(channel, [saying])
                if self._losses >= LOSSES_BEFORE_PROBE:
                    self._line_problem = await asyncio.to_thread(probe, settings)
                    self._losses = 0
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.repeat_s):
                        await self._turn.wait()
                self._turn.clear()

    def _say(self) -> Saying | None:
        """What the box says next; nothing while the part with its key cannot be used, which its page shows."""
        try:
            saying = self.box.say()
        except Refusal as refusal:
            if refusal.problem is not Problem.KEY_PART_UNUSABLE:
                raise
            self.box.problem = refusal
            return None
        if self.box.problem is not None and self.box.problem.problem is Problem.KEY_PART_UNUSABLE:
            self.box.problem = None
        return saying

    async def _publish_all(self, channel: MqttChannel, sayings: Sequence[Saying]) -> bool:
        """Whether the broker took everything; what it did not take is said again."""
        try:
            for saying in sayings:
                await channel.publish(saying.topic, saying.payload, retain=saying.retain)
                self._note_taken()
        except Disconnected:
            return False
        except RemoteError as error:
            # The access list lags behind a fresh certificate by a moment.
            log.info("not taken yet", **error.diagnostics())
            self._refused += 1
            if self._refused >= REFUSED_BEFORE_TOLD:
                self._line_problem = Refusal(Problem.ACCESS_DENIED)
            return False
        return True

    def _heard(self, hear: Callable[[bytes], None]) -> Callable[[dict[str, str], bytes], Awaitable[None]]:
        async def take(_names: dict[str, str], payload: bytes) -> None:
            try:
                await asyncio.to_thread(hear, payload)
            except Refusal as refusal:
                self.box.problem = refusal
                raise
            self._turn.set()

        return take

    async def _connected(self, _connection: Connection) -> None:
        self._losses = 0
        if self._refused < REFUSED_BEFORE_TOLD:
            self._line_problem = None
        self._turn.set()

    def _note_taken(self) -> None:
        """The broker lets this box speak."""
        if self._refused >= REFUSED_BEFORE_TOLD:
            self._line_problem = None
        self._refused = 0

    def _lost(self, _loss: Disconnected) -> None:
        self._losses += 1

    def _claim_settings(self) -> MqttSettings:
        claim, folder = self.box.files.claim(), self.box.files.folder
        folder.write(CREDENTIAL, claim_credential(claim))
        folder.write(ANCHOR, pem(load_certificate(claim.ca)))
        return MqttSettings(
            host=claim.host,
            port=claim.claim_port,
            ca=folder.path(ANCHOR),
            certificate=folder.path(CREDENTIAL),
            key=folder.path(CREDENTIAL),
            client_id=claim.nonce,
            backoff=self._pace.reconnect,
        )

    def _service_settings(self) -> MqttSettings:
        identity, folder = self.box.files.identified(), self.box.files.folder
        return MqttSettings(
            host=identity.host,
            port=identity.port,
            ca=folder.path(CA),
            certificate=folder.path(TLS_CHAIN),
            key=folder.path(TLS_KEY),
            client_id=identity.unit,
            backoff=self._pace.reconnect,
        )
