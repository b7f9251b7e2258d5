"""What happens to the unit's box, told to the hub: durable on the unit until the hub has written it down (M69)."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from contract.channel_mqtt import MqttChannel
from contract.clock import Clock
from contract.dispatch import decode, decode_kept, encode
from contract.errors import RekamError, RemoteError
from contract.identifiers import uuid7
from contract.topics import DN_ALARM, UP_EVENT
from contract.transfer import MESSAGE_BYTES_MAX, UnitAlarm
from edge.sealed_store import Change, SealedStore

KIND = "alarm"
ALARM_BYTES_MAX = 2048
WAITING_MAX = 200
KIND_MAX, HOUR_MS = 30, 3_600_000  # alarms of one kind that are told in any hour; the next one says how many were not
AGAIN_S = 30.0
ANSWER_S = 10.0

log = structlog.get_logger("edge.alarms")


class AlarmBook:
    """Alarms that wait to be heard. Lives on the event loop; the disk is used off it."""

    def __init__(
        self, unit: str, store: SealedStore, clock: Clock, publish: Callable[[str, bytes], Awaitable[bool]]
    ) -> None:
        """publish: topic and payload; whether somebody at the centre heard it. Raises RekamError."""
        self._unit, self._store, self._clock, self._publish = unit, store, clock, publish
        self._waiting = [decode_kept(UnitAlarm, value, ALARM_BYTES_MAX) for _, value in store.items(KIND)]
        self._waiting.sort(key=lambda alarm: alarm.alarm_id)
        self._told_ms: dict[str, deque[int]] = {}
        self._untold: Counter[str] = Counter()
        self._more = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """How many the centre has not heard."""
        return len(self._waiting)

    async def note(
        self, kind: str, source: str, detail: str = "", *, age_ms: int = 0, with_it: Sequence[Change] = ()
    ) -> None:
        """Keep an alarm and say it as soon as there is a line. Raises DeviceError where the disk does not take it.

        age_ms: how long ago it was; with_it: what else is written, or not, in the same moment.
        """
        times_ms = self._told_ms.setdefault(kind, deque(maxlen=KIND_MAX))
        now_ms = self._clock.monotonic_ms()
        if len(times_ms) == KIND_MAX and now_ms - times_ms[0] < HOUR_MS:
            if with_it:
                await asyncio.to_thread(self._store.change, with_it)
            self._untold[kind] += 1
            return
        times_ms.append(now_ms)
        if untold := self._untold.pop(kind, 0):
            detail = f"{detail} ({untold} more since the last)".strip()
        at_ms = max(0, self._clock.wall_ms() - age_ms)
        alarm = UnitAlarm(alarm_id=uuid7(self._clock), kind=kind, source=source, at_ms=at_ms, detail=detail[:200])
        async with self._turn:
            changes = (Change(KIND, alarm.alarm_id, encode(alarm)), *with_it)
            await asyncio.to_thread(self._store.change, changes)
            self._waiting.append(alarm)
            while len(self._waiting) > WAITING_MAX:  # a contact that chatters for days must not fill the disk
                oldest = self._waiting.pop(0)
                await asyncio.to_thread(self._store.remove, KIND, oldest.alarm_id)
        self._more.set()

    async def run(self) -> None:
        """Say what waits, oldest first, until cancelled."""
        while True:
            self._more.clear()
            if not await self.say():
                with_line = asyncio.wait_for(self._more.wait(), AGAIN_S)
                try:
                    await with_line
                except TimeoutError:
                    continue
            elif not self._waiting:
                await self._more.wait()

    async def say(self) -> bool:
        """Say everything that waits; False where the centre does not hear."""
        for alarm in list(self._waiting):
            try:
                heard = await self._publish(UP_EVENT.at(unit=self._unit, event=alarm.kind), encode(alarm))
                if heard:
                    await self._forget(alarm)
            except RemoteError as error:
                log.warning("alarm refused by the broker", **error.diagnostics())
                return False
            except RekamError:
                return False
            if not heard:
                return False
        return True

    async def _forget(self, alarm: UnitAlarm) -> None:
        """The centre has it; a newer one may have taken its place meanwhile. Raises DeviceError."""
        async with self._turn:
            if alarm in self._waiting:
                await asyncio.to_thread(self._store.remove, KIND, alarm.alarm_id)
                self._waiting.remove(alarm)


class AlarmLine:
    """Tells the hub of an alarm and waits for its word that it is written down. Make it before the channel starts.

    A broker's acknowledgement frees nothing here either: what it has taken, and not handed on, is lost with it.
    """

    def __init__(self, channel: MqttChannel, unit: str) -> None:
        self._channel = channel
        self._written: dict[str, asyncio.Event] = {}
        channel.on(DN_ALARM, self._on_written, unit=unit)

    async def tell(self, topic: str, payload: bytes) -> bool:
        """Publish an alarm; whether the hub has written it down. Raises what the channel raises."""
        alarm = decode(UnitAlarm, payload, MESSAGE_BYTES_MAX).alarm_id
        written = self._written.setdefault(alarm, asyncio.Event())
        try:
            if not await self._channel.publish(topic, payload):
                return False
            async with asyncio.timeout(ANSWER_S):
                await written.wait()
        except TimeoutError:
            return False
        finally:
            self._written.pop(alarm, None)
        return True

    async def _on_written(self, names: dict[str, str], _payload: bytes) -> None:
        if (waiting := self._written.get(names["alarm"])) is not None:
            waiting.set()
