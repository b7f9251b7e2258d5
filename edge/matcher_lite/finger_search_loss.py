"""What the first stage of a search loses against comparing with everybody, for one finger and for two of a person.

The folder's fingers make one gallery, a reference each; a shortlist keeps the share of it that a gallery of many
thousands keeps, so that the loss is that of a large search. Persons of two fingers are pairs of the folder's fingers:
whom either finger's shortlist names is compared on both, as the hub does, and both values are summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_compare import compare
from edge.matcher_lite.finger_evaluation import Told
from edge.matcher_lite.finger_gallery import FingerGallery
from edge.matcher_lite.finger_template import FingerTemplate

Scores = NDArray[np.float32]


def search_loss(by_finger: Mapping[str, Sequence[FingerTemplate]], told: Told) -> dict[str, float]:
    """Rank-1 rates with and without the first stage, and the loss in points; each finger's first template is enrolled.

    by_finger: impressions by finger. told: hears what is going on, for it takes minutes with hundreds of fingers.
    """
    names = [name for name, impressions in by_finger.items() if len(impressions) > 1]
    impressions = min(len(by_finger[name]) for name in names)
    gallery = FingerGallery()
    for name in names:
        gallery.add(name, by_finger[name][0])
    values: list[Scores] = []
    named: list[NDArray[np.bool_]] = []
    for turn in range(1, impressions):
        rows = []
        for count, name in enumerate(names):
            if count % 20 == 0:
                told(
                    f"Comparing with everybody: impression {turn + 1} of {impressions}, finger {count} of {len(names)}"
                )
            probe = by_finger[name][turn]
            rows.append((_full_scores(probe, names, by_finger), _short_scores(probe, names, gallery)))
        values.append(np.array([full for full, _ in rows]))
        named.append(_shortlisted(np.array([short for _, short in rows])))
    one = _rank1(values, named)
    pairs = len(names) // 2
    two = _rank1([_of_two(value, pairs) for value in values], [_either(name, pairs) for name in named])
    return {"fingers": len(names), **_figures("one_finger", one), "persons": pairs, **_figures("two_fingers", two)}


def _full_scores(
    probe: FingerTemplate, names: Sequence[str], by_finger: Mapping[str, Sequence[FingerTemplate]]
) -> Scores:
    return np.array([compare(probe, by_finger[name][0]).value for name in names], np.float32)


def _short_scores(probe: FingerTemplate, names: Sequence[str], gallery: FingerGallery) -> Scores:
    short = gallery.short_scores(probe)
    return np.array([short[name] for name in names], np.float32)


def _shortlisted(short: Scores) -> NDArray[np.bool_]:
    """Which references each probe's shortlist keeps: (probes, references)."""
    kept = max(round(p.SHORTLIST_SHARE * short.shape[1]), 1)
    least = -np.partition(-short, kept - 1, axis=1)[:, kept - 1 : kept]
    return np.asarray(short >= least)


def _of_two(values: Scores, persons: int) -> Scores:
    """Sums over both fingers of probe and reference persons: (persons, persons)."""
    return values[: 2 * persons : 2, : 2 * persons : 2] + values[1 : 2 * persons : 2, 1 : 2 * persons : 2]


def _either(named: NDArray[np.bool_], persons: int) -> NDArray[np.bool_]:
    return named[: 2 * persons : 2, : 2 * persons : 2] | named[1 : 2 * persons : 2, 1 : 2 * persons : 2]


def _rank1(values: Sequence[Scores], named: Sequence[NDArray[np.bool_]]) -> tuple[float, float]:
    """Share of probes whose mate (same index) comes first: among all, and among those that are named."""
    everybody = np.mean([np.mean(_mate_first(value)) for value in values])
    short = np.mean(
        [np.mean(_mate_first(np.where(name, value, -1.0))) for value, name in zip(values, named, strict=True)]
    )
    return float(everybody), float(short)


def _mate_first(values: Scores) -> NDArray[np.bool_]:
    mate = np.diagonal(values)
    others = values - np.diag(np.full(len(values), np.inf))
    return np.asarray((mate > others.max(axis=1)) & (mate > 0.0))


def _figures(what: str, rates: tuple[float, float]) -> dict[str, float]:
    everybody, short = (100 * rate for rate in rates)
    return {
        f"{what}_rank1_exhaustive_percent": everybody,
        f"{what}_rank1_searched_percent": short,
        f"{what}_loss_points": everybody - short,
    }
