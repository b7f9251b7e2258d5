"""Puts the unit's Debian package together from what was built: files, control data, owners, times.

The files below root/ and control/ are the package as it is installed; the rest comes from the project (launcher, slot
and time programs, documentation) and from the wheelhouse. Two builds of one commit give the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from contract.errors import DeviceError
from provisioning.unit_package.sysroot import Machine
from provisioning.unit_package.unit_wheel import PROJECT
from provisioning.unit_package.wheels import hashed

HERE = Path(__file__).resolve().parent
NAME = "rekam-edge"
# Run by the system's Python, without a slot.
PROGRAMS = ("__init__.py", "launcher.py", "package_slot.py", "time_servers.py")
CLOCK_EPOCH = "usr/lib/clock-epoch"
SCRIPTS = {"postinst", "prerm", "postrm"}
PACK_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Release:
    """What a package is. number: of the signed release it was made from, 0 outside of them; epoch: its time, s."""

    version: str
    number: int
    epoch: int


def make_package(wheels: Sequence[Path], machine: Machine, release: Release, work: Path, out: Path) -> Path:
    """The package's file in `out`. wheels: with the project's own. Raises DeviceError."""
    tree = work / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(HERE / "root", tree)
    _add_programs(tree)
    _add_wheelhouse(tree, wheels, release)
    _add_documents(tree, release)
    (tree / CLOCK_EPOCH).touch()
    _add_control(tree, machine, release)
    _settle(tree, release.epoch)
    out.mkdir(parents=True, exist_ok=True)
    package = out / f"{NAME}_{release.version}_{machine.debian}.deb"
    # The wheels are packed already: packing them again costs a minute and saves nothing.
    command = [
        "dpkg-deb",
        "--root-owner-group",
        "--uniform-compression",
        "-Zgzip",
        "-z1",
        "--build",
        str(tree),
        str(package),
    ]
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=PACK_TIMEOUT_S,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(release.epoch)},
        )  # fmt: skip
    except FileNotFoundError:
        raise DeviceError("dpkg-deb is missing.", next_step="Build on Debian 12 or newer.") from None
    except subprocess.CalledProcessError as error:
        raise DeviceError(f"dpkg-deb failed: {error.stderr.strip()}") from None
    return package


def _add_programs(tree: Path) -> None:
    target = tree / "usr/lib/rekam/edge"
    target.mkdir(parents=True)
    for name in PROGRAMS:
        shutil.copyfile(PROJECT / "edge" / name, target / name)


def _add_wheelhouse(tree: Path, wheels: Sequence[Path], release: Release) -> None:
    target = tree / "usr/lib/rekam/wheelhouse"
    target.mkdir(parents=True)
    for wheel in wheels:
        shutil.copyfile(wheel, target / wheel.name)
    (target / "requirements.txt").write_text(hashed(target.glob("*.whl")), encoding="ascii")
    mark = {"number": release.number, "version": release.version}
    (target / "release.json").write_text(json.dumps(mark) + "\n", encoding="ascii")


def _add_documents(tree: Path, release: Release) -> None:
    target = tree / f"usr/share/doc/{NAME}"
    target.mkdir(parents=True)
    shutil.copyfile(HERE / "README.md", target / "README.md")
    shutil.copyfile(HERE / "copyright", target / "copyright")
    changes = f"{NAME} ({release.version}) bookworm; urgency=medium\n\n  * See the project's CHANGELOG.md.\n\n"
    changes += f" -- Rekam maintainers <maintainers@rekam.invalid>  {formatdate(release.epoch)}\n"
    (target / "changelog.gz").write_bytes(gzip.compress(changes.encode(), 9, mtime=0))


def _add_control(tree: Path, machine: Machine, release: Release) -> None:
    target = tree / "DEBIAN"
    files = [path for path in sorted(tree.rglob("*")) if path.is_file()]
    installed_kib = sum(-(-path.stat().st_size // 1024) for path in files)
    sums = [f"{_md5(path)}  {path.relative_to(tree)}\n" for path in files]
    target.mkdir()
    for source in sorted((HERE / "control").iterdir()):
        shutil.copyfile(source, target / source.name)
    control = (HERE / "control" / "control").read_text(encoding="utf-8")
    (target / "control").write_text(
        control.format(version=release.version, architecture=machine.debian, installed_size=installed_kib),
        encoding="utf-8",
    )
    (target / "md5sums").write_text("".join(sums), encoding="ascii")


def _md5(path: Path) -> str:
    """What dpkg --verify compares; what counts are the wheels' hashes, and the archive's signature."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _settle(tree: Path, epoch: int) -> None:
    """Modes and times that do not depend on whoever builds."""
    for path in sorted(tree.rglob("*"), reverse=True):
        runs = path.is_dir() or path.parent.name == "bin" or (path.parent.name == "DEBIAN" and path.name in SCRIPTS)
        path.chmod(0o755 if runs else 0o644)
        os.utime(path, (epoch, epoch))
    tree.chmod(0o755)
    os.utime(tree, (epoch, epoch))
