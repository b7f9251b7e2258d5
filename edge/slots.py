"""The two slots as the agent sees them: which one it runs from, what is in it, and how the other one takes its place.

Which slot starts is the launcher's rule (edge.launcher, which no update replaces); here is the agent's hand on it. An
agent that was not started by the launcher, from a developer's checkout or in the demo, has no slots.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Literal, cast

import structlog

from contract.errors import DeviceError
from edge.launcher import (
    COMMAND_NAME,
    FOLDER_NAME,
    GOOD_WITHIN_S,
    PATIENCE_NAME,
    RELEASE_FILE,
    SLOT_NAME,
    SLOTS,
    Boot,
    BootEvent,
    BootFile,
    Observer,
    advance,
    unobserved,
)

RELEASE_BYTES_MAX = 64 * 1024
Slot = Literal["a", "b"]
log = structlog.get_logger("slots")


@dataclass(frozen=True, slots=True)
class Release:
    """What a slot holds. number: 0 where nobody numbered it, as in a package that was not made from a release."""

    number: int = 0
    version: str = ""


class Slots:
    """The slots of one unit, seen from the one that runs. Raises DeviceError where the disk fails."""

    def __init__(
        self,
        folder: Path,
        own: Slot,
        command: tuple[str, ...],
        observe: Observer = unobserved,
        good_within_s: float = GOOD_WITHIN_S,
    ) -> None:
        """command: the launcher's, for starting again; good_within_s: when it ends a slot that is still on trial."""
        self.folder = folder
        self.good_within_s = good_within_s
        self.own = own
        self.command = command
        self._file = BootFile(folder, observe)

    @property
    def boot(self) -> Boot:
        """Which slot is good, and which is on trial."""
        return self._file.read()

    @property
    def is_on_trial(self) -> bool:
        """Whether the slot that runs has yet to be found good."""
        return self.boot.trial == self.own

    @property
    def is_left(self) -> bool:
        """Whether the slot that runs is neither good nor on trial any more."""
        boot = self.boot
        return self.own not in (boot.good, boot.trial)

    @property
    def other(self) -> Slot:
        """The slot that may be written."""
        return cast(Slot, SLOTS[1 - SLOTS.index(self.own)])

    def path(self, slot: str) -> Path:
        """A slot's folder."""
        return self.folder / slot

    def release(self, slot: str) -> Release | None:
        """What a slot holds; None where no release was written to it to the end."""
        return read_release(self.path(slot)) if self._file.is_whole(slot) else None

    def begin(self, job: str) -> None:
        """From the next start on the other slot is tried, for this job."""
        self._change(BootEvent.BEGIN, word=job)

    def found_good(self, *, may_come_back: bool = True) -> None:
        """The slot that runs is the good one now; may_come_back: to the one that was good before, if it goes wrong."""
        self._change(BootEvent.GOOD, *(() if may_come_back else (BootEvent.FORGET,)))

    def forget_way_back(self) -> None:
        """What the other slot holds must not run again, or is about to be overwritten."""
        if self.boot.way_back:
            self._change(BootEvent.FORGET)

    def told(self) -> None:
        """It was noted, for the hub, that the unit came back to this slot."""
        self._change(BootEvent.TOLD)

    def leave(self, why: str) -> None:
        """The slot on trial did not prove itself: from the next start on the good one runs."""
        self._change(BootEvent.LEAVE, word=why)

    def launch(self) -> None:
        """Become the launcher again, in this process; every file, device and thread is let go."""
        log.info("starts again", slot=self.boot.slot)
        os.execv(self.command[0], self.command)  # noqa: S606 - the command that started this very agent, no shell

    def _change(self, *events: BootEvent, word: str = "") -> None:
        """One write for all of them."""
        try:
            with self._file.changing() as before:
                self._file.write(reduce(lambda boot, event: advance(boot, event, word), events, before))
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"The slots cannot be changed: {error}.", next_step="Check the storage card and the folder's owner."
            ) from None
        log.info("slots", change=" ".join(event.name.lower() for event in events), word=word)


def slots_of(environ: Mapping[str, str], prefix: Path = Path(sys.prefix)) -> Slots | None:
    """The slots of an agent whom the launcher started; None for any other. prefix: of the interpreter that runs."""
    try:
        folder, own = Path(environ[FOLDER_NAME]), environ[SLOT_NAME]
        command = json.loads(environ[COMMAND_NAME])
        good_within_s = float(environ.get(PATIENCE_NAME, GOOD_WITHIN_S))
    except (KeyError, ValueError):
        return None
    is_command = isinstance(command, list) and command and all(isinstance(part, str) for part in command)
    if own not in SLOTS or not is_command or (folder / own).resolve() != prefix.resolve():
        return None
    return Slots(folder, cast(Slot, own), tuple(command), good_within_s=good_within_s)


def slots_here(prefix: Path = Path(sys.prefix)) -> Slots | None:
    """The slots that this interpreter belongs to, for looking at them; a command that nobody launched cannot launch."""
    if prefix.name not in SLOTS or not (prefix / RELEASE_FILE).is_file():
        return None
    return Slots(prefix.parent, cast(Slot, prefix.name), ())


def read_release(slot: Path) -> Release:
    """What the mark in a slot's folder says; nothing where it says nothing that can be read."""
    try:
        with (slot / RELEASE_FILE).open("rb") as file:
            found = json.loads(file.read(RELEASE_BYTES_MAX))
        return Release(int(found["number"]), str(found["version"])[:64])
    except (OSError, ValueError, KeyError, TypeError):
        return Release()


def release_mark(release: Release) -> bytes:
    """The mark of a slot that a release was written to, to the end."""
    return json.dumps(asdict(release)).encode() + b"\n"
