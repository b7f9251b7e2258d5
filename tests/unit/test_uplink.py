"""The uplink believes receipts and nothing else, and no single packet, hub or line can stop the others for good."""

from __future__ import annotations

import asyncio

import pytest

from contract.channel_mqtt import Disconnected
from contract.dispatch import decode, encode
from contract.errors import DeviceError
from contract.lifecycle import PacketState
from contract.topics import DN_NEED, DN_RECEIPT, HUB_STATE, UP_CHUNK, UP_OFFER, UP_STATUS
from contract.transfer import (
    ATTEMPT_ANEW,
    CHUNK_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    Disposition,
    Need,
    Receipt,
    Step,
    UplinkStatus,
    sign_receipt,
)
from edge.uplink_settings import uplink_settings
from tests.unit.transfer_keys import (
    OTHER_STATEMENT_KEY,
    STATEMENT_KEY,
)
from tests.unit.uplink_fakes import SETTINGS, UNIT, Desk, Hub


async def test_a_packet_is_sent_receipted_and_purged_in_the_order_of_the_protocol(tmp_path):
    async with Desk(tmp_path, Hub()) as desk:
        desk.put(bytes(150_000))
        await desk.until(lambda: desk.spool.counts().total == 0)
        assert desk.line.count(UP_CHUNK) == 3
        assert desk.uplink.status().records_sent_since_restart == 1
    ends = [desk.steps.index(step) for step in (Step.OFFER_SENT, Step.NEED_RECEIVED, Step.CHUNK_SENT)]
    assert ends == sorted(ends)
    assert desk.steps.index(Step.RECEIPT_VERIFIED) > desk.steps.index(Step.CHUNK_SENT)


async def test_packets_go_oldest_first(tmp_path):
    async with Desk(tmp_path, Hub(), online=False) as desk:
        pids = [desk.put(bytes([number]) * 50) for number in (5, 3, 9)]
        await desk.line.hub_is(online=True)
        await desk.until(lambda: len(desk.hub.committed) == 3)
        assert desk.hub.committed == pids


async def test_bulk_waits_until_the_hub_is_announced(tmp_path):
    async with Desk(tmp_path, Hub(), online=False) as desk:
        desk.put()
        await desk.a_while()
        assert desk.line.count(UP_OFFER) == 0
        await desk.line.hub_is(online=True)
        await desk.until(lambda: desk.hub.committed)


async def test_stored_stops_sending_and_keeps_the_bytes_until_released(tmp_path):
    hub = Hub()
    hub.disposition = Disposition.STORED
    async with Desk(tmp_path, hub) as desk:
        pid = desk.put()
        await desk.until(lambda: desk.spool.counts().awaiting_release == 1)
        chunks = desk.line.count(UP_CHUNK)
        await desk.a_while()
        assert desk.line.count(UP_CHUNK) == chunks
        assert desk.spool.read(pid) == b"sealed"
        hub.disposition = Disposition.RELEASED
        await hub.send_receipt(desk.line, pid)
        await desk.until(lambda: desk.spool.counts().total == 0)
        assert desk.uplink.status().records_sent_since_restart == 1


async def test_a_unit_that_missed_the_release_asks_for_it(tmp_path):
    hub = Hub()
    hub.disposition = Disposition.STORED
    settings = SETTINGS.model_copy(update={"release_check_s": 0.02})
    async with Desk(tmp_path, hub, settings) as desk:
        desk.put()
        await desk.until(lambda: desk.spool.counts().awaiting_release == 1)
        hub.disposition = Disposition.QUARANTINED
        await desk.until(lambda: desk.spool.counts().total == 0)


async def test_a_hub_restored_from_an_older_backup_gets_again_what_it_had_stored(tmp_path):
    hub = Hub()
    hub.disposition = Disposition.STORED
    settings = SETTINGS.model_copy(update={"release_check_s": 0.02})
    async with Desk(tmp_path, hub, settings) as desk:
        pid = desk.put()
        await desk.until(lambda: desk.spool.counts().awaiting_release == 1)
        hub.committed.clear()
        hub.parts.clear()
        hub.disposition = Disposition.RELEASED
        await desk.until(lambda: desk.spool.counts().total == 0)
        assert hub.committed == [pid]


@pytest.mark.parametrize("forge", ["key", "length", "pid", "garbage"])
async def test_a_forged_receipt_frees_nothing(tmp_path, forge):
    class Forger(Hub):
        async def send_receipt(self, line, pid):
            receipt = Receipt(
                pid=pid if forge != "pid" else "ab" * 32,
                length=self.offers[pid].length + (forge == "length"),
                hub_sequence=1,
                time_ms=1,
                disposition=Disposition.RELEASED,
            )
            signed = sign_receipt(receipt, OTHER_STATEMENT_KEY if forge == "key" else STATEMENT_KEY)
            await line.say(DN_RECEIPT.at(unit=UNIT, pid=pid), b"\xa0" if forge == "garbage" else signed)

    async with Desk(tmp_path, Forger()) as desk:
        pid = desk.put()
        await desk.until(lambda: "refused" in [topic for topic, _ in desk.line.published])
        await desk.a_while()
        assert desk.spool.find(pid).state in (PacketState.SENT, PacketState.QUEUED)
        assert desk.spool.read(pid) == b"sealed"


async def test_a_lost_receipt_costs_an_offer_and_no_chunk(tmp_path):
    class Forgetful(Hub):
        receipts = 0

        async def send_receipt(self, line, pid):
            self.receipts += 1
            if self.receipts > 1:
                await super().send_receipt(line, pid)

    async with Desk(tmp_path, Forgetful()) as desk:
        desk.put(bytes(100_000))
        await desk.until(lambda: desk.spool.counts().total == 0)
        assert desk.line.count(UP_CHUNK) == 2
        assert desk.line.count(UP_OFFER) == 2


async def test_after_a_cut_only_what_is_missing_is_sent_again(tmp_path):
    class CutAfterFive(Hub):
        heard = 0

        async def on_chunk(self, line, pid, chunk):
            self.heard += 1
            if self.heard == 6:
                line.cut()
                raise Disconnected("cut")
            await super().on_chunk(line, pid, chunk)

    settings = SETTINGS.model_copy(update={"window": 1})
    async with Desk(tmp_path, CutAfterFive(), settings) as desk:
        desk.put(bytes(10 * CHUNK_BYTES_MAX))
        await desk.until(lambda: desk.hub.heard == 6)
        await desk.a_while()
        assert desk.line.count(UP_CHUNK) == 6
        await desk.line.connect()
        await desk.line.hub_is(online=True)
        await desk.until(lambda: desk.spool.counts().total == 0)
        assert desk.line.count(UP_CHUNK) == 11


async def test_the_window_bounds_what_is_on_its_way(tmp_path):
    class Slow(Hub):
        now = most = 0

        async def on_chunk(self, line, pid, chunk):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.002)
            self.now -= 1
            await super().on_chunk(line, pid, chunk)

    async with Desk(tmp_path, Slow()) as desk:
        desk.put(bytes(30 * CHUNK_BYTES_MAX))
        await desk.until(lambda: desk.spool.counts().total == 0)
        assert desk.hub.most == SETTINGS.window


async def test_the_chunk_follows_the_broker_s_limit_and_is_halved_when_it_is_still_too_large(tmp_path):
    class Picky(Hub):
        async def on_chunk(self, line, pid, chunk):
            if len(chunk.data) > 5_000:
                loss = Disconnected("too large", 0x95)
                line.cut(loss)
                await line.connect(packet_bytes_max=17 * 1024)
                await line.hub_is(online=True)
                raise loss
            await super().on_chunk(line, pid, chunk)

    settings = SETTINGS.model_copy(update={"failures_max": 9})
    async with Desk(tmp_path, Picky(), settings, online=False) as desk:
        await desk.line.connect(packet_bytes_max=17 * 1024)
        await desk.line.hub_is(online=True)
        pid = desk.put(bytes(40_000))
        await desk.until(lambda: desk.spool.counts().total == 0)
        assert desk.hub.offers[pid].chunk == 4096


async def test_a_packet_that_fails_for_its_own_sake_is_held_after_three_times_and_the_next_one_passes(tmp_path):
    class Refusing(Hub):
        async def on_chunk(self, line, pid, chunk):
            if chunk.data == b"poison":
                self.parts[pid].clear()
                need = Need(attempt=ATTEMPT_ANEW, chunk=self.offers[pid].chunk, ranges=((0, 0),))
                asyncio.get_running_loop().call_soon(
                    lambda: asyncio.ensure_future(line.say(DN_NEED.at(unit=UNIT, pid=pid), encode(need)))
                )
                return
            await super().on_chunk(line, pid, chunk)

    async with Desk(tmp_path, Refusing()) as desk:
        poison = desk.put(b"poison")
        good = desk.put(b"good")
        await desk.until(lambda: desk.hub.committed == [good] and desk.spool.counts().held == 1)
        held = desk.spool.find(poison)
        assert (held.held_reason != "", desk.spool.read(poison)) == (True, b"poison")
        assert desk.uplink.status().held == 1


async def test_a_file_that_cannot_be_read_is_held_and_the_next_one_passes(tmp_path):
    async with Desk(tmp_path, Hub(), online=False) as desk:
        damaged = desk.put(b"damaged")
        good = desk.put(b"good")
        (tmp_path / "spool" / "packets" / damaged).write_bytes(b"other")
        await desk.line.hub_is(online=True)
        await desk.until(lambda: desk.hub.committed == [good] and desk.spool.counts().held == 1)


async def test_a_silent_hub_does_not_make_packets_fail(tmp_path):
    class Silent(Hub):
        silent = True

        async def on_offer(self, line, pid, offer):
            if not self.silent:
                await super().on_offer(line, pid, offer)

    async with Desk(tmp_path, Silent()) as desk:
        desk.put()
        await desk.until(lambda: desk.line.count(UP_OFFER) > SETTINGS.failures_max + 1)
        assert desk.spool.counts().held == 0
        assert "silent" in desk.uplink.status().last_error
        desk.hub.silent = False
        await desk.until(lambda: desk.spool.counts().total == 0)


async def test_a_late_answer_to_an_earlier_offer_is_not_taken_for_this_one_s(tmp_path):
    class Late(Hub):
        async def on_offer(self, line, pid, offer):
            old = Need(attempt=offer.attempt - 1, chunk=offer.chunk, ranges=(), retry_after_ms=3_600_000)
            await line.say(DN_NEED.at(unit=UNIT, pid=pid), encode(old))
            await super().on_offer(line, pid, offer)

    async with Desk(tmp_path, Late()) as desk:
        desk.put()
        await desk.until(lambda: desk.spool.counts().total == 0)


async def test_a_hub_that_is_full_is_left_alone_for_as_long_as_it_asks(tmp_path):
    class Full(Hub):
        async def on_offer(self, line, pid, offer):
            later = Need(attempt=offer.attempt, chunk=offer.chunk, ranges=(), retry_after_ms=60_000)
            await line.say(DN_NEED.at(unit=UNIT, pid=pid), encode(later))

    async with Desk(tmp_path, Full()) as desk:
        desk.put(b"1")
        desk.put(b"2")
        await desk.until(lambda: desk.line.count(UP_OFFER) == 1)
        await desk.a_while()
        assert desk.line.count(UP_OFFER) == 1


async def test_nobody_listening_is_not_taken_for_delivery(tmp_path):
    class Nobody(Hub):
        async def hear(self, line, topic, payload):
            return False

    async with Desk(tmp_path, Nobody()) as desk:
        pid = desk.put()
        await desk.until(lambda: desk.line.count(UP_OFFER) > 2)
        assert desk.spool.find(pid).state is PacketState.QUEUED
        assert "Nobody" in desk.uplink.status().last_error


async def test_garbage_from_the_hub_s_side_changes_nothing(tmp_path):
    async with Desk(tmp_path, Hub(), online=False) as desk:
        pid = desk.put()
        for topic in (HUB_STATE.template, DN_NEED.at(unit=UNIT, pid=pid), DN_RECEIPT.at(unit=UNIT, pid=pid)):
            await desk.line.say(topic, b"\xff\x00garbage")
        assert desk.spool.find(pid).state is PacketState.QUEUED
        await desk.line.hub_is(online=True)
        await desk.until(lambda: desk.spool.counts().total == 0)


async def test_the_panel_shows_the_scheduler_s_five_lines(tmp_path):
    async with Desk(tmp_path, Hub(), online=False) as desk:
        desk.put()
        desk.clock.now_ms += 61_000
        await desk.until(lambda: desk.line.count(UP_STATUS) > 0)
        status = desk.uplink.status()
        five = (status.mode, status.database, status.correlation_id, status.queue, status.scheduler)
        assert five == ("PRODUCTION", "CONNECTED", "9901-A", "CONNECTED", "RUNNING")
        assert (status.records_sent_since_restart, status.pending, status.oldest_age_s) == (0, 1, 61)
        desk.line.connection = None
        assert desk.uplink.status().queue == "DISCONNECTED"
        sent = [payload for topic, payload in desk.line.published if UP_STATUS.parse(topic)]
        assert decode(UplinkStatus, sent[0], MESSAGE_BYTES_MAX).correlation_id == "9901-A"
    stopped = desk.uplink.status()
    assert (stopped.database, stopped.scheduler) == ("DISCONNECTED", "STOPPED")


def test_a_misspelt_setting_of_the_uplink_is_named():
    assert uplink_settings(UNIT, "9901-A", {"backoff_max_s": 60}).backoff_max_s == 60
    with pytest.raises(DeviceError, match=r"uplink\.backof_max_s"):
        uplink_settings(UNIT, "9901-A", {"backof_max_s": 60})
