"""The spool keeps what it acknowledged, deletes what the hub has freed and nothing else, and shows nobody a NIK."""

from __future__ import annotations

import os
import sqlite3

import pytest

from contract.channel_disk import Disk, SyncSite
from contract.errors import DeviceError, RemoteError
from contract.identifiers import pid_of
from contract.lifecycle import IllegalTransition, PacketState
from contract.transfer import Disposition, Receipt, Step
from edge.media import export_packets, import_packets
from edge.spool import RESERVE_BYTES, Spool
from tests.unit.transfer_keys import STORE_KEY, SetClock

NIK = "9901010101900001"


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def spool(tmp_path, clock):
    spool = Spool(tmp_path / "spool", STORE_KEY, clock, 1_000, 3)
    yield spool
    spool.close()


def receipt(sealed: bytes, disposition: Disposition = Disposition.RELEASED, sequence: int = 1) -> Receipt:
    return Receipt(pid=pid_of(sealed), length=len(sealed), hub_sequence=sequence, time_ms=1, disposition=disposition)


def put(spool: Spool, sealed: bytes = b"sealed") -> str:
    return spool.put(sealed, kind="enrolment", subject_id="c-1")


def test_a_packet_survives_a_restart_with_its_label(tmp_path, spool, clock):
    pid = put(spool)
    spool.close()
    again = Spool(tmp_path / "spool", STORE_KEY, clock, 1_000, 3)
    assert [packet.pid for packet in again.pending()] == [pid]
    assert again.read(pid) == b"sealed"
    assert again.label(pid).subject_id == "c-1"
    again.close()


def test_the_same_packet_twice_is_kept_once(spool):
    assert put(spool) == put(spool)
    assert spool.counts().total == 1


def test_packets_are_offered_oldest_first(spool):
    pids = [put(spool, bytes([number])) for number in (9, 1, 5)]
    assert [packet.pid for packet in spool.pending()] == pids


def test_no_nik_and_no_kind_is_readable_at_rest(tmp_path, spool):
    spool.put(b"sealed", kind="enrolment", subject_id=NIK)
    spool.close()
    for path in (tmp_path / "spool").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert NIK.encode() not in content
            assert b"enrolment" not in content
            assert path.stat().st_mode & 0o077 == 0 or path.name.endswith(("-wal", "-shm"))
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0


def test_a_label_does_not_open_with_another_unit_s_key(tmp_path, spool, clock):
    pid = put(spool)
    other = Spool(tmp_path / "spool", bytes(32), clock, 1_000, 3)
    with pytest.raises(RemoteError):
        other.label(pid)
    other.close()


def test_nothing_is_deleted_before_a_receipt_that_frees(tmp_path, spool):
    pid = put(spool)
    assert spool.purge() == 0
    spool.mark_sent(pid)
    assert spool.purge() == 0
    spool.accept_receipt(receipt(b"sealed", Disposition.STORED))
    assert spool.purge() == 0
    assert spool.read(pid) == b"sealed"
    spool.accept_receipt(receipt(b"sealed", Disposition.RELEASED, 2))
    assert spool.purge() == 1
    assert spool.find(pid) is None
    assert not list((tmp_path / "spool" / "packets").iterdir())


def test_the_spool_obeys_the_packet_s_lifecycle(spool):
    pid = put(spool)
    with pytest.raises(IllegalTransition):
        spool.mark_asked_again(pid)
    spool.mark_sent(pid)
    assert spool.mark_asked_again(pid).state is PacketState.QUEUED
    spool.mark_sent(pid)
    spool.accept_receipt(receipt(b"sealed", Disposition.STORED))
    with pytest.raises(IllegalTransition):
        spool.mark_sent(pid)
    assert spool.find(pid).state is PacketState.RECEIPTED
    assert spool.mark_asked_again(pid).state is PacketState.QUEUED


def test_a_quarantined_packet_frees_the_unit_because_the_hub_kept_the_bytes(spool):
    put(spool)
    spool.accept_receipt(receipt(b"sealed", Disposition.QUARANTINED))
    assert spool.purge() == 1


def test_receipts_that_come_again_or_late_change_nothing(spool):
    pid = put(spool)
    spool.accept_receipt(receipt(b"sealed", Disposition.STORED, 4))
    assert spool.accept_receipt(receipt(b"sealed", Disposition.STORED, 4)).state is PacketState.RECEIPTED
    spool.accept_receipt(receipt(b"sealed", Disposition.RELEASED, 5))
    assert spool.accept_receipt(receipt(b"sealed", Disposition.STORED, 4)).state is PacketState.PURGEABLE
    spool.purge()
    assert spool.accept_receipt(receipt(b"sealed")) is None
    assert spool.find(pid) is None


def test_a_receipt_for_another_length_changes_nothing(spool):
    pid = put(spool)
    wrong = receipt(b"sealed").model_copy(update={"length": 7})
    with pytest.raises(RemoteError):
        spool.accept_receipt(wrong)
    assert spool.find(pid).state is PacketState.QUEUED


def test_a_full_spool_refuses_before_a_capture_starts_and_still_takes_the_one_under_way(spool):
    assert spool.refuses() is None
    for number in range(3):
        put(spool, bytes([number]))
    assert "3 packets" in spool.refuses()
    put(spool, b"the capture that was under way")
    assert spool.counts().total == 4


def test_too_many_bytes_refuse_too(spool):
    put(spool, bytes(1_000))
    assert "1000 bytes" in spool.refuses()


def test_a_nearly_full_disk_refuses_too(tmp_path, clock):
    class SmallDisk(Disk):
        def free_bytes(self, folder):
            return RESERVE_BYTES - 1

    spool = Spool(tmp_path / "spool", STORE_KEY, clock, 1_000, 3, disk=SmallDisk())
    assert "nearly full" in spool.refuses()
    spool.close()


def test_a_disk_that_fails_is_an_error_for_the_technician_and_leaves_no_packet(tmp_path, clock):
    class FullDisk(Disk):
        def sync_file(self, descriptor, site):
            raise OSError(28, "No space left on device")

    spool = Spool(tmp_path / "spool", STORE_KEY, clock, 1_000, 3, disk=FullDisk())
    with pytest.raises(DeviceError, match="No space left"):
        put(spool)
    assert spool.counts().total == 0
    assert not list((tmp_path / "spool" / "packets").iterdir())
    spool.close()


@pytest.mark.parametrize("length", [0, 17 * 1024 * 1024])
def test_nothing_and_too_much_are_no_packets(spool, length):
    with pytest.raises(RemoteError):
        put(spool, bytes(length))


def test_what_was_not_acknowledged_before_a_crash_is_set_aside_and_never_offered(tmp_path, spool, clock):
    packets = tmp_path / "spool" / "packets"
    (packets / pid_of(b"no row")).write_bytes(b"no row")
    (packets / (pid_of(b"half") + ".draft")).write_bytes(b"ha")
    spool.close()
    again = Spool(tmp_path / "spool", STORE_KEY, clock, 1_000, 3)
    assert again.pending() == []
    assert again.counts().unclaimed == 1
    assert not list(packets.iterdir())
    again.close()


def test_a_file_that_vanished_or_changed_is_held_and_reported(tmp_path, spool, clock):
    lost, damaged = put(spool, b"lost"), put(spool, b"damaged")
    (tmp_path / "spool" / "packets" / lost).unlink()
    (tmp_path / "spool" / "packets" / damaged).write_bytes(b"other")
    with pytest.raises(DeviceError):
        spool.read(damaged)
    spool.close()
    again = Spool(tmp_path / "spool", STORE_KEY, clock, 1_000, 3)
    assert [packet.pid for packet in again.held()] == [lost]
    again.close()


def test_a_held_packet_lets_the_next_pass_and_comes_back_when_released(spool):
    first, second = put(spool, b"1"), put(spool, b"2")
    spool.hold(first, "too large")
    assert [packet.pid for packet in spool.pending()] == [second]
    assert spool.counts().held == 1
    assert spool.release_held() == 1
    assert [packet.pid for packet in spool.pending()] == [first, second]


def test_a_receipt_frees_a_held_packet_too(spool):
    pid = put(spool)
    spool.hold(pid, "too large")
    assert spool.accept_receipt(receipt(b"sealed")).held_reason == ""


def test_the_panel_counts_what_waits_and_how_long(spool, clock):
    put(spool, b"old")
    clock.now_ms += 90_000
    put(spool, b"new!")
    counts = spool.counts()
    assert (counts.pending, counts.pending_bytes, counts.oldest_age_s) == (2, 7, 90)
    spool.accept_receipt(receipt(b"old", Disposition.STORED))
    assert (spool.counts().pending, spool.counts().awaiting_release, spool.counts().oldest_age_s) == (1, 1, 0)


def test_packets_travel_by_media_and_importing_twice_is_importing_once(tmp_path, spool, clock):
    media = tmp_path / "media"
    media.mkdir()
    pids = [put(spool, b"1"), put(spool, b"2")]
    assert export_packets(spool, media) == 2
    other = Spool(tmp_path / "other", STORE_KEY, clock, 1_000, 9)
    assert import_packets(other, media) == 2
    assert import_packets(other, media) == 0
    assert {packet.pid for packet in other.pending()} == set(pids)
    assert spool.counts().total == 2
    other.close()


def test_a_damaged_file_on_media_is_refused(tmp_path, spool):
    media = tmp_path / "media"
    media.mkdir()
    put(spool, b"1")
    export_packets(spool, media)
    next(media.iterdir()).write_bytes(b"x")
    with pytest.raises(RemoteError, match="damaged"):
        import_packets(spool, media)


def test_one_damaged_packet_keeps_no_other_on_the_unit_or_on_the_media(tmp_path, spool, clock):
    media = tmp_path / "media"
    media.mkdir()
    pids = [put(spool, bytes([number])) for number in range(3)]
    (tmp_path / "spool" / "packets" / pids[0]).write_bytes(b"x")
    with pytest.raises(DeviceError, match="2 packets were copied, 1 could not"):
        export_packets(spool, media)
    (media / f"{'0' * 64}.rekam-packet").write_bytes(b"x")
    other = Spool(tmp_path / "other", STORE_KEY, clock, 1_000, 9)
    with pytest.raises(RemoteError, match="2 packets were taken up, 1 are damaged"):
        import_packets(other, media)
    assert {packet.pid for packet in other.pending()} == set(pids[1:])
    other.close()


def test_a_broken_database_is_not_overwritten(tmp_path, clock):
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "spool.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(DeviceError, match="Do not delete"):
        Spool(folder, STORE_KEY, clock, 1_000, 3)
    assert (folder / "spool.db").read_bytes().startswith(b"this is no database")


def test_the_row_comes_after_the_file_is_durable(tmp_path, clock):
    order: list[str] = []

    class WatchedDisk(Disk):
        def sync_file(self, descriptor, site):
            order.append(site.value)
            super().sync_file(descriptor, site)

        def sync_folder(self, folder, site):
            order.append(site.value)
            super().sync_folder(folder, site)

    spool = Spool(
        tmp_path / "spool", STORE_KEY, clock, 1_000, 3, disk=WatchedDisk(), observe=lambda step, _: order.append(step)
    )
    order.clear()
    put(spool)
    assert order == [
        SyncSite.SPOOL_FILE.value,
        Step.SPOOL_FILE_WRITTEN,
        SyncSite.SPOOL_NAME.value,
        Step.SPOOL_FILE_DURABLE,
        Step.SPOOL_ROW_DURABLE,
    ]
    spool.close()


def test_a_crash_within_a_transaction_leaves_the_row_as_it_was(tmp_path, spool):
    pid = put(spool)
    database = sqlite3.connect(tmp_path / "spool" / "spool.db")
    database.execute("CREATE TRIGGER stop BEFORE UPDATE ON packet BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    database.commit()
    database.close()
    with pytest.raises(DeviceError, match="disk full"):
        spool.mark_sent(pid)
    assert spool.find(pid).state is PacketState.QUEUED
    assert os.listdir(tmp_path / "spool" / "packets") == [pid]  # noqa: PTH208
