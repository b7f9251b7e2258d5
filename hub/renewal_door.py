"""The hub's renewal door: takes one question a connection from whoever comes, and bounds what strangers can cost.

A place is taken before the TLS handshake and given back after the answer or the time-out; who finds none waits in the
system's queue. Few questions are worked on at once, so that units and technicians are served beside them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from contract.channel_renewal import LENGTH_BYTES, TIMEOUT_S, framed, length_of
from contract.errors import DeviceError, RekamError

PLACES = 64
WORKED_ON_MAX = 4
log = structlog.get_logger("renewal_door")


class RenewalDoor:
    """Listens at `port`. folder: where tls.crt and tls.key lie; answer: to a question, raises RekamError for none."""

    def __init__(self, host: str, port: int, folder: Path, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._host, self._port, self._folder = host, port, folder
        self._answer = answer
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._places = asyncio.Semaphore(PLACES)
        self._turns = asyncio.Semaphore(WORKED_ON_MAX)
        self._visits: set[asyncio.Task[None]] = set()

    def load_certificate(self) -> None:
        """Take up the server's certificate, as it is now. Raises DeviceError."""
        try:
            self._context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key")
        except OSError as error:
            raise DeviceError(
                f"{self._folder}/tls.crt cannot be used ({type(error).__name__}).",
                next_step="The hub makes it anew at its start, with tls.key.",
            ) from None

    async def run(self) -> None:
        """Serve until cancelled. Raises DeviceError where the port is taken."""
        self.load_certificate()
        listener = self._listener()
        try:
            while True:
                await self._places.acquire()
                line = await self._accepted(listener)
                visit = asyncio.create_task(self._visit(line))
                self._visits.add(visit)
                visit.add_done_callback(self._leave)
        finally:
            listener.close()
            for visit in self._visits:
                visit.cancel()

    def _listener(self) -> socket.socket:
        try:
            family, *_, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0]
            listener = socket.create_server(address[:2], family=family, backlog=PLACES)
        except OSError as error:
            raise DeviceError(
                f"The renewal door cannot listen on {self._host}:{self._port} ({error.strerror}).",
                next_step="End the program that holds the port; the broker has no listener there any more.",
            ) from None
        listener.setblocking(False)
        return listener

    async def _accepted(self, listener: socket.socket) -> socket.socket:
        while True:
            try:
                line, _ = await asyncio.get_running_loop().sock_accept(listener)
            except OSError as error:  # who came is gone, or the process has no files left
                log.warning("nobody let in", error=error.strerror)
                await asyncio.sleep(0.1)
            else:
                return line

    def _leave(self, visit: asyncio.Task[None]) -> None:
        self._visits.discard(visit)
        self._places.release()

    async def _visit(self, line: socket.socket) -> None:
        """One connection. What strangers send ends it, and nothing else."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport: asyncio.BaseTransport | None = None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                transport, _ = await loop.connect_accepted_socket(lambda: protocol, line, ssl=self._context)
                question = await reader.readexactly(length_of(await reader.readexactly(LENGTH_BYTES)))
            async with self._turns:
                answer = await self._answer(question)
            async with asyncio.timeout(TIMEOUT_S):
                writer = asyncio.StreamWriter(transport, protocol, reader, loop)
                writer.write(framed(answer))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except RekamError as error:
            log.info("not answered", **error.diagnostics())
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # who comes to this door may do as they like
        except Exception as error:  # noqa: BLE001 - one question must not end the service of all the others
            log.critical("question dropped", error=type(error).__name__)
        finally:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
            line.close()
