"""The module's wire as public captures show it: the driver and its twin share a codec, so the codec is pinned here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import RemoteError
from edge.sensors.fingerprint_zfm_frames import (
    PAYLOAD_BYTES_MAX,
    Instruction,
    Noise,
    Packet,
    PacketReader,
    Pid,
    SystemParameters,
    data_packets,
    encode_command,
    encode_packet,
    encode_system_parameters,
    pack_pixels,
    parse_system_parameters,
    unpack_pixels,
)

VERIFY_PASSWORD = bytes.fromhex("EF01FFFFFFFF0100071300000000001B")
ACK = bytes.fromhex("EF01FFFFFFFF07000300000A")
READ_PARAMETERS = bytes.fromhex("EF01FFFFFFFF0100030F0013")
PARAMETERS_ACK = bytes.fromhex("EF01FFFFFFFF070013000004000000C80003FFFFFFFF0002000604ED")
SEARCH_HIT = bytes.fromhex("EF01FFFFFFFF0700070000010060006F")
SEARCH_MISS = bytes.fromhex("EF01FFFFFFFF0700070901EE00000106")
PARAMETERS = SystemParameters(
    status=4, system_id=0, capacity=200, security=3, address=0xFFFFFFFF, data_bytes=128, baud=57600
)


def test_commands_are_the_captured_bytes() -> None:
    assert encode_command(Instruction.VERIFY_PASSWORD, bytes(4)) == VERIFY_PASSWORD
    assert encode_command(Instruction.READ_SYS_PARA) == READ_PARAMETERS
    assert encode_packet(Pid.ACK, b"\0") == ACK


@pytest.mark.parametrize(
    ("captured", "payload"),
    [
        (ACK, "00"),
        (SEARCH_HIT, "0000010060"),
        (SEARCH_MISS, "0901ee0000"),
        (PARAMETERS_ACK, PARAMETERS_ACK[9:-2].hex()),
    ],
)
def test_captured_answers_are_read(captured: bytes, payload: str) -> None:
    assert PacketReader().feed(captured) == [Packet(Pid.ACK, bytes.fromhex(payload))]


def test_captured_parameters_are_understood_and_written_alike() -> None:
    assert parse_system_parameters(PARAMETERS_ACK[10:-2]) == PARAMETERS
    assert encode_system_parameters(PARAMETERS) == PARAMETERS_ACK[10:-2]


def test_the_first_pixel_is_in_the_high_nibble_and_white_is_255() -> None:
    pixels = unpack_pixels(bytes([0x0F, 0xF0, 0x12, 0x34]), 4)
    assert pixels.tolist() == [[0, 255, 255, 0], [17, 34, 51, 68]]
    assert pack_pixels(pixels) == bytes([0x0F, 0xF0, 0x12, 0x34])


def test_a_whole_picture_of_an_r30x_is_288_packets() -> None:
    packets = list(data_packets(bytes(256 * 288 // 2), 128))
    assert len(packets) == 288
    assert packets[0][6] == Pid.DATA
    assert packets[-1][6] == Pid.LAST_DATA


@pytest.mark.parametrize("content", [b"", bytes(3), bytes(5)])
def test_a_picture_without_whole_rows_is_refused(content: bytes) -> None:
    with pytest.raises(RemoteError):
        unpack_pixels(content, 4)


@given(st.binary(max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_parameters_give_a_value_or_a_remote_error(parameters: bytes) -> None:
    try:
        parsed = parse_system_parameters(parameters)
    except RemoteError:
        return
    assert encode_system_parameters(parsed) == parameters


@given(st.lists(st.binary(min_size=1, max_size=PAYLOAD_BYTES_MAX), max_size=4), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_packets_are_read_however_they_are_cut(payloads: list[bytes], step: int) -> None:
    stream = b"".join(encode_packet(Pid.DATA, payload) for payload in payloads)
    reader = PacketReader()
    events = [event for at in range(0, len(stream), step) for event in reader.feed(stream[at : at + step])]
    assert events == [Packet(Pid.DATA, payload) for payload in payloads]
    assert reader.pending == 0


@given(st.binary(max_size=200).filter(lambda noise: b"\xef" not in noise))
@settings(max_examples=100, deadline=None)
def test_the_packet_after_noise_is_taken(noise: bytes) -> None:
    events = PacketReader().feed(noise + ACK)
    assert events[-1] == Packet(Pid.ACK, b"\0")
    assert sum(event.count for event in events if isinstance(event, Noise)) == len(noise)


@given(st.binary(max_size=600))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_packets_or_noise_and_little_is_held(data: bytes) -> None:
    reader = PacketReader()
    events = reader.feed(data)
    counted = sum(e.count if isinstance(e, Noise) else len(e.payload) + 11 for e in events)
    assert counted + reader.pending == len(data)
    assert reader.pending < PAYLOAD_BYTES_MAX + 11


@given(st.integers(0, len(PARAMETERS_ACK) - 1), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_no_changed_byte_is_taken_for_an_answer(at: int, change: int) -> None:
    damaged = bytearray(PARAMETERS_ACK)
    damaged[at] ^= change
    assert not [event for event in PacketReader().feed(bytes(damaged)) if isinstance(event, Packet)]


def test_a_packet_inside_a_damaged_one_is_found() -> None:
    damaged = bytearray(encode_packet(Pid.DATA, bytes(4)))
    damaged[8] = 200
    events = PacketReader().feed(bytes(damaged) + ACK * 20)
    assert [event for event in events if isinstance(event, Packet)] == [Packet(Pid.ACK, b"\0")] * 20


def test_levels_are_the_nearest_of_sixteen() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(1, 256)
    back = unpack_pixels(pack_pixels(grey), 256)
    assert int(np.abs(back.astype(int) - grey.astype(int)).max()) <= 8
