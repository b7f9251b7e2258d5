"""Comparisons per second of the 1:N kernel, beside a C loop of the same work, in one run on one thread.

The C loop is the plainest one that a compiler can make fast: it exists to show what the machine could do, and is
compiled only where a compiler is at hand. With somebody's eyes the gallery is made of their codes, so that the
prefilter meets what it will meet, and its loss is counted on their mated pairs.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import beta

from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.c_loop import compiled
from edge.matcher_lite.iris_kernel import EXACT, LIKELY, Words, score_all
from edge.matcher_lite.iris_template import IrisTemplate, probe_rotations

PROBES: Final = 4
CONFIDENCE: Final = 0.95

_C_LOOP = """
#include <stdint.h>
#include <math.h>
typedef struct { const uint64_t *codes, *masks; long words, joint_min; } probe_t;
static inline float one(const probe_t *p, long k, const uint64_t *code, const uint64_t *mask) {
  uint64_t joint = 0, differing = 0;
  for (long w = 0; w < p->words; w++) {
    uint64_t both = p->masks[k * p->words + w] & mask[w];
    joint += __builtin_popcountll(both);
    differing += __builtin_popcountll((p->codes[k * p->words + w] ^ code[w]) & both);
  }
  if (joint < (uint64_t)p->joint_min) return 0;
  return (float)((long)joint - 2 * (long)differing) / sqrtf((float)joint);
}
void score_all(const uint64_t *codes, const uint64_t *masks, long rotations, long step, long reach,
               const uint64_t *references, const uint64_t *reference_masks, long count, long words, long joint_min,
               float typical, float *out) {
  probe_t p = {codes, masks, words, joint_min};
  for (long j = 0; j < count; j++) {
    const uint64_t *code = references + j * words, *mask = reference_masks + j * words;
    float best = 0;
    long middle = -1;
    for (long k = (rotations / 2) % step; k < rotations; k += step) {
      float score = one(&p, k, code, mask);
      if (score > best) { best = score; middle = k; }
    }
    for (long k = middle < reach ? 0 : middle - reach; middle >= 0 && k <= middle + reach && k < rotations; k++) {
      float score = k == middle ? 0 : one(&p, k, code, mask);
      if (score > best) best = score;
    }
    out[j] = 0.5f * best / sqrtf(typical);
  }
}
"""


@dataclass(frozen=True, slots=True)
class KernelSpeed:
    """Comparisons per second, exact and prefiltered. c_per_s: the C loop's, None without a C compiler."""

    references: int
    kernel_per_s: float
    prefiltered_per_s: float
    c_per_s: float | None

    @property
    def ratio(self) -> float | None:
        """Kernel over C."""
        return self.kernel_per_s / self.c_per_s if self.c_per_s else None


@dataclass(frozen=True, slots=True)
class PrefilterLoss:
    """Mated pairs whose score the prefilter changed, of all; and the share of non-mated pairs that it turned finely."""

    lost: int
    mated: int
    kept_share: float

    @property
    def upper_bound(self) -> float:
        """Upper end of the one-sided 95 % confidence interval of the share lost (Clopper and Pearson)."""
        return float(beta.ppf(CONFIDENCE, self.lost + 1, self.mated - self.lost))


def measure(references: int, templates: Sequence[IrisTemplate] = (), *, rounds: int = 3, seed: int = 1) -> KernelSpeed:
    """Best of `rounds` runs of PROBES probes over a gallery of these templates again and again.

    Without templates codes are random and their masks trust two bits in three.
    """
    rng = np.random.default_rng(seed)

    def words(rows: int) -> Words:
        return rng.integers(0, 2**64, (rows, p.CODE_WORDS), dtype=np.uint64)

    rotations = 2 * p.ROTATIONS + 1
    if templates:
        probes = [probe_rotations(each) for each in templates[:: max(len(templates) // PROBES, 1)][:PROBES]]
        gallery = np.resize(np.stack([each.code for each in templates]), (references, p.CODE_WORDS))
        masks = np.resize(np.stack([each.mask for each in templates]), (references, p.CODE_WORDS))
    else:
        probes = [(words(rotations), words(rotations) | words(rotations)) for _ in range(PROBES)]
        gallery, masks = words(references), words(references) | words(references)

    def run(mode: int) -> Callable[[], None]:
        def search() -> None:
            for probe in probes:
                score_all(*probe, gallery, masks, p.JOINT_BITS_MIN, mode)

        return search

    each = references * len(probes)
    kernel, prefiltered = each / _best(run(EXACT), rounds), each / _best(run(LIKELY), rounds)
    run_c = _c_runner(probes, gallery, masks)
    return KernelSpeed(references, kernel, prefiltered, each / _best(run_c, rounds) if run_c else None)


def prefilter_loss(templates: Sequence[IrisTemplate], identities: Sequence[object]) -> PrefilterLoss:
    """What the prefilter loses on all pairs of these templates; equal identities are mated."""
    codes, masks = np.stack([each.code for each in templates]), np.stack([each.mask for each in templates])
    numbers = {identity: number for number, identity in enumerate(dict.fromkeys(identities))}
    whose = np.array([numbers[identity] for identity in identities])
    lost = mated = kept = non_mated = 0
    for row in range(len(templates) - 1):
        probe = *probe_rotations(templates[row]), codes[row + 1 :], masks[row + 1 :], p.JOINT_BITS_MIN
        exact, likely = score_all(*probe, EXACT), score_all(*probe, LIKELY)
        same = whose[row + 1 :] == whose[row]
        mated += int(same.sum())
        lost += int((likely != exact)[same].sum())
        non_mated += int((~same).sum())
        kept += int((likely != 0)[~same].sum())
    return PrefilterLoss(lost, mated, kept / max(non_mated, 1))


def _best(run: Callable[[], None], rounds: int) -> float:
    run()
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        spent.append(time.process_time() - started)
    return max(min(spent), 1e-9)


def _c_runner(probes: Sequence[tuple[Words, Words]], gallery: Words, masks: Words) -> Callable[[], None] | None:
    """The C loop over the same arrays, None without a compiler."""
    function = compiled(_C_LOOP, "score_all")
    if function is None:
        return None
    out = np.zeros(len(gallery), dtype=np.float32)

    def run() -> None:
        # The arrays themselves stay in this closure: a bare pointer would not keep them alive.
        for codes, code_masks in probes:
            function(
                ctypes.c_void_p(codes.ctypes.data),
                ctypes.c_void_p(code_masks.ctypes.data),
                ctypes.c_long(len(codes)),
                ctypes.c_long(p.COARSE_STEP),
                ctypes.c_long(p.FINE_REACH),
                ctypes.c_void_p(gallery.ctypes.data),
                ctypes.c_void_p(masks.ctypes.data),
                ctypes.c_long(len(gallery)),
                ctypes.c_long(p.CODE_WORDS),
                ctypes.c_long(p.JOINT_BITS_MIN),
                ctypes.c_float(p.JOINT_BITS_TYPICAL),
                ctypes.c_void_p(out.ctypes.data),
            )

    return run
