"""How a running unit takes up a release: fetched while people are served, installed and begun between two of them.

A job is worked on from its beginning after every start, and each step finds what the one before left: verified wheels
are kept, a part goes on where it stopped. A line that drops costs time only. What is refused stays refused until the
hub gives another job; a job may be taken back until the unit begins to write. Since nobody can take back a job from a
unit without a line, a unit writes only what the hub has told it on the connection that it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from contract import topics
from contract.channel_mqtt import Backoff, Connection, MqttChannel
from contract.dispatch import encode
from contract.durable_files import DurableFolder
from contract.errors import DeviceError, RekamError, RemoteError, TransientError
from contract.settings_schema import SCHEMA_FILE, read_schema
from contract.update_problems import UpdateProblem, UpdateRefusal
from contract.updates import Artefact, UpdateJob, UpdateState
from edge.box_files import UPDATE_ROOT
from edge.controller_release import ControllerRelease
from edge.downlink import Downlink
from edge.slot_install import Installer
from edge.slot_schema import SlotSchema
from edge.slots import Slots
from edge.trial import LOOK_AGAIN_S, Pause
from edge.update_channel import FileChannel
from edge.update_client import Fetched, UpdateClient, read_kept
from edge.update_fetcher import LineReader, Stopped
from edge.update_record import Updates

TRIES_MAX = 8
REPORT_EVERY_S, REPORT_PARTS = 5.0, 10  # of a fetch: looked at so often, told at every tenth of it
AGAIN = Backoff(first_s=5.0, max_s=600.0)
log = structlog.get_logger("updates")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an intake asks of the rest of the unit. turn: held by whoever begins something that ends this run.

    is_free: nobody is served and nothing is on trial; complaints: what is not well now; restart: ends this run.
    """

    unit: str
    keys: Path
    config: Path
    is_free: Callable[[], bool]
    complaints: Callable[[], Awaitable[Mapping[str, str]]]
    restart: Callable[[], None]
    turn: asyncio.Lock


class SlotInstaller(Protocol):
    """What fills the other slot, as an intake uses it."""

    def install(self, fetched: Fetched) -> None:
        """Blocks. Raises UpdateRefusal."""
        ...

    def stop(self) -> None:
        """Let the thread go."""
        ...


class UpdateIntake:
    """Takes the hub's jobs of a running unit. Made before the channel starts."""

    def __init__(
        self,
        channel: MqttChannel,
        downlink: Downlink,
        updates: Updates,
        around: Surroundings,
        controller: ControllerRelease,
        *,
        pause: Pause = asyncio.sleep,
        installer: Callable[[Slots, Path], SlotInstaller] = Installer,
    ) -> None:
        self._channel, self._downlink = channel, downlink
        self._make_installer = installer
        self._updates, self._around, self._controller = updates, around, controller
        self._files = FileChannel(channel, around.unit)
        self._pause = pause
        self._arrived = asyncio.Event()
        self._reader: LineReader | None = None
        self._installer: SlotInstaller | None = None
        self._working: asyncio.Task[None] | None = None
        self._later: UpdateJob | None = None
        self._restarts = False
        self._told: tuple[Connection | None, str] = (None, "")  # the job that the hub wants done, and who carried it
        channel.on(topics.DN_UPDATE, self._heard, unit=around.unit)
        channel.on_connected(self._connected)

    async def run(self) -> None:
        """Work on what the record holds and on what comes, until cancelled or this run ends for a trial."""
        job = self._updates.record.job
        if job is not None and self._updates.record.state is not None and not self._updates.record.state.is_end:
            self._arrived.set()
        while True:
            await self._arrived.wait()
            while self._updates.on_trial:
                await self._pause(LOOK_AGAIN_S)
            self._arrived.clear()
            later, self._later = self._later, None
            if later is not None:
                await self._take(later)
            job, state = self._updates.record.job, self._updates.record.state
            if job is None or state is None or state.is_end:
                continue
            self._working = asyncio.create_task(self._work_on(job), name=job.job)
            await asyncio.wait({self._working})
            if not self._working.cancelled() and (error := self._working.exception()):
                log.error("update ended", error=type(error).__name__)
            self._working = None
            self._updates.writes &= self._updates.record.state is UpdateState.TRIAL  # which begins with the next start
            if self._restarts:
                return  # what was heard meanwhile is the next start's: work on it would overwrite the trial's record

    def stop(self) -> None:
        """Let go of everything that blocks a thread; what was begun goes on after the next start."""
        if self._reader is not None:
            self._reader.stop()
        if self._installer is not None:
            self._installer.stop()
        if self._working is not None:
            self._working.cancel()

    async def report(self) -> None:
        """Publish how it stands; what the line or the broker does not take is said at the next connect."""
        topic, content = topics.UP_UPDATE, encode(self._updates.report())
        try:
            await self._channel.publish(topic.at(unit=self._around.unit), content, retain=topic.retain)
        except (TransientError, RemoteError) as error:
            log.info("report waits for the line", reason=error.message)

    async def _connected(self, _connection: Connection) -> None:
        try:
            found = await self._controller.identity() if self._controller.panel is not None else None
        except UpdateRefusal:
            found = None
        if found is not None:
            self._updates.know_firmware(found.version)
        await self.report()

    async def _heard(self, _names: dict[str, str], payload: bytes) -> None:
        if not payload:
            await self._take_back()
            return
        job = self._downlink.opened(UpdateJob, payload)
        self._told = (self._channel.connection, job.job)
        if not self._is_writing and await self._take(job):
            if self._working is None or self._working.get_name() != job.job:  # else begun as soon as it was recorded
                self._let_go()
            self._arrived.set()
        elif self._is_writing:
            self._later = job
            self._arrived.set()

    @property
    def _is_writing(self) -> bool:
        return self._updates.writes or self._updates.on_trial

    async def _take(self, job: UpdateJob) -> bool:
        taken = await asyncio.to_thread(self._updates.take, job)
        if taken:
            await self.report()
        return taken

    async def _take_back(self) -> None:
        self._later, self._told = None, (None, "")
        if not self._is_writing and await asyncio.to_thread(self._updates.take_back):
            self._let_go()
            await self.report()

    def _let_go(self) -> None:
        """End the work on a job that is not wanted any more."""
        if self._reader is not None:
            self._reader.stop()
        if self._working is not None:
            self._working.cancel()

    async def _work_on(self, job: UpdateJob) -> None:
        """One job to its end, or to the trial that follows. Never raises, but when it is cancelled."""
        failures = 0
        while True:
            try:
                await self._work(job)
                return
            except UpdateRefusal as refusal:
                await self._end(job, refusal)
                return
            except (TransientError, DeviceError) as error:
                failures += 1
                log.warning("update not done yet", **error.diagnostics())
                if failures >= TRIES_MAX:
                    await self._end(job, UpdateRefusal(UpdateProblem.INSTALL_FAILED, str(error)))
                    return
            except RekamError as error:
                await self._end(job, UpdateRefusal(UpdateProblem.INSTALL_FAILED, str(error)))
                return
            except Stopped:
                return
            self._updates.writes = False
            if self._later is not None:
                return
            await self._pause(AGAIN.wait_s(failures, lambda _low, high: high))

    async def _end(self, job: UpdateJob, refusal: UpdateRefusal) -> None:
        if await asyncio.to_thread(self._updates.end, job, refusal):
            await self.report()

    async def _work(self, job: UpdateJob) -> None:
        present = await self._present(job)
        if not self._updates.check(job, self._around.unit, present):
            await self._note(job, UpdateState.GOOD)
            return
        client = self._client()
        await self._note(job, UpdateState.DOWNLOADING)
        fetched = await self._fetch(client, job)
        if job.artefact is Artefact.EDGE:
            await asyncio.to_thread(self._updates.raise_floor, fetched.custom.floor)
            self._updates.check(job, self._around.unit, present)
        disturbs = job.artefact is not Artefact.CONFIGURATION_SCHEMA
        await self._note(job, UpdateState.READY)
        while not (self._is_wanted(job) and (self._around.is_free() or not disturbs)):
            await self._pause(LOOK_AGAIN_S)
        await self._note(job, UpdateState.INSTALLING)
        if job.artefact is Artefact.CONFIGURATION_SCHEMA:
            await self._keep_schema(fetched.target, job.number)
            await self._note(job, UpdateState.GOOD)
        elif job.artefact is Artefact.FIRMWARE:
            await self._controller.bring(fetched.target, job.number, lambda _done, _all: None)
            self._updates.know_firmware(job.number)
            await self._note(job, UpdateState.GOOD)
        else:
            await self._install(client, job, fetched)

    async def _present(self, job: UpdateJob) -> int:
        """The number of what is here of a job's artefact. Raises UpdateRefusal."""
        if job.artefact is Artefact.FIRMWARE:
            return (await self._controller.identity()).version
        if job.artefact is Artefact.CONFIGURATION_SCHEMA:
            return self._updates.schema_number
        return self._updates.release.number

    def _client(self) -> UpdateClient:
        """TUF's client with the root that came with the claim. Raises UpdateRefusal where there is none."""
        root = DurableFolder(self._around.keys).read(UPDATE_ROOT)
        if not root:
            raise UpdateRefusal(UpdateProblem.NO_ROOT)
        self._reader = LineReader(self._files, asyncio.get_running_loop())
        return UpdateClient(self._updates.folder, root, self._reader, now=self._updates.now)

    async def _fetch(self, client: UpdateClient, job: UpdateJob) -> Fetched:
        """Fetch and verify, telling the hub now and then how far it is."""

        def fetch() -> Fetched:
            client.refresh()
            return client.fetch(job, self._updates.note_progress)

        fetching = asyncio.create_task(asyncio.to_thread(fetch))
        told = 0
        try:
            while not fetching.done():
                await asyncio.wait({fetching}, timeout=REPORT_EVERY_S)
                done, whole = self._updates.progress
                if not fetching.done() and (tenth := done * REPORT_PARTS // max(whole, 1)) != told:
                    told = tenth
                    await self.report()
        finally:
            if not fetching.done() and self._reader is not None:
                self._reader.stop()
                await asyncio.wait({fetching})
                fetching.cancelled() or fetching.exception()  # nobody asks for it any more
        return fetching.result()

    async def _install(self, client: UpdateClient, job: UpdateJob, fetched: Fetched) -> None:
        """Into the other slot, then on trial between two people, on a line that it can be proved by."""
        slots = self._updates.slots
        assert slots is not None  # `check` has refused it otherwise
        fetched = await asyncio.to_thread(self._with_schema, fetched)
        firmware = await self._firmware_to_bring(fetched)
        self._installer = self._make_installer(slots, self._around.config)
        await asyncio.to_thread(self._installer.install, fetched)
        await asyncio.to_thread(_still_signed, client, job)
        await asyncio.to_thread(client.forget, fetched)
        while True:
            while not (self._around.is_free() and self._channel.connection is not None):
                await self._pause(LOOK_AGAIN_S)
            failing = tuple(await self._around.complaints())
            async with self._around.turn:
                if self._around.is_free():
                    number = fetched.firmware_number if firmware else 0
                    changes = {"failing": failing, "firmware": firmware, "firmware_number": number}
                    await self._note(job, UpdateState.TRIAL, **changes)
                    await asyncio.to_thread(slots.begin, job.job)
                    self._restarts = True
                    self._around.restart()
                    return

    async def _firmware_to_bring(self, fetched: Fetched) -> str:
        """The image that the controller needs from this release, in the updates' folder; empty where it needs none.

        A controller that does not answer now keeps no unit from new software. Raises UpdateRefusal without its key.
        """
        if fetched.firmware is None or self._controller.panel is None:
            return ""
        try:
            needed = await self._controller.needs(fetched.firmware_number)
        except UpdateRefusal as refusal:
            if refusal.problem is not UpdateProblem.CONTROLLER_MISSING:
                raise
            needed = False
        return str(fetched.firmware.relative_to(self._updates.folder)) if needed else ""

    def _with_schema(self, fetched: Fetched) -> Fetched:
        """The release with the schema of settings that goes into its slot. Raises UpdateRefusal for what is none."""
        kept = self._updates.slot_schema
        if fetched.schema is not None:
            content = read_kept(fetched.schema)
            read_schema(content)
            if fetched.schema_number > kept.number:
                kept = SlotSchema(number=fetched.schema_number, content=content)
        return replace(fetched, slot_schema=encode(kept)) if kept.number else fetched

    async def _keep_schema(self, path: Path, number: int) -> None:
        """This schema is in force from now on, whatever runs, where it is newer than the one that is."""
        content = await asyncio.to_thread(read_kept, path)
        read_schema(content)
        if number > self._updates.schema_number:
            await asyncio.to_thread(DurableFolder(self._around.keys).write, SCHEMA_FILE, content)
            await asyncio.to_thread(self._updates.keep_schema, number)

    def _is_wanted(self, job: UpdateJob) -> bool:
        """Whether the hub has told this job on the connection that there is: it has not been taken back unheard."""
        connection = self._channel.connection
        return connection is not None and self._told == (connection, job.job)

    async def _note(self, job: UpdateJob, state: UpdateState, **changes: object) -> None:
        """The job has come so far. Raises Stopped where it is not wanted any more."""
        if not await asyncio.to_thread(lambda: self._updates.note(job, state, **changes)):
            raise Stopped
        await self.report()


def _still_signed(client: UpdateClient, job: UpdateJob) -> None:
    """The last word before the switch: the release is still signed, by metadata that have not expired meanwhile."""
    client.refresh()
    _, custom = client.signed(job.target)
    if custom.number != job.number:
        raise UpdateRefusal(UpdateProblem.RELEASE_UNKNOWN, f"{job.target} is another one by now.")
