"""`make link`: the controller's link on bad lines: the codec in virtual time, and the board's firmware behind a pty.

    python -m tests.fault.link_campaign --out out/link --seed 1

Codec: both ends of firmware/link.py on a line of 115,200 bit/s that flips bits or loses bytes, numbered messages both
ways, until so many frames were put on the line. Board: the firmware in the MicroPython VM against edge/panel.py;
requests whose effect can be counted (single steps of the gate's motor) and events that are known one by one (the
door), while the cable damages both directions. Any wrong, lost or doubled delivery fails the run.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edge.panel import MOVE_TIMEOUT_S, Panel
from firmware import dictionary as words
from tests.device.controller_bench import KEY, Journal, built, panel_on, until
from tests.fault.bad_line import BadLine
from virtual.controller_twin import HEAP_KB, ControllerTwin

CODEC_FRAMES = 1_000_000
BOARD_FRAMES = 5_000
LINES = {"bit errors 1e-4": (1e-4, 0.0), "lost bytes 0.1 %": (0.0, 1e-3), "lost bytes 1 %": (0.0, 1e-2)}
TOGGLE_S = 0.06
ANSWER_S = 60.0
RESTARTS = 20
SETTLED_S = 6.0  # the board collects its garbage every five
RESET_MS_MAX = 500


@dataclass(slots=True)
class Outcome:
    """One run. delivered: messages, requests and events that arrived; wrong: not the next one; missing: never came."""

    line: str
    frames: int
    delivered: int
    wrong: int
    missing: int
    seconds: float
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether everything arrived, once and in order."""
        return self.wrong == 0 and self.missing == 0 and self.delivered > 0


def codec_run(name: str, frames: int, seed: int) -> Outcome:
    """Two ends in virtual time. seconds: of virtual time."""
    line = BadLine(seed, *LINES[name])
    line.run(frames)
    settled = line.settle()
    sent = sum(tally.sent for tally in line.tallies)
    received = sum(tally.received for tally in line.tallies)
    counters = {name: sum(int(getattr(end, name)) for end in line.ends) for name in words.COUNTERS}
    wrong = sum(tally.wrong for tally in line.tallies) + sum(end.sessions != 1 for end in line.ends)
    return Outcome(name, line.frames, received, wrong, sent - received + (not settled), line.now_ms / 1000, counters)


def board_run(name: str, frames: int, seed: int, folder: Path) -> Outcome:
    """The firmware in the VM. Single steps go forward and back; the door opens and closes meanwhile."""
    bit_error_rate, byte_loss_rate = LINES[name]
    journal = Journal()
    twin = ControllerTwin(built(), folder / "flash", folder / "port", key=KEY)
    started_s = time.monotonic()
    try:
        with panel_on(twin.port, journal) as panel:
            panel.command(words.DO_HOME, bytes([words.AXIS_GATE]), MOVE_TIMEOUT_S)
            steps_before, first = twin.steppers[1].steps, len(journal.events)
            twin.fault(lost_per_byte=byte_loss_rate, flipped_per_byte=8 * bit_error_rate, seed=seed)
            requests, toggles = _work(twin, panel, frames)
            twin.fault()
            until(lambda: len(journal.events) - first >= toggles, "the last events", ANSWER_S)
            counters = {key: value + panel.board_counters()[key] for key, value in panel.status().counters.items()}
            steps = twin.steppers[1].steps - steps_before
            restarts = panel.status().restarts
    finally:
        twin.close()
    doors = [event.name for event in journal.events[first:] if event.name.startswith("door")]
    wanted = ["door-open", "door-closed"] * (toggles // 2)
    wrong = sum(one != other for one, other in zip(doors, wanted, strict=False)) + max(0, len(doors) - toggles)
    wrong += abs(steps - requests) + restarts + twin.seen.bites
    frames_seen = counters["frames_out"]
    seconds = time.monotonic() - started_s
    return Outcome(name, frames_seen, steps + len(doors), wrong, max(0, toggles - len(doors)), seconds, counters)


def _work(twin: ControllerTwin, panel: Panel, frames: int) -> tuple[int, int]:
    """Ask and toggle until both ends have put about so many frames on the line; returns (requests, toggles)."""
    requests = toggles = 0
    toggled_s = time.monotonic()
    while toggles % 2 or _frames(panel) < frames:
        panel.command(words.DO_STEP, struct.pack("<Bh", words.AXIS_GATE, -1 if requests % 2 else 1), ANSWER_S)
        requests += 1
        if time.monotonic() - toggled_s > TOGGLE_S:
            toggled_s = time.monotonic()
            toggles += 1
            twin.set_input("door", toggles % 2 == 1)
    time.sleep(TOGGLE_S)
    return requests, toggles


def _frames(panel: Panel) -> int:
    counters = panel.status().counters
    return counters["frames_in"] + counters["frames_out"]


def restart_times_ms(folder: Path, times: int) -> tuple[list[float], int]:
    """How long after the power cut the panel knew that the controller had started anew; and the board's free heap."""
    found, cut_s = [], 0.0

    def known() -> None:
        found.append((time.monotonic() - cut_s) * 1000)

    twin = ControllerTwin(built(), folder / "flash", folder / "port", key=KEY)
    try:
        with panel_on(twin.port, restarted=known) as panel:
            for number in range(times):
                cut_s = time.monotonic()
                twin.cut_power()
                until(lambda number=number: len(found) > number, "the restart")
                until(lambda: panel.status().state == "ready", "the controller")
            time.sleep(SETTLED_S)
            free_bytes = panel.identify().free_bytes
    finally:
        twin.close()
    return found, free_bytes


def main(arguments: list[str] | None = None) -> int:
    """Run all, write link.json, print a line a run; 1 where anything was wrong, lost or doubled."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault.link_campaign", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("out/link"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, default=CODEC_FRAMES)
    parser.add_argument("--board-frames", type=int, default=BOARD_FRAMES)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, list[Outcome]] = {"codec": [], "board": []}
    for name in LINES:
        outcomes["codec"].append(codec_run(name, options.frames, options.seed))
        _print("codec, virtual time", outcomes["codec"][-1])
    for name in LINES:
        with tempfile.TemporaryDirectory() as folder:
            outcomes["board"].append(board_run(name, options.board_frames, options.seed, Path(folder)))
        _print("board in the VM, pty", outcomes["board"][-1])
    with tempfile.TemporaryDirectory() as folder:
        known_ms, free_bytes = restart_times_ms(Path(folder), RESTARTS)
    known_ms.sort()
    print(f"free in the heap of {HEAP_KB} KB: {free_bytes} bytes")
    print(
        f"restart known after {known_ms[len(known_ms) // 2]:.0f} ms (median), "
        f"{known_ms[-1]:.0f} ms (slowest of {RESTARTS})"
    )
    good = all(outcome.good for runs in outcomes.values() for outcome in runs) and known_ms[-1] <= RESET_MS_MAX
    report = {kind: [asdict(outcome) for outcome in runs] for kind, runs in outcomes.items()}
    (options.out / "link.json").write_text(
        json.dumps(report | {"restart_known_ms": known_ms, "free_bytes": free_bytes}, indent=1), "utf-8"
    )
    return 0 if good else 1


def _print(kind: str, outcome: Outcome) -> None:
    print(
        f"{kind:22} {outcome.line:18} {outcome.frames:>9} frames {outcome.delivered:>8} delivered "
        f"{outcome.wrong} wrong {outcome.missing} missing {outcome.seconds:>8.1f} s  "
        f"crc {outcome.counters['crc_errors']} retransmits {outcome.counters['retransmits']}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
