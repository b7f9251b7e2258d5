"""Devices behind the Secure Biometric Interface: what is not signed by the asked device for this capture is refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.errors import CaptureRetry, DeviceError, RemoteError
from contract.sample import BOTH_EYES, FingerPosition, IrisPosition
from edge.sensors.drivers import open_driver
from edge.sensors.interface import Camera, FingerprintScanner, IrisScanner
from edge.sensors.sbi_frames import (
    CaptureOrder,
    DeviceFacts,
    chained,
    parse_capture,
    parse_device_info,
    parse_discovery,
)
from edge.sensors.sbi_token_frames import verify_token
from virtual.sbi_twin import SbiFault, SbiTwin

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
    finger_twin.fault = SbiFault.NONE
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
