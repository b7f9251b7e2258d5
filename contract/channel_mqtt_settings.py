"""Who and where a unit or the hub is on the line, how it waits, and what it hears when the line breaks."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contract.errors import DeviceError, TransientError

REASONS_TOO_LARGE = (0x95, 0x97)  # packet too large, quota exceeded
ACKNOWLEDGE_TIMEOUT_S = 180.0  # a window of chunks on a line of 24 kbit/s
CONNECT_TIMEOUT_S = 10.0


class Disconnected(TransientError):
    """There is no connection, or it ended. reason_code: the broker's (MQTT 5, 3.14.2.1), or None for the network."""

    default_next_step = "The unit connects again by itself; if this lasts, press 'link check'."

    def __init__(self, message: str, reason_code: int | None = None, *, nobody_listens: bool = False) -> None:
        """nobody_listens: the machine answered, and no broker is there."""
        super().__init__(message)
        self.reason_code = reason_code
        self.nobody_listens = nobody_listens

    @classmethod
    def before_it_began(cls, error: OSError | ValueError) -> Disconnected:
        """There is no connection to the broker's port, or no TLS on it."""
        told = f"The broker cannot be reached ({type(error).__name__}: {error})."
        return cls(told, nobody_listens=isinstance(error, ConnectionRefusedError))

    @property
    def too_large(self) -> bool:
        """Whether the broker ended it because a packet was larger than it takes."""
        return self.reason_code in REASONS_TOO_LARGE


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when the connection breaks."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: the n-th wait is uniform in 0 … min(max, first·2ⁿ) seconds.

    absent_max_s: the longest wait while nobody listens. Asking again then costs a packet each way and no handshake, so
    a fleet that waits for its broker is back within that time of its return, spread over it.
    """

    first_s: float = 1.0
    max_s: float = 60.0
    absent_max_s: float = 4.0

    def wait_s(self, failures: int, uniform: Callable[[float, float], float], *, nobody_listens: bool = False) -> float:
        """How long to wait after `failures` ≥ 1 failures in a row."""
        longest_s = min(self.max_s, self.absent_max_s) if nobody_listens else self.max_s
        return uniform(0.0, min(longest_s, self.first_s * 2.0 ** min(failures - 1, 30)))


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """Where the broker is and who we are. The client id is the certificate's common name: one live session a unit.

    in_flight_max, receive_maximum: messages sent, and heard, that are not acknowledged yet.
    """

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path
    client_id: str
    keepalive_s: int = 20
    session_expiry_s: int = 0
    backoff: Backoff = Backoff()
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    acknowledge_timeout_s: float = ACKNOWLEDGE_TIMEOUT_S
    in_flight_max: int = 16
    receive_maximum: int = 32


class KeptContext:
    """The TLS context of a line, made anew only where one of its files is another than it was.

    A fleet that waits for its broker asks again and again; making a context is dearer than all the rest of asking.
    """

    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None
        self._files: tuple[object, ...] = ()

    def of(self, settings: MqttSettings) -> ssl.SSLContext:
        """The context for these settings. Raises DeviceError as `tls_context` does."""
        # Looked at before they are read: what is replaced in between is found to be another file the next time.
        files = tuple(_identity(path) for path in (settings.ca, settings.certificate, settings.key))
        if self._context is None or files != self._files:
            self._context, self._files = tls_context(settings), files
        return self._context


def _identity(path: Path) -> tuple[object, ...]:
    """What changes when a file is replaced or written; a file that is not there is like no other."""
    try:
        found = path.stat()
    except OSError:
        return (object(),)
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def tls_context(settings: MqttSettings) -> ssl.SSLContext:
    """Mutual TLS 1.2 or later, the host's name checked. Raises DeviceError where a file cannot be used."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=settings.ca)
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"The certificate or key of '{settings.client_id}' cannot be used ({type(error).__name__}).",
            next_step="Run the setup or commissioning command for this machine again.",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
