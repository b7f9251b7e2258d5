"""Who is on the line, after the hub or the broker was away: everybody is heard anew, and who is not heard is not there.

A broker that ends without a word publishes nobody's will, and forgets what was retained. So what the hub knew before
its present connection is not believed for long: a broker that lived on repeats the retained state of every unit as soon
as the hub is connected; after one that was restarted the units come back within seconds and say so themselves. Whoever
is in neither way heard is off the line, until it says otherwise.
"""

from __future__ import annotations

from contract.clock import Clock

# Units ask a port that nobody listens on every four seconds (channel_mqtt_settings.Backoff), then shake hands.
GRACE_MS = 7_000


class RollCall:
    """Of one hub. Lives on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: set[str] = set()
        self._called = False
        self.connected_ms: int | None = None
        self.lost_ms: int | None = clock.wall_ms()

    def begin(self) -> None:
        """The hub has connected. What was heard on this connection before its handlers were asked counts already."""
        self.connected_ms, self.lost_ms = self._clock.monotonic_ms(), None

    def lose(self) -> None:
        """The hub's own line is gone: nothing that is known of the units is of now."""
        self._heard.clear()
        self._called = False
        if self.lost_ms is None:
            self.connected_ms, self.lost_ms = None, self._clock.wall_ms()

    def hear(self, unit: str) -> None:
        """A unit, or its will, has spoken on this connection."""
        self._heard.add(unit)

    def due(self) -> frozenset[str] | None:
        """Once a connection, after the grace: everybody that was heard on it. None before, and after `note_called`."""
        if self._called or self.connected_ms is None or self._clock.monotonic_ms() - self.connected_ms < GRACE_MS:
            return None
        return frozenset(self._heard)

    def note_called(self) -> None:
        """What `due` gave has been acted upon."""
        self._called = self.connected_ms is not None
