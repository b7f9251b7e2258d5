"""One end of the controller link without I/O: greeting, reliable messages both ways, snapshots, counters.

Both ends are alike and run these lines. Each greets with HELLO {own nonce, the nonce it heard, dictionary, firmware}
until the other has answered; the salt of every later frame's checksum comes of the two nonces, one for each way, so
neither an echo nor a frame of an earlier session is ever taken. A new nonce is a peer that started anew: whatever was
under way is dropped, `sessions` counts up, and the owner says again what it still needs.

Reliable messages arrive once and in order: window 4, cumulative acknowledgement, a NAK for the first gap, retransmit
after 50 ms to 1 s with doubling. Time is given in milliseconds that never go back; whoever owns the line calls `take`
as often as `wait_ms` says. Nothing that arrives can raise.
"""

import struct
from binascii import crc32

from firmware.dictionary import ACK, HASH, HELLO
from firmware.frames import BODY_BYTES_MAX, EARLY, NAK, RELIABLE, Frame, Splitter, checked, encode, unpack

WINDOW = 4
QUEUE_MAX = 16
INBOX_MAX = 12
RETRANSMIT_MS_MIN = 50
RETRANSMIT_MS_MAX = 1000
NAK_GUARD_MS = 20
SILENT_NAK_MS = 60  # an acknowledgement this late that leaves a frame out tells that it was lost
HELLO_MS = 100
HEARTBEAT_MS = 100
BACKLOG_MS = 25
IDLE_MS = 50
IDENTITY_BYTES_MAX = 32
_HELLO = "<III"


class _Sent:
    """A reliable message that is not acknowledged yet. due_ms: when it goes (again); wait_ms: the time-out in use;
    sent_ms: when its last byte left; asked: the other end has asked for it.
    """

    def __init__(self, seq: int, kind: int, body: bytes, now_ms: int) -> None:
        self.seq = seq
        self.kind = kind
        self.body = body
        self.due_ms = now_ms
        self.sent_ms = now_ms
        self.wait_ms = RETRANSMIT_MS_MIN
        self.times = 0
        self.asked = False


class Link:
    """One end. nonce: another one at each start, not 0; identity: who this end is, at most IDENTITY_BYTES_MAX."""

    def __init__(self, nonce: int, identity: bytes, baud: int = 115200) -> None:
        self.nonce = nonce
        self.identity = identity[:IDENTITY_BYTES_MAX]
        self.peer_nonce = 0
        self.peer_identity = b""
        self.peer_dictionary = 0
        self.established = False
        self.sessions = 0
        self.heard_ms = 0
        self.frames_in = self.frames_out = self.crc_errors = self.retransmits = 0
        self.resyncs = self.duplicates = self.naks = 0
        self._baud = baud
        self._splitter = Splitter()
        self._out_salt = self._in_salt = 0
        self._line_free_ms = 0
        self._hello_ms = self._heartbeat_ms = 0
        self._hello_due = True
        self._start_session()

    def _start_session(self) -> None:
        self._queue: list[tuple[int, bytes]] = []
        self._window: list[_Sent] = []
        self._next_seq = 0
        self._expected = 0
        self._early: dict[int, tuple[int, bytes]] = {}
        self._inbox: list[tuple[int, bytes]] = []
        self._snapshot: tuple[int, bytes] | None = None
        self._ack_due = self._nak_due = False

    @property
    def overruns(self) -> int:
        """Runs of bytes that were too long to be a frame."""
        return self._splitter.overruns

    def quiet_ms(self, now_ms: int) -> int:
        """How long the other end has not been understood."""
        return now_ms - self.heard_ms

    def room(self) -> int:
        """How many reliable messages can be queued now; none before the other end has answered."""
        return QUEUE_MAX - len(self._queue) if self.established else 0

    def idle(self) -> bool:
        """Whether every reliable message has been acknowledged."""
        return not self._queue and not self._window

    def send(self, kind: int, body: bytes) -> bool:
        """Queue a message that arrives once and in order, or not at all when the session ends; False: no room."""
        if not self.room() or len(body) > BODY_BYTES_MAX:
            return False
        self._queue.append((kind, body))
        return True

    def send_snapshot(self, kind: int, body: bytes) -> None:
        """Send a message once; one that still waits is replaced by it."""
        self._snapshot = (kind, body)

    def next_message(self) -> tuple[int, bytes] | None:
        """The oldest message that has arrived: (kind, body)."""
        return self._inbox.pop(0) if self._inbox else None

    def receive(self, data: bytes, now_ms: int) -> None:
        """Bytes from the line, any bytes."""
        for stuffed in self._splitter.feed(data):
            self._receive_one(stuffed, now_ms)

    def _receive_one(self, stuffed: bytes, now_ms: int) -> None:
        found = unpack(stuffed)
        if found is not None:
            data, checksum = found
            frame = checked(data, checksum, self._in_salt) if self.peer_nonce else None
            if frame is not None:
                self.heard_ms = now_ms
                self.frames_in += 1
                self.established = True
                self._receive_frame(frame, now_ms)
                return
            frame = checked(data, checksum)
            if frame is not None and frame.kind == HELLO and len(frame.body) >= 12:
                self.frames_in += 1
                self._greeted(frame.body, now_ms)
                return
        self.crc_errors += 1
        self._nak_due = self.established

    def _greeted(self, body: bytes, now_ms: int) -> None:
        nonce, heard, dictionary = struct.unpack(_HELLO, body[:12])
        if nonce in (0, self.nonce):
            return
        self.heard_ms = now_ms
        if nonce != self.peer_nonce:
            self.resyncs += bool(self.peer_nonce)
            self.sessions += 1
            self.established = False
            self.peer_nonce = nonce
            self.peer_dictionary = dictionary
            self.peer_identity = body[12 : 12 + IDENTITY_BYTES_MAX]
            self._out_salt = crc32(struct.pack("<II", self.nonce, nonce)) or 1
            self._in_salt = crc32(struct.pack("<II", nonce, self.nonce)) or 1
            self._start_session()
        if heard == self.nonce:
            self.established = True
            self._ack_due = True
        else:
            self._hello_due = True

    def _receive_frame(self, frame: Frame, now_ms: int) -> None:
        self._acknowledged(frame, now_ms)
        if frame.flags & RELIABLE:
            self._receive_reliable(frame)
        elif frame.kind != ACK and len(self._inbox) < INBOX_MAX:
            self._inbox.append((frame.kind, frame.body))

    def _acknowledged(self, frame: Frame, now_ms: int) -> None:
        """Forget what has arrived, let rest what arrived early; an acknowledgement of the unsent is nothing."""
        if not self._window:
            return
        arrived = (frame.ack - self._window[0].seq) & 255
        if arrived > len(self._window) or (arrived and not self._window[arrived - 1].times):
            return
        del self._window[:arrived]
        for place in range(1, len(self._window)):
            if frame.flags & EARLY << place - 1:
                self._window[place].due_ms = now_ms + RETRANSMIT_MS_MAX
        if self._window:
            first = self._window[0]
            if first.times and now_ms - first.sent_ms > (NAK_GUARD_MS if frame.flags & NAK else SILENT_NAK_MS):
                first.due_ms = now_ms
                first.asked = True

    def _receive_reliable(self, frame: Frame) -> None:
        ahead = (frame.seq - self._expected) & 255
        if ahead < WINDOW:
            if len(self._inbox) + len(self._early) >= INBOX_MAX:
                return  # nobody has read; the other end will say it again
            if frame.seq in self._early:
                self.duplicates += 1
            self._early[frame.seq] = (frame.kind, frame.body)
            self._nak_due = ahead > 0
            while self._expected in self._early:
                self._inbox.append(self._early.pop(self._expected))
                self._expected = (self._expected + 1) & 255
        else:
            self.duplicates += 1
        self._ack_due = True

    def take(self, now_ms: int) -> bytes:
        """What goes on the line now: at most what the line carries within BACKLOG_MS."""
        out = []
        while self._line_free_ms - now_ms <= BACKLOG_MS:
            data = self._next_frame(now_ms)
            if data is None:
                break
            self.frames_out += 1
            self._line_free_ms = max(self._line_free_ms, now_ms) + (len(data) + 1) * 10000 // self._baud + 1
            out.append(data)
        # A zero first, so that noise on the idle line does not cost a frame.
        return b"\x00" + b"".join(out) if out else b""

    def wait_ms(self, now_ms: int) -> int:
        """How long `take` has nothing to do, unless something arrives or is sent; at most IDLE_MS."""
        soonest = self._heartbeat_ms if self.established else self._hello_ms
        for sent in self._window:
            soonest = min(soonest, sent.due_ms)
        if self._hello_due or self._ack_due or self._nak_due or self._snapshot or self._can_begin():
            soonest = now_ms
        return max(0, self._line_free_ms - BACKLOG_MS - now_ms, min(IDLE_MS, soonest - now_ms))

    def _can_begin(self) -> bool:
        return self.established and bool(self._queue) and len(self._window) < WINDOW

    def _next_frame(self, now_ms: int) -> bytes | None:
        if self._hello_due or (not self.established and now_ms >= self._hello_ms):
            self._hello_due = False
            self._hello_ms = now_ms + HELLO_MS
            body = struct.pack(_HELLO, self.nonce, self.peer_nonce, HASH) + self.identity
            return encode(Frame(0, 0, 0, HELLO, body))
        if not self.established:
            return None
        if self._can_begin():
            kind, body = self._queue.pop(0)
            self._window.append(_Sent(self._next_seq, kind, body, now_ms))
            self._next_seq = (self._next_seq + 1) & 255
        for sent in self._window:
            if now_ms >= sent.due_ms:
                return self._reliable(sent, now_ms)
        if self._snapshot is not None:
            kind, body = self._snapshot
            self._snapshot = None
            return self._frame(Frame(0, 0, self._expected, kind, body), now_ms)
        if self._ack_due or self._nak_due or now_ms >= self._heartbeat_ms:
            return self._frame(Frame(0, 0, self._expected, ACK, b""), now_ms)
        return None

    def _reliable(self, sent: _Sent, now_ms: int) -> bytes:
        if sent.times:
            self.retransmits += 1
            if not sent.asked:
                sent.wait_ms = min(RETRANSMIT_MS_MAX, sent.wait_ms * 2)
        sent.times += 1
        sent.asked = False
        data = self._frame(Frame(RELIABLE, sent.seq, self._expected, sent.kind, sent.body), now_ms)
        sent.sent_ms = max(now_ms, self._line_free_ms) + len(data) * 10000 // self._baud
        sent.due_ms = sent.sent_ms + sent.wait_ms
        return data

    def _frame(self, frame: Frame, now_ms: int) -> bytes:
        if self._nak_due:
            frame.flags |= NAK
            self.naks += 1
        for place in range(1, WINDOW):
            if (self._expected + place) & 255 in self._early:
                frame.flags |= EARLY << place - 1
        self._ack_due = self._nak_due = False
        self._heartbeat_ms = now_ms + HEARTBEAT_MS
        return encode(frame, self._out_salt)
