"""The agent's event loop must never hang, leak or lose an error because of a device."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from contract.errors import CaptureRetry, DeviceError, TransientError
from edge.sensors.interface import DeviceInfo
from edge.sensors.worker import DeviceWorker, WorkerState


class FakeDevice:
    """Counts what is done to it; every wait is on an event that the test holds."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.closed = 0
        self.entered = threading.Event()
        self.release = threading.Event()

    def open(self) -> DeviceInfo:
        return DeviceInfo(driver="fake", model="F1")

    def close(self) -> None:
        self.closed += 1

    def work(self, cancel: threading.Event) -> str:
        """Ends by itself when cancelled."""
        self.entered.set()
        if cancel.wait(30):
            raise CaptureRetry("The capture was cancelled.")
        return "late"

    def deaf(self) -> str:
        """Ignores cancellation until released."""
        self.entered.set()
        self.release.wait(30)
        return "late"


@pytest.fixture
def devices() -> list[FakeDevice]:
    return []


def state_of(worker: DeviceWorker[FakeDevice]) -> WorkerState:
    return worker.state


def worker_of(devices: list[FakeDevice], grace_s: float = 5.0) -> DeviceWorker[FakeDevice]:
    def make() -> FakeDevice:
        devices.append(FakeDevice())
        return devices[-1]

    return DeviceWorker("test device", make, cancel_grace_s=grace_s)


async def entered(device: FakeDevice) -> None:
    await asyncio.get_running_loop().run_in_executor(None, device.entered.wait, 10)


async def test_a_result_comes_back_and_the_device_stays_open(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices)
    assert state_of(worker) is WorkerState.CLOSED
    assert (await worker.open(5)).model == "F1"
    assert await worker.run(lambda device, cancel: 42, 5) == 42
    assert await worker.run(lambda device, cancel: threading.current_thread().name, 5) == "device-test device"
    assert len(devices) == 1
    assert state_of(worker) is WorkerState.READY
    await worker.close()
    assert devices[0].closed == 1
    assert state_of(worker) is WorkerState.CLOSED


async def test_a_retry_keeps_the_device_and_a_failure_opens_it_anew(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices)

    def retry(device: FakeDevice, cancel: threading.Event) -> None:
        raise CaptureRetry("No finger.")

    def fail(device: FakeDevice, cancel: threading.Event) -> None:
        raise DeviceError("The port is gone.")

    with pytest.raises(CaptureRetry):
        await worker.run(retry, 5)
    assert devices[0].closed == 0
    with pytest.raises(DeviceError, match="port is gone"):
        await worker.run(fail, 5)
    assert devices[0].closed == 1
    assert state_of(worker) is WorkerState.FAILED
    assert "port is gone" in str(worker.last_error)
    assert await worker.run(lambda device, cancel: device is devices[1], 5)
    assert worker.last_error is None
    await worker.close()


async def test_a_drivers_bug_reaches_the_caller_and_the_thread_lives_on(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices)
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda device, cancel: 1 // 0, 5)
    assert await worker.run(lambda device, cancel: "alive", 5) == "alive"
    await worker.close()


async def test_a_device_that_cannot_be_opened_is_reported_each_time() -> None:
    closed: list[int] = []

    class Absent(FakeDevice):
        def open(self) -> DeviceInfo:
            raise DeviceError("There is no such port.")

        def close(self) -> None:
            closed.append(1)

    worker: DeviceWorker[FakeDevice] = DeviceWorker("absent", Absent)
    for _ in range(2):
        with pytest.raises(DeviceError, match="no such port"):
            await worker.open(5)
    assert len(closed) == 2
    await worker.close()


async def test_the_deadline_cancels_the_call_and_the_device_is_kept(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices)
    with pytest.raises(CaptureRetry, match="cancelled"):
        await worker.run(lambda device, cancel: device.work(cancel), 0.01)
    assert worker.threads_given_up == 0
    assert await worker.run(lambda device, cancel: device is devices[0], 5)
    await worker.close()


async def test_a_deaf_driver_is_given_up_and_the_next_call_gets_a_new_device(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices, grace_s=0.01)
    with pytest.raises(DeviceError, match="did not answer in time"):
        await worker.run(lambda device, cancel: device.deaf(), 0.01)
    assert worker.threads_given_up == 1
    assert await worker.run(lambda device, cancel: device is devices[1], 5)
    devices[0].release.set()
    await worker.close()


async def test_cancel_from_outside_ends_the_call(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices)
    await worker.open(5)
    running = asyncio.create_task(worker.run(lambda device, cancel: device.work(cancel), 30))
    await entered(devices[0])
    assert state_of(worker) is WorkerState.BUSY
    worker.cancel()
    with pytest.raises(CaptureRetry):
        await running
    await worker.close()


async def test_a_cancelled_task_frees_the_device_for_the_next(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices)
    await worker.open(5)
    running = asyncio.create_task(worker.run(lambda device, cancel: device.work(cancel), 30))
    await entered(devices[0])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await worker.run(lambda device, cancel: "free", 5) == "free"
    await worker.close()


async def test_one_call_may_wait_and_a_third_is_refused(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices)
    await worker.open(5)
    first = asyncio.create_task(worker.run(lambda device, cancel: device.work(cancel), 30))
    await entered(devices[0])
    second = asyncio.create_task(worker.run(lambda device, cancel: "second", 30))
    await asyncio.sleep(0)
    with pytest.raises(TransientError, match="busy"):
        await worker.run(lambda device, cancel: "third", 30)
    worker.cancel()
    with pytest.raises(CaptureRetry):
        await first
    assert await second == "second"
    await worker.close()


async def test_a_call_that_waited_past_its_deadline_never_runs(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices, grace_s=0.01)
    await worker.open(5)
    ran: list[int] = []
    first = asyncio.create_task(worker.run(lambda device, cancel: device.work(cancel), 30))
    await entered(devices[0])
    with pytest.raises(TransientError, match="stayed busy"):
        await worker.run(lambda device, cancel: ran.append(1), 0.01)
    worker.cancel()
    with pytest.raises(CaptureRetry):
        await first
    assert await worker.run(lambda device, cancel: "next", 5) == "next"
    assert ran == []
    assert worker.threads_given_up == 0
    await worker.close()


async def test_close_cancels_what_runs_and_leaves_no_thread(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices)
    await worker.open(5)
    running = asyncio.create_task(worker.run(lambda device, cancel: device.work(cancel), 30))
    await entered(devices[0])
    await worker.close()
    with pytest.raises(CaptureRetry):
        await running
    await worker.close()
    assert devices[0].closed == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "device-test device"]
    with pytest.raises(DeviceError, match="was closed"):
        await worker.run(lambda device, cancel: 1, 5)


async def test_a_preview_reaches_the_device_beside_a_running_capture(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices)
    assert worker.peek(lambda device: device.closed, -1) == -1
    await worker.open(5)
    running = asyncio.create_task(worker.run(lambda device, cancel: device.work(cancel), 30))
    await entered(devices[0])
    assert worker.peek(lambda device: device.closed, -1) == 0
    await worker.close()
    with pytest.raises(CaptureRetry):
        await running


async def test_many_captures_keep_one_thread(devices: list[FakeDevice]) -> None:
    worker = worker_of(devices)
    await worker.open(5)
    before = threading.active_count()
    for count in range(200):
        assert await worker.run(lambda device, cancel, n=count: n, 5) == count  # type: ignore[misc]
    gc.collect()
    assert threading.active_count() == before
    await worker.close()
