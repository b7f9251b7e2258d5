"""Which software this is, as its own package says; in a checkout that nobody installed, as nobody knows."""

from __future__ import annotations

from functools import cache
from importlib import metadata

PROJECT = "rekam"


@cache
def version() -> str:
    """The installed version."""
    try:
        return metadata.version(PROJECT)
    except metadata.PackageNotFoundError:
        return "unknown"


def software() -> str:
    """Name and version, for the hub's list of units."""
    return f"{PROJECT} {version()}"
