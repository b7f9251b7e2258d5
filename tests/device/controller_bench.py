"""What the controller's tests share: a built image, a board twin, the unit's panel on it, waiting with a bound."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from contract.errors import TransientError
from edge.panel import MOVE_TIMEOUT_S, Panel
from edge.panel_words import PanelEvent, PanelSnapshot, PanelState
from firmware import dictionary as words
from provisioning.firmware_image import Image, build_image
from virtual.controller_twin import ControllerTwin

KEY = bytes(range(32))
WAIT_S = 20.0
MOVES_MAX = 5


@cache
def built(version: int | None = None) -> Image:
    """The firmware, compiled once in a process."""
    with tempfile.TemporaryDirectory() as folder:
        return build_image(Path(folder), version)


def until(condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    """Wait for a condition; the test fails with `what` where it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def move(panel: Panel, axis: int, command: int, arguments: bytes = b"") -> None:
    """A move to its end; one that the board stopped, because this machine was too busy for the link, is made again."""
    for tries_left in reversed(range(MOVES_MAX)):
        try:
            panel.command(command, arguments, MOVE_TIMEOUT_S)
        except TransientError:
            if not tries_left:
                raise
            with suppress(TransientError):
                panel.command(words.DO_HOME, bytes([axis]), MOVE_TIMEOUT_S)
        else:
            return


class Journal:
    """What the unit keeps of the controller's events, in memory; repeats are known by log and number."""

    def __init__(self) -> None:
        self.events: list[PanelEvent] = []
        self.repeats = 0

    def __call__(self, event: PanelEvent) -> bool:
        fresh = all((event.log_id, event.number) != (kept.log_id, kept.number) for kept in self.events)
        if fresh:
            self.events.append(event)
        self.repeats += not fresh
        return fresh

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


@contextmanager
def board(folder: Path, name: str = "board_rp2", key: bytes = KEY) -> Iterator[ControllerTwin]:
    """A powered board behind folder/port, its flash in folder/flash."""
    folder.mkdir(exist_ok=True)
    twin = ControllerTwin(built(), folder / "flash", folder / "port", board=name, key=key)
    try:
        yield twin
    finally:
        twin.close()


def seen(panel: Panel) -> PanelSnapshot:
    """The controller's latest picture of itself."""
    snapshot = panel.status().snapshot
    assert snapshot is not None
    return snapshot


@contextmanager
def panel_on(port: str, journal: Journal | None = None, **more: object) -> Iterator[Panel]:
    """The unit's panel, talking."""
    panel = Panel(port, journal=journal or Journal(), **more)  # type: ignore[arg-type]
    panel.start()
    try:
        until(lambda: panel.status().state is PanelState.READY, "the controller's greeting")
        until(lambda: panel.status().snapshot is not None, "the controller's picture of itself")
        yield panel
    finally:
        panel.close()
