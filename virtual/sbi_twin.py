"""A device behind the MOSIP Secure Biometric Interface in software: discovery, signed information, signed captures.

It is its own trust provider: `trust_pem` is what a client puts into its trust store. Any SBI client may use it. The
preview verb STREAM is not offered. Pictures are laid before it as before the other twins; a capture waits for them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from numpy.typing import NDArray

from contract import face_image, finger_image, iris_image
from contract.clock import Clock, SystemClock, utc
from contract.image_formats import ImageFormat, encode_image
from contract.sample import FingerPosition, IrisPosition
from edge.sensors.sbi_frames import EYE_NAMES, FINGER_NAMES, PURPOSE, SPEC_VERSION, chained
from edge.sensors.sbi_token_frames import base64url, sign_token

REQUEST_BYTES_MAX = 1024 * 1024
WAIT_S_MAX = 120.0
Grey = NDArray[np.uint8]


class SbiFault(StrEnum):
    """What the device does wrong."""

    NONE = "none"
    NOTHING_SEEN = "nothing seen"
    TAMPERED = "tampered"
    WRONG_CHAIN = "wrong chain"
    WRONG_TRANSACTION = "wrong transaction"
    STALE = "stale"
    STRANGER = "stranger"
    UNSIGNED = "unsigned"
    OTHER_BODY_PART = "other body part"
    NO_JSON = "no json"
    HANG_UP = "hang up"


class Issuer:
    """A trust provider and the keys of one device that it vouches for."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._clock = clock
        ca_key = rsa.generate_private_key(65537, 2048)
        self.key = rsa.generate_private_key(65537, 2048)
        self.anchor = self._certificate(f"{name} Trust", ca_key, f"{name} Trust", ca_key, authority=True)
        self.device = self._certificate(f"{name} Device", self.key, f"{name} Trust", ca_key, authority=False)

    def _certificate(
        self, subject: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey, *, authority: bool
    ) -> x509.Certificate:
        now = utc(self._clock.wall_ms())
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(issuer_key, SHA256())
        )

    def sign(self, payload: Mapping[str, Any]) -> str:
        """A token of the device, with its chain up to the trust provider."""
        return sign_token(payload, self.key, (self.device, self.anchor))


class SbiTwin:
    """One device. kind: Finger, Iris or Face. port: 0 picks a free one; SBI's own range is 4501–4600.

    issuer: keys and trust provider, to be the same device as before; new ones where it is left out.
    """

    def __init__(
        self,
        kind: str,
        port: int = 0,
        *,
        serial: str = "TWIN0000000001",
        issuer: Issuer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.kind, self.serial = kind, serial
        self.fault = SbiFault.NONE
        self._clock = clock or SystemClock()
        self.issuer = issuer or Issuer("Twin", self._clock)
        self._stranger: Issuer | None = None
        self._seen: dict[str, Grey] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name=f"sbi-{self.port}", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._server.server_address[1])

    @property
    def trust_pem(self) -> bytes:
        """The trust provider's certificate, for a client's trust store."""
        return self.issuer.anchor.public_bytes(Encoding.PEM)

    def show(self, name: str, pixels: Grey) -> None:
        """Put a body part before the device. name: its bioSubType, "" for a face. pixels: (H, W), or RGB for a face."""
        with self._changed:
            self._seen[name] = pixels
            self._changed.notify_all()

    def clear(self) -> None:
        """Nobody is there."""
        with self._changed:
            self._seen.clear()

    def close(self) -> None:
        """Stop serving."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def discovery(self) -> list[dict[str, Any]]:
        """The answer to MOSIPDISC."""
        notice = self._facts()
        notice["digitalId"] = base64url(json.dumps(self._digital_id()).encode())
        return [{**notice, "error": {"errorCode": "0", "errorInfo": "Success"}}]

    def information(self) -> list[dict[str, Any]]:
        """The answer to MOSIPDINFO."""
        facts = {**self._facts(), "env": "Production", "firmware": "1.0", "digitalId": self._sign(self._digital_id())}
        return [{"deviceInfo": self._sign(facts), "error": {"errorCode": "0", "errorInfo": "Success"}}]

    def capture(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to RCAPTURE: waits for what was asked for, as long as the request allows."""
        wanted = request["bio"][0]
        names = [str(name) for name in wanted.get("bioSubType") or [""]]
        timeout_s = min(int(request["timeout"]) / 1000, WAIT_S_MAX)
        if self.fault is SbiFault.NOTHING_SEEN:
            return _refused(request, "101", "Unable to detect a biometric object")
        with self._changed:
            if not self._changed.wait_for(lambda: self._closing or all(n in self._seen for n in names), timeout_s):
                return _refused(request, "801", "Capture timed out")
            pictures = {name: self._seen.get(name) for name in names}
        samples, previous = [], str(wanted.get("previousHash") or "")
        for name, pixels in pictures.items():
            if pixels is None:
                return _refused(request, "102", "The service is stopping")
            record = self._record(name, pixels)
            previous = chained(previous, record)
            samples.append(self._sample(request, name, record, previous))
        return {"biometrics": samples}

    def _sample(self, request: Mapping[str, Any], name: str, record: bytes, digest: str) -> dict[str, Any]:
        """One signed sample, with the fault that is set."""
        late_ms = 3_600_000 if self.fault is SbiFault.STALE else 0
        data = {
            "digitalId": self._sign(self._digital_id()),
            "deviceCode": self.serial,
            "deviceServiceVersion": "1.0",
            "bioType": self.kind,
            "bioSubType": (name or None) if self.fault is not SbiFault.OTHER_BODY_PART else "Left Thumb",
            "purpose": request["purpose"],
            "env": request["env"],
            "bioValue": base64url(record),
            "transactionId": request["transactionId"] if self.fault is not SbiFault.WRONG_TRANSACTION else "before",
            "timestamp": utc(self._clock.wall_ms() - late_ms).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "requestedScore": request["bio"][0].get("requestedScore"),
            "qualityScore": "80",
        }
        token = self._sign(data)
        if self.fault is SbiFault.TAMPERED:
            head, body, signature = token.split(".")
            token = f"{head}.{body[:-8]}AAAAAAAA.{signature}"
        elif self.fault is SbiFault.UNSIGNED:
            unsigned = base64url(json.dumps({"alg": "none"}).encode())
            token = f"{unsigned}.{token.split('.')[1]}."
        return {
            "specVersion": SPEC_VERSION,
            "data": token,
            "hash": digest if self.fault is not SbiFault.WRONG_CHAIN else "00" * 32,
            "error": {"errorCode": "0", "errorInfo": "Success"},
        }

    def _record(self, name: str, pixels: Grey) -> bytes:
        """The ISO/IEC 19794 record of a picture, with JPEG 2000 inside."""
        image = encode_image(pixels, ImageFormat.JPEG2000)
        height, width = pixels.shape[:2]
        if self.kind == "Finger":
            position = FingerPosition(FINGER_NAMES.index(name))
            view = finger_image.FingerImage(position, width, height, image)
            return finger_image.encode_record(
                finger_image.FingerImageRecord((view,), finger_image.Compression.JPEG2000, ppi=500)
            )
        if self.kind == "Iris":
            eye = iris_image.IrisImage(
                IrisPosition(EYE_NAMES.index(name)),
                iris_image.IrisImageKind.UNCROPPED,
                iris_image.IrisImageFormat.JPEG2000,
                width,
                height,
                image,
            )
            return iris_image.encode_record(iris_image.IrisImageRecord((eye,)))
        return face_image.encode_record(face_image.FaceImageRecord((face_image.FaceImage(width, height, image),)))

    def _sign(self, payload: Mapping[str, Any]) -> str:
        if self.fault is not SbiFault.STRANGER:
            return self.issuer.sign(payload)
        self._stranger = self._stranger or Issuer("Stranger", self._clock)
        return self._stranger.sign(payload)

    def _facts(self) -> dict[str, Any]:
        return {
            "deviceId": self.serial,
            "deviceStatus": "Ready",
            "certification": "L0",
            "serviceVersion": "1.0",
            "deviceSubId": ["0"],
            "callbackId": f"http://127.0.0.1:{self.port}/",
            "deviceCode": self.serial,
            "specVersion": [SPEC_VERSION],
            "purpose": PURPOSE,
        }

    def _digital_id(self) -> dict[str, str]:
        return {
            "serialNo": self.serial,
            "make": "Virtual",
            "model": f"{self.kind} twin",
            "type": self.kind,
            "deviceSubType": "Full face" if self.kind == "Face" else "Single",
            "deviceProvider": "Virtual",
            "deviceProviderId": "VIRTUAL",
            "dateTime": utc(self._clock.wall_ms()).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


def _refused(request: Mapping[str, Any], code: str, words: str) -> dict[str, Any]:
    error = {"errorCode": code, "errorInfo": words}
    return {"biometrics": [{"specVersion": request.get("specVersion"), "data": "", "hash": "", "error": error}]}


def _handler(twin: SbiTwin) -> type[BaseHTTPRequestHandler]:
    """The HTTP side of a twin: one method for each verb."""

    class Handler(BaseHTTPRequestHandler):
        """Answers one connection."""

        timeout = WAIT_S_MAX

        def _reply(self, make: Callable[[Mapping[str, Any]], object]) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), REQUEST_BYTES_MAX)
            body = self.rfile.read(length)
            if twin.fault is SbiFault.HANG_UP:
                return
            try:
                content = json.dumps(make(json.loads(body or b"{}"))).encode()
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                self.send_error(HTTPStatus.BAD_REQUEST)
                return
            if twin.fault is SbiFault.NO_JSON:
                content = b"<html>"
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content)
            except OSError:
                self.close_connection = True

        def do_MOSIPDISC(self) -> None:
            """Discovery."""
            self._reply(lambda request: twin.discovery())

        def do_MOSIPDINFO(self) -> None:
            """Device information."""
            self._reply(lambda request: twin.information())

        def do_RCAPTURE(self) -> None:
            """Registration capture."""
            self._reply(twin.capture)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Nothing is logged: requests carry biometrics."""

    return Handler
