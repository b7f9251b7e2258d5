"""The project's own wheel as a unit has it: contract, edge and the controller's wire; no hub, no tool, no twins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from contract.errors import DeviceError

PROJECT = Path(__file__).resolve().parents[2]
ROOMS = ("contract", "edge", "firmware")
OTHER_SCRIPTS = re.compile(r"^rekam-(?:hub|provision) = .*\n", re.MULTILINE)
BUILD_TIMEOUT_S = 120
LEFT_OUT = shutil.ignore_patterns("__pycache__", "typings", "*.lock", "*.in")
BUILT = "built.txt"


def project_version() -> str:
    """The project's version."""
    return str(tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def build_unit_wheel(folder: Path, version: str, epoch: int) -> Path:
    """Build the wheel into `folder`, which also serves for building it. The same inputs give the same bytes."""
    source, target = folder / "source", folder / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    target.mkdir(parents=True)
    for room in ROOMS:
        shutil.copytree(PROJECT / room, source / room, ignore=LEFT_OUT)
    (source / "edge" / BUILT).write_text(f"{epoch}\n", encoding="ascii")
    for name in ("README.md", "LICENSE"):
        shutil.copyfile(PROJECT / name, source / name)
    settings = OTHER_SCRIPTS.sub("", (PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    settings = re.sub(r'^version = ".*"$', f'version = "{version}"', settings, count=1, flags=re.MULTILINE)
    (source / "pyproject.toml").write_text(settings, encoding="utf-8")
    for path in sorted(source.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch))
    try:
        subprocess.run(
            [sys.executable, "-c", "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])",
             str(target.resolve())],
            check=True, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, cwd=source,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0", "PYTHONPATH": ""},
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = "\n".join(error.stderr.strip().splitlines()[-5:])
        raise DeviceError(f"The project's wheel does not build:\n{said}", next_step="Run 'make check'.") from None
    return next(target.glob("*.whl"))
