"""Comparisons per second of the 1:N kernel, beside a C loop of the same work, in one run on one thread.

The C loop is the plainest one that a compiler can make fast: it exists to show what the machine could do, and is
compiled only where a compiler is at hand.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.c_loop import compiled
from edge.matcher_lite.iris_kernel import Words, score_all, score_likely

_C_LOOP = """
#include <stdint.h>
#include <math.h>
void score_all(const uint64_t *codes, const uint64_t *masks, long rotations, const uint64_t *references,
               const uint64_t *reference_masks, long count, long words, long joint_min, float typical, float *out) {
  for (long j = 0; j < count; j++) {
    float best = 0;
    for (long k = 0; k < rotations; k++) {
      uint64_t joint = 0, differing = 0;
      for (long w = 0; w < words; w++) {
        uint64_t both = masks[k * words + w] & reference_masks[j * words + w];
        joint += __builtin_popcountll(both);
        differing += __builtin_popcountll((codes[k * words + w] ^ references[j * words + w]) & both);
      }
      if (joint < (uint64_t)joint_min) continue;
      float score = 0.5f * (float)((long)joint - 2 * (long)differing) / sqrtf((float)joint * typical);
      if (score > best) best = score;
    }
    out[j] = best;
  }
}
"""


@dataclass(frozen=True, slots=True)
class KernelSpeed:
    """Comparisons per second, exact at all rotations and prefiltered. c_per_s: None without a C compiler."""

    references: int
    rotations: int
    kernel_per_s: float
    prefiltered_per_s: float
    c_per_s: float | None

    @property
    def ratio(self) -> float | None:
        """Kernel over C."""
        return self.kernel_per_s / self.c_per_s if self.c_per_s else None


def measure(references: int = 200_000, rounds: int = 3, seed: int = 1) -> KernelSpeed:
    """Best of `rounds` runs over random codes whose masks trust two bits in three."""
    rng = np.random.default_rng(seed)
    rotations = 2 * p.ROTATIONS + 1

    def words(rows: int) -> Words:
        return rng.integers(0, 2**64, (rows, p.CODE_WORDS), dtype=np.uint64)

    codes, masks = words(rotations), words(rotations) | words(rotations)
    gallery, gallery_masks = words(references), words(references) | words(references)

    def run_kernel() -> None:
        score_all(codes, masks, gallery, gallery_masks, p.JOINT_BITS_MIN)

    def run_prefiltered() -> None:
        score_likely(codes, masks, gallery, gallery_masks, p.JOINT_BITS_MIN, p.PREFILTER_Z)

    kernel = references / _best(run_kernel, rounds)
    prefiltered = references / _best(run_prefiltered, rounds)
    run_c = _c_runner(codes, masks, gallery, gallery_masks)
    c_loop = references / _best(run_c, rounds) if run_c else None
    return KernelSpeed(references, rotations, kernel, prefiltered, c_loop)


def _best(run: Callable[[], None], rounds: int) -> float:
    run()
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        spent.append(time.process_time() - started)
    return max(min(spent), 1e-9)


def _c_runner(codes: Words, masks: Words, gallery: Words, gallery_masks: Words) -> Callable[[], None] | None:
    """The C loop over the same arrays, None without a compiler."""
    function = compiled(_C_LOOP, "score_all")
    if function is None:
        return None
    out = np.zeros(len(gallery), dtype=np.float32)

    def run() -> None:
        # The arrays themselves stay in this closure: a bare pointer would not keep them alive.
        function(
            ctypes.c_void_p(codes.ctypes.data),
            ctypes.c_void_p(masks.ctypes.data),
            ctypes.c_long(len(codes)),
            ctypes.c_void_p(gallery.ctypes.data),
            ctypes.c_void_p(gallery_masks.ctypes.data),
            ctypes.c_long(len(gallery)),
            ctypes.c_long(p.CODE_WORDS),
            ctypes.c_long(p.JOINT_BITS_MIN),
            ctypes.c_float(p.JOINT_BITS_TYPICAL),
            ctypes.c_void_p(out.ctypes.data),
        )

    return run
