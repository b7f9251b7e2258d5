"""A release into the slot that does not run: a virtual environment of its own from verified wheels, checked, durable.

The slot's mark is taken away first and written last, when everything else is on the disk, so that the launcher never
starts half of one; whatever was cut is begun anew. Each step is a process of its own at low priority: the unit serves
people meanwhile. Nothing is fetched here: pip gets files, and the hash of each.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from contract.durable_files import DurableFolder, Observer, unobserved
from contract.errors import DeviceError
from contract.update_problems import UpdateProblem, UpdateRefusal
from edge.launcher import RELEASE_FILE, SCHEMA_FILE
from edge.slots import Release, Slots, release_mark
from edge.update_client import Fetched

LOCK_FILE = "install.lock"
FIT = Path(__file__).with_name("slot_fit.py")  # edge.slot_fit, as a file: it runs before the slot is known to hold one
STEP_TIMEOUT_S = 1800.0  # of a Raspberry Pi with a slow card, compiling
POLL_S = 0.1
SAID_CHARACTERS_MAX = 700
NICE = ("nice", "-n", "15")
Run = Callable[[Sequence[str], str], None]
log = structlog.get_logger("updates")


class Installer:
    """Fills the slot that does not run. Blocks; `stop` ends it. observe: told before and after each step."""

    def __init__(self, slots: Slots, config: Path, observe: Observer = unobserved) -> None:
        """config: the unit.toml that the new release must be able to read."""
        self._slots = slots
        self._config = config
        self._observe = observe
        self._stopping = threading.Event()
        self._lock = -1

    def stop(self) -> None:
        """End what runs; the slot stays without its mark."""
        self._stopping.set()

    def install(self, fetched: Fetched) -> None:
        """Raises UpdateRefusal (INSTALL_FAILED) that says which step failed and why."""
        try:
            with self._alone():
                self._fill(fetched)
        except OSError as error:
            raise UpdateRefusal(UpdateProblem.INSTALL_FAILED, f"({error.strerror})") from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock that each step's process holds too: who was killed may have left one that still writes.

        Raises DeviceError where it is not to be had in time.
        """
        with (self._slots.folder / LOCK_FILE).open("a") as lock:
            deadline_s = time.monotonic() + STEP_TIMEOUT_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._stopping.wait(POLL_S) or time.monotonic() > deadline_s:
                        raise DeviceError(
                            "An earlier installation still runs.", next_step="It is tried again; or restart the unit."
                        ) from None
            self._lock = lock.fileno()
            yield

    def _fill(self, fetched: Fetched) -> None:
        slot = self._slots.path(self._slots.other)
        python = str(slot / "bin" / "python")
        self._step("clear", lambda: self._clear(slot))
        self._step("environment", lambda: self._run([sys.executable, "-m", "venv", *_options(), str(slot)]))
        self._step("packages", lambda: self._install_wheels(python, slot, fetched))
        check = [python, "-m", "edge.slot_check", fetched.custom.version, "--config", str(self._config)]
        self._step("check", lambda: self._run(check))
        if fetched.slot_schema:
            self._step("schema", lambda: DurableFolder(slot).write(SCHEMA_FILE, fetched.slot_schema))
        self._step("sync", os.sync)
        release = Release(fetched.custom.number, fetched.custom.version)
        self._step("mark", lambda: DurableFolder(slot).write(RELEASE_FILE, release_mark(release)))

    def _step(self, name: str, work: Callable[[], None]) -> None:
        if self._stopping.is_set():
            raise DeviceError("The installation was stopped.", next_step="It is begun anew at the next start.")
        self._observe(name, False)
        started_s = time.monotonic()
        work()
        log.info("slot", step=name, slot=self._slots.other, seconds=round(time.monotonic() - started_s, 1))
        self._observe(name, True)

    def _clear(self, slot: Path) -> None:
        self._slots.forget_way_back()
        if slot.exists():
            DurableFolder(slot).remove(RELEASE_FILE)
            shutil.rmtree(slot)

    def _install_wheels(self, python: str, slot: Path, fetched: Fetched) -> None:
        """Exactly these wheels, each by its hash, where they fit each other.

        What the system's packages bring is not looked at: it neither takes a wheel's place nor counts against it.
        """
        listed = slot / "wheels.txt"
        lines = (
            f"{path} --hash=sha256:{sha256}\n" for path, sha256 in zip(fetched.wheels, fetched.hashes, strict=True)
        )
        listed.write_text("".join(lines), encoding="utf-8")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "--isolated"]
        only = ["--ignore-installed", "--no-deps", "--no-index", "--only-binary", ":all:", "--require-hashes"]
        self._run([*pip, "install", "--quiet", "--no-cache-dir", *only, "-r", str(listed)])
        self._run([python, "-I", str(FIT)])

    def _run(self, command: Sequence[str]) -> None:
        """A step's process. Raises UpdateRefusal with the last it said."""
        process = subprocess.Popen(
            [*NICE, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True, cwd="/", env=_environment(), pass_fds=(self._lock,),
        )  # fmt: skip
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
        reader.start()
        deadline_s = time.monotonic() + STEP_TIMEOUT_S
        while process.poll() is None:
            if self._stopping.wait(POLL_S) or time.monotonic() > deadline_s:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                said.append("It was stopped.")
        reader.join(1)
        if process.returncode != 0:
            last = "".join(said).strip()[-SAID_CHARACTERS_MAX:]
            raise UpdateRefusal(UpdateProblem.INSTALL_FAILED, f"({Path(command[0]).name} {command[2]}: {last})")


def _options() -> list[str]:
    """How this very slot was made: with what the system's packages bring, or without."""
    try:
        made = (Path(sys.prefix) / "pyvenv.cfg").read_text(encoding="utf-8").lower()
    except OSError:
        return []
    shares = "include-system-site-packages = true" in made
    return ["--system-site-packages"] if shares else []


def _environment() -> dict[str, str]:
    """Ours without what would put other code or other caches in the slot's place."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))}
    return {**kept, "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", "PIP_CONFIG_FILE": os.devnull}
