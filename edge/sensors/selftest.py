"""What a technician wants to know of each device: does it open, who is it, does it work, what to do if not.

`examine_devices` opens each configured device and does what needs no person: a picture of a camera, a poll of the
finger window, the answer of a pad. It runs the devices beside each other, each with its own deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, DeviceError, RekamError
from contract.sample import BOTH_EYES, FingerPosition
from edge.sensors.drivers import DRIVERS, light_for, needs_light, open_driver
from edge.sensors.interface import Device, DeviceInfo, Pixels
from edge.sensors.ticket_frames import ADVICE
from edge.sensors.worker import DeviceWorker

DEVICE_TIMEOUT_S = 20.0
PICTURE_TIMEOUT_S = 8.0
POLL_S = 0.2
PULSE_PERCENT, PULSE_MS = 20, 100


class Outcome(StrEnum):
    """How a device fared."""

    OK = "ok"
    FAILED = "failed"
    MISSING = "not configured"


@dataclass(frozen=True, slots=True)
class Tried:
    """What a trial found, in a few words, and the pictures that it took."""

    found: str
    pictures: tuple[Pixels, ...] = ()


@dataclass(frozen=True, slots=True)
class SelftestRow:
    """One line of the technician's table. time_ms: how long opening and trying took together.

    pictures: what cameras saw; they may show a person, and are in no JSON.
    """

    kind: str
    driver: str
    outcome: Outcome
    model: str = ""
    serial: str = ""
    firmware: str = ""
    time_ms: int = 0
    found: str = ""
    next_step: str = ""
    pictures: tuple[Pixels, ...] = field(default=(), repr=False, compare=False)

    def as_dict(self) -> dict[str, str | int]:
        """The row for JSON, without its pictures."""
        row = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "pictures"}
        return {key: str(value) if isinstance(value, StrEnum) else value for key, value in row.items()}


async def examine_devices(
    devices: Mapping[str, Mapping[str, object]], *, timeout_s: float = DEVICE_TIMEOUT_S, clock: Clock | None = None
) -> list[SelftestRow]:
    """A row for each kind of device, in the order of DRIVERS. devices: the tables of unit.toml by kind.

    Never raises for a device that is missing or broken: the row says so. The agent must not hold the devices. What
    needs the unit's light is tried last, when the light has been tried by itself.
    """
    time = clock or SystemClock()
    last = [kind for kind in DRIVERS if kind in devices and needs_light(kind, devices[kind])]
    first = [kind for kind in DRIVERS if kind not in last]
    rows = await asyncio.gather(*(_examine(kind, devices.get(kind), timeout_s, time) for kind in first))
    rows += [await _examine_lit(kind, devices, timeout_s, time) for kind in last]
    return sorted(rows, key=lambda row: list(DRIVERS).index(row.kind))


async def _examine_lit(
    kind: str, devices: Mapping[str, Mapping[str, object]], timeout_s: float, clock: Clock
) -> SelftestRow:
    lights = contextlib.ExitStack()
    try:
        parts = await asyncio.to_thread(lights.enter_context, light_for(kind, devices))
        return await _examine(kind, devices[kind], timeout_s, clock, parts)
    except DeviceError as error:
        driver = str(devices[kind].get("driver", ""))
        return SelftestRow(kind, driver, Outcome.FAILED, found=error.message, next_step=error.next_step)
    finally:
        await asyncio.to_thread(lights.close)


async def _examine(
    kind: str,
    settings: Mapping[str, object] | None,
    timeout_s: float,
    clock: Clock,
    parts: Mapping[str, object] | None = None,
) -> SelftestRow:
    if settings is None:
        return SelftestRow(kind, "", Outcome.MISSING, next_step=f"Add [devices.{kind}] to unit.toml if there is one.")
    worker: DeviceWorker[Device] = DeviceWorker(kind, lambda: open_driver(kind, settings, **(parts or {})))
    try:
        return await examine_device(kind, str(settings.get("driver", "")), worker, timeout_s, clock)
    finally:
        await worker.close()


async def examine_device(
    kind: str, driver: str, worker: DeviceWorker[Any], timeout_s: float, clock: Clock
) -> SelftestRow:
    """Open and try one device through its worker, which stays with whoever holds it. Never raises: the row says it."""
    started_ms = clock.monotonic_ms()
    info, tried, next_step, outcome = DeviceInfo(driver, ""), Tried(""), "", Outcome.OK
    try:
        info = await worker.open(timeout_s)
        tried = await worker.run(lambda device, cancel: try_out(kind, device, cancel), timeout_s)
    except RekamError as error:
        outcome, tried, next_step = Outcome.FAILED, Tried(error.message), error.next_step
    taken_ms = clock.monotonic_ms() - started_ms
    return SelftestRow(
        kind, driver, outcome, info.model, info.serial, info.firmware, taken_ms, tried.found, next_step, tried.pictures
    )


def try_out(kind: str, device: Any, cancel: threading.Event) -> Tried:
    """Do what needs no person, and say in a few words what was found. Raises DeviceError."""
    trial = TRIALS.get(kind)
    return trial(device, cancel) if trial else Tried("answers")


def _try_finger(device: Any, cancel: threading.Event) -> Tried:
    try:
        frame = device.capture(FingerPosition.UNKNOWN, POLL_S, cancel)
    except CaptureRetry:
        return Tried("window empty")
    return Tried(f"a picture of {frame.pixels.shape[1]}×{frame.pixels.shape[0]} at {frame.ppi} ppi", (frame.pixels,))


def _try_irises(device: Any, cancel: threading.Event) -> Tried:
    pictures = [frame.pixels for frame in device.capture(BOTH_EYES, PICTURE_TIMEOUT_S, cancel)]
    return Tried(", ".join(f"{p.shape[1]}×{p.shape[0]}, mean {p.mean():.0f}" for p in pictures), tuple(pictures))


def _try_camera(device: Any, cancel: threading.Event) -> Tried:
    pixels = device.capture(PICTURE_TIMEOUT_S, cancel).pixels
    return Tried(f"a picture of {pixels.shape[1]}×{pixels.shape[0]}, mean {pixels.mean():.0f}", (pixels,))


def _try_card(device: Any, _cancel: threading.Event) -> Tried:
    return Tried("a card lies on it" if device.card_present() else "no card")


def _try_ticket(device: Any, _cancel: threading.Event) -> Tried:
    condition = device.condition()
    if condition.faults:
        raise DeviceError(f"The printer says: {', '.join(condition.faults)}.", next_step=ADVICE[condition.faults[0]][1])
    return Tried("paper low" if condition.paper_low else "ready")


def _try_light(device: Any, _cancel: threading.Event) -> Tried:
    lit = []
    for name in device.open().capabilities:
        device.on(0 if name == "white" else int(name.split()[0]), PULSE_PERCENT, PULSE_MS)
        device.off()
        lit.append(name)
    return Tried(f"a pulse of {' and '.join(lit)}")


def _try_presence(device: Any, _cancel: threading.Event) -> Tried:
    return Tried("somebody stands before it" if device.present() else "nobody before it")


def _try_climate(device: Any, _cancel: threading.Event) -> Tried:
    found = device.read()
    return Tried(f"{found.temperature_c:.1f} °C, {found.humidity_percent:.0f} %")


def _try_identity(device: Any, _cancel: threading.Event) -> Tried:
    """The chip must prove that it holds the key whose public half it shows."""
    digest = hashlib.sha256(b"rekam selftest").digest()
    signature, key = device.sign(digest), device.public_key()
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + key)
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        public.verify(der, digest, ec.ECDSA(Prehashed(SHA256())))
    except InvalidSignature:
        raise DeviceError("The chip's signature does not fit its key.", next_step="Replace the part.") from None
    return Tried(f"signs; key {key[:4].hex()}…")


TRIALS: Mapping[str, Callable[[Any, threading.Event], Tried]] = {
    "finger": _try_finger,
    "iris": _try_irises,
    "camera": _try_camera,
    "card": _try_card,
    "ticket": _try_ticket,
    "illumination": _try_light,
    "presence": _try_presence,
    "climate": _try_climate,
    "identity": _try_identity,
}
