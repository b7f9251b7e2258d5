"""A private PostgreSQL for the tests: started once a session on a socket of its own, gone with it.

The same hub tests run on SQLite and on this server; each test gets an empty database of its own.
"""

from __future__ import annotations

import atexit
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
PORT = 54329
_names = itertools.count(1)


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root: there it runs as its own user."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@cache
def server() -> str:
    """The socket folder of a running server, started at the first call and stopped when Python ends."""
    if BINARIES is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="rekam-pg-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    run = _unprivileged()
    data = folder / "data"
    subprocess.run(
        [
            *run, BINARIES / "initdb", "-D", data, "-A", "trust", "-U", "postgres",
            "--no-sync", "-E", "UTF8", "--locale=C",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c port={PORT}"
    subprocess.run(
        [*run, BINARIES / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start"],
        check=True, capture_output=True,
    )  # fmt: skip

    def stop() -> None:
        subprocess.run(
            [*run, BINARIES / "pg_ctl", "-D", data, "-m", "immediate", "stop"], capture_output=True, check=False
        )
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return str(folder)


def new_database(migrate: Callable[[str], None]) -> str:
    """SQLAlchemy URL of a database of its own, copied from one that `migrate` has brought up to date."""
    folder = server()
    name = f"hub_{os.getpid()}_{next(_names)}"
    _create(folder, name, _template(folder, migrate))
    return _url(folder, name)


@cache
def _template(folder: str, migrate: Callable[[str], None]) -> str:
    name = f"template_{os.getpid()}_{next(_names)}"
    _create(folder, name, "template1")
    migrate(_url(folder, name))
    return name


def _create(folder: str, name: str, template: str) -> None:
    with psycopg.connect(host=folder, port=PORT, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )


def _url(folder: str, name: str) -> str:
    return f"postgresql+psycopg://postgres@/{name}?host={folder}&port={PORT}"
