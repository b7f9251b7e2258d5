"""A private Mosquitto for the demo, the tests and the bench: the real broker, from given files, killable.

The configuration (listener, mutual TLS, ACL file) is written by whoever asks for it, in production by
`rekam-provision setup`; nothing is changed here but the user it runs as, so that it can read files that are the
caller's alone.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from contract.errors import DeviceError

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
PORTS_FROM, PORTS_TO = 10_000, 32_000  # below what systems give to connections that go out
POLL_INTERVAL_S = 0.01
_LISTENER = re.compile(r"^listener\s+(\d+)\s+(\S+)", re.MULTILINE)
_PROGRAM_PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


def free_port() -> int:
    """A port on loopback that nothing uses now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports on loopback that nothing uses now, and that no client is given while their owner is away."""
    found: dict[int, socket.socket] = {}
    with ExitStack() as probes:
        while len(found) < count:
            port = PORTS_FROM + secrets.randbelow(PORTS_TO - PORTS_FROM)
            with suppress(OSError):
                found[port] = probes.enter_context(socket.create_server(("127.0.0.1", port)))
    return list(found)


class PrivateBroker:
    """One Mosquitto process on one configuration file; it can be killed and started again."""

    def __init__(self, configuration: Path, log: Path) -> None:
        """configuration: a mosquitto.conf whose first listener is waited for; log: its messages are appended there."""
        text = configuration.read_text(encoding="utf-8")
        listener = _LISTENER.search(text)
        if listener is None:
            raise DeviceError(
                f"{configuration} names no listener.", next_step="Add a line 'listener PORT HOST' with TLS files."
            )
        self.port = int(listener[1])
        self.host = listener[2]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration = configuration
        if os.geteuid() == 0 and not re.search(r"^user\s", text, re.MULTILINE):
            # As root Mosquitto would become 'mosquitto', who may not read the caller's private files.
            self._configuration = configuration.with_name(f"{configuration.stem}.as-root.conf")
            self._configuration.write_text(f"user root\n{text}", encoding="utf-8")

    @property
    def configuration(self) -> Path:
        """The file that it runs on."""
        return self._configuration

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it and wait until it listens. Raises DeviceError."""
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:{_PROGRAM_PLACES}")
        if program is None:
            raise DeviceError("Mosquitto is not installed.", next_step="Install it: apt install mosquitto.")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(self._configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise DeviceError("Mosquitto did not start.", next_step=f"Read {self._log}.")
            time.sleep(POLL_INTERVAL_S)

    def kill(self) -> None:
        """SIGKILL: it has no chance to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end."""
        self._end(signal.SIGTERM)

    def __enter__(self) -> PrivateBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _listens(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=0.2):
                return True
        except OSError:
            return False
