"""Measures speed, memory, and what the first stage of a search loses, on a folder of prints of the user's own.

Times are processor time of one thread, so that another process takes nothing away; a loop of C over the same arrays
shows what the machine could do. For the speed of a search the gallery is filled up with repetitions: how fast it runs
depends on the number of minutiae, not on whose they are.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from contract.errors import RekamError
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.c_loop import compiled
from edge.matcher_lite.finger_compare import compare
from edge.matcher_lite.finger_evaluation import Told, enrol
from edge.matcher_lite.finger_gallery import FingerGallery, short_form
from edge.matcher_lite.finger_gallery_kernel import short_scores
from edge.matcher_lite.finger_search_loss import search_loss
from edge.matcher_lite.finger_template import FingerTemplate

_PAIRS = 3000
_ISO_PAIRS = 300
_PROBES = 10
_ROUNDS = 3  # the best counts: noise only ever adds

# The plainest loop over the same arrays that a compiler can make fast.
_C_LOOP = """
#include <stdint.h>
#include <string.h>
#include <math.h>
void short_scores(const uint64_t *words, const uint8_t *probe_bins, long probes, const uint64_t *gallery,
                  const uint8_t *bins, const int32_t *counts, long rows, long slots, long turns, long ramp,
                  float *scores) {
  int32_t votes[64];
  for (long row = 0; row < rows; row++) {
    memset(votes, 0, sizeof votes);
    for (long slot = row * slots; slot < row * slots + counts[row]; slot++) {
      uint64_t nearest = (uint64_t)ramp << 8;
      for (long m = 0; m < probes; m++) {
        uint64_t bits = __builtin_popcountll(gallery[2 * slot] ^ words[m])
                      + __builtin_popcountll(gallery[2 * slot + 1] ^ words[probes + m]);
        uint64_t packed = bits << 8 | (uint64_t)m;
        nearest = packed < nearest ? packed : nearest;
      }
      long distance = (long)(nearest >> 8);
      if (distance >= ramp) continue;
      long turn = (long)bins[slot] - (long)probe_bins[nearest & 255];
      votes[turn >= 0 ? turn + 1 : turn + turns + 1] += (int32_t)(ramp - distance);
    }
    votes[0] = votes[turns];
    votes[turns + 1] = votes[1];
    int32_t best = 0;
    for (long place = 1; place <= turns; place++) {
      int32_t three = votes[place - 1] + votes[place] + votes[place + 1];
      best = three > best ? three : best;
    }
    scores[row] = counts[row] ? (float)best / powf((float)counts[row] + 10.0f, 0.6f) : 0.0f;
  }
}
"""

# A process of its own, as a unit starts it: modules, compiled code from the cache, one extraction, one decision.
_COLD_START = """
import json, time
from pathlib import Path
started = time.perf_counter()
from edge.matcher_lite import compare, extract
from edge.matcher_lite.finger_warm import ridge_pattern
image = ridge_pattern()
template = extract(image)
compare(template, template).decide(1e-4)
spent = time.perf_counter() - started
resident = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(json.dumps([spent, time.process_time(), int(resident) / 1024]))
"""


def bench(folder: Path, ppi: int | None, gallery_size: int, told: Told) -> dict[str, float]:
    """Figures by name; RekamError without two fingers of two impressions each. told: hears what is going on."""
    prints = [item for item in enrol(folder, ppi, 1, told=told) if item.template is not None]
    by_finger: dict[str, list[FingerTemplate]] = {}
    for item in prints:
        if item.template is not None:
            by_finger.setdefault(item.finger, []).append(item.template)
    if sum(len(found) > 1 for found in by_finger.values()) < 2:
        raise RekamError("Measuring needs two fingers with two impressions each.", next_step="Give a larger folder.")
    templates = [template for found in by_finger.values() for template in found]
    told("Comparing one to one")
    figures = {
        "extract_ms": float(np.median([item.extract_ms for item in prints])),
        "minutiae": float(np.mean([template.minutiae for template in templates])),
        **_one_to_one(templates),
    }
    told(f"Searching among {gallery_size}")
    figures |= _one_to_many(templates, gallery_size)
    told("Starting a process")
    figures |= cold_start()
    return figures | search_loss(by_finger, told)


def _one_to_one(templates: list[FingerTemplate]) -> dict[str, float]:
    pairs = list(itertools.islice(itertools.cycle(itertools.combinations(templates, 2)), _PAIRS))
    records = [(first.to_iso(), second.to_iso()) for first, second in pairs[:: max(len(pairs) // _ISO_PAIRS, 1)]]
    hopeless = sum(compare(first, second).value == 0.0 for first, second in pairs)
    return {
        "comparisons_per_s": len(pairs) / _seconds(lambda: [compare(a, b) for a, b in pairs]),
        "turned_away_at_once_percent": 100 * hopeless / len(pairs),
        "comparisons_of_iso_records_per_s": len(records)
        / _seconds(lambda: [_compare_records(a, b) for a, b in records]),
    }


def _seconds(run: Callable[[], Any]) -> float:
    spent = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        run()
        spent.append(time.process_time() - started)
    return max(min(spent), 1e-9)


def _compare_records(first: bytes, second: bytes) -> float:
    return compare(FingerTemplate.from_iso(first), FingerTemplate.from_iso(second)).value


def _one_to_many(templates: list[FingerTemplate], size: int) -> dict[str, float]:
    """References searched per second in a gallery of `size`: both stages, the first alone, the first in C."""
    gallery = FingerGallery()
    for index, template in zip(range(size), itertools.cycle(templates), strict=False):
        gallery.add(str(index), template)
    probes = templates[:: max(len(templates) // _PROBES, 1)][:_PROBES]
    gallery.search(probes[0])
    work = size * len(probes)
    figures = {
        "searched_per_s": work / _seconds(lambda: [gallery.search(probe) for probe in probes]),
        "first_stage_per_s": work / _seconds(lambda: [gallery.short_scores_by_row(probe) for probe in probes]),
    }
    c_seconds = _c_first_stage(templates, probes, size)
    if c_seconds is not None:
        figures["first_stage_in_c_per_s"] = work / c_seconds
        figures["first_stage_over_c"] = figures["first_stage_per_s"] / figures["first_stage_in_c_per_s"]
    return figures


def _c_first_stage(templates: list[FingerTemplate], probes: list[FingerTemplate], size: int) -> float | None:
    """Seconds that the C loop takes for all probes, None without a compiler."""
    loop = compiled(_C_LOOP, "short_scores")
    if loop is None:
        return None
    words = np.zeros((size * p.SHORT_MINUTIAE, 2), np.uint64)
    bins = np.zeros(size * p.SHORT_MINUTIAE, np.uint8)
    counts = np.zeros(size, np.int32)
    for row, template in zip(range(size), itertools.cycle(templates), strict=False):
        codes, directions = short_form(template)
        start = row * p.SHORT_MINUTIAE
        words[start : start + len(codes)] = codes
        bins[start : start + len(codes)] = directions
        counts[row] = len(codes)
    scores = np.zeros(size, np.float32)
    prepared = [(np.ascontiguousarray(codes.T), directions) for codes, directions in map(short_form, probes)]

    def run(probe: Any, directions: Any) -> None:
        arrays = [ctypes.c_void_p(array.ctypes.data) for array in (probe, directions, words, bins, counts, scores)]
        sizes = [ctypes.c_long(value) for value in (probe.shape[1], size, p.SHORT_MINUTIAE, p.DIRECTION_BINS)]
        ramp = ctypes.c_long(p.SHORT_DISTANCE_MAX)
        loop(arrays[0], arrays[1], sizes[0], *arrays[2:5], *sizes[1:], ramp, arrays[5])

    def run_all() -> None:
        for probe, directions in prepared:
            run(probe, directions)

    run(*prepared[0])
    ours = short_scores(*prepared[0], words, bins, counts)
    if not np.allclose(ours, scores, rtol=1e-4):
        raise RekamError("The C loop gives other scores.", next_step="Report this: the two must do the same work.")
    return _seconds(run_all)


def cold_start() -> dict[str, float]:
    """Seconds and resident memory of a fresh process from its first import to its first decision."""
    done = subprocess.run([sys.executable, "-c", _COLD_START], capture_output=True, text=True, check=True)
    wall, processor, resident = json.loads(done.stdout)
    return {"cold_start_s": wall, "cold_start_processor_s": processor, "resident_mb": resident}
