"""How a running unit takes up a new configuration: between two people, on trial, and back by itself where it is unwell.

A trial is a start of its own: the process replaces itself, so that no thread or device of the old settings is left. It
has two minutes to have the hub's word on its birth and every device open that was open before.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import structlog

from contract import topics
from contract.channel_mqtt import Disconnected, MqttChannel
from contract.clock import Clock
from contract.configuration import Desired
from contract.errors import RekamError
from edge.configuration import Configurations, Trial
from edge.downlink import Downlink

HEALTHY_WITHIN_S = 120.0
LOOK_AGAIN_S = 1.0
STOP_TIMEOUT_S = 15.0
Pause = Callable[[float], Awaitable[object]]
log = structlog.get_logger("configuration")


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

    async def report_configuration(self) -> None:
        """Tell the hub what became of the configuration, where there is a line."""
        ...


async def prove(
    agent: OnTrial, trial: Trial, configurations: Configurations, clock: Clock, pause: Pause = asyncio.sleep
) -> bool:
    """Run the agent on a configuration on trial; False where it did not prove itself and was given up.

    An agent that is healthy in time has its configuration adopted and goes on until it is stopped. One that is stopped
    from outside before stays on trial.
    """
    running = asyncio.create_task(agent.run(), name="agent")
    complaint = await _complaint(agent, running, trial, clock, pause)
    if complaint:
        await asyncio.to_thread(configurations.roll_back, trial, complaint)
        agent.stop()
        await asyncio.wait({running}, timeout=STOP_TIMEOUT_S)
        return False
    if not running.done():
        await asyncio.to_thread(configurations.adopt, trial)
        await agent.report_configuration()
    await running
    return True


async def _complaint(
    agent: OnTrial, running: asyncio.Task[None], trial: Trial, clock: Clock, pause: Pause
) -> str:  # fmt: skip
    """Why it is given up; empty where it is healthy, or was stopped from outside."""
    deadline_ms = clock.monotonic_ms() + int(HEALTHY_WITHIN_S * 1000)
    worse: Mapping[str, str] = {"unit": "It did not start."}
    while not running.done():
        left_s = (deadline_ms - clock.monotonic_ms()) / 1000
        if left_s <= 0:
            found = "; ".join(f"{name}: {text}" for name, text in sorted(worse.items()))
            return f"After {HEALTHY_WITHIN_S:.0f} s: {found}"
        worse = await _worse(agent, trial, left_s, worse)
        if not worse:
            return ""
        pausing = asyncio.ensure_future(pause(LOOK_AGAIN_S))
        await asyncio.wait({running, pausing}, return_when=asyncio.FIRST_COMPLETED)
        pausing.cancel()
    error = running.exception()
    if error is None:
        return ""
    return error.message if isinstance(error, RekamError) else f"It ended with {type(error).__name__}."


async def _worse(agent: OnTrial, trial: Trial, left_s: float, before: Mapping[str, str]) -> Mapping[str, str]:
    """What is not well and was before; what was seen last where the answer takes too long."""
    try:
        async with asyncio.timeout(left_s):
            found = await agent.complaints()
    except TimeoutError:
        return before
    return {name: text for name, text in found.items() if name not in trial.failing}


def replace_process() -> None:
    """Begin again as the same command in the same process number; every file, device and thread is let go."""
    log.info("starts again")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command, no shell


class ConfigurationIntake:
    """Takes what the hub desires of a running unit, and has it tried once nobody is served."""

    def __init__(
        self,
        channel: MqttChannel,
        downlink: Downlink,
        configurations: Configurations,
        unit: str,
        *,
        is_free: Callable[[], bool],
        problems: Callable[[], Awaitable[Mapping[str, str]]],
        restart: Callable[[], None],
        pause: Pause = asyncio.sleep,
    ) -> None:
        """is_free: nobody is served and nothing is on trial; problems: of the devices as they are; restart: begins."""
        self._channel = channel
        self._downlink = downlink
        self._configurations = configurations
        self._unit = unit
        self._is_free, self._problems, self._restart, self._pause = is_free, problems, restart, pause
        self._next: Trial | None = None
        self._arrived = asyncio.Event()
        channel.on(topics.DN_DESIRED, self._desired, unit=unit)

    async def run(self) -> None:
        """Wait for something to try and for a moment without people, then begin. Ends with that."""
        await self._arrived.wait()
        while True:
            while not self._is_free():
                await self._pause(LOOK_AGAIN_S)
            failing = tuple(await self._problems())
            trial = self._next
            if trial is not None and self._is_free():
                await asyncio.to_thread(self._configurations.begin, trial.model_copy(update={"failing": failing}))
                self._restart()
                return

    async def report(self) -> None:
        """Publish what is reported; without a line it is said at the next connect."""
        content = await asyncio.to_thread(self._configurations.reported)
        if content is None:
            return
        topic = topics.UP_REPORTED
        try:
            await self._channel.publish(topic.at(unit=self._unit), content, retain=topic.retain)
        except Disconnected as error:
            log.info("report waits for the line", reason=error.message)

    async def _desired(self, _names: dict[str, str], payload: bytes) -> None:
        if not payload:  # the broker's word that the retained message was cleared
            return
        desired = self._downlink.opened(Desired, payload)
        trial = await asyncio.to_thread(self._configurations.consider, desired)
        await self.report()
        if trial is not None:
            self._next = trial
            self._arrived.set()
