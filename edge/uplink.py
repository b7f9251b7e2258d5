"""Offers the spool's packets to the hub, oldest first, until each has the hub's receipt (M18, M20).

Nothing is believed but a receipt that verifies: the broker's acknowledgement only moves the window. A packet that gets
no answer is offered again after a back-off with full jitter, while the next ones pass it. One that fails for its own
sake (the broker finds it too large even in small chunks, the hub refuses it, its file cannot be read) is set aside with
an alert after three failures, never deleted. Bulk waits until the hub is announced as on-line.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import structlog

from contract.channel_mqtt import Backoff, Connection, Disconnected, MqttChannel
from contract.clock import Clock
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RemoteError, TransientError
from contract.lifecycle import PacketState
from contract.seal import StatementPublicKey
from contract.topics import DN_NEED, DN_RECEIPT, HUB_STATE, UP_CHUNK, UP_OFFER, UP_STATUS
from contract.transfer import (
    ATTEMPT_ANEW,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    MESSAGE_BYTES_MAX,
    Chunk,
    HubState,
    LinkCheck,
    Need,
    Observer,
    Offer,
    Receipt,
    Step,
    UplinkStatus,
    chunk_bytes,
    chunk_count,
    encode_chunk,
    unobserved,
    verify_receipt,
)
from edge.spool import Spool, SpooledPacket
from edge.uplink_settings import UplinkSettings

log = structlog.get_logger("uplink")

Answer = Need | Receipt


@dataclass(slots=True)
class _Trial:
    """What this run of the process has tried with one packet. failures: those that are the packet's own."""

    tries: int = 0
    failures: int = 0
    not_before_s: float = 0.0


class Uplink:
    """Sends the spool over a channel. Make it before the channel starts; `run` until cancelled."""

    def __init__(
        self,
        channel: MqttChannel,
        spool: Spool,
        settings: UplinkSettings,
        hub_statement: StatementPublicKey,
        clock: Clock,
        *,
        observe: Observer = unobserved,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._channel = channel
        self._spool = spool
        self._settings = settings
        self._hub_statement = hub_statement
        self._clock = clock
        self._observe = observe
        self._uniform = uniform
        self._backoff = Backoff(settings.backoff_first_s, settings.backoff_max_s)
        self._trials: dict[str, _Trial] = {}
        self._answers: dict[str, asyncio.Queue[Answer]] = {}
        self._work = asyncio.Event()
        self._hub_online = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._chunk_limit = CHUNK_BYTES_MAX
        self._chunk = CHUNK_BYTES_MAX
        self._attempt = clock.wall_ms()
        self._sent_since_restart = 0
        self._last_error = ""
        self._running = False
        self._next_release_check_s = 0.0
        self.links: Callable[[], LinkCheck | None] = lambda: None
        channel.on(HUB_STATE, self._on_hub_state)
        channel.on(DN_NEED, self._on_need, unit=settings.unit)
        channel.on(DN_RECEIPT, self._on_receipt, unit=settings.unit)
        channel.on_connected(self._on_connected)
        channel.on_lost(self._on_lost)

    @property
    def hub_online(self) -> bool:
        """Whether the hub has said that it is there, on this connection."""
        return self._hub_online.is_set()

    def wake(self) -> None:
        """Something was put into the spool; callable from any thread."""
        self._loop.call_soon_threadsafe(self._work.set)

    def release_held(self) -> int:
        """Try again what was set aside after failures; how many. Writes the spool: call it off the loop."""
        released = self._spool.release_held()
        self.wake()
        return released

    async def run(self) -> None:
        """Send whatever is pending, for ever."""
        self._running = True
        status = asyncio.create_task(self._publish_status())
        try:
            while True:
                await self._hub_online.wait()
                self._work.clear()
                try:
                    packet, wait_s = await self._next()
                except DeviceError as error:
                    self._note(error)
                    packet, wait_s = None, self._settings.idle_s
                if packet is None:
                    try:
                        async with asyncio.timeout(wait_s):
                            await self._work.wait()
                    except TimeoutError:
                        continue
                else:
                    await self._try(packet)
        finally:
            self._running = False
            status.cancel()

    def status(self) -> UplinkStatus:
        """The five lines of the panel, and what is waiting with its age. Reads the spool: call it off the loop."""
        database: Literal["CONNECTED", "DISCONNECTED"] = "CONNECTED"
        try:
            counts = self._spool.counts()
        except (DeviceError, OSError):
            return self._status("DISCONNECTED")
        return self._status(database).model_copy(
            update={
                "pending": counts.pending,
                "pending_bytes": counts.pending_bytes,
                "awaiting_release": counts.awaiting_release,
                "held": counts.held,
                "oldest_age_s": counts.oldest_age_s,
            }
        )

    def _status(self, database: Literal["CONNECTED", "DISCONNECTED"]) -> UplinkStatus:
        return UplinkStatus(
            database=database,
            correlation_id=self._settings.site,
            queue="CONNECTED" if self._channel.connection else "DISCONNECTED",
            scheduler="RUNNING" if self._running else "STOPPED",
            records_sent_since_restart=self._sent_since_restart,
            hub_online=self.hub_online,
            last_error=self._last_error[:200],
            links=self.links(),
        )

    async def _next(self) -> tuple[SpooledPacket | None, float]:
        """The oldest packet whose time has come, or how long to wait for one."""
        pending = await asyncio.to_thread(self._spool.pending)
        self._trials = {packet.pid: self._trials[packet.pid] for packet in pending if packet.pid in self._trials}
        now_s = self._now_s()
        wait_s = self._settings.idle_s
        for packet in pending:
            not_before_s = self._trial(packet.pid).not_before_s
            if not_before_s <= now_s:
                return packet, 0.0
            wait_s = min(wait_s, not_before_s - now_s)
        if now_s >= self._next_release_check_s:
            self._next_release_check_s = now_s + self._settings.release_check_s
            for packet in await asyncio.to_thread(self._spool.awaiting_release):
                if self._work.is_set() or not self._hub_online.is_set():
                    break  # a fresh packet goes first
                await self._ask_for_release(packet)
        return None, wait_s

    async def _try(self, packet: SpooledPacket) -> None:
        """One try with one packet; whatever goes wrong decides when, and whether, it is tried again."""
        trial = self._trial(packet.pid)
        trial.tries += 1
        try:
            await self._transfer(packet)
            self._trials.pop(packet.pid, None)
            return
        except _Postponed as later:
            self._note(later)
            return
        except Disconnected as loss:
            if loss.too_large:
                self._chunk_limit = max(CHUNK_BYTES_MIN, self._chunk // 2)
                trial.failures += 1
            self._note(loss)
        except TransientError as error:
            self._note(error)
        except (RemoteError, DeviceError) as error:
            trial.failures += 1
            self._note(error)
        if trial.failures >= self._settings.failures_max:
            await asyncio.to_thread(self._spool.hold, packet.pid, self._last_error)
            return
        trial.not_before_s = self._now_s() + self._backoff.wait_s(trial.tries, self._uniform)

    async def _transfer(self, packet: SpooledPacket) -> None:
        """Offer, send what is needed, wait for the receipt. Raises what `_try` sorts out."""
        sealed = await asyncio.to_thread(self._spool.read, packet.pid)
        answers: asyncio.Queue[Answer] = asyncio.Queue()
        self._answers[packet.pid] = answers
        try:
            offer = self._offer(packet.length)
            await self._send_offer(packet.pid, offer)
            answer = await self._answer(answers, "no answer to the offer")
            if not isinstance(answer, Need):
                return
            if answer.retry_after_ms:
                await self._postpone(answer.retry_after_ms)
            self._observe(Step.NEED_RECEIVED, packet.pid)
            if answer.chunk != offer.chunk:
                raise TransientError("The hub has cut the packet differently; it is offered again.")
            if packet.state is PacketState.SENT:
                await asyncio.to_thread(self._spool.mark_asked_again, packet.pid)
            await self._send_chunks(packet.pid, sealed, offer, answer)
            current = await asyncio.to_thread(self._spool.find, packet.pid)
            if current is not None and current.state is PacketState.QUEUED:
                await asyncio.to_thread(self._spool.mark_sent, packet.pid)
            self._observe(Step.SENT_COMPLETELY, packet.pid)
            if isinstance(await self._answer(answers, "no receipt yet"), Need):
                raise RemoteError("The hub could not put the packet together and asks for it again.")
        finally:
            del self._answers[packet.pid]

    async def _postpone(self, retry_after_ms: int) -> None:
        """The hub takes nothing now: come back when it says, not when our own back-off says."""
        wait_s = retry_after_ms / 1000
        for packet in await asyncio.to_thread(self._spool.pending):
            self._trial(packet.pid).not_before_s = self._now_s() + self._uniform(wait_s, 1.5 * wait_s)
        raise _Postponed(f"The hub takes nothing now and asks to come back in {wait_s:.0f} s.")

    async def _send_offer(self, pid: str, offer: Offer) -> None:
        topic = UP_OFFER.at(unit=self._settings.unit, pid=pid)
        if not await self._channel.publish(topic, encode(offer)):
            raise TransientError("Nobody at the centre hears the offer.")
        self._observe(Step.OFFER_SENT, pid)

    async def _send_chunks(self, pid: str, sealed: bytes, offer: Offer, need: Need) -> None:
        """Send what is needed, `window` chunks at a time. The first failure ends all of it."""
        topic = UP_CHUNK.at(unit=self._settings.unit, pid=pid)
        indices = iter(need.indices(offer.count))

        async def lane(indices: Iterator[int]) -> None:
            for index in indices:
                data = sealed[index * offer.chunk : (index + 1) * offer.chunk]
                if not await self._channel.publish(topic, encode_chunk(Chunk(index, data))):
                    raise TransientError("Nobody at the centre hears the chunks.")
                self._observe(Step.CHUNK_SENT, pid)

        lanes = [asyncio.create_task(lane(indices)) for _ in range(self._settings.window)]
        try:
            await asyncio.gather(*lanes)
        finally:
            for task in lanes:
                task.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    async def _ask_for_release(self, packet: SpooledPacket) -> None:
        """Ask whether a stored packet is freed by now. A hub that needs its chunks again has lost it: send it again."""
        answers: asyncio.Queue[Answer] = asyncio.Queue()
        self._answers[packet.pid] = answers
        try:
            await self._send_offer(packet.pid, self._offer(packet.length))
            if isinstance(await self._answer(answers, "no answer about a stored packet"), Need):
                await asyncio.to_thread(self._spool.mark_asked_again, packet.pid)
                log.warning("the hub has lost a packet that it had stored; it is sent again", pid=packet.pid)
                self._work.set()
        except (TransientError, RemoteError) as error:
            self._note(error)
        finally:
            del self._answers[packet.pid]

    async def _answer(self, answers: asyncio.Queue[Answer], otherwise: str) -> Answer:
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                return await answers.get()
        except TimeoutError:
            raise TransientError(f"The hub is silent: {otherwise}.") from None

    def _offer(self, length: int) -> Offer:
        self._attempt += 1
        return Offer(
            attempt=self._attempt,
            length=length,
            chunk=self._chunk,
            count=chunk_count(length, self._chunk),
            key_id=self._settings.unit,
        )

    async def _on_connected(self, connection: Connection) -> None:
        self._chunk = min(self._chunk_limit, chunk_bytes(connection.packet_bytes_max))

    def _on_lost(self, loss: Disconnected) -> None:
        self._hub_online.clear()
        self._last_error = loss.message

    async def _on_hub_state(self, _names: dict[str, str], payload: bytes) -> None:
        if not decode(HubState, payload, MESSAGE_BYTES_MAX).online:
            self._hub_online.clear()
            return
        if not self._hub_online.is_set():
            # A whole country's units hear this at once: each waits a moment of its own before it offers.
            soonest_s = self._now_s() + self._uniform(0.0, self._settings.backoff_first_s)
            for trial in self._trials.values():
                trial.not_before_s = min(trial.not_before_s, soonest_s)
            self._hub_online.set()
            self._work.set()

    async def _on_need(self, names: dict[str, str], payload: bytes) -> None:
        answers = self._answers.get(names["pid"])
        need = decode(Need, payload, MESSAGE_BYTES_MAX)
        if answers is not None and need.attempt in (self._attempt, ATTEMPT_ANEW):
            answers.put_nowait(need)

    async def _on_receipt(self, names: dict[str, str], payload: bytes) -> None:
        """Verify a receipt, record it, purge what it frees; a transfer that waits for it hears of it last."""
        receipt = verify_receipt(payload, self._hub_statement, names["pid"])
        self._observe(Step.RECEIPT_VERIFIED, receipt.pid)
        before = await asyncio.to_thread(self._spool.find, receipt.pid)
        after = await asyncio.to_thread(self._spool.accept_receipt, receipt)
        if before is not None and before.state in (PacketState.QUEUED, PacketState.SENT):
            self._sent_since_restart += 1
        if after is not None and after.state is PacketState.PURGEABLE:
            await asyncio.to_thread(self._spool.purge)
        answers = self._answers.get(receipt.pid)
        if answers is not None:
            answers.put_nowait(receipt)

    async def _publish_status(self) -> None:
        topic = UP_STATUS.at(unit=self._settings.unit)
        while True:
            status = await asyncio.to_thread(self.status)
            try:
                await self._channel.publish(topic, encode(status), qos=UP_STATUS.qos, expiry_s=UP_STATUS.expiry_s)
            except TransientError:
                log.debug("status not published, no connection")
            await asyncio.sleep(self._settings.status_interval_s)

    def _trial(self, pid: str) -> _Trial:
        return self._trials.setdefault(pid, _Trial())

    def _note(self, error: TransientError | RemoteError | DeviceError) -> None:
        self._last_error = error.message
        log.info("transfer interrupted", **error.diagnostics())

    def _now_s(self) -> float:
        return self._clock.monotonic_ms() / 1000


class _Postponed(TransientError):
    """The hub said when to come back."""
