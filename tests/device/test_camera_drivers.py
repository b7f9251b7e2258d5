"""What every camera must do, on each driver with its twin: a network camera over HTTP, a recording through OpenCV, and
picamera2's interface as its source has it (the library itself runs on a Raspberry Pi only)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from contract.clock import SystemClock
from contract.errors import CaptureRetry, DeviceError
from contract.image_formats import decode_image
from edge.sensors.camera_picamera2 import PiCamera
from edge.sensors.drivers import open_driver
from edge.sensors.http_snapshot import decode_picture, is_small_jpeg
from edge.sensors.interface import Camera, EncodedPicture
from tests.device.hardware import HARDWARE, PATIENCE_S, Hardware, until_gone, until_open
from tests.device.played_picamera2 import PlayedPicamera2, portrait_scene
from virtual.camera_twin import CameraFault, CameraTwin, empty_room, encoded
from virtual.sbi_issuer import Issuer
from virtual.sbi_twin import SbiTwin

NEVER = threading.Event()


@dataclass
class Bench:
    """A camera that sees the scene, and its plug. exact: the picture is the scene to the pixel."""

    camera: Camera
    unplug: Callable[[], object]
    plug_in: Callable[[], object]
    exact: bool = True


def made(table: dict[str, object]) -> Camera:
    camera = open_driver("camera", table)
    assert isinstance(camera, Camera)
    return camera


def snapshot_bench() -> Iterator[Bench]:
    def shown(port: int = 0) -> CameraTwin:
        twin = CameraTwin({"/face.png": empty_room(240, 640)}, port)
        twin.show("/face.png", portrait_scene())
        return twin

    twins = [shown()]
    port = twins[0].port
    yield Bench(
        made({"driver": "snapshot", "url": twins[0].url("/face.png")}),
        unplug=lambda: twins[-1].close(),  # noqa: PLW0108 - of the twin that is there then
        plug_in=lambda: twins.append(shown(port)),
    )
    twins[-1].close()


def sbi_bench(tmp_path: Path) -> Iterator[Bench]:
    issuer = Issuer("Test", SystemClock())

    def shown(port: int = 0) -> SbiTwin:
        twin = SbiTwin("Face", port, issuer=issuer)
        twin.show("", portrait_scene())
        return twin

    twins = [shown()]
    port = twins[0].port
    (tmp_path / "trust.pem").write_bytes(twins[0].trust_pem)
    yield Bench(
        made({"driver": "sbi", "port": port, "trust_file": str(tmp_path / "trust.pem")}),
        unplug=lambda: twins[-1].close(),  # noqa: PLW0108 - of the twin that is there then
        plug_in=lambda: twins.append(shown(port)),
    )
    twins[-1].close()


def uvc_bench(tmp_path: Path) -> Iterator[Bench]:
    """OpenCV itself on a file-backed camera, which is unplugged by taking its files away."""
    files = tmp_path / "camera"
    files.mkdir()
    for number in range(40):
        cv2.imwrite(str(files / f"frame_{number:03}.png"), cv2.cvtColor(portrait_scene(), cv2.COLOR_RGB2BGR))
    yield Bench(
        made({"driver": "uvc", "device": str(files / "frame_%03d.png")}),
        unplug=lambda: files.rename(tmp_path / "away"),
        plug_in=lambda: (tmp_path / "away").rename(files),
    )


def pi_bench() -> Iterator[Bench]:
    played, plugged = list[PlayedPicamera2](), [True]

    def open_played(number: int) -> PlayedPicamera2:
        if not plugged[0]:
            raise DeviceError(f"The Pi has no camera {number}.")
        played.append(PlayedPicamera2(lambda now: portrait_scene()))
        return played[-1]

    def unplug() -> None:
        plugged[0] = False
        played[-1].stalled = True

    def plug_in() -> None:
        plugged[0] = True

    yield Bench(PiCamera(open_device=open_played), unplug, plug_in)
    assert all(camera.closed and not camera.held for camera in played)


def hardware_bench() -> Iterator[Bench]:
    real = Hardware("camera")
    yield Bench(made(real.table), lambda: real.ask("unplug"), lambda: real.ask("plug in"), exact=False)


@pytest.fixture(params=["snapshot", "uvc", "picamera2", "sbi", HARDWARE])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    benches = {
        "snapshot": snapshot_bench,
        "uvc": lambda: uvc_bench(tmp_path),
        "picamera2": pi_bench,
        "sbi": lambda: sbi_bench(tmp_path),
        HARDWARE: hardware_bench,
    }
    scene = benches[request.param]()
    found = next(scene)
    yield found
    found.camera.close()
    assert next(scene, None) is None


def test_the_camera_says_who_it_is_and_that_it_has_a_live_picture(bench: Bench) -> None:
    info = bench.camera.open()
    assert info.model
    assert "preview" in info.capabilities


def test_the_picture_is_what_is_seen_in_its_colours(bench: Bench) -> None:
    bench.camera.open()
    for _ in range(2):
        frame = bench.camera.capture(PATIENCE_S, NEVER)
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.ndim == 3
        if bench.exact:
            assert np.array_equal(frame.pixels, portrait_scene())


def test_the_preview_is_small_and_alike(bench: Bench) -> None:
    bench.camera.open()
    frame = bench.camera.preview(10)
    assert frame.pixels.ndim == 3
    assert frame.pixels.shape[1] <= 480
    if bench.exact:
        assert frame.pixels.shape == (180, 480, 3)
        assert abs(float(frame.pixels.mean()) - float(portrait_scene().mean())) < 2


def test_a_live_picture_that_is_shown_as_it_came_is_a_small_jpeg(bench: Bench) -> None:
    bench.camera.open()
    if not isinstance(bench.camera, EncodedPicture):
        return
    seen = bench.camera.preview_encoded(10)
    pixels = decode_image(seen, colour=True) if isinstance(seen, bytes) else seen.pixels
    assert pixels.shape[1] <= 480
    if bench.exact:
        assert abs(float(pixels.mean()) - float(portrait_scene().mean())) < 2


def test_only_a_whole_small_jpeg_is_shown_as_it_came() -> None:
    rng = np.random.default_rng(3)
    small, large, png = (
        encoded(rng.integers(0, 255, (90, width, 3), np.uint8), jpeg_quality=quality).data
        for width, quality in ((480, 80), (481, 80), (480, 0))
    )
    assert is_small_jpeg(small, 480)
    for wrong in (large, png, small[:-2], small[:-2] + b"\x00\x00", b"", b"\xff\xd8\xff\xd9", b"<html>\xff\xd9"):
        assert not is_small_jpeg(wrong, 480)
    for place in range(2, 300):
        is_small_jpeg(small[:place] + b"\xff\xd9", 480)
        is_small_jpeg(small[:place] + bytes((small[place] ^ 0xFF,)) + small[place + 1 :], 480)


def test_a_cancelled_capture_ends(bench: Bench) -> None:
    bench.camera.open()
    cancel = threading.Event()
    cancel.set()
    started = time.monotonic()
    with pytest.raises(CaptureRetry):
        bench.camera.capture(30, cancel)
    assert time.monotonic() - started < 5


def test_unplugging_is_for_the_technician_and_plugging_in_heals(bench: Bench) -> None:
    bench.camera.open()
    bench.camera.preview(10)
    bench.unplug()
    until_gone(lambda: bench.camera.capture(5, NEVER))
    bench.camera.close()
    bench.camera.close()
    for use in (lambda: bench.camera.capture(1, NEVER), lambda: bench.camera.preview(1), bench.camera.open):
        with pytest.raises(DeviceError):
            use()
    bench.plug_in()
    until_open(bench.camera)
    assert bench.camera.capture(PATIENCE_S, NEVER).pixels.ndim == 3


# ------------------------------------------------------------------ of one driver alone


@pytest.fixture
def twin() -> Iterator[CameraTwin]:
    made = CameraTwin({"/face.png": empty_room(240, 640)})
    yield made
    made.close()


@pytest.mark.parametrize("fault", [f for f in CameraFault if f is not CameraFault.NONE])
def test_each_fault_of_a_network_camera_is_an_error_in_time_and_the_next_picture_comes(
    twin: CameraTwin, fault: CameraFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sensors.http_snapshot.STALL_S_MAX", 0.3)
    camera = open_driver("camera", {"driver": "snapshot", "url": twin.url("/face.png")})
    assert isinstance(camera, Camera)
    camera.open()
    twin.fault = fault
    started = time.monotonic()
    with pytest.raises(DeviceError) as caught:
        camera.capture(2, NEVER)
    assert time.monotonic() - started < 2
    assert caught.value.next_step
    twin.fault = CameraFault.NONE
    assert camera.capture(2, NEVER).pixels.shape == (240, 640, 3)
    camera.close()


def test_a_camera_with_a_small_picture_is_asked_for_that_while_it_is_live(twin: CameraTwin) -> None:
    urls = {"url": twin.url("/face.png"), "preview_url": twin.url("/face-small.jpg")}
    camera = open_driver("camera", {"driver": "snapshot", **urls})
    assert isinstance(camera, Camera)
    camera.open()
    twin.show("/face.png", portrait_scene())
    small = camera.preview(5)
    assert small.metadata["content_type"] == "image/jpeg"
    assert small.pixels.shape == (180, 480, 3)
    assert camera.capture(5, NEVER).metadata["content_type"] == "image/png"
    camera.close()


def test_a_late_camera_and_an_absent_one_are_errors(twin: CameraTwin) -> None:
    camera = open_driver("camera", {"driver": "snapshot", "url": twin.url("/face.png")})
    assert isinstance(camera, Camera)
    camera.open()
    twin.late_s = 1.0
    with pytest.raises(DeviceError, match="cannot be reached"):
        camera.capture(0.1, NEVER)
    camera.close()
    twin.close()
    with pytest.raises(DeviceError, match="cannot be reached"):
        camera.open()


def test_credentials_that_cannot_be_read_are_named(tmp_path: Path, twin: CameraTwin) -> None:
    for content in (None, "no colon"):
        secret = tmp_path / "credentials"
        if content is not None:
            secret.write_text(content)
        settings = {"driver": "snapshot", "url": twin.url("/face.png"), "credentials_file": str(secret)}
        with pytest.raises(DeviceError, match="credentials_file"):
            open_driver("camera", settings).open()


@pytest.mark.parametrize("url", ["", "not a url", "ftp://127.0.0.1/x", "http://127.0.0.1:1/x"])
def test_a_wrong_address_is_an_error(url: str) -> None:
    with pytest.raises(DeviceError):
        open_driver("camera", {"driver": "snapshot", "url": url}).open()


def test_every_truncation_of_a_picture_is_refused() -> None:
    for picture in (encoded(portrait_scene()), encoded(portrait_scene(), jpeg_quality=90)):
        assert decode_picture(picture.data, colour=True).shape == portrait_scene().shape
        for end in range(0, len(picture.data) - 16, max(1, len(picture.data) // 60)):
            with pytest.raises(DeviceError):
                decode_picture(picture.data[:end], colour=True)


def test_flipped_bytes_give_a_picture_or_an_error() -> None:
    data = encoded(portrait_scene(), jpeg_quality=80).data
    for place in range(0, len(data), max(1, len(data) // 150)):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        try:
            assert decode_picture(bytes(damaged), colour=True).dtype == np.uint8
        except DeviceError:
            continue


def test_an_absent_webcam_and_an_absent_pi_camera_say_what_to_do() -> None:
    with pytest.raises(DeviceError, match="group video"):
        open_driver("camera", {"driver": "uvc", "device": "/dev/video99"}).open()
    with pytest.raises(DeviceError, match="Raspberry Pi OS"):
        open_driver("camera", {"driver": "picamera2"}).open()


def test_the_sharpest_of_a_burst_is_kept_with_its_own_metadata() -> None:
    camera = PiCamera(burst=3, open_device=lambda number: PlayedPicamera2(lambda now: portrait_scene()))
    camera.open()
    frame = camera.capture(5, NEVER)
    assert frame.metadata == {"FocusFoM": "30", "ExposureTime": "1001.0", "LensPosition": "1.0"}
    camera.close()
