"""Extraction and comparison in a process of their own: one numba heap a unit, bounded in time, started again at need.

The agent's loop never waits for a kernel, and a decoder that dies takes no session with it. Both sides speak frames
of CBOR over the child's standard input and output (u32 length, big endian); the child ends when its input does, so it
never outlives an agent that was killed. It holds no state but the site gallery, which is given again after a restart.
"""

from __future__ import annotations

import asyncio
import gc
import os
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cbor2
import numpy as np
import structlog

from contract.comparison import Candidate, ComparisonScore
from contract.errors import CaptureRetry, DeviceError, RekamError, RemoteError, TransientError
from contract.sample import FingerPosition, IrisPosition
from edge.logs import configure_logs
from edge.ports import Examined
from edge.procedure import Advice
from edge.sensors.interface import Frame

if TYPE_CHECKING:
    from edge.examination import SiteSearch

FRAME_BYTES_MAX = 256 * 1024 * 1024
CALL_TIMEOUT_S = 20.0
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 3.0
_LENGTH = struct.Struct(">I")
_ERRORS: dict[str, type[RekamError]] = {
    kind.__name__: kind for kind in (CaptureRetry, DeviceError, RemoteError, TransientError, RekamError)
}

log = structlog.get_logger("edge.comparison_worker")


class ComparisonWorker:
    """The worker as the agent sees it: an Examiner, and the site's searchable gallery."""

    def __init__(self, *, call_timeout_s: float = CALL_TIMEOUT_S, start_timeout_s: float = START_TIMEOUT_S) -> None:
        self._call_timeout_s = call_timeout_s
        self._start_timeout_s = start_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._gallery: dict[str, Mapping[int, bytes]] = {}
        self.restarts = -1
        self.stamp = ""

    @property
    def state(self) -> str:
        """What to show on the status page."""
        alive = self._process is not None and self._process.returncode is None
        return "busy" if alive and self._turn.locked() else "ready" if alive else "stopped"

    async def start(self) -> None:
        """Start the process and warm its kernels. Raises DeviceError where it does not come up."""
        async with self._turn:
            await self._ensure()

    async def stop(self) -> None:
        """End the process; may be called twice."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def finger(self, frame: Frame, position: FingerPosition) -> Examined:
        """Extraction, quality and record of one finger image."""
        return _examined(await self._call("finger", *_image(frame), frame.ppi, int(position)))

    async def face(self, frame: Frame) -> Examined:
        """Quality and record of a portrait."""
        return _examined(await self._call("face", *_image(frame)))

    async def iris(self, burst: Sequence[Frame], position: IrisPosition) -> Examined:
        """Quality and record of one eye, of the best picture of several, and which eye that seems to show."""
        return _examined(await self._call("iris", [_image(frame) for frame in burst], int(position)))

    async def compare(self, probe: bytes, references: Sequence[bytes]) -> list[ComparisonScore]:
        """One finger template against several, in their order."""
        scores = await self._call("compare", probe, list(references))
        return [ComparisonScore(value, extrapolated) for value, extrapolated in scores]

    async def search_site(self, probes: Mapping[FingerPosition, bytes], fmr: float) -> list[Candidate]:
        """The captures of this site that hold these fingers at a false match rate, best first."""
        found = await self._call("search", {int(position): probe for position, probe in probes.items()}, fmr)
        return [Candidate(capture_id, ComparisonScore(value)) for capture_id, value in found]

    async def remember(self, entries: Mapping[str, Mapping[int, bytes]]) -> None:
        """Put captures into the site gallery; what it took is given again after a restart."""
        await self._call("remember", {capture: dict(templates) for capture, templates in entries.items()})
        self._gallery.update(entries)

    async def forget(self, capture_id: str) -> None:
        """Take a capture out of the site gallery."""
        if self._gallery.pop(capture_id, None) is not None:
            await self._call("forget", capture_id)

    async def _call(self, operation: str, *arguments: Any) -> Any:
        """One request, bounded in time. A worker that dies or overruns is replaced by the next call."""
        async with self._turn:
            process = await self._ensure()
            try:
                answer = await asyncio.wait_for(_exchange(process, [operation, *arguments]), self._call_timeout_s)
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                self._abandon(process)
                log.warning("worker lost", operation=operation, error=type(error).__name__)
                raise TransientError(
                    "The comparison had to be started again.", next_step="Please give the sample once more."
                ) from None
            except asyncio.CancelledError:
                self._abandon(process)  # its answer would be taken for the next request's
                raise
        return _result(answer)

    async def _ensure(self) -> asyncio.subprocess.Process:
        """The running process, started and given the gallery where it is not."""
        if self._process is not None and self._process.returncode is None:
            return self._process
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge.comparison_worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True, env=_environment(),
        )  # fmt: skip
        try:
            hello = await asyncio.wait_for(_exchange(process, ["hello"]), self._start_timeout_s)
            self.stamp = str(_result(hello))
            if self._gallery:
                gallery = {capture: dict(templates) for capture, templates in self._gallery.items()}
                _result(await asyncio.wait_for(_exchange(process, ["remember", gallery]), self._start_timeout_s))
        except (TimeoutError, OSError, asyncio.IncompleteReadError, RekamError) as error:
            self._abandon(process)
            log.warning("worker does not start", error=type(error).__name__, reason=str(error)[:200])
            raise DeviceError(
                "The comparison worker does not start.", next_step="Run 'rekam-edge selftest' and read its report."
            ) from None
        except asyncio.CancelledError:
            self._abandon(process)
            raise
        self._process = process
        self.restarts += 1
        log.info("worker started", pid=process.pid, restarts=self.restarts)
        return process

    def _abandon(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.kill()
        if self._process is process:
            self._process = None


def _environment() -> dict[str, str]:
    """Ours, with the folder that this very package was imported from: the child runs the same code."""
    own = str(Path(__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH", ""))))}


def _image(frame: Frame) -> tuple[bytes, list[int]]:
    pixels = np.ascontiguousarray(frame.pixels, np.uint8)
    return pixels.tobytes(), list(pixels.shape)


def _examined(fields: Sequence[Any]) -> Examined:
    record, quality, picture, template, advice, shows = fields
    return Examined(record, quality, picture, template, Advice(*advice) if advice else None, IrisPosition(shows))


def _result(answer: Any) -> Any:
    """The value of an answer, or its error raised again on this side."""
    outcome, *content = answer
    if outcome == "value":
        return content[0]
    kind, message, next_step = content
    raise _ERRORS.get(kind, DeviceError)(message, next_step=next_step)


async def _exchange(process: asyncio.subprocess.Process, request: Sequence[Any]) -> Any:
    if process.stdin is None or process.stdout is None:
        raise DeviceError("The comparison worker has no pipes.")
    encoded = await asyncio.to_thread(cbor2.dumps, request)
    process.stdin.write(_LENGTH.pack(len(encoded)) + encoded)
    await process.stdin.drain()
    (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
    if length > FRAME_BYTES_MAX:
        raise OSError("a frame of the worker is too long")
    return await asyncio.to_thread(cbor2.loads, await process.stdout.readexactly(length))


# --- the child's side ---


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until they end."""
    gc.disable()  # code and kernels live as long as the worker
    from edge import examination

    gc.freeze()
    gc.enable()
    site = examination.SiteSearch()
    while True:
        head = requests.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return
        (length,) = _LENGTH.unpack(head)
        encoded = requests.read(length)
        if len(encoded) < length:
            return
        answer = cbor2.dumps(_answer(site, cbor2.loads(encoded)))
        answers.write(_LENGTH.pack(len(answer)) + answer)
        answers.flush()


def _answer(site: SiteSearch, request: Sequence[Any]) -> Sequence[Any]:
    """The outcome of one request, an error being an outcome too."""
    try:
        return ["value", _perform(site, *request)]
    except RekamError as error:
        kind = next((cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _ERRORS), "DeviceError")
        return ["error", kind, error.message, error.next_step]
    except Exception as error:  # a library's own complaint about one sample must not end the worker
        log.exception("worker could not", operation=request[0])
        return ["error", "DeviceError", f"The sample could not be examined ({type(error).__name__}).", "Capture again."]


def _perform(site: SiteSearch, operation: str, *arguments: Any) -> Any:
    from edge import examination as examine

    match operation, arguments:
        case "hello", ():
            examine.warm()
            return examine.extractor_stamp()
        case "finger", (pixels, shape, ppi, position):
            return _flat(examine.examine_finger(_pixels(pixels, shape), ppi, FingerPosition(position)))
        case "face", (pixels, shape):
            return _flat(examine.examine_face(_pixels(pixels, shape)))
        case "iris", (burst, position):
            return _flat(examine.examine_iris([_pixels(*image) for image in burst], IrisPosition(position)))
        case "compare", (probe, references):
            return [(score.value, score.extrapolated) for score in examine.compare_templates(probe, references)]
        case "search", (probes, fmr):
            return [(found.reference_id, found.score.value) for found in site.search(probes, fmr)]
        case "remember", (entries,):
            for capture_id, templates in entries.items():
                site.add(capture_id, templates)
            return len(entries)
        case "forget", (capture_id,):
            site.remove(capture_id)
            return None
        case _:
            raise RemoteError(f"The worker knows no operation '{operation}' of that form.")


def _pixels(octets: bytes, shape: Sequence[int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(octets, np.uint8).reshape(tuple(shape))


def _flat(examined: Examined) -> Sequence[Any]:
    advice = (examined.advice.text_id, examined.advice.text_en) if examined.advice else None
    return (examined.record, examined.quality, examined.picture, examined.template, advice, int(examined.shows))


def main() -> None:
    """Serve on standard input and output; whatever a library prints goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    configure_logs()
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
