"""A release on trial: the start of its slot, proved by the unit's own health; its firmware goes to the board last.

Healthy means: every device open that was open before, the hub's word on this start's birth, and the controller heard.
Only then the firmware that belongs to the release goes to the board, since firmware does not go back; the unit has to
be well after that too. Who does not come so far is ended by the launcher, which runs beside this and trusts none of it.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from contract.update_problems import UpdateRefusal
from edge.controller_release import ControllerRelease
from edge.slots import Slots
from edge.trial import LOOK_AGAIN_S, OnTrial, Pause
from edge.update_record import Updates

SHARE = 0.5  # of the launcher's patience, so that the reason is told by who knows it
LOOKS_AFTER_FIRMWARE = 15
CONTROLLER = "controller"


class UpdatedAgent(OnTrial, Protocol):
    """The agent as a release's trial sees it."""

    @property
    def controller(self) -> ControllerRelease:
        """Its controller."""
        ...

    async def report_update(self) -> None:
        """Tell the hub what became of the release, where there is a line."""
        ...


class ReleaseOnTrial:
    """The release that runs as something that is tried."""

    def __init__(self, agent: UpdatedAgent, updates: Updates, slots: Slots, pause: Pause = asyncio.sleep) -> None:
        self._agent, self._updates, self._slots, self._pause = agent, updates, slots, pause
        self.healthy_within_s = SHARE * slots.good_within_s

    @property
    def failing(self) -> tuple[str, ...]:
        """What was not well before it, and a controller that waits for this release's firmware."""
        record = self._updates.tried
        return (*record.failing, CONTROLLER) if record.firmware else record.failing

    async def take_up(self) -> str:
        """See edge.trial."""
        record = self._updates.tried
        if record.firmware:
            try:
                image = self._updates.folder / record.firmware
                await self._agent.controller.bring(image, record.firmware_number, lambda _done, _all: None)
            except UpdateRefusal as refusal:
                return str(refusal)
            if complaint := await self._controller_complaint():
                return f"controller: {complaint}"
        may_come_back = self._updates.may_come_back()
        await asyncio.to_thread(self._slots.found_good, may_come_back=may_come_back)
        await asyncio.to_thread(self._updates.found_good)
        await self._agent.report_update()
        return ""

    async def give_up(self, why: str) -> None:
        """See edge.trial."""
        await asyncio.to_thread(self._updates.returned, why)
        await asyncio.to_thread(self._slots.leave, why)
        await self._agent.report_update()

    async def _controller_complaint(self) -> str:
        complaint = ""
        for _ in range(LOOKS_AFTER_FIRMWARE):
            complaint = self._agent.controller.complaint()
            if not complaint:
                break
            await self._pause(LOOK_AGAIN_S)
        return complaint
