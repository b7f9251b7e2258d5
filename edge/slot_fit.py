"""Whether the packages of a slot fit each other: python slot_fit.py, run by the slot's own interpreter.

pip's check would judge the system's packages too, which a slot of the Debian package sees, which are seldom all in
order, and which no release can mend. It needs nothing but the interpreter and the pip that came into the slot with it.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata

from pip._vendor.packaging.requirements import Requirement  # type: ignore[import-untyped,unused-ignore]

SHOWN_MAX = 5


def complaints() -> Iterator[str]:
    """What each distribution of this environment needs, and does not find in the version that it asks for."""
    own = sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")})
    for found in metadata.distributions(path=own):
        for need in (Requirement(text) for text in found.requires or ()):
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            try:
                version = metadata.version(need.name)
            except metadata.PackageNotFoundError:
                yield f"{found.name} needs {need}, which is absent"
                continue
            if not need.specifier.contains(version, prereleases=True):
                yield f"{found.name} needs {need}, and here is {version}"


def main() -> int:
    """Check, and say what is wrong."""
    wrong = list(complaints())
    sys.stderr.write("".join(f"{line}\n" for line in wrong[:SHOWN_MAX]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
