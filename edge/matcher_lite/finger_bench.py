"""Measures speed, and what the first stage of a search loses, on a folder of prints of the user's own.

The gallery holds one reference a finger for the loss, and is filled up with repetitions for the speed: how fast a
search runs depends on the number of minutiae, not on whose they are.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from contract.errors import RekamError
from edge.matcher_lite.finger_compare import compare
from edge.matcher_lite.finger_evaluation import enrol
from edge.matcher_lite.finger_gallery import FingerGallery
from edge.matcher_lite.finger_template import FingerTemplate

_PAIRS = 3000
_ISO_PAIRS = 300
_PROBES = 10


def bench(folder: Path, ppi: int | None, gallery_size: int) -> dict[str, float]:
    """Figures by name, in processor time of one thread; RekamError without two fingers of two impressions each."""
    prints = [item for item in enrol(folder, ppi, 1) if item.template is not None]
    templates = [item.template for item in prints if item.template is not None]
    by_finger: dict[str, list[FingerTemplate]] = {}
    for item in prints:
        if item.template is not None:
            by_finger.setdefault(item.finger, []).append(item.template)
    mated = {finger: found for finger, found in by_finger.items() if len(found) > 1}
    if len(mated) < 2:
        raise RekamError("Measuring needs two fingers with two impressions each.", next_step="Give a larger folder.")
    pairs = list(itertools.islice(itertools.cycle(itertools.combinations(templates, 2)), _PAIRS))
    records = [(first.to_iso(), second.to_iso()) for first, second in pairs[:_ISO_PAIRS]]
    return {
        "extract_ms": float(np.median([item.extract_ms for item in prints])),
        "minutiae": float(np.mean([template.minutiae for template in templates])),
        "comparisons_per_s": _PAIRS / _seconds(lambda: [compare(a, b) for a, b in pairs]),
        "comparisons_of_iso_records_per_s": _ISO_PAIRS / _seconds(lambda: [_compare_records(a, b) for a, b in records]),
        "searched_per_s": _search_rate(templates, gallery_size),
        **_search_loss(by_finger),
    }


def _seconds(run: Callable[[], Any]) -> float:
    started = time.process_time()
    run()
    return max(time.process_time() - started, 1e-9)


def _compare_records(first: bytes, second: bytes) -> float:
    return compare(FingerTemplate.from_iso(first), FingerTemplate.from_iso(second)).value


def _search_rate(templates: list[FingerTemplate], gallery_size: int) -> float:
    """References searched per second, both stages, in a gallery of `gallery_size`."""
    gallery = FingerGallery()
    for index, template in zip(range(gallery_size), itertools.cycle(templates), strict=False):
        gallery.add(str(index), template)
    probes = templates[:: max(len(templates) // _PROBES, 1)][:_PROBES]
    gallery.search(probes[0])
    return gallery_size * len(probes) / _seconds(lambda: [gallery.search(probe) for probe in probes])


def _search_loss(by_finger: dict[str, list[FingerTemplate]]) -> dict[str, float]:
    """Share of probes whose mate is first exhaustively, and whose mate also survives a first stage that keeps 1 %."""
    gallery = FingerGallery()
    for finger, found in by_finger.items():
        gallery.add(finger, found[0])
    kept = max(round(0.01 * len(gallery)), 1)
    first = survived = probes = 0
    for finger, found in by_finger.items():
        for probe in found[1:]:
            probes += 1
            values = {other: compare(probe, references[0]).value for other, references in by_finger.items()}
            if max(values, key=values.__getitem__) == finger:
                first += 1
                short = gallery.short_scores(probe)
                survived += sum(score > short[finger] for score in short.values()) < kept
    return {
        "fingers": len(gallery),
        "rank1_exhaustive": first / probes,
        "rank1_two_stages_at_1_percent": survived / probes,
    }
