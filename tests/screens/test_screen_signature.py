"""Signing on the unit's own touch screen, in a real browser: pen, finger and palm come as the browser's own input.

Pictures are left in out/screens for people to look at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import CDPSession, Page

from contract.errors import RekamError
from edge.config import PolicyTable
from edge.device_bench import DeviceBench
from edge.screens.app import make_app
from edge.sensors.interface import PenPoint, PointerBatch
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import NIK, FakeSensors, make_bench

Track = Sequence[tuple[float, float, float]]  # x, y from the field's middle in px, force 0–1


@dataclass
class ScreenSensors(FakeSensors):
    """A person's other samples from the fakes; the signature by the real driver, through the real worker."""

    bench: DeviceBench = field(
        default_factory=lambda: DeviceBench({"signature": {"driver": "screen", "settled_s": 0.6}}, PolicyTable())
    )
    signed: list[Sequence[PenPoint]] = field(default_factory=list)

    async def pen(self) -> Sequence[PenPoint]:
        self.calls.append("pen")
        try:
            self.signed.append(await self.bench.pen())
        except RekamError as error:
            self.calls.append(type(error).__name__)
            raise
        return self.signed[-1]

    def pen_preview(self) -> Sequence[PenPoint]:
        return self.bench.pen_preview()

    @property
    def signs_on_screen(self) -> bool:
        return self.bench.signs_on_screen

    def write_pen(self, batch: PointerBatch) -> bool:
        return self.bench.write_pen(batch)


class Kiosk:
    """A kiosk whose page stands at the signature, and hands that write on it."""

    def __init__(self, page: Page, sensors: ScreenSensors) -> None:
        self.page, self.sensors = page, sensors
        self.hands: CDPSession = page.context.new_cdp_session(page)

    def come_to_the_signature(self, url: str) -> None:
        self.page.goto(f"{url}/kiosk")
        self.page.locator("#nik").fill(NIK)
        for box in self.page.locator("input[type=checkbox]").all():
            box.check()
        self.page.get_by_role("button", name="Mulai perekaman").click()
        self.page.get_by_role("button", name="Ya, benar").click()
        self.page.get_by_role("button", name="Ambil foto").click()
        self.page.get_by_role("button", name="Ya, orang ini dan cocok").click()
        self.page.get_by_role("button", name="Mulai tanda tangan").wait_for()

    def begin(self) -> None:
        self.page.get_by_role("button", name="Mulai tanda tangan").or_(
            self.page.get_by_role("button", name="Coba lagi")
        ).click()
        self.page.locator("canvas.open").wait_for()

    def middle(self) -> tuple[float, float]:
        box = self.page.locator("canvas.pen").bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def write_with_pen(self, track: Track) -> None:
        middle_x, middle_y = self.middle()
        for number, (x, y, force) in enumerate(track):
            kind = "mousePressed" if number == 0 else "mouseMoved"
            self.pen(kind, middle_x + x, middle_y + y, force)
        self.pen("mouseReleased", middle_x + track[-1][0], middle_y + track[-1][1], 0)

    def pen(self, kind: str, x: float, y: float, force: float) -> None:
        event = {"type": kind, "x": x, "y": y, "force": force, "pointerType": "pen", "button": "left", "clickCount": 1}
        self.hands.send("Input.dispatchMouseEvent", {**event, "buttons": 0 if kind == "mouseReleased" else 1})

    def touch(self, kind: str, *fingers: tuple[int, float, float, float, float]) -> None:
        """fingers: id, x and y from the field's middle, force, radius of the contact in px."""
        middle_x, middle_y = self.middle()
        points = [
            {"id": number, "x": middle_x + x, "y": middle_y + y, "force": force, "radiusX": radius, "radiusY": radius}
            for number, x, y, force, radius in fingers
        ]
        self.hands.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def write_with_finger(self, track: Track) -> None:
        for number, (x, y, force) in enumerate(track):
            self.touch("touchStart" if number == 0 else "touchMove", (1, x, y, force, 6))
        self.touch("touchEnd")

    def after_the_signature(self) -> Sequence[PenPoint]:
        self.page.get_by_text("Letakkan").first.wait_for()
        return self.sensors.signed[-1]


@pytest.fixture
def kiosk(tmp_path: Path, page: Page) -> Iterator[Kiosk]:
    bench = make_bench(tmp_path)
    sensors = ScreenSensors()
    object.__setattr__(bench.services, "sensors", sensors)
    with served(make_app(make_desk(bench, role="kiosk"), TOKEN)) as url:
        made = Kiosk(page, sensors)
        made.come_to_the_signature(url)
        yield made
    bench.store.close()


def loops(points: int = 60, left: float = -200.0) -> Track:
    """Two loops of a signature, pressed harder in the middle."""
    return [
        (left + 6 * n + 60 * math.cos(4 * math.pi * n / points), 70 * math.sin(4 * math.pi * n / points),
         0.2 + 0.6 * math.sin(math.pi * n / points))
        for n in range(points)
    ]  # fmt: skip


def ink(kiosk: Kiosk) -> int:
    """Dark pixels of the field."""
    script = """() => { const c = document.querySelector('canvas.pen');
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      let n = 0; for (let i = 3; i < d.length; i += 4) if (d[i] > 60) n += 1; return n; }"""
    return int(kiosk.page.evaluate(script))


def test_a_pen_writes_with_its_pressure_and_the_ink_is_there_at_once(kiosk: Kiosk) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    kiosk.begin()
    kiosk.write_with_pen(loops())
    drawn = ink(kiosk)
    kiosk.write_with_pen([(220, -60, 0.9), (240, 0, 0.9), (250, 60, 0.9)])
    kiosk.page.screenshot(path=PICTURES / "kiosk-signature-on-screen.png")
    assert drawn > 500
    assert ink(kiosk) > drawn
    assert fits(kiosk.page)
    points = [point for point in kiosk.after_the_signature() if point.down]
    assert len(points) > 50
    forces = [point.pressure for point in points]
    assert max(forces) > 0.7 * 65535
    assert min(forces) < 0.4 * 65535
    wide = max(point.x for point in points) - min(point.x for point in points)
    assert wide == pytest.approx((250 - min(x for x, _, _ in loops())) * 2540 / 96, abs=60)
    assert [p.time_ms for p in points] == sorted(p.time_ms for p in points)


def test_a_finger_writes_a_second_finger_and_a_palm_do_not(kiosk: Kiosk) -> None:
    kiosk.begin()
    kiosk.touch("touchStart", (1, -150, 0, 0.5, 6))
    kiosk.touch("touchMove", (1, -120, 20, 0.5, 6))
    kiosk.touch("touchStart", (1, -120, 20, 0.5, 6), (2, 100, 100, 0.5, 6))  # another finger rests on the glass
    for step in range(1, 12):
        kiosk.touch("touchMove", (1, -120 + 10 * step, 20 - 4 * step, 0.5, 6), (2, 100 + step, 100, 0.5, 6))
    kiosk.touch("touchEnd", (1, 0, -24, 0.5, 6))
    kiosk.touch("touchEnd")
    before = ink(kiosk)
    kiosk.touch("touchStart", (3, 200, 60, 0.5, 70))  # the ball of the hand
    kiosk.touch("touchMove", (3, 230, 60, 0.5, 70))
    kiosk.touch("touchEnd")
    assert ink(kiosk) == before
    points = [point for point in kiosk.after_the_signature() if point.down]
    assert max(p.x for p in points) - min(p.x for p in points) < 200 * 2540 / 96


def test_what_the_system_withdraws_leaves_no_ink(kiosk: Kiosk) -> None:
    kiosk.begin()
    kiosk.write_with_finger(loops(left=-250))
    kept = ink(kiosk)
    kiosk.touch("touchStart", (1, 200, 0, 0.5, 6))
    kiosk.touch("touchMove", (1, 240, 40, 0.5, 6))
    assert ink(kiosk) > kept
    kiosk.touch("touchCancel")
    assert ink(kiosk) == kept
    points = [point for point in kiosk.after_the_signature() if point.down]
    assert max(p.x for p in points) - min(p.x for p in points) < 560 * 2540 / 96


def test_a_pen_takes_over_from_the_hand_that_came_down_first(kiosk: Kiosk) -> None:
    kiosk.begin()
    kiosk.touch("touchStart", (1, 250, 100, 0.5, 6))
    kiosk.touch("touchMove", (1, 260, 110, 0.5, 6))
    kiosk.write_with_pen(loops(left=-250))
    kiosk.touch("touchEnd")
    kiosk.write_with_finger([(240, 0, 0.5), (250, 20, 0.5), (260, 40, 0.5)])  # a palm now
    points = [point for point in kiosk.after_the_signature() if point.down]
    assert max(p.x for p in points) - min(p.x for p in points) < 500 * 2540 / 96


def test_a_pen_that_rests_on_the_glass_has_not_finished(kiosk: Kiosk) -> None:
    kiosk.begin()
    middle_x, middle_y = kiosk.middle()
    kiosk.pen("mousePressed", middle_x - 100, middle_y, 0.5)
    for step in range(10):
        kiosk.pen("mouseMoved", middle_x - 100 + 6 * step, middle_y + 5 * step, 0.5)
    kiosk.page.wait_for_timeout(1500)  # longer than the rest that ends a signature
    assert kiosk.sensors.signed == []
    for step in range(10):
        kiosk.pen("mouseMoved", middle_x - 40 + 12 * step, middle_y + 50 - 8 * step, 0.5)
    kiosk.pen("mouseReleased", middle_x + 80, middle_y - 30, 0)
    assert len([point for point in kiosk.after_the_signature() if point.down]) > 18


def test_nothing_is_written_before_the_start_and_nothing_twice(kiosk: Kiosk) -> None:
    kiosk.write_with_pen(loops())
    assert ink(kiosk) == 0
    kiosk.begin()
    kiosk.write_with_pen(loops())
    points = kiosk.after_the_signature()
    assert len(points) < 90
