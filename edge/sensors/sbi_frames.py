"""Messages of the MOSIP Secure Biometric Interface (SBI 1.0), without I/O; client and twin share this file.

Devices are found, identified and asked to capture by JSON over HTTP on loopback (verbs MOSIPDISC, MOSIPDINFO, STREAM
and RCAPTURE; the pictures of a stream are in sbi_stream_frames). Device information and every sample are JSON web
signatures. Samples of one capture are chained: hash = SHA-256(hash before ‖ SHA-256(sample)), the first one starting
from SHA-256 of nothing, in upper-case hex.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from contract.clock import utc
from contract.errors import RemoteError
from edge.sensors.sbi_token_frames import from_base64url, json_object, verify_token

PORT_FIRST, PORT_LAST = 4501, 4600
SPEC_VERSION = "1.0"
PURPOSE = "Registration"
MESSAGE_BYTES_MAX = 32 * 1024 * 1024
CLOCK_SKEW_S_MAX = 300
SAMPLES_MAX = 10
SUCCESS = "0"
RETRY_CODES = frozenset({"101", "102", "105", "110", "701", "801"})
ASK_PROVIDER = "Ask the device's provider."
NEXT_STEPS = {
    "100": "Register the device with its provider's management server.",
    "101": "Place the finger or eye as shown, and hold still.",
    "102": "Place the finger or eye again, and hold still.",
    "103": "Take the device out of service: it reports that it was opened.",
    "104": "Check the network to the provider's management server.",
    "105": "Turn the hand or head upright, and try again.",
    "106": "Check the device's cable, then run 'rekam-edge selftest'.",
    "107": "Renew the device's key at its provider.",
    "108": "Install the domain's key in the device's service.",
    "109": "Check sub_id: the device has no such part, or not for so many fingers or eyes.",
    "110": "Place the finger or eye sooner after the signal.",
    "202": "Plug the device in, then run 'rekam-edge selftest'.",
    "701": "Place the finger or eye as shown, and hold still.",
    "801": "Place the finger or eye sooner after the signal.",
}
FINGER_NAMES = (
    "UNKNOWN", "Right Thumb", "Right IndexFinger", "Right MiddleFinger", "Right RingFinger", "Right LittleFinger",
    "Left Thumb", "Left IndexFinger", "Left MiddleFinger", "Left RingFinger", "Left LittleFinger",
)  # fmt: skip
EYE_NAMES = ("UNKNOWN", "Right", "Left")


@dataclass(frozen=True, slots=True)
class DeviceNotice:
    """A device as discovery announces it: unsigned, so only good for finding it."""

    kind: str
    ready: bool


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A device as its signed information describes it. sub_kind: Slap, Single, Double, Touchless or Full face."""

    device_id: str
    device_code: str
    kind: str
    make: str
    model: str
    serial: str
    firmware: str
    ready: bool
    sub_ids: tuple[int, ...]
    sub_kind: str = ""


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """What an RCAPTURE asks for. kind: Finger, Iris or Face. names: bioSubTypes, empty for a face.

    missing: bioSubTypes of the same slap or pair that the person does not have.
    """

    transaction_id: str
    kind: str
    names: tuple[str, ...]
    device_id: str
    sub_id: int
    timeout_ms: int
    score_min: int
    environment: str
    time_ms: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignedSample:
    """One sample whose signature, chain and hash were verified. record: an ISO/IEC 19794 record."""

    name: str
    record: bytes
    quality: float


@dataclass(frozen=True, slots=True)
class DeviceRefusal:
    """The device's own error code instead of a sample."""

    code: str
    words: str

    @property
    def may_retry(self) -> bool:
        """Whether the person can do something about it."""
        return self.code in RETRY_CODES

    @property
    def next_step(self) -> str:
        """What to do about it; codes from 500 on are the provider's own."""
        return NEXT_STEPS.get(self.code, ASK_PROVIDER)


def capture_body(order: CaptureOrder) -> bytes:
    """The body of an RCAPTURE request."""
    wanted = {
        "type": order.kind,
        "count": str(max(1, len(order.names))),
        "bioSubType": list(order.names) or None,
        "exception": list(order.missing),
        "requestedScore": str(order.score_min),
        "deviceId": order.device_id,
        "deviceSubId": str(order.sub_id),
        "previousHash": "",
    }
    message = {
        "env": order.environment,
        "purpose": PURPOSE,
        "specVersion": SPEC_VERSION,
        "timeout": str(order.timeout_ms),
        "captureTime": utc(order.time_ms).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "transactionId": order.transaction_id,
        "bio": [wanted],
        "customOpts": None,
    }
    return json.dumps(message).encode()


def stream_body(device_id: str, sub_id: int, timeout_ms: int) -> bytes:
    """The body of a STREAM request."""
    return json.dumps({"deviceId": device_id, "deviceSubId": str(sub_id), "timeout": str(timeout_ms)}).encode()


def parse_discovery(body: bytes) -> tuple[DeviceNotice, ...]:
    """The devices of a MOSIPDISC answer. Raises RemoteError."""
    found = []
    for entry in _entries(body, "discovery"):
        digital = json_object(from_base64url(str(entry.get("digitalId", ""))), "digital id")
        found.append(DeviceNotice(str(digital.get("type", "")), entry.get("deviceStatus") == "Ready"))
    return tuple(found)


def parse_device_info(body: bytes, trust: Sequence[x509.Certificate], now_ms: int) -> tuple[DeviceFacts, ...]:
    """The devices of a MOSIPDINFO answer, each with its signature verified. Raises RemoteError."""
    found = []
    for entry in _entries(body, "device information"):
        info = verify_token(str(entry.get("deviceInfo", "")), trust, now_ms)
        digital = verify_token(str(info.get("digitalId", "")), trust, now_ms)
        if info.get("purpose") not in (PURPOSE, ""):
            raise RemoteError(f"The device serves {info.get('purpose')!r} and not {PURPOSE}.")
        sub_ids = info.get("deviceSubId", [])
        if not isinstance(sub_ids, list) or not all(isinstance(n, int | str) for n in sub_ids):
            raise RemoteError("The device's sub ids are no list of numbers.")
        try:
            numbers = tuple(int(n) for n in sub_ids[:SAMPLES_MAX])
        except ValueError as error:
            raise RemoteError("The device's sub ids are no list of numbers.") from error
        found.append(
            DeviceFacts(
                device_id=str(info.get("deviceId", "")),
                device_code=str(info.get("deviceCode", "")),
                kind=str(digital.get("type", "")),
                make=str(digital.get("make", "")),
                model=str(digital.get("model", "")),
                serial=str(digital.get("serialNo", "")),
                firmware=str(info.get("firmware", "")),
                ready=info.get("deviceStatus") == "Ready",
                sub_ids=numbers,
                sub_kind=str(digital.get("deviceSubType", "")),
            )
        )
    return tuple(found)


def parse_capture(
    body: bytes, order: CaptureOrder, device: DeviceFacts, trust: Sequence[x509.Certificate], now_ms: int
) -> tuple[SignedSample, ...] | DeviceRefusal:
    """The samples of an RCAPTURE answer, or the device's refusal. Raises RemoteError where anything does not fit.

    Each sample is signed by the device that was asked, made now, for this transaction, and chained to the one before.
    They are given in the order that was asked for; the device may send them in another.
    """
    answer = json_object(body, "capture")
    entries = answer.get("biometrics", [answer])
    if not isinstance(entries, list) or not 1 <= len(entries) <= SAMPLES_MAX:
        raise RemoteError("The device's capture holds no list of samples.")
    samples, previous = [], ""
    for entry in entries:
        if not isinstance(entry, dict):
            raise RemoteError("The device's capture holds something else than samples.")
        if (refusal := _refusal(entry)) is not None:
            return refusal
        data = verify_token(str(entry.get("data", "")), trust, now_ms)
        record = from_base64url(str(data.get("bioValue", "")))
        _check_sample(data, order, device, trust, now_ms)
        previous = chained(previous, record)
        if str(entry.get("hash", "")).upper() != previous:
            raise RemoteError("The device's samples are not chained as they should be.")
        samples.append(SignedSample(str(data.get("bioSubType") or ""), record, _score(data.get("qualityScore"))))
    found = {sample.name: sample for sample in samples}
    if not order.names:
        return tuple(samples)
    if len(found) != len(samples) or set(found) != set(order.names):
        raise RemoteError("The device captured something else than was asked for.")
    return tuple(found[name] for name in order.names)


def _check_sample(
    data: Mapping[str, Any],
    order: CaptureOrder,
    device: DeviceFacts,
    trust: Sequence[x509.Certificate],
    now_ms: int,
) -> None:
    """That a verified token is the answer to this order, by this device, made now."""
    digital = verify_token(str(data.get("digitalId", "")), trust, now_ms)
    expected = {
        "transactionId": order.transaction_id,
        "bioType": order.kind,
        "purpose": PURPOSE,
        "env": order.environment,
        "deviceCode": device.device_code,
    }
    wrong = [name for name, value in expected.items() if data.get(name) != value]
    if digital.get("serialNo") != device.serial:
        wrong.append("serialNo")
    if wrong:
        raise RemoteError(f"The device's sample does not belong to this capture: {', '.join(wrong)}.")
    if abs(_time_ms(str(data.get("timestamp", ""))) - now_ms) > CLOCK_SKEW_S_MAX * 1000:
        raise RemoteError("The device's sample was not made now.", next_step="Set the clocks of device and unit.")


def chained(previous: str, record: bytes) -> str:
    """The hash of a sample behind the sample whose hash was `previous` ("" for the first), in upper-case hex."""
    before = bytes.fromhex(previous) if previous else hashlib.sha256(b"").digest()
    return hashlib.sha256(before + hashlib.sha256(record).digest()).hexdigest().upper()


def _entries(body: bytes, what: str) -> list[dict[str, Any]]:
    """The devices of a list answer that report no error."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RemoteError(f"The device's {what} is no JSON.") from error
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise RemoteError(f"The device's {what} is no list.")
    return [entry for entry in found[:SAMPLES_MAX] if _refusal(entry) is None]


def parse_refusal(body: bytes) -> DeviceRefusal:
    """The error that a device answers instead of a stream. Raises RemoteError where it is none."""
    refusal = _refusal(json_object(body, "answer"))
    if refusal is None:
        raise RemoteError("The device answers neither pictures nor an error.")
    return refusal


def _refusal(entry: Mapping[str, Any]) -> DeviceRefusal | None:
    """The entry's error, unless it is success."""
    error = entry.get("error")
    if not isinstance(error, dict):
        return None
    code = str(error.get("errorCode", ""))[:10]
    if code in (SUCCESS, ""):
        return None
    return DeviceRefusal(code, str(error.get("errorInfo", error.get("errorinfo", "")))[:200])


def _score(value: object) -> float:
    try:
        return min(100.0, max(0.0, float(str(value))))
    except ValueError:
        return 0.0


def _time_ms(text: str) -> int:
    """Milliseconds of an ISO 8601 time with a zone. Raises RemoteError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RemoteError("The device's time is no ISO 8601 time.") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
