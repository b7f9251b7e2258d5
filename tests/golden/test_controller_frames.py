"""The controller link's wire, pinned: host and board share the codec, so both would change together unseen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware import dictionary
from firmware.frames import (
    BODY_BYTES_MAX,
    NAK,
    RELIABLE,
    STUFFED_BYTES_MAX,
    Frame,
    Splitter,
    checked,
    encode,
    stuff,
    unpack,
    unstuff,
)
from firmware.link import Link

ACK_FRAME = bytes.fromhex("0201010207056a4803b400")
LAMP_FRAME = bytes.fromhex("06010102ff100101010801020166286f0500")
HELLO_FRAME = bytes.fromhex("020101010601040302010101010e4c11783e626f61726476452ec800")


def test_published_examples_of_the_stuffing() -> None:
    """Cheshire and Baker, table 1 and the usual worked examples."""
    for plain, stuffed in (
        ("00", "0101"),
        ("0000", "010101"),
        ("11220033", "0311220233"),
        ("11223344", "0511223344"),
        ("11000000", "0211010101"),
    ):
        assert stuff(bytes.fromhex(plain)).hex() == stuffed
        assert unstuff(bytes.fromhex(stuffed)) == bytes.fromhex(plain)


def test_frames_are_these_bytes() -> None:
    assert encode(Frame(0, 0, 7, dictionary.ACK, b"")).hex() == ACK_FRAME.hex()
    lamp = Frame(RELIABLE, 2, 255, dictionary.COMMAND, bytes.fromhex("0000000001") + b"\x02\x01")
    assert encode(lamp, salt=0x12345678).hex() == LAMP_FRAME.hex()


def test_the_first_thing_an_end_says_is_these_bytes() -> None:
    assert dictionary.HASH == 0x3E78114C
    assert Link(0x01020304, b"board").take(0).hex() == "00" + HELLO_FRAME.hex()


def test_a_frame_of_another_session_is_damage() -> None:
    data, checksum = unpack(LAMP_FRAME[:-1]) or (b"", 0)
    assert checked(data, checksum, 0x12345678) is not None
    assert checked(data, checksum) is None
    assert checked(data, checksum, 0x12345679) is None


@given(st.integers(0, 3), st.integers(0, 255), st.binary(max_size=BODY_BYTES_MAX), st.integers(0, 2**32 - 1))
def test_what_is_encoded_is_read(flags: int, seq: int, body: bytes, salt: int) -> None:
    wire = encode(Frame(flags, seq, 9, dictionary.EVENT, body), salt)
    assert wire.index(0) == len(wire) - 1 <= STUFFED_BYTES_MAX
    (stuffed,) = Splitter().feed(wire)
    data, checksum = unpack(stuffed) or (b"", 0)
    frame = checked(data, checksum, salt)
    assert frame is not None
    assert (frame.flags, frame.seq, frame.ack, frame.kind, frame.body) == (flags, seq, 9, dictionary.EVENT, body)


def test_a_body_that_is_too_long_is_refused_at_the_sender() -> None:
    with pytest.raises(ValueError, match="too long"):
        encode(Frame(NAK, 0, 0, 0, bytes(BODY_BYTES_MAX + 1)))


@given(st.lists(st.binary(max_size=600), max_size=8))
def test_the_first_frame_after_a_clean_delimiter_is_taken(noise: list[bytes]) -> None:
    splitter = Splitter()
    for piece in noise:
        for stuffed in splitter.feed(piece):
            unpack(stuffed)
    splitter.feed(b"\x00")
    assert splitter.feed(ACK_FRAME) == [ACK_FRAME[:-1]]


def test_endless_noise_takes_no_memory_and_is_counted() -> None:
    splitter = Splitter()
    for _ in range(100):
        assert splitter.feed(b"\xff" * 100) == []
    assert splitter.overruns == 1
    assert len(splitter._pending) <= STUFFED_BYTES_MAX
