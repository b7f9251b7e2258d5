"""`make bench-unit`: what a capture unit costs while nobody stands before it, and how it feels when somebody does.

    python -m tests.bench.unit

The unit is the agent's own process with its comparison worker, and Chromium with the kiosk's page open; every twin is
attached that needs no kernel's bus: scanner, camera, iris camera, pad, code scanner, ticket printer, SANE's document
scanner, card reader, controller board. Each device of a capture has been used once, so that all are open. The picture's
transfer is measured on a pseudo-terminal that keeps to the line's speed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

from contract.sample import FingerPosition
from edge.sensors.fingerprint_zfm import ZfmScanner
from tests.device.controller_bench import board
from tests.journey.agent_world import PAPERS, AgentWorld
from tests.screens.conftest import CHROMIUM, FLAGS
from tests.screens.live_picture import PAINTED, film, photos_without_end
from virtual.card_box import CardBox
from virtual.card_slot import SlotControl
from virtual.code_twin import CodeScannerTwin
from virtual.fingerprint_twin import FingerprintModule
from virtual.pty_twin import PtyTwin
from virtual.ticket_twin import TicketTwin
from virtual.unit_twin import FACE_PATH

CORE_PERCENT_MAX = 5.0
MEMORY_MB_MAX = 400.0
FRAMES_PER_S_MIN = 10.0
LINE_RATIO_MAX = 1.1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MORE_DEVICES = """
[devices.code]
driver = "serial"
port = "{folder}/code"
[devices.ticket]
driver = "serial"
port = "{folder}/ticket"
[devices.scanner]
driver = "sane"
device = "test"
[devices.card]
driver = "virtual.card_direct:DirectCardReader"
socket = "{folder}/card.reader"
[devices.controller]
driver = "panel"
port = "{folder}/port"
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """The run's numbers. line_ratios: transfer time over line time of a 256×288 picture, by line speed.

    live_agent_ms: the agent's own processor time for each painted frame, its photos and pages included.
    """

    idle_core_percent: float
    memory_mb: float
    live_frames_per_s: float
    photos_meanwhile: int
    live_agent_ms: float
    line_ratios: dict[int, float]
    machine: str

    @property
    def reached(self) -> bool:
        """Whether the targets are met."""
        return (
            self.idle_core_percent <= CORE_PERCENT_MAX
            and self.memory_mb <= MEMORY_MB_MAX
            and self.live_frames_per_s >= FRAMES_PER_S_MIN
            and max(self.line_ratios.values()) <= LINE_RATIO_MAX
        )


class FullWorld(AgentWorld):
    """A kiosk with everything attached."""

    def _write_settings(self, role: str) -> None:
        super()._write_settings(role)
        path = self.folder / "unit.toml"
        camera = self.devices.status()
        text = path.read_text().replace(
            f'url = "{camera["camera"]}"', f'url = "{camera["camera"]}"\npreview_url = "{camera["camera_preview"]}"'
        )
        path.write_text(text + MORE_DEVICES.format(folder=self.folder))

    @property
    def agent(self) -> int:
        """The agent's process id."""
        assert self._process is not None
        return self._process.pid

    def use_every_device(self) -> None:
        """A queue number and one resident up to the search, then cancelled: devices are open, every kernel is warm."""
        self.post("/api/queue", {"service": "capture"})
        self.walk(self.resident, until=lambda snapshot: snapshot["step"] == "verify")
        self.post("/api/session/cancel")
        self.post("/api/session/finish")


@contextmanager
def full_world() -> Iterator[FullWorld]:
    """The kiosk, running, with a card slot and a controller board of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="unit-")))
        CardBox(folder / "cards").add_blanks(2, bytes(range(32)), 1)
        ends = ["--control", str(folder / "card.control"), "--direct", str(folder / "card.reader")]
        command = [sys.executable, "-m", "virtual.card_slot", "serve", "--cards", str(folder / "cards"), *ends]
        slot = stack.enter_context(subprocess.Popen(command))
        stack.callback(slot.terminate)
        SlotControl(folder / "card.control").wait_until_up(20)
        stack.enter_context(board(folder))
        for name, twin in (("code", CodeScannerTwin()), ("ticket", TicketTwin())):
            stack.callback(PtyTwin(twin, folder / name).close)
        world = FullWorld(folder, role="kiosk")
        stack.callback(world.close)
        world.start()
        yield world


@contextmanager
def kiosk_page(world: FullWorld) -> Iterator[Page]:
    """The kiosk's page in Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{world.url}/kiosk")
        page.locator("#start-form button[type=submit]:enabled").wait_for()  # the operator is signed on
        yield page
        browser.close()


def processes(agent: int) -> list[int]:
    """The agent and what it started."""
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    return [agent, *(pid for child in children for pid in processes(int(child)))]


def cpu_s(pids: list[int]) -> float:
    """Processor time of processes since they began."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(found[11]) + int(found[12]) for found in fields) / TICKS_PER_S


def memory_mb(pids: list[int]) -> float:
    """Proportional set size: what the machine would get back if the processes ended."""
    sizes = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(line.split()[1]) for text in sizes for line in text.splitlines() if line.startswith("Pss:")) / 1000


def measure_idle(world: FullWorld, length_s: float) -> tuple[float, float]:
    """Share of one core in percent, and megabytes, while the page is open and nobody comes."""
    pids = processes(world.agent)
    time.sleep(5)
    began_s, started = cpu_s(pids), time.monotonic()
    time.sleep(length_s)
    return (cpu_s(pids) - began_s) / (time.monotonic() - started) * 100, memory_mb(pids)


def measure_live(world: FullWorld, page: Page) -> tuple[float, int, float]:
    """Frames a second that are painted at the photo step, photos taken meanwhile, the agent's milliseconds a frame."""
    camera = world.devices.camera
    assert camera is not None
    camera.film(FACE_PATH, film(), 30)
    page.locator("#nik").fill(world.resident.nik)
    for box in page.locator("#papers input").all():
        if box.input_value() in PAPERS:
            box.check()
    page.get_by_role("button", name="Mulai perekaman").click()
    page.get_by_role("button", name="Ya, benar").click()
    page.get_by_role("button", name="Ambil foto").wait_for()
    page.evaluate(PAINTED, 1000)
    photos_without_end(page)
    before, began_s = world.get("/api/session")["revision"], cpu_s([world.agent])
    rates = [float(page.evaluate(PAINTED, 3000)) for _ in range(3)]
    spent_ms = (cpu_s([world.agent]) - began_s) * 1000 / (3 * sum(rates))
    return max(rates), (int(world.get("/api/session")["revision"]) - int(before)) // 2, spent_ms


def measure_line(baud: int) -> float:
    """Transfer time of one picture over what the line needs for its bytes."""
    module = FingerprintModule(baud=baud)
    twin = PtyTwin(module, paced=True)
    scanner = ZfmScanner(port=twin.port, baud=baud)
    scanner.open()
    levels = np.random.default_rng(1).integers(0, 16, (module.height_px, module.width_px), dtype=np.uint8)
    module.place((levels * 17).astype(np.uint8))
    frame = scanner.capture(FingerPosition.RIGHT_INDEX, 60, threading.Event())
    scanner.close()
    twin.close()
    size = module.width_px * module.height_px // 2
    wire_bytes = size + -(-size // module.parameters.data_bytes) * 11 + 2 * 12
    return int(frame.metadata["transfer_ms"]) / (wire_bytes * 10 / baud * 1000)


def measure(idle_s: float) -> Figures:
    """All figures of one run."""
    ratios = {baud: measure_line(baud) for baud in (57_600, 115_200)}
    with full_world() as world:
        world.use_every_device()
        with kiosk_page(world) as page:
            idle, memory = measure_idle(world, idle_s)
            rate, photos, live_ms = measure_live(world, page)
    return Figures(idle, memory, rate, photos, live_ms, ratios, f"{platform.machine()}, {os.cpu_count()} cores")


def main() -> int:
    """Measure, print, and say by the exit code whether the targets are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/bench-unit"))
    parser.add_argument("--idle-s", type=float, default=30.0, help="how long nobody comes")
    options = parser.parse_args()
    figures = measure(options.idle_s)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "unit.json").write_text(json.dumps(asdict(figures), indent=2) + "\n")
    table = Table("what", "measured", "asked", title=f"A capture unit on {figures.machine}")
    table.add_row("idle, share of one core", f"{figures.idle_core_percent:.1f} %", f"≤ {CORE_PERCENT_MAX:g} %")
    table.add_row("memory, agent and worker", f"{figures.memory_mb:.0f} MB", f"≤ {MEMORY_MB_MAX:g} MB")
    live = f"{figures.live_frames_per_s:.1f} /s beside {figures.photos_meanwhile} photos"
    table.add_row("live picture on the screen", live, f"≥ {FRAMES_PER_S_MIN:g} /s")
    table.add_row("the agent's processor time for each frame", f"{figures.live_agent_ms:.1f} ms", "")
    for baud, ratio in figures.line_ratios.items():
        table.add_row(f"finger picture at {baud} bit/s, of line time", f"{ratio:.3f}", f"≤ {LINE_RATIO_MAX:g}")
    Console().print(table)
    return 0 if figures.reached else 1


if __name__ == "__main__":
    sys.exit(main())
