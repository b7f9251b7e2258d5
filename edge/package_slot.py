"""What the Debian package does with the slots: fills one from its wheelhouse, and never undoes a newer update.

    PYTHONPATH=/usr/lib/rekam python3 -m edge.package_slot SLOTS WHEELHOUSE --unit FOLDER

Run by the package's postinst as the agent's user, with the agent stopped; the system's Python runs it without any
package, beside the launcher. The first installation fills slot a. A later one fills the slot that is not good, and only
where the package is newer than what is there; on a unit in service it starts on trial, as any update does. It may be
cut and run again: a slot's mark is written last, and boot.json after it.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.launcher import RELEASE_FILE, SCHEMA_FILE, SLOTS, Boot, BootEvent, BootFile, advance

REQUIREMENTS, RELEASE = "requirements.txt", "release.json"
UNIT_FILE = "unit.toml"
INSTALL_TIMEOUT_S = 3600
EXIT_FAILED = 1


@dataclass(frozen=True)
class Held:
    """What a slot or a package holds. number: counted by the signed releases, 0 outside of them."""

    version: str = "0"
    number: int = 0

    def is_newer_than(self, other: Held) -> bool:
        """By their numbers, where both come from signed releases; else by their versions."""
        if self.number and other.number:
            return self.number > other.number
        return _parts(self.version) > _parts(other.version)


@dataclass(frozen=True)
class Plan:
    """slot: to be filled, empty for none. boot: what boot.json says then."""

    slot: str
    boot: Boot
    why: str


def plan(boot: Boot, held: Mapping[str, Held | None], package: Held, *, in_service: bool) -> Plan:
    """What becomes of the slots. held: by slot, None where no release was written to the end."""
    good = held[boot.good]
    if good is None:
        return Plan(boot.good, Boot(good=boot.good), "no slot holds a release")
    if not package.is_newer_than(good):
        return Plan("", boot, f"slot {boot.good} holds {good.version}, which is not older")
    if boot.trial:
        return Plan("", boot, "another release is on trial; install this package again when that has ended")
    after = advance(boot, BootEvent.BEGIN) if in_service else Boot(good=boot.other)
    return Plan(boot.other, after, f"{package.version} is newer than {good.version}")


def install(slots: Path, wheelhouse: Path, unit: Path) -> Plan:
    """Do what the plan says. Raises OSError, subprocess.SubprocessError."""
    boot_file = BootFile(slots)
    held = {slot: read_held(slots / slot / RELEASE_FILE) if boot_file.is_whole(slot) else None for slot in SLOTS}
    package = read_held(wheelhouse / RELEASE)
    found = plan(boot_file.read(), held, package, in_service=(unit / UNIT_FILE).exists())
    if found.slot:
        with boot_file.changing() as boot:  # first: what is filled here was never good
            if boot.way_back:
                boot_file.write(advance(boot, BootEvent.FORGET))
        fill(slots / found.slot, wheelhouse, slots / SLOTS[1 - SLOTS.index(found.slot)] / SCHEMA_FILE)
        with boot_file.changing():
            boot_file.write(found.boot)
    return found


def fill(slot: Path, wheelhouse: Path, schema: Path) -> None:
    """Make the slot's virtual environment from the wheels, hashes checked; the mark that it is whole comes last.

    schema: of settings, of the slot that was good before, where it has one: a package does not loosen them.

    It sees the system's packages behind its own: libcamera's bindings come with Raspberry Pi OS alone.
    """
    (slot / RELEASE_FILE).unlink(missing_ok=True)
    shutil.rmtree(slot, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--system-site-packages", str(slot)])
    _run([
        str(slot / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
        "install", "--ignore-installed", "--no-index", "--no-deps", "--require-hashes", "--find-links", str(wheelhouse),
        "--requirement", str(wheelhouse / REQUIREMENTS),
    ])  # fmt: skip
    if schema.is_file():
        shutil.copyfile(schema, slot / SCHEMA_FILE)
    subprocess.run(["sync", "--file-system", str(slot)], check=True, timeout=INSTALL_TIMEOUT_S)
    shutil.copyfile(wheelhouse / RELEASE, slot / RELEASE_FILE)
    subprocess.run(["sync", "--file-system", str(slot)], check=True, timeout=INSTALL_TIMEOUT_S)


def read_held(path: Path) -> Held:
    """What a release's mark says; nothing where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Held(str(found["version"])[:64], int(found["number"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Held()


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, timeout=INSTALL_TIMEOUT_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plan, fill, and say what was done."""
    parser = argparse.ArgumentParser(prog="package_slot", description="Fill a slot from the package's wheelhouse.")
    parser.add_argument("slots", type=Path, help="folder with a/, b/ and boot.json")
    parser.add_argument("wheelhouse", type=Path, help=f"folder with wheels, {REQUIREMENTS} and {RELEASE}")
    parser.add_argument(
        "--unit", type=Path, required=True, help=f"the unit's folder: with {UNIT_FILE} it is in service"
    )
    options = parser.parse_args(arguments)
    try:
        done = install(options.slots, options.wheelhouse, options.unit)
    except (OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(
            f"rekam-edge: the slot cannot be filled: {error}. Free some space, then: dpkg --configure -a\n"
        )
        return EXIT_FAILED
    sys.stdout.write(f"rekam-edge: {f'slot {done.slot} is filled' if done.slot else 'the slots stay'}: {done.why}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
