"""The worker as the agent holds it: what it refuses is not given again, and a process that does not start is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from contract.errors import DeviceError, RemoteError
from edge import comparison_worker
from edge.comparison_worker import ComparisonWorker


class Process:
    """A child that does nothing and can be killed."""

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.pid = 4711

    def kill(self) -> None:
        self.returncode = -9


class Children:
    """Stands for the operating system: starts processes, and answers for them; `refuse` names the bad capture."""

    def __init__(self) -> None:
        self.started: list[Process] = []
        self.asked: list[Sequence[Any]] = []
        self.refuse = ""

    async def start(self, *_arguments: object, **_options: object) -> Process:
        self.started.append(Process())
        return self.started[-1]

    async def exchange(self, _process: Process, request: Sequence[Any]) -> Sequence[Any]:
        self.asked.append(request)
        if request[0] == "remember" and self.refuse in request[1]:
            return ["error", "RemoteError", "That is no template.", "Capture again."]
        return ["value", "stamp"]


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    made = Children()
    monkeypatch.setattr(asyncio, "create_subprocess_exec", made.start)
    monkeypatch.setattr(comparison_worker, "_exchange", made.exchange)
    return made


async def test_a_capture_that_the_worker_refuses_is_not_given_to_the_next_one(children: Children) -> None:
    worker = ComparisonWorker()
    await worker.remember({"good": {2: b"t"}})
    children.refuse = "bad"
    with pytest.raises(RemoteError):
        await worker.remember({"bad": {2: b"x"}})
    children.started[0].kill()
    await worker.start()
    assert children.asked[-1] == ["remember", {"good": {2: b"t"}}] and worker.restarts == 1


async def test_a_process_that_does_not_take_the_gallery_is_ended(children: Children) -> None:
    worker = ComparisonWorker()
    await worker.remember({"good": {2: b"t"}})
    children.started[0].kill()
    children.refuse = "good"
    with pytest.raises(DeviceError):
        await worker.start()
    assert [process.returncode for process in children.started] == [-9, -9] and worker.state == "stopped"
