"""The live picture on a kiosk, in a real browser over the real driver: frames that are painted, while photos are taken.

A frame counts once its content is on the screen: the page's own picture is looked at before every repaint.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page

from contract.image_formats import decode_image
from edge.config import PolicyTable
from edge.device_bench import DeviceBench
from edge.screens.app import make_app
from edge.sensors.interface import Frame
from tests.screens.conftest import served
from tests.screens.live_picture import PAINTED, film, photos_without_end
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import NIK, FakeSensors, make_bench
from virtual.camera_twin import CameraFault, CameraTwin, empty_room, small_path
from virtual.sbi_twin import SbiTwin


@dataclass
class CameraSensors(FakeSensors):
    """A person whose photos are taken by the real driver, and are never good enough."""

    bench: DeviceBench | None = None

    async def photo(self) -> Frame:
        assert self.bench is not None
        await self.bench.photo()
        self.calls.append("photo")
        return self._frame("sari/face", 5)

    async def photo_preview(self) -> bytes:
        assert self.bench is not None
        return await self.bench.photo_preview()


@pytest.fixture
def camera() -> Iterator[CameraTwin]:
    twin = CameraTwin({"/face.png": empty_room(800, 600)})
    twin.film("/face.png", film(), 30)
    yield twin
    twin.close()


@pytest.fixture
def kiosk(tmp_path: Path, page: Page, camera: CameraTwin) -> Iterator[CameraSensors]:
    made = make_bench(tmp_path)
    urls = {"url": camera.url("/face.png"), "preview_url": camera.url(small_path("/face.png"))}
    sensors = CameraSensors(bench=DeviceBench({"camera": {"driver": "snapshot", **urls}}, PolicyTable(attempts_max=20)))
    object.__setattr__(made.services, "sensors", sensors)
    with served(make_app(make_desk(made, role="kiosk"), TOKEN)) as url:
        page.goto(f"{url}/kiosk")
        page.locator("#nik").fill(NIK)
        for box in page.locator("input[type=checkbox]").all():
            box.check()
        page.get_by_role("button", name="Mulai perekaman").click()
        page.get_by_role("button", name="Ya, benar").click()
        page.get_by_role("button", name="Ambil foto").wait_for()
        yield sensors
    made.store.close()


def test_live_pictures_go_on_being_painted_while_photos_are_taken(kiosk: CameraSensors, page: Page) -> None:
    """How many a second a quiet machine paints is measured by 'make bench-unit'; here that none stops the other."""
    page.evaluate(PAINTED, 500)
    page.evaluate("document.querySelector('img.live').dataset.first = 'yes'")
    photos_without_end(page)
    rates = [float(page.evaluate(PAINTED, 2000)) for _ in range(3)]
    assert len(kiosk.calls) >= 3, "no photo was taken meanwhile"
    assert min(rates) > 1, rates
    assert page.evaluate("document.querySelector('img.live').dataset.first") == "yes", "a photo made the picture blink"


def test_a_camera_that_fails_leaves_the_last_picture_standing(
    kiosk: CameraSensors, page: Page, camera: CameraTwin
) -> None:
    assert float(page.evaluate(PAINTED, 2000)) > 1
    camera.fault = CameraFault.BUSY
    page.wait_for_timeout(600)
    assert page.evaluate("document.querySelector('img.live').naturalWidth") > 0
    camera.fault = CameraFault.NONE
    assert float(page.evaluate(PAINTED, 2000)) > 1


def test_an_iris_scanner_that_can_shows_what_it_sees_and_another_shows_nothing(
    kiosk: CameraSensors, page: Page, tmp_path: Path
) -> None:
    twin = SbiTwin("Iris")
    (tmp_path / "trust.pem").write_bytes(twin.trust_pem)
    twin.show("Right", film()[3][:, :, 0])
    table = {"driver": "sbi", "port": twin.port, "trust_file": str(tmp_path / "trust.pem")}
    bench = DeviceBench({"iris": table, "finger": {"driver": "folder", "folder": str(tmp_path)}}, PolicyTable())

    async def shown() -> tuple[bytes | None, bytes | None, bytes | None]:
        try:
            return (
                await bench.live_picture("iris"), await bench.live_picture("finger"), await bench.live_picture("card")
            )  # fmt: skip
        finally:
            await bench.close()

    iris, finger, other = asyncio.run_coroutine_threadsafe(shown(), in_background()).result(20)
    assert iris is not None
    assert decode_image(iris).shape[1] == 480
    assert (finger, other) == (None, None)
    twin.close()


def in_background() -> asyncio.AbstractEventLoop:
    """A loop on a thread of its own: the browser's driver has this thread's."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop
