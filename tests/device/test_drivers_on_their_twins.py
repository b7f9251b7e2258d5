"""The process `python -m virtual.devices` and the drivers that a unit's configuration names, together."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import CaptureRetry, DeviceError, RemoteError
from contract.sample import BOTH_EYES, FingerPosition
from edge.sensors.drivers import DRIVERS, INTERFACES, driver_class, fits, open_driver, settings_of
from edge.sensors.interface import Camera, FingerprintScanner, IrisScanner, SignaturePad
from edge.sensors.selftest import Outcome, examine_devices
from edge.sensors.worker import DeviceWorker
from virtual.devices import Devices, load_devices, tell

INDEX = FingerPosition.RIGHT_INDEX
NEVER = threading.Event()
CONFIG = """
control = "devices.sock"
[units.desk-a1]
finger = { link = "desk-a1/finger", width_px = 96, height_px = 80 }
signature = { link = "desk-a1/pad", time_scale = 50 }
code = { link = "desk-a1/code" }
camera = {}
iris = {}
[units.kiosk-b1]
finger = { link = "kiosk-b1/finger", width_px = 96, height_px = 80 }
"""


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "devices.toml").write_text(CONFIG)
    config = load_devices(tmp_path / "devices.toml")
    devices = Devices(config)
    yield config.control
    devices.close()
    assert not config.control.exists()
    assert not (tmp_path / "desk-a1" / "finger").exists()


def scanner_at(control: Path, unit: str) -> DeviceWorker[FingerprintScanner]:
    def make() -> FingerprintScanner:
        port = str(control.parent / unit / "finger")
        device = open_driver("finger", {"driver": "zfm", "port": port, "width_px": 96, "poll_interval_s": 0.002})
        assert isinstance(device, FingerprintScanner)
        return device

    return DeviceWorker(f"scanner of {unit}", make)


def grey_file(path: Path, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    pixels = (np.random.default_rng(seed).integers(0, 16, (80, 96)) * 17).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_every_named_driver_can_be_made_and_is_of_its_kind() -> None:
    for kind, names in DRIVERS.items():
        for name in names:
            settings = settings_of(driver_class(kind, name))
            required = {
                key: "x" if plain is str else plain(1) for key, (plain, needed, _) in settings.items() if needed
            }
            device = open_driver(kind, {"driver": name, **required})
            assert fits(device, INTERFACES[kind])
            device.close()


async def test_the_selftest_names_what_works_and_what_to_do(control: Path) -> None:
    places = tell(control, {"status": True})["units"]["desk-a1"]
    tables = {
        "finger": {"driver": "zfm", "port": places["finger"], "width_px": 96},
        "camera": {"driver": "snapshot", "url": places["camera"]},
        "iris": {"driver": "snapshot", "url_right": places["iris_right"], "url_left": places["iris_left"] + "x"},
        "signature": {"driver": "isdv4", "prot": places["signature"]},
    }
    rows = {row.kind: row for row in await examine_devices(tables)}
    assert list(rows) == list(DRIVERS)
    assert (rows["finger"].outcome, rows["finger"].found) == (Outcome.OK, "window empty")
    assert rows["camera"].outcome is Outcome.OK
    assert "600×800" in rows["camera"].found
    assert rows["iris"].outcome is Outcome.FAILED
    assert "404" in rows["iris"].found
    assert rows["signature"].outcome is Outcome.FAILED
    assert "prot" in rows["signature"].found
    assert "settled_s" in rows["signature"].next_step
    assert rows["card"].outcome is Outcome.MISSING
    assert rows["finger"].as_dict()["outcome"] == "ok"
    assert not [t.name for t in threading.enumerate() if t.name.startswith("device-")]


async def test_two_units_capture_at_once_and_one_is_unplugged(control: Path, tmp_path: Path) -> None:
    pictures = {unit: grey_file(tmp_path / f"{unit}.png", seed) for seed, unit in enumerate(("desk-a1", "kiosk-b1"))}
    workers = {unit: scanner_at(control, unit) for unit in pictures}
    for unit in pictures:
        tell(control, {"unit": unit, "finger": {"image": str(tmp_path / f"{unit}.png")}})
    frames = await asyncio.gather(
        *(worker.run(lambda device, cancel: device.capture(INDEX, 10, cancel), 15) for worker in workers.values())
    )
    for frame, picture in zip(frames, pictures.values(), strict=True):
        assert np.array_equal(frame.pixels, picture)
    tell(control, {"unit": "desk-a1", "fault": {"device": "finger", "unplug": True}})
    with pytest.raises(DeviceError):
        await workers["desk-a1"].run(lambda device, cancel: device.capture(INDEX, 10, cancel), 15)
    with pytest.raises(CaptureRetry):
        await workers["kiosk-b1"].run(lambda device, cancel: device.capture(INDEX, 0.02, cancel), 15)
    tell(control, {"unit": "desk-a1", "fault": {"device": "finger", "unplug": False}})
    tell(control, {"unit": "desk-a1", "finger": {"image": str(tmp_path / "desk-a1.png")}})
    frame = await workers["desk-a1"].run(lambda device, cancel: device.capture(INDEX, 10, cancel), 15)
    assert np.array_equal(frame.pixels, pictures["desk-a1"])
    for worker in workers.values():
        await worker.close()


def test_a_person_stands_before_every_device(control: Path) -> None:
    places = tell(control, {"status": True})["units"]["desk-a1"]
    camera = open_driver("camera", {"driver": "snapshot", "url": places["camera"]})
    irises = open_driver(
        "iris", {"driver": "snapshot", "url_right": places["iris_right"], "url_left": places["iris_left"]}
    )
    pad = open_driver("signature", {"driver": "isdv4", "port": places["signature"], "settled_s": 0.3})
    assert isinstance(camera, Camera)
    assert isinstance(irises, IrisScanner)
    assert isinstance(pad, SignaturePad)
    for device in (camera, irises, pad):
        device.open()
    empty = camera.capture(10, NEVER).pixels
    tell(control, {"unit": "desk-a1", "person": {"seed": 1, "index": 3}})
    assert not np.array_equal(camera.capture(10, NEVER).pixels, empty)
    right, left = irises.capture(BOTH_EYES, 10, NEVER)
    assert not np.array_equal(right.pixels, left.pixels)
    assert len(pad.capture(10, NEVER)) > 50
    tell(control, {"unit": "desk-a1", "remove": "all"})
    assert np.array_equal(camera.capture(10, NEVER).pixels, empty)
    for device in (camera, irises, pad):
        device.close()


NOT_UNDERSTOOD: list[dict[str, object]] = [
    {"unit": "nobody", "remove": "all"},
    {"unit": "kiosk-b1"},
    {"unit": "kiosk-b1", "face": {"image": "x.png"}},
    {"unit": "desk-a1", "dance": True},
    {"unit": "desk-a1", "finger": {"image": "/no/such.png"}},
    {"unit": "desk-a1", "finger": {"image": "/proc/self/status"}},
    {"unit": "desk-a1", "finger": {"person": [1, 3]}},
    {"unit": "desk-a1", "finger": {"person": "me", "position": 2}},
    {"unit": "desk-a1", "finger": {"person": [1, 3], "position": 99}},
    {"unit": "desk-a1", "finger": 7},
    {"unit": "desk-a1", "signature": {"strokes": "/proc/self/status"}},
    {"unit": "desk-a1", "remove": "table"},
    {"unit": "desk-a1", "fault": {"device": "finger", "gremlins": 1}},
    {"unit": "desk-a1", "fault": {"device": "camera", "fault": "gremlins"}},
    {"unit": "desk-a1", "fault": {"device": "toaster"}},
    {"unit": "desk-a1", "person": {}},
    {"unit": "kiosk-b1", "code": {"text": "1"}},
]


def test_messages_that_cannot_be_understood_are_refused_and_change_nothing(control: Path) -> None:
    for message in NOT_UNDERSTOOD:
        with pytest.raises(RemoteError):
            tell(control, message)
        assert tell(control, {"status": True})["ok"]


def test_garbage_on_the_control_socket_is_answered_or_dropped(control: Path) -> None:
    for line in (b"no json\n", b"[]\n", b"3\n", b"\xff\xfe\n"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(control))
            client.sendall(line)
            assert json.loads(client.makefile("rb").readline())["ok"] is False
    assert tell(control, {"status": True})["ok"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("control = 'x'", "units"),
        ("control = 'x'\n[units.a]\nfinger = { link = 'f', widht_px = 3 }", "widht_px"),
        ("control = 'x'\n[units.a]\nfinger = { link = 'f', width_px = 31 }", "width_px"),
        ("control = ", "cannot be read"),
    ],
)
def test_a_wrong_devices_file_names_the_key(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "devices.toml").write_text(text)
    with pytest.raises(DeviceError, match=named):
        load_devices(tmp_path / "devices.toml")
