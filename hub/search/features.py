"""From a capture's images to templates, extracted again at the hub (never taken from a unit), and to and from rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from contract import finger_image, iris_image
from contract.errors import RemoteError
from contract.image_formats import decode_image
from contract.packet import EnrolmentBody
from contract.sample import FingerPosition, IrisPosition, Modality
from edge.matcher_lite import FingerTemplate, IrisTemplate, extract, extract_iris, finger_parameters, iris_parameters
from edge.matcher_lite.finger_input import checked_ppi


@dataclass(frozen=True, slots=True)
class Features:
    """Everything of one person that is searched: {position: templates, the reference first}."""

    fingers: dict[int, tuple[FingerTemplate, ...]] = field(default_factory=dict)
    irises: dict[int, tuple[IrisTemplate, ...]] = field(default_factory=dict)

    @property
    def searchable(self) -> bool:
        """Whether anything here could find somebody."""
        fingers = any(template.usable for templates in self.fingers.values() for template in templates)
        return fingers or any(eye.usable for eyes in self.irises.values() for eye in eyes)


# Who extracts today. Templates of anybody else are made again from the images: the comparators refuse to mix them.
STAMPS = {
    Modality.FINGER: f"{finger_parameters.EXTRACTOR} {finger_parameters.EXTRACTOR_VERSION}",
    Modality.IRIS: f"{iris_parameters.EXTRACTOR} {iris_parameters.VERSION}",
}


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template as it lies in the database, before it is locked. extractor: who made it, with its version.

    impression: 0 for the reference, then the checks after the capture.
    """

    modality: Modality
    position: int
    impression: int
    extractor: str
    data: bytes


def extract_features(body: EnrolmentBody) -> Features:
    """Templates of every finger and eye of a capture. Raises RemoteError for an image that cannot be read."""
    fingers: dict[int, list[FingerTemplate]] = {}
    irises: dict[int, list[IrisTemplate]] = {}
    for sample in sorted(body.samples, key=lambda sample: sample.purpose != "reference"):
        if sample.modality is Modality.FINGER:
            pixels, ppi = finger_pixels(sample.record)
            template = extract(pixels, ppi, FingerPosition(sample.position))
            fingers.setdefault(sample.position, []).append(template)
        elif sample.modality is Modality.IRIS:
            eye = extract_iris(iris_pixels(sample.record), IrisPosition(sample.position))
            irises.setdefault(sample.position, []).append(eye)
    return Features(
        fingers={position: tuple(templates) for position, templates in fingers.items()},
        irises={position: tuple(templates) for position, templates in irises.items()},
    )


def finger_pixels(record: bytes) -> tuple[NDArray[np.uint8], int]:
    """Grey pixels (H, W) and ppi of the first image in an ISO/IEC 19794-4 record. Raises RemoteError."""
    decoded = finger_image.decode_record(record)
    checked_ppi(decoded.ppi)
    image = decoded.images[0]
    if decoded.compression.image_format is not None:
        return decode_image(image.image), decoded.ppi
    if decoded.compression is not finger_image.Compression.RAW or decoded.pixel_depth != 8:
        raise RemoteError(
            "The finger image is packed in a way that this hub does not read.",
            next_step="Send PNG, WSQ, JPEG 2000 or bare samples of eight bits.",
        )
    pixels = np.frombuffer(image.image, np.uint8).reshape(image.height_px, image.width_px)
    return pixels, decoded.ppi


def iris_pixels(record: bytes) -> NDArray[np.uint8]:
    """Grey pixels (H, W) of the first eye in an ISO/IEC 19794-6 record. Raises RemoteError."""
    image = iris_image.decode_record(record).images[0]
    if image.image_format.image_format is not None:
        return decode_image(image.image)
    if image.bit_depth != 8:
        raise RemoteError("The iris image has more than eight bits a sample.", next_step="Send PNG or JPEG 2000.")
    return np.frombuffer(image.image, np.uint8).reshape(image.height_px, image.width_px)


def to_stored(features: Features) -> list[StoredTemplate]:
    """The templates as rows."""
    fingers = [
        StoredTemplate(
            Modality.FINGER, position, impression, f"{template.extractor} {template.version}", template.to_bytes()
        )
        for position, templates in features.fingers.items()
        for impression, template in enumerate(templates)
    ]
    irises = [
        StoredTemplate(Modality.IRIS, position, impression, "{} {}".format(*template.stamp), template.to_bytes())
        for position, templates in features.irises.items()
        for impression, template in enumerate(templates)
    ]
    return fingers + irises


def from_stored(stored: Iterable[StoredTemplate]) -> Features:
    """The features from rows, in any order. Raises RemoteError for bytes that are no template."""
    fingers: dict[int, list[FingerTemplate]] = {}
    irises: dict[int, list[IrisTemplate]] = {}
    for row in sorted(stored, key=lambda row: row.impression):
        if row.modality is Modality.FINGER:
            fingers.setdefault(row.position, []).append(FingerTemplate.from_bytes(row.data))
        elif row.modality is Modality.IRIS:
            irises.setdefault(row.position, []).append(IrisTemplate.from_bytes(row.data))
    return Features(
        fingers={position: tuple(templates) for position, templates in fingers.items()},
        irises={position: tuple(templates) for position, templates in irises.items()},
    )
