"""The controller tied to the unit's work: its ring and lamps follow the step, its events reach diary and hub once.

An event is durable here, together with its number, before the controller is told to forget it; the same number again
is a repeat. A unit whose controller is away serves people all the same; the status page and the selftest say so.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from contract.errors import DeviceError, RekamError
from edge.alarms import AlarmBook
from edge.enclosure import WorkView
from edge.panel import Panel
from edge.panel_words import ALARMS, PanelEvent, PanelState
from edge.sealed_store import Change, SealedStore
from firmware import dictionary

KIND = "controller"
SOURCE = "controller"
JOURNAL_TIMEOUT_S = 5.0
COUNTERS_PERIOD_S = 10.0
LOOK_S = 0.5
DARK_AFTER = frozenset({"started", "link-lost"})  # what was shown is gone
GREEN, BLUE, WHITE, RED = (0, 60, 10), (0, 30, 90), (60, 60, 60), (90, 0, 0)

log = structlog.get_logger("edge.panel")


@dataclass(frozen=True, slots=True)
class Show:
    """What ring and lamps show. lamps: red, amber, green as LAMP_*; tune: BUZZ_* that is played on arrival."""

    ring: int
    colour: tuple[int, int, int]
    lamps: tuple[int, int, int]
    tune: int = dictionary.BUZZ_OFF


def show_of(work: WorkView | None, *, presence: bool = False) -> Show:
    """Green: free, and breathing while somebody stands there. Blue, turning: the unit works. White, breathing: it is
    the person's turn. Red: it needs help.
    """
    on, off = dictionary.LAMP_ON, dictionary.LAMP_OFF
    if work is None:
        return Show(dictionary.RING_BREATHE if presence else dictionary.RING_STEADY, GREEN, (off, off, on))
    if work.ended:
        return Show(dictionary.RING_STEADY, GREEN, (off, off, on), dictionary.BUZZ_OK)
    if work.problem:
        return Show(dictionary.RING_STEADY, RED, (on, off, off), dictionary.BUZZ_RETRY)
    if work.busy:
        return Show(dictionary.RING_TURN, BLUE, (off, on, off))
    return Show(dictionary.RING_BREATHE, WHITE, (off, off, on))


def make_panel(devices: Mapping[str, Mapping[str, Any]], store: SealedStore, alarms: AlarmBook) -> PanelWatch | None:
    """The controller of a unit that has one. Raises DeviceError."""
    table = devices.get("controller")
    return None if table is None else PanelWatch(table, store, alarms)


class PanelWatch:
    """Made and used on the event loop. note: writes a line into the diary. panel: also the light of an iris camera."""

    def __init__(self, table: Mapping[str, Any], store: SealedStore, alarms: AlarmBook) -> None:
        """table: [devices.controller]. Raises DeviceError for one that names no port."""
        settings = {key: value for key, value in table.items() if key != "driver"}
        if unknown := sorted(set(settings) - {"port", "baud"}) or ("port" not in settings):
            raise DeviceError(
                f"The table devices.controller is wrong ({unknown if unknown is not True else 'no port'}).",
                next_step='Give it driver = "panel", port = "/dev/…", and baud where it is not 115200.',
            )
        self._store, self._alarms = store, alarms
        self.note: Callable[[str], None] = lambda _step: None
        self._loop = asyncio.get_running_loop()
        self._work: WorkView | None = None
        self._presence = False
        self._wanted = show_of(None)
        self._changed = asyncio.Event()
        self._changed.set()
        self._board_counters: dict[str, int] = {}
        self.panel = Panel(
            str(settings["port"]),
            baud=int(settings.get("baud", 115200)),
            journal=self._journal,
            signal=lambda signal, value: self._on_loop(lambda: self._take_signal(signal, value)),
            restarted=lambda: self._on_loop(self._changed.set),
        )

    def open(self) -> None:
        """Start talking; the controller may come later."""
        self.panel.start()

    async def close(self) -> None:
        """End the panel's thread, off the loop that it may be waiting for."""
        await asyncio.to_thread(self.panel.close)

    def show(self, work: WorkView | None) -> None:
        """Let ring and lamps show the work as it stands."""
        self._work = work
        wanted = show_of(work, presence=self._presence)
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    def status(self) -> dict[str, Any]:
        """For the status page; callable from any thread."""
        found = self.panel.status()
        snapshot = found.snapshot
        return {
            "configured": True,
            "state": found.state.value,
            "problem": found.problem,
            "firmware": found.firmware,
            "restarts": found.restarts,
            "tamper_open": snapshot.tamper_open if snapshot else None,
            "door_open": snapshot.door_open if snapshot else None,
            "snapshot": asdict(snapshot) if snapshot else None,
            "counters": found.counters,
            "board_counters": self._board_counters,
        }

    async def run(self) -> None:
        """Show what is wanted, and ask for the board's own counters now and then, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._count())

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            if self.panel.status().state is not PanelState.READY:
                await asyncio.sleep(LOOK_S)
                continue
            self._changed.clear()
            wanted = self._wanted
            try:
                await asyncio.to_thread(self._send, wanted)
            except RekamError as error:
                log.debug("controller not shown", **error.diagnostics())
                await asyncio.sleep(LOOK_S)
                self._changed.set()

    def _send(self, wanted: Show) -> None:
        panel = self.panel
        panel.command(dictionary.DO_RING, bytes((wanted.ring, *wanted.colour)))
        for lamp, mode in enumerate(wanted.lamps):
            panel.command(dictionary.DO_LAMP, bytes((lamp, mode)))
        if wanted.tune:
            panel.command(dictionary.DO_BUZZ, bytes((wanted.tune,)))

    async def _count(self) -> None:
        while True:
            if self.panel.status().state is PanelState.READY:
                try:
                    self._board_counters = await asyncio.to_thread(self.panel.board_counters)
                except RekamError as error:
                    log.debug("controller not counted", **error.diagnostics())
            await asyncio.sleep(COUNTERS_PERIOD_S)

    def _take_signal(self, signal: int, value: int) -> None:
        if signal == dictionary.PRESENCE:
            self._presence = bool(value)
            self.show(self._work)

    def _on_loop(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop has ended: so has the agent
            return

    def _journal(self, event: PanelEvent) -> bool:
        """On the panel's thread: keep the event on the loop; whether it was new. Raises DeviceError."""
        work = self.keep(event)
        try:
            kept = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise DeviceError("The agent is ending.", next_step="The controller keeps the event.") from None
        try:
            return kept.result(JOURNAL_TIMEOUT_S)
        except (TimeoutError, CancelledError):
            kept.cancel()
            raise DeviceError("The event was not kept in time.", next_step="The controller keeps it.") from None

    async def keep(self, event: PanelEvent) -> bool:
        """Make the event durable with its number; whether it was new. Raises DeviceError."""
        name = f"{event.log_id:08x}"
        last = await asyncio.to_thread(self._store.get, KIND, name)
        if last is not None and struct.unpack("<I", last)[0] >= event.number:
            return False
        mark = Change(KIND, name, struct.pack("<I", event.number))
        if event.name in ALARMS:
            detail = f"{event.detail}" if event.detail else ""
            if event.age_s is None:
                detail = f"{detail} before the controller's last start".strip()
            age_ms = (event.age_s or 0) * 1000
            await self._alarms.note(event.name, SOURCE, detail, age_ms=age_ms, with_it=(mark,))
        else:
            await asyncio.to_thread(self._store.change, (mark,))
        self.note(event.name)
        if event.name in DARK_AFTER:
            self._changed.set()
        return True
