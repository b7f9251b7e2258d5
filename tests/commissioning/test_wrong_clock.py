"""A machine without a clock that runs while it is off: it starts in 1970, off-line, and gets its time with the line.

The real agent as a process of its own, whose wall clock libfaketime sets: what a person in front of it reads, and that
nobody has to start it again once a time server has been heard.
"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.commissioning_problems import Problem
from contract.technician import StatusOrder, StatusResult, Verb
from provisioning.line import HubLine
from tests.commissioning.boxes import approval, knocking, put_claims
from tests.commissioning.stage import UNIT, Stage, make_stage
from tests.fleet.fake_time import DAY_S, LIBRARY, FakeTime
from virtual.broker import free_port

LIMIT_S = 60.0
pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="the Debian package faketime is not installed")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


class Machine:
    """A machine with an agent, a wall clock of its own, and a page."""

    def __init__(self, home: Path, port: int, page: str, token: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.port, self.page, self.token = home, port, page, home / token
        self.time = FakeTime(home)

    @contextmanager
    def running(self, wall_s: float) -> Iterator[None]:
        """Switched on, at this time by its clock."""
        self.time.set((wall_s - time.time()) / DAY_S)
        command = [sys.executable, "-m", "edge", "run", "--config", str(self.home / "unit.toml")]
        with (self.home / "agent.log").open("ab") as log:
            process = subprocess.Popen(command, env=self.time.environment, stdout=log, stderr=log, cwd=self.home)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def hear_time_server(self) -> None:
        """A time server has set the clock right."""
        self.time.set(0)

    async def shows(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What its page says, once it says that."""
        seen: dict[str, Any] = {}
        begun = time.monotonic()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=LIMIT_S) as client:
            while time.monotonic() - begun < LIMIT_S:
                with suppress(OSError, httpx.TransportError):
                    answer = await client.get(self.page, headers={"X-Rekam-Token": self.token.read_text()})
                    if answer.status_code == httpx.codes.OK and wanted(seen := answer.json()):
                        return seen
                await asyncio.sleep(0.1)
        raise AssertionError(f"never seen; last: {seen}\n{(self.home / 'agent.log').read_text()[-3000:]}")


@asynccontextmanager
async def centre(stage: Stage) -> AsyncIterator[HubLine]:
    """The hub on the broker of this stage, with a technician's line to it; the broker is the test's to start."""
    stage.broker.start()
    try:
        async with stage.hub(), stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            yield line
    finally:
        stage.broker.stop()


async def test_a_box_that_starts_in_1970_off_line_gets_to_service_by_itself_once_it_has_line_and_time(
    stage: Stage, tmp_path: Path
) -> None:
    port = free_port()
    box = Machine(tmp_path / "box", port, "/api/commissioning", "screen.token")
    media = tmp_path / "media"
    (box.home / "factory.toml").write_text(f'serial = "S-1"\nmedia = ["{media}"]\nscreen_port = {port}\n')
    async with centre(stage) as line:
        await put_claims(line, [media])
        stage.broker.kill()  # where the box stands there is no line yet
        with box.running(wall_s=120.0):
            said = await box.shows(lambda seen: seen["problem"] is not None)
            problem = said["problem"]
            assert problem["code"] == Problem.CLOCK_WRONG and "It shows 1970-01-01" in problem["detail"]
            assert re.search(r"the claim was made on 20\d\d-", problem["detail"])
            assert "server waktu" in problem["do_id"] and "time server" in problem["do_en"]
            stage.broker.start()
            box.hear_time_server()
            await box.shows(lambda seen: (seen["problem"] or {}).get("code") == "not-approved")
            (row,) = await knocking(line)
            await line.tell(Verb.APPROVE, approval(row, "desk-b1"))
            begun = time.monotonic()
            while (found := await in_fleet(line, "desk-b1")).state != "in service":
                assert time.monotonic() - begun < LIMIT_S, found
                await asyncio.sleep(0.2)


async def test_a_unit_in_service_that_starts_in_1970_works_on_by_its_kept_time_and_is_right_again_by_itself(
    stage: Stage,
) -> None:
    home, port = stage.folder / "units" / UNIT, free_port()
    config = home / "unit.toml"
    config.write_text(config.read_text().replace("port = 1\n", f"port = {port}\n"))
    unit = Machine(home, port, "/api/status", "data/screen.token")
    (home / "data").mkdir()
    kept_s = time.time() - 9 * DAY_S  # switched off nine days ago: further than a clock is believed by itself
    (home / "data" / "time.txt").write_text(f"{kept_s * 1000:.0f}")
    async with centre(stage) as line:
        with unit.running(wall_s=120.0):
            said = await unit.shows(lambda seen: bool(seen["line"]))
            assert said["clock"]["state"] == "kept" and said["line"]["problem"] == Problem.CLOCK_WRONG
            assert 0 <= said["time_ms"] / 1000 - kept_s < LIMIT_S
            assert "server waktu" in said["clock"]["problem_id"] and "server waktu" in said["line"]["message_id"]
            unit.hear_time_server()
            said = await unit.shows(lambda seen: not seen["line"] and seen["clock"]["state"] == "follows")
            assert abs(said["time_ms"] / 1000 - time.time()) < LIMIT_S
            assert (await in_fleet(line, UNIT)).online


async def in_fleet(line: HubLine, unit: str) -> Any:
    found = await line.ask(Verb.STATUS, StatusOrder(unit=unit), StatusResult)
    return found.rows[0]
