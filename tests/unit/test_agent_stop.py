"""An agent that is asked to stop does so from whatever it is at, and a log that nobody reads ends no unit."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from contract.errors import DeviceError
from edge.agent_parts import unless_stopped


async def test_something_long_at_the_start_is_ended_when_the_stop_comes() -> None:
    stop, ended = asyncio.Event(), asyncio.Event()

    async def compile_kernels() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    starting = asyncio.create_task(unless_stopped(stop, compile_kernels()))
    await asyncio.sleep(0)
    assert not starting.done()
    stop.set()
    assert await starting is False and ended.is_set()


async def test_what_is_done_or_fails_before_is_told() -> None:
    async def done() -> None:
        return

    async def fails() -> None:
        raise DeviceError("The comparison worker does not start.")

    assert await unless_stopped(asyncio.Event(), done()) is True
    with pytest.raises(DeviceError):
        await unless_stopped(asyncio.Event(), fails())


def test_lines_that_nobody_reads_any_more_are_lost_and_nothing_else() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    says = (
        "import structlog\nfrom edge.logs import configure_logs\nconfigure_logs()\nstructlog.get_logger('x').info('x')"
    )
    try:
        ran = subprocess.run(
            [sys.executable, "-c", f"{says}\nprint('on')"], stderr=writes, stdout=subprocess.PIPE, check=True
        )
    finally:
        os.close(writes)
    assert ran.stdout == b"on\n"
