"""A stepper with a home switch: the card hopper's pusher and the gate. Every move ends, found or jammed.

The position is known only after homing and is forgotten with every jam and every loss of power to the coils that came
unasked. The owner makes one step when `tick` says so.
"""

from firmware.dictionary import BUSY, EMPTY, JAMMED, NOT_HOMED, OK, STOPPED

STEP_MS = 2
BACK_OFF_STEPS = 40
SLACK_STEPS = 60  # a home switch may come this much later than counted

IDLE = 0
HOMING = 1
MOVING = 2
FEEDING = 3
RETURNING = 4
BACKING = 5
FORWARD = 1
BACKWARD = -1


class Axis:
    """One stepper. travel: steps from home to the far end."""

    def __init__(self, travel: int) -> None:
        self.state = IDLE
        self.homed = False
        self.position = 0
        self.result = OK
        self._travel = travel
        self._target = 0
        self._left = 0
        self._after = OK
        self._due_ms = 0

    def home(self) -> int:
        """Go back until the home switch closes."""
        return self._begin(HOMING, self._travel + SLACK_STEPS)

    def move(self, steps: int) -> int:
        """Move by so many steps within the travel."""
        return self.move_to(self.position + steps)

    def move_to(self, position: int) -> int:
        """Go to a position within the travel."""
        if not self.homed:
            return NOT_HOMED
        if not 0 <= position <= self._travel:
            return JAMMED
        self._target = position
        return self._begin(MOVING, self._travel)

    def feed(self, exit_taken: bool) -> int:
        """Push until a card shows at the exit, then go home. Nothing is pushed against a card that lies there."""
        if not self.homed:
            return NOT_HOMED
        if exit_taken:
            return JAMMED
        return self._begin(FEEDING, self._travel - self.position)

    def stop(self) -> None:
        """Stop where it stands; coils without power may slip, so the position is forgotten."""
        if self.state != IDLE:
            self.state, self.result, self.homed = IDLE, STOPPED, False

    def _begin(self, state: int, steps: int) -> int:
        if self.state != IDLE:
            return BUSY
        self.state, self._left = state, steps
        return OK

    def tick(self, at_home: bool, at_exit: bool, now_ms: int) -> int:
        """FORWARD or BACKWARD where a step is to be made now, else 0. `result` is set when `state` becomes IDLE."""
        if self.state == IDLE or now_ms < self._due_ms:
            return 0
        self._due_ms = now_ms + STEP_MS
        if self.state == FEEDING:
            return self._feed(at_exit)
        if self.state == MOVING:
            if self.position == self._target:
                return self._end(OK)
            return self._step(FORWARD if self._target > self.position else BACKWARD)
        if self.state == BACKING:
            return self._step(FORWARD) if self._left > 0 else self._end(JAMMED)
        if at_home:  # homing, or returning from a feed
            self.homed, self.position = True, 0
            return self._end(self._after if self.state == RETURNING else OK)
        if self._left > 0:
            return self._step(BACKWARD)
        return self._jam()

    def _feed(self, at_exit: bool) -> int:
        if at_exit or self._left <= 0:
            self._after = OK if at_exit else EMPTY
            self.state, self._left = RETURNING, self.position + SLACK_STEPS
            return self._step(BACKWARD)
        return self._step(FORWARD)

    def _jam(self) -> int:
        """The home switch did not come: ease off forward, so that nothing stays under pressure."""
        self.homed = False
        self.state, self._left = BACKING, BACK_OFF_STEPS
        return 0

    def _step(self, direction: int) -> int:
        self._left -= 1
        self.position += direction
        return direction

    def _end(self, result: int) -> int:
        self.state, self.result = IDLE, result
        if result == JAMMED:
            self.homed = False
        return 0
