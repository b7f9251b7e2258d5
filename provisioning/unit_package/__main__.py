"""Builds the unit's Debian package: `make deb`, or python -m provisioning.unit_package.

OUT/rekam-edge_VERSION_arm64.deb   for a Raspberry Pi; --architecture amd64 for a PC
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from contract.errors import RekamError
from provisioning.unit_package.package import Release, make_package
from provisioning.unit_package.sysroot import MACHINES
from provisioning.unit_package.unit_wheel import PROJECT, build_unit_wheel, project_version
from provisioning.unit_package.wheels import fill_wheelhouse, pins

LOCK = Path(__file__).resolve().parent / "unit.lock"
# Wheels built here carry this time: the cache of one lock serves every commit.
WHEELS_EPOCH = 1_764_028_800


def main(arguments: list[str] | None = None) -> int:
    """Build, and say what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m provisioning.unit_package", description="Build the unit's package."
    )
    parser.add_argument("--architecture", choices=sorted(MACHINES), default="arm64")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the package")
    parser.add_argument("--cache", type=Path, default=Path("build/deb"), help="keeps wheels and sysroots")
    parser.add_argument("--version", default=project_version(), help="of the package, where it is not the project's")
    parser.add_argument("--number", type=int, default=0, help="of the signed release that the package is made from")
    options = parser.parse_args(arguments)
    machine, cache, begun = MACHINES[options.architecture], options.cache.resolve(), time.monotonic()
    release = Release(options.version, options.number, _epoch())
    work = cache / f"work-{machine.debian}"
    try:
        wheels = fill_wheelhouse(machine, pins(LOCK.read_text(encoding="utf-8"), machine), cache, WHEELS_EPOCH)
        own = build_unit_wheel(work / "own", release.version, release.epoch)
        found = [*wheels.glob("*.whl"), own]
        package = make_package(found, machine, release, work, options.out)
        _offer(found, package.with_suffix(".wheels"))
    except RekamError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(
        f"{package}: {package.stat().st_size / 1e6:.1f} MB, {len(found)} wheels, {time.monotonic() - begun:.0f} s\n"
    )
    return 0


def _offer(wheels: Sequence[Path], folder: Path) -> None:
    """The wheels in a folder of their own; links where the disk allows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for wheel in wheels:
        try:
            (folder / wheel.name).hardlink_to(wheel)
        except OSError:
            shutil.copyfile(wheel, folder / wheel.name)


def _epoch() -> int:
    """SOURCE_DATE_EPOCH, or the time of the last commit, s."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    found = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=PROJECT, check=True, capture_output=True, text=True
    )
    return int(found.stdout)


if __name__ == "__main__":
    sys.exit(main())
