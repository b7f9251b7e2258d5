"""Signatures of people who do not exist, as a pen tablet reports them: position, pressure and time.

A person's signature is a chain of ballistic strokes (initial capitals, a running middle, a flourish), each with its
direction, length and bend; speed along a stroke rises and falls as the lognormal pulses of Plamondon's kinematic
theory do, so that curves are slow and flicks are fast. Another signing varies the strokes a little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class PenStrokes:
    """A signed name as a time series at SAMPLE_RATE_HZ.

    time_ms: (N,) int64 from 0. x_mm, y_mm: (N,) float64 from the signature's top left, y downwards.
    pressure: (N,) float64, 0 where the pen is up, else up to 1.
    """

    time_ms: NDArray[np.int64]
    x_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]
    pressure: NDArray[np.float64]

    def render(self, width: int = 600, height: int = 240) -> NDArray[np.uint8]:
        """The signature drawn in dark ink on white, (height, width) uint8, fitted with a margin."""
        fine = 3
        margin = 0.08
        span_x, span_y = np.ptp(self.x_mm) + 1e-9, np.ptp(self.y_mm) + 1e-9
        scale = (1 - 2 * margin) * min(width / span_x, height / span_y) * fine
        x = (self.x_mm - self.x_mm.min() - span_x / 2) * scale + width * fine / 2
        y = (self.y_mm - self.y_mm.min() - span_y / 2) * scale + height * fine / 2
        sheet = np.full((height * fine, width * fine), 255, np.uint8)
        nib_px = max(1.0, 0.55 * scale)
        for k in range(len(x) - 1):
            if self.pressure[k] <= 0 or self.pressure[k + 1] <= 0:
                continue
            line_px = max(1, round(nib_px * (0.45 + 0.75 * float(self.pressure[k]))))
            ends = [(int(x[i] * 16), int(y[i] * 16)) for i in (k, k + 1)]
            cv2.line(sheet, ends[0], ends[1], 25, line_px, cv2.LINE_AA, 4)
        return np.asarray(cv2.resize(sheet, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class _Stroke:
    """One ballistic move: displacement in mm, bend (share of its length), pen down or lifted, duration."""

    dx: float
    dy: float
    bend: float
    down: bool
    duration_s: float


def _capital(rng: np.random.Generator) -> list[_Stroke]:
    """A large initial: a stem and one to three bows."""
    tall = float(rng.uniform(8.0, 13.0))
    strokes = [_Stroke(float(rng.normal(-1.0, 1.0)), tall, float(rng.normal(0, 0.15)), True, 0.14)]
    strokes.append(_Stroke(float(rng.uniform(0.5, 2.0)), -tall * float(rng.uniform(0.7, 1.0)), 0.25, True, 0.13))
    for _ in range(int(rng.integers(1, 4))):
        wide = float(rng.uniform(3.0, 7.0))
        strokes.append(_Stroke(wide, tall * 0.35, float(rng.uniform(-0.7, -0.3)), True, 0.11))
        strokes.append(
            _Stroke(-wide * 0.6, tall * float(rng.uniform(0.1, 0.3)), float(rng.uniform(-0.6, 0.2)), True, 0.10)
        )
    return strokes


def _running(rng: np.random.Generator, letters: int) -> list[_Stroke]:
    """Small letters as up-and-down arches that lose height towards the end."""
    strokes: list[_Stroke] = []
    for k in range(letters):
        fade = 1.0 - 0.5 * k / max(letters, 1)
        rise = float(rng.uniform(1.8, 3.2)) * fade * (2.4 if rng.random() < 0.22 else 1.0)
        wide = float(rng.uniform(1.0, 2.2))
        strokes.append(_Stroke(wide, -rise, float(rng.normal(0.2, 0.15)), True, 0.07))
        strokes.append(
            _Stroke(wide * 0.5, rise * float(rng.uniform(0.9, 1.1)), float(rng.normal(-0.25, 0.2)), True, 0.07)
        )
    return strokes


def _flourish(rng: np.random.Generator, width: float) -> list[_Stroke]:
    """A closing line back under the name, and often a dot or a cross stroke."""
    strokes = [
        _Stroke(float(rng.uniform(3, 7)), float(rng.uniform(-5, 1)), float(rng.normal(0, 0.3)), True, 0.10),
        _Stroke(
            -width * float(rng.uniform(0.5, 0.9)), float(rng.uniform(3, 7)), float(rng.uniform(-0.2, 0.2)), True, 0.20
        ),
        _Stroke(
            width * float(rng.uniform(0.5, 0.9)), float(rng.uniform(-2, 1)), float(rng.uniform(-0.12, 0.12)), True, 0.18
        ),
    ]
    if rng.random() < 0.6:
        strokes.append(_Stroke(-width * 0.3, -float(rng.uniform(6, 10)), 0.0, False, 0.16))
        strokes.append(_Stroke(float(rng.uniform(0.5, 5)), float(rng.normal(0, 0.6)), 0.0, True, 0.06))
    return strokes


def _plan(rng: np.random.Generator) -> list[_Stroke]:
    """The lasting plan of a person's signature."""
    strokes = _capital(rng) + _running(rng, int(rng.integers(3, 8)))
    if rng.random() < 0.55:
        strokes.append(_Stroke(2.0, -float(rng.uniform(4, 8)), 0.0, False, 0.15))
        strokes += _capital(rng) + _running(rng, int(rng.integers(2, 6)))
    width = sum(stroke.dx for stroke in strokes)
    return strokes + _flourish(rng, max(width, 15.0))


def _trace(stroke: _Stroke, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Displacements (count,) along one stroke, from 0 to its end, with a lognormal pulse of speed."""
    t = (np.arange(count) + 1.0) / count
    pulse = np.exp(-0.5 * ((np.log(t) + 0.75) / 0.42) ** 2) / t
    way = np.cumsum(pulse) / pulse.sum()
    arch = stroke.bend * 4.0 * way * (1.0 - way) * 0.5
    return stroke.dx * way - stroke.dy * arch, stroke.dy * way + stroke.dx * arch


def sign(own: np.random.Generator, now: np.random.Generator) -> PenStrokes:
    """One signing: `own` draws the person's plan and must start afresh each time, `now` what varies."""
    plan = _plan(own)
    slant, firm, pace = float(own.normal(0.12, 0.12)), float(own.uniform(0.5, 0.85)), float(own.uniform(0.85, 1.3))
    size, tempo = float(now.normal(1.0, 0.05)), float(now.normal(1.0, 0.08))
    xs, ys, ps = [np.zeros(1)], [np.zeros(1)], [np.zeros(1)]
    for stroke in plan:
        count = max(4, round(stroke.duration_s * pace * tempo * float(now.normal(1, 0.06)) * SAMPLE_RATE_HZ))
        varied = _Stroke(
            size * stroke.dx * float(now.normal(1, 0.06)) + float(now.normal(0, 0.12)),
            size * stroke.dy * float(now.normal(1, 0.06)) + float(now.normal(0, 0.12)),
            stroke.bend + float(now.normal(0, 0.04)), stroke.down, stroke.duration_s,
        )  # fmt: skip
        dx, dy = _trace(varied, count)
        xs.append(xs[-1][-1] + dx)
        ys.append(ys[-1][-1] + dy)
        t = np.linspace(0, 1, count)
        press = firm * (0.75 + 0.35 * np.sin(np.pi * t)) + now.normal(0, 0.012, count)
        ps.append(np.clip(press, 0.05, 1.0) if stroke.down else np.zeros(count))
    x, y = np.concatenate(xs), np.concatenate(ys)
    kernel = np.hanning(9) / np.hanning(9).sum()
    x, y = (np.convolve(np.pad(line, 4, mode="edge"), kernel, mode="valid") for line in (x, y))
    x = x - slant * y
    time_ms = np.arange(x.size, dtype=np.int64) * (1000 // SAMPLE_RATE_HZ)
    return PenStrokes(time_ms, x - x.min(), y - y.min(), np.concatenate(ps))
