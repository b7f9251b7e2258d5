"""The controller link's two ends on a bad line, in virtual time: once, in order, or not at all."""

from __future__ import annotations

import random
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.dictionary import HELLO
from firmware.frames import RELIABLE, Frame, encode
from firmware.link import HEARTBEAT_MS, HELLO_MS, INBOX_MAX, QUEUE_MAX, RETRANSMIT_MS_MAX, WINDOW, Link
from tests.fault.bad_line import NUMBER_KIND, BadLine


def met(host: Link, board: Link, now_ms: int = 0) -> None:
    """Let two ends greet each other."""
    for _ in range(3):
        board.receive(host.take(now_ms), now_ms)
        host.receive(board.take(now_ms), now_ms)
    assert host.established and board.established


def messages(link: Link) -> list[bytes]:
    found = []
    while (message := link.next_message()) is not None:
        found.append(message[1])
    return found


@pytest.mark.parametrize(
    ("bit_error_rate", "byte_loss_rate"), [(0.0, 0.0), (1e-4, 0.0), (0.0, 1e-3), (0.0, 1e-2), (1e-4, 1e-2)]
)
def test_every_message_arrives_once_and_in_order(bit_error_rate: float, byte_loss_rate: float) -> None:
    line = BadLine(7, bit_error_rate, byte_loss_rate)
    line.run(3000)
    assert line.settle()
    for tally in line.tallies:
        assert (tally.wrong, tally.received) == (0, tally.sent)
        assert tally.sent > 100
    damaged = bit_error_rate or byte_loss_rate
    assert bool(sum(end.crc_errors for end in line.ends)) == bool(damaged)
    assert all(end.sessions == 1 for end in line.ends)


def test_nothing_is_sent_before_the_other_end_has_answered() -> None:
    link = Link(1, b"host")
    assert not link.room() and not link.send(NUMBER_KIND, b"x")
    assert link.take(0) and not link.take(HELLO_MS - 1) and link.take(HELLO_MS)


def test_a_body_too_long_or_a_full_queue_is_refused() -> None:
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    assert not host.send(NUMBER_KIND, bytes(201))
    assert [host.send(NUMBER_KIND, b"x") for _ in range(QUEUE_MAX + 1)] == [True] * QUEUE_MAX + [False]


def test_a_restart_of_the_other_end_drops_what_was_under_way_and_shows() -> None:
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    host.send(NUMBER_KIND, b"old")
    host.take(50)
    anew = Link(3, b"board 2")
    host.receive(anew.take(60), 60)
    assert (host.sessions, host.resyncs, host.peer_identity) == (2, 1, b"board 2")
    assert not host.room() and host.idle()
    met(host, anew, 70)
    host.send(NUMBER_KIND, b"new")
    anew.receive(host.take(200), 200)
    assert messages(anew) == [b"new"]


def test_a_frame_of_the_session_before_is_never_taken() -> None:
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    host.send(NUMBER_KIND, b"old")
    old = host.take(50)
    fresh = Link(9, b"host")
    for _ in range(3):
        board.receive(fresh.take(100), 100)
        fresh.receive(board.take(100), 100)
    board.receive(old, 110)
    assert messages(board) == [] and board.crc_errors == 1


def test_an_echo_is_not_an_answer() -> None:
    link = Link(1, b"host")
    link.receive(link.take(0), 0)
    assert not link.established
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    host.send(NUMBER_KIND, b"x")
    host.receive(host.take(50), 50)
    assert messages(host) == []


def test_a_lost_message_is_asked_for_and_comes_before_its_time_out() -> None:
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    host.send(NUMBER_KIND, b"first")
    host.take(100)  # lost
    host.send(NUMBER_KIND, b"second")
    board.receive(host.take(130), 130)
    assert messages(board) == []
    host.receive(board.take(132), 132)
    board.receive(host.take(133), 133)
    assert messages(board) == [b"first", b"second"]
    assert (host.retransmits, board.naks) == (1, 1)


def test_retransmission_backs_off_to_a_second() -> None:
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    host.send(NUMBER_KIND, b"x")
    times, last = [], 0
    for now_ms in range(100, 6000):
        if host.take(now_ms) and host.retransmits != last:
            times.append(now_ms)
            last = host.retransmits
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[0] < 2 * HEARTBEAT_MS + 10 and all(later >= earlier - 1 for earlier, later in pairwise(gaps))
    assert RETRANSMIT_MS_MAX <= gaps[-1] <= RETRANSMIT_MS_MAX + 10


def test_messages_that_nobody_reads_stop_the_sender_and_none_is_lost() -> None:
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    sent, now_ms, read = 0, 100, []
    for _ in range(400):
        if sent < 60 and host.room():
            host.send(NUMBER_KIND, bytes([sent]))
            sent += 1
        board.receive(host.take(now_ms), now_ms)
        host.receive(board.take(now_ms), now_ms)
        now_ms += 10
    assert len(board._inbox) <= INBOX_MAX
    for _ in range(400):
        read += messages(board)
        if sent < 60 and host.room():
            host.send(NUMBER_KIND, bytes([sent]))
            sent += 1
        board.receive(host.take(now_ms), now_ms)
        host.receive(board.take(now_ms), now_ms)
        now_ms += 10
    assert read == [bytes([number]) for number in range(60)]


def test_snapshots_are_sent_once_and_the_newest_wins() -> None:
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    board.send_snapshot(NUMBER_KIND, b"older")
    board.send_snapshot(NUMBER_KIND, b"newer")
    host.receive(board.take(50), 50)
    host.receive(board.take(60), 60)
    assert messages(host) == [b"newer"]


def test_a_quiet_line_has_a_heartbeat_each_way() -> None:
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    for now_ms in range(0, 2000, 10):
        board.receive(host.take(now_ms), now_ms)
        host.receive(board.take(now_ms), now_ms)
        assert host.quiet_ms(now_ms) <= HEARTBEAT_MS + 10
        assert board.quiet_ms(now_ms) <= HEARTBEAT_MS + 10


@settings(max_examples=150)
@given(st.lists(st.one_of(st.binary(max_size=400), st.integers(0, 4)), max_size=12), st.integers(0, 1000))
def test_garbage_never_raises_and_never_delivers(pieces: list[bytes | int], seed: int) -> None:
    """Noise between the frames of a live session: what is delivered is what was sent, in order."""
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    chance, sent, read, now_ms = random.Random(seed), 0, [], 0
    for piece in pieces:
        now_ms += 60
        if isinstance(piece, bytes):
            board.receive(piece, now_ms)
        else:
            for _ in range(piece):
                sent += host.send(NUMBER_KIND, bytes([sent]))
            data = host.take(now_ms)
            board.receive(data[: chance.randint(0, len(data))] if chance.random() < 0.5 else data, now_ms)
        host.receive(board.take(now_ms), now_ms)
        read += messages(board)
    assert read == [bytes([number]) for number in range(len(read))]
    assert board.sessions == 1


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=200))
def test_any_valid_frame_is_survived(flags: int, seq: int, ack: int, kind: int, body: bytes) -> None:
    """A peer that keeps the checksum and breaks every rule else."""
    host, board = Link(1, b"host"), Link(2, b"board")
    met(host, board)
    for _ in range(WINDOW):
        board.send(NUMBER_KIND, b"mine")
    board.take(10)
    board.receive(encode(Frame(flags, seq, ack, kind, body), board._in_salt), 20)
    board.receive(encode(Frame(flags, seq, ack, HELLO, body)), 20)
    board.take(100)
    ahead = (seq - 0) & 255
    if flags & RELIABLE and 0 < ahead < WINDOW:
        assert board.next_message() is None


def test_a_greeting_that_is_cut_short_or_of_nobody_is_ignored() -> None:
    link = Link(1, b"host")
    link.receive(encode(Frame(0, 0, 0, HELLO, b"short")), 0)
    link.receive(encode(Frame(0, 0, 0, HELLO, struct.pack("<III", 0, 1, 0))), 0)
    assert not link.established and link.sessions == 0
