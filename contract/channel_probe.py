"""Why the broker cannot be used: what the TLS handshake says, in the words of the table of problems.

The MQTT client only knows that a connection ended. This opens one connection beside it, reads the alert that a broker
sends after it has looked at a certificate, and blocks for a few seconds at most; call it off the loop.
"""

from __future__ import annotations

import socket
import ssl

from contract.certificates import load_certificate
from contract.channel_mqtt_settings import Disconnected, MqttSettings, tls_context
from contract.clock import SystemClock, utc
from contract.commissioning_problems import Problem, Refusal
from contract.errors import DeviceError, RemoteError

TIMEOUT_S = 5.0
ALERT_WAIT_S = 1.0
# What OpenSSL calls the alerts, and its own complaints, that have a cause of their own.
_ALERTS = {
    "certificate revoked": Problem.CERTIFICATE_REVOKED,
    "certificate expired": Problem.CERTIFICATE_ENDED,
    "alert protocol version": Problem.BROKER_TLS_OLD,
    "protocol version": Problem.BROKER_TLS_OLD,
    "unsupported protocol": Problem.BROKER_TLS_OLD,
    "wrong version number": Problem.BROKER_TLS_OLD,
}
_SAID = {
    0x87: Problem.ACCESS_DENIED,  # not authorized
    0x89: Problem.BROKER_FULL,  # server busy
    0x97: Problem.BROKER_FULL,  # quota exceeded
    0x9F: Problem.BROKER_FULL,  # connection rate exceeded
    0x8E: Problem.NAME_IN_USE,  # session taken over
}
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def probe(settings: MqttSettings) -> Refusal | None:
    """What keeps this unit from the broker, or None where TLS is in order."""
    try:
        with socket.create_connection((settings.host, settings.port), timeout=TIMEOUT_S) as raw:
            return _handshake(tls_context(settings), raw, settings)
    except DeviceError as error:
        return Refusal(Problem.STORE_UNUSABLE, error.message)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Refusal(Problem.BROKER_UNREACHABLE, f"{settings.host}:{settings.port}: {reason}.")


def refusal_of(loss: Disconnected) -> Refusal | None:
    """What a broker said itself when it ended a session or refused one, or None where it said nothing of use."""
    problem = _SAID.get(loss.reason_code or 0)
    return Refusal(problem, f"(MQTT reason 0x{loss.reason_code:02x})") if problem is not None else None


def _handshake(context: ssl.SSLContext, raw: socket.socket, settings: MqttSettings) -> Refusal | None:
    try:
        with context.wrap_socket(raw, server_hostname=settings.host) as line:
            line.settimeout(ALERT_WAIT_S)
            try:
                line.recv(1)
            except TimeoutError:
                return None
            return Refusal(Problem.BROKER_REFUSES, "It closed the connection.")
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
            return _clock_or_broker(settings)
        return Refusal(Problem.BROKER_UNKNOWN, f"({error.verify_message})")
    except (ssl.SSLEOFError, ConnectionError):
        return Refusal(Problem.BROKER_FULL, "It closed the connection before it said who it is.")
    except ssl.SSLError as error:
        alert = _alert(error)
        return Refusal(_ALERTS.get(alert, Problem.BROKER_REFUSES), f"({alert})")


def _clock_or_broker(settings: MqttSettings) -> Refusal:
    """The broker's certificate and this clock do not agree: say both, the person in front knows what day it is.

    TLS goes by the machine's own clock, whatever time its program keeps.
    """
    now = utc(SystemClock().wall_ms())
    detail = f"It shows {now:%Y-%m-%d %H:%M} UTC."
    try:
        found = load_certificate(ssl.get_server_certificate((settings.host, settings.port), timeout=TIMEOUT_S).encode())
        start, end = found.not_valid_before_utc, found.not_valid_after_utc
        detail += f" The broker's certificate is for {start:%Y-%m-%d} to {end:%Y-%m-%d}."
    except (OSError, RemoteError):
        pass
    return Refusal(Problem.CLOCK_WRONG, detail)


def _alert(error: ssl.SSLError) -> str:
    """The alert in a person's words: `sslv3 alert certificate revoked` is what OpenSSL says of it."""
    reason = (error.reason or "no reason given").lower().replace("_", " ")
    return reason.removeprefix("sslv3 alert ").removeprefix("tlsv1 alert ").removeprefix("tlsv13 alert ")
