"""Drivers of devices behind the MOSIP Secure Biometric Interface: finger, iris and face.

The device is looked for on the port range of SBI, must identify itself with a certificate chain that ends in the
trust file, and every sample must be signed by that same device for this very capture.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cryptography import x509

from contract import face_image, finger_image, iris_image
from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, DeviceError, RemoteError
from contract.image_formats import decode_image
from contract.sample import FingerPosition, IrisPosition
from edge.sensors.interface import DeviceInfo, Frame, Pixels
from edge.sensors.sbi_frames import (
    EYE_NAMES,
    FINGER_NAMES,
    PORT_FIRST,
    PORT_LAST,
    CaptureOrder,
    DeviceFacts,
    DeviceRefusal,
    SignedSample,
    capture_body,
    parse_capture,
    parse_device_info,
    parse_discovery,
)
from edge.sensors.sbi_link import exchange

QUERY_TIMEOUT_S = 3.0
ANSWER_MARGIN_S = 3.0
TRUST_BYTES_MAX = 1024 * 1024


class SbiClient:
    """One SBI device of one kind.

    kind: Finger, Iris or Face. trust_file: PEM certificates of the trust providers. port: of the device's service, 0
    searches the range. serial: the device that must answer, empty for any. sub_id: part of the device, such as one
    slap of a ten-print scanner. environment: as the device was provisioned. score_min: asked of the device.
    """

    kind = ""

    def __init__(
        self,
        *,
        trust_file: str,
        port: int = 0,
        serial: str = "",
        sub_id: int = 0,
        environment: str = "Production",
        score_min: int = 40,
        clock: Clock | None = None,
    ) -> None:
        self._trust_file, self._wanted_port, self._serial = trust_file, port, serial
        self._sub_id, self._environment, self._score_min = sub_id, environment, score_min
        self._clock = clock or SystemClock()
        self._trust: tuple[x509.Certificate, ...] = ()
        self._port = 0
        self._device: DeviceFacts | None = None

    def open(self) -> DeviceInfo:
        """Find the device, verify who it is, and that it is ready. Raises DeviceError."""
        self.close()
        self._trust = self._load_trust()
        ports = (self._wanted_port,) if self._wanted_port else range(PORT_FIRST, PORT_LAST + 1)
        reasons: list[str] = []
        for port in ports:
            device = self._device_on(port, reasons)
            if device is not None:
                self._port, self._device = port, device
                return DeviceInfo(
                    driver="sbi",
                    model=f"{device.make} {device.model}".strip(),
                    serial=device.serial,
                    firmware=device.firmware,
                    capabilities=(device.kind.lower(), f"port {port}"),
                )
        why = f" {reasons[-1]}" if reasons else ""
        raise DeviceError(
            f"No SBI device for {self.kind} is ready on ports {ports[0]}–{ports[-1]}.{why}",
            next_step="Start the device's service; check trust_file and serial.",
        )

    def close(self) -> None:
        """Forget the device; SBI keeps no session."""
        self._device = None

    def _device_on(self, port: int, reasons: list[str]) -> DeviceFacts | None:
        """The device behind a port, if it is of this kind and trusted; why not is noted in `reasons`."""
        never = threading.Event()
        request = f'{{"type": "{self.kind}"}}'.encode()
        try:
            notices = parse_discovery(
                exchange(
                    port, "MOSIPDISC", "/device", request, timeout_s=QUERY_TIMEOUT_S, cancel=never, clock=self._clock
                )
            )
            if not any(notice.kind == self.kind for notice in notices):
                return None
            answer = exchange(
                port, "MOSIPDINFO", "/info", b"", timeout_s=QUERY_TIMEOUT_S, cancel=never, clock=self._clock
            )
            devices = parse_device_info(answer, self._trust, self._clock.wall_ms())
        except RemoteError as error:
            reasons.append(error.message)
            return None
        except DeviceError as error:
            if self._wanted_port:
                reasons.append(error.message)
            return None
        for device in devices:
            if device.kind == self.kind and self._serial in ("", device.serial):
                if device.ready:
                    return device
                reasons.append(f"The device {device.serial} is not ready.")
        return None

    def _capture(self, names: tuple[str, ...], timeout_s: float, cancel: threading.Event) -> tuple[SignedSample, ...]:
        """The verified samples of one RCAPTURE. Raises CaptureRetry, DeviceError."""
        if self._device is None:
            raise DeviceError(f"The SBI device for {self.kind} is not open.")
        order = CaptureOrder(
            transaction_id=secrets.token_hex(16),
            kind=self.kind,
            names=names,
            device_id=self._device.device_id,
            sub_id=self._sub_id,
            timeout_ms=max(1, round(timeout_s * 1000)),
            score_min=self._score_min,
            environment=self._environment,
            time_ms=self._clock.wall_ms(),
        )
        answer = exchange(
            self._port,
            "RCAPTURE",
            "/capture",
            capture_body(order),
            timeout_s=timeout_s + ANSWER_MARGIN_S,
            cancel=cancel,
            clock=self._clock,
        )
        try:
            result = parse_capture(answer, order, self._device, self._trust, self._clock.wall_ms())
        except RemoteError as error:
            raise DeviceError(
                f"The SBI device's capture was refused: {error.message}", next_step=error.next_step
            ) from error
        if isinstance(result, DeviceRefusal):
            message = f"The device reports {result.code}: {result.words or 'no reason'}."
            if result.may_retry:
                raise CaptureRetry(message)
            raise DeviceError(message)
        return result

    def _load_trust(self) -> tuple[x509.Certificate, ...]:
        try:
            return tuple(x509.load_pem_x509_certificates(Path(self._trust_file).read_bytes()[:TRUST_BYTES_MAX]))
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"The trust file of the SBI device cannot be read: {type(error).__name__}.",
                next_step="Put the trust providers' certificates into trust_file, in PEM.",
            ) from error

    def _metadata(self, sample: SignedSample) -> dict[str, str]:
        device = self._device
        return {"device_quality": f"{sample.quality:.0f}", "device_serial": device.serial if device else ""}


class SbiFingerScanner(SbiClient):
    """A FingerprintScanner behind SBI."""

    kind = "Finger"

    def capture(self, position: FingerPosition, timeout_s: float, cancel: threading.Event) -> Frame:
        """One finger, at the resolution of its ISO/IEC 19794-4 record."""
        (sample,) = _exactly(1, self._capture((FINGER_NAMES[position],), timeout_s, cancel))
        try:
            record = finger_image.decode_record(sample.record)
            image = record.images[0]
            pixels = _pixels(image, record.compression)
        except RemoteError as error:
            raise DeviceError(f"The SBI device sent no finger image: {error.message}") from error
        if image.position not in (position, FingerPosition.UNKNOWN):
            raise DeviceError("The SBI device sent another finger than was asked for.")
        return Frame(
            pixels=pixels, ppi=record.ppi, metadata={**self._metadata(sample), "finger_position": str(int(position))}
        )


class SbiIrisScanner(SbiClient):
    """An IrisScanner behind SBI."""

    kind = "Iris"

    def capture(self, positions: Sequence[IrisPosition], timeout_s: float, cancel: threading.Event) -> Sequence[Frame]:
        """One picture for each asked eye, of its ISO/IEC 19794-6 record."""
        names = tuple(EYE_NAMES[position] for position in positions)
        frames = []
        for position, sample in zip(
            positions, _exactly(len(names), self._capture(names, timeout_s, cancel)), strict=True
        ):
            try:
                pixels = decode_image(iris_image.decode_record(sample.record).images[0].image)
            except RemoteError as error:
                raise DeviceError(f"The SBI device sent no iris image: {error.message}") from error
            frames.append(Frame(pixels=pixels, metadata={**self._metadata(sample), "eye": IrisPosition(position).name}))
        return frames


class SbiCamera(SbiClient):
    """A Camera behind SBI, without a live picture: `preview` captures."""

    kind = "Face"

    def capture(self, timeout_s: float, cancel: threading.Event) -> Frame:
        """One portrait, RGB, of its ISO/IEC 19794-5 record."""
        (sample,) = _exactly(1, self._capture((), timeout_s, cancel))
        try:
            pixels = decode_image(face_image.decode_record(sample.record).images[0].image, colour=True)
        except RemoteError as error:
            raise DeviceError(f"The SBI device sent no portrait: {error.message}") from error
        return Frame(pixels=pixels, metadata=self._metadata(sample))

    def preview(self, timeout_s: float) -> Frame:
        """A portrait of now."""
        return self.capture(timeout_s, threading.Event())


def _pixels(image: finger_image.FingerImage, compression: finger_image.Compression) -> Pixels:
    """The picture of a record: a file of its format, or bare samples. Raises RemoteError."""
    if compression.image_format is not None:
        return decode_image(image.image)
    samples = np.frombuffer(image.image, dtype=np.uint8)
    if samples.size != image.width_px * image.height_px:
        raise RemoteError("The samples do not fill the picture.")
    return samples.reshape(image.height_px, image.width_px)


def _exactly(count: int, samples: tuple[SignedSample, ...]) -> tuple[SignedSample, ...]:
    if len(samples) != count:
        raise DeviceError(f"The SBI device sent {len(samples)} samples instead of {count}.")
    return samples
