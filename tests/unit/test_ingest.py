"""The receiving end: every good packet is committed once, and whatever else comes leaves the hub as it was."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from contract.channel_disk import Disk
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RemoteError
from contract.identifiers import pid_of
from contract.lifecycle import UnitState
from contract.packet import encode as encode_packet
from contract.seal import SEALED_BYTES_MAX, load_signing_key, seal
from contract.topics import DN_NEED, DN_RECEIPT
from contract.transfer import (
    ATTEMPT_ANEW,
    Chunk,
    Disposition,
    Need,
    Offer,
    Receipt,
    chunk_count,
    encode_chunk,
    verify_receipt,
)
from hub.ingest import Ingest
from hub.parts import FLUSH_AFTER_MS, FLUSH_CHUNKS, Quota
from hub.schema.tables import Packet, ReceiptRow, Record, Unit
from tests.fault.rig import OTHER_UNIT, UNIT, capture_id, make_capture, sealed_capture
from tests.fault.rig_hub import hub_context, store_of
from tests.fault.rig_world import make_world
from tests.unit.transfer_keys import STRANGER, SetClock, private_pem

CHUNK = 1024


class Hub:
    """An ingest over the hub's own database, spoken to as units do."""

    def __init__(self, rig, quota=Quota(), disk=None):
        self.rig = rig
        self.clock = SetClock()
        self.context = hub_context(rig, self.clock)
        self.quota, self.disk = quota, disk or Disk()
        self.start()

    def start(self):
        """Start, or start again after a crash: nothing is closed in good order."""
        store, keys = store_of(self.context)
        keys_of_hub = self.context.keys
        self.ingest = Ingest(
            self.context.blob_dir,
            store,
            keys,
            keys_of_hub.packet,
            keys_of_hub.statement,
            self.clock,
            quota=self.quota,
            disk=self.disk,
        )

    def offer(self, sealed, unit=UNIT, chunk=CHUNK, attempt=1, pid=None, length=None):
        """Offer a packet; returns the Need or the verified Receipt."""
        length = length or len(sealed)
        offer = Offer(attempt=attempt, length=length, chunk=chunk, count=chunk_count(length, chunk), key_id=unit)
        return self.answer(
            self.ingest.on_offer(unit, pid or pid_of(sealed), encode(offer)) + self.ingest.finish(), unit
        )

    def chunk(self, sealed, index, unit=UNIT, chunk=CHUNK, pid=None):
        """Send one chunk; returns the Receipt or Need that follows, or None."""
        data = sealed[index * chunk : (index + 1) * chunk]
        answers = self.ingest.on_chunk(unit, pid or pid_of(sealed), encode_chunk(Chunk(index, data)))
        return self.answer(answers + self.ingest.finish(), unit)

    def answer(self, messages, unit):
        """What is in the one message that the hub answers, if it does."""
        if not messages:
            return None
        (message,) = messages
        if names := DN_NEED.parse(message.topic):
            assert names["unit"] == unit
            return decode(Need, message.payload, 16384)
        names = DN_RECEIPT.parse(message.topic)
        assert names["unit"] == unit
        return verify_receipt(message.payload, self.rig.hub_statement(), names["pid"])

    def take(self, sealed, unit=UNIT):
        """A whole transfer; returns the receipt."""
        answer = self.offer(sealed, unit)
        while isinstance(answer, Need):
            assert answer.ranges, "the hub takes nothing now"
            indices = answer.indices(chunk_count(len(sealed), CHUNK))
            for index in indices:
                answer = self.chunk(sealed, index, unit)
        return answer

    def rows(self, table):
        """How many rows a table has."""
        with self.context.database.reading() as session:
            return session.scalar(select(func.count()).select_from(table))

    @property
    def state(self):
        """Everything that a refused message must leave alone."""
        return self.rows(Packet), self.rows(Record), self.rows(ReceiptRow)


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("ingest"))


@pytest.fixture(scope="module")
def hub(rig):
    return Hub(rig, Quota(parts_max=100))


@pytest.fixture
def numbers(request):
    """Capture numbers that no other test of the module uses."""
    return iter(range(1000 * (1 + request.session.items.index(request.node)), 10**9))


@pytest.fixture
def sealed(rig, numbers):
    return sealed_capture(rig, next(numbers), 5_000)


def test_a_packet_that_arrives_whole_is_committed_and_receipted_as_stored(hub, sealed):
    receipt = hub.take(sealed)
    assert (receipt.disposition, receipt.length) == (Disposition.STORED, len(sealed))
    assert hub.ingest.blob_path(pid_of(sealed)).read_bytes() == sealed


def test_the_first_answer_names_every_chunk_and_the_second_only_what_is_missing(hub, sealed):
    count = chunk_count(len(sealed), CHUNK)
    assert hub.offer(sealed, attempt=7) == Need(attempt=7, chunk=CHUNK, ranges=((0, count - 1),))
    hub.chunk(sealed, 1)
    hub.chunk(sealed, 2)
    assert hub.offer(sealed, attempt=8).ranges == ((0, 0), (3, count - 1))


def test_chunks_may_come_in_any_order_and_twice(hub, sealed):
    hub.offer(sealed)
    order = list(range(chunk_count(len(sealed), CHUNK)))
    random.Random(3).shuffle(order)
    answers = [hub.chunk(sealed, index) for index in [*order[:-1], *order[:3], order[-1]]]
    assert [answer for answer in answers if answer] == [answers[-1]]
    assert answers[-1].disposition is Disposition.STORED


def test_a_packet_offered_again_gets_the_same_receipt_and_is_not_committed_again(hub, sealed):
    first = hub.take(sealed)
    before = hub.state
    assert hub.offer(sealed) == first
    assert hub.chunk(sealed, 0) is None
    assert hub.state == before


def test_the_same_capture_sealed_again_makes_no_second_record(hub, rig, numbers):
    number = next(numbers)
    hub.take(sealed_capture(rig, number, 3_000))
    records = hub.rows(Record)
    assert hub.take(sealed_capture(rig, number, 3_000)).disposition is Disposition.STORED
    assert hub.rows(Record) == records


def test_a_hub_that_crashed_resumes_where_the_bitmap_was_durable(hub, rig, numbers):
    sealed = sealed_capture(rig, next(numbers), 40_000)
    hub.offer(sealed)
    for index in range(35):
        hub.chunk(sealed, index)
    hub.start()
    assert hub.offer(sealed).ranges[0][0] == FLUSH_CHUNKS
    assert hub.take(sealed).disposition is Disposition.STORED


def test_a_slow_line_s_chunks_become_durable_with_time(hub, sealed):
    hub.offer(sealed)
    hub.chunk(sealed, 0)
    hub.clock.now_ms += FLUSH_AFTER_MS
    hub.ingest.tick()
    hub.start()
    assert hub.offer(sealed).ranges[0][0] == 1


def test_a_crash_between_file_and_commit_is_mended_by_the_next_offer(hub, sealed):
    hub.ingest.blob_path(pid_of(sealed)).write_bytes(sealed)
    assert hub.offer(sealed).disposition is Disposition.STORED


def test_a_stored_file_that_was_damaged_before_the_commit_is_asked_for_again(hub, sealed):
    hub.ingest.blob_path(pid_of(sealed)).write_bytes(sealed[:-1] + b"\0")
    assert hub.offer(sealed) is None
    assert isinstance(hub.offer(sealed), Need)


def test_chunks_that_do_not_make_up_the_packet_are_asked_for_again_and_nothing_is_committed(hub, sealed):
    before = hub.state
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    hub.offer(sealed)
    count = chunk_count(len(sealed), CHUNK)
    for index in range(count - 1):
        hub.chunk(sealed, index)
    answer = hub.chunk(flipped, count - 1, pid=pid_of(sealed))
    assert answer == Need(attempt=ATTEMPT_ANEW, chunk=CHUNK, ranges=((0, count - 1),))
    assert hub.state == before


def quarantined(hub, sealed, reason, unit=UNIT):
    """The packet is kept, receipted so that the unit is freed, listed with its reason, and makes no record."""
    records = hub.rows(Record)
    receipt = hub.take(sealed, unit)
    assert receipt.disposition is Disposition.QUARANTINED
    assert reason in receipt.reason
    assert hub.rows(Record) == records
    assert hub.ingest.blob_path(pid_of(sealed)).read_bytes() == sealed


def test_a_truncated_packet_is_quarantined(hub, sealed):
    quarantined(hub, sealed[:-100], "ends")


def test_a_bit_flipped_packet_is_quarantined(hub, sealed):
    flipped = bytearray(sealed)
    flipped[2_500] ^= 4
    quarantined(hub, bytes(flipped), "decrypted")


def test_a_wrongly_signed_packet_is_quarantined(hub, rig, numbers):
    forged = load_signing_key(private_pem(STRANGER.key), UNIT)
    quarantined(hub, seal(encode_packet(make_capture(next(numbers), 2_000)), forged, rig.recipients()), "signature")


def test_a_packet_of_an_unknown_unit_is_quarantined_with_the_name_it_claims(hub, rig, numbers):
    envelope = encode_packet(make_capture(next(numbers), 2_000))
    quarantined(hub, seal(envelope, STRANGER.signing, rig.recipients()), "'stranger'")


def test_a_wrongly_addressed_packet_is_quarantined(hub, rig, numbers):
    envelope = encode_packet(make_capture(next(numbers), 2_000))
    quarantined(hub, seal(envelope, rig.signing_key(), [STRANGER.recipient]), "not sealed to 'hub'")


def test_a_packet_that_names_another_unit_than_its_signer_is_quarantined(hub, rig, numbers):
    envelope = encode_packet(make_capture(next(numbers), 2_000, unit=OTHER_UNIT))
    quarantined(hub, seal(envelope, rig.signing_key(), rig.recipients()), "another unit")


def test_a_well_sealed_packet_of_garbage_is_quarantined(hub, rig):
    quarantined(hub, seal(b"\xa1no packet", rig.signing_key(), rig.recipients()), "")


def test_packets_of_a_suspended_unit_are_quarantined_not_lost(hub, rig, numbers):
    with hub.context.database.transaction() as session:
        session.execute(update(Unit).where(Unit.id == OTHER_UNIT).values(state=UnitState.SUSPENDED))
    quarantined(hub, sealed_capture(rig, next(numbers), 2_000, OTHER_UNIT), "suspended", OTHER_UNIT)
    with hub.context.database.transaction() as session:
        session.execute(update(Unit).where(Unit.id == OTHER_UNIT).values(state=UnitState.IN_SERVICE))


def test_a_replayed_capture_of_another_person_is_quarantined(hub, rig, numbers):
    number = next(numbers)
    hub.take(sealed_capture(rig, number, 2_000))
    twin = make_capture(next(numbers), 2_000).model_copy(update={"id": capture_id(number)})
    quarantined(hub, seal(encode_packet(twin), rig.signing_key(), rig.recipients()), "another")


def test_a_packet_collected_by_media_may_arrive_through_another_unit(hub, sealed):
    assert hub.take(sealed, OTHER_UNIT).disposition is Disposition.STORED


def test_an_oversized_offer_is_refused(hub, sealed):
    before = hub.state
    fields = {"attempt": 1, "length": SEALED_BYTES_MAX + 1, "chunk": 65536, "count": 257, "key_id": UNIT}
    good = Offer(attempt=1, length=1024, chunk=CHUNK, count=1, key_id=UNIT)
    with pytest.raises(RemoteError):
        hub.ingest.on_offer(UNIT, pid_of(sealed), encode(good.model_copy(update=fields)))
    assert hub.state == before


@pytest.mark.parametrize("pid", ["", "0" * 63, "../../etc/passwd", "G" * 64])
def test_a_foreign_pid_never_becomes_a_file(hub, pid):
    offer = encode(Offer(attempt=1, length=1024, chunk=CHUNK, count=1, key_id=UNIT))
    with pytest.raises(RemoteError):
        hub.ingest.on_offer(UNIT, pid, offer)
    with pytest.raises(RemoteError):
        hub.ingest.on_chunk(UNIT, pid, encode_chunk(Chunk(0, b"x")))


def test_chunks_that_nobody_asked_for_leave_no_trace(hub, sealed):
    before = hub.state
    for index in range(200):
        with pytest.raises(RemoteError):
            hub.ingest.on_chunk(UNIT, pid_of(sealed), encode_chunk(Chunk(index, b"flood")))
    assert hub.state == before
    assert not hub.ingest.blob_path(pid_of(sealed)).exists()


@pytest.mark.parametrize("chunk", [Chunk(99, b"x" * CHUNK), Chunk(0, b"x" * (CHUNK - 1)), Chunk(0, b"x" * (CHUNK + 1))])
def test_a_chunk_that_does_not_fit_its_packet_is_refused(hub, sealed, chunk):
    hub.offer(sealed)
    with pytest.raises(RemoteError):
        hub.ingest.on_chunk(UNIT, pid_of(sealed), encode_chunk(chunk))
    assert hub.offer(sealed).ranges[0][0] == 0


def test_a_chunk_with_a_wrong_checksum_is_refused_and_asked_for_again(hub, sealed):
    hub.offer(sealed)
    damaged = bytearray(encode_chunk(Chunk(0, sealed[:CHUNK])))
    damaged[50] ^= 1
    with pytest.raises(RemoteError, match="checksum"):
        hub.ingest.on_chunk(UNIT, pid_of(sealed), bytes(damaged))
    assert hub.offer(sealed).ranges[0][0] == 0


@given(st.binary(max_size=120))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_offers_and_chunks_are_refused_and_change_nothing(hub, garbage):
    before = hub.state
    for entrance in (hub.ingest.on_offer, hub.ingest.on_chunk):
        with pytest.raises(RemoteError):
            entrance(UNIT, "ab" * 32, garbage)
    assert hub.state == before


def test_a_unit_that_has_too_much_under_way_is_told_when_to_come_back(tmp_path):
    rig = make_world(tmp_path)
    hub = Hub(rig, Quota(parts_max=2, bytes_max=20_000, age_ms_max=1_000, retry_after_ms=5_000))
    one, two, three = (sealed_capture(rig, number, 5_000) for number in range(3))
    assert hub.offer(one).ranges
    assert hub.offer(sealed_capture(rig, 9, 18_000)) == Need(attempt=1, chunk=CHUNK, ranges=(), retry_after_ms=5_000)
    assert hub.offer(two).ranges
    assert hub.offer(three).retry_after_ms == 5_000
    assert hub.offer(three, OTHER_UNIT).ranges
    hub.clock.now_ms += 1_001
    hub.ingest.tick()
    assert hub.offer(three).ranges
    assert not (hub.context.blob_dir / "parts" / UNIT / f"{pid_of(one)}.part").exists()


def test_a_full_disk_asks_the_unit_to_come_back(tmp_path):
    class FullDisk(Disk):
        full = False

        def new_folder(self, folder):
            if self.full:
                raise DeviceError("No space left on device.")
            return super().new_folder(folder)

    rig = make_world(tmp_path)
    disk = FullDisk()
    hub = Hub(rig, disk=disk)
    disk.full = True
    sealed = sealed_capture(rig, 1, 2_000)
    assert hub.offer(sealed).retry_after_ms > 0
    disk.full = False
    assert hub.take(sealed).disposition is Disposition.STORED


def test_the_outbox_repeats_a_receipt_until_it_was_heard(hub, sealed):
    receipt = hub.take(sealed)
    waiting = [message for message in hub.ingest.outbox(receipt.hub_sequence - 1) if message.pid == receipt.pid]
    assert [message.settles for message in waiting] == [(receipt.pid, receipt.hub_sequence)]
    hub.ingest.mark_published([(receipt.pid, receipt.hub_sequence)])
    assert all(message.pid != receipt.pid for message in hub.ingest.outbox(0))


def test_another_cut_of_the_same_packet_starts_over(hub, sealed):
    hub.offer(sealed)
    hub.chunk(sealed, 0)
    need = hub.offer(sealed, chunk=2048)
    assert (need.chunk, need.ranges[0][0]) == (2048, 0)
    for index in need.indices(chunk_count(len(sealed), 2048)):
        answer = hub.chunk(sealed, index, chunk=2048)
    assert isinstance(answer, Receipt)


def test_torn_bitmaps_and_strange_files_among_the_parts_are_cleared_at_the_start(hub, sealed):
    hub.offer(sealed)
    hub.chunk(sealed, 0)
    hub.clock.now_ms += FLUSH_AFTER_MS
    hub.ingest.tick()
    folder = hub.context.blob_dir / "parts" / UNIT
    bitmap = folder / f"{pid_of(sealed)}.map"
    bitmap.write_bytes(bitmap.read_bytes()[:-2])
    (folder / "x.map.draft").write_bytes(b"half")
    hub.start()
    assert hub.offer(sealed).ranges[0][0] == 0
    assert not (folder / "x.map.draft").exists()
