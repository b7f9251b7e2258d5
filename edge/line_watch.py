"""Why a unit in service has no line, in the words of the table of problems, for its status page.

The MQTT client only knows that a connection ended: after two losses the broker is looked at beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from contract.channel_mqtt import Connection, Disconnected, MqttChannel, MqttSettings
from contract.channel_probe import probe, refusal_of
from contract.commissioning_problems import WORDING, Refusal

LOSSES_BEFORE_LOOK = 2


class LineWatch:
    """Watches one channel. settings: those of the next connect."""

    def __init__(self, channel: MqttChannel, settings: Callable[[], MqttSettings]) -> None:
        self._settings = settings
        self._losses = 0
        self._lost = asyncio.Event()
        self._said: Refusal | None = None
        self.problem: Refusal | None = None
        channel.on_connected(self._note_connected)
        channel.on_lost(self._note_lost)

    async def run(self) -> None:
        """Look each time a line was lost twice, until cancelled."""
        while True:
            await self._lost.wait()
            self._lost.clear()
            if self._losses >= LOSSES_BEFORE_LOOK:
                self._losses = 0
                found = await asyncio.to_thread(probe, self._settings())
                self.problem = found or self._said

    async def _note_connected(self, _connection: Connection) -> None:
        self._losses, self.problem = 0, None

    def _note_lost(self, loss: Disconnected) -> None:
        self._losses += 1
        self._said = refusal_of(loss)
        self._lost.set()


def words_of(found: Refusal | None) -> dict[str, str]:
    """What is the matter and what to do, as the status page shows it; empty where nothing is."""
    if found is None:
        return {}
    words = WORDING[found.problem]
    return {
        "problem": found.problem.value,
        "message_id": f"{words.what_id} {words.do_id}",
        "message_en": f"{words.what_en} {words.do_en}",
        "detail": found.detail,
    }
