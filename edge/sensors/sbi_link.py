"""One HTTP exchange with an SBI device on loopback: any verb, bounded in time and size, ended by `cancel`.

A capture answers only when the finger came, which may take a minute: the socket is read in short steps, so that the
officer can cancel meanwhile; closing the connection is how a device learns of it.
"""

from __future__ import annotations

import socket
import threading

import h11

from contract.clock import Clock
from contract.errors import CaptureRetry, DeviceError
from edge.sensors.sbi_frames import MESSAGE_BYTES_MAX

STEP_S = 0.1
CONNECT_S = 0.5
HTTP_OK = 200
READ_BYTES = 65_536


def exchange(
    port: int,
    verb: str,
    path: str,
    body: bytes,
    *,
    timeout_s: float,
    cancel: threading.Event,
    clock: Clock,
    host: str = "127.0.0.1",
) -> bytes:
    """The body of the device's answer. Raises DeviceError, or CaptureRetry when cancelled."""
    deadline_ms = clock.monotonic_ms() + round(timeout_s * 1000)
    connection = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=64 * 1024)
    request = h11.Request(
        method=verb,
        target=path,
        headers=[
            ("Host", f"{host}:{port}"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ],
    )
    try:
        with socket.create_connection((host, port), timeout=min(CONNECT_S, timeout_s)) as line:
            line.settimeout(max(STEP_S, timeout_s))
            line.sendall(
                b"".join(connection.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage()))
            )
            line.settimeout(STEP_S)
            return _answer(line, connection, deadline_ms, cancel, clock)
    except h11.ProtocolError as error:
        raise DeviceError(f"The device on port {port} speaks no HTTP: {error}.") from error
    except OSError as error:
        raise DeviceError(
            f"The device on port {port} cannot be reached: {type(error).__name__}.",
            next_step="Check that the device and its service are started, then run 'rekam-edge selftest'.",
        ) from error


def _answer(
    line: socket.socket, connection: h11.Connection, deadline_ms: int, cancel: threading.Event, clock: Clock
) -> bytes:
    content = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if cancel.is_set():
                raise CaptureRetry("The capture was cancelled.")
            if clock.monotonic_ms() >= deadline_ms:
                raise DeviceError("The device did not answer in time.")
            try:
                connection.receive_data(line.recv(READ_BYTES))
            except TimeoutError:
                continue
        elif isinstance(event, h11.Response):
            if event.status_code != HTTP_OK:
                raise DeviceError(f"The device answers {event.status_code}.")
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > MESSAGE_BYTES_MAX:
                raise DeviceError(f"The device's answer is larger than {MESSAGE_BYTES_MAX} bytes.")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(content)
        elif isinstance(event, h11.ConnectionClosed):
            raise DeviceError("The device hung up before its answer was complete.")
