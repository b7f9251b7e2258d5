"""From a capture's images to templates, extracted again at the hub (never taken from a unit), and to and from rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract import finger_image
from contract.errors import RemoteError
from contract.image_formats import decode_image
from contract.packet import EnrolmentBody
from contract.sample import FingerPosition, Modality
from edge.matcher_lite import FingerTemplate, extract


@dataclass(frozen=True, slots=True)
class Features:
    """Everything of one person that is searched. fingers: {position: templates, the reference first}."""

    fingers: dict[int, tuple[FingerTemplate, ...]]

    @property
    def searchable(self) -> bool:
        """Whether anything here could find somebody."""
        return any(template.usable for templates in self.fingers.values() for template in templates)


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
    for sample in sorted(body.samples, key=lambda sample: sample.purpose != "reference"):
        if sample.modality is Modality.FINGER:
            pixels, ppi = finger_pixels(sample.record)
            template = extract(pixels, ppi, FingerPosition(sample.position))
            fingers.setdefault(sample.position, []).append(template)
    return Features(fingers={position: tuple(templates) for position, templates in fingers.items()})


def finger_pixels(record: bytes) -> tuple[NDArray[np.uint8], int]:
    """Grey pixels (H, W) and ppi of the first image in an ISO/IEC 19794-4 record. Raises RemoteError."""
    decoded = finger_image.decode_record(record)
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


def to_stored(features: Features) -> list[StoredTemplate]:
    """The templates as rows."""
    return [
        StoredTemplate(
            Modality.FINGER, position, impression, f"{template.extractor} {template.version}", template.to_bytes()
        )
        for position, templates in features.fingers.items()
        for impression, template in enumerate(templates)
    ]


def from_stored(stored: Iterable[StoredTemplate]) -> Features:
    """The features from rows, in any order. Raises RemoteError for bytes that are no template."""
    fingers: dict[int, dict[int, FingerTemplate]] = {}
    for row in stored:
        if row.modality is Modality.FINGER:
            fingers.setdefault(row.position, {})[row.impression] = FingerTemplate.from_bytes(row.data)
    return Features(
        fingers={
            position: tuple(template for _, template in sorted(by_impression.items()))
            for position, by_impression in fingers.items()
        }
    )
