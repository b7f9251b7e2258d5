"""Ends a live session at the broker by taking over its client id, through the broker's control listener.

A revocation list refuses new connections and leaves those that stand; a disabled name could reconnect. So the lists are
written and read first, and then whoever still has a session is put out of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from contract.channel_mqtt import Backoff, Connection, Disconnected, MqttChannel, MqttSettings
from contract.errors import TransientError

TIMEOUT_S = 3.0
log = structlog.get_logger("broker_control")


class BrokerControl:
    """The hub's hand on the broker. settings: of the control listener; the client id is put in for each session."""

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings

    async def end_session(self, client_id: str) -> None:
        """Take over a client id and leave it at once. Raises TransientError where the broker does not let us."""
        settings = replace(
            self._settings, client_id=client_id, connect_timeout_s=TIMEOUT_S, backoff=Backoff(first_s=0.2, max_s=0.5)
        )
        connected = asyncio.Event()
        problems: list[Disconnected] = []
        channel = MqttChannel(settings)

        async def note(_connection: Connection) -> None:
            connected.set()

        channel.on_connected(note)
        channel.on_lost(problems.append)
        async with channel:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await connected.wait()
            except TimeoutError:
                reason = problems[-1].message if problems else "It does not answer."
                raise TransientError(f"The broker's control listener cannot be used. {reason}") from None
        log.info("session ended", client=client_id)
