"""1:N over irises: codes in contiguous arrays, every reference compared, or those that a prefilter leaves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.comparison import Candidate
from contract.errors import RekamError
from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_compare import score_of
from edge.matcher_lite.iris_kernel import EXACT, LIKELY, Words, score_all
from edge.matcher_lite.iris_template import IrisTemplate, probe_rotations

_GROWTH = 1.5
_FIRST_ROOM = 1024


class IrisGallery:
    """References to search; adding is amortised constant, removing swaps the last one in.

    One process owns a gallery; searching releases the interpreter lock.
    """

    def __init__(self) -> None:
        self._codes: Words = np.zeros((_FIRST_ROOM, p.CODE_WORDS), dtype=np.uint64)
        self._masks: Words = np.zeros((_FIRST_ROOM, p.CODE_WORDS), dtype=np.uint64)
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, reference_id: str) -> bool:
        return reference_id in self._rows

    def add(self, reference_id: str, template: IrisTemplate) -> None:
        """Add a reference, or replace the one of this id."""
        row = self._rows.get(reference_id)
        if row is None:
            row = len(self._ids)
            if row == len(self._codes):
                self._grow()
            self._ids.append(reference_id)
            self._rows[reference_id] = row
        self._codes[row] = template.code
        self._masks[row] = template.mask

    def remove(self, reference_id: str) -> None:
        """Remove a reference; RekamError where there is none of this id."""
        row = self._rows.pop(reference_id, None)
        if row is None:
            raise RekamError(f"No iris reference {reference_id} is in the gallery.", next_step="Check the id.")
        last = len(self._ids) - 1
        if row != last:
            self._ids[row] = self._ids[last]
            self._rows[self._ids[row]] = row
            self._codes[row] = self._codes[last]
            self._masks[row] = self._masks[last]
        self._ids.pop()

    def scores(self, probe: IrisTemplate, *, exact: bool = True) -> NDArray[np.float32]:
        """Normalised scores of the probe against all references, in the order of `reference_ids`.

        Without `exact` references that the coarse turn finds unlikely are given up and score 0. The room's README says
        what that gains and loses.
        """
        codes, masks = probe_rotations(probe)
        count = len(self._ids)
        mode = EXACT if exact else LIKELY
        return score_all(codes, masks, self._codes[:count], self._masks[:count], p.JOINT_BITS_MIN, mode)

    @property
    def reference_ids(self) -> Sequence[str]:
        """Ids in the order of `scores`."""
        return tuple(self._ids)

    def search(
        self, probe: IrisTemplate, *, count_max: int = 20, value_min: float = 0.0, exact: bool = True
    ) -> list[Candidate]:
        """The most alike references, best first: at most `count_max`, none below the score value `value_min`."""
        scores = self.scores(probe, exact=exact)
        take = min(count_max, len(scores))
        if take <= 0:
            return []
        best = np.argpartition(-scores, take - 1)[:take]
        best = best[np.argsort(-scores[best], kind="stable")]
        found = (Candidate(self._ids[row], score_of(float(scores[row]))) for row in best)
        return [candidate for candidate in found if candidate.score.value > 0 and candidate.score.value >= value_min]

    def _grow(self) -> None:
        more = int(len(self._codes) * _GROWTH) - len(self._codes)
        self._codes, self._masks = (
            np.concatenate([rows, np.zeros((more, p.CODE_WORDS), np.uint64)]) for rows in (self._codes, self._masks)
        )
