"""HTTP with an SBI device on loopback: any verb, bounded in time and size, ended by `cancel`; and its live stream.

A capture answers only when the finger came, which may take a minute: the socket is read in short steps, so that the
officer can cancel meanwhile; closing the connection is how a device learns of it.
"""

from __future__ import annotations

import select
import socket
import threading

import h11

from contract.clock import Clock
from contract.errors import CaptureRetry, DeviceError, RemoteError
from edge.sensors.sbi_frames import MESSAGE_BYTES_MAX, DeviceRefusal, parse_refusal
from edge.sensors.sbi_stream_frames import HEAD_BYTES_MAX, StreamReader

STEP_S = 0.1
CONNECT_S = 0.5
HTTP_OK = 200
READ_BYTES = 65_536
STREAM_READS_MAX = 1000
START_SERVICE = "Check that the device and its service are started, then run 'rekam-edge selftest'."


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
    try:
        line, connection = _asked(host, port, verb, path, body, timeout_s)
        with line:
            return _answer(line, connection, deadline_ms, cancel, clock)
    except h11.ProtocolError as error:
        raise DeviceError(f"The device on port {port} speaks no HTTP: {error}.") from error
    except OSError as error:
        raise _unreachable(port, error) from error


class SbiStream:
    """The live pictures of one device, from the moment that it is made until `close`. One thread at a time."""

    def __init__(self, port: int, body: bytes, *, timeout_s: float, clock: Clock, host: str = "127.0.0.1") -> None:
        self._port, self._clock = port, clock
        self._reader = StreamReader()
        self._refusal: bytearray | None = None
        try:
            self._line, self._connection = _asked(host, port, "STREAM", "/stream", body, timeout_s)
        except h11.ProtocolError as error:
            raise DeviceError(f"The device on port {port} speaks no HTTP: {error}.") from error
        except OSError as error:
            raise _unreachable(port, error) from error

    def close(self) -> None:
        """Hang up, which ends the stream; never raises, and may be called twice."""
        self._line.close()

    def newest(self, timeout_s: float) -> bytes:
        """The JPEG that came last, waiting for one where none has come since. Raises DeviceError, CaptureRetry."""
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        newest = b""
        try:
            for _ in range(STREAM_READS_MAX):
                ready, _, _ = select.select([self._line], [], [], 0 if newest else STEP_S)
                if ready:
                    newest = self._taken(self._line.recv(READ_BYTES)) or newest
                elif newest:
                    return newest
                if not newest and self._clock.monotonic_ms() >= deadline_ms:
                    raise DeviceError("The device's live picture did not come in time.", next_step=START_SERVICE)
        except (h11.ProtocolError, RemoteError) as error:
            raise DeviceError(f"The device on port {self._port} sends no live picture: {error}.") from error
        except (OSError, ValueError) as error:
            raise _unreachable(self._port, error) from error
        if not newest:
            raise DeviceError("The device's live picture does not end.", next_step=START_SERVICE)
        return newest

    def _taken(self, data: bytes) -> bytes:
        """The last picture that `data` completes, if any."""
        self._connection.receive_data(data)
        newest = b""
        while (event := self._connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                if event.status_code != HTTP_OK:
                    raise DeviceError(f"The device answers {event.status_code} for its live picture.")
                kind = dict(event.headers).get(b"content-type", b"")
                self._refusal = None if kind.lower().startswith(b"multipart/") else bytearray()
            elif isinstance(event, h11.Data) and self._refusal is not None:
                self._refusal += event.data
                if len(self._refusal) > HEAD_BYTES_MAX:
                    raise RemoteError("The device answers something else than pictures.")
            elif isinstance(event, h11.Data):
                newest = (self._reader.feed(bytes(event.data)) or [newest])[-1]
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                if newest:
                    break
                if self._refusal:
                    raise refused(parse_refusal(bytes(self._refusal)))
                raise DeviceError("The device ended its live picture.", next_step=START_SERVICE)
        return newest


def refused(refusal: DeviceRefusal) -> CaptureRetry | DeviceError:
    """A device's own error as ours: the person can do something about some of them."""
    message = f"The device reports {refusal.code}: {refusal.words or 'no reason'}."
    kind = CaptureRetry if refusal.may_retry else DeviceError
    return kind(message, next_step=refusal.next_step)


def _unreachable(port: int, error: BaseException) -> DeviceError:
    return DeviceError(f"The device on port {port} cannot be reached: {type(error).__name__}.", next_step=START_SERVICE)


def _asked(
    host: str, port: int, verb: str, path: str, body: bytes, timeout_s: float
) -> tuple[socket.socket, h11.Connection]:
    """A connection on which a request was sent. Raises OSError."""
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
    line = socket.create_connection((host, port), timeout=min(CONNECT_S, timeout_s))
    try:
        line.settimeout(max(STEP_S, timeout_s))
        line.sendall(
            b"".join(connection.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage()))
        )
        line.settimeout(STEP_S)
    except BaseException:
        line.close()
        raise
    return line, connection


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
