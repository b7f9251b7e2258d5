"""Compares two prepared minutia sets: pair by code, let pairs that agree strengthen each other, check one alignment.

A pair joins a probe minutia and a reference minutia whose codes are alike. Where even the most alike are hardly more so
than chance, nothing more is done: the greater part of all comparisons with others ends here. True pairs agree with each
other on distance, bearing and rotation; relaxation moves each pair's strength towards the support of the others. At
last a rigid motion is fitted to the strongest pairs, and others to what agrees with each of the very strongest: where
skin was stretched or chance pairs stand among the true ones, one motion for all fits nothing. The minutiae that meet
under the best motion add the likeness of their codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import njit
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p

Plane = NDArray[np.float32]
Codes = NDArray[np.uint64]
Pairs = NDArray[np.int32]

_PAIRS_MAX = p.PAIRS_MAX
_TURN_COSINE_MIN = p.ROTATION_COSINE_MIN
_STEPS = p.RELAXATION_STEPS
_INERTIA = np.float32(p.RELAXATION_INERTIA)
_DISTANCE_MAX = p.CODE_DISTANCE_MAX
_SLACK = np.float32(p.PAIR_SLACK)
_STRETCH = np.float32(p.PAIR_STRETCH)
_BEARING = np.float32(p.PAIR_BEARING)
_ROTATION = np.float32(p.PAIR_ROTATION)
_STRONGEST_MIN = p.STRONGEST_MIN
_STRONGEST_MAX = p.STRONGEST_MAX
_MEET_DISTANCE = np.float32(p.MEET_DISTANCE)
_MEET_COSINE = np.float32(p.MEET_COSINE_MIN)
_MEETING_FREE = p.MEETING_FREE
_HOPELESS = p.HOPELESS_LIKENESS
_ALIGNMENTS = p.ALIGNMENTS
_ALIGN_AGAIN = p.ALIGN_AGAIN_SCORE
_ALIGN_AGAIN_GAIN = p.ALIGN_AGAIN_GAIN


def _population_count(_typing: Any, _word: Any) -> Any:
    """Population count of a 64-bit word: one machine instruction where there is one."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


count_ones = cast("Callable[[Any], int]", intrinsic(_population_count))


@njit(cache=True, nogil=True, error_model="numpy")
def _distances(ga: Plane, ca: Codes, gb: Plane, cb: Codes) -> NDArray[np.uint8]:
    """Hamming distance of each pair, at most 128, which stands for unrelated or turned too far: (na, nb)."""
    distance = np.empty((ga.shape[1], gb.shape[1]), np.uint8)
    b0, b1, b2, b3 = cb[0], cb[1], cb[2], cb[3]
    cosine, sine = gb[2], gb[3]
    for i in range(distance.shape[0]):
        c, s = ga[2, i], ga[3, i]
        a0, a1, a2, a3 = ca[0, i], ca[1, i], ca[2, i], ca[3, i]
        row = distance[i]
        for j in range(distance.shape[1]):
            bits = count_ones(a0 ^ b0[j]) + count_ones(a1 ^ b1[j]) + count_ones(a2 ^ b2[j]) + count_ones(a3 ^ b3[j])
            related = (c * cosine[j] + s * sine[j] >= _TURN_COSINE_MIN) & (bits < _DISTANCE_MAX)
            row[j] = np.uint8(bits) if related else np.uint8(_DISTANCE_MAX)
    return distance


@njit(cache=True, nogil=True, error_model="numpy")
def _at_most(values: NDArray[np.uint8], limit: int) -> int:
    """How many values are at most `limit`."""
    count = 0
    bound = np.uint8(limit)
    for n in range(values.shape[0]):
        count += 1 if values[n] <= bound else 0
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _pair_up(ga: Plane, ca: Codes, gb: Plane, cb: Codes, pairs: Pairs, distances: Pairs) -> int:
    """The nearest minutiae by code, as many as `pairs` (2, n) and `distances` (n,) hold; returns how many."""
    wanted = distances.shape[0]
    distance = _distances(ga, ca, gb, cb)
    flat = distance.reshape(distance.size)
    low = 0
    limit = _DISTANCE_MAX - 1
    while low < limit:
        middle = (low + limit) // 2
        if _at_most(flat, middle) >= wanted:
            limit = middle
        else:
            low = middle + 1
    below = _at_most(flat, limit - 1) if limit > 0 else 0
    ties = wanted - below
    nb = distance.shape[1]
    count = 0
    for n in range(flat.shape[0]):
        value = np.int64(flat[n])
        if value > limit or (value == limit and ties <= 0):
            continue
        if value == limit:
            ties -= 1
        pairs[0, count] = n // nb
        pairs[1, count] = n % nb
        distances[count] = value
        count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _hopeless(distances: Pairs, count: int) -> bool:
    """Whether the paired codes are so little alike that no finger of anybody's could match."""
    apart = 0
    for k in range(count):
        apart += distances[k]
    return apart > (1.0 - _HOPELESS) * _DISTANCE_MAX * count


@njit(cache=True, nogil=True, error_model="numpy")
def _relax(ga: Plane, gb: Plane, pairs: Pairs, distances: Pairs, start: Plane, strength: Plane, support: Plane) -> None:
    """Strength of each pair before (`start`) and after relaxation (`strength`), and how they agree, (n, n)."""
    count = start.shape[0]
    rows = np.empty((6, count), np.float32)
    for k in range(count):
        i = pairs[0, k]
        j = pairs[1, k]
        rows[0, k] = ga[0, i]
        rows[1, k] = ga[1, i]
        rows[2, k] = gb[0, j]
        rows[3, k] = gb[1, j]
        rows[4, k] = ga[2, i] * gb[2, j] + ga[3, i] * gb[3, j]  # rotation that takes b to a
        rows[5, k] = ga[3, i] * gb[2, j] - ga[2, i] * gb[3, j]
        start[k] = np.float32(1.0) - np.float32(distances[k]) / np.float32(_DISTANCE_MAX)
        strength[k] = start[k]
    for k in range(count):
        _support(rows, k, support[k])
        support[k, k] = 0.0
    share = (np.float32(1.0) - _INERTIA) / np.float32(max(count - 1, 1))
    total = np.empty(count, np.float32)
    for _ in range(_STEPS):
        total[:] = 0.0
        for k in range(count):
            value = strength[k]
            for m in range(count):
                total[m] += support[k, m] * value
        for k in range(count):
            strength[k] = _INERTIA * strength[k] + share * total[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _support(rows: Plane, k: int, support: Plane) -> None:
    """How well each pair agrees with pair k, 0..1; symmetric, 0 with itself. Written so that it runs in lanes."""
    one = np.float32(1.0)
    zero = np.float32(0.0)
    half = np.float32(0.5)
    xa, ya, xb, yb, cosine, sine = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    xa_k, ya_k, xb_k, yb_k, c_k, s_k = xa[k], ya[k], xb[k], yb[k], cosine[k], sine[k]
    for m in range(support.shape[0]):
        ax = xa[m] - xa_k
        ay = ya[m] - ya_k
        bx = xb[m] - xb_k
        by = yb[m] - yb_k
        da = np.sqrt(ax * ax + ay * ay)
        db = np.sqrt(bx * bx + by * by)
        c = half * (c_k + cosine[m])  # the mean rotation; its length is near one where rotations agree
        s = half * (s_k + sine[m])
        turned_x = c * bx - s * by
        turned_y = s * bx + c * by
        length = (da - db) / (_SLACK + _STRETCH * (da + db))
        bearing = (ax * turned_y - ay * turned_x) / ((one + da * db) * _BEARING)
        rotation = (c_k * sine[m] - s_k * cosine[m]) / _ROTATION
        agreement = one - (length * length + bearing * bearing + rotation * rotation)
        forward = ax * turned_x + ay * turned_y
        turned = c_k * cosine[m] + s_k * sine[m]
        support[m] = agreement * agreement if (agreement > zero) & (forward > zero) & (turned > zero) else zero


@njit(cache=True, nogil=True, error_model="numpy")
def _strongest(start: Plane, strength: Plane, count: int, wanted: int, order: Pairs) -> int:
    """Indices of the `wanted` pairs whose strength held best against their start; returns how many."""
    gained = np.empty(count, np.float32)
    for k in range(count):
        gained[k] = strength[k] / start[k] if start[k] > 0.0 else 0.0
    taken = min(wanted, count)
    for n in range(taken):
        best = 0
        for k in range(1, count):
            if gained[k] > gained[best]:
                best = k
        order[n] = best
        gained[best] = -1.0
    return taken


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(ga: Plane, gb: Plane, pairs: Pairs, weight: Plane, chosen: Pairs, count: int, motion: Plane) -> bool:
    """Least-squares rigid motion of b onto a over the chosen pairs: motion = (cos, sin, x, y)."""
    w = ax = ay = bx = by = 0.0
    for n in range(count):
        k = chosen[n]
        v = weight[k]
        w += v
        ax += v * ga[0, pairs[0, k]]
        ay += v * ga[1, pairs[0, k]]
        bx += v * gb[0, pairs[1, k]]
        by += v * gb[1, pairs[1, k]]
    if w <= 0.0:
        return False
    ax, ay, bx, by = ax / w, ay / w, bx / w, by / w
    c = s = 0.0
    for n in range(count):
        k = chosen[n]
        i = pairs[0, k]
        j = pairs[1, k]
        v = weight[k]
        ux, uy = ga[0, i] - ax, ga[1, i] - ay
        vx, vy = gb[0, j] - bx, gb[1, j] - by
        c += v * (ux * vx + uy * vy + 100.0 * (ga[2, i] * gb[2, j] + ga[3, i] * gb[3, j]))
        s += v * (uy * vx - ux * vy + 100.0 * (ga[3, i] * gb[2, j] - ga[2, i] * gb[3, j]))
    size = math.sqrt(c * c + s * s)
    if size <= 0.0:
        return False
    c, s = c / size, s / size
    motion[0] = c
    motion[1] = s
    motion[2] = ax - (c * bx - s * by)
    motion[3] = ay - (s * bx + c * by)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_around(
    ga: Plane, gb: Plane, pairs: Pairs, strength: Plane, agreement: Plane, chosen: int, motion: Plane
) -> bool:
    """Motion over the pair `chosen` and those that agree with it, each by its strength and agreement."""
    count = strength.shape[0]
    everyone = np.arange(count).astype(np.int32)
    weight = agreement * strength
    weight[chosen] = strength[chosen]
    return bool(_fit(ga, gb, pairs, weight, everyone, count, motion))


@njit(cache=True, nogil=True, error_model="numpy")
def _meet(ga: Plane, gb: Plane, motion: Plane, met: Pairs) -> int:
    """How many minutiae meet under the motion, each with its nearest partner; listed in `met`, (2, n) int32."""
    nb = gb.shape[1]
    moved = np.empty((4, nb), np.float32)
    c, s, tx, ty = motion[0], motion[1], motion[2], motion[3]
    for j in range(nb):
        moved[0, j] = c * gb[0, j] - s * gb[1, j] + tx
        moved[1, j] = s * gb[0, j] + c * gb[1, j] + ty
        moved[2, j] = c * gb[2, j] - s * gb[3, j]
        moved[3, j] = s * gb[2, j] + c * gb[3, j]
    nearest = np.full(nb, _MEET_DISTANCE * _MEET_DISTANCE, np.float32)
    owner = np.full(nb, -1, np.int32)
    for i in range(ga.shape[1]):
        best = -1
        best_gap = _MEET_DISTANCE * _MEET_DISTANCE
        for j in range(nb):
            dx = moved[0, j] - ga[0, i]
            dy = moved[1, j] - ga[1, i]
            gap = dx * dx + dy * dy
            if gap < best_gap and moved[2, j] * ga[2, i] + moved[3, j] * ga[3, i] > _MEET_COSINE:
                best = j
                best_gap = gap
        if best >= 0 and best_gap < nearest[best]:
            nearest[best] = best_gap
            owner[best] = i
    count = 0
    for j in range(nb):
        if owner[j] >= 0:
            met[0, count] = owner[j]
            met[1, count] = j
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def raw_score(ga: Plane, ca: Codes, gb: Plane, cb: Codes, met: Pairs) -> tuple[float, int]:
    """Similarity of two prepared templates, 0 and up, and how many minutiae met (listed in `met`, (2, n)).

    0 without looking further where the pair is hopeless.
    """
    na = ga.shape[1]
    nb = gb.shape[1]
    if na < 2 or nb < 2:
        return 0.0, 0
    most = min(na, nb, _PAIRS_MAX)
    pairs = np.empty((2, most), np.int32)
    distances = np.empty(most, np.int32)
    count = _pair_up(ga, ca, gb, cb, pairs, distances)
    if count < 2 or _hopeless(distances, count):
        return 0.0, 0
    start = np.empty(count, np.float32)
    strength = np.empty(count, np.float32)
    support = np.empty((count, count), np.float32)
    _relax(ga, gb, pairs, distances, start, strength, support)
    rise = 1.0 / (1.0 + math.exp(-0.4 * (min(na, nb) - 20.0)))
    wanted = _STRONGEST_MIN + int(rise * (_STRONGEST_MAX - _STRONGEST_MIN) + 0.5)
    order = np.empty(wanted, np.int32)
    taken = _strongest(start, strength, count, wanted, order)
    total = 0.0
    for n in range(taken):
        total += strength[order[n]]
    motion = np.empty(4, np.float32)
    if not _fit(ga, gb, pairs, strength, order, taken, motion):
        return 0.0, 0
    agreed = _meet(ga, gb, motion, met)
    likeness = _likeness(ca, cb, met, agreed)
    if total / wanted * (_MEETING_FREE + min(na, nb)) >= _ALIGN_AGAIN:
        others = np.empty_like(met)
        for n in range(min(_ALIGNMENTS, taken)):
            if not _fit_around(ga, gb, pairs, strength, support[order[n]], order[n], motion):
                continue
            count = _meet(ga, gb, motion, others)
            again = _likeness(ca, cb, others, count)
            if again > likeness + _ALIGN_AGAIN_GAIN:
                likeness = again
                agreed = count
                met[:, :count] = others[:, :count]
    return total / wanted * (_MEETING_FREE + likeness), agreed


@njit(cache=True, nogil=True, error_model="numpy")
def _likeness(ca: Codes, cb: Codes, met: Pairs, count: int) -> float:
    """Sum over the minutiae that met of how alike their codes are, each 0..1."""
    total = 0
    for n in range(count):
        i = met[0, n]
        j = met[1, n]
        distance = np.int64(0)
        for word in range(ca.shape[0]):
            distance += np.int64(count_ones(ca[word, i] ^ cb[word, j]))
        if distance < _DISTANCE_MAX:
            total += int(_DISTANCE_MAX - distance)
    return total / _DISTANCE_MAX
