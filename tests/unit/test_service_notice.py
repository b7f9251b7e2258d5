"""What systemd hears of the agent: over a real datagram socket, and from a process whose event loop hangs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.service_notice import START_S, ServiceNotice

PERIOD_US = "300000"
# An agent's loop that turns until it is told to hang.
HANGS = """
import asyncio, sys, time
from edge.service_notice import ServiceNotice

async def main():
    notice = ServiceNotice()
    watch = asyncio.create_task(notice.keep_watch())
    notice.ready("serves")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    time.sleep(60)

asyncio.run(main())
"""


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(str(path))

    def hear(self, within_s: float) -> str | None:
        self._line.settimeout(within_s)
        try:
            return self._line.recv(4096).decode()
        except TimeoutError:
            return None

    def close(self) -> None:
        self._line.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    found = Systemd(tmp_path / "notify")
    yield found
    found.close()


def environ(systemd: Systemd, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": PERIOD_US, **more}


def test_a_loop_that_hangs_is_silent(systemd: Systemd) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS], stdin=subprocess.PIPE, env={**os.environ, **environ(systemd)}
    )
    try:
        heard = [systemd.hear(20) or "" for _ in range(8)]
        assert any(text.startswith("READY=1\nSTATUS=serves") for text in heard)
        assert heard.count("WATCHDOG=1") >= 3
        assert process.stdin is not None
        process.stdin.write(b"hang\n")
        process.stdin.flush()
        while (text := systemd.hear(4 * int(PERIOD_US) / 1e6)) is not None:
            assert text == "WATCHDOG=1"
        assert process.poll() is None  # it lives, and says nothing: systemd ends it
    finally:
        process.kill()
        process.wait()


def test_ready_stopping_and_a_start_anew(systemd: Systemd) -> None:
    notice = ServiceNotice(environ(systemd))
    notice.ready("desk-a1 at 9901-A")
    assert systemd.hear(1) == "READY=1\nSTATUS=desk-a1 at 9901-A"
    assert systemd.hear(1) == f"WATCHDOG_USEC={PERIOD_US}\nWATCHDOG=1"
    notice.begins_again()
    assert systemd.hear(1) == f"WATCHDOG_USEC={round(START_S * 1e6)}\nWATCHDOG=1"
    notice.stopping()
    assert systemd.hear(1) == "STOPPING=1"


def test_an_abstract_socket_serves_as_well() -> None:
    name = f"rekam-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0{name}")
        ServiceNotice({"NOTIFY_SOCKET": f"@{name}"}).stopping()
        line.settimeout(1)
        assert line.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize(
    "more",
    [{"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "-5"}, {"WATCHDOG_PID": "1"}],
)
async def test_nobody_watches(systemd: Systemd, more: dict[str, str]) -> None:
    notice = ServiceNotice(environ(systemd, **more))
    await notice.keep_watch()
    assert systemd.hear(0.05) is None


@pytest.mark.parametrize("place", ["", "relative", "/no/such/socket"])
def test_a_socket_that_is_not_there_stops_nobody(place: str) -> None:
    ServiceNotice({"NOTIFY_SOCKET": place}).ready("serves")


def test_a_full_queue_holds_nobody_up(systemd: Systemd) -> None:
    notice = ServiceNotice(environ(systemd))
    for _ in range(2_000):
        notice.stopping()
