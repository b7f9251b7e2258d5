"""The hub's signed clock goes forward only, and each tick proves that it came after the one before."""

from __future__ import annotations

import pytest

from contract.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from contract.clock import SystemClock
from contract.errors import RemoteError
from contract.identifiers import checked_pid, pid_of, uuid7
from contract.transfer import Disposition, Receipt, sign_receipt
from tests.unit.transfer_keys import OTHER_STATEMENT_KEY, STATEMENT_KEY, STATEMENT_PUBLIC, SetClock


def test_each_checkpoint_carries_the_hash_of_the_one_before():
    first = Checkpoint(sequence=1, time_ms=1000)
    second = first.following(2000)
    assert second.previous_sha256 == first.digest()
    assert second.sequence == 2


def test_a_wall_clock_that_goes_back_does_not_take_the_checkpoints_along():
    assert Checkpoint(sequence=1, time_ms=5000).following(1000).time_ms == 5000


def test_a_unit_takes_newer_checkpoints_only():
    old, new = Checkpoint(sequence=4, time_ms=10), Checkpoint(sequence=5, time_ms=20)
    assert new.supersedes(old)
    assert new.supersedes(None)
    assert not old.supersedes(new)
    assert not new.supersedes(new)
    assert not Checkpoint(sequence=6, time_ms=19).supersedes(new)


def test_a_checkpoint_verifies_and_a_receipt_or_a_forgery_does_not():
    checkpoint = Checkpoint(sequence=1, time_ms=1000)
    assert verify_checkpoint(sign_checkpoint(checkpoint, STATEMENT_KEY), STATEMENT_PUBLIC) == checkpoint
    receipt = Receipt(pid="0" * 64, length=1, hub_sequence=1, time_ms=1, disposition=Disposition.RELEASED)
    for forged in (
        sign_receipt(receipt, STATEMENT_KEY),
        sign_checkpoint(checkpoint, OTHER_STATEMENT_KEY),
        sign_checkpoint(checkpoint, STATEMENT_KEY)[:-1],
        b"",
    ):
        with pytest.raises(RemoteError):
            verify_checkpoint(forged, STATEMENT_PUBLIC)


def test_identifiers_of_one_millisecond_differ_and_sort_by_time():
    clock = SetClock()
    ids = []
    for _ in range(50):
        ids += [uuid7(clock), uuid7(clock)]
        clock.now_ms += 1
    assert len(set(ids)) == 100
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)
    assert all(one[14] == "7" and one[19] in "89ab" for one in ids)


def test_identifiers_repeat_with_a_seeded_source():
    assert uuid7(SetClock(0x0123456789AB), bytes) == "01234567-89ab-7000-8000-000000000000"
    assert uuid7(SetClock(0x0123456789AB), lambda count: b"\xff" * count) == "01234567-89ab-7fff-bfff-ffffffffffff"
    assert uuid7(SystemClock()) != uuid7(SystemClock())


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "A" * 64, "../" + "0" * 61, "0" * 64 + "\n"])
def test_what_is_no_packet_id_never_becomes_a_file_name(text):
    with pytest.raises(RemoteError):
        checked_pid(text)


def test_a_packet_id_is_the_sha256_of_the_sealed_bytes():
    assert pid_of(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
