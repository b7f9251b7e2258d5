"""Opens the hub's database, SQLite or PostgreSQL by its URL, and brings its schema up to date by Alembic.

On SQLite every transaction that may write begins with the write lock, so that two writers wait instead of failing
half-way; on PostgreSQL the chain head's row lock does the same for histories.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from contract.errors import DeviceError, TransientError

MIGRATIONS = Path(__file__).parent
BUSY_TIMEOUT_MS = 30_000
Durability = Literal["FULL", "NORMAL", "OFF"]


class Database:
    """An engine and its sessions. `durability` is SQLite's synchronous pragma; PostgreSQL keeps its own setting."""

    def __init__(self, url: str, durability: Durability = "FULL") -> None:
        self.engine = _engine(url, durability)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._counter = itertools.count(1)
        self.written = 0  # another number after every commit of this process

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits at the end and rolls back on any exception. Raises TransientError when locked out."""
        session = self._sessions()
        try:
            yield session
            session.commit()
            self.written = next(self._counter)
        except OperationalError as error:
            session.rollback()
            raise TransientError(f"The database does not answer ({type(error.orig).__name__}).") from error
        except BaseException:
            session.rollback()
            raise
        finally:
            session.close()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads, and waits for no writer."""
        with self.engine.connect().execution_options(reading=True) as connection:
            session = Session(connection, expire_on_commit=False)
            try:
                yield session
            except OperationalError as error:
                raise TransientError(f"The database does not answer ({type(error.orig).__name__}).") from error
            finally:
                session.close()

    def upgrade(self) -> None:
        """Bring the schema to the newest revision. Raises DeviceError where the database cannot be reached."""
        try:
            with self.engine.begin() as connection:
                command.upgrade(_alembic(connection), "head")
        except OperationalError as error:
            raise DeviceError(
                f"The database cannot be opened ({type(error.orig).__name__}).",
                next_step="Check hub.database_url in hub.toml, and that the database server runs.",
            ) from error

    def revision(self) -> str:
        """The schema's revision, empty before the first migration."""
        with self.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() or ""

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()


def _engine(url: str, durability: Durability) -> Engine:
    # What a statement carries (biodata, templates) has no place in an error message or a log.
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _configure(connection: SqliteConnection, _record: Any) -> None:
            # The driver's own transaction handling is off: BEGIN is ours, see _begin.
            connection.isolation_level = None
            for pragma in (
                "journal_mode=WAL",
                f"synchronous={durability}",
                "foreign_keys=ON",
                f"busy_timeout={BUSY_TIMEOUT_MS}",
            ):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            reading = connection.get_execution_options().get("reading", False)
            connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config
