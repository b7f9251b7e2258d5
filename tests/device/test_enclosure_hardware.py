"""The enclosure's parts, controller, ticket printer and document scanner as KIOSK_HARDWARE names them."""

from __future__ import annotations

import threading

import pytest

from contract.errors import DeviceError
from edge.sensors.drivers import INTERFACES, fits
from edge.sensors.interface import TicketLine
from edge.sensors.selftest import try_out
from tests.device.hardware import PATIENCE_S, Hardware, until_gone, until_open

NEVER = threading.Event()


@pytest.fixture(params=["climate", "presence", "identity", "illumination", "ticket", "scanner", "controller"])
def hardware(request: pytest.FixtureRequest) -> Hardware:
    return Hardware(request.param)


def test_hardware_opens_names_itself_and_works(hardware: Hardware) -> None:
    device = hardware.device()
    assert fits(device, INTERFACES[hardware.kind])
    info = device.open()
    assert info.driver == hardware.table["driver"]
    assert info.model
    assert try_out(hardware.kind, device, NEVER).found
    if hardware.kind == "ticket":
        device.print((TicketLine("Rekam", scale=2, align="center"), TicketLine("uji perangkat keras")), 20, NEVER)
    if hardware.kind == "scanner":
        hardware.ask("lay a sheet")
        assert len(device.scan(PATIENCE_S, NEVER)) >= 1
    device.close()
    device.close()


def test_hardware_unplugged_and_plugged_in_again(hardware: Hardware) -> None:
    device = hardware.device()
    device.open()
    hardware.ask("unplug")
    until_gone(lambda: (device.open(), try_out(hardware.kind, device, NEVER)))
    with pytest.raises(DeviceError):
        device.open()
    hardware.ask("plug in")
    until_open(device)
    assert try_out(hardware.kind, device, NEVER).found
    device.close()
