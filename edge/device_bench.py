"""The unit's devices as sessions see them: each on its own thread with a deadline, all cancelled by one word.

A device that the configuration does not name is missing, which is the technician's business and said so.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from contract.clock import Clock
from contract.errors import DeviceError, RekamError
from contract.finger_image import SLAP_FINGERS, SlapPosition, slap_of
from contract.sample import FingerPosition, IrisPosition
from edge.config import PolicyTable, Setting
from edge.screens.pictures import jpeg
from edge.sensors.drivers import open_driver
from edge.sensors.interface import (
    Camera,
    CardReader,
    ClimateSensor,
    CodeScanner,
    Device,
    DocumentScanner,
    EncodedPicture,
    FingerprintScanner,
    Frame,
    Illumination,
    IrisBurst,
    IrisScanner,
    LivePicture,
    PenPoint,
    PointerBatch,
    PointerPad,
    SignaturePad,
    SlapScanner,
    TicketPrinter,
)
from edge.sensors.selftest import DEVICE_TIMEOUT_S, SelftestRow, examine_device
from edge.sensors.worker import DeviceWorker

D = TypeVar("D", bound=Device)

PREVIEW_TIMEOUT_S = 3.0
WORKER_MARGIN_S = 3.0
SCREEN_PAD = "screen"
SENSOR_KINDS = ("camera", "finger", "slap", "iris", "signature", "card", "ticket", "climate", "scanner", "code")


@dataclass(frozen=True, slots=True)
class DeviceState:
    """One device for the status page."""

    kind: str
    driver: str
    model: str
    state: str
    problem: str


class DeviceBench:
    """All devices of one unit. Made and used on the event loop.

    ticket, climate, scanner: the workers of what no session's step asks for; None where there is none.
    illumination: an iris camera's light; the unit's controller, where it gives one, else [devices.illumination].
    """

    def __init__(
        self,
        devices: Mapping[str, Mapping[str, Setting]],
        policy: PolicyTable,
        illumination: Illumination | None = None,
    ) -> None:
        self._policy = policy
        self._looking = asyncio.Lock()  # one live picture at a time, so that a capture finds its place in the queue
        self._light_table = devices.get("illumination")
        self.illumination = illumination
        self._own_light: Device | None = None
        self._tables = {kind: table for kind, table in devices.items() if kind in SENSOR_KINDS}
        self._camera: DeviceWorker[Camera] | None = self._worker("camera")
        self._finger: DeviceWorker[FingerprintScanner] | None = self._worker("finger")
        self._slap: DeviceWorker[SlapScanner] | None = self._worker("slap")
        self._iris: DeviceWorker[IrisScanner] | None = self._worker("iris")
        self._signature: DeviceWorker[SignaturePad] | None = self._worker("signature")
        self._card: DeviceWorker[CardReader] | None = self._worker("card")
        self.ticket: DeviceWorker[TicketPrinter] | None = self._worker("ticket")
        self.climate: DeviceWorker[ClimateSensor] | None = self._worker("climate")
        self.scanner: DeviceWorker[DocumentScanner] | None = self._worker("scanner")
        self._code: DeviceWorker[CodeScanner] | None = self._worker("code")

    @property
    def card(self) -> DeviceWorker[CardReader] | None:
        """The card reader, for who works with chips."""
        return self._card

    async def photo(self) -> Frame:
        """A portrait at full resolution."""
        limit = self._policy.capture_timeout_s
        worker = _present(self._camera, "camera")
        return await worker.run(lambda camera, cancel: camera.capture(limit, cancel), limit + WORKER_MARGIN_S)

    async def photo_preview(self) -> bytes:
        """A small picture of now, JPEG."""
        worker = _present(self._camera, "camera")
        async with self._looking:
            return await worker.run(lambda camera, _cancel: _live_jpeg(camera), PREVIEW_TIMEOUT_S + WORKER_MARGIN_S)

    async def live_picture(self, kind: str) -> bytes | None:
        """The same from the finger, slap or iris scanner; None where the device has no live picture."""
        worker: DeviceWorker[Any] | None = {
            "finger": self._finger or self._slap, "slap": self._slap, "iris": self._iris,
        }.get(kind)  # fmt: skip
        if worker is None:
            return None
        async with self._looking:
            await worker.open(PREVIEW_TIMEOUT_S + WORKER_MARGIN_S)
            if not worker.peek(lambda device: isinstance(device, LivePicture), default=False):
                return None
            return await worker.run(lambda device, _cancel: _live_jpeg(device), PREVIEW_TIMEOUT_S + WORKER_MARGIN_S)

    async def finger(self, position: FingerPosition) -> Frame:
        """One finger, once it lies on the scanner; where there is only one for slaps, by itself on that."""
        if self._finger is None and (slap := slap_of(position)) is not None and self._slap is not None:
            frames = await self.slap(slap, [other for other in SLAP_FINGERS[slap] if other is not position])
            return frames[position]
        limit = self._policy.capture_timeout_s
        worker = _present(self._finger, "finger")
        return await worker.run(
            lambda scanner, cancel: scanner.capture(position, limit, cancel), limit + WORKER_MARGIN_S
        )

    @property
    def takes_slaps(self) -> bool:
        """Whether this unit has a scanner for four fingers at once."""
        return self._slap is not None

    async def slap(self, slap: SlapPosition, missing: Sequence[FingerPosition]) -> Mapping[FingerPosition, Frame]:
        """Every finger of a slap that is not `missing`, once the hand lies on the scanner."""
        limit = self._policy.capture_timeout_s
        worker = _present(self._slap, "slap")
        frames = await worker.run(
            lambda scanner, cancel: scanner.capture(slap, missing, limit, cancel), limit + WORKER_MARGIN_S
        )
        if set(frames) != set(SLAP_FINGERS[slap]) - set(missing):
            raise DeviceError("The slap scanner gave other fingers than were asked for.")
        return frames

    async def irises(self, positions: Sequence[IrisPosition]) -> Sequence[Sequence[Frame]]:
        """For each asked eye a burst of near-infrared frames, or the one that a device chose by itself."""
        limit = self._policy.capture_timeout_s
        worker = _present(self._iris, "iris")

        def take(scanner: IrisScanner, cancel: threading.Event) -> Sequence[Sequence[Frame]]:
            if isinstance(scanner, IrisBurst):
                return scanner.burst(positions, limit, cancel)
            return [[frame] for frame in scanner.capture(positions, limit, cancel)]

        return await worker.run(take, limit + WORKER_MARGIN_S)

    async def pen(self) -> Sequence[PenPoint]:
        """A signature, once the pen rests."""
        limit = self._policy.signature_timeout_s
        worker = _present(self._signature, "signature")
        return await worker.run(lambda pad, cancel: pad.capture(limit, cancel), limit + WORKER_MARGIN_S)

    @property
    def scans_papers(self) -> bool:
        """Whether this unit has a document scanner."""
        return self.scanner is not None

    async def scan_papers(self) -> Sequence[Frame]:
        """The page on the glass, or every page in the feeder."""
        limit = self._policy.scan_timeout_s
        worker = _present(self.scanner, "scanner")
        return await worker.run(lambda scanner, cancel: scanner.scan(limit, cancel), limit + WORKER_MARGIN_S)

    def pen_preview(self) -> Sequence[PenPoint]:
        """The points of the signature in progress."""
        return self._signature.peek(lambda pad: pad.preview(), ()) if self._signature else ()

    @property
    def signs_on_screen(self) -> bool:
        """Whether the signature pad is the unit's own touch screen, so that its page brings the points."""
        return self._tables.get("signature", {}).get("driver") == SCREEN_PAD

    def write_pen(self, batch: PointerBatch) -> bool:
        """Points that a page brings; False where no signature is being taken from the screen."""
        if self._signature is None:
            return False
        return self._signature.peek(lambda pad: isinstance(pad, PointerPad) and pad.write(batch), False)

    @property
    def has_code_scanner(self) -> bool:
        """Whether a code scanner is connected to the unit; one that types like a keyboard is the page's."""
        return self._code is not None

    async def code(self, wait_s: float) -> str:
        """The text of the next code that is shown to the unit's own scanner."""
        worker = _present(self._code, "code")
        return await worker.run(lambda scanner, cancel: scanner.scan(wait_s, cancel), wait_s + WORKER_MARGIN_S)

    async def problems(self, timeout_s: float) -> dict[str, str]:
        """Open every device that is not open; what is wrong, by kind, with those that do not. A busy one is well."""

        async def try_one(kind: str, worker: DeviceWorker[Any]) -> tuple[str, str]:
            try:
                await worker.open(timeout_s)
            except DeviceError as error:
                return kind, error.message
            except RekamError:
                pass
            return kind, ""

        tried = await asyncio.gather(*(try_one(kind, worker) for kind, worker in self._workers()))
        return {kind: problem for kind, problem in tried if problem}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The devices that this unit has."""
        return tuple(kind for kind, _ in self._workers())

    async def examine(self, kind: str, clock: Clock) -> SelftestRow:
        """Try one of `kinds` as the selftest does, where it is held. Never raises: the row says what failed."""
        worker, driver = dict(self._workers())[kind], str(self._tables[kind].get("driver", ""))
        return await examine_device(kind, driver, worker, DEVICE_TIMEOUT_S, clock)

    def cancel(self) -> None:
        """End every capture that is under way."""
        for _, worker in self._workers():
            worker.cancel()

    async def close(self) -> None:
        """Close every device; never raises."""
        for _, worker in self._workers():
            await worker.close()
        own, self._own_light = self._own_light, None
        if own is not None:
            await asyncio.to_thread(own.close)

    def states(self) -> list[DeviceState]:
        """Every configured device for the status page."""
        return [
            DeviceState(
                kind=kind,
                driver=str(self._tables[kind].get("driver", "")),
                model=worker.info.model if worker.info else "",
                state=worker.state.value if worker.info or worker.last_error else "ready",
                problem=worker.last_error.message if worker.last_error else "",
            )
            for kind, worker in self._workers()
        ]

    def _workers(self) -> list[tuple[str, DeviceWorker[Any]]]:
        sensors = (self._camera, self._finger, self._slap, self._iris, self._signature, self._card)
        found = (*sensors, self.ticket, self.climate, self.scanner, self._code)
        return [(kind, worker) for kind, worker in zip(SENSOR_KINDS, found, strict=True) if worker is not None]

    def _worker(self, kind: str) -> DeviceWorker[Any] | None:
        """A worker for a configured kind; `open_driver` checks that the driver speaks the kind's interface."""
        table = self._tables.get(kind)
        if table is None:
            return None
        make = partial(self._iris_scanner, table) if kind == "iris" else partial(open_driver, kind, table)
        return DeviceWorker(kind, make)

    def _iris_scanner(self, table: Mapping[str, Setting]) -> Device:
        """The iris camera with the unit's light. Raises DeviceError where the light cannot be opened."""
        if self.illumination is None and self._light_table is not None:
            light = open_driver("illumination", self._light_table)
            self._own_light, self.illumination = light, cast(Illumination, light)
        if self._own_light is not None:
            self._own_light.open()  # after every failure: a part that lost its power has forgotten its settings
        return open_driver("iris", table, illumination=self.illumination)


def _live_jpeg(device: LivePicture) -> bytes:
    """The live picture, on the device's own thread: as the device encoded it, where that can be shown."""
    if isinstance(device, EncodedPicture):
        seen = device.preview_encoded(PREVIEW_TIMEOUT_S)
        return seen if isinstance(seen, bytes) else jpeg(seen.pixels)
    return jpeg(device.preview(PREVIEW_TIMEOUT_S).pixels)


def _present(worker: DeviceWorker[D] | None, kind: str) -> DeviceWorker[D]:
    if worker is None:
        raise DeviceError(
            f"This unit has no {kind} device.", next_step=f"Add a table [devices.{kind}] to unit.toml and start again."
        )
    return worker
