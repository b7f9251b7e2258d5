"""New firmware for the controller out of a verified release: over the link of the agent that runs, kept by the board.

The board has two slots of its own and goes back by itself (firmware/README.md); here is when it is asked, and what is
said where it cannot be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from contract.errors import RekamError, RemoteError
from contract.update_problems import UpdateProblem, UpdateRefusal
from edge.panel import Panel
from edge.panel_update import KEY_BYTES, image_version, update_controller
from edge.panel_words import Identity, PanelState, version_text
from edge.update_client import read_kept

CONTROLLER_KEY = "controller.key"
log = structlog.get_logger("updates")


class ControllerRelease:
    """The controller of a unit as updates see it; `panel` is None on a unit without one."""

    def __init__(self, panel: Panel | None, keys: Path) -> None:
        """keys: the folder of the unit's keys, where the board's own lies as controller.key."""
        self.panel = panel
        self._key = keys / CONTROLLER_KEY

    def complaint(self) -> str:
        """What is not well with the link; nothing on a unit without a controller."""
        if self.panel is None:
            return ""
        status = self.panel.status()
        return "" if status.state is PanelState.READY else status.problem or "The controller is not heard."

    async def identity(self) -> Identity:
        """Who the board is. Raises UpdateRefusal (CONTROLLER_MISSING)."""
        if self.panel is None:
            raise UpdateRefusal(UpdateProblem.CONTROLLER_MISSING)
        try:
            return await asyncio.to_thread(self.panel.identify)
        except RekamError as error:
            raise UpdateRefusal(UpdateProblem.CONTROLLER_MISSING, error.message) from None

    async def needs(self, number: int) -> bool:
        """Whether the board runs less than this. Raises UpdateRefusal where it then could not be updated."""
        if (await self.identity()).version >= number:
            return False
        self._read_key()
        return True

    async def bring(self, image: Path, number: int, progress: Callable[[int, int], None]) -> str:
        """Let the board run this image, at least; the version that it runs then. Raises UpdateRefusal.

        image: a kept target, looked at again: the board believes whatever this unit puts its key's HMAC under.
        """
        if not await self.needs(number):
            return version_text((await self.identity()).version)
        key, content = self._read_key(), await asyncio.to_thread(read_kept, image)
        try:
            if image_version(content) != number:
                raise RemoteError(f"The image is version {version_text(image_version(content))}.")
        except RemoteError as error:
            raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, error.message) from None
        assert self.panel is not None
        try:
            found = await asyncio.to_thread(update_controller, self.panel, content, key, progress)
        except RekamError as error:
            raise UpdateRefusal(UpdateProblem.CONTROLLER_FAILED, str(error)) from None
        log.info("controller updated", version=version_text(found.version))
        return version_text(found.version)

    def _read_key(self) -> bytes:
        try:
            key = self._key.read_bytes()[: KEY_BYTES + 1]
        except OSError:
            key = b""
        if len(key) != KEY_BYTES:
            raise UpdateRefusal(UpdateProblem.CONTROLLER_KEY_MISSING)
        return key
