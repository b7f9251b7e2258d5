"""One device behind the MOSIP Secure Biometric Interface, as its drivers use it: found, trusted, watched, captured.

The device is looked for on the port range of SBI, must identify itself with a certificate chain that ends in the
trust file, and every sample must be signed by that same device for this very capture. Its live picture is unsigned and
is shown only. A capture ends the live picture: a device has one sensor.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from cryptography import x509

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError, RemoteError
from edge.sensors.http_snapshot import decode_picture, is_small_jpeg, reduced
from edge.sensors.interface import DeviceInfo, Frame
from edge.sensors.sbi_frames import (
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
    stream_body,
)
from edge.sensors.sbi_link import SbiStream, exchange, refused

QUERY_TIMEOUT_S = 3.0
ANSWER_MARGIN_S = 3.0
TRUST_BYTES_MAX = 1024 * 1024
PREVIEW_WIDTH_PX = 480
STREAM_MS = 60_000
STREAM_IDLE_MS_MAX = 1000


class SbiClient:
    """One SBI device of one kind.

    kind: Finger, Iris or Face. trust_file: PEM certificates of the trust providers. port: of the device's service, 0
    searches the range. serial: the device that must answer, empty for any. sub_id: part of the device, such as one
    slap of a ten-print scanner. environment: as the device was provisioned. score_min: asked of the device.
    """

    kind = ""
    sub_kinds: frozenset[str] = frozenset()  # deviceSubTypes that can serve; empty for any

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
        self._stream: SbiStream | None = None
        self._watched_ms = 0

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
                    capabilities=(device.kind.lower(), "preview", f"port {port}"),
                )
        why = f" {reasons[-1]}" if reasons else ""
        raise DeviceError(
            f"No SBI device for {self.kind} is ready on ports {ports[0]}–{ports[-1]}.{why}",
            next_step="Start the device's service; check trust_file and serial.",
        )

    def close(self) -> None:
        """Forget the device and end its live picture; SBI keeps no session."""
        self._device = None
        self._end_stream()

    def preview(self, timeout_s: float) -> Frame:
        """The live picture of now: RGB of a face, elsewise grey. Raises DeviceError, CaptureRetry."""
        return self._small(self._newest(timeout_s))

    def preview_encoded(self, timeout_s: float) -> bytes | Frame:
        """The same as the device sent it, where that is small. Raises as `preview` does."""
        data = self._newest(timeout_s)
        return data if is_small_jpeg(data, PREVIEW_WIDTH_PX) else self._small(data)

    def _small(self, data: bytes) -> Frame:
        try:
            return Frame(pixels=reduced(decode_picture(data, colour=self.kind == "Face"), PREVIEW_WIDTH_PX))
        except BaseException:
            self._end_stream()
            raise

    def _newest(self, timeout_s: float) -> bytes:
        """The newest picture of the stream, which is asked for where there is none."""
        device = self._opened()
        now_ms = self._clock.monotonic_ms()
        if self._stream is not None and now_ms - self._watched_ms > STREAM_IDLE_MS_MAX:
            self._end_stream()  # what waits in it is of a while ago
        if self._stream is None:
            body = stream_body(device.device_id, self._sub_id, STREAM_MS)
            self._stream = SbiStream(self._port, body, timeout_s=timeout_s, clock=self._clock)
        try:
            data = self._stream.newest(timeout_s)
        except BaseException:
            self._end_stream()
            raise
        self._watched_ms = self._clock.monotonic_ms()
        return data

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _opened(self) -> DeviceFacts:
        if self._device is None:
            raise DeviceError(f"The SBI device for {self.kind} is not open.")
        return self._device

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
            if device.kind != self.kind or self._serial not in ("", device.serial):
                continue
            if self.sub_kinds and device.sub_kind not in self.sub_kinds:
                reasons.append(f"The device {device.serial} is of kind {device.sub_kind!r}.")
            elif not device.ready:
                reasons.append(f"The device {device.serial} is not ready.")
            else:
                return device
        return None

    def take(
        self,
        names: tuple[str, ...],
        timeout_s: float,
        cancel: threading.Event,
        *,
        sub_id: int = 0,
        missing: tuple[str, ...] = (),
    ) -> tuple[SignedSample, ...]:
        """The verified samples of one RCAPTURE, in the order of `names`. Raises CaptureRetry, DeviceError.

        sub_id: part of the device where the settings name none. missing: names that the person does not have.
        """
        device = self._opened()
        self._end_stream()
        order = CaptureOrder(
            transaction_id=secrets.token_hex(16),
            kind=self.kind,
            names=names,
            device_id=device.device_id,
            sub_id=self._sub_id or sub_id,
            timeout_ms=max(1, round(timeout_s * 1000)),
            score_min=self._score_min,
            environment=self._environment,
            time_ms=self._clock.wall_ms(),
            missing=missing,
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
            result = parse_capture(answer, order, device, self._trust, self._clock.wall_ms())
        except RemoteError as error:
            raise DeviceError(
                f"The SBI device's capture was refused: {error.message}", next_step=error.next_step
            ) from error
        if isinstance(result, DeviceRefusal):
            raise refused(result)
        if names and len(result) != len(names):
            raise DeviceError(f"The SBI device sent {len(result)} samples instead of {len(names)}.")
        return result

    def _load_trust(self) -> tuple[x509.Certificate, ...]:
        try:
            return tuple(x509.load_pem_x509_certificates(Path(self._trust_file).read_bytes()[:TRUST_BYTES_MAX]))
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"The trust file of the SBI device cannot be read: {type(error).__name__}.",
                next_step="Put the trust providers' certificates into trust_file, in PEM.",
            ) from error

    def metadata(self, sample: SignedSample) -> dict[str, str]:
        """What a sample's frame says of its making."""
        device = self._device
        return {"device_quality": f"{sample.quality:.0f}", "device_serial": device.serial if device else ""}
