"""How something new is tried on a unit, a configuration or a release: run it, and keep it only where the unit is well.

The agent runs as in service; it has a time within which every device is open that was open before and the hub has
confirmed its birth. What is not well then is given up, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from contract.clock import Clock
from contract.errors import RekamError

LOOK_AGAIN_S = 1.0
STOP_TIMEOUT_S = 15.0
Pause = Callable[[float], Awaitable[object]]


class OnTrial(Protocol):
    """The agent as its trial sees it."""

    async def run(self) -> None:
        """Serve until asked to stop. Raises RekamError."""
        ...

    def stop(self) -> None:
        """Ask it to end in good order."""
        ...

    async def complaints(self) -> Mapping[str, str]:
        """What is not well, by device kind or part; nothing where all is."""
        ...


class Tried(Protocol):
    """What is on trial. failing: what was not well before it; healthy_within_s: its time."""

    @property
    def failing(self) -> tuple[str, ...]:
        """Complaints that are no fault of it."""
        ...

    @property
    def healthy_within_s(self) -> float:
        """From the start on."""
        ...

    async def take_up(self) -> str:
        """The unit is well: keep it for good. Returns why not, where its last step fails."""
        ...

    async def give_up(self, why: str) -> None:
        """Go back to what was before, from the next start on."""
        ...


async def prove(agent: OnTrial, tried: Tried, clock: Clock, pause: Pause = asyncio.sleep) -> bool:
    """Run the agent on something on trial; False where it did not prove itself and was given up.

    An agent that is healthy in time goes on until it is stopped. One that is stopped from outside stays on trial.
    """
    running = asyncio.create_task(agent.run(), name="agent")
    complaint = await _complaint(agent, running, tried, clock, pause)
    if not complaint and not running.done():
        complaint = await tried.take_up()
    if complaint:
        await tried.give_up(complaint)
        agent.stop()
        await asyncio.wait({running}, timeout=STOP_TIMEOUT_S)
        return False
    await running
    return True


async def _complaint(agent: OnTrial, running: asyncio.Task[None], tried: Tried, clock: Clock, pause: Pause) -> str:
    """Why it is given up; empty where it is healthy, or was stopped from outside."""
    deadline_ms = clock.monotonic_ms() + int(tried.healthy_within_s * 1000)
    worse: Mapping[str, str] = {"unit": "It did not start."}
    while not running.done():
        left_s = (deadline_ms - clock.monotonic_ms()) / 1000
        if left_s <= 0:
            found = "; ".join(f"{name}: {text}" for name, text in sorted(worse.items()))
            return f"After {tried.healthy_within_s:.0f} s: {found}"
        worse = await _worse(agent, tried, left_s, worse)
        if not worse:
            return ""
        pausing = asyncio.ensure_future(pause(LOOK_AGAIN_S))
        await asyncio.wait({running, pausing}, return_when=asyncio.FIRST_COMPLETED)
        pausing.cancel()
    error = running.exception()
    if error is None:
        return ""
    return error.message if isinstance(error, RekamError) else f"It ended with {type(error).__name__}."


async def _worse(agent: OnTrial, tried: Tried, left_s: float, before: Mapping[str, str]) -> Mapping[str, str]:
    """What is not well and was before; what was seen last where the answer takes too long."""
    try:
        async with asyncio.timeout(left_s):
            found = await agent.complaints()
    except TimeoutError:
        return before
    return {name: text for name, text in found.items() if name not in tried.failing}
