"""Why the broker cannot be used: what the TLS handshake says, in the words of the table of problems.

The MQTT client only knows that a connection ended. This opens one connection beside it, reads the alert that a broker
sends after it has looked at a certificate, and blocks for a few seconds at most; call it off the loop.
"""

from __future__ import annotations

import socket
import ssl
from datetime import datetime

from contract.certificates import load_certificate
from contract.channel_mqtt_settings import MqttSettings, tls_context
from contract.commissioning_problems import Problem, Refusal
from contract.errors import DeviceError, RemoteError

TIMEOUT_S = 5.0
ALERT_WAIT_S = 1.0
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def probe(settings: MqttSettings, now: datetime) -> Refusal | None:
    """What keeps this unit from the broker, or None where TLS is in order. now: the unit's clock."""
    try:
        context = tls_context(settings)
    except DeviceError as error:
        return Refusal(Problem.STORE_UNUSABLE, error.message)
    try:
        with socket.create_connection((settings.host, settings.port), timeout=TIMEOUT_S) as raw:
            return _handshake(context, raw, settings, now)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Refusal(Problem.BROKER_UNREACHABLE, f"{settings.host}:{settings.port}: {reason}.")


def _handshake(context: ssl.SSLContext, raw: socket.socket, settings: MqttSettings, now: datetime) -> Refusal | None:
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
            return _clock_or_broker(settings, now)
        return Refusal(Problem.BROKER_UNKNOWN, f"({error.verify_message})")
    except ssl.SSLError as error:
        return Refusal(Problem.BROKER_REFUSES, f"({_alert(error)})")


def _clock_or_broker(settings: MqttSettings, now: datetime) -> Refusal:
    """The broker's certificate and this clock do not agree: say both, the person in front knows what day it is."""
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
