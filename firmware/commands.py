"""What the host can ask of the board: each request is done once, however often it arrives.

The last RESULTS_KEPT results are kept by request number, so a request that is said again after a lost link is answered
and not done again. A request that takes time (a motor) is answered when it ends.
"""

import gc
import struct

from firmware.dictionary import (
    ARGUMENTS,
    AXIS_GATE,
    AXIS_HOPPER,
    BAD_ARGUMENTS,
    BUSY,
    BUTTON_NEEDED,
    COMMAND_HEAD,
    COUNTERS,
    COUNTERS_LAYOUT,
    DO_BUZZ,
    DO_COUNTERS,
    DO_DARK,
    DO_FACTORY_RESET,
    DO_FEED,
    DO_GATE,
    DO_HOME,
    DO_IDENTIFY,
    DO_LAMP,
    DO_LIGHT,
    DO_RING,
    DO_STEP,
    DO_UPDATE_BEGIN,
    DO_UPDATE_BLOCK,
    DO_UPDATE_END,
    FLASH_FAILED,
    IDENTITY_HAS_KEY,
    IDENTITY_LAYOUT,
    IDENTITY_ON_TRIAL,
    IN_HOPPER_EXIT,
    LAMPS,
    NO_SUCH_PART,
    OK,
    OUT_OF_ORDER,
    RESTING,
    RESULT_HEAD,
    UNKNOWN_COMMAND,
    UPDATE_BLOCK_HEAD,
)
from firmware.flash import KEY_FILE, exists
from firmware.outputs import GATE_TRAVEL_STEPS
from firmware.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.controller import Controller
    from firmware.update import Update

RESULTS_KEPT = 16
HEAD_BYTES = struct.calcsize(COMMAND_HEAD)
BUTTON_MS_MIN = 3000
DATA_FORMAT = 1


class Commands:
    """Takes requests, gives answers. `unsent` holds the results that wait for room on the link."""

    def __init__(self, controller: "Controller") -> None:
        self.unsent: list[bytes] = []
        self._controller = controller
        self._results: list[bytes] = []
        self._moves: dict[int, int] = {}
        self._update: Update | None = None

    def take(self, body: bytes, now_ms: int) -> None:
        """A COMMAND message; one too short to be one is ignored."""
        if len(body) < HEAD_BYTES:
            return
        request, code = struct.unpack(COMMAND_HEAD, body[:HEAD_BYTES])
        for answer in self._results:
            if answer[:4] == body[:4]:
                if len(answer) > 4:
                    self.unsent.append(answer)
                return
        if not 0 < code < len(ARGUMENTS):
            self._answer(request, UNKNOWN_COMMAND)
            return
        layout = ARGUMENTS[code]
        arguments = body[HEAD_BYTES:]
        fields: tuple[int, ...] = ()
        if layout is not None:
            if len(arguments) != struct.calcsize(layout):
                self._answer(request, BAD_ARGUMENTS)
                return
            fields = struct.unpack(layout, arguments)
        if DO_HOME <= code <= DO_GATE:
            self._begin_move(request, code, fields)
        else:
            result, data = self._do(code, fields, arguments, now_ms)
            self._answer(request, result, data)

    def moved(self, axis: int, result: int) -> None:
        """An axis has come to rest: who asked for it is answered."""
        request = self._moves.pop(axis, None)
        if request is not None:
            self._answer(request, result)

    def _answer(self, request: int, result: int, data: bytes = b"") -> None:
        answer = struct.pack(RESULT_HEAD, request, result) + data
        self._keep(answer)
        self.unsent.append(answer)

    def _keep(self, answer: bytes) -> None:
        """Remember an answer, or by its four bytes of number alone that there will be one."""
        for place, kept in enumerate(self._results):
            if kept[:4] == answer[:4]:
                self._results[place] = answer
                return
        self._results.append(answer)
        if len(self._results) > RESULTS_KEPT:
            self._results.pop(0)

    def _begin_move(self, request: int, code: int, fields: tuple[int, ...]) -> None:
        outputs = self._controller.outputs
        number = AXIS_HOPPER if code == DO_FEED else AXIS_GATE if code == DO_GATE else fields[0]
        if number >= len(outputs.axes):
            self._answer(request, NO_SUCH_PART)
            return
        axis = outputs.axes[number]
        if code == DO_HOME or (code == DO_GATE and not fields[0]):
            result = axis.home()
        elif code == DO_STEP:
            result = axis.move(fields[1])
        elif code == DO_GATE:
            result = axis.move_to(GATE_TRAVEL_STEPS)
        else:
            result = axis.feed(bool(self._controller.contacts.bits & IN_HOPPER_EXIT))
        if result == OK:
            self._moves[number] = request
            self._keep(struct.pack("<I", request))
        else:
            self._answer(request, result)

    def _do(self, code: int, fields: tuple[int, ...], arguments: bytes, now_ms: int) -> tuple[int, bytes]:
        if code == DO_UPDATE_BLOCK:
            return self._update_block(arguments)
        if code == DO_UPDATE_BEGIN:
            gc.collect()
            from firmware.update import Update

            self._update = Update(self._controller.slots)
            length, version = fields[:2]
            return self._update.begin(length, version, arguments[8:40], arguments[40:]), b""
        if code <= DO_BUZZ:
            return self._show(code, fields, now_ms)
        if code == DO_IDENTIFY:
            return OK, self._identity()
        if code == DO_COUNTERS:
            link = self._controller.link
            return OK, struct.pack(COUNTERS_LAYOUT, *[getattr(link, counter) & 0xFFFFFFFF for counter in COUNTERS])
        if self._controller.outputs.moving:
            return BUSY, b""
        self._controller.outputs.darken(now_ms)  # what follows writes flash or restarts, and watches no light meanwhile
        if code == DO_UPDATE_END:
            if self._update is None:
                return OUT_OF_ORDER, b""
            return self._update.end(self._controller.board.feed), b""
        if code == DO_FACTORY_RESET:
            if self._controller.contacts.button_ms(now_ms) < BUTTON_MS_MIN:
                return BUTTON_NEEDED, b""
            return (OK if self._controller.forget_everything(now_ms) else FLASH_FAILED), b""
        self._controller.restart(now_ms)
        return OK, b""

    def _show(self, code: int, fields: tuple[int, ...], now_ms: int) -> tuple[int, bytes]:
        outputs = self._controller.outputs
        if code == DO_LAMP:
            if fields[0] >= LAMPS:
                return NO_SUCH_PART, b""
            outputs.lamp_modes[fields[0]] = fields[1]
        elif code == DO_RING:
            outputs.ring.show(fields[0], fields[1], fields[2], fields[3])
        elif code == DO_LIGHT:
            result, rest_ms = outputs.light.on(fields[0], fields[1], fields[2], now_ms, outputs.celsius)
            return result, struct.pack("<I", rest_ms) if result == RESTING else b""
        elif code == DO_DARK:
            outputs.light.off()
        elif not outputs.buzzer.play(fields[0], now_ms):
            return NO_SUCH_PART, b""
        return OK, b""

    def _update_block(self, arguments: bytes) -> tuple[int, bytes]:
        update = self._update
        if update is None or len(arguments) < 5:
            return BAD_ARGUMENTS, b""
        result = update.block(struct.unpack(UPDATE_BLOCK_HEAD, arguments[:4])[0], arguments[4:])
        return result, struct.pack("<I", update.written) if result == OUT_OF_ORDER else b""

    def _identity(self) -> bytes:
        slots, board = self._controller.slots, self._controller.board
        flags = IDENTITY_HAS_KEY if exists(KEY_FILE) else 0
        if slots.trial:
            flags |= IDENTITY_ON_TRIAL
        return struct.pack(
            IDENTITY_LAYOUT,
            board.unique_id(),
            VERSION,
            slots.active,
            flags,
            slots.boots,
            board.free_bytes(),
            DATA_FORMAT,
        )
