"""The unit's end of the controller link: one thread that owns the port, and calls that any thread may make.

The link's rules are firmware/link.py, which both ends run; this module gives it a serial port and a clock, opens the
port again whenever it is gone, matches results to requests, hands events to a journal before it lets the controller
forget them, and knows within half a second that the controller restarted or fell silent.

A request is done once: it keeps its number when it is said again over a new connection, and the controller keeps its
last 16 results. Only a controller that restarted in between leaves the question open; then the caller is told so.
"""

from __future__ import annotations

import secrets
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

import structlog

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError, RekamError, TransientError
from edge.panel_words import (
    Identity,
    PanelEvent,
    PanelSnapshot,
    PanelState,
    parse_event,
    parse_identity,
    parse_snapshot,
    refusal,
    version_text,
)
from edge.sensors.interface import DeviceInfo
from edge.sensors.serial_link import ByteLink, LinkOpener, SerialLink
from firmware import dictionary
from firmware.link import Link

log = structlog.get_logger("edge.panel")

NAME = b"rekam-unit"
QUIET_MS_MAX = 400
READ_S_MAX = 0.02
ASKED_READ_S_MAX = 0.003
REOPEN_S = 0.5
JOURNAL_AGAIN_MS = 1000
COMMAND_TIMEOUT_S = 2.0
MOVE_TIMEOUT_S = 15.0
OPEN_TIMEOUT_S = 3.0
WAITING_MAX = 16
EVENTS_WAITING_MAX = 64


@dataclass(slots=True)
class Request:
    """A command on its way. said: whether it has been on the line to the board that runs now."""

    number: int
    command: int
    body: bytes
    answer: Future[bytes]
    said: bool = False


@dataclass(frozen=True, slots=True)
class PanelStatus:
    """The link and the board behind it. counters: of this end; board_counters: of the controller's, when last asked."""

    state: PanelState
    port: str
    firmware: str = ""
    restarts: int = 0
    events: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    snapshot: PanelSnapshot | None = None
    problem: str = ""


class Panel:
    """The controller behind a serial port. `open` starts its thread, `close` ends it.

    journal: called on the panel's thread with every event, in order; says whether it was new to it (an event is said
    again after a restart of either end), has made it durable when it returns, and postpones it by raising. signal:
    presence and button as (dictionary.PRESENCE or BUTTON, 0 or 1); restarted: the controller has started anew.
    """

    def __init__(
        self,
        port: str,
        *,
        baud: int = 115200,
        journal: Callable[[PanelEvent], bool] = lambda _event: True,
        signal: Callable[[int, int], None] = lambda _signal, _value: None,
        restarted: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        open_link: LinkOpener = SerialLink,
    ) -> None:
        self._port, self._baud = port, baud
        self._journal, self._signal, self._restarted = journal, signal, restarted
        self._clock = clock or SystemClock()
        self._open_link = open_link
        self._lock = threading.Lock()
        self._requests: dict[int, Request] = {}
        self._events: list[PanelEvent] = []
        self._number = secrets.randbits(32)
        self._link: Link | None = None
        self._board_nonce = 0
        self._state = PanelState.ABSENT
        self._problem = ""
        self._snapshot: PanelSnapshot | None = None
        self._restarts = self._taken = 0
        self._journal_ms = 0
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None

    # --- what others call ---

    def start(self) -> None:
        """Start the thread; it finds the controller whenever it comes. May be called twice."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
            self._thread.start()

    def open(self) -> DeviceInfo:
        """Start, wait for the controller, and say who it is. Raises DeviceError."""
        self.start()
        if not self._ready.wait(OPEN_TIMEOUT_S):
            raise DeviceError(
                self._problem or f"The controller on {self._port} does not answer.",
                next_step="Check its cable and power, then 'rekam-provision flash-controller' if it has no firmware.",
            )
        identity = self.identify()
        return DeviceInfo("panel", "Rekam controller", identity.serial, version_text(identity.version), ("light",))

    def close(self) -> None:
        """End the thread; what waits for an answer is told. Never raises, and may be called twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5)
        self._give_up(lambda _request: True, "The controller's port was closed.")

    def status(self) -> PanelStatus:
        """How it is now; callable from any thread."""
        link = self._link
        counters = {name: int(getattr(link, name)) for name in dictionary.COUNTERS} if link else {}
        return PanelStatus(
            state=self._state,
            port=self._port,
            firmware=link.peer_identity.decode("ascii", "replace") if link else "",
            restarts=self._restarts,
            events=self._taken,
            counters=counters,
            snapshot=self._snapshot,
            problem=self._problem,
        )

    def command(self, command: int, arguments: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> bytes:
        """Ask the controller for something and wait; returns the result's data.

        command: a DO_* word, arguments as its layout. Raises what the refusal asks for, DeviceError where no answer
        came in time, TransientError where the controller restarted and may or may not have done it.
        """
        return self.await_answer(self.ask(command, arguments), timeout_s)

    def ask(self, command: int, arguments: bytes = b"") -> Request:
        """Ask without waiting; requests are done in the order of asking. Raises DeviceError, TransientError."""
        if self._state is PanelState.FOREIGN and command < dictionary.DO_IDENTIFY:
            raise DeviceError(
                "The controller's firmware speaks another dictionary.",
                next_step="Run 'rekam-edge update-controller' with the image of this release.",
            )
        with self._lock:
            if len(self._requests) >= WAITING_MAX:
                raise TransientError("The controller has not answered earlier requests yet.")
            self._number = (self._number + 1) & 0xFFFFFFFF
            body = struct.pack(dictionary.COMMAND_HEAD, self._number, command) + arguments
            request = Request(self._number, command, body, Future())
            self._requests[request.number] = request
        return request

    def await_answer(self, request: Request, timeout_s: float = COMMAND_TIMEOUT_S) -> bytes:
        """The result's data of what was asked before; raises as `command` does."""
        try:
            answer = request.answer.result(timeout_s)
        except FutureTimeout:
            raise DeviceError(
                self._problem or f"The controller on {self._port} did not answer.",
                next_step="Check its cable and power; its counters are on the status page.",
            ) from None
        finally:
            with self._lock:
                self._requests.pop(request.number, None)
        if answer[0] != dictionary.OK:
            raise refusal(request.command, answer[0], answer[1:])
        return answer[1:]

    def on(self, wavelength_nm: int, level_percent: int, duration_ms: int) -> None:
        """Light within the firmware's limits. Raises TransientError while it rests, DeviceError."""
        try:
            arguments = struct.pack("<HBH", wavelength_nm, level_percent, duration_ms)
        except struct.error:
            raise refusal(dictionary.DO_LIGHT, dictionary.NO_SUCH_PART, b"") from None
        self.command(dictionary.DO_LIGHT, arguments)

    def off(self) -> None:
        """Dark now. Raises DeviceError where the controller does not answer; it goes dark by itself then."""
        self.command(dictionary.DO_DARK)

    def identify(self) -> Identity:
        """Who the board is and which slot it runs. Raises DeviceError."""
        return parse_identity(self.command(dictionary.DO_IDENTIFY))

    def board_counters(self) -> dict[str, int]:
        """The counters of the controller's own end. Raises DeviceError."""
        data = self.command(dictionary.DO_COUNTERS)
        if len(data) != struct.calcsize(dictionary.COUNTERS_LAYOUT):
            raise DeviceError("The controller counts in another layout.", next_step="Update its firmware.")
        return dict(zip(dictionary.COUNTERS, struct.unpack(dictionary.COUNTERS_LAYOUT, data), strict=True))

    # --- the thread ---

    def _give_up(self, which: Callable[[Request], bool], message: str) -> None:
        with self._lock:
            for request in self._requests.values():
                if which(request) and not request.answer.done():
                    request.answer.set_exception(
                        TransientError(message, next_step="Look at the controller, ask again.")
                    )

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                port = self._open_link(self._port, self._baud)
            except DeviceError as error:
                self._lost(error.message)
                self._stopping.wait(REOPEN_S)
                continue
            try:
                self._serve(port)
            except DeviceError as error:
                self._lost(error.message)
            finally:
                port.close()

    def _lost(self, message: str) -> None:
        if self._state is not PanelState.ABSENT or self._problem != message:
            log.warning("controller", problem=message)
        self._state, self._problem = PanelState.ABSENT, message
        self._ready.clear()

    def _serve(self, port: ByteLink) -> None:
        """Talk until the port is gone. Raises DeviceError."""
        link = Link(secrets.randbits(32) or 1, NAME, self._baud)
        link.heard_ms = self._clock.monotonic_ms()
        self._link = link
        sessions = 0
        while not self._stopping.is_set():
            now_ms = self._clock.monotonic_ms()
            if link.sessions != sessions:
                sessions = link.sessions
                self._greeted(link)
            self._note_state(link, now_ms)
            self._say_requests(link)
            self._hand_over_events(link, now_ms)
            data = link.take(now_ms)
            if data:
                port.write(data)
            read_s_max = ASKED_READ_S_MAX if self._requests else READ_S_MAX
            data = port.read(min(read_s_max, link.wait_ms(now_ms) / 1000))
            now_ms = self._clock.monotonic_ms()
            if data:
                link.receive(data, now_ms)
            while (message := link.next_message()) is not None:
                self._take(*message)

    def _greeted(self, link: Link) -> None:
        """A session begins: with the board of before, whose results still stand, or with one that started anew."""
        anew = self._board_nonce not in (0, link.peer_nonce)
        if anew:
            self._restarts += 1
            log.warning("controller restarted", firmware=link.peer_identity.decode("ascii", "replace"))
            self._give_up(lambda request: request.said, "The controller restarted before it answered.")
        self._board_nonce = link.peer_nonce
        with self._lock:
            for request in self._requests.values():
                request.said = False
        if anew:
            self._restarted()

    def _note_state(self, link: Link, now_ms: int) -> None:
        heard = link.established and link.quiet_ms(now_ms) <= QUIET_MS_MAX
        if not heard:
            state = PanelState.SILENT if self._board_nonce else PanelState.ABSENT
            problem = f"The controller on {self._port} is not heard."
        elif link.peer_dictionary != dictionary.HASH:
            state, problem = PanelState.FOREIGN, "The controller's firmware speaks another dictionary."
        else:
            state, problem = PanelState.READY, ""
        if state is not self._state:
            log.info("controller", state=state.value)
        self._state, self._problem = state, problem
        if heard:
            self._ready.set()
        else:
            self._ready.clear()

    def _say_requests(self, link: Link) -> None:
        with self._lock:
            for request in self._requests.values():
                if not request.said and not request.answer.done():
                    request.said = link.send(dictionary.COMMAND, request.body)

    def _take(self, kind: int, body: bytes) -> None:
        if kind == dictionary.RESULT and len(body) >= struct.calcsize(dictionary.RESULT_HEAD):
            number = struct.unpack("<I", body[:4])[0]
            with self._lock:
                request = self._requests.get(number)
                if request is not None and not request.answer.done():
                    request.answer.set_result(body[4:])
        elif kind == dictionary.EVENT:
            event = parse_event(body)
            if event is not None and len(self._events) < EVENTS_WAITING_MAX:
                self._events.append(event)
        elif kind == dictionary.SIGNAL and len(body) == struct.calcsize(dictionary.SIGNAL_LAYOUT):
            self._signal(*struct.unpack(dictionary.SIGNAL_LAYOUT, body))
        elif kind == dictionary.STATUS:
            self._snapshot = parse_snapshot(body) or self._snapshot

    def _hand_over_events(self, link: Link, now_ms: int) -> None:
        """Journal what has come, then let the controller forget it; a journal that fails is asked again later."""
        if not self._events or now_ms < self._journal_ms or not link.room():
            return
        event = self._events[0]
        try:
            self._taken += self._journal(event)
        except RekamError as error:
            self._journal_ms = now_ms + JOURNAL_AGAIN_MS
            log.warning("controller event not journaled", **error.diagnostics())
            return
        self._events.pop(0)
        link.send(dictionary.EVENT_KEPT, struct.pack(dictionary.EVENT_KEPT_LAYOUT, event.log_id, event.number))
