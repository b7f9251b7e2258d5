"""Starts the unit's agent from one of two slots, and comes back from a new one that does not prove itself.

    /usr/bin/python3 launcher.py SLOTS [--starts N] [--good-within-s S] -- run --config /etc/rekam/unit.toml

SLOTS holds `a/` and `b/`, each a virtual environment, and `boot.json`, which says which one is good and which one, if
any, is on trial: like tryboot on a Raspberry Pi, a trial needs to be found good or it is left again. It is left by
itself after N starts that ended before that, and where it has not been found good S seconds after a start: a watcher
stands beside it for that time, so that one which hangs comes back too. Then the launcher replaces itself with
the slot's agent, so that a service's main process is the agent.

This one file is all of it: the system's Python runs it without any package, and no update replaces it. The rules are
`advance`, which does no I/O; a power cut at any write leaves the state of before or after.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path

SLOTS = ("a", "b")
BOOT_FILE, LOCK_FILE, RELEASE_FILE = "boot.json", "boot.lock", "release.json"
BOOT_BYTES_MAX = 4096
WHY_CHARACTERS_MAX = 1000
STARTS_MAX, GOOD_WITHIN_S = 3, 600.0
NO_SLOT, NO_START = 78, 75  # EX_CONFIG: the service starts it no more; EX_TEMPFAIL: it tries again
# What the agent is told by its environment.
FOLDER_NAME, SLOT_NAME, COMMAND_NAME = "REKAM_SLOTS", "REKAM_SLOT", "REKAM_LAUNCHER"
PATIENCE_NAME = "REKAM_GOOD_WITHIN_S"
Observer = Callable[[str, bool], None]


class BootEvent(Enum):
    """What happens to the slots."""

    BEGIN = "the other slot goes on trial"
    START = "the agent is started"
    GOOD = "the slot on trial was found good"
    LEAVE = "the slot on trial is given up"


@dataclass(frozen=True)
class Boot:
    """Which slot is good, which is on trial and how often it was started, which was left last and why.

    job: of the last trial, whatever became of it.
    """

    good: str = "a"
    trial: str = ""
    starts: int = 0
    left: str = ""
    why: str = ""
    job: str = ""

    @property
    def slot(self) -> str:
        """The one that runs."""
        return self.trial or self.good

    @property
    def other(self) -> str:
        """The one that is not good, so that it may be written."""
        return SLOTS[1 - SLOTS.index(self.good)]


def advance(boot: Boot, event: BootEvent, word: str = "", starts_max: int = STARTS_MAX) -> Boot:
    """What follows. word: the job that begins, or why a trial is left.

    Raises ValueError for what cannot happen then: good and trial are never one slot.
    """
    if event is BootEvent.BEGIN and not boot.trial:
        return Boot(good=boot.good, trial=boot.other, job=word)
    if event is BootEvent.START:
        if boot.trial and boot.starts >= starts_max:
            return advance(boot, BootEvent.LEAVE, f"It ended {boot.starts} times before it was found good.")
        return replace(boot, starts=boot.starts + 1) if boot.trial else boot
    if event is BootEvent.GOOD and boot.trial:
        return Boot(good=boot.trial, job=boot.job)
    if event is BootEvent.LEAVE and boot.trial:
        return Boot(good=boot.good, left=boot.trial, why=word[:WHY_CHARACTERS_MAX], job=boot.job)
    raise ValueError(f"'{event.value}' cannot happen while '{boot.trial or 'no slot'}' is on trial")


def unobserved(_name: str, _done: bool) -> None:
    """Nobody watches the writes."""


class BootFile:
    """boot.json of one folder. observe: told before and after each write, so that a test can cut the power there."""

    def __init__(self, folder: Path, observe: Observer = unobserved) -> None:
        self.folder = folder
        self._observe = observe

    def read(self) -> Boot:
        """What it says. Where it is missing or spoiled, the first slot that a release was fully written to is good."""
        try:
            with (self.folder / BOOT_FILE).open("rb") as file:
                found = json.loads(file.read(BOOT_BYTES_MAX + 1))
            boot = Boot(**{field.name: found[field.name] for field in fields(Boot)})
        except (OSError, ValueError, KeyError, TypeError):
            return self._first_whole()
        texts = all(isinstance(text, str) for text in (boot.left, boot.why, boot.job))
        known = boot.good in SLOTS and boot.trial in ("", *SLOTS) and boot.trial != boot.good
        return boot if known and texts and isinstance(boot.starts, int) else self._first_whole()

    def _first_whole(self) -> Boot:
        return Boot(good=next((slot for slot in SLOTS if self.is_whole(slot)), SLOTS[0]))

    @contextmanager
    def changing(self) -> Iterator[Boot]:
        """What it says, while nobody else changes it."""
        with (self.folder / LOCK_FILE).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.read()

    def write(self, boot: Boot) -> None:
        """Write it whole and durable, or not at all. Raises OSError."""
        self._observe(BOOT_FILE, False)
        draft = self.folder / f".{BOOT_FILE}.draft"
        with draft.open("wb") as file:
            file.write(json.dumps({"format": 1, **asdict(boot)}).encode())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.folder / BOOT_FILE)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._observe(BOOT_FILE, True)

    def python(self, slot: str) -> Path:
        """The slot's interpreter."""
        return self.folder / slot / "bin" / "python"

    def is_whole(self, slot: str) -> bool:
        """Whether a release was written to this slot to the end: its mark is written last."""
        return (self.folder / slot / RELEASE_FILE).is_file() and os.access(self.python(slot), os.X_OK)

    def choose(self, starts_max: int = STARTS_MAX) -> Boot | None:
        """Count this start, and say what to run; None where neither slot can be run.

        Where the count cannot be written, on a full or dying disk, no trial is started: the good slot serves people.
        """
        try:
            return self._counted(starts_max)
        except OSError:
            good = replace(self.read(), trial="", starts=0)
            return good if self.is_whole(good.good) else None

    def _counted(self, starts_max: int) -> Boot | None:
        with self.changing() as before:
            after = advance(before, BootEvent.START, starts_max=starts_max)
            if after.trial and not self.is_whole(after.trial):
                after = advance(after, BootEvent.LEAVE, "Its files are not whole.")
            if not self.is_whole(after.slot):
                # The good one is damaged: better the other one than none.
                if not self.is_whole(after.other):
                    return None
                after = Boot(good=after.other, left=after.good, why="Its files are not whole.")
            if after != before:
                self.write(after)
        return after


def watch(boot_file: BootFile, boot: Boot, agent: int, good_within_s: float) -> None:
    """Wait until the agent (a pidfd) ends or its time is over; then leave a slot that is still on trial, and end it."""
    poll = select.poll()
    poll.register(agent, select.POLLIN)
    if poll.poll(good_within_s * 1000):
        return
    with boot_file.changing() as now:
        if now != boot:  # found good, or left; maybe another trial has begun in the same process since
            return
        boot_file.write(advance(now, BootEvent.LEAVE, f"It was not found good within {good_within_s:.0f} s."))
    signal.pidfd_send_signal(agent, signal.SIGKILL)


def stand_beside(boot_file: BootFile, boot: Boot, good_within_s: float) -> None:
    """Leave a watcher behind that outlives what this process turns into, as nobody's child."""
    agent = os.pidfd_open(os.getpid())
    child = os.fork()
    if child:
        os.close(agent)
        os.waitpid(child, 0)
        return
    status = 1
    try:
        if os.fork() == 0:
            watch(boot_file, boot, agent, good_within_s)
        status = 0
    finally:
        os._exit(status)


def environment(
    boot_file: BootFile, slot: str, command: Sequence[str], good_within_s: float, own: Mapping[str, str]
) -> dict[str, str]:
    """What the agent is told: its slot, how long it may be on trial, and how to be launched again.

    Nothing may put other code before the slot's.
    """
    kept = {name: value for name, value in own.items() if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"}
    kept |= {FOLDER_NAME: str(boot_file.folder), SLOT_NAME: slot, COMMAND_NAME: json.dumps(list(command))}
    return kept | {PATIENCE_NAME: f"{good_within_s:g}", "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Choose, and become the agent; returns only where there is nothing to run."""
    parser = argparse.ArgumentParser(prog="launcher.py", description="Start the agent from one of two slots.")
    parser.add_argument("slots", type=Path, help="folder with a/, b/ and boot.json")
    parser.add_argument("--starts", type=int, default=STARTS_MAX, help="of a slot on trial before it is left")
    parser.add_argument("--good-within-s", type=float, default=GOOD_WITHIN_S, help="before a trial is ended")
    parser.add_argument("agent", nargs="+", help="what the agent is called with, behind --")
    options = parser.parse_args(arguments)
    boot_file = BootFile(options.slots.resolve())
    try:
        boot = boot_file.choose(options.starts)
        if boot is not None:
            command = [sys.executable, str(Path(__file__).resolve()), *(arguments or sys.argv[1:])]
            if boot.trial:
                stand_beside(boot_file, boot, options.good_within_s)
            python = str(boot_file.python(boot.slot))
            told = environment(boot_file, boot.slot, command, options.good_within_s, os.environ)
            os.execve(python, [python, "-m", "edge", *options.agent], told)  # noqa: S606 - no shell
        status, problem = NO_SLOT, "neither slot holds a whole release"
    except OSError as error:
        status, problem = NO_START, f"{error.filename or options.slots}: {error.strerror}"
    sys.stderr.write(f"The agent cannot be started: {problem}. Install the Debian package again.\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
