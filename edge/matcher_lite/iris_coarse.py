"""Where pupil and limbus may be, at reduced size: several answers, so that the fine stage can choose.

Every steep gradient votes for the points that it could be the rim of a dark disc around; the best places are judged by
how many directions see a step at the same radius, for pupil and limbus together. A limbus is then looked for around
each pupil: what skin or a lid's edge beside a grey sclera shows is often steeper than the limbus itself, so every
radius that stands out is kept as a hypothesis.
"""

from __future__ import annotations

import math

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_polar import FloatImage, Floats, polar, radial_steps


def reduced(filled: FloatImage) -> tuple[FloatImage, float]:
    """The image at COARSE_WIDTH_PX, slightly blurred, and its scale."""
    height, width = filled.shape
    reduction = p.COARSE_WIDTH_PX / max(height, width)
    size = (max(round(width * reduction), 16), max(round(height * reduction), 16))
    small = cv2.GaussianBlur(cv2.resize(filled, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    return np.asarray(small, dtype=np.float32), reduction


def pupil_hypotheses(small: FloatImage) -> Floats:
    """Rows (score, x, y, radius) of what may be a pupil, in pixels of the reduced image, best first; may be empty."""
    dx = np.asarray(cv2.Sobel(small, cv2.CV_32F, 1, 0, ksize=3), dtype=np.float32)
    dy = np.asarray(cv2.Sobel(small, cv2.CV_32F, 0, 1, ksize=3), dtype=np.float32)
    magnitude = np.hypot(dx, dy)
    floor = max(float(np.quantile(magnitude, 1.0 - p.VOTE_SHARE)), 4.0)
    votes = cv2.GaussianBlur(_vote(dx, dy, magnitude, floor), (0, 0), 1.5)
    places = _peaks(np.asarray(votes, dtype=np.float32))
    found = _judge_places(small, places)
    found = found[found[:, 0] > 0.0]
    return found[np.argsort(-found[:, 0], kind="stable")]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _vote(
    dx: NDArray[np.float32], dy: NDArray[np.float32], magnitude: NDArray[np.float32], floor: float
) -> NDArray[np.float32]:
    """Votes of steep pixels along the way from bright to dark; near votes weigh more, as their aim is better."""
    height, width = magnitude.shape
    votes = np.zeros((height, width), dtype=np.float32)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            steepness = magnitude[y, x]
            if steepness < floor:
                continue
            ux, uy = -dx[y, x] / steepness, -dy[y, x] / steepness
            weight = min(steepness, 80.0) ** 0.5
            for r in range(p.VOTE_RADIUS_MIN, p.VOTE_RADIUS_MAX):
                px, py = int(x + ux * r + 0.5), int(y + uy * r + 0.5)
                if not (0 <= px < width and 0 <= py < height):
                    break
                votes[py, px] += weight / (r + 6.0)
    return votes


@numba.njit(cache=True, nogil=True)
def _peaks(votes: NDArray[np.float32]) -> NDArray[np.int64]:
    """The CANDIDATES places (x, y) of most votes that keep their distance from each other."""
    left = votes.copy()
    _, width = left.shape
    places = np.empty((p.CANDIDATES, 2), dtype=np.int64)
    count = 0
    for _ in range(p.CANDIDATES):
        at = int(np.argmax(left))
        y, x = at // width, at % width
        if left[y, x] <= 0.0:
            break
        places[count, 0], places[count, 1] = x, y
        count += 1
        d = p.CANDIDATE_SPACING
        left[max(0, y - d) : y + d + 1, max(0, x - d) : x + d + 1] = 0.0
    return places[:count]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _judge_places(small: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """(score, x, y, pupil radius) of the best centre near each place: a coarse grid, then single pixels.

    Rows of zeros are places that were beaten before they were judged to the end: they could not be kept.
    """
    found = np.zeros((len(places), 4), dtype=np.float64)
    for k in range(len(places)):
        ordered = np.sort(found[:, 0])[::-1]
        beaten = p.RUNNER_UP_SHARE * ordered[0]
        if len(places) > p.PUPIL_HYPOTHESES:
            beaten = max(beaten, ordered[p.PUPIL_HYPOTHESES])
        for oy in range(-3, 4, 3):
            for ox in range(-3, 4, 3):
                _keep_better(small, float(places[k, 0] + ox), float(places[k, 1] + oy), beaten, found[k])
    found = found[np.argsort(-found[:, 0])][: p.PUPIL_HYPOTHESES + 1]
    for k in range(len(found)):
        if found[k, 0] <= p.RUNNER_UP_SHARE * found[0, 0]:
            found[k, 0] = 0.0
            continue
        for _ in range(2):
            x, y = found[k, 1], found[k, 2]
            for oy in range(-1, 2):
                for ox in range(-1, 2):
                    if ox != 0 or oy != 0:
                        _keep_better(small, x + ox, y + oy, 0.0, found[k])
        for other in range(k):
            if found[other, 0] > 0.0 and math.hypot(found[k, 1] - found[other, 1], found[k, 2] - found[other, 2]) < 4.0:
                found[k if found[k, 0] <= found[other, 0] else other, 0] = 0.0
    return found


@numba.njit(cache=True, nogil=True, fastmath=True)
def _keep_better(small: NDArray[np.float32], x: float, y: float, beaten: float, best: NDArray[np.float64]) -> None:
    """Keep (x, y) in `best` where it scores more than that and than `beaten`."""
    floor = max(best[0], beaten)
    score, pupil = _judge(small, x, y, floor)
    if score > floor:
        best[0], best[1], best[2], best[3] = score, x, y, pupil


@numba.njit(cache=True, nogil=True, fastmath=True)
def _judge(small: NDArray[np.float32], x: float, y: float, floor: float) -> tuple[float, float]:
    """Score of (x, y) as the centre of an eye, with the radius of the pupil that gives it; `floor` where not above.

    A limbus adds LIMBUS_WEIGHT · LIMBUS_SOFT at most, so most centres are known to be worse by their pupil alone.
    """
    near = p.PUPIL_RADIUS_MAX + 5  # samples that the last pupil's step and its neighbours need
    steps = radial_steps(
        polar(small, x, y, 0.0, near - 1.0, p.RING_ANGLES, near), 2, p.PUPIL_STEP_CLIP[0], p.PUPIL_STEP_CLIP[1]
    )
    pupil_score = np.zeros(near, dtype=np.float64)
    for i in range(p.RING_ANGLES):
        for j in range(near):
            pupil_score[j] += steps[i, j] / p.RING_ANGLES
    if pupil_score[p.PUPIL_RADIUS_MIN : p.PUPIL_RADIUS_MAX + 1].max() <= max(
        floor - p.LIMBUS_WEIGHT * p.LIMBUS_SOFT, 0.0
    ):
        return floor, 0.0
    radii = p.LIMBUS_RADIUS_MAX
    sums = _sums(polar(small, x, y, 0.0, radii - 1.0, p.RING_ANGLES, radii))
    best, best_pupil = floor, 0.0
    for a in range(p.PUPIL_RADIUS_MIN, p.PUPIL_RADIUS_MAX + 1):
        if pupil_score[a] <= max(best - p.LIMBUS_WEIGHT * p.LIMBUS_SOFT, 0.0):
            continue
        if pupil_score[a] < max(pupil_score[a - 1], pupil_score[a + 1]):
            continue
        limbus_score = ring_scores(sums, float(a), 0.0).max()
        score = pupil_score[a] + p.LIMBUS_WEIGHT * limbus_score
        if limbus_score > 0.0 and score > best:
            best, best_pupil = score, float(a)
    return best, best_pupil


_RING = 2.0 * np.pi * np.arange(p.RING_ANGLES) / p.RING_ANGLES
_SIDES = np.where(np.abs(np.sin(_RING)) < 0.6, 1.0, p.LIMBUS_LID_WEIGHT)
_RIGHT, _LEFT = np.where(np.cos(_RING) > 0, _SIDES, 0.0), np.where(np.cos(_RING) > 0, 0.0, _SIDES)
_WEIGHT = float(_SIDES.sum())


@numba.njit(cache=True, nogil=True, fastmath=True)
def _sums(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums of each direction's samples up to each radius: shape (radii + 1, angles), so that directions go abreast."""
    angles, radii = samples.shape
    sums = np.zeros((radii + 1, angles), dtype=np.float64)
    for j in range(radii):
        for i in range(angles):
            sums[j + 1, i] = sums[j, i] + samples[i, j]
    return sums


@numba.njit(cache=True, nogil=True, fastmath=True)
def ring_scores(sums: NDArray[np.float64], pupil: float, offset: float) -> NDArray[np.float64]:
    """How well each radius would do as the limbus: shape (radii,), 0 where it cannot be.

    sums: (radii + 1, RING_ANGLES) of samples 1 pixel apart. pupil, offset: the pupil's radius, and how far its centre
    is from the samples'. A direction counts by the lesser of two rises: over the step itself, and from the whole iris
    up to it, which a ring within the iris does not have. Rises saturate early: what counts is how many directions
    agree, or a lid's edge would outweigh a faint limbus. The sides count most, since lids cover the rest, and both must
    agree.
    """
    angles, radii = sums.shape[1], sums.shape[0] - 1
    low = max(int(pupil / p.PUPIL_TO_IRIS_MAX), int(pupil) + 6) + 1 + int(offset + 0.5)
    high = min(int(pupil / p.PUPIL_TO_IRIS_MIN), radii - 9)
    first = int(pupil + offset) + 2
    scores = np.zeros(radii, dtype=np.float64)
    for b in range(low, high + 1):
        reach = 3 + b // 16
        right, left = 0.0, 0.0
        for i in range(angles):
            outer = (sums[b + reach + 1, i] - sums[b + 1, i]) / reach
            rise = outer - (sums[b, i] - sums[b - reach, i]) / reach
            overall = outer - (sums[b, i] - sums[first, i]) / (b - first)
            value = max(min(rise, 0.8 * overall + p.LIMBUS_SLACK), p.LIMBUS_FALL_MAX)
            value /= 1.0 + abs(value) / p.LIMBUS_SOFT
            right += _RIGHT[i] * value
            left += _LEFT[i] * value
        both = (1.0 - p.LIMBUS_WEAKER_SIDE) * (left + right) + p.LIMBUS_WEAKER_SIDE * 2.0 * min(left, right)
        if both > 0.0:
            scores[b] = both / _WEIGHT * likelihood_of_ratio(pupil / b) * likelihood_of_size(b)
    return scores


@numba.njit(cache=True, nogil=True)
def likelihood_of_ratio(ratio: float) -> float:
    """1 for an everyday pupil, less for one that is very small or wide for its iris."""
    departure = max(abs(math.log(max(ratio, 1e-3) / p.RATIO_TYPICAL)) - p.RATIO_FREE, 0.0) / p.RATIO_SPREAD
    return math.exp(-0.5 * departure * departure)


@numba.njit(cache=True, nogil=True)
def likelihood_of_size(radius: float) -> float:
    """1 for an iris as large in its picture as cameras are built to show it, less for a small one."""
    departure = max(math.log(p.LIMBUS_RADIUS_USUAL / max(radius, 1.0)), 0.0) / p.SIZE_SPREAD
    return math.exp(-0.5 * departure * departure)


@numba.njit(cache=True, nogil=True, fastmath=True)
def limbus_hypotheses(small: NDArray[np.float32], x: float, y: float, pupil: float) -> NDArray[np.float64]:
    """Rows (score, x, y, radius) of what may be the limbus around a known pupil, best first, at most LIMBUS_HYPOTHESES.

    Centres are seldom more than a fifth of the pupil's radius apart.
    """
    radii = p.LIMBUS_RADIUS_MAX
    best = np.zeros((radii, 4), dtype=np.float64)
    reach = max(2, int(0.2 * pupil + 0.5))
    for oy in range(-reach, reach + 1, 2):
        for ox in range(-reach, reach + 1):
            samples = polar(small, x + ox, y + oy, 0.0, radii - 1.0, p.RING_ANGLES, radii)
            scores = ring_scores(_sums(samples), pupil, math.hypot(ox, oy))
            for b in range(radii):
                score = scores[b] * (1.0 - 0.02 * abs(ox) - 0.05 * abs(oy))
                if score > best[b, 0]:
                    best[b, 0], best[b, 1], best[b, 2], best[b, 3] = score, x + ox, y + oy, float(b)
    found = np.zeros((p.LIMBUS_HYPOTHESES, 4), dtype=np.float64)
    count = 0
    while count < p.LIMBUS_HYPOTHESES:
        b = int(np.argmax(best[:, 0]))
        if best[b, 0] <= p.LIMBUS_RUNNER_UP * found[0, 0] or best[b, 0] <= 0.0:
            break
        found[count] = best[b]
        count += 1
        spare = max(2, int(p.LIMBUS_SPACING * b))
        best[max(0, b - spare) : b + spare + 1, 0] = 0.0
    if count < p.LIMBUS_HYPOTHESES:
        # Nothing stands out, or little: an iris of the usual size is there for the asking.
        found[count, 1], found[count, 2], found[count, 3] = x, y, pupil / p.RATIO_TYPICAL
        count += 1
    return found[:count]
