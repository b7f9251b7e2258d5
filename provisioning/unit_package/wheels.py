"""Fills a folder with every wheel that a unit's lock file names, for the unit's machine, hashes checked.

What an index offers for the machine is taken. What has no wheel there (NO_WHEELS) is built from its locked source
against the sysroot by a cross compiler, in seconds; under emulation pyscard alone took longer than five minutes. The
same inputs give the same bytes: no times, no paths of this machine, files in the order of their names.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name, parse_wheel_filename

from contract.errors import DeviceError, TransientError
from provisioning.unit_package.sysroot import Machine, make_sysroot

PYTHON = "3.11"
PYTHON_FULL = "3.11.2"  # of Debian 12 and of Raspberry Pi OS on it
# No aarch64 wheels at the index; built for amd64 too, so that both packages come the same way.
NO_WHEELS = frozenset({"pyscard", "wsq", "python-prctl", "pidng"})
GLIBC_MINOR_MAX = 36
PIP_TIMEOUT_S = 540
BUILD_TIMEOUT_S = 300
FLAGS = "-O2 -DNDEBUG -fwrapv -fstack-protector-strong -D_FORTIFY_SOURCE=2"
# Runs a source's own build in this process, with its files in the order of their names.
BUILD = """
import glob, sys
found = glob.glob
glob.glob = lambda *given, **named: sorted(found(*given, **named))
from setuptools import build_meta
build_meta.build_wheel(sys.argv[1])
"""
# wsq asks for -m64, which only compilers for x86 know.
COMPILER = """#!/bin/bash
arguments=()
for argument in "$@"; do [ "$argument" = -m64 ] || arguments+=("$argument"); done
exec {triplet}-gcc -I{root}/usr/include/{triplet}/python{python} -I{root}/usr/include/python{python} \\
  -I{root}/usr/include -I{root}/usr/include/{triplet} -I{root}/usr/include/PCSC "${{arguments[@]}}" \\
  -L{root}/usr/lib/{triplet} -L{root}/lib/{triplet} -g0 -Wl,--build-id=none \\
  -ffile-prefix-map={source}=. -ffile-prefix-map={root}=
"""


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock file. text: its lines for pip, with hashes and without a marker."""

    name: str
    text: str


def pins(lock: str, machine: Machine, names: Iterable[str] = ()) -> list[Pin]:
    """What a lock file names for a machine; only `names` where some are given. Raises DeviceError for one it lacks."""
    found = []
    for stanza in re.findall(r"^[A-Za-z0-9].*(?:\n[ \t].*)*", lock, re.MULTILINE):
        first, _, rest = stanza.partition("\n")
        requirement, _, marker = first.rstrip("\\ ").partition(" ; ")
        if not marker or Marker(marker).evaluate(_environment(machine)):
            name = canonicalize_name(requirement.partition("==")[0].partition("[")[0])
            found.append(Pin(name, f"{requirement} \\\n{rest}\n"))
    wanted = {canonicalize_name(name) for name in names}
    if lacking := wanted - {pin.name for pin in found}:
        raise DeviceError(f"The lock has no {', '.join(sorted(lacking))}.", next_step="Run 'make lock'.")
    return [pin for pin in found if pin.name in wanted] if wanted else found


def fill_wheelhouse(machine: Machine, wanted: Sequence[Pin], cache: Path, epoch: int) -> Path:
    """A folder with one wheel for each pin, made where it is missing. Raises DeviceError, TransientError."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + str(epoch).encode())
    for pin in wanted:
        digest.update(pin.text.encode())
    folder = cache / f"wheels-{machine.debian}-{digest.hexdigest()[:16]}"
    if folder.exists():
        return folder
    draft, sources = folder.with_suffix(".draft"), folder.with_suffix(".sources")
    for name in (draft, sources):
        shutil.rmtree(name, ignore_errors=True)
        name.mkdir(parents=True)
    _download([pin for pin in wanted if pin.name not in NO_WHEELS], draft, _tags(machine))
    if built := [pin for pin in wanted if pin.name in NO_WHEELS]:
        root = make_sysroot(machine, cache / f"sysroot-{machine.debian}").resolve()
        _download(
            built, sources, ["--no-binary", ":all:", "--no-build-isolation"], {"CPATH": str(root / "usr/include")}
        )
        for archive in sorted(sources.iterdir()):
            _build(archive, machine, root, draft, epoch)
    if lacking := {pin.name for pin in wanted} - {name_of(wheel) for wheel in draft.glob("*.whl")}:
        raise DeviceError(f"No wheel came for {', '.join(sorted(lacking))}.", next_step="Run 'make lock'.")
    shutil.rmtree(sources)
    draft.replace(folder)
    return folder


def name_of(wheel: Path) -> str:
    """The package that a wheel's file name says."""
    return parse_wheel_filename(wheel.name)[0]


def hashed(wheels: Iterable[Path]) -> str:
    """Requirements that pip installs from these very files and no others (--no-index --require-hashes)."""
    lines = []
    for wheel in sorted(wheels):
        name, version, *_ = parse_wheel_filename(wheel.name)
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return "".join(lines)


def _environment(machine: Machine) -> dict[str, str]:
    return {
        "implementation_name": "cpython", "implementation_version": PYTHON_FULL, "os_name": "posix",
        "platform_machine": machine.machine, "platform_python_implementation": "CPython",
        "platform_system": "Linux", "platform_release": "", "platform_version": "",
        "python_full_version": PYTHON_FULL, "python_version": PYTHON, "sys_platform": "linux",
    }  # fmt: skip


def _tags(machine: Machine) -> list[str]:
    """pip's options for wheels that run on the unit's Debian, whatever machine asks."""
    platforms = [f"manylinux_2_{minor}_{machine.machine}" for minor in range(GLIBC_MINOR_MAX, 4, -1)]
    platforms += [f"manylinux2014_{machine.machine}", f"linux_{machine.machine}", "any"]
    found = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON]
    found += [part for abi in ("cp311", "abi3", "none") for part in ("--abi", abi)]
    return found + [part for platform in platforms for part in ("--platform", platform)]


def _download(
    wanted: Sequence[Pin], folder: Path, options: Sequence[str], more: Mapping[str, str] | None = None
) -> None:
    listed = folder / "wanted.txt"
    listed.write_text("".join(pin.text for pin in wanted), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "download"]
    _run([*pip, "--no-deps", "--require-hashes", *options, "-d", str(folder), "-r", str(listed)], folder, more)
    listed.unlink()


def _build(archive: Path, machine: Machine, root: Path, target: Path, epoch: int) -> None:
    """One wheel from one source archive, by the machine's cross compiler."""
    with tarfile.open(archive) as packed:
        packed.extractall(archive.parent, filter="data")
    source = archive.parent / archive.name.removesuffix(".tar.gz")
    compiler = archive.parent / "compiler"
    compiler.write_text(
        COMPILER.format(triplet=machine.triplet, root=root, python=PYTHON, source=source.resolve()), encoding="utf-8"
    )
    compiler.chmod(0o755)
    environment = {
        "CC": str(compiler.resolve()), "LDSHARED": f"{compiler.resolve()} -shared", "CFLAGS": FLAGS, "LDFLAGS": "",
        "PKG_CONFIG_LIBDIR": str(root / "usr/lib" / machine.triplet / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(root),
        "CPATH": str(root / "usr/include"), "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0",
        "_PYTHON_HOST_PLATFORM": f"linux-{machine.machine}",
        "_PYTHON_SYSCONFIGDATA_NAME": f"_sysconfigdata__{machine.triplet}",
        "PYTHONPATH": str(_sysconfig_alone(root, machine, archive.parent)),
    }  # fmt: skip
    _run([sys.executable, "-c", BUILD, str(target.resolve())], source, environment, BUILD_TIMEOUT_S)
    shutil.rmtree(source)


def _sysconfig_alone(root: Path, machine: Machine, folder: Path) -> Path:
    """The target's build settings in a folder of their own: its other modules must not be imported here."""
    alone = folder / "sysconfig"
    alone.mkdir(exist_ok=True)
    name = f"_sysconfigdata__{machine.triplet}.py"
    shutil.copy(root / f"usr/lib/python{PYTHON}" / name, alone / name)
    return alone


def _run(
    command: Sequence[str], folder: Path, more: Mapping[str, str] | None = None, timeout_s: float = PIP_TIMEOUT_S
) -> None:
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=timeout_s, cwd=folder,
            env={**os.environ, **(more or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TransientError(f"{folder.name}: it took longer than {timeout_s:.0f} s.") from None
    except subprocess.CalledProcessError as error:
        said = "\n".join((error.stderr or error.stdout).strip().splitlines()[-8:])
        raise DeviceError(
            f"{folder.name} failed:\n{said}", next_step="The development packages of system_packages.sh must be there."
        ) from None
