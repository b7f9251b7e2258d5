"""One unit as far as updates go: its slots, its record, its intake on a line to a hub that serves a repository."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from contract import topics
from contract.channel_mqtt import ConnectedHandler, Connection, Handler, MqttChannel
from contract.dispatch import decode, encode
from contract.durable_files import DurableFolder, Observer, unobserved
from contract.topics import Topic
from contract.updates import FileAsk, FilePart, UpdateJob, UpdateReport, UpdateState
from edge.controller_release import ControllerRelease
from edge.downlink import Downlink
from edge.launcher import RELEASE_FILE, SCHEMA_FILE, BootFile
from edge.slots import Release, Slots, release_mark, slots_of
from edge.update_client import Fetched
from edge.update_intake import Surroundings, UpdateIntake
from edge.update_record import UPDATES_FOLDER, Updates
from tests.commissioning.desk_world import SetClock
from tests.commissioning.stage import until
from tests.updates.repository import UNIT, Repository

WELL: Mapping[str, str] = {}


class HubLine:
    """The unit's channel with the hub at its end. said: every report, decoded."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.connection = Connection(None, 1)
        self.said: list[UpdateReport] = []
        self.silent = False
        self._handlers: dict[str, Handler] = {}
        self._greeters: list[ConnectedHandler] = []

    def on(self, topic: Topic, handler: Handler, **_names: str) -> None:
        self._handlers[topic.template] = handler

    def on_connected(self, handler: ConnectedHandler) -> None:
        self._greeters.append(handler)

    async def connect(self) -> None:
        for greet in self._greeters:
            await greet(self.connection)

    async def give(self, job: UpdateJob | None) -> None:
        """The retained job, or that it was taken back."""
        await self._handlers[topics.DN_UPDATE.template]({}, encode(job) if job is not None else b"")

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int = 0) -> bool:
        if topics.UP_UPDATE.parse(topic):
            assert retain
            self.said.append(decode(UpdateReport, payload))
        elif not self.silent:
            assert topics.UP_UPDATE_ASK.parse(topic) and expiry_s and not retain
            await self._serve(decode(FileAsk, payload))
        return True

    async def _serve(self, ask: FileAsk) -> None:
        span = self.repository.read(ask.role, ask.name, ask.offset, ask.length)
        part = FilePart(request=ask.request, absent=True)
        if span is not None:
            part = FilePart(request=ask.request, total=span.total, data=span.data)
        await self._handlers[topics.DN_UPDATE_PART.template]({}, encode(part))

    @property
    def states(self) -> list[UpdateState]:
        """What was said, each state once in a row."""
        found = [report.state for report in self.said if report.state is not None]
        return [state for number, state in enumerate(found) if number == 0 or state is not found[number - 1]]


class OpenedDownlink:
    """Opens what a test gives; whether the seal fits is the downlink's own test."""

    def opened(self, kind: type[UpdateJob], payload: bytes) -> UpdateJob:
        return decode(kind, payload)


class MarkingInstaller:
    """Puts the mark of a release into the other slot, as the true one does last of all."""

    def __init__(self, slots: Slots, _config: Path, observe: Observer = unobserved) -> None:
        self.slots = slots
        self._observe = observe

    def install(self, fetched: Fetched) -> None:
        folder = DurableFolder(self.slots.path(self.slots.other), self._observe)
        folder.remove(RELEASE_FILE)
        python = folder.path("bin") / "python"
        python.parent.mkdir(exist_ok=True)
        python.write_text("#!/bin/sh\n")
        python.chmod(0o755)
        if fetched.slot_schema:
            folder.write(SCHEMA_FILE, fetched.slot_schema)
        else:
            folder.remove(SCHEMA_FILE)
        folder.write(RELEASE_FILE, release_mark(Release(fetched.custom.number, fetched.custom.version)))

    def stop(self) -> None:
        return


class Unit:
    """A unit's disk; `life` is one start of its agent."""

    def __init__(self, folder: Path, repository: Repository, *, slots: bool = True) -> None:
        self.folder = folder
        self.repository = repository
        self.clock = SetClock()
        self.keys = folder / "keys"
        self.keys.mkdir(parents=True, exist_ok=True)
        (self.keys / "update-root.json").write_bytes(repository.root)
        self.slots_folder = folder / "slots" if slots else None
        if self.slots_folder is not None and not (self.slots_folder / "a").exists():
            python = self.slots_folder / "a" / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.write_text("#!/bin/sh\n")
            python.chmod(0o755)
            (self.slots_folder / "a" / RELEASE_FILE).write_bytes(release_mark(Release(1, "0.1.0")))

    def launch(self, observe: Observer = unobserved) -> Slots | None:
        """What the launcher does at a start; the slots as the agent that it starts sees them."""
        if self.slots_folder is None:
            return None
        boot = BootFile(self.slots_folder, observe).choose()
        assert boot is not None
        told = {"REKAM_SLOTS": str(self.slots_folder), "REKAM_SLOT": boot.slot, "REKAM_LAUNCHER": '["x"]'}
        found = slots_of(told, prefix=self.slots_folder / boot.slot)
        assert found is not None
        return Slots(found.folder, found.own, found.command, observe)

    def updates(self, observe: Observer = unobserved) -> Updates:
        """Its record, after the launcher started it."""
        return Updates(self.folder / UPDATES_FOLDER, self.launch(observe), self.clock, observe)

    @property
    def running(self) -> Release:
        """What would run now."""
        assert self.slots_folder is not None
        file = BootFile(self.slots_folder)
        found = Slots(self.slots_folder, "b" if file.read().slot == "b" else "a", ()).release(file.read().slot)
        assert found is not None
        return found


class Life:
    """One run of a unit's intake on its line."""

    def __init__(
        self,
        unit: Unit,
        updates: Updates,
        *,
        is_free: Callable[[], bool] = lambda: True,
        complaints: Mapping[str, str] = WELL,
        controller: ControllerRelease | None = None,
        installer: Callable[..., Any] = MarkingInstaller,
    ) -> None:
        self.updates = updates
        self.line = HubLine(unit.repository)
        self.restarted = asyncio.Event()
        self.pauses: list[float] = []

        async def complain() -> Mapping[str, str]:
            return complaints

        around = Surroundings(
            UNIT, unit.keys, unit.keys / "unit.toml", is_free, complain, self.restarted.set, asyncio.Lock()
        )
        self.intake = UpdateIntake(
            cast(MqttChannel, self.line), cast(Downlink, OpenedDownlink()), updates, around,
            controller or ControllerRelease(None, unit.keys), pause=self._pause, installer=installer,
        )  # fmt: skip

    async def until(self, condition: Callable[[], bool], job: UpdateJob | None = None) -> None:
        """Connect, hear a job if there is one, and run until the condition holds."""
        running = asyncio.create_task(self.intake.run())
        try:
            await self.line.connect()
            if job is not None:
                await self.line.give(job)
            await until(condition)
        finally:
            self.intake.stop()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def until_settled(self, job: UpdateJob | None = None) -> None:
        """Until the job has ended, or its trial begins."""
        await self.until(self._is_settled, job)

    def _is_settled(self) -> bool:
        state = self.updates.record.state
        said = bool(self.line.said) and self.line.said[-1].state is state
        return self.restarted.is_set() or (state is not None and state.is_end and said)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)
