"""What a technician wants to know of each device: does it open, who is it, does it work, what to do if not.

`examine_devices` opens each configured device and does what needs no person: a picture of a camera, a poll of the
finger window, the answer of a pad. It runs the devices beside each other, each with its own deadline.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, RekamError
from contract.sample import BOTH_EYES, FingerPosition
from edge.sensors.drivers import DRIVERS, open_driver
from edge.sensors.interface import Device, DeviceInfo
from edge.sensors.worker import DeviceWorker

DEVICE_TIMEOUT_S = 20.0
PICTURE_TIMEOUT_S = 8.0
POLL_S = 0.2


class Outcome(StrEnum):
    """How a device fared."""

    OK = "ok"
    FAILED = "failed"
    MISSING = "not configured"


@dataclass(frozen=True, slots=True)
class SelftestRow:
    """One line of the technician's table. time_ms: how long opening and trying took together."""

    kind: str
    driver: str
    outcome: Outcome
    model: str = ""
    serial: str = ""
    firmware: str = ""
    time_ms: int = 0
    found: str = ""
    next_step: str = ""

    def as_dict(self) -> dict[str, str | int]:
        """The row for JSON."""
        return {key: str(value) if isinstance(value, StrEnum) else value for key, value in asdict(self).items()}


async def examine_devices(
    devices: Mapping[str, Mapping[str, object]], *, timeout_s: float = DEVICE_TIMEOUT_S, clock: Clock | None = None
) -> list[SelftestRow]:
    """A row for each kind of device, in the order of DRIVERS. devices: the tables of unit.toml by kind.

    Never raises for a device that is missing or broken: the row says so. The agent must not hold the devices.
    """
    time = clock or SystemClock()
    rows = await asyncio.gather(*(_examine(kind, devices.get(kind), timeout_s, time) for kind in DRIVERS))
    return list(rows)


async def _examine(kind: str, settings: Mapping[str, object] | None, timeout_s: float, clock: Clock) -> SelftestRow:
    if settings is None:
        return SelftestRow(kind, "", Outcome.MISSING, next_step=f"Add [devices.{kind}] to unit.toml if there is one.")
    driver = str(settings.get("driver", ""))
    worker: DeviceWorker[Device] = DeviceWorker(kind, lambda: open_driver(kind, settings))
    started_ms = clock.monotonic_ms()
    info, found, next_step, outcome = DeviceInfo(driver, ""), "", "", Outcome.OK
    try:
        info = await worker.open(timeout_s)
        found = await worker.run(lambda device, cancel: try_out(kind, device, cancel), timeout_s)
    except RekamError as error:
        outcome, found, next_step = Outcome.FAILED, error.message, error.next_step
    finally:
        await worker.close()
    taken_ms = clock.monotonic_ms() - started_ms
    return SelftestRow(kind, driver, outcome, info.model, info.serial, info.firmware, taken_ms, found, next_step)


def try_out(kind: str, device: Any, cancel: threading.Event) -> str:
    """Do what needs no person, and say in a few words what was found. Raises DeviceError."""
    if kind == "finger":
        try:
            frame = device.capture(FingerPosition.UNKNOWN, POLL_S, cancel)
        except CaptureRetry:
            return "window empty"
        return f"a picture of {frame.pixels.shape[1]}×{frame.pixels.shape[0]} at {frame.ppi} ppi"
    if kind == "iris":
        frames = device.capture(BOTH_EYES, PICTURE_TIMEOUT_S, cancel)
        return ", ".join(f"{f.pixels.shape[1]}×{f.pixels.shape[0]}, mean {f.pixels.mean():.0f}" for f in frames)
    if kind == "camera":
        pixels = device.capture(PICTURE_TIMEOUT_S, cancel).pixels
        return f"a picture of {pixels.shape[1]}×{pixels.shape[0]}, mean {pixels.mean():.0f}"
    if kind == "card":
        return "a card lies on it" if device.card_present() else "no card"
    return "answers"
