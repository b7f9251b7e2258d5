"""Offers, needs, chunks and receipts: what fits is read, what does not fit is refused, and nothing else happens."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.seal import SEALED_BYTES_MAX
from contract.transfer import (
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    CHUNKS_MAX,
    MESSAGE_BYTES_MAX,
    NEED_RANGES_MAX,
    Chunk,
    Disposition,
    HubState,
    Need,
    Offer,
    Receipt,
    UnitState,
    UplinkStatus,
    chunk_bytes,
    chunk_count,
    decode_chunk,
    encode_chunk,
    ranges_of,
    sign_receipt,
    verify_receipt,
)
from tests.unit.transfer_keys import OTHER_STATEMENT_KEY, STATEMENT_KEY, STATEMENT_PUBLIC

PID = "ab" * 32
RECEIPT = Receipt(pid=PID, length=5, hub_sequence=3, time_ms=9, disposition=Disposition.RELEASED)


def offer(**changes: object) -> dict[str, object]:
    fields = {"attempt": 1, "length": 100_000, "chunk": 65536, "count": 2, "key_id": "desk-a1", "schema_version": 1}
    return {**fields, **changes}


def test_an_offer_travels():
    sent = Offer.model_validate(offer())
    assert decode(Offer, encode(sent), MESSAGE_BYTES_MAX) == sent


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 0},
        {"length": SEALED_BYTES_MAX + 1},
        {"chunk": CHUNK_BYTES_MAX + 1},
        {"chunk": CHUNK_BYTES_MIN - 1},
        {"count": 3},
        {"attempt": 0},
        {"key_id": "a/b"},
        {"schema_version": 2},
        {"more": 1},
    ],
)
def test_an_offer_that_does_not_add_up_is_refused(wrong):
    with pytest.raises(ValidationError):
        Offer.model_validate(offer(**wrong))


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_garbage_for_any_message_is_refused(garbage):
    for kind in (Offer, Need, Receipt, UnitState, HubState, UplinkStatus):
        with pytest.raises(RemoteError):
            decode(kind, garbage, MESSAGE_BYTES_MAX)
    with pytest.raises(RemoteError):
        verify_receipt(garbage, STATEMENT_PUBLIC, PID)


@given(st.binary(max_size=64))
def test_garbage_for_a_chunk_is_refused(garbage):
    with pytest.raises(RemoteError):
        decode_chunk(garbage)


def test_a_chunk_with_a_wrong_checksum_index_or_length_is_refused():
    good = encode_chunk(Chunk(3, b"ridges"))
    assert decode_chunk(good) == Chunk(3, b"ridges")
    for bad in (
        good[:-1] + b"S",
        good[:8],
        encode_chunk(Chunk(CHUNKS_MAX, b"x")),
        encode_chunk(Chunk(0, bytes(CHUNK_BYTES_MAX + 1))),
    ):
        with pytest.raises(RemoteError):
            decode_chunk(bad)


@given(st.sets(st.integers(0, 400)))
def test_ranges_name_exactly_the_missing_chunks(missing):
    ranges = ranges_of(sorted(missing))
    need = Need(attempt=1, chunk=1024, ranges=ranges)
    assert need.indices(10_000) == sorted(missing)


def test_more_holes_than_fit_into_one_need_are_asked_for_later():
    holes = range(0, 4 * NEED_RANGES_MAX, 2)
    ranges = ranges_of(holes)
    assert len(ranges) == NEED_RANGES_MAX
    assert Need(attempt=1, chunk=1024, ranges=ranges).indices(10**6) == list(holes)[:NEED_RANGES_MAX]


@pytest.mark.parametrize("ranges", [((3, 2),), ((0, 4), (4, 6)), ((5, 6), (1, 2)), ((0, CHUNKS_MAX),)])
def test_a_need_whose_ranges_overlap_or_go_back_is_refused(ranges):
    with pytest.raises(ValidationError):
        Need(attempt=1, chunk=1024, ranges=ranges)


def test_a_need_cannot_ask_for_chunks_behind_the_end():
    assert Need(attempt=1, chunk=1024, ranges=((2, CHUNKS_MAX - 1),)).indices(4) == [2, 3]


@pytest.mark.parametrize(
    ("limit", "chunk"), [(None, 65536), (268_435_455, 65536), (40_000, 38_976), (100, 1024), (66_560, 65_536)]
)
def test_the_chunk_fits_the_broker(limit, chunk):
    assert chunk_bytes(limit) == chunk


def test_chunks_of_every_length_cover_it():
    assert [chunk_count(length, 1024) for length in (1, 1024, 1025, 2048)] == [1, 1, 2, 2]


def test_a_receipt_frees_only_its_own_packet_and_only_if_the_hub_signed_it():
    signed = sign_receipt(RECEIPT, STATEMENT_KEY)
    assert verify_receipt(signed, STATEMENT_PUBLIC, PID) == RECEIPT
    with pytest.raises(RemoteError, match="another packet"):
        verify_receipt(signed, STATEMENT_PUBLIC, "cd" * 32)
    with pytest.raises(RemoteError):
        verify_receipt(sign_receipt(RECEIPT, OTHER_STATEMENT_KEY), STATEMENT_PUBLIC, PID)


def test_a_receipt_that_only_says_stored_frees_nothing():
    assert [disposition.value for disposition in Disposition if disposition.frees] == ["released", "quarantined"]


def test_the_will_of_an_older_boot_is_ignored():
    def state(boot: int, sequence: int, what: str) -> UnitState:
        return UnitState.model_validate(
            {"state": what, "boot": boot, "software": "1", "sequence": sequence, "time_ms": 0}
        )

    online = state(5, 2, "online")
    assert not state(4, 9, "offline").supersedes(online)
    assert not state(5, 1, "offline").supersedes(online)
    assert state(5, 2, "offline").supersedes(online)
    assert online.supersedes(None)
