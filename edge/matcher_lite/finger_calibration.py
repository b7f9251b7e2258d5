"""Gives a raw score its meaning: the false match rate of a threshold there, as random fingers show it.

The table rests on impostor comparisons of synthetic prints, extracted like real ones (`rekam-match calibrate` makes
it). Up to its last knot the rate is counted; beyond, the tail is continued as a power law, which
errs towards a higher rate, and a score is labelled extrapolated.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CALIBRATION_FILE = Path(__file__).with_name("finger_calibration.npz")


class Calibration(NamedTuple):
    """raw: rising scores; value: −10·log10(FMR) at each; slope: value per ln(raw) beyond; comparisons."""

    raw: NDArray[np.float64]
    value: NDArray[np.float64]
    slope: float
    comparisons: int

    def meaning(self, raw: float) -> tuple[float, bool]:
        """Value of a raw score (0 and up), and whether it lies beyond the data."""
        last = float(self.raw[-1])
        if raw > last:
            return float(self.value[-1]) + math.log(raw / last) * self.slope, True
        return float(np.interp(raw, self.raw, self.value)), False

    def raw_at(self, value: float) -> float:
        """The raw score that has this value."""
        last = float(self.value[-1])
        if value > last:
            return float(self.raw[-1]) * math.exp((value - last) / self.slope)
        return float(np.interp(value, self.value, self.raw))


@lru_cache(maxsize=1)
def shipped_calibration() -> Calibration:
    """The calibration that belongs to this version's comparator."""
    with np.load(CALIBRATION_FILE) as stored:
        return Calibration(stored["raw"], stored["value"], float(stored["slope"]), int(stored["comparisons"]))


def calibrate(impostors: NDArray[np.float64], knots: int = 40) -> Calibration:
    """Calibration from raw scores of non-mated comparisons, counted as far as ten lie above the threshold."""
    ordered = np.sort(impostors)[::-1]
    count = ordered.size
    ranks = np.unique(np.round(np.geomspace(10, count * 0.9, knots)).astype(int))[::-1]
    raw = ordered[ranks - 1]
    value = -10.0 * np.log10(ranks / count)
    rising = np.diff(raw, prepend=0.0) > 1e-9  # hopeless comparisons score 0, which is no threshold
    raw, value = np.concatenate([[0.0], raw[rising]]), np.concatenate([[0.0], value[rising]])
    tail = value >= value[-1] - 15.0
    slope = float(np.polyfit(np.log(raw[tail]), value[tail], 1)[0])
    return Calibration(raw, value, slope, count)


def store_calibration(calibration: Calibration) -> None:
    """Ships `calibration` with the package."""
    np.savez_compressed(
        CALIBRATION_FILE,
        raw=calibration.raw,
        value=calibration.value,
        slope=calibration.slope,
        comparisons=calibration.comparisons,
    )
    shipped_calibration.cache_clear()
