"""The server of a unit's own pages: its socket bound before anything starts, the process's signals left alone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from contract.errors import DeviceError

GRACE_S = 2


class PageServer(uvicorn.Server):
    """The web server, without hands of its own on the process's signals: whoever runs it ends its parts in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def bind(host: str, port: int, setting: str) -> socket.socket:
    """The pages' bound socket. setting: that names the port. Raises DeviceError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise DeviceError(
            f"The pages cannot listen on {host}:{port} ({error.strerror}).",
            next_step=f"Choose another {setting}, or end the program that holds it.",
        ) from None


def page_server(app: FastAPI) -> PageServer:
    """A server for these pages; `serve(sockets=[…])` runs it."""
    return PageServer(
        uvicorn.Config(
            app, http="h11", lifespan="off", access_log=False, log_config=None, timeout_graceful_shutdown=GRACE_S
        )
    )
