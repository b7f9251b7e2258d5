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
from contract.configuration import Desired
from edge.configuration import Configurations, Trial
from edge.downlink import Downlink
from edge.trial import LOOK_AGAIN_S, OnTrial, Pause

HEALTHY_WITHIN_S = 120.0
log = structlog.get_logger("configuration")


class ConfiguredAgent(OnTrial, Protocol):
    """The agent as a configuration's trial sees it."""

    async def report_configuration(self) -> None:
        """Tell the hub what became of the configuration, where there is a line."""
        ...


class ConfigurationOnTrial:
    """A configuration as something that is tried."""

    healthy_within_s = HEALTHY_WITHIN_S

    def __init__(self, agent: ConfiguredAgent, trial: Trial, configurations: Configurations) -> None:
        self._agent, self._trial, self._configurations = agent, trial, configurations
        self.failing = trial.failing

    async def take_up(self) -> str:
        """See edge.trial."""
        await asyncio.to_thread(self._configurations.adopt, self._trial)
        await self._agent.report_configuration()
        return ""

    async def give_up(self, why: str) -> None:
        """See edge.trial."""
        await asyncio.to_thread(self._configurations.roll_back, self._trial, why)


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
        turn: asyncio.Lock | None = None,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """is_free: nobody is served and nothing is on trial; problems: of the devices as they are; restart: begins.

        turn: held by whoever begins something on trial.
        """
        self._channel = channel
        self._downlink = downlink
        self._configurations = configurations
        self._unit = unit
        self._is_free, self._problems, self._restart, self._pause = is_free, problems, restart, pause
        self._turn = turn or asyncio.Lock()
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
            async with self._turn:
                if trial is not None and self._is_free():
                    await asyncio.to_thread(self._configurations.begin, trial.model_copy(update={"failing": failing}))
                    self._restart()
                    return

    async def report(self) -> None:
        """Publish what is reported; without a line it is said at the next connect."""
        found = self._configurations
        kept = ((found.reported, topics.UP_REPORTED), (found.selftest, topics.UP_SELFTEST))
        try:
            for read, topic in kept:
                if (content := await asyncio.to_thread(read)) is not None:
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
