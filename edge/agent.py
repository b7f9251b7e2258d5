"""The composition root of a unit: makes every part once, wires them, runs them on one loop, and ends them in order.

Order of starting: disk (store, register, spool) and what a power cut left open; comparison worker with the site's
gallery; pages; line to the broker. So a unit whose line is cut serves people all the same, and nothing that comes down
from the hub finds a part missing. It may be killed at any moment: whatever matters is durable before it is said.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from contract.channel_mqtt import MqttChannel
from contract.clock import Clock
from contract.dispatch import GalleryEntry
from contract.errors import DeviceError, RekamError
from contract.transfer import Receipt
from edge.agent_parts import (
    make_card_proof,
    make_chip_desk,
    make_line,
    make_remote_test,
    make_ticket_desk,
    make_web_server,
    open_spool,
    start_search,
    unless_stopped,
)
from edge.alarms import AlarmBook, AlarmLine
from edge.bounded_clock import BoundedClock
from edge.capture_state import Services
from edge.command_desk import CommandDesk
from edge.comparison_worker import ComparisonWorker
from edge.config import UnitConfig
from edge.configuration import Configurations
from edge.configuration_trial import ConfigurationIntake
from edge.controller_release import ControllerRelease
from edge.desk import Desk, Reports
from edge.device_bench import DeviceBench
from edge.diary import Diary
from edge.disk_age import open_time
from edge.downlink import Downlink
from edge.enclosure import WorkView
from edge.enclosure_watch import EnclosureWatch
from edge.keys import UnitKeys, load_keys
from edge.links import LinkWatch
from edge.log_ring import LogRing
from edge.moment import MomentSource
from edge.officer_desk import OfficerDesk, SignOnTeller
from edge.packing import PacketKeeper, Sealer
from edge.panel_watch import PanelWatch, make_panel
from edge.personalisation import PersonalisationDesk
from edge.presence import Presence
from edge.register import Register
from edge.roster import RosterBook
from edge.screens.guard import drop_token
from edge.sealed_store import SealedStore
from edge.second_factor import FactorBook
from edge.service_notice import ServiceNotice
from edge.site_gallery import SiteGallery
from edge.software import software
from edge.spool import Spool
from edge.standing import Standing
from edge.station import JobIntake, make_station
from edge.status import UnitStatus
from edge.technician_commands import command_handlers
from edge.update_intake import Surroundings, UpdateIntake
from edge.update_record import Updates
from edge.update_trial import CONTROLLER
from edge.uplink import Uplink
from edge.uplink_settings import uplink_settings

GOODBYE_TIMEOUT_S = 2.0
DEVICE_TIMEOUT_S = 10.0

log = structlog.get_logger("edge.agent")


@dataclass(frozen=True, slots=True)
class _Disk:
    """The unit's records: sealed values, what the hub told, who may work, its moments, its packets."""

    store: SealedStore
    register: Register
    roster: RosterBook
    moments: MomentSource
    spool: Spool


class Agent:
    """One running unit. Whoever runs it holds its data lock."""

    def __init__(
        self, config: UnitConfig, configurations: Configurations, updates: Updates, clock: BoundedClock,
        notice: ServiceNotice, ring: LogRing | None = None,
    ) -> None:  # fmt: skip
        """configurations: of which `config` is one, in force or on trial; updates: of the release that runs.

        notice: to who keeps the process alive; ring: where the log lines go.
        """
        self._config = config
        self._updates = updates
        self._turn = asyncio.Lock()  # of whoever begins a trial
        self._configurations = configurations
        self._clock = clock
        self._notice = notice
        self._ring = ring or LogRing(clock)
        self._stop = asyncio.Event()
        self._standing: Standing | None = None
        self._bench: DeviceBench | None = None
        self._intake: ConfigurationIntake | None = None
        self._update_intake: UpdateIntake | None = None
        self.controller = ControllerRelease(None, config.broker.certificate.parent)
        self._again = self._for_good = False
        self._background: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Ask the agent to end its parts in good order."""
        self._stop.set()

    def end(self) -> None:
        """Ask it to end, and not to begin again, whatever was under way."""
        self._for_good = True
        self.stop()

    def begin_again(self) -> None:
        """Ask it to end, and whoever runs it to start it anew."""
        self._again = True
        self.stop()

    @property
    def begins_again(self) -> bool:
        """Whether it has to be started anew."""
        return self._again and not self._for_good

    async def complaints(self) -> Mapping[str, str]:
        """What is not well: its devices by kind, the hub that has not confirmed its birth, itself while it starts."""
        if self._bench is None or self._standing is None:
            return {"unit": "It has not started yet."}
        found = await self._problems(self._bench)
        return found if self._standing.is_confirmed else {**found, "hub": "It was not reached."}

    async def report_configuration(self) -> None:
        """Tell the hub what became of a configuration, where there is a line."""
        if self._intake is not None:
            await self._intake.report()

    async def report_update(self) -> None:
        """Tell the hub what became of a release, where there is a line."""
        if self._update_intake is not None:
            await self._update_intake.report()

    async def run(self) -> None:
        """Serve until asked to stop. Raises RekamError where a part cannot start, or fails for good."""
        config = self._config
        keys = load_keys(config.unit.id, config.keys, config.devices.get("identity"))
        async with contextlib.AsyncExitStack() as parts:
            await self._run_parts(keys, parts)
        log.info("stopped", unit=config.unit.id)

    async def _open_disk(self, keys: UnitKeys, parts: contextlib.AsyncExitStack) -> _Disk:
        """What lies on this unit's disk, opened."""
        config, clock = self._config, self._clock
        await asyncio.to_thread(self._ring.open, config.unit.data_dir, keys.store)
        parts.callback(self._ring.close)
        self._spawn(self._ring.run())
        store = SealedStore(config.unit.data_dir / "unit.db", keys.store)
        parts.callback(store.close)
        register = Register(store, config.unit.site)
        time = await asyncio.to_thread(open_time, store, clock, keys.counter)
        roster = RosterBook(store, config.unit.site, keys.hub_statement, time)
        spool = await asyncio.to_thread(open_spool, config, keys, clock)
        parts.callback(spool.close)
        return _Disk(store, register, roster, MomentSource(store, clock, heard=clock.hear), spool)

    async def _run_parts(self, keys: UnitKeys, parts: contextlib.AsyncExitStack) -> None:
        config, clock = self._config, self._clock
        disk = await self._open_disk(keys, parts)
        store, register, roster, moments, spool = disk.store, disk.register, disk.roster, disk.moments, disk.spool
        worker = ComparisonWorker()
        parts.push_async_callback(worker.stop)
        gallery = SiteGallery(store, worker, register)
        presence = Presence(config.unit.id, software(), clock)
        channel, standing = make_line(config, presence, keys, clock, software())

        async def on_receipt(receipt: Receipt) -> None:
            await keeper.note_receipt(receipt)
            desk.note_receipt(receipt.pid, receipt)

        # Subscribed before the uplink, so that the journal learns of a receipt before the spool purges what it frees.
        downlink = Downlink(
            channel, config.unit.id, config.unit.site, keys.open, keys.hub_dispatch, keys.hub_statement,
            register, roster, gallery, moments, on_receipt,
        )  # fmt: skip
        uplink = Uplink(
            channel, spool, uplink_settings(config.unit.id, config.unit.site, config.uplink), keys.hub_statement, clock
        )
        keeper = PacketKeeper(
            Sealer(config.unit.id, config.unit.site, keys.sign, (keys.hub_packet, keys.recovery)),
            spool, store, register, gallery, moments, clock,
            wake=uplink.wake, share=lambda entry: self._spawn(self._share(downlink, entry)),
        )  # fmt: skip
        if not await _settle(self._stop, keeper, worker, gallery):
            return
        presence.attach(channel)
        alarms = AlarmBook(config.unit.id, store, clock, AlarmLine(channel, config.unit.id).tell)
        panel = make_panel(config.devices, store, alarms)
        bench = DeviceBench(config.devices, config.policy, panel.panel if panel else None)
        parts.push_async_callback(bench.close)
        status = UnitStatus(
            config.unit, spool, uplink, bench, worker, gallery, moments, clock, self._configurations, self._updates
        )
        services = Services(bench, worker, keeper, register, roster, config.policy, clock, worker.stamp)
        officers = self._make_officers(store, services, channel, keys, bench)
        station = await self._make_station(store, services, officers.factors, keeper, bench, keys, parts)
        if station is not None:
            JobIntake(channel, downlink, station, config.unit.id, keys.sign, keys.hub_packet)
        reports = Reports(
            status.snapshot, self._watch_links(channel, uplink, clock).check, lambda name: status.capture(name, keeper),
            uplink.release_held,
        )  # fmt: skip
        desk = Desk(
            config.unit, services, reports, chip_desk=make_chip_desk(config, keys, bench), station=station,
            diary=Diary(store, clock), tickets=make_ticket_desk(config, bench, store, clock),
            officers=officers,
        )  # fmt: skip
        self._make_box(alarms, panel, bench, desk, status, parts)
        parts.push_async_callback(desk.leave)
        test = make_remote_test(config, bench, worker, desk, status, clock)
        handlers = command_handlers(test, self._ring, standing.renew_now)
        CommandDesk(channel, downlink.opened, config.unit.id, keys.sign, store, clock, handlers, self._spawn)
        status.time, status.line = clock.status, standing.status
        self._stand(standing, bench)
        self._take_in(channel, downlink, desk, bench, parts)
        await self._serve(desk, channel, uplink, presence)

    def _take_in(
        self, channel: MqttChannel, downlink: Downlink, desk: Desk, bench: DeviceBench,
        parts: contextlib.AsyncExitStack,
    ) -> None:  # fmt: skip
        """New settings and new software from the hub: tried between two people, one of them at a time."""
        config, configurations, updates = self._config, self._configurations, self._updates

        def is_free() -> bool:
            return desk.is_free and not (configurations.on_trial or updates.on_trial or self._again)

        async def problems() -> Mapping[str, str]:
            return await self._problems(bench)

        self._intake = ConfigurationIntake(
            channel, downlink, configurations, config.unit.id, is_free=is_free, problems=problems,
            restart=self.begin_again, turn=self._turn,
        )  # fmt: skip
        around = Surroundings(
            config.unit.id, config.broker.certificate.parent, configurations.path, is_free, problems,
            self.begin_again, self._turn,
        )  # fmt: skip
        self._update_intake = UpdateIntake(channel, downlink, updates, around, self.controller)
        parts.callback(self._update_intake.stop)
        self._spawn(self._intake.run())
        self._spawn(self._update_intake.run())

    async def _problems(self, bench: DeviceBench) -> Mapping[str, str]:
        """What is not well of what is connected to the unit."""
        found = await bench.problems(DEVICE_TIMEOUT_S)
        complaint = self.controller.complaint()
        return {**found, CONTROLLER: complaint} if complaint else found

    def _stand(self, standing: Standing, bench: DeviceBench) -> None:
        """The parts that say how the unit is."""
        self._standing, self._bench = standing, bench
        self._spawn(standing.run())

    def _make_officers(
        self, store: SealedStore, services: Services, channel: MqttChannel, keys: UnitKeys, bench: DeviceBench
    ) -> OfficerDesk:
        """Who signs on here, by which factors, at what time; and the hub is told."""
        factors = FactorBook(store, services.roster.time)
        teller = SignOnTeller(self._config.unit.id, factors, channel.publish)
        channel.on_connected(teller.say)
        self._spawn(teller.run())
        self._spawn(services.roster.time.run())
        return OfficerDesk(services, factors, make_card_proof(self._config, keys, bench))

    async def _make_station(
        self, store: SealedStore, services: Services, factors: FactorBook, keeper: PacketKeeper, bench: DeviceBench,
        keys: UnitKeys, parts: contextlib.AsyncExitStack,
    ) -> PersonalisationDesk | None:  # fmt: skip
        """The personalisation desk, on a unit whose role it is."""
        config = self._config
        if config.unit.role != "station":
            return None
        station = make_station(store, services, factors, keeper, bench.card, config.devices, keys.sam, keys.issuer)
        parts.push_async_callback(station.close)
        await station.load()
        return station

    def _make_box(
        self, alarms: AlarmBook, panel: PanelWatch | None, bench: DeviceBench, desk: Desk, status: UnitStatus,
        parts: contextlib.AsyncExitStack,
    ) -> None:  # fmt: skip
        """The unit's box, tied to its work: its pins and its controller, and what happens to it is told."""
        config = self._config
        box = EnclosureWatch(
            config.enclosure, alarms, bench.climate,
            note=lambda step: desk.note("enclosure", step), cancel=lambda: self._spawn(desk.cancel_open()),
        )  # fmt: skip
        box.open()
        parts.callback(box.close)
        shows = [box.show]
        status.enclosure = box.status
        self._spawn(alarms.run())
        self._spawn(box.run())
        if panel is not None:
            panel.note = lambda step: desk.note("controller", step)
            panel.open()
            parts.push_async_callback(panel.close)
            shows.append(panel.show)
            bench.illumination = panel.panel
            self.controller.panel = panel.panel
            status.controller = panel.status
            self._spawn(panel.run())

        def watch(work: WorkView | None) -> None:
            for show in shows:
                show(work)

        desk.watch = watch

    async def _serve(self, desk: Desk, channel: MqttChannel, uplink: Uplink, presence: Presence) -> None:
        """Pages, line and uplink, until the stop is asked for or one of them ends."""
        config = self._config
        server, listener = make_web_server(config, desk)
        log.info("pages", url=f"http://{config.screen.host}:{listener.getsockname()[1]}/", unit=config.unit.id)
        web = asyncio.create_task(server.serve(sockets=[listener]), name="pages")
        self._spawn(self._clock.keep_on())
        self._spawn(self._notice.keep_watch())
        self._notice.ready(f"{config.unit.id} at {config.unit.site}")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        async with channel:
            sending = asyncio.create_task(uplink.run(), name="uplink")
            line = asyncio.create_task(channel.closed(), name="line")
            try:
                done, _ = await asyncio.wait({web, sending, line, stopping}, return_when=asyncio.FIRST_COMPLETED)
                for task in done if stopping not in done else ():
                    task.result()
                    raise DeviceError(f"The unit's {task.get_name()} ended.", next_step="The service starts again.")
            finally:
                if not self.begins_again:
                    self._notice.stopping()
                with contextlib.suppress(RekamError, TimeoutError):
                    await asyncio.wait_for(presence.leave(), GOODBYE_TIMEOUT_S)
                for task in (sending, line, stopping, *self._background):
                    task.cancel()
                server.should_exit = True
                drop_token(config.unit.data_dir)
                desk.answer_waiting()
                await asyncio.gather(web, sending, line, stopping, *self._background, return_exceptions=True)

    def _watch_links(self, channel: MqttChannel, uplink: Uplink, clock: Clock) -> LinkWatch:
        """The link check, which the uplink's status tells the centre of."""
        broker = self._config.broker
        watch = LinkWatch(channel, self._config.unit.id, broker.host, broker.port, lambda: uplink.hub_online, clock)
        uplink.links = lambda: watch.latest
        self._spawn(watch.run())
        return watch

    async def _share(self, downlink: Downlink, entry: GalleryEntry) -> None:
        try:
            await downlink.share(entry)
        except RekamError as error:
            log.warning("capture not shared with the site", **error.diagnostics())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, RekamError):
            log.warning("background work ended", **error.diagnostics())
        elif error is not None:
            log.error("background work ended", error=type(error).__name__)


async def _settle(stop: asyncio.Event, keeper: PacketKeeper, worker: ComparisonWorker, gallery: SiteGallery) -> bool:
    """What a power cut left open is settled; then the search starts. False where it was asked to stop meanwhile."""
    if dropped := await asyncio.to_thread(keeper.settle_after_start):
        log.warning("captures without a packet were dropped", count=len(dropped))
    return await unless_stopped(stop, start_search(worker, gallery))
