"""Tells systemd that the agent is ready, what it does, and that its event loop turns (sd_notify(3)).

The watchdog's word is sent by a task of the loop itself, so a loop that hangs is silent, and the service is killed and
started again. Outside of systemd (NOTIFY_SOCKET unset) nothing is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

import structlog

USEC_PER_S = 1_000_000
WORDS_A_PERIOD = 3  # two may be late
START_S = 300.0  # the service's TimeoutStartSec
Send = Callable[[str], None]
Pause = Callable[[float], Awaitable[object]]
log = structlog.get_logger("service")


class ServiceNotice:
    """What systemd is told of this process."""

    def __init__(self, environ: Mapping[str, str] = os.environ, send: Send | None = None) -> None:
        """send: takes one message; by default the datagram socket that systemd named."""
        self._send = send or _sender(environ.get("NOTIFY_SOCKET", ""))
        self.period_s = _period_s(environ)

    def ready(self, status: str) -> None:
        """The unit serves people."""
        self._send(f"READY=1\nSTATUS={status}")
        self._patience(self.period_s)

    def begins_again(self) -> None:
        """The process is about to start anew, as itself or as another program: it is silent until it is ready."""
        self._patience(START_S)

    def stopping(self) -> None:
        """The parts are ended, which may take a moment."""
        self._send("STOPPING=1")

    def _patience(self, period_s: float) -> None:
        if self.period_s:
            self._send(f"WATCHDOG_USEC={round(period_s * USEC_PER_S)}\nWATCHDOG=1")

    async def keep_watch(self, pause: Pause = asyncio.sleep) -> None:
        """Say again and again that the loop turns; returns at once where nobody watches."""
        while self.period_s:
            self._send("WATCHDOG=1")
            await pause(self.period_s / WORDS_A_PERIOD)


def _period_s(environ: Mapping[str, str]) -> float:
    """The watchdog's period; 0 where there is none, or where it is another process's."""
    try:
        pid = int(environ.get("WATCHDOG_PID", "") or os.getpid())
        period_us = int(environ.get("WATCHDOG_USEC", "") or 0)
    except ValueError:
        return 0.0
    return period_us / USEC_PER_S if pid == os.getpid() and period_us > 0 else 0.0


def _sender(address: str) -> Send:
    """Datagrams to systemd's socket (a path, or @ for an abstract name); to nobody where there is none."""
    if not address.startswith(("/", "@")):
        return lambda _message: None
    target = "\0" + address[1:] if address.startswith("@") else address

    def send(message: str) -> None:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line,
        ):
            # systemd reads its queue at leisure: a full one must not hold the loop up.
            line.setblocking(False)
            line.sendto(message.encode(), target)

    return send
