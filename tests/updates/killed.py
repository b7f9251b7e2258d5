"""kill -9 of the process that updates: at every megabyte of 30, and before and after each step of an installation.

Each life is a process of its own that ends itself with SIGKILL, or is killed in the middle of a step. After every one
the launcher has to have a slot to start, and the next life has to go on; in the end the release is in its slot, and
little more than its bytes was fetched. `make updates` runs this after tests.updates.campaign.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from contract.updates import FileRole
from edge.launcher import BootFile
from edge.slot_install import Installer
from edge.slots import Release, Slots, release_mark
from edge.update_channel import Span
from edge.update_client import Fetched, UpdateClient
from tests.updates.repository import Repository, job_for
from tests.updates.wheels import agent_wheel, make_wheel

MIB = 1024 * 1024
RELEASE_MIB = 30
NUMBER, VERSION = 2, "0.2.0"
LIVES_MAX, MIDDLES = 100, 6
SEED = 20


class Served:
    """A repository's files in a folder, given to a unit that is killed after so many bytes of targets."""

    def __init__(self, folder: Path, kill_after: int) -> None:
        self._folder, self._left = folder, kill_after

    def __call__(self, role: FileRole, name: str, offset: int, length_max: int) -> Span | None:
        path = self._folder / role.value / name
        if not path.exists():
            return None
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(min(length_max, 65536))
        if role is FileRole.TARGET:
            self._left -= len(data)
            with (self._folder / "carried").open("a") as carried:
                carried.write(f"{len(data)}\n")
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return Span(path.stat().st_size, data)


def fetch(folder: Path, kill_after: int) -> Fetched:
    """One life's fetching."""
    served = Served(folder / "served", kill_after)
    client = UpdateClient(folder / "update", (folder / "root.json").read_bytes(), served)
    client.refresh()
    return client.fetch(job_for(NUMBER, VERSION), lambda _done, _all: None)


def install(folder: Path, kill_at: int) -> None:
    """One life's installation, killed at that point of its steps."""
    passed = 0

    def observe(_step: str, _done: bool) -> None:
        nonlocal passed
        passed += 1
        if passed == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    fetched = fetch(folder, sys.maxsize)
    Installer(Slots(folder / "slots", "a", ("x",)), folder / "unit.toml", observe).install(fetched)


def prepare(folder: Path) -> Path:
    """A unit with a whole slot a, and a repository with a release of 30 MB, served from a folder."""
    repository, chance = Repository(), random.Random(SEED)
    wheels = [agent_wheel(VERSION)]
    for number in range(3):
        wheels.append(
            make_wheel(f"part{number}", "1.0", {f"part{number}.bin": chance.randbytes(RELEASE_MIB * MIB // 3)})
        )
    repository.add_release(NUMBER, VERSION, dict(wheels))
    for (role, name), content in repository.files.items():
        path = folder / "served" / role.value / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "root.json").write_bytes(repository.root)
    (folder / "update").mkdir()
    python = folder / "slots" / "a" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (folder / "slots" / "a" / "release.json").write_bytes(release_mark(Release(1, "0.1.0")))
    return folder


def life(folder: Path, what: str, point: int, middle_s: float = 0.0) -> int:
    """A life in a process of its own; its exit code. middle_s: when it is killed from outside."""
    command = [
        sys.executable,
        "-m",
        "tests.updates.killed",
        "--life",
        what,
        "--point",
        str(point),
        "--out",
        str(folder),
    ]
    process = subprocess.Popen(command)
    if middle_s:
        try:
            process.wait(middle_s)
        except subprocess.TimeoutExpired:
            process.kill()
    code = process.wait(300)
    boot = BootFile(folder / "slots").choose()
    assert boot is not None and boot.slot == "a", "neither slot can be started"
    return code


def campaign(folder: Path) -> None:
    """Everything; raises AssertionError."""
    prepare(folder)
    kills = 0
    while life(folder, "fetch", MIB) == -signal.SIGKILL:
        kills += 1
        assert kills < LIVES_MAX, "it never ends"
    carried = sum(int(line) for line in (folder / "served" / "carried").read_text().split())
    assert kills >= RELEASE_MIB - 1
    typer.echo(f"fetched {RELEASE_MIB} MB through {kills} kills; {carried / MIB - RELEASE_MIB:.1f} MB more than it has")
    points = 0
    while life(folder, "install", points + 1) == -signal.SIGKILL:
        points += 1
        assert points < LIVES_MAX, "it never ends"
    chance, began = random.Random(SEED), time.monotonic()
    assert life(folder, "install", 0) == 0
    whole_s = time.monotonic() - began
    codes = [life(folder, "install", 0, chance.uniform(0.1, whole_s)) for _ in range(MIDDLES)]
    assert set(codes) <= {0, -signal.SIGKILL}, codes
    middles = codes.count(-signal.SIGKILL)
    assert life(folder, "install", 0) == 0
    slots = Slots(folder / "slots", "a", ("x",))
    assert slots.release("b") == Release(NUMBER, VERSION) and points >= 12
    typer.echo(f"installed through kills at {points} points of its steps and {middles} in the middle of one")


def main(
    out: Annotated[Path, typer.Option(help="Folder; emptied first.")] = Path("out/updates-killed"),
    one: Annotated[str, typer.Option("--life", help="One life only: fetch or install; for the campaign itself.")] = "",
    point: Annotated[int, typer.Option(help="Where that life ends: bytes, or a point of the steps.")] = 0,
) -> None:
    """Run the campaign."""
    if one == "fetch":
        fetch(out, point)
    elif one == "install":
        install(out, point)
    else:
        subprocess.run(["rm", "-rf", str(out)], check=True)
        out.mkdir(parents=True)
        campaign(out.resolve())


if __name__ == "__main__":
    typer.run(main)
