"""Empty databases of a hub with the newest schema: migrated once a process and copied, for migrating takes its time."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from hub.schema.database import Database
from tests.postgres import new_database


def _migrate(url: str) -> None:
    store = Database(url, durability="OFF")
    store.upgrade()
    store.close()


@cache
def empty_sqlite() -> bytes:
    """The file of an empty database."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hub.db"
        _migrate(f"sqlite:///{path}")
        return path.read_bytes()


def empty_postgresql() -> str:
    """SQLAlchemy URL of an empty database of its own."""
    return new_database(_migrate)
