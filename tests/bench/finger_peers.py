"""Our fingers beside NIST's NBIS (mindtct and bozorth3, compiled C) on the same prints, in one run on one thread.

    python -m tests.bench.finger_peers DIR [PPI]     DIR of FINGER_IMPRESSION images, as for rekam-match evaluate

Processor times, so that their ratio holds on a busy machine too. NBIS is fetched and compiled once; see
virtual.finger_nbis. It is a comparison partner only: nothing of it ships.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contract.errors import RekamError
from edge.matcher_lite import compare, extract
from edge.matcher_lite.finger_evaluation import equal_error_rate, fnmr_at, image_paths
from edge.matcher_lite.finger_file import read_image
from virtual.finger_nbis import LIBRARY, Nbis, build_library

Image = Any
Template = Any


def judge(
    name: str, images: Sequence[tuple[str, str, Image, int]], make: Callable[..., Template], like: Callable[..., float]
) -> dict[str, float]:
    """Error rates in per cent by the FVC protocol, milliseconds an extraction, comparisons a second."""
    make(images[0][2], images[0][3])
    started = time.process_time()
    templates = [make(image, ppi) for _, _, image, ppi in images]
    extract_ms = 1e3 * (time.process_time() - started) / len(images)
    like(templates[0], templates[1])
    mated, standard, cross = [], [], []
    started = time.process_time()
    for (one, first), (two, second) in itertools.combinations(zip(images, templates, strict=True), 2):
        score = float(like(first, second))
        if one[0] == two[0]:
            mated.append(score)
        else:
            cross.append(score)
            if one[1] == two[1] == images[0][1]:
                standard.append(score)
    per_s = (len(mated) + len(cross)) / (time.process_time() - started)
    arrays = [np.array(scores, np.float64) for scores in (mated, standard, cross)]
    figures = {
        "eer": 100 * equal_error_rate(arrays[0], arrays[1]),
        "fnmr_fmr1000_cross": 100 * fnmr_at(arrays[0], arrays[2], 1e-3),
        "extract_ms": extract_ms,
        "comparisons_per_s": per_s,
    }
    print(f"{name:14}" + "".join(f"{key} {value:10.4g}   " for key, value in figures.items()))
    return figures


def main(folder: Path, ppi: int | None) -> None:
    """Prints both and the ratios."""
    if not LIBRARY.exists():
        build_library()
    images = []
    for path in image_paths(folder):
        finger, _, impression = path.stem.partition("_")
        images.append((finger, impression, *read_image(path, ppi)))
    nbis = Nbis()
    ours = judge("matcher_lite", images, extract, lambda a, b: compare(a, b).value)
    theirs = judge("NBIS", images, nbis.extract, nbis.compare)
    print(
        f"extraction {theirs['extract_ms'] / ours['extract_ms']:.1f} times as fast, "
        f"comparison {ours['comparisons_per_s'] / theirs['comparisons_per_s']:.0f} times"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("ppi", type=int, nargs="?", metavar="PPI")
    options = parser.parse_args()
    try:
        main(options.folder, options.ppi)
    except RekamError as error:
        sys.exit(f"{error.message}\n{error.next_step}")
