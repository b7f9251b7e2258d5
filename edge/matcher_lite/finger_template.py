"""What is kept of a finger: minutiae with the codes that comparison needs, as a value and in four byte formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cbor2
import numpy as np
from numpy.typing import NDArray

from contract.errors import RemoteError
from contract.finger_card import CARD_BYTES_MAX, CardFormat, decode_card, encode_card
from contract.finger_minutiae import FingerView, Minutia, MinutiaeRecord, PackedRecord, decode_packed, encode_record
from contract.sample import FingerPosition
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_codes import CODE_WORDS, describe
from edge.matcher_lite.finger_geometry import settle, unpacked
from edge.matcher_lite.finger_quality import FingerAdvice

Plane = NDArray[np.float32]

ISO_EXTRACTOR = "iso-19794-2"
_PPCM = 197
_BYTES_FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class FingerTemplate:
    """One impression of one finger, prepared for comparison; arrays are read-only.

    x, y: (n,) float32 px at 500 ppi, origin upper left, y down, in sixteenths. angle: (n,) float32 rad in [0, 2π),
    counter-clockwise as seen, towards the extra ridge. kind: (n,) uint8, contract.finger_minutiae.MinutiaKind.
    minutia_quality: (n,) uint8, 0 (unknown) to 100. width, height: px at 500 ppi. quality: 0..100.
    extractor, version: who made it; templates of different makers are never compared, those from ISO records always.
    geometry: (4, n) float32 rows x, −y, cos, sin; codes: (4, n) uint64. Both follow from the minutiae.
    """

    x: Plane
    y: Plane
    angle: Plane
    kind: NDArray[np.uint8]
    minutia_quality: NDArray[np.uint8]
    width: int
    height: int
    position: FingerPosition
    quality: int
    advice: tuple[FingerAdvice, ...]
    extractor: str
    version: int
    geometry: Plane
    codes: NDArray[np.uint64]

    @property
    def usable(self) -> bool:
        """False where the image showed no usable finger: there are no minutiae then."""
        return bool(self.x.shape[0])

    @property
    def minutiae(self) -> int:
        """How many minutiae there are."""
        return int(self.x.shape[0])

    def to_iso(self) -> bytes:
        """An ISO/IEC 19794-2:2005 record of one view at 197 pixels per centimetre (500 ppi)."""
        return encode_record(
            MinutiaeRecord(self._pixels(self.width), self._pixels(self.height), _PPCM, _PPCM, (self._view(),))
        )

    @staticmethod
    def from_iso(octets: bytes, view: int = 0) -> FingerTemplate:
        """A template from anybody's ISO/IEC 19794-2:2005 record; RemoteError where it is none, or has no such view."""
        return _from_packed(decode_packed(octets), view)

    def to_card(self, card_format: CardFormat = CardFormat.NORMAL, bytes_max: int = CARD_BYTES_MAX) -> bytes:
        """The card format for the chip: the best minutiae that fit (102 in 512 bytes in the normal format)."""
        return encode_card(self._view(), _PPCM, _PPCM, card_format, bytes_max)

    @staticmethod
    def from_card(
        octets: bytes,
        card_format: CardFormat = CardFormat.NORMAL,
        position: FingerPosition = FingerPosition.UNKNOWN,
    ) -> FingerTemplate:
        """A template from the chip's bytes; RemoteError where they are none."""
        return _from_card(decode_card(octets, card_format, position))

    def to_bytes(self) -> bytes:
        """CBOR for our own database, with codes, so that nothing has to be computed on reading."""
        fields = [
            _BYTES_FORMAT, self.extractor, self.version, int(self.position), self.quality, self.width, self.height,
            [str(advice) for advice in self.advice],
            np.round(self.x * p.COORDINATE_STEPS).astype("<u2").tobytes(),
            np.round(self.y * p.COORDINATE_STEPS).astype("<u2").tobytes(),
            _angle_steps(self.angle).astype("<u2").tobytes(),
            self.kind.tobytes(), self.minutia_quality.tobytes(), self.codes.astype("<u8").tobytes(),
        ]  # fmt: skip
        return cbor2.dumps(fields)

    @staticmethod
    def from_bytes(octets: bytes) -> FingerTemplate:
        """Reads `to_bytes`; RemoteError on anything else."""
        if len(octets) > p.TEMPLATE_BYTES_MAX:
            raise RemoteError(f"{len(octets)} bytes are too many for a finger template.")
        try:
            return _from_fields(cbor2.loads(octets))
        except (cbor2.CBORDecodeError, TypeError, ValueError, OverflowError, RecursionError, LookupError) as error:
            if isinstance(error, RemoteError):
                raise
            raise RemoteError("These bytes are no finger template.") from error

    def _pixels(self, length: float) -> int:
        return min(round(length * _PPCM * 2.54 / p.TEMPLATE_PPI), 0x3FFF)

    def _view(self) -> FingerView:
        angle = np.round(self.angle * (256 / (2 * np.pi))).astype(np.int64) % 256
        minutiae = tuple(
            Minutia(int(kind), self._pixels(x), self._pixels(y), int(turn), int(score))
            for kind, x, y, turn, score in zip(self.kind, self.x, self.y, angle, self.minutia_quality, strict=True)
        )
        return FingerView(minutiae=minutiae, position=self.position, quality=self.quality)


def build(
    x: NDArray[Any],
    y: NDArray[Any],
    angle: NDArray[Any],
    kind: NDArray[np.uint8],
    minutia_quality: NDArray[np.uint8],
    *,
    size: tuple[int, int],
    position: FingerPosition,
    quality: int,
    advice: tuple[FingerAdvice, ...],
    stamp: tuple[str, int],
    codes: NDArray[np.uint64] | None = None,
) -> FingerTemplate:
    """A template from minutiae columns, codes computed where none are given; RemoteError on values out of range."""
    if x.shape[0] > p.TEMPLATE_MINUTIAE_MAX or not 0 <= quality <= 100 or min(size) < 0:
        raise RemoteError("A finger template has at most 255 minutiae, a quality of 0 to 100 and a size.")
    geometry, turn, inside = settle(x, y, angle)
    if not inside:
        raise RemoteError("A minutia lies outside of any finger.")
    made = describe(geometry) if codes is None else np.ascontiguousarray(codes, np.uint64)
    arrays: tuple[NDArray[Any], ...] = (
        geometry[0], -geometry[1], turn.astype(np.float32), kind.copy(), minutia_quality.copy(), geometry, made,
    )  # fmt: skip
    for array in arrays:
        array.setflags(write=False)
    return FingerTemplate(
        x=arrays[0], y=arrays[1], angle=arrays[2], kind=arrays[3], minutia_quality=arrays[4],
        width=size[0], height=size[1], position=position, quality=quality, advice=advice,
        extractor=stamp[0], version=stamp[1], geometry=arrays[5], codes=arrays[6],
    )  # fmt: skip


def _from_fields(fields: Any) -> FingerTemplate:
    if not isinstance(fields, list) or len(fields) != 14 or fields[0] != _BYTES_FORMAT:
        raise RemoteError("These bytes are no finger template of a known format.")
    _, extractor, version, position, quality, width, height, advice, x, y, angle, kind, scores, codes = fields
    numbers = (version, position, quality, width, height)
    if not isinstance(extractor, str) or not all(type(number) is int for number in numbers):
        raise RemoteError("The finger template's header is damaged.")
    count = len(kind)
    if (len(x), len(y), len(angle), len(scores), len(codes)) != (
        2 * count,
        2 * count,
        2 * count,
        count,
        8 * CODE_WORDS * count,
    ):
        raise RemoteError("The finger template's columns differ in length.")
    return build(
        np.frombuffer(x, "<u2") / p.COORDINATE_STEPS, np.frombuffer(y, "<u2") / p.COORDINATE_STEPS,
        np.frombuffer(angle, "<u2") * (2 * np.pi / p.ANGLE_STEPS),
        np.frombuffer(kind, np.uint8), np.frombuffer(scores, np.uint8),
        size=(width, height), position=FingerPosition(position), quality=quality,
        advice=tuple(FingerAdvice(item) for item in advice), stamp=(extractor, version),
        codes=np.frombuffer(codes, "<u8").reshape(CODE_WORDS, count),
    )  # fmt: skip


def _from_packed(record: PackedRecord, view: int) -> FingerTemplate:
    if not 0 <= view < len(record.views):
        raise RemoteError(f"The minutiae record has no view {view}.")
    chosen = record.views[view]
    x, y, angle, kind, score = unpacked(chosen.minutiae, *_scale(record))
    return _foreign((x, y, angle, kind, score), record, chosen.position, chosen.quality)


def _from_card(record: MinutiaeRecord) -> FingerTemplate:
    (view,) = record.views
    per_x, per_y = _scale(record)
    kind, x, y, angle, score = np.array(view.minutiae, np.float64).reshape(len(view.minutiae), 5).T
    columns = (x * per_x, y * per_y, angle * (2 * np.pi / 256), kind.astype(np.uint8), score.astype(np.uint8))
    return _foreign(columns, record, view.position, view.quality)


def _scale(record: PackedRecord | MinutiaeRecord) -> tuple[float, float]:
    """Pixels at 500 ppi in a pixel of the record, across and down."""
    return p.TEMPLATE_PPI / (record.ppcm_x * 2.54), p.TEMPLATE_PPI / (record.ppcm_y * 2.54)


def _foreign(
    columns: tuple[NDArray[Any], ...], record: PackedRecord | MinutiaeRecord, position: FingerPosition, quality: int
) -> FingerTemplate:
    """A template from the columns that `build` takes, of somebody's record."""
    per_x, per_y = _scale(record)
    return build(
        *columns, size=(round(record.width_px * per_x), round(record.height_px * per_y)),
        position=position, quality=min(quality, 100), advice=(), stamp=(ISO_EXTRACTOR, 0),
    )  # fmt: skip


def _angle_steps(angle: NDArray[Any]) -> NDArray[np.int64]:
    steps = np.round(np.asarray(angle, np.float64) * (p.ANGLE_STEPS / (2 * np.pi))).astype(np.int64)
    return steps & (p.ANGLE_STEPS - 1)
