"""Searches one finger among many: short codes first, over contiguous arrays, the full comparator on the best.

Stage one keeps at most 32 minutiae of each reference, 128 bits each. For each of them the best probe minutia votes with
what its distance lacks from the unrelated, in a histogram of the rotation it implies; true pairs agree on rotation.
Arrays grow by doubling; a removed reference leaves a hole of zero minutiae until a snapshot is taken.
"""

from __future__ import annotations

from typing import Any

import cbor2
import numpy as np
from numpy.typing import NDArray

from contract.comparison import Candidate, ComparisonScore, threshold_at
from contract.errors import RekamError, RemoteError
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_calibration import shipped_calibration
from edge.matcher_lite.finger_compare import check_makers, raw_similarity
from edge.matcher_lite.finger_gallery_kernel import short_scores
from edge.matcher_lite.finger_template import FingerTemplate

_SHORT_WORDS = p.SHORT_CODE_BITS // 64
_TURN = 2 * np.pi
_SNAPSHOT_FORMAT = 1


class FingerGallery:
    """References by id. One finger may have several references under ids of their own."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._ids: list[str | None] = []
        self._templates: list[FingerTemplate | None] = []
        self._codes = np.zeros((64 * p.SHORT_MINUTIAE, _SHORT_WORDS), np.uint64)
        self._bins = np.zeros(64 * p.SHORT_MINUTIAE, np.uint8)
        self._counts = np.zeros(64, np.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, reference_id: object) -> bool:
        return reference_id in self._rows

    def add(self, reference_id: str, template: FingerTemplate) -> None:
        """Adds a reference; RekamError where the id is taken, or the template shows no usable finger."""
        if reference_id in self._rows:
            raise RekamError("The reference is in the gallery already.", next_step="Remove the old one first.")
        if not template.usable:
            raise RekamError("A template without minutiae cannot be searched.", next_step="Capture the finger again.")
        row = len(self._ids)
        if row == self._counts.shape[0]:
            self._grow()
        codes, bins = short_form(template)
        start = row * p.SHORT_MINUTIAE
        self._codes[start : start + len(codes)] = codes
        self._bins[start : start + len(bins)] = bins
        self._counts[row] = len(codes)
        self._rows[reference_id] = row
        self._ids.append(reference_id)
        self._templates.append(template)

    def remove(self, reference_id: str) -> None:
        """Removes a reference; RekamError where there is none of that id."""
        row = self._rows.pop(reference_id, None)
        if row is None:
            raise RekamError("The reference is not in the gallery.", next_step="Check the id.")
        self._ids[row] = None
        self._templates[row] = None
        self._counts[row] = 0

    def search(self, probe: FingerTemplate, *, limit: int = 20, fmr: float = 1e-3) -> list[Candidate]:
        """References whose full score reaches the threshold named by `fmr`, best first, at most `limit`."""
        if not probe.usable or not self._rows:
            return []
        shortlist = self._shortlist(probe, max(p.SHORTLIST_MIN, round(p.SHORTLIST_SHARE * len(self._rows)), limit))
        calibration = shipped_calibration()
        least = calibration.raw_at(threshold_at(fmr))
        found = []
        for row in shortlist:
            template, reference_id = self._templates[row], self._ids[row]
            if template is not None and reference_id is not None:
                check_makers(probe, template)
                raw, _ = raw_similarity(probe, template)
                if raw >= least:  # most do not, and need no name
                    found.append(Candidate(reference_id, ComparisonScore(*calibration.meaning(raw))))
        found.sort(key=lambda candidate: (-candidate.score.value, candidate.reference_id))
        return found[:limit]

    def short_scores(self, probe: FingerTemplate) -> dict[str, float]:
        """Stage-one score of every reference, for measuring what the shortlist loses."""
        scores = self.short_scores_by_row(probe)
        return {reference_id: float(scores[row]) for reference_id, row in self._rows.items()}

    def to_bytes(self) -> bytes:
        """A snapshot: every reference's id and template."""
        entries = [
            [reference_id, template.to_bytes()]
            for reference_id, template in zip(self._ids, self._templates, strict=True)
            if reference_id is not None and template is not None
        ]
        return cbor2.dumps([_SNAPSHOT_FORMAT, entries])

    @classmethod
    def from_bytes(cls, octets: bytes) -> FingerGallery:
        """A gallery from a snapshot; RemoteError where it is none."""
        if len(octets) > p.GALLERY_BYTES_MAX:
            raise RemoteError(f"{len(octets)} bytes are too many for a finger gallery.")
        try:
            return cls._from_fields(cbor2.loads(octets))
        except RemoteError:
            raise
        except (cbor2.CBORDecodeError, RekamError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise RemoteError("These bytes are no finger gallery.") from error

    @classmethod
    def _from_fields(cls, fields: Any) -> FingerGallery:
        if not isinstance(fields, list) or len(fields) != 2 or fields[0] != _SNAPSHOT_FORMAT:
            raise RemoteError("These bytes are no finger gallery of a known format.")
        gallery = cls()
        for reference_id, octets in fields[1]:
            if not isinstance(reference_id, str) or not isinstance(octets, bytes):
                raise RemoteError("An entry of the finger gallery is damaged.")
            gallery.add(reference_id, FingerTemplate.from_bytes(octets))
        return gallery

    def _shortlist(self, probe: FingerTemplate, wanted: int) -> NDArray[np.intp]:
        scores = self.short_scores_by_row(probe)
        if wanted >= scores.shape[0]:
            return np.arange(scores.shape[0])
        best = np.argpartition(-scores, wanted)[:wanted]
        return best[np.argsort(-scores[best], kind="stable")]

    def short_scores_by_row(self, probe: FingerTemplate) -> NDArray[np.float32]:
        """Stage-one score of every row in order of addition; 0 where a reference was removed."""
        codes, bins = short_form(probe)
        words = np.ascontiguousarray(codes.T)
        scores: NDArray[np.float32] = short_scores(words, bins, self._codes, self._bins, self._counts[: len(self._ids)])
        return scores

    def _grow(self) -> None:
        """Room for twice as many."""
        self._codes = np.concatenate([self._codes, np.zeros_like(self._codes)])
        self._bins = np.concatenate([self._bins, np.zeros_like(self._bins)])
        self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])


def short_form(template: FingerTemplate) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """The best 32 minutiae's first 128 bits (n, 2) and their directions in 36 bins (n,)."""
    order = np.argsort(-template.minutia_quality.astype(np.int16), kind="stable")[: p.SHORT_MINUTIAE]
    bins = (template.angle[order] * (p.DIRECTION_BINS / _TURN)).astype(np.uint8) % p.DIRECTION_BINS
    return np.ascontiguousarray(template.codes[:_SHORT_WORDS, order].T), bins.astype(np.uint8)
