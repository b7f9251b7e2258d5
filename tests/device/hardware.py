"""The device suites on real devices: KIOSK_HARDWARE names a unit.toml, and each table of its [devices] is tried.

    KIOSK_HARDWARE=/etc/rekam/unit.toml .venv/bin/python -m pytest -n 0 tests/device -k hardware

The agent must not hold the devices. A person does what the suite asks for on the terminal. With KIOSK_HARDWARE_HANDS
a command does it instead: it is called with the kind and the word that a person would read, which is how a unit made
of twins is tried.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.errors import CaptureRetry, DeviceError
from edge.sensors.drivers import light_for, open_driver
from edge.sensors.interface import Device

HARDWARE = "hardware"
CONFIGURATION, HANDS = "KIOSK_HARDWARE", "KIOSK_HARDWARE_HANDS"
PATIENCE_S = 30.0
ASK_TIMEOUT_S = 60.0
_LIGHTS = contextlib.ExitStack()
_PARTS: dict[tuple[str, str], dict[str, Device]] = {}
atexit.register(_LIGHTS.close)


class Hardware:
    """The configured device of one kind, and the person beside it. The test is skipped where there is none."""

    def __init__(self, kind: str) -> None:
        name = os.environ.get(CONFIGURATION, "")
        if not name:
            pytest.skip(f"{CONFIGURATION} names no configuration: no hardware is tried")
        devices = tomllib.loads(Path(name).read_text(encoding="utf-8")).get("devices", {})
        if kind not in devices:
            pytest.skip(f"{name} has no [devices.{kind}]")
        self.kind = kind
        self.table: dict[str, Any] = devices[kind]
        self._name, self._devices = name, devices

    def device(self) -> Any:
        """The device, not opened; the unit's light, which it may need, stays open until the tests end."""
        place = self._name, self.kind
        if place not in _PARTS:
            _PARTS[place] = _LIGHTS.enter_context(light_for(self.kind, self._devices))
        return open_driver(self.kind, self.table, **_PARTS[place])

    def ask(self, word: str) -> None:
        """Have something done to the device, such as "lay" or "unplug"."""
        hands = os.environ.get(HANDS, "")
        if hands:
            subprocess.run([*shlex.split(hands), self.kind, word], check=True, timeout=ASK_TIMEOUT_S)
            return
        words = f"\n>>> {self.kind}: {word}, please\n"
        try:
            Path("/dev/tty").write_text(words, encoding="utf-8")
        except OSError:
            print(words, file=sys.__stderr__, flush=True)


def until_gone(use: Callable[[], object]) -> None:
    """Use a device until it says that it is gone; a person may take a while to pull the plug."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            use()
        except CaptureRetry:
            continue
        except DeviceError:
            return
    pytest.fail(f"the device was not found gone within {PATIENCE_S:g} s")


def until_open(device: Device) -> None:
    """Open a device that is being plugged in."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            device.open()
        except DeviceError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
