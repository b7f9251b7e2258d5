"""The controller's loop: link, inputs, outputs, events, and what it does when the host is silent.

One pass reads the line, does what was asked, brings every output to where it belongs, tells the host what happened,
and feeds the watchdog. Nothing in a pass waits; a pass that takes two seconds is a fault and the watchdog's business.
"""

import gc
import struct

from firmware.commands import Commands
from firmware.contacts import Contacts
from firmware.dictionary import (
    BUTTON,
    COMMAND,
    DOOR_CLOSED,
    DOOR_OPEN,
    EVENT,
    EVENT_KEPT,
    EVENT_KEPT_LAYOUT,
    FACTORY_RESET,
    FELL_BACK,
    IN_BUTTON,
    IN_DOOR,
    IN_PRESENCE,
    IN_TAMPER,
    LINK_LOST,
    NO_TEMPERATURE,
    PRESENCE,
    RESULT,
    SIGNAL,
    SIGNAL_LAYOUT,
    SOFTWARE,
    SOFTWARE_FAULT,
    STARTED,
    STATUS,
    STATUS_LAYOUT,
    TAMPER_CLOSED,
    TAMPER_OPEN,
    UPDATED,
)
from firmware.event_log import EventLog
from firmware.flash import KEY_FILE, remove
from firmware.link import Link
from firmware.outputs import Outputs
from firmware.slots import FAULT_FLAG, FELL_BACK_FLAG, UPDATED_FLAG, WANTED_FLAG, Slots
from firmware.version import NAME, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.board import Board

LINK_LOST_MS = 1000
STATUS_MS = 250
COLLECT_MS = 5000
CONFIRM_MS = 5000
RESTART_MS = 300
PASS_MS = 5
MOVING_PASS_MS = 1
RUNNING_HEAP_STEP = 4096
BOARD_FILE = "board.txt"


class Controller:
    """The board as the host sees it."""

    def __init__(self, board: "Board", slots: Slots) -> None:
        now_ms = board.now_ms()
        self.board = board
        self.slots = slots
        self.link = Link(board.random() or 1, NAME)
        self.outputs = Outputs(board, now_ms)
        self.contacts = Contacts()
        self.events = EventLog(slots.boots, board.random())
        self.commands = Commands(self)
        self._started_ms = self._status_ms = self._collect_ms = now_ms
        self._session = 0
        self._sent_event = 0
        self._safe = False
        self._was_up = False
        self._signals: list[bytes] = []
        self._restart_ms: int | None = None
        self._free_bytes = board.free_bytes()
        self._note_start(now_ms)
        self.outputs.make_safe()

    def _note_start(self, now_ms: int) -> None:
        flags = self.slots.flags
        cause = SOFTWARE if flags & WANTED_FLAG else self.board.reset_cause()
        self._event(STARTED, cause, now_ms)
        for flag, event in ((FELL_BACK_FLAG, FELL_BACK), (UPDATED_FLAG, UPDATED), (FAULT_FLAG, SOFTWARE_FAULT)):
            if flags & flag:
                self._event(event, self.slots.active, now_ms)
        try:
            self.slots.clear(FELL_BACK_FLAG | UPDATED_FLAG | FAULT_FLAG | WANTED_FLAG)
        except OSError:
            pass

    def _event(self, event: int, detail: int, now_ms: int) -> None:
        try:
            self.events.add(event, detail, now_ms)
        except OSError:
            self.events.missed += 1

    def tick(self) -> None:
        """One pass of the loop."""
        board = self.board
        now_ms = board.now_ms()
        data = board.read()
        if data:
            self.link.receive(data, now_ms)
        self._follow_link(now_ms)
        self._take_messages(now_ms)
        self._take_inputs(now_ms)
        for event, detail in self.outputs.tick(self.contacts.bits, now_ms):
            self._event(event, detail, now_ms)
        while self.outputs.finished:
            axis, result = self.outputs.finished.pop(0)
            self.commands.moved(axis, result)
        self._tell(now_ms)
        out = self.link.take(now_ms)
        if out:
            board.write(out)
        self._keep_house(now_ms)
        board.feed()
        if not data:
            limit_ms = MOVING_PASS_MS if self.outputs.moving else PASS_MS
            board.sleep_ms(min(limit_ms, self.link.wait_ms(now_ms)))

    def _follow_link(self, now_ms: int) -> None:
        if self.link.sessions != self._session:
            self._session = self.link.sessions
            self._sent_event = 0
            self.commands.unsent = []
        up = self.link.established and self.link.quiet_ms(now_ms) <= LINK_LOST_MS
        if self._was_up and not up:
            self._event(LINK_LOST, 0, now_ms)
        self._was_up = up
        if not up and not self._safe:
            self.outputs.make_safe()
        if up and self._safe:
            self.outputs.lamp_modes[:] = [0] * len(self.outputs.lamp_modes)
        self._safe = not up

    def _take_messages(self, now_ms: int) -> None:
        while len(self.commands.unsent) < 4:
            message = self.link.next_message()
            if message is None:
                return
            kind, body = message
            if kind == COMMAND:
                self.commands.take(body, now_ms)
            elif kind == EVENT_KEPT and len(body) == struct.calcsize(EVENT_KEPT_LAYOUT):
                log_id, number = struct.unpack(EVENT_KEPT_LAYOUT, body)
                try:
                    self.events.forget(log_id, number, now_ms)
                except OSError:
                    self.events.missed += 1

    def _take_inputs(self, now_ms: int) -> None:
        changed = self.contacts.tick(self.board.inputs(), now_ms)
        bits = self.contacts.bits
        if changed & IN_TAMPER:
            self._event(TAMPER_OPEN if bits & IN_TAMPER else TAMPER_CLOSED, 0, now_ms)
        if changed & IN_DOOR:
            self._event(DOOR_OPEN if bits & IN_DOOR else DOOR_CLOSED, 0, now_ms)
        for mask, signal in ((IN_PRESENCE, PRESENCE), (IN_BUTTON, BUTTON)):
            if changed & mask and self._was_up and len(self._signals) < 8:
                self._signals.append(struct.pack(SIGNAL_LAYOUT, signal, int(bool(bits & mask))))

    def _tell(self, now_ms: int) -> None:
        """Queue what the host is to learn, as far as the link has room."""
        link = self.link
        while self.commands.unsent and link.send(RESULT, self.commands.unsent[0]):
            self.commands.unsent.pop(0)
        while self._signals and link.send(SIGNAL, self._signals[0]):
            self._signals.pop(0)
        while link.room() > 8:
            found = self.events.after(self._sent_event, now_ms)
            if found is None:
                break
            self._sent_event = found[0]
            link.send(EVENT, found[1])
        if now_ms - self._status_ms >= STATUS_MS:
            self._status_ms = now_ms
            link.send_snapshot(STATUS, self._status(now_ms))

    def _status(self, now_ms: int) -> bytes:
        outputs = self.outputs
        celsius = NO_TEMPERATURE if outputs.celsius is None else max(-127, min(127, outputs.celsius))
        return struct.pack(
            STATUS_LAYOUT, self.contacts.bits, celsius, outputs.light.level, outputs.axes[0].state,
            outputs.axes[1].state, now_ms // 1000 & 0xFFFFFFFF, self._free_bytes, self._safe,
        )  # fmt: skip

    def _keep_house(self, now_ms: int) -> None:
        if now_ms - self._collect_ms >= COLLECT_MS:
            self._collect_ms = now_ms
            gc.collect()
            self._free_bytes = self.board.free_bytes()
        running_ms = now_ms - self._started_ms
        if self.link.established or (not self.slots.trial and running_ms >= CONFIRM_MS):
            try:
                self.slots.confirm(VERSION)
            except OSError:
                pass
        if self._restart_ms is not None and now_ms >= self._restart_ms:
            self.outputs.make_safe()
            self.board.restart()

    def restart(self, now_ms: int) -> None:
        """Restart the board once the answer is out."""
        self._restart_ms = now_ms + RESTART_MS
        try:
            self.slots.mark(WANTED_FLAG)
        except OSError:
            pass

    def forget_everything(self, now_ms: int) -> bool:
        """Factory reset: the key goes, and the log starts anew with a word that it did; False where flash fails."""
        try:
            remove(KEY_FILE)
            self.events.erase(self.board.random())
        except OSError:
            return False
        self._sent_event = 0
        self._event(FACTORY_RESET, 0, now_ms)
        self.restart(now_ms)
        return True


def run() -> None:
    """Run for ever on the board that the file board.txt names, such as board_rp2. Called by main.py."""
    with open(BOARD_FILE) as file:
        name = file.read().strip()
    module = getattr(__import__("firmware." + name), name)
    slots = Slots()
    slots.load()
    controller = Controller(module.make_board(), slots)
    gc.threshold(RUNNING_HEAP_STEP)
    while True:
        controller.tick()
