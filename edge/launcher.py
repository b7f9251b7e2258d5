"""Starts the unit's agent from one of two slots, and comes back from a new one that does not prove itself.

    /usr/bin/python3 launcher.py SLOTS [--starts N] [--good-within-s S] -- run --config /etc/rekam/unit.toml
    /usr/bin/python3 launcher.py SLOTS --ended

SLOTS holds `a/` and `b/`, each a virtual environment, and `boot.json`, which says which one is good and which one, if
any, is on trial: like tryboot on a Raspberry Pi, a trial needs to be found good or it is left again. It is left by
itself after N starts that ended before that, and where it has not been found good S seconds after a start: a watcher
stands beside it for that time, so that one which hangs comes back too. Then the launcher replaces itself with
the slot's agent, so that a service's main process is the agent.

One that was found good may still go wrong later. `--ended` is the service's word that the agent has ended, and how
(SERVICE_RESULT, see systemd.exec(5)): bad ends soon after a start are counted, and after enough in a row the slot that
was good before takes over, once, where the release in it says itself that it can read what is there now. A power cut
is no word of the service's, so it counts for nothing; nor does an agent that ended by saying what has to be put right.

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
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path

SLOTS = ("a", "b")
BOOT_FILE, LOCK_FILE, LIFE_FILE, RELEASE_FILE = "boot.json", "boot.lock", "life.json", "release.json"
SCHEMA_FILE = "settings-schema.bin"  # in a slot: see edge.slot_schema
BOOT_BYTES_MAX = 16 * 1024
WHY_CHARACTERS_MAX, SAID_CHARACTERS_MAX = 1000, 400
STARTS_MAX, GOOD_WITHIN_S = 3, 600.0
# What the service gives a start to be ready, and a minute: so one that hangs while it starts ends within it as well.
BAD_ENDS_MAX, SHORT_LIFE_S = 5, 360.0
BAD_RESULTS = frozenset({"exit-code", "signal", "core-dump", "watchdog", "timeout", "oom-kill"})
CHECK_TIMEOUT_S = 180.0
PUT_RIGHT = 2  # the agent's status where it has said what somebody has to put right: no other release would help
NO_SLOT, NO_START = 78, 75  # EX_CONFIG: the service starts it no more; EX_TEMPFAIL: it tries again
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
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
    FORGET = "what was good before is no way back any more"
    ENDED_BADLY = "the good slot ended badly, soon after its start"
    LIVED = "the good slot ran for long enough"
    BACK = "the slot that was good before takes the good one's place"
    STAY = "it cannot take its place"
    TOLD = "somebody was told that it came back"


@dataclass(frozen=True)
class Boot:
    """Which slot is good, which is on trial and how often it was started, which was left last and why.

    job: of the last trial, whatever became of it; way_back: the other slot still holds what was good before; bad_ends:
    of the good slot, in a row; ending: how it ended last; stays: why there was no way back; came_back: `left` was good.
    """

    good: str = "a"
    trial: str = ""
    starts: int = 0
    left: str = ""
    why: str = ""
    job: str = ""
    way_back: bool = False
    bad_ends: int = 0
    ending: str = ""
    stays: str = ""
    came_back: bool = False

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
        return Boot(good=boot.trial, job=boot.job, way_back=True)
    if event is BootEvent.LEAVE and boot.trial:
        return Boot(good=boot.good, left=boot.trial, why=word[:WHY_CHARACTERS_MAX], job=boot.job)
    if event in _OF_THE_GOOD and not boot.trial:
        return _advance_good(boot, event, word[:WHY_CHARACTERS_MAX])
    raise ValueError(f"'{event.value}' cannot happen while '{boot.trial or 'no slot'}' is on trial")


_OF_THE_GOOD = frozenset({
    BootEvent.FORGET, BootEvent.ENDED_BADLY, BootEvent.LIVED, BootEvent.BACK, BootEvent.STAY, BootEvent.TOLD
})  # fmt: skip


def _advance_good(boot: Boot, event: BootEvent, word: str) -> Boot:
    """What follows for a slot that was found good. Without a way back nothing is counted: there is nowhere to go."""
    if event is BootEvent.TOLD:
        return replace(boot, came_back=False)
    if event is BootEvent.FORGET:
        return replace(boot, way_back=False, bad_ends=0, ending="", stays="")
    if event is BootEvent.LIVED:
        return replace(boot, bad_ends=0, ending="", stays="")
    if event is BootEvent.ENDED_BADLY and not boot.way_back:
        return boot
    if not boot.way_back:
        raise ValueError(f"'{event.value}' cannot happen without a way back")
    if event is BootEvent.ENDED_BADLY:
        return replace(boot, bad_ends=min(boot.bad_ends + 1, BAD_ENDS_MAX), ending=word)
    if event is BootEvent.STAY:
        return replace(boot, bad_ends=0, ending="", stays=f"{_crashes(boot)} {word}"[:WHY_CHARACTERS_MAX])
    return Boot(good=boot.other, left=boot.good, why=_crashes(boot), job=boot.job, came_back=True)


def _crashes(boot: Boot) -> str:
    return f"It ended {boot.bad_ends} times in a row within {SHORT_LIFE_S:.0f} s of its start, at last: {boot.ending}."


def unobserved(_name: str, _done: bool) -> None:
    """Nobody watches the writes."""


# What every boot.json holds, and what one that an earlier release has written lacks.
_EVER = ("good", "trial", "starts", "left", "why", "job")
_LATER = tuple(field.name for field in fields(Boot) if field.name not in _EVER)


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
            boot = Boot(**{name: found[name] for name in (*_EVER, *(name for name in _LATER if name in found))})
        except (OSError, ValueError, KeyError, TypeError):
            return self._first_whole()
        kinds = all(type(getattr(boot, field.name)) is type(field.default) for field in fields(Boot))
        known = boot.good in SLOTS and boot.trial in ("", *SLOTS) and boot.trial != boot.good
        return boot if known and kinds else self._first_whole()

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

    def choose(self, starts_max: int = STARTS_MAX, agent: Sequence[str] = ()) -> Boot | None:
        """Count this start, and say what to run; None where neither slot can be run. agent: what it is called with.

        Where the count cannot be written, on a full or dying disk, no trial is started: the good slot serves people.
        """
        try:
            return self._counted(starts_max, agent)
        except OSError:
            good = replace(self.read(), trial="", starts=0)
            return good if self.is_whole(good.good) else None

    def _counted(self, starts_max: int, agent: Sequence[str]) -> Boot | None:
        with self.changing() as before:
            after = advance(before, BootEvent.START, starts_max=starts_max)
            if after.way_back and not after.trial and after.bad_ends >= BAD_ENDS_MAX:
                objection = self.objection(after.other, agent)
                after = advance(after, BootEvent.STAY if objection else BootEvent.BACK, objection)
                sys.stderr.write(f"{after.stays or f'Back to slot {after.good}: {after.why}'}\n")
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

    def objection(self, slot: str, agent: Sequence[str]) -> str:
        """Why what a slot holds cannot serve this unit as it is by now; empty where it says that it can.

        The release that would run is asked itself (edge.slot_check): whether it reads the settings of today, and data
        that a newer one has written.
        """
        if not self.is_whole(slot):
            return f"Slot {slot} is no way back: its files are not whole."
        config = agent[agent.index("--config") :][:2] if "--config" in agent else ()
        try:
            mark = json.loads((self.folder / slot / RELEASE_FILE).read_bytes())
            asked = [str(self.python(slot)), "-m", "edge.slot_check", str(mark["version"]), *config, "--cold"]
            told = environment(self, slot, (), 0, os.environ)
            ran = subprocess.run(asked, env=told, capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False)
        except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as error:
            return f"Slot {slot} is no way back: it cannot be asked ({type(error).__name__})."
        last = (ran.stderr.strip().splitlines() or [f"it ended with {ran.returncode}"])[-1][:SAID_CHARACTERS_MAX]
        return f"Slot {slot} is no way back: {last}" if ran.returncode else ""

    def begin_life(self) -> None:
        """Note when the agent starts. Not made durable: a life that ends with the power is not judged."""
        draft = self.folder / f".{LIFE_FILE}.draft"
        try:
            draft.write_text(json.dumps([BOOT_ID.read_text(encoding="ascii"), time.monotonic()]), encoding="utf-8")
            draft.replace(self.folder / LIFE_FILE)
        except OSError:
            pass  # on a full disk: nothing is known of this life, so it counts for nothing

    def end_life(self, told: Mapping[str, str]) -> None:
        """The agent has ended, as the service has `told`: a bad end soon after the start counts, a long life clears.

        Whoever was stopped in order before that leaves the count as it is. Raises OSError.
        """
        life_s, ending = self._life_s(), bad_ending(told)
        if life_s is None or (life_s < SHORT_LIFE_S and not ending):
            return
        with self.changing() as before:
            if before.trial:
                return  # its starts are counted
            after = advance(before, BootEvent.ENDED_BADLY if life_s < SHORT_LIFE_S else BootEvent.LIVED, ending)
            if after != before:
                self.write(after)

    def _life_s(self) -> float | None:
        """How long the agent ran; None where that is not known. A life is judged once."""
        path = self.folder / LIFE_FILE
        try:
            machine, since_s = json.loads(path.read_bytes())
            path.unlink()
            is_this_boot = machine == BOOT_ID.read_text(encoding="ascii")
            return time.monotonic() - float(since_s) if is_this_boot else None
        except (OSError, ValueError, TypeError):
            return None


def bad_ending(told: Mapping[str, str]) -> str:
    """How the service's main process ended, where that was its own fault: `signal SEGV`. Empty where it was not."""
    result, status = told.get("SERVICE_RESULT", ""), told.get("EXIT_STATUS", "")
    excused = result == "exit-code" and status in {str(PUT_RIGHT), str(NO_SLOT), str(NO_START)}
    return f"{result} {status[:20]}".strip() if result in BAD_RESULTS and not excused else ""


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
    parser.add_argument("agent", nargs="+", help="what the agent is called with, behind --; or --ended alone")
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[1:] == ["--ended"]:
        return hear_end(Path(words[0]))
    options = parser.parse_args(words)
    boot_file = BootFile(options.slots.resolve())
    try:
        boot = boot_file.choose(options.starts, options.agent)
        if boot is not None:
            boot_file.begin_life()
            command = [sys.executable, str(Path(__file__).resolve()), *words]
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


def hear_end(slots: Path) -> int:
    """The service's word that the agent has ended: judge its life."""
    try:
        BootFile(slots.resolve()).end_life(os.environ)
    except OSError as error:
        sys.stderr.write(f"How the agent ended is not counted: {error.strerror}.\n")
        return NO_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
