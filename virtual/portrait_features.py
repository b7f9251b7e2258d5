"""Paints the parts of a face: eyes, brows, nose, mouth, lines of age, beard, glasses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtual.portrait_canvas import Canvas, Colour, Points, closed_curve, open_curve
from virtual.portrait_traits import FaceTraits


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the face lies: `unit` pixels are one inter-eye distance, (x, y) the middle between the eyes."""

    x: float
    y: float
    unit: float

    def at(self, points: list[tuple[float, float]]) -> Points:
        """Points in inter-eye distances as pixels (N, 2)."""
        return np.array(points, np.float64) * self.unit + (self.x, self.y)

    def spot(self, x: float, y: float) -> tuple[float, float]:
        """One point in inter-eye distances as pixels."""
        return self.x + x * self.unit, self.y + y * self.unit


def shade(colour: Colour, factor: float, warmth: float = 0.0) -> Colour:
    """A colour made darker or lighter; `warmth` shifts it from blue to red."""
    r, g, b = (min(255.0, max(0.0, c * factor)) for c in colour)
    return min(255.0, r + warmth), g, max(0.0, b - warmth)


def _eye_lids(traits: FaceTraits, side: float) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Upper and lower lid from the inner to the outer corner, in inter-eye distances about the eye's middle."""
    w, h = traits.eye_width, traits.eye_height
    rise = np.tan(np.deg2rad(traits.eye_tilt_deg)) * w
    upper = [(-w, 0.02 + rise * 0.6), (-0.5 * w, -0.78 * h), (0.08 * w, -h), (0.6 * w, -0.66 * h), (w, -rise)]
    lower = [(-w, 0.02 + rise * 0.6), (-0.4 * w, 0.62 * h), (0.2 * w, 0.78 * h), (0.7 * w, 0.42 * h), (w, -rise)]
    return [(side * x, y) for x, y in upper], [(side * x, y) for x, y in lower]


def paint_eye(canvas: Canvas, frame: Frame, traits: FaceTraits, side: float, gaze: float) -> None:
    """One eye; `side` is −1 at the left of the picture, +1 at the right."""
    u, cx = frame.unit, side * 0.5
    upper, lower = ([(cx + x, y) for x, y in lid] for lid in _eye_lids(traits, side))
    top, bottom = open_curve(frame.at(upper)), open_curve(frame.at(lower))
    canvas.ellipse(frame.spot(cx, -0.06), (0.34 * u, 0.20 * u), shade(traits.skin, 0.70), alpha=0.40, soft_px=0.08 * u)
    canvas.ellipse(
        frame.spot(cx * 0.72, -0.04), (0.11 * u, 0.16 * u), shade(traits.skin, 0.60), alpha=0.34, soft_px=0.06 * u
    )
    outline = np.concatenate([top, bottom[::-1]])
    clip = canvas.mask_of(outline, 0.9)
    canvas.fill(outline, (224, 216, 210), soft_px=0.9)
    iris = frame.spot(cx + gaze, -0.012)
    radius = 0.108 * u
    canvas.ellipse(iris, (radius, radius), (46, 30, 22), soft_px=1.2, clip=clip)
    canvas.ellipse(
        frame.spot(cx + gaze, 0.022), (radius * 0.66, radius * 0.56), (96, 62, 42), alpha=0.55, soft_px=3.0, clip=clip
    )
    canvas.ellipse(iris, (radius * 0.46, radius * 0.46), (12, 9, 9), soft_px=0.9, clip=clip)
    canvas.ellipse(
        frame.spot(cx + gaze - 0.032, -0.052), (0.024 * u, 0.022 * u), (250, 250, 250), soft_px=0.8, clip=clip
    )
    canvas.line(top + np.array((0.0, 0.022 * u)), (70, 48, 42), 0.05 * u, alpha=0.45, soft_px=2.0, clip=clip)
    canvas.line(top, (30, 20, 20), (0.042 if traits.female else 0.030) * u, soft_px=0.8)
    canvas.line(bottom, shade(traits.skin, 0.52), 0.014 * u, alpha=0.7, soft_px=0.9)
    crease = open_curve(frame.at([(x * 1.02 - 0.01 * cx, y - 0.055 - 0.01 * k) for k, (x, y) in enumerate(upper)]))
    canvas.line(crease, shade(traits.skin, 0.55), 0.018 * u, alpha=0.55, soft_px=1.2)
    if traits.age_years > 35:
        bag = open_curve(frame.at([(x * 0.99, abs(y) * 0.5 + 0.13) for x, y in lower[:4]]))
        canvas.line(bag, shade(traits.skin, 0.66), 0.03 * u, alpha=min(0.5, (traits.age_years - 35) / 70), soft_px=2.4)


def paint_brow(canvas: Canvas, frame: Frame, traits: FaceTraits, side: float, rng: np.random.Generator) -> None:
    """One eyebrow: a soft bed and single hairs."""
    y, arch, weight = -traits.brow_height, traits.brow_arch, traits.brow_weight
    spine = frame.at(
        [(side * 0.20, y + 0.03), (side * 0.42, y - arch * 0.7), (side * 0.62, y - arch), (side * 0.84, y + 0.02)]
    )
    path = open_curve(spine)
    bed = shade(traits.hair_colour, 0.9) if traits.age_years < 60 else shade(traits.hair_colour, 0.75)
    canvas.line(path, bed, weight * frame.unit, alpha=0.78, soft_px=2.2)
    for _ in range(46):
        k = int(rng.integers(1, len(path) - 2))
        root = path[k] + np.array((0.0, float(rng.normal(0, weight * 0.22)) * frame.unit))
        lean = float(rng.uniform(0.03, 0.08)) * frame.unit
        droop = 0.6 * lean if k > len(path) * 0.6 else 0.0
        hair = np.stack([root, root + np.array((side * lean, droop - lean * 0.5))])
        canvas.line(np.linspace(hair[0], hair[1], 4), bed, 2.0, alpha=0.5, soft_px=0.5)


def paint_nose(canvas: Canvas, frame: Frame, traits: FaceTraits) -> None:
    """Bridge, tip, wings and nostrils, lit from the upper left."""
    u, tip, half = frame.unit, traits.nose_length, traits.nose_width / 2
    dark, light = shade(traits.skin, 0.62), shade(traits.skin, 1.16)
    flank = open_curve(frame.at([(0.13, -0.10), (0.11, 0.25), (0.14, tip - 0.22), (half + 0.02, tip - 0.06)]))
    canvas.line(flank, dark, 0.11 * u, alpha=0.40, soft_px=0.035 * u)
    flank = open_curve(frame.at([(-0.13, -0.10), (-0.11, 0.25), (-0.14, tip - 0.20), (-half - 0.02, tip - 0.06)]))
    canvas.line(flank, dark, 0.08 * u, alpha=0.24, soft_px=0.03 * u)
    canvas.ellipse(frame.spot(-0.01, 0.24), (0.055 * u, 0.36 * u), light, alpha=0.42, soft_px=0.035 * u)
    canvas.ellipse(frame.spot(-0.02, tip - 0.10), (0.10 * u, 0.08 * u), light, alpha=0.45, soft_px=0.035 * u)
    canvas.ellipse(frame.spot(0.0, tip + 0.07), (half * 1.1 * u, 0.05 * u), dark, alpha=0.42, soft_px=0.03 * u)
    for side in (-1.0, 1.0):
        canvas.ellipse(
            frame.spot(side * half * 0.46, tip), (0.062 * u, 0.032 * u), shade(traits.skin, 0.30), alpha=0.85,
            soft_px=2.0, tilt_deg=-side * 14,
        )  # fmt: skip
        wing = [(side * half * 0.88, tip - 0.15), (side * half * 1.12, tip - 0.05), (side * half * 0.92, tip + 0.03)]
        canvas.line(open_curve(frame.at(wing)), dark, 0.035 * u, alpha=0.65, soft_px=1.8)


def paint_mouth(canvas: Canvas, frame: Frame, traits: FaceTraits, smile: float) -> None:
    """Closed lips; `smile` lifts the corners, in inter-eye distances."""
    u, y, w = frame.unit, traits.mouth_y, traits.mouth_width
    up, low = traits.lip_upper, traits.lip_lower
    seam = [(-w, y - smile), (-0.5 * w, y + 0.005), (0.0, y + 0.018), (0.5 * w, y + 0.005), (w, y - smile)]
    bow = [(w, y - smile), (0.5 * w, y - up * 0.75), (0.16 * w, y - up * 1.08), (0.0, y - up * 0.82)]
    bow += [(-0.16 * w, y - up * 1.08), (-0.5 * w, y - up * 0.75), (-w, y - smile)]
    pad = [(-w, y - smile), (-0.55 * w, y + low * 0.72), (0.0, y + low), (0.55 * w, y + low * 0.72), (w, y - smile)]
    seam_curve = open_curve(frame.at(seam))
    upper = np.concatenate([seam_curve, open_curve(frame.at(bow))])
    lower = np.concatenate([seam_curve, open_curve(frame.at(pad))[::-1]])
    canvas.fill(lower, traits.lip_colour, alpha=0.88, soft_px=1.6)
    canvas.fill(upper, shade(traits.lip_colour, 0.84), alpha=0.92, soft_px=1.6)
    canvas.ellipse(
        frame.spot(-0.04, y + low * 0.52), (0.5 * w * u, 0.022 * u), (255, 226, 216), alpha=0.26, soft_px=3.0
    )
    canvas.line(seam_curve, shade(traits.lip_colour, 0.34), 0.024 * u, alpha=0.85, soft_px=1.0)
    canvas.ellipse(
        frame.spot(0.0, y + low + 0.07), (0.24 * u, 0.045 * u), shade(traits.skin, 0.62), alpha=0.42, soft_px=5.0
    )
    canvas.ellipse(
        frame.spot(0.02, y - up - 0.10), (0.035 * u, 0.07 * u), shade(traits.skin, 0.72), alpha=0.35, soft_px=3.0
    )
    for side in (-1.0, 1.0):
        canvas.ellipse(
            frame.spot(side * (w + 0.03), y - smile),
            (0.05 * u, 0.05 * u),
            shade(traits.skin, 0.6),
            alpha=0.35,
            soft_px=4.0,
        )


def paint_age(canvas: Canvas, frame: Frame, traits: FaceTraits) -> None:
    """Folds from nose to mouth, lines on the forehead: stronger with age, faintly there in the young."""
    u = frame.unit
    strength = float(np.clip((traits.age_years - 26) / 75, 0.05, 0.62))
    line = shade(traits.skin, 0.58)
    for side in (-1.0, 1.0):
        fold = [(side * 0.24, traits.nose_length - 0.08), (side * 0.40, 1.0), (side * 0.52, traits.mouth_y)]
        canvas.line(open_curve(frame.at(fold)), line, 0.035 * u, alpha=0.75 * strength, soft_px=3.0)
        if traits.age_years > 40:
            for k in range(3):
                foot = [(side * 0.82, -0.06 + 0.05 * k), (side * (0.92 + 0.02 * k), -0.10 + 0.09 * k)]
                canvas.line(open_curve(frame.at(foot)), line, 0.012 * u, alpha=0.7 * strength, soft_px=1.2)
    if traits.age_years > 38:
        for k in range(3):
            y = -0.72 - 0.14 * k
            crease = [(-0.55 + 0.07 * k, y + 0.02), (0.0, y), (0.55 - 0.07 * k, y + 0.02)]
            canvas.line(open_curve(frame.at(crease)), line, 0.018 * u, alpha=0.5 * strength, soft_px=1.8)


def paint_beard(canvas: Canvas, frame: Frame, traits: FaceTraits, clip: NDArray[np.float32]) -> None:
    """Moustache and beard as soft shadow and short hair."""
    u, y = frame.unit, traits.mouth_y
    hair = shade(traits.hair_colour, 0.95)
    if not traits.female:
        shadow = closed_curve(
            frame.at(
                [(-0.8, 0.95), (-0.5, 1.05), (0, 0.98), (0.5, 1.05), (0.8, 0.95), (0.6, 1.75), (0, 2.0), (-0.6, 1.75)]
            )
        )
        canvas.fill(shadow, (88, 84, 86), alpha=0.10 + 0.25 * min(traits.beard, 1.0), soft_px=0.12 * u, clip=clip)
    if traits.moustache > 0.25:
        top = y - traits.lip_upper
        shape = [
            (-0.48, y - 0.01),
            (-0.3, top - 0.12),
            (0, top - 0.11),
            (0.3, top - 0.12),
            (0.48, y - 0.01),
            (0.24, top + 0.012),
            (0, top),
            (-0.24, top + 0.012),
        ]
        canvas.fill(closed_curve(frame.at(shape)), hair, alpha=min(0.85, 0.4 + 0.5 * traits.moustache), soft_px=3.0)
    if traits.beard > 0.35:
        low = y + traits.lip_lower + 0.08
        shape = [(-0.24, low), (0, low + 0.02), (0.24, low), (0.34, 1.72), (0, traits.chin + 0.02), (-0.34, 1.72)]
        canvas.fill(
            closed_curve(frame.at(shape)), hair, alpha=min(0.75, 0.3 + 0.5 * traits.beard), soft_px=6.0, clip=clip
        )


def paint_glasses(canvas: Canvas, frame: Frame) -> None:
    """Thin-rimmed glasses without glare."""
    u, rim = frame.unit, (38.0, 36.0, 40.0)
    for side in (-1.0, 1.0):
        t = np.linspace(0, 2 * np.pi, 80)
        x = side * 0.5 + 0.36 * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** 0.7
        y = 0.03 + 0.25 * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** 0.7
        ring = np.stack([frame.x + x * u, frame.y + y * u], axis=1)
        canvas.line(ring, rim, 0.034 * u, taper=False, soft_px=0.8)
        canvas.line(open_curve(frame.at([(side * 0.85, -0.03), (side * 1.1, -0.06)])), rim, 0.034 * u, taper=False)
    canvas.line(open_curve(frame.at([(-0.15, 0.0), (0.0, -0.045), (0.15, 0.0)])), rim, 0.034 * u, taper=False)
