"""The hub as a process: one asyncio loop owns all state, four worker threads do what blocks, a server shows it.

| thread   | what it does |
|----------|--------------|
| loop     | MQTT, timers, the console's server |
| ingest   | chunks, packets, receipts (hub.ingest) |
| office   | checks, reports, print orders, outbox, checkpoints, what units say of themselves |
| updates  | files of releases, verified and read for units |
| search   | extraction and 1:N |
| requests | the console's requests (FastAPI's pool) |
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import structlog
import uvicorn
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from contract.channel_mqtt import Backoff, Connection, Disconnected, MqttChannel, MqttSettings
from contract.clock import Clock, SystemClock
from contract.errors import DeviceError, RekamError, RemoteError
from contract.topics import DN_ALARM, UP_EVENT, UP_JOB, UP_ROSTER, UP_SIGN_ONS, UP_STATE, UP_STATUS
from hub import alarms, checkpoints, dispatches, fleet_watch, outbox, presence, rosters, sign_ons
from hub.central import Central, assemble
from hub.commissioning import Said
from hub.commissioning_service import CommissioningService
from hub.config import HubSettings
from hub.console.application import create_application
from hub.context import HUB_KEY_ID, HubContext, load_keys
from hub.fleet import load_fleet, load_register
from hub.ingest import Ingest
from hub.ingest_service import IngestService, hub_will
from hub.schema.database import Database
from hub.unit_inbox import Answer, UnitInbox
from hub.update_media import adopt_first
from hub.update_service import UpdateService
from hub.vault import Vault

POLL_INTERVAL_S = 0.2
LOOK_AGAIN_S = 2.0  # though nothing was written: for what comes due by the clock, and what other processes write
OUTBOX_BATCH = 200
RECONNECT = Backoff(first_s=0.2, max_s=2.0)  # one client, and a fleet waits for it
IN_FLIGHT_MAX = 64  # what the broker allows one client; the hub speaks with thousands
BACKOFF_S = 2.0
FLEET_WATCH_INTERVAL_S = 60.0
LINK_CHECK = "link-check"

T = TypeVar("T")
log = structlog.get_logger("hub")


class HubService:
    """The running hub. `run` ends when it is cancelled, or with the error that made going on pointless."""

    def __init__(self, settings: HubSettings, clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        keys = load_keys(settings)
        context = HubContext(settings, Database(settings.database_url), Vault(keys.blob), keys, clock)
        self._settings = settings
        self._context = context
        self._central = assemble(context)
        self._office = ThreadPoolExecutor(1, thread_name_prefix="office")
        self._roll = self._central.roll
        self._search = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._channel = MqttChannel(_mqtt_settings(settings), lambda: hub_will(clock), clears_retained=True)
        self._inbox = UnitInbox(context.database, self._office, self._say)
        self._ingest: IngestService | None = None
        self._commissioning: CommissioningService | None = None
        self.updates = UpdateService(context, self._central.repository, self._channel, self._office)
        self._alerts = fleet_watch.AlertLog()

    @property
    def central(self) -> Central:
        """The hub's parts."""
        return self._central

    async def run(self) -> None:
        """Open the database, merge the setup's files, rebuild the gallery, then serve until cancelled."""
        await self._in_office(self._prepare)
        held = await self._in_search(self._central.dedup.rebuild)
        log.info("gallery rebuilt", captures=held, operators=await self._in_search(self._central.operators.rebuild))
        keys = self._context.keys
        ingest = Ingest(
            self._context.blob_dir,
            self._central.packets,
            self._central.units,
            keys.packet,
            keys.statement,
            self._context.clock,
        )
        self._ingest = IngestService(self._channel, ingest, self._context.clock)
        await self._begin_commissioning()
        self.updates.subscribe()
        self._channel.on(UP_JOB, self._on_job_answer)
        self._channel.on(UP_STATE, self._on_state)
        self._channel.on(UP_STATUS, self._on_uplink)
        self._channel.on(UP_EVENT, self._on_event)
        self._channel.on(UP_ROSTER, self._on_roster)
        self._channel.on(UP_SIGN_ONS, self._on_sign_ons)
        self._channel.on_connected(self._on_connected)
        self._channel.on_lost(lambda _loss: self._roll.lose())
        try:
            async with self._channel, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._channel.closed(), name="channel")
                tasks.create_task(self._ingest.run(), name="ingest")
                tasks.create_task(
                    self._every(POLL_INTERVAL_S, self._where_written(self._publish_outbox)), name="outbox"
                )
                tasks.create_task(
                    self._every(POLL_INTERVAL_S, self._where_written(self._work_off_packets)), name="intake"
                )
                tasks.create_task(
                    self._every(POLL_INTERVAL_S, self._where_written(self._work_off_searches)), name="dedup"
                )
                tasks.create_task(self._every(self._settings.hub.checkpoint_period_s, self._tick), name="checkpoints")
                tasks.create_task(self._every(0.0, self._watch_fleet), name="fleet watch")
                tasks.create_task(self._inbox.run(), name="units")
                tasks.create_task(self._every(POLL_INTERVAL_S, self._call_the_roll), name="roll call")
                tasks.create_task(self._serve_console(), name="console")
                tasks.create_task(self.updates.run(), name="updates")
                if self._commissioning is not None:
                    tasks.create_task(self._commissioning.run(), name="commissioning")
        finally:
            self._office.shutdown()
            self._search.shutdown()
            self._context.database.close()

    async def _begin_commissioning(self) -> None:
        """Where this hub is the bus's authority: certify hub and broker before the first connection."""
        section = self._settings.authority
        if section is not None:
            self._commissioning = CommissioningService(
                self._context, section, self._central, self._channel, self._office, self._inbox
            )
            await self._commissioning.prepare()
            self._commissioning.subscribe()

    def _prepare(self) -> None:
        settings = self._settings
        self._context.database.upgrade()
        self._context.blob_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        fleet = load_fleet(settings.path(settings.fleet.fleet))
        residents = load_register(settings.path(settings.fleet.register_file))
        self._central.enrol_fleet(fleet, residents)
        adopt_first(self._context)

    async def _every(self, interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
        """Call `work` for ever; what the system or a technician can repair is logged and tried again."""
        while True:
            try:
                await work()
                await asyncio.sleep(interval_s)
            except Disconnected:
                await asyncio.sleep(BACKOFF_S)
            except RekamError as error:
                log.warning("work waits", **error.diagnostics())
                await asyncio.sleep(BACKOFF_S)
            except SQLAlchemyError as error:
                log.critical("work waits", error=type(error).__name__)
                await asyncio.sleep(BACKOFF_S)

    def _where_written(self, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Work that looks for what there is to do: left alone while nothing was written since it last looked."""
        seen, again_s = -1, 0.0

        async def look() -> None:
            nonlocal seen, again_s
            written, now_s = self._context.database.written, asyncio.get_running_loop().time()
            if written != seen or now_s >= again_s:
                seen, again_s = written, now_s + LOOK_AGAIN_S
                await work()

        return look

    async def _work_off_packets(self) -> None:
        waiting: Sequence[str] = await self._in_office(self._central.intake.due)
        while waiting:
            try:
                waiting = await self._in_office(lambda: self._central.intake.process_some(waiting))  # noqa: B023 - awaited before it changes
            except (RekamError, SQLAlchemyError) as error:
                log.critical("packet waits", pid=waiting[0], error=type(error).__name__)
                waiting = waiting[1:]
            if self._ingest is not None:
                self._ingest.publish_receipts()
        await self._in_office(self._central.personalisation.order_due)

    async def _work_off_searches(self) -> None:
        for capture_id in await self._in_search(self._central.dedup.due):
            try:
                state = await self._in_search(lambda: self._central.dedup.search(capture_id))  # noqa: B023 - see above
            except (RekamError, SQLAlchemyError) as error:
                log.critical("search waits", capture_id=capture_id, error=type(error).__name__)
            else:
                log.info("searched", capture_id=capture_id, state=state)

    async def _tick(self) -> None:
        def work() -> None:
            with self._context.database.transaction() as session:
                checkpoints.tick(session, self._context)
                self._central.operators.renew(session)
                alarms.drop_old(session, self._settings.deadlines.alarms_kept_days, self._context.clock.wall_ms())

        await self._in_office(work)

    async def _watch_fleet(self) -> None:
        """Look at the fleet after a while: a hub that was away hears its units first before it calls them silent."""

        def work() -> None:
            context = self._context
            with context.database.reading() as session:
                fleet = fleet_watch.look_at_all(session, context.settings.deadlines, context.clock.wall_ms())
            self._alerts.note(fleet)

        await asyncio.sleep(FLEET_WATCH_INTERVAL_S)
        await self._in_office(work)

    async def _call_the_roll(self) -> None:
        """Some seconds after a connect: who is not heard of since is off the line, whatever was known before."""
        heard = self._roll.due()
        if heard is None:
            return

        def work() -> int:
            with self._context.database.transaction() as session:
                return presence.mark_absent(session, heard)

        absent = await self._in_office(work)
        self._roll.note_called()
        log.info("roll called", heard=len(heard), absent=absent)

    async def _publish_outbox(self) -> None:
        if self._channel.connection is None:
            return

        def collect() -> list[outbox.Message]:
            with self._context.database.reading() as session:
                stale = dispatches.has_stale_pages(session)
            if stale:
                with self._context.database.transaction() as session:
                    dispatches.post_stale_pages(session, self._context)
            with self._context.database.reading() as session:
                return outbox.due(session, OUTBOX_BATCH)

        while messages := await self._in_office(collect):
            await self._publish_all(messages)
            await self._in_office(lambda: self._mark_published(messages))

    async def _publish_all(self, messages: list[outbox.Message]) -> None:
        """Publish in the order given, not waiting for one acknowledgement before the next message. Raises RekamError.

        The channel bounds how many are on their way; after a loss all of them are said again.
        """
        for outcome in await asyncio.gather(*map(self._publish, messages), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _publish(self, message: outbox.Message) -> None:
        """Publish one message; what the broker refuses for good must not stop what waits behind it."""
        try:
            await self._channel.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
        except RemoteError as error:
            log.warning("message refused by the broker", topic=message.topic, **error.diagnostics())

    def _mark_published(self, messages: list[outbox.Message]) -> None:
        with self._context.database.transaction() as session:
            outbox.mark_published(session, [message.id for message in messages], self._context.clock.wall_ms())

    async def _on_connected(self, _connection: Connection) -> None:
        """The broker may have forgotten everything that is retained, and who is there."""
        self._roll.begin()

        def work() -> None:
            with self._context.database.transaction() as session:
                outbox.say_again(session)

        await self._heard(work)

    async def _on_job_answer(self, names: dict[str, str], payload: bytes) -> None:
        await self._heard(lambda: self._central.take_job_answer(names["unit"], names["job"], payload))

    async def _on_state(self, names: dict[str, str], payload: bytes) -> None:
        unit, now_ms = names["unit"], self._context.clock.wall_ms()
        self._roll.hear(unit)

        def take(session: Session) -> None:
            presence.take_state(session, unit, payload, now_ms)

        await self._inbox.put(unit, take)

    async def _on_uplink(self, names: dict[str, str], payload: bytes) -> None:
        unit, now_ms = names["unit"], self._context.clock.wall_ms()
        await self._inbox.put(
            unit, lambda session: presence.take_uplink(session, unit, payload, now_ms), is_patient=True
        )

    async def _on_event(self, names: dict[str, str], payload: bytes) -> None:
        if names["event"] == LINK_CHECK:
            return

        unit, now_ms = names["unit"], self._context.clock.wall_ms()

        def take(session: Session) -> Answer:
            alarm, is_new = alarms.take(session, unit, payload, now_ms)

            def written() -> list[Said]:
                """The unit says it until it hears this: a broker's word is lost with the broker."""
                if is_new:
                    log.warning("alarm", unit=unit, alarm=names["event"])
                return [Said(DN_ALARM.at(unit=unit, alarm=alarm), b"", DN_ALARM.expiry_s)]

            return written

        await self._inbox.put(unit, take)

    async def _say(self, said: Said) -> None:
        await self._channel.publish(said.topic, said.payload, expiry_s=said.expiry_s)

    async def _on_roster(self, names: dict[str, str], payload: bytes) -> None:
        def work() -> None:
            with self._context.database.transaction() as session:
                rosters.take_held(session, self._context, names["unit"], payload)

        await self._heard(work)

    async def _on_sign_ons(self, names: dict[str, str], payload: bytes) -> None:
        def work() -> None:
            with self._context.database.transaction() as session:
                sign_ons.take(session, self._context, names["unit"], payload)

        await self._heard(work)

    async def _heard(self, work: Callable[[], None]) -> None:
        """Deal with a message; one that nobody expected ends here, and not with the channel that all units use."""
        try:
            await self._in_office(work)
        except RekamError:
            raise
        except Exception as error:  # noqa: BLE001 - see above; the log names what it was
            log.critical("message dropped", error=type(error).__name__)

    async def _serve_console(self) -> None:
        section = self._settings.console
        config = uvicorn.Config(
            create_application(self._central),
            host=section.host,
            port=section.port,
            http="h11",
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
        )
        server = _ConsoleServer(config)
        try:
            await server.serve()
        except SystemExit:
            raise DeviceError(
                f"The console cannot listen on {section.host}:{section.port}.",
                next_step="Stop what uses this port, or change console.port in hub.toml.",
            ) from None

    async def _in_office(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._office, work)

    async def _in_search(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._search, work)


class _ConsoleServer(uvicorn.Server):
    """A server that leaves the process's signals to the hub."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


def _mqtt_settings(settings: HubSettings) -> MqttSettings:
    broker = settings.broker
    return MqttSettings(
        host=broker.host,
        port=broker.port,
        ca=settings.path(broker.ca),
        certificate=settings.path(broker.certificate),
        key=settings.path(broker.key),
        client_id=HUB_KEY_ID,
        keepalive_s=broker.keepalive_s,
        backoff=RECONNECT,
        in_flight_max=IN_FLIGHT_MAX,
        receive_maximum=IN_FLIGHT_MAX,
    )
