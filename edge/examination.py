"""What the comparison worker does with samples: judge, extract, encode, compare, search. Runs in the worker process.

One finger, one eye, one face in; an ISO record, a quality, a small picture and, for fingers, a template out. Templates
are our own bytes, with their codes, while they stay on a unit; a roster's or a chip's ISO record compares as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from contract import face_image, finger_image, iris_image
from contract.comparison import Candidate, ComparisonScore, Decision
from contract.errors import RekamError, RemoteError
from contract.finger_minutiae import MAGIC as ISO_MINUTIAE
from contract.image_formats import ImageFormat, encode_image
from contract.sample import FingerPosition, IrisPosition
from contract.sample_quality import SampleQuality
from edge.matcher_lite import FingerTemplate, compare, extract, which_eye
from edge.matcher_lite.finger_gallery import FingerGallery
from edge.matcher_lite.finger_parameters import EXTRACTOR, EXTRACTOR_VERSION
from edge.matcher_lite.finger_warm import warm_fingers
from edge.matcher_lite.iris_extract import extract_best_iris
from edge.matcher_lite.iris_warm import warm_irises
from edge.matcher_lite.portrait_face import Face
from edge.matcher_lite.portrait_quality import examine_portrait
from edge.ports import Examined
from edge.procedure import Advice
from edge.screens.pictures import jpeg
from edge.sensors.matcher_quality import judge_finger, judge_iris

Pixels = NDArray[np.uint8]
FACE_BYTES_MAX = 300 * 1024
IRIS_BYTES_MAX = 250 * 1024
FACE_SIDE_PX_MAX = 1600
PICTURE_SIDE_PX = 320
TEMPLATES_CACHED = 256
SEARCH_FMR = 1e-2
SEARCH_LIMIT = 50


def extractor_stamp() -> str:
    """Who makes this unit's templates; templates of different makers are never compared."""
    return f"{EXTRACTOR}/{EXTRACTOR_VERSION}"


def examine_finger(pixels: Pixels, ppi: int, position: FingerPosition) -> Examined:
    """A finger image: its 19794-4 record (PNG inside, lossless), template, quality and advice."""
    template = extract(pixels, ppi, position)
    quality = judge_finger(template)
    grey = _grey(pixels)
    image = finger_image.FingerImage(
        position=position,
        width_px=grey.shape[1],
        height_px=grey.shape[0],
        image=encode_image(grey, ImageFormat.PNG, ppi=ppi),
        quality=quality.value,
    )
    record = finger_image.encode_record(finger_image.FingerImageRecord((image,), finger_image.Compression.PNG, ppi=ppi))
    return Examined(record, quality.value, jpeg(grey, PICTURE_SIDE_PX), template.to_bytes(), _first(quality))


def examine_face(pixels: Pixels) -> Examined:
    """A portrait: its 19794-5 record (JPEG 2000 within its budget, with the pupils), quality and advice."""
    report = examine_portrait(pixels)
    quality = report.quality
    kept = _reduced(pixels, FACE_SIDE_PX_MAX)
    image = face_image.FaceImage(
        width_px=kept.shape[1],
        height_px=kept.shape[0],
        image=encode_image(kept, ImageFormat.JPEG2000, max_bytes=FACE_BYTES_MAX),
        quality=quality.value,
        feature_points=_pupils(report.face, kept.shape[1] / pixels.shape[1]),
    )
    record = face_image.encode_record(face_image.FaceImageRecord((image,)))
    return Examined(record, quality.value, jpeg(pixels, PICTURE_SIDE_PX), advice=_first(quality))


def _pupils(face: Face | None, scale: float) -> tuple[face_image.FeaturePoint, ...]:
    """The eye centres as MPEG-4 feature points; the person's left eye (12.1) is on the right of the picture."""
    if face is None or face.eyes is None:
        return ()
    centres = zip((face_image.RIGHT_EYE, face_image.LEFT_EYE), face.eyes, strict=True)
    return tuple(
        face_image.FeaturePoint(*code, max(0, round(x * scale)), max(0, round(y * scale))) for code, (x, y) in centres
    )


def examine_iris(burst: Sequence[Pixels], position: IrisPosition) -> Examined:
    """An eye in near infrared: the best picture's 19794-6 record (JPEG 2000), quality and advice; and which eye it is.

    Raises RekamError where there is no picture.
    """
    pictures = [_grey(pixels) for pixels in burst]
    if not pictures:
        raise RekamError("The iris camera gave no picture.", next_step="Capture again.")
    template, number = extract_best_iris(pictures, position)
    grey, quality = pictures[number], judge_iris(template)
    image = iris_image.IrisImage(
        position=position,
        kind=iris_image.IrisImageKind.UNCROPPED,
        image_format=iris_image.IrisImageFormat.JPEG2000,
        width_px=grey.shape[1],
        height_px=grey.shape[0],
        image=encode_image(grey, ImageFormat.JPEG2000, max_bytes=IRIS_BYTES_MAX),
    )
    record = iris_image.encode_record(iris_image.IrisImageRecord((image,)))
    shows = which_eye(grey).position
    return Examined(record, quality.value, jpeg(grey, PICTURE_SIDE_PX), advice=_first(quality), shows=shows)


def compare_templates(probe: bytes, references: Sequence[bytes]) -> list[ComparisonScore]:
    """One finger against several. Raises RemoteError for bytes that are no template."""
    prepared = read_template(probe)
    return [compare(prepared, read_template(reference)) for reference in references]


@lru_cache(maxsize=TEMPLATES_CACHED)
def read_template(octets: bytes) -> FingerTemplate:
    """Our own template bytes, or anybody's ISO/IEC 19794-2 record."""
    return FingerTemplate.from_iso(octets) if octets.startswith(ISO_MINUTIAE) else FingerTemplate.from_bytes(octets)


def warm() -> None:
    """Compile, or load from the cache, everything that the first citizen would otherwise wait for."""
    warm_fingers()
    warm_irises()


class SiteSearch:
    """The site's captures in the worker's memory: one gallery for each finger position."""

    def __init__(self) -> None:
        self._galleries = {position: FingerGallery() for position in FingerPosition}
        self._positions: dict[str, frozenset[int]] = {}

    def add(self, capture_id: str, templates: Mapping[int, bytes]) -> None:
        """Add or replace a capture; a template that shows no usable finger is left out.

        Raises RemoteError for another extractor's template, whatever its entry says: it would end every search.
        """
        self.remove(capture_id)
        read = {position: FingerTemplate.from_bytes(octets) for position, octets in templates.items()}
        if any((template.extractor, template.version) != (EXTRACTOR, EXTRACTOR_VERSION) for template in read.values()):
            raise RemoteError("A capture holds templates of another extractor.")
        usable = {position: template for position, template in read.items() if template.usable}
        for position, template in usable.items():
            self._galleries[FingerPosition(position)].add(capture_id, template)
        self._positions[capture_id] = frozenset(usable)

    def remove(self, capture_id: str) -> None:
        """Forget a capture."""
        for position in self._positions.pop(capture_id, frozenset()):
            self._galleries[FingerPosition(position)].remove(capture_id)

    def search(self, probes: Mapping[int, bytes], fmr: float) -> list[Candidate]:
        """Captures of which two fingers each reach `fmr` (see `person_value`), best first."""
        found: dict[str, list[float]] = {}
        for position, octets in probes.items():
            probe = read_template(octets)
            for candidate in self._galleries[FingerPosition(position)].search(
                probe, limit=SEARCH_LIMIT, fmr=SEARCH_FMR
            ):
                found.setdefault(candidate.reference_id, []).append(candidate.score.value)
        scored = [
            Candidate(capture_id, ComparisonScore(person_value(values, len(self._positions[capture_id] & set(probes)))))
            for capture_id, values in found.items()
        ]
        matching = [candidate for candidate in scored if candidate.score.decide(fmr) is Decision.MATCH]
        return sorted(matching, key=lambda candidate: -candidate.score.value)


def person_value(values: Sequence[float], fingers: int) -> float:
    """How alike a capture is as a person: its second finger's value, or its only one's.

    values: of the fingers that look alike at all; fingers: how many both captures have.

    One finger that looks alike by chance must not refuse anybody: with ten fingers against thousands of captures it
    happens. A repeated person agrees on nearly all fingers, so asking for two costs nothing that matters.
    """
    ordered = sorted(values, reverse=True)
    needed = min(2, fingers)
    return ordered[needed - 1] if needed and len(ordered) >= needed else 0.0


def _first(quality: SampleQuality) -> Advice | None:
    advice = next(iter(quality.advice), None)
    return None if advice is None else Advice(advice.indonesian, advice.english)


def _grey(pixels: Pixels) -> Pixels:
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def _reduced(pixels: Pixels, side_px_max: int) -> Pixels:
    """The picture with its longer side at most `side_px_max`."""
    if pixels.size == 0:
        raise RekamError("The camera gave an empty picture.", next_step="Take the photo again.")
    scale = side_px_max / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
