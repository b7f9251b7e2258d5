"""A named false match rate holds for fragments of a finger too, which a tip on the glass or a forged template gives."""

from __future__ import annotations

import numpy as np

from contract.comparison import threshold_at
from contract.sample import FingerPosition
from edge.matcher_lite import compare, extract
from virtual.people import person

SEED = 20271
FINGERS = 40
WINDOWS = ((90, 3), (110, 3), (130, 2))  # sides in pixels at 500 ppi, and how many of each print


def test_fragments_pass_a_named_threshold_no_more_often_than_it_says() -> None:
    random = np.random.default_rng(SEED)
    prints = [person(SEED, index).finger(FingerPosition.RIGHT_INDEX) for index in range(FINGERS)]
    whole = [extract(image) for image in prints]
    values, minutiae = [], []
    for owner, image in enumerate(prints):
        for side, count in WINDOWS:
            for _ in range(count):
                top, left = (int(random.integers(size // 4, 3 * size // 4 - side)) for size in image.shape)
                fragment = extract(np.ascontiguousarray(image[top : top + side, left : left + side]))
                if fragment.usable and fragment.minutiae < 10:
                    minutiae.append(fragment.minutiae)
                    values += [compare(fragment, other).value for at, other in enumerate(whole) if at != owner]
    passed = {fmr: float(np.mean(np.array(values) >= threshold_at(fmr))) for fmr in (1e-2, 1e-3)}
    print(f"{len(minutiae)} fragments of {np.median(minutiae):.0f} minutiae, {len(values)} comparisons: {passed}")
    assert len(minutiae) >= 80
    assert passed[1e-2] <= 1e-2
    assert passed[1e-3] <= 2e-3
