"""What `rekam-edge run` does on a box that nobody has commissioned: it knocks, and its page says what to do.

Its time is the machine's own, however far that is set: a box captures nothing that the time would date, nobody signs
the time for it yet, and claim, broker and hub each refuse a wrong one. A clock that begins in 1970 and is set by a time
server has to be followed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import structlog

from contract.clock import SystemClock
from contract.durable_files import DurableFolder
from edge.box import Box
from edge.box_files import BoxFiles, Phase
from edge.commissioning import Commissioner
from edge.data_lock import only_agent
from edge.factory import load_factory
from edge.screens.commissioning import make_commissioning_app
from edge.screens.guard import drop_token, make_token
from edge.screens.server import bind, page_server
from edge.service_notice import ServiceNotice
from edge.software import software
from edge.unit_signer import BoxChip

HOST = "127.0.0.1"
LAST_LOOK_S = 2.0
log = structlog.get_logger("first_boot")


def run_first_boot(folder: Path, notice: ServiceNotice) -> bool:
    """Commission the box whose home this folder is; False where it was asked to stop before. Raises RekamError."""
    files = DurableFolder(folder)
    factory = load_factory(folder)
    clock = SystemClock()
    with only_agent(folder), contextlib.ExitStack() as parts:
        chip = BoxChip(factory.identity) if factory.identity else None
        if chip is not None:
            parts.callback(chip.close)
        box = Box(BoxFiles(files, chip, factory.identity), factory, clock, software())
        commissioner = Commissioner(box, factory, clock)
        stopped = asyncio.run(_run(commissioner, folder, factory.screen_port, notice))
        return box.phase is Phase.COMMISSIONED and not stopped


async def _run(commissioner: Commissioner, folder: Path, port: int, notice: ServiceNotice) -> bool:
    """Page and commissioning beside each other, until the box is commissioned; whether it was asked to stop."""
    listener = bind(HOST, port, "screen_port in factory.toml")
    server = page_server(make_commissioning_app(commissioner, make_token(folder)))
    log.info("page", url=f"http://{HOST}:{listener.getsockname()[1]}/")
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    web = asyncio.create_task(server.serve(sockets=[listener]), name="page")
    work = asyncio.create_task(commissioner.run(), name="commissioning")
    stop = asyncio.create_task(stopping.wait(), name="stop")
    watch = asyncio.create_task(notice.keep_watch(), name="watch")
    notice.ready("waits to be commissioned")
    try:
        await asyncio.wait({web, work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            await asyncio.wait({stop}, timeout=LAST_LOOK_S)  # the person in front sees that it is done
    finally:
        server.should_exit = True
        for task in (work, stop, watch):
            task.cancel()
        await asyncio.gather(web, work, stop, watch, return_exceptions=True)
        notice.begins_again()
        drop_token(folder)
    return stopping.is_set()
