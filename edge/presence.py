"""Says that this unit is there, and lets the broker say that it is gone (`up/state`, retained, and the will)."""

from __future__ import annotations

from contract.channel_mqtt import Connection, MqttChannel, Will
from contract.clock import Clock
from contract.dispatch import encode
from contract.topics import UP_STATE
from contract.transfer import UnitState


class Presence:
    """The unit's state on the line.

    A will carries the sequence that its own connection announces: it is believed while that connection is the newest,
    and one that the broker publishes late, after the unit came back, is behind and ignored.
    """

    def __init__(self, unit: str, software: str, clock: Clock) -> None:
        """software: name and version, for the hub's list of units."""
        self._unit = unit
        self._software = software
        self._clock = clock
        self._boot = clock.wall_ms()
        self._sequence = 0
        self._channel: MqttChannel | None = None

    def will(self) -> Will:
        """What the broker says when the connection breaks; asked at every connect."""
        return Will(UP_STATE.at(unit=self._unit), encode(self._state(self._sequence + 1, online=False)))

    def attach(self, channel: MqttChannel) -> None:
        """Announce the unit after every connect of `channel`."""
        self._channel = channel
        channel.on_connected(self._announce)

    async def leave(self) -> None:
        """Say goodbye in good order. Raises Disconnected where there is nobody to say it to."""
        if self._channel is not None:
            self._sequence += 1
            topic = UP_STATE.at(unit=self._unit)
            await self._channel.publish(topic, encode(self._state(self._sequence, online=False)), retain=True)

    async def _announce(self, _connection: Connection) -> None:
        self._sequence += 1
        if self._channel is not None:
            topic = UP_STATE.at(unit=self._unit)
            await self._channel.publish(topic, encode(self._state(self._sequence, online=True)), retain=True)

    def _state(self, sequence: int, *, online: bool) -> UnitState:
        return UnitState(
            state="online" if online else "offline",
            boot=self._boot,
            software=self._software,
            sequence=sequence,
            time_ms=self._clock.wall_ms(),
        )
