"""A technician picks a driver by name; a mistake in the table must say what would be right."""

from __future__ import annotations

import threading

import pytest

from contract.errors import DeviceError
from contract.sample import FingerPosition
from edge.sensors.drivers import DRIVERS, INTERFACES, open_driver, settings_of
from edge.sensors.interface import DeviceInfo, Frame


class SupplierScanner:
    """A driver that lives outside the product."""

    def __init__(self, *, port: str, pace_s: float = 0.1, retries: int = 2, name: str | None = None) -> None:
        self.settings = (port, pace_s, retries, name)

    def open(self) -> DeviceInfo:
        return DeviceInfo("supplier", "S")

    def close(self) -> None:
        return None

    def capture(self, position: FingerPosition, timeout_s: float, cancel: threading.Event) -> Frame:
        raise DeviceError("Not connected.")


class NotADevice:
    def __init__(self, *, clock: list[int] | None = None) -> None:
        self.clock = clock


HERE = __name__


def test_a_suppliers_driver_is_reached_by_its_full_path() -> None:
    device = open_driver("finger", {"driver": f"{HERE}:SupplierScanner", "port": "/dev/x", "pace_s": 1, "name": "n"})
    assert isinstance(device, SupplierScanner)
    assert device.settings == ("/dev/x", 1.0, 2, "n")


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("foot", {"driver": "zfm"}, ", ".join(sorted(DRIVERS))),
        ("finger", {}, "folder"),
        ("finger", {"driver": 3}, "zfm"),
        ("finger", {"driver": "nosuch"}, "folder, sbi, zfm"),
        ("finger", {"driver": "no.such.module:Class"}, "cannot be loaded"),
        ("finger", {"driver": f"{HERE}:Nothing"}, "cannot be loaded"),
        ("finger", {"driver": f"{HERE}:HERE"}, "not a class"),
        ("finger", {"driver": f"{HERE}:SupplierScanner"}, "lacks port"),
        ("finger", {"driver": f"{HERE}:SupplierScanner", "port": 7}, "type str"),
        ("finger", {"driver": f"{HERE}:SupplierScanner", "port": "p", "retries": True}, "type int"),
        ("finger", {"driver": f"{HERE}:SupplierScanner", "port": "p", "sped": 1}, "name, pace_s, port, retries"),
        ("finger", {"driver": f"{HERE}:NotADevice"}, "serve as FingerprintScanner"),
        ("finger", {"driver": f"{HERE}:NotADevice", "clock": []}, "does not know clock"),
        ("camera", {"driver": f"{HERE}:SupplierScanner", "port": "p"}, "serve as Camera"),
        ("camera", {"driver": "edge.sensors.signature_isdv4:Isdv4Pad", "port": "p"}, "serve as Camera"),
        (
            "finger",
            {"driver": "edge.sensors.camera_snapshot:SnapshotCamera", "url": "p"},
            "serve as FingerprintScanner",
        ),
    ],
)
def test_a_wrong_table_says_what_would_be_right(kind: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(DeviceError) as caught:
        open_driver(kind, settings)
    assert message in str(caught.value)


def test_every_kind_of_device_has_an_interface_and_a_driver() -> None:
    assert set(DRIVERS) == set(INTERFACES)
    assert all(DRIVERS.values())


def test_settings_show_types_and_what_is_required() -> None:
    assert settings_of(SupplierScanner) == {
        "port": (str, True, False),
        "pace_s": (float, False, False),
        "retries": (int, False, False),
        "name": (str, False, True),
    }
