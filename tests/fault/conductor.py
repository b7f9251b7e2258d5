"""How processes under fault tell, step by step, where they are, and how the campaign stops them exactly there.

A process reports a step over a Unix socket and waits for one byte before it goes on. While it waits, the campaign may
kill it, or its peer, or the broker: the kill falls on that step and on no other. Production code knows nothing of it;
it only calls the observer that every transfer takes.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from contract.transfer import Step

LINE_BYTES_MAX = 512


class StepReporter:
    """The process's end. Several threads may report; each waits for its own go."""

    def __init__(self, path: Path, role: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._lock = threading.Lock()
        self.ask(f"role {role}")

    def report(self, step: Step, pid: str) -> None:
        """Say that `step` was reached, and go on when told so."""
        self.ask(f"step {step.name} {pid}")

    def ask(self, line: str) -> str:
        """Send one line and wait for the answer's."""
        with self._lock:
            self._socket.sendall(line.encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                received = self._socket.recv(LINE_BYTES_MAX)
                if not received:
                    raise SystemExit("the campaign has ended")
                answer += received
        return answer.decode().strip()
