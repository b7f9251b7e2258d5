"""How far mated and non-mated pictures of eyes stand apart, on synthetic eyes and on a folder of real ones.

Mated: all pairs of pictures of one eye. Non-mated: the first pictures of all eyes. The measure is Daugman's
decidability d′ on the square root of the score, which runs about straight with the share of agreeing bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.errors import RemoteError
from contract.sample import BOTH_EYES
from virtual.people import person

_SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
Eyes = Sequence[Sequence[NDArray[np.uint8]]]


@dataclass(frozen=True, slots=True)
class IrisResult:
    """Decidability and medians of the scores of one set of eyes. lowest_mated: their first percentile."""

    data: str
    mated: int
    non_mated: int
    decidability: float
    median_mated: float
    lowest_mated: float
    highest_non_mated: float

    def as_dict(self) -> dict[str, object]:
        """The result as plain values."""
        return asdict(self)


def load_eyes(folder: Path, pictures: int) -> Eyes:
    """The first `pictures` of every eye: each folder below `folder` that holds at least two pictures is one eye.

    Raises RemoteError where there are fewer than two eyes.
    """
    eyes = []
    for place in sorted(each for each in folder.rglob("*") if each.is_dir()):
        files = [path for path in sorted(place.iterdir()) if path.suffix.lower() in _SUFFIXES][:pictures]
        read = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in files]
        images = [np.asarray(image, dtype=np.uint8) for image in read if image is not None]
        if len(images) >= 2:
            eyes.append(images)
    if len(eyes) < 2:
        raise RemoteError(
            f"{folder} holds no eyes.", next_step="Give a folder with one folder of pictures for each eye."
        )
    return eyes


def synthetic_eyes(seed: int, people: int, pictures: int) -> Eyes:
    """Both eyes of as many synthetic people."""
    return [[person(seed, index).iris(eye, k) for k in range(pictures)] for index in range(people) for eye in BOTH_EYES]


def part(
    data: str, eyes: Eyes, extract: Callable[[NDArray[np.uint8]], Any], compare: Callable[[Any, Any], float]
) -> IrisResult:
    """Scores of all mated and non-mated pairs of a set, and how far apart they stand."""
    templates = [[extract(image) for image in eye] for eye in eyes]
    mated = np.array([compare(a, b) for eye in templates for a, b in combinations(eye, 2)])
    non_mated = np.array([compare(a[0], b[0]) for a, b in combinations(templates, 2)])
    like, unlike = np.sqrt(np.maximum(mated, 0)), np.sqrt(np.maximum(non_mated, 0))
    spread = float(np.sqrt((like.var() + unlike.var()) / 2))
    return IrisResult(
        data=data,
        mated=mated.size,
        non_mated=non_mated.size,
        decidability=float(like.mean() - unlike.mean()) / max(spread, 1e-9),
        median_mated=float(np.median(mated)),
        lowest_mated=float(np.percentile(mated, 1)),
        highest_non_mated=float(non_mated.max()),
    )
