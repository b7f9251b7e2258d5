"""Devices behind the Secure Biometric Interface: what is not signed by the asked device for this capture is refused."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.clock import SystemClock
from contract.errors import CaptureRetry, DeviceError, RemoteError
from contract.sample import BOTH_EYES, FingerPosition, IrisPosition
from edge.sensors.drivers import open_driver
from edge.sensors.interface import Camera, FingerprintScanner, IrisScanner, LivePicture
from edge.sensors.sbi_frames import (
    CaptureOrder,
    DeviceFacts,
    chained,
    parse_capture,
    parse_device_info,
    parse_discovery,
)
from edge.sensors.sbi_stream_frames import HEAD_BYTES_MAX, PICTURE_BYTES_MAX, StreamReader, encode_part
from edge.sensors.sbi_token_frames import base64url, from_base64url, json_object, verify_token
from virtual.sbi_issuer import Issuer
from virtual.sbi_twin import SbiFault, SbiTwin, StreamFault

NEVER = threading.Event()
INDEX = FingerPosition.RIGHT_INDEX


def picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (64, 48), dtype=np.uint8)


@pytest.fixture(scope="module")
def finger_twin() -> Iterator[SbiTwin]:
    made = SbiTwin("Finger")
    yield made
    made.close()


@pytest.fixture
def twin(finger_twin: SbiTwin) -> SbiTwin:
    finger_twin.fault, finger_twin.stream_fault = SbiFault.NONE, StreamFault.NONE
    finger_twin.clear()
    return finger_twin


@pytest.fixture
def scanner(twin: SbiTwin, tmp_path: Path) -> FingerprintScanner:
    (tmp_path / "trust.pem").write_bytes(twin.trust_pem)
    made = open_driver("finger", {"driver": "sbi", "port": twin.port, "trust_file": str(tmp_path / "trust.pem")})
    assert isinstance(made, FingerprintScanner)
    return made


def test_a_finger_arrives_signed_and_lossless(twin: SbiTwin, scanner: FingerprintScanner) -> None:
    info = scanner.open()
    assert (info.driver, info.serial, info.firmware) == ("sbi", twin.serial, "1.0")
    threading.Timer(0.05, twin.show, ["Right IndexFinger", picture(1)]).start()
    frame = scanner.capture(INDEX, 10, NEVER)
    assert np.array_equal(frame.pixels, picture(1))
    assert frame.ppi == 500
    assert frame.metadata["device_quality"] == "80"


def test_irises_and_faces_arrive_too(tmp_path: Path) -> None:
    eyes, face = SbiTwin("Iris"), SbiTwin("Face")
    (tmp_path / "trust.pem").write_bytes(eyes.trust_pem + face.trust_pem)
    trust = str(tmp_path / "trust.pem")
    irises = open_driver("iris", {"driver": "sbi", "port": eyes.port, "trust_file": trust})
    camera = open_driver("camera", {"driver": "sbi", "port": face.port, "trust_file": trust})
    assert isinstance(irises, IrisScanner)
    assert isinstance(camera, Camera)
    irises.open()
    camera.open()
    eyes.show("Right", picture(2))
    eyes.show("Left", picture(3))
    right, left = irises.capture(BOTH_EYES, 10, NEVER)
    assert np.array_equal(right.pixels, picture(2))
    assert np.array_equal(left.pixels, picture(3))
    (alone,) = irises.capture((IrisPosition.LEFT,), 10, NEVER)
    assert np.array_equal(alone.pixels, picture(3))
    portrait = np.random.default_rng(4).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    face.show("", portrait)
    assert np.array_equal(camera.capture(10, NEVER).pixels, portrait)
    eyes.close()
    face.close()


def test_nobody_there_is_advice(twin: SbiTwin, scanner: FingerprintScanner) -> None:
    scanner.open()
    with pytest.raises(CaptureRetry, match="801"):
        scanner.capture(INDEX, 0.05, NEVER)
    twin.fault = SbiFault.NOTHING_SEEN
    with pytest.raises(CaptureRetry, match="101"):
        scanner.capture(INDEX, 5, NEVER)


def test_cancelling_ends_the_wait(twin: SbiTwin, scanner: FingerprintScanner) -> None:
    scanner.open()
    cancel = threading.Event()
    threading.Timer(0.05, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(CaptureRetry, match="cancelled"):
        scanner.capture(INDEX, 60, cancel)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("fault", [f for f in SbiFault if f not in (SbiFault.NONE, SbiFault.NOTHING_SEEN)])
def test_what_was_not_made_by_this_device_for_this_capture_is_refused(
    twin: SbiTwin, scanner: FingerprintScanner, fault: SbiFault
) -> None:
    scanner.open()
    twin.show("Right IndexFinger", picture(1))
    twin.fault = fault
    with pytest.raises(DeviceError):
        scanner.capture(INDEX, 5, NEVER)
    twin.fault = SbiFault.NONE
    assert np.array_equal(scanner.capture(INDEX, 5, NEVER).pixels, picture(1))


def brightness(scanner: FingerprintScanner) -> float:
    assert isinstance(scanner, LivePicture)
    return float(scanner.preview(5).pixels.mean())


def test_the_live_picture_shows_who_is_there_now(twin: SbiTwin, scanner: FingerprintScanner) -> None:
    assert "preview" in scanner.open().capabilities
    assert brightness(scanner) < 5
    for level in (200, 100, 60):
        twin.show("Right IndexFinger", np.full((400, 600), level, np.uint8))
        deadline = time.monotonic() + 5
        while abs(brightness(scanner) - level) > 3:
            assert time.monotonic() < deadline
    assert isinstance(scanner, LivePicture)
    assert scanner.preview(5).pixels.shape == (320, 480)


def test_ten_live_pictures_a_second_come_through(twin: SbiTwin, scanner: FingerprintScanner) -> None:
    scanner.open()
    brightness(scanner)
    started = time.monotonic()
    for _ in range(20):
        brightness(scanner)
    assert time.monotonic() - started < 2


def test_a_capture_ends_the_live_picture_and_it_comes_back(twin: SbiTwin, scanner: FingerprintScanner) -> None:
    scanner.open()
    twin.show("Right IndexFinger", picture(1))
    assert brightness(scanner) > 50
    assert np.array_equal(scanner.capture(INDEX, 5, NEVER).pixels, picture(1))
    assert brightness(scanner) > 50
    scanner.close()
    with pytest.raises(DeviceError):
        brightness(scanner)


def test_a_live_picture_that_nobody_watched_for_a_while_is_asked_for_anew(
    twin: SbiTwin, scanner: FingerprintScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sensors.sbi_client.STREAM_IDLE_MS_MAX", -1)
    scanner.open()
    assert brightness(scanner) < 5
    twin.show("Right IndexFinger", np.full((400, 600), 200, np.uint8))
    assert brightness(scanner) > 190  # the very next one, not one that waited in the line


@pytest.mark.parametrize("fault", [f for f in StreamFault if f is not StreamFault.NONE])
def test_each_fault_of_a_live_picture_is_an_error_in_time_and_the_next_one_comes(
    twin: SbiTwin, scanner: FingerprintScanner, fault: StreamFault
) -> None:
    scanner.open()
    assert isinstance(scanner, LivePicture)
    twin.stream_fault = fault
    started = time.monotonic()
    with pytest.raises(DeviceError) as caught:
        scanner.preview(0.5)
    assert time.monotonic() - started < 3
    if fault is StreamFault.REFUSED:
        assert "106" in str(caught.value)
        assert "cable" in caught.value.next_step
    twin.stream_fault = StreamFault.NONE
    assert brightness(scanner) < 5


@given(st.binary(max_size=300), st.integers(1, 64))
@settings(max_examples=150, deadline=None)
def test_any_bytes_of_a_stream_are_pictures_or_refused(noise: bytes, step: int) -> None:
    reader = StreamReader()
    try:
        for at in range(0, len(noise), step):
            assert all(isinstance(found, bytes) for found in reader.feed(noise[at : at + step]))
    except RemoteError:
        return


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=5), st.integers(1, 97))
@settings(max_examples=100, deadline=None)
def test_a_stream_cut_anywhere_gives_each_picture_once(pictures: list[bytes], step: int) -> None:
    stream = b"".join(map(encode_part, pictures))
    reader = StreamReader()
    assert [p for at in range(0, len(stream), step) for p in reader.feed(stream[at : at + step])] == pictures


def test_a_stream_is_bounded() -> None:
    for head in (b"x" * (HEAD_BYTES_MAX + 5), b"Content-Length: %d\r\n\r\n" % (PICTURE_BYTES_MAX + 1), b"\r\n\r\n"):
        with pytest.raises(RemoteError):
            StreamReader().feed(head)


def test_a_device_is_found_on_the_port_range_by_kind_and_serial(tmp_path: Path) -> None:
    free = [port for port in range(4581, 4601) if port_is_free(port)]
    iris, first, second = (
        SbiTwin(kind, port, serial=serial)
        for kind, port, serial in zip(("Iris", "Finger", "Finger"), free, ("I1", "F1", "F2"), strict=False)
    )
    (tmp_path / "trust.pem").write_bytes(first.trust_pem + second.trust_pem)
    table = {"driver": "sbi", "trust_file": str(tmp_path / "trust.pem")}
    assert open_driver("finger", table).open().serial == "F1"
    assert open_driver("finger", {**table, "serial": "F2"}).open().serial == "F2"
    with pytest.raises(DeviceError, match="not in the trust store"):
        open_driver("iris", table).open()
    for twin in (iris, first, second):
        twin.close()


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_another_client_can_use_the_twin_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "virtual.sbi_service", "--kind", "Iris", "--port", "0", "--person", "1", "3"]
    with subprocess.Popen([*command, "--trust", str(tmp_path / "trust.pem")], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        url = f"http://127.0.0.1:{run.stdout.readline().split()[-1]}"
        try:
            notices = httpx.request("MOSIPDISC", f"{url}/device", json={"type": "Iris"}).json()
            assert notices[0]["deviceStatus"] == "Ready"
            assert "STREAM" in httpx.options(f"{url}/capture").headers["access-control-allow-methods"]
            with httpx.stream("STREAM", f"{url}/stream", json={"deviceId": "x", "deviceSubId": "3"}) as stream:
                assert stream.headers["content-type"].startswith("multipart/x-mixed-replace")
                assert b"Content-Type:image/jpeg" in next(stream.iter_bytes())
            wanted = {"type": "Iris", "bioSubType": ["Left"], "deviceSubId": "1", "requestedScore": "40"}
            order = {"env": "Production", "purpose": "Registration", "timeout": "5000", "transactionId": "t"}
            answer = httpx.request("RCAPTURE", f"{url}/capture", json={**order, "bio": [wanted]}).json()
            trust = x509.load_pem_x509_certificates((tmp_path / "trust.pem").read_bytes())
            sample = verify_token(answer["biometrics"][0]["data"], trust, SystemClock().wall_ms())
            assert sample["bioSubType"] == "Left"
        finally:
            run.terminate()


@pytest.mark.parametrize("fault", [SbiFault.STRANGER, SbiFault.NO_JSON, SbiFault.HANG_UP])
def test_a_device_that_cannot_say_who_it_is_is_not_opened(
    twin: SbiTwin, scanner: FingerprintScanner, fault: SbiFault
) -> None:
    twin.fault = fault
    with pytest.raises(DeviceError):
        scanner.open()


def test_another_kind_another_serial_and_a_missing_trust_file_are_named(twin: SbiTwin, tmp_path: Path) -> None:
    (tmp_path / "trust.pem").write_bytes(twin.trust_pem)
    trust = str(tmp_path / "trust.pem")
    with pytest.raises(DeviceError, match="Iris"):
        open_driver("iris", {"driver": "sbi", "port": twin.port, "trust_file": trust}).open()
    with pytest.raises(DeviceError, match="Finger"):
        open_driver("finger", {"driver": "sbi", "port": twin.port, "trust_file": trust, "serial": "other"}).open()
    with pytest.raises(DeviceError, match="trust file"):
        open_driver("finger", {"driver": "sbi", "port": twin.port, "trust_file": "/no/such"}).open()


def test_the_chain_starts_from_the_hash_of_nothing() -> None:
    empty = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"
    assert chained("", b"sample") == chained(empty, b"sample")
    assert chained("", b"a") != chained("", b"b")
    assert len(chained("", b"")) == 64


ORDER = CaptureOrder("t", "Finger", ("Right Thumb",), "d", 0, 1000, 40, "Production", 0)
DEVICE = DeviceFacts("d", "c", "Finger", "m", "o", "s", "f", True, (0,))


@given(st.one_of(st.binary(max_size=200), st.text(max_size=60).map(str.encode)))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_refused_as_the_peers(body: bytes) -> None:
    for parse in (
        parse_discovery,
        lambda data: parse_device_info(data, (), 0),
        lambda data: parse_capture(data, ORDER, DEVICE, (), 0),
        lambda data: verify_token(data.decode("latin-1"), (), 0),
    ):
        try:
            parse(body)
        except RemoteError:
            continue


SIGNER = Issuer("Signer", SystemClock())
HEAD, *REST = SIGNER.sign({}).split(".")
CHAIN = [base64.b64decode(item) for item in json_object(from_base64url(HEAD), "head")["x5c"]]
RSA_KEY, UNKNOWN_KEY = bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d010163")


def refused_chain(chain: Sequence[bytes]) -> bool:
    items = [base64.b64encode(certificate).decode() for certificate in chain]
    head = base64url(json.dumps({"alg": "RS256", "x5c": items}).encode())
    try:
        verify_token(".".join([head, *REST]), [SIGNER.anchor], SystemClock().wall_ms())
    except RemoteError:
        return True
    return False


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(
    st.integers(0, len(CHAIN) - 1),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4),
)
@settings(max_examples=400, deadline=None)
def test_a_chain_with_any_bytes_changed_is_refused_and_breaks_nothing(
    which: int, changes: list[tuple[int, int]]
) -> None:
    changed = bytearray(CHAIN[which])
    for place, value in changes:
        changed[place % len(changed)] = value
    chain = [*CHAIN[:which], bytes(changed), *CHAIN[which + 1 :]]
    assert refused_chain(chain) or chain == CHAIN


def test_a_certificate_of_a_kind_that_nobody_knows_is_refused() -> None:
    unknown_version = CHAIN[0].replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020174"), 1)
    assert unknown_version != CHAIN[0]
    assert refused_chain([unknown_version, *CHAIN[1:]])
    for which in range(len(CHAIN)):
        changed = CHAIN[which].replace(RSA_KEY, UNKNOWN_KEY)
        assert changed != CHAIN[which]
        assert refused_chain([*CHAIN[:which], changed, *CHAIN[which + 1 :]])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["biometrics", "data", "error", "errorCode", "deviceInfo", "digitalId"]), inner
        )
    ),
    max_leaves=8,
)


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_any_json_is_refused_as_the_peers(value: object) -> None:
    body = json.dumps(value).encode()
    for parse in (
        parse_discovery,
        lambda data: parse_device_info(data, (), 0),
        lambda data: parse_capture(data, ORDER, DEVICE, (), 0),
    ):
        try:
            parse(body)
        except RemoteError:
            continue
