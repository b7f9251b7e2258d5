"""Everything the board moves or lights, with one call that makes all of it safe."""

from firmware.axis import IDLE, Axis
from firmware.buzzer import Buzzer
from firmware.dictionary import (
    AXIS_GATE,
    AXIS_HOPPER,
    BUZZ_OFF,
    IN_GATE_HOME,
    IN_HOPPER_EXIT,
    IN_HOPPER_HOME,
    JAM,
    JAMMED,
    LAMP_BLINK,
    LAMP_OFF,
    LAMPS,
    OVERHEAT,
    RING_OFF,
    WAVELENGTHS_NM,
)
from firmware.illumination import Illumination
from firmware.lamps import Ring, lamp_lit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.board import Board

HOPPER_TRAVEL_STEPS = 900
GATE_TRAVEL_STEPS = 300
CELSIUS_MS = 200
NO_HOST_LAMP = 1


class Outputs:
    """The outputs and their state machines. `tick` drives the board; `finished` lists (axis, result) of moves."""

    def __init__(self, board: "Board", now_ms: int) -> None:
        self.lamp_modes = [LAMP_OFF] * LAMPS
        self.ring = Ring()
        self.light = Illumination(now_ms)
        self.buzzer = Buzzer()
        self.axes = (Axis(HOPPER_TRAVEL_STEPS), Axis(GATE_TRAVEL_STEPS))
        self.celsius: int | None = None
        self.finished: list[tuple[int, int]] = []
        self._board = board
        self._celsius_ms = now_ms - CELSIUS_MS
        self._duties = [-1] * len(WAVELENGTHS_NM)
        self._lit = [-1] * LAMPS
        self._hertz = -1
        self._powered = False

    @property
    def moving(self) -> bool:
        """Whether an axis is under way."""
        return self.axes[AXIS_HOPPER].state != IDLE or self.axes[AXIS_GATE].state != IDLE

    def make_safe(self) -> None:
        """Nothing lights the eye, moves or sounds; one lamp says that the host is not heard."""
        self.light.off()
        self.buzzer.play(BUZZ_OFF, 0)
        self.ring.show(RING_OFF, 0, 0, 0)
        for place in range(LAMPS):
            self.lamp_modes[place] = LAMP_BLINK if place == NO_HOST_LAMP else LAMP_OFF
        for number, axis in enumerate(self.axes):
            if axis.state != IDLE:
                axis.stop()
                self.finished.append((number, axis.result))

    def darken(self, now_ms: int) -> None:
        """No light and no sound on the pins, at once: a pass follows in which nobody watches them."""
        self.light.off()
        self.buzzer.play(BUZZ_OFF, 0)
        self._show(now_ms)

    def tick(self, inputs: int, now_ms: int) -> list[tuple[int, int]]:
        """Bring every output to what it is to be now; returns (event, detail) of what went wrong."""
        found = []
        if now_ms - self._celsius_ms >= CELSIUS_MS:
            self._celsius_ms = now_ms
            self.celsius = self._board.nir_celsius()
        if self.light.tick(now_ms, self.celsius):
            found.append((OVERHEAT, self.celsius or 0))
        self._show(now_ms)
        for number, at_home, at_exit in (
            (AXIS_HOPPER, inputs & IN_HOPPER_HOME, inputs & IN_HOPPER_EXIT),
            (AXIS_GATE, inputs & IN_GATE_HOME, 0),
        ):
            axis = self.axes[number]
            if axis.state == IDLE:
                continue
            self._power(True)
            direction = axis.tick(bool(at_home), bool(at_exit), now_ms)
            if direction:
                self._board.step(number, direction)
            if axis.state == IDLE:
                self.finished.append((number, axis.result))
                if axis.result == JAMMED:
                    found.append((JAM, number))
        if not self.moving:
            self._power(False)
        return found

    def _power(self, powered: bool) -> None:
        if powered != self._powered:
            self._powered = powered
            self._board.motors(powered)

    def _show(self, now_ms: int) -> None:
        for place, wavelength_nm in enumerate(WAVELENGTHS_NM):
            duty = self.light.duty(wavelength_nm)
            if duty != self._duties[place]:
                self._duties[place] = duty
                self._board.nir(place, duty)
        for place, mode in enumerate(self.lamp_modes):
            lit = lamp_lit(mode, now_ms)
            if lit != self._lit[place]:
                self._lit[place] = lit
                self._board.lamp(place, lit)
        pixels = self.ring.pixels(now_ms)
        if pixels is not None:
            self._board.ring(pixels)
        hertz = self.buzzer.hertz(now_ms)
        if hertz != self._hertz:
            self._hertz = hertz
            self._board.buzz(hertz)
