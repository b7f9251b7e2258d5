"""The demo's processes: started as deployed, watched, killed for real, and all gone when the demo ends."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from contract.errors import DeviceError

STOP_TIMEOUT_S = 8.0
PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Running:
    """One process: what it is, how it is started, and its log."""

    name: str
    argv: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0

    def start(self) -> None:
        """Start it, with its output appended to the log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no threads run yet in the child between fork and exec
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, as a power cut would: no clean-up, no last words."""
        if self.process is not None:
            self.kills += 1
            self._signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that is not enough."""
        if self.process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def last_words(self, lines: int = 15) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def _signal(self, number: int) -> None:
        assert self.process is not None
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            self.process.poll()


@dataclass(slots=True)
class Processes:
    """All of them, stopped in the reverse order of their start."""

    logs: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)

    def start(self, name: str, *argv: str, environment: Mapping[str, str] | None = None) -> Running:
        """Start a process under a name of its own."""
        self.logs.mkdir(parents=True, exist_ok=True)
        entry = Running(name, argv, self.logs / f"{name}.log", {**self.environment, **(environment or {})})
        entry.start()
        self.running[name] = entry
        return entry

    def start_module(self, name: str, module: str, *arguments: str) -> Running:
        """Start a module of the product with this interpreter."""
        return self.start(name, sys.executable, "-m", module, *arguments)

    def stop_all(self) -> None:
        """Stop every process that still runs."""
        for entry in reversed(tuple(self.running.values())):
            entry.stop()

    def check(self) -> None:
        """Raise DeviceError with the log's end where a process has died that should run."""
        for entry in self.running.values():
            if not entry.alive:
                raise DeviceError(
                    f"The process '{entry.name}' has ended.\n{entry.last_words()}", next_step=f"See {entry.log}."
                )


async def until(what: str, holds: Callable[[], bool], timeout_s: float, processes: Processes | None = None) -> None:
    """Wait until `holds()`; DeviceError after the time-out, or when a process dies meanwhile."""
    end = monotonic() + timeout_s
    while not holds():
        if processes is not None:
            processes.check()
        if monotonic() > end:
            raise DeviceError(f"Waited {timeout_s:.0f} s in vain for: {what}.", next_step="See the logs in out/.")
        await asyncio.sleep(0.05)


def accepts(port: int) -> bool:
    """Whether something listens on the loopback port."""
    with socket.socket() as sock:
        sock.settimeout(0.5)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _end_with_parent() -> None:
    """Ask the kernel to end this process with the demo, however the demo ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
