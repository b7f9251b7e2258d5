"""Runs a step table: which actions a step allows, one at a time, with cancel at any moment and a clock per step (M65).

A procedure is data: a table of steps, each with the actions that are possible there and the coroutine that does them.
A coroutine returns the step that follows. What it raises moves nothing: advice for the person is shown, a device's or
peer's problem is shown, and the same step asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from contract.clock import Clock
from contract.errors import CaptureRetry, RekamError
from contract.packet import StepClock
from edge.eligibility import MESSAGES, Refusal

C = TypeVar("C")
Fields = Mapping[str, str]
STEP_CLOCKS_MAX = 60
CANCEL_GRACE_S = 5.0
CANCELLED = "cancelled"

log = structlog.get_logger("edge.procedure")


class Refused(RekamError):
    """The action is refused, with a code and two sentences; nothing was changed."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        message_id, message_en = MESSAGES[refusal]
        super().__init__(detail or message_en, next_step=message_id)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Action(Generic[C]):
    """Something a person can do at a step. when: whether it is offered now; run: does it, gives the next step."""

    run: Callable[[C, Fields], Awaitable[str]]
    when: Callable[[C], bool] = lambda _context: True


@dataclass(frozen=True, slots=True)
class Row(Generic[C]):
    """One step: its title on the screen, its actions, and what runs by itself on arrival.

    ends: the outcome stands, only closing follows; critical: while it is busy there is no way back; binding: there is
    none at all, because the outcome is decided and only waits for something to be done;
    shown: whether the step stands in the progress line; retry_id: what a person reads in Indonesian when a device
    asks for another try (its own words are English).
    """

    title_id: str
    title_en: str
    actions: Mapping[str, Action[C]] = field(default_factory=dict)
    on_arrival: Callable[[C, Fields], Awaitable[str]] | None = None
    ends: bool = False
    critical: bool = False
    binding: bool = False
    shown: bool = True
    retry_id: str = "Silakan coba sekali lagi."


@dataclass(frozen=True, slots=True)
class Advice:
    """What the person should do differently, in Indonesian and English."""

    text_id: str
    text_en: str


class Retry(CaptureRetry):
    """A capture to be tried again, with advice in both languages."""

    def __init__(self, advice: Advice) -> None:
        super().__init__(advice.text_en, next_step=advice.text_id)
        self.advice = advice


class Procedure(Generic[C]):
    """One run through a table. Lives on one event loop; holds its state in memory only."""

    def __init__(
        self,
        table: Mapping[str, Row[C]],
        first: str,
        context: C,
        clock: Clock,
        *,
        cancel_devices: Callable[[], None],
        forget: Callable[[C], None],
    ) -> None:
        self.table = table
        self.context = context
        self.step = first
        self.revision = 1
        self.advice: Advice | None = None
        self.problem: dict[str, str] | None = None
        self.clocks: list[StepClock] = []
        self.on_step: Callable[[str], None] = lambda _step: None
        self.on_touch: Callable[[], None] = lambda: None
        self._clock = clock
        self._cancel_devices = cancel_devices
        self._forget = forget
        self._entered_wall_ms = clock.wall_ms()
        self._entered_ms = clock.monotonic_ms()
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether an action is under way."""
        return self._task is not None and not self._task.done()

    @property
    def ended(self) -> bool:
        """Whether the procedure is over."""
        return self.table[self.step].ends and not self.busy

    def actions(self) -> list[str]:
        """What may be done now."""
        if self.busy:
            return ["cancel"] if self.may_cancel else []
        found = [name for name, action in self.table[self.step].actions.items() if action.when(self.context)]
        return [*found, "cancel"] if self.may_cancel else found

    @property
    def may_cancel(self) -> bool:
        """Whether cancelling still leaves nothing behind."""
        row = self.table[self.step]
        return not row.ends and not row.binding and not (row.critical and self.busy)

    def start(self, action: str, fields: Fields) -> asyncio.Task[None]:
        """Begin an action; the task ends when the step has been done or asks again. Raises Refused."""
        row = self.table[self.step]
        if self.busy:
            raise Refused(Refusal.BUSY)
        found = row.actions.get(action)
        if found is None or not found.when(self.context):
            raise Refused(Refusal.NOT_ALLOWED, f"'{action}' is not possible at step '{self.step}'.")
        self.advice, self.problem = None, None
        self._task = asyncio.create_task(self._run(found.run, fields), name=f"procedure-{self.step}-{action}")
        self.touch()
        return self._task

    async def cancel(self) -> None:
        """End now and forget everything that was taken. Raises Refused where the outcome stands already."""
        if not self.may_cancel:
            raise Refused(Refusal.NOT_ALLOWED, f"'cancel' is not possible at step '{self.step}'.")
        task = self._task
        if task is not None and not task.done():
            self._cancel_devices()
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_GRACE_S)
            if not self.may_cancel:
                raise Refused(Refusal.NOT_ALLOWED, "The action had ended before it could be cancelled.")
        self._move(CANCELLED)
        self._forget(self.context)

    async def wait(self, after: int, timeout_s: float) -> None:
        """Return when the revision is higher than `after`, or when the time is over."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self.revision <= after:
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                return
            changed = self._changed
            try:
                await asyncio.wait_for(changed.wait(), remaining)
            except TimeoutError:
                return

    def touch(self) -> None:
        """Tell everybody who waits that the snapshot has changed."""
        self.revision += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self.on_touch()

    def closed_clocks(self) -> tuple[StepClock, ...]:
        """The clocks of the steps so far, the current one as if it ended now."""
        return (*self.clocks[: STEP_CLOCKS_MAX - 1], self._reading())

    async def _run(self, run: Callable[[C, Fields], Awaitable[str]] | None, fields: Fields) -> None:
        try:
            while run is not None:
                following = await run(self.context, fields)
                run, fields = self._move(following), {}
        except Retry as retry:
            self.advice = retry.advice
        except CaptureRetry as retry:
            self.advice = Advice(self.table[self.step].retry_id, str(retry))
        except RekamError as error:
            self.problem = error.diagnostics()
            log.warning("step failed", step=self.step, error=type(error).__name__, message=error.message)
        except Exception as error:
            log.exception("step raised", step=self.step)
            self.problem = {
                "error": type(error).__name__,
                "message": "The unit could not do this step.",
                "next_step": "Try once more; then cancel, and report the time to the technician.",
            }
        finally:
            self._task = None
            self.touch()

    def _move(self, following: str) -> Callable[[C, Fields], Awaitable[str]] | None:
        """Enter `following`; what runs there by itself, when the step is a new one."""
        if following == self.step:
            return None
        if len(self.clocks) < STEP_CLOCKS_MAX:
            self.clocks.append(self._reading())
        self.step = following
        self._entered_wall_ms, self._entered_ms = self._clock.wall_ms(), self._clock.monotonic_ms()
        self.advice, self.problem = None, None
        self.touch()
        self.on_step(following)
        return self.table[following].on_arrival

    def _reading(self) -> StepClock:
        """How long the current step has taken so far; a wall clock that jumps does not change the duration."""
        duration_ms = self._clock.monotonic_ms() - self._entered_ms
        return StepClock(
            step=self.step, started_ms=self._entered_wall_ms, ended_ms=self._entered_wall_ms + max(0, duration_ms)
        )
