"""The renewal door on the wire: one question, one answer over TLS, for those whom the broker does not let in any more.

Nobody is believed here, so it is not the broker's: there whoever may connect at all can end any session by taking its
client id, and leave retained messages without end. A message is its length (u32, big-endian) and its bytes.
"""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path

from contract.commissioning import MESSAGE_BYTES_MAX
from contract.errors import RemoteError, TransientError

TIMEOUT_S = 20.0
LENGTH_BYTES = 4
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Door:
    """Where the renewal door is. ca: the root's certificate, PEM."""

    host: str
    port: int
    ca: Path


def framed(message: bytes) -> bytes:
    """A message as it goes over the wire."""
    return _LENGTH.pack(len(message)) + message


def length_of(head: bytes) -> int:
    """How many bytes follow these LENGTH_BYTES. Raises RemoteError for more than a message has."""
    (length,) = _LENGTH.unpack(head)
    if not 0 < length <= MESSAGE_BYTES_MAX:
        raise RemoteError("What came at the renewal door is no message.")
    return int(length)


def ask(door: Door, question: bytes) -> bytes:
    """Ask and wait for the answer; blocks. Raises TransientError where there is none, RemoteError for garbage."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=door.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with (
            socket.create_connection((door.host, door.port), timeout=TIMEOUT_S) as raw,
            context.wrap_socket(raw, server_hostname=door.host) as line,
        ):
            line.sendall(framed(question))
            return _exactly(line, length_of(_exactly(line, LENGTH_BYTES)))
    except (OSError, ValueError) as error:
        if isinstance(error, RemoteError):
            raise
        raise TransientError(
            f"The renewal door at {door.host}:{door.port} does not answer ({type(error).__name__}).",
            next_step="It is asked again by itself; if this lasts, check the network, and that the hub runs.",
        ) from None


def _exactly(line: ssl.SSLSocket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        part = line.recv(count - len(content))
        if not part:
            raise OSError("closed")
        content += part
    return content
