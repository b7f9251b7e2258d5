"""Drivers of devices behind the MOSIP Secure Biometric Interface: finger, slap, iris and face.

Each asks its client (sbi_client) for signed samples and opens their ISO/IEC 19794 records.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from contract import face_image, finger_image, iris_image
from contract.errors import DeviceError, RemoteError
from contract.finger_image import SLAP_FINGERS, SlapPosition, slap_of
from contract.image_formats import decode_image
from contract.sample import FingerPosition, IrisPosition
from edge.sensors.interface import Frame, Pixels
from edge.sensors.sbi_client import SbiClient
from edge.sensors.sbi_frames import EYE_NAMES, FINGER_NAMES, SignedSample

SLAP = "Slap"
SLAP_SUB_IDS = {SlapPosition.LEFT_FOUR: 1, SlapPosition.RIGHT_FOUR: 2, SlapPosition.THUMBS: 3}


class SbiFingerScanner(SbiClient):
    """A FingerprintScanner behind SBI."""

    kind = "Finger"

    def capture(self, position: FingerPosition, timeout_s: float, cancel: threading.Event) -> Frame:
        """One finger, at the resolution of its ISO/IEC 19794-4 record."""
        (sample,) = self.take((FINGER_NAMES[position],), timeout_s, cancel, sub_id=self._sub_id_of(position))
        return _finger(sample, position, self.metadata(sample))

    def _sub_id_of(self, position: FingerPosition) -> int:
        """The part of a slap scanner that takes this finger; 0 of a device with one window."""
        if self._opened().sub_kind != SLAP:
            return 0
        slap = slap_of(position)
        return 0 if slap is None else SLAP_SUB_IDS[slap]


class SbiSlapScanner(SbiClient):
    """A SlapScanner behind SBI: the device takes the slap apart and signs each finger."""

    kind = "Finger"
    sub_kinds = frozenset({SLAP, "Touchless"})

    def capture(
        self, slap: SlapPosition, missing: Collection[FingerPosition], timeout_s: float, cancel: threading.Event
    ) -> Mapping[FingerPosition, Frame]:
        """The fingers of a slap that are not missing, each at the resolution of its ISO/IEC 19794-4 record."""
        wanted = [finger for finger in SLAP_FINGERS[slap] if finger not in missing]
        if not wanted:
            raise DeviceError("Every finger of the slap is said to be missing.")
        absent = tuple(FINGER_NAMES[finger] for finger in SLAP_FINGERS[slap] if finger in missing)
        names = tuple(FINGER_NAMES[finger] for finger in wanted)
        samples = self.take(names, timeout_s, cancel, sub_id=SLAP_SUB_IDS[slap], missing=absent)
        return {
            finger: _finger(sample, finger, self.metadata(sample))
            for finger, sample in zip(wanted, samples, strict=True)
        }


class SbiIrisScanner(SbiClient):
    """An IrisScanner behind SBI."""

    kind = "Iris"

    def capture(self, positions: Sequence[IrisPosition], timeout_s: float, cancel: threading.Event) -> Sequence[Frame]:
        """One picture for each asked eye, of its ISO/IEC 19794-6 record."""
        names = tuple(EYE_NAMES[position] for position in positions)
        frames = []
        for position, sample in zip(positions, self.take(names, timeout_s, cancel), strict=True):
            try:
                pixels = decode_image(iris_image.decode_record(sample.record).images[0].image)
            except RemoteError as error:
                raise DeviceError(f"The SBI device sent no iris image: {error.message}") from error
            frames.append(Frame(pixels=pixels, metadata={**self.metadata(sample), "eye": IrisPosition(position).name}))
        return frames


class SbiCamera(SbiClient):
    """A Camera behind SBI."""

    kind = "Face"

    def capture(self, timeout_s: float, cancel: threading.Event) -> Frame:
        """One portrait, RGB, of its ISO/IEC 19794-5 record."""
        samples = self.take((), timeout_s, cancel)
        if len(samples) != 1:
            raise DeviceError(f"The SBI device sent {len(samples)} portraits instead of one.")
        (sample,) = samples
        try:
            pixels = decode_image(face_image.decode_record(sample.record).images[0].image, colour=True)
        except RemoteError as error:
            raise DeviceError(f"The SBI device sent no portrait: {error.message}") from error
        return Frame(pixels=pixels, metadata=self.metadata(sample))


def _pixels(image: finger_image.FingerImage, compression: finger_image.Compression) -> Pixels:
    """The picture of a record: a file of its format, or bare samples. Raises RemoteError."""
    if compression.image_format is not None:
        return decode_image(image.image)
    samples = np.frombuffer(image.image, dtype=np.uint8)
    if samples.size != image.width_px * image.height_px:
        raise RemoteError("The samples do not fill the picture.")
    return samples.reshape(image.height_px, image.width_px)


def _finger(sample: SignedSample, position: FingerPosition, metadata: Mapping[str, str]) -> Frame:
    """A finger's record as a frame. Raises DeviceError where it is none, or another finger's."""
    try:
        record = finger_image.decode_record(sample.record)
        image = record.images[0]
        pixels = _pixels(image, record.compression)
    except RemoteError as error:
        raise DeviceError(f"The SBI device sent no finger image: {error.message}") from error
    if image.position not in (position, FingerPosition.UNKNOWN):
        raise DeviceError("The SBI device sent another finger than was asked for.")
    return Frame(pixels=pixels, ppi=record.ppi, metadata={**metadata, "finger_position": str(int(position))})
