"""A thread for each device, so that a blocking driver never holds up the agent's event loop.

One call runs, one may wait behind it; more are refused. Every call has a deadline. When it passes, or when the
asking task is cancelled, the driver's `cancel` event is set; a driver that does not return within a grace time is
given up with its thread, and the next call starts a new thread with a new device. After a DeviceError the device is
closed and opened again by the next call.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from contract.errors import CaptureRetry, DeviceError, TransientError
from edge.sensors.interface import Device, DeviceInfo

D = TypeVar("D", bound=Device)
R = TypeVar("R")

CANCEL_GRACE_S = 2.0
CLOSE_GRACE_S = 3.0


class WorkerState(StrEnum):
    """What a device's worker is doing, for the screen and the selftest."""

    CLOSED = "closed"
    READY = "ready"
    BUSY = "busy"
    FAILED = "failed"


@dataclass(slots=True)
class _Job(Generic[D]):
    """One call on its way to the device's thread and back."""

    call: Callable[[D, threading.Event], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    cancel: threading.Event = field(default_factory=threading.Event)

    def settle(self, result: Any, error: BaseException | None) -> None:
        """Hand the outcome to the loop; a loop that has gone meanwhile needs no answer."""
        try:
            self.loop.call_soon_threadsafe(self._settle_on_loop, result, error)
        except RuntimeError:
            self.cancel.set()

    def _settle_on_loop(self, result: Any, error: BaseException | None) -> None:
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(result)
        else:
            self.answer.set_exception(error)


class _DeviceThread(Generic[D]):
    """One thread that owns one device for as long as both work."""

    def __init__(self, name: str, make: Callable[[], D]) -> None:
        self._make = make
        self.jobs: queue.Queue[_Job[D] | None] = queue.Queue(maxsize=1)
        self.current: _Job[D] | None = None
        self.device: D | None = None
        self.info: DeviceInfo | None = None
        self.last_error: DeviceError | None = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._serve, name=f"device-{name}", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while not self.stopping.is_set():
            job = self.jobs.get()
            if job is None:
                break
            self.current = job
            if self.stopping.is_set() or job.cancel.is_set():
                job.settle(None, DeviceError("The call was withdrawn before the device took it."))
            else:
                self._run(job)
            self.current = None
        self._close_device()
        self._refuse_waiting()

    def _run(self, job: _Job[D]) -> None:
        result: Any = None
        try:
            result = job.call(self._opened(), job.cancel)
        except CaptureRetry as error:
            job.settle(None, error)
        except DeviceError as error:
            self.last_error = error
            self._close_device()
            job.settle(None, error)
        except BaseException as error:  # noqa: BLE001 - a driver's bug goes to the caller, and the thread lives on
            self.last_error = DeviceError(f"The driver failed: {type(error).__name__}.")
            self._close_device()
            job.settle(None, error)
        else:
            self.last_error = None
            job.settle(result, None)

    def _opened(self) -> D:
        if self.device is None:
            device = self._make()
            try:
                self.info = device.open()
            except BaseException:
                device.close()
                raise
            self.device = device
        return self.device

    def _close_device(self) -> None:
        device, self.device = self.device, None
        if device is not None:
            device.close()

    def _refuse_waiting(self) -> None:
        while True:
            try:
                job = self.jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                job.settle(None, DeviceError("The device was closed."))

    def stop(self) -> None:
        """Ask the thread to end: cancel what runs, wake it where it waits."""
        self.stopping.set()
        current = self.current
        if current is not None:
            current.cancel.set()
        try:
            self.jobs.put_nowait(None)
        except queue.Full:
            return


class DeviceWorker(Generic[D]):
    """The asynchronous side of one device. Made and used on one event loop.

    name: for the thread's name and for messages. make: gives the unopened device; called on the device's thread,
    again after each failure.
    """

    def __init__(self, name: str, make: Callable[[], D], *, cancel_grace_s: float = CANCEL_GRACE_S) -> None:
        self.name = name
        self._make = make
        self._cancel_grace_s = cancel_grace_s
        self._thread: _DeviceThread[D] | None = None
        self._closed = False
        self.threads_given_up = 0

    @property
    def info(self) -> DeviceInfo | None:
        """Who the device said it is when it was last opened."""
        return self._thread.info if self._thread else None

    @property
    def last_error(self) -> DeviceError | None:
        """Why the last call failed; None after a call that worked."""
        return self._thread.last_error if self._thread else None

    @property
    def state(self) -> WorkerState:
        """What the worker is doing now."""
        if self._thread is None or self._closed:
            return WorkerState.CLOSED
        if self._thread.current is not None:
            return WorkerState.BUSY
        if self._thread.last_error is not None:
            return WorkerState.FAILED
        return WorkerState.READY if self._thread.device is not None else WorkerState.CLOSED

    async def open(self, timeout_s: float) -> DeviceInfo:
        """Connect and identify the device, unless it is open already. Raises DeviceError."""
        await self.run(lambda device, cancel: None, timeout_s)
        info = self.info
        if info is None:
            raise DeviceError(f"The {self.name} did not identify itself.")
        return info

    async def run(self, call: Callable[[D, threading.Event], R], timeout_s: float) -> R:
        """Run `call(device, cancel)` on the device's thread and await its result.

        The deadline covers waiting for the device, opening it and the call. Raises what the call raises
        (CaptureRetry, DeviceError); DeviceError when the deadline passes; TransientError when another call is
        waiting already. Cancelling the awaiting task cancels the call.
        """
        if self._closed:
            raise DeviceError(f"The {self.name} was closed.")
        thread = self._running_thread()
        loop = asyncio.get_running_loop()
        job: _Job[D] = _Job(call, loop, loop.create_future())
        try:
            thread.jobs.put_nowait(job)
        except queue.Full:
            raise TransientError(
                f"The {self.name} is busy and another call is waiting.", next_step="Wait for the capture to end."
            ) from None
        try:
            done, _ = await asyncio.wait({job.answer}, timeout=timeout_s)
            if not done:
                job.cancel.set()
                done, _ = await asyncio.wait({job.answer}, timeout=self._cancel_grace_s)
        except asyncio.CancelledError:
            job.cancel.set()
            job.answer.cancel()
            raise
        if not done:
            job.answer.cancel()
            self._give_up(thread, job)
        return await job.answer  # type: ignore[no-any-return]  # the thread settles it with the call's own result

    def peek(self, call: Callable[[D], R], default: R) -> R:
        """Call a method that never blocks and is safe beside a running capture, such as a signature pad's preview.

        Runs on the calling thread; `default` where the device is not open.
        """
        device = self._thread.device if self._thread else None
        return default if device is None else call(device)

    def cancel(self) -> None:
        """Cancel the call that runs now; a call that waits behind it then runs."""
        current = self._thread.current if self._thread else None
        if current is not None:
            current.cancel.set()

    async def close(self) -> None:
        """Cancel what runs, close the device and end its thread. May be called twice; never raises."""
        self._closed = True
        thread = self._thread
        if thread is None:
            return
        thread.stop()
        await asyncio.get_running_loop().run_in_executor(None, thread.thread.join, CLOSE_GRACE_S)

    def _running_thread(self) -> _DeviceThread[D]:
        if self._thread is None or not self._thread.thread.is_alive():
            self._thread = _DeviceThread(self.name, self._make)
        return self._thread

    def _give_up(self, thread: _DeviceThread[D], job: _Job[D]) -> None:
        """The driver ignores `cancel`: leave its thread to end when it can, and start afresh next time."""
        if thread.current is not job:
            raise TransientError(f"The {self.name} stayed busy until the deadline of the call that waited.")
        thread.stop()
        self.threads_given_up += 1
        if self._thread is thread:
            self._thread = None
        raise DeviceError(
            f"The {self.name} did not answer in time.",
            next_step="Unplug the device, plug it in again, then run 'rekam-edge selftest'.",
        )
