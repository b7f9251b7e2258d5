"""Compiles a loop of C beside a kernel of ours, to show what the machine could do; only where a compiler is at hand."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

# What -ffast-math allows, in parts: as a whole it links start-up code that turns off subnormal numbers in our process.
_FAST = ("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math", "-ffinite-math-only")
_OPTIONS = ("-O3", "-march=native", *_FAST, "-shared", "-fPIC")


def compiled(source: str, name: str) -> Any | None:
    """The function `name` of `source` for ctypes, None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        text, library = Path(folder) / "loop.c", Path(folder) / "loop.so"
        text.write_text(source, encoding="utf-8")
        command = [compiler, *_OPTIONS, str(text), "-o", str(library), "-lm"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        return getattr(ctypes.CDLL(str(library)), name)
