"""A device behind the MOSIP Secure Biometric Interface in software: discovery, signed facts, live stream, captures.

It is its own trust provider: `trust_pem` is what a client puts into its trust store. Pictures are laid before it as
before the other twins; a capture waits for them, and the live stream shows them. `virtual.sbi_service` runs one for
any SBI client.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.serialization import Encoding
from numpy.typing import NDArray

from contract import face_image, finger_image, iris_image
from contract.clock import Clock, SystemClock, utc
from contract.finger_image import SLAP_FINGERS, SlapPosition
from contract.image_formats import ImageFormat, encode_image
from contract.sample import FingerPosition, IrisPosition
from edge.sensors.sbi_frames import EYE_NAMES, FINGER_NAMES, PURPOSE, SPEC_VERSION, chained
from edge.sensors.sbi_stream_frames import CONTENT_TYPE, encode_part
from edge.sensors.sbi_token_frames import base64url
from virtual.camera_twin import encoded
from virtual.sbi_issuer import Issuer

REQUEST_BYTES_MAX = 1024 * 1024
WAIT_S_MAX = 120.0
STREAM_PERIOD_S = 1 / 15
STREAM_JPEG_QUALITY = 80
DARK = (120, 160)
SUB_KINDS = {"Finger": "Single", "Iris": "Double", "Face": "Full face"}
SLAPS = {"1": SlapPosition.LEFT_FOUR, "2": SlapPosition.RIGHT_FOUR, "3": SlapPosition.THUMBS}
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


class StreamFault(StrEnum):
    """What the device does wrong with its live picture."""

    NONE = "none"
    REFUSED = "refused"
    SILENT = "silent"
    NO_LENGTH = "no length"
    HUGE = "huge"
    NO_PICTURE = "no picture"
    CUT = "cut"


class SbiTwin:
    """One device. kind: Finger, Iris or Face. port: 0 picks a free one; SBI's own range is 4501–4600.

    sub_kind: deviceSubType, such as Slap; the usual one of the kind where it is left out. issuer: keys and trust
    provider, to be the same device as before; new ones where it is left out.
    """

    def __init__(
        self,
        kind: str,
        port: int = 0,
        *,
        sub_kind: str = "",
        serial: str = "TWIN0000000001",
        issuer: Issuer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.kind, self.serial, self.sub_kind = kind, serial, sub_kind or SUB_KINDS[kind]
        self.fault = SbiFault.NONE
        self.stream_fault = StreamFault.NONE
        self.requests: list[dict[str, Any]] = []
        self._clock = clock or SystemClock()
        self.issuer = issuer or Issuer("Twin", self._clock)
        self._stranger: Issuer | None = None
        self._seen: dict[str, Grey] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._server = _Service(port, self)
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
        self.requests = [*self.requests[-99:], dict(request)]
        wanted = request["bio"][0]
        names = self._wanted(wanted)
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

    def _wanted(self, wanted: Mapping[str, Any]) -> list[str]:
        """The bioSubTypes that a capture asks for; a slap scanner that is told none takes its whole part."""
        named = [str(name) for name in wanted.get("bioSubType") or []]
        if named or self.sub_kind != "Slap":
            return named or [""]
        absent = {str(name) for name in wanted.get("exception") or []}
        fingers = SLAP_FINGERS[SLAPS[str(wanted["deviceSubId"])]]
        return [FINGER_NAMES[finger] for finger in fingers if FINGER_NAMES[finger] not in absent]

    def stream(self, write: Callable[[bytes], object]) -> None:
        """Send live pictures until `write` fails or the twin is closed."""
        shown: Grey | None = None
        part = b""
        while True:
            with self._changed:
                if self._closing:
                    return
                now = next(reversed(self._seen.values()), None) if self._seen else None
            if now is not shown or not part:
                shown = now
                part = self._part(np.zeros(DARK, np.uint8) if shown is None else shown)
            write(part)
            with self._changed:
                self._changed.wait_for(lambda: self._closing, STREAM_PERIOD_S)
            if self.stream_fault is StreamFault.CUT:
                return

    def _part(self, pixels: Grey) -> bytes:
        """One part of the stream, with the fault that is set."""
        if self.stream_fault is StreamFault.NO_PICTURE:
            return encode_part(b"no picture")
        part = encode_part(encoded(pixels, jpeg_quality=STREAM_JPEG_QUALITY).data)
        head, end, jpeg = part.partition(b"\r\n\r\n")
        if self.stream_fault is StreamFault.NO_LENGTH:
            return head.rpartition(b"\r\n")[0] + end + jpeg
        if self.stream_fault is StreamFault.HUGE:
            return head + b"000000" + end + jpeg
        return part[: len(part) // 2] if self.stream_fault is StreamFault.CUT else part

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
            "deviceSubId": ["1", "2", "3"] if self.sub_kind in ("Slap", "Double") else ["0"],
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
            "deviceSubType": self.sub_kind,
            "deviceProvider": "Virtual",
            "deviceProviderId": "VIRTUAL",
            "dateTime": utc(self._clock.wall_ms()).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


def _refused(request: Mapping[str, Any], code: str, words: str) -> dict[str, Any]:
    error = {"errorCode": code, "errorInfo": words}
    return {"biometrics": [{"specVersion": request.get("specVersion"), "data": "", "hash": "", "error": error}]}


class _Service(ThreadingHTTPServer):
    """The HTTP side of a twin: a thread for each connection."""

    daemon_threads = True

    def __init__(self, port: int, twin: SbiTwin) -> None:
        self.twin = twin
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: _Service
    timeout = WAIT_S_MAX

    def _reply(self, make: Callable[[Mapping[str, Any]], object], body: bytes | None = None) -> None:
        if body is None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), REQUEST_BYTES_MAX))
        if self.server.twin.fault is SbiFault.HANG_UP:
            return
        try:
            content = json.dumps(make(json.loads(body or b"{}"))).encode()
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        if self.server.twin.fault is SbiFault.NO_JSON:
            content = b"<html>"
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True

    def do_MOSIPDISC(self) -> None:
        """Discovery."""
        self._reply(lambda request: self.server.twin.discovery())

    def do_MOSIPDINFO(self) -> None:
        """Device information."""
        self._reply(lambda request: self.server.twin.information())

    def do_RCAPTURE(self) -> None:
        """Registration capture."""
        self._reply(self.server.twin.capture)

    def do_STREAM(self) -> None:
        """Live pictures until the client hangs up."""
        self.rfile.read(min(int(self.headers.get("Content-Length") or 0), REQUEST_BYTES_MAX))
        if self.server.twin.stream_fault is StreamFault.REFUSED:
            self._reply(lambda _: {"error": {"errorCode": "106", "errorInfo": "Device not found"}}, body=b"{}")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.end_headers()
        try:
            if self.server.twin.stream_fault is not StreamFault.SILENT:
                self.server.twin.stream(self.wfile.write)
            else:
                self.rfile.read(1)  # the client hangs up first
        except OSError:
            self.close_connection = True

    def do_OPTIONS(self) -> None:
        """A browser asks first whether it may use these verbs."""
        self.send_response(HTTPStatus.NO_CONTENT)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Methods", "MOSIPDISC, MOSIPDINFO, STREAM, RCAPTURE, OPTIONS")
        self.send_header("Access-Control-Allow-Headers", "Content-Type")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Nothing is logged: requests carry biometrics."""
