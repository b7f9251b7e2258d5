"""Paints a portrait of a person who does not exist, as an office would take it for an identity card.

Head on, closed mouth, even light, plain ground: red for people born in an odd year and blue in an even one, as
Indonesian identity photographs have it. It is a painting, not a photograph; it shows what a card looks like and
gives face detection and picture quality something true to work on.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from virtual.portrait_canvas import Canvas, Colour, Points, closed_curve, open_curve
from virtual.portrait_features import (
    Frame,
    paint_age,
    paint_beard,
    paint_brow,
    paint_eye,
    paint_glasses,
    paint_mouth,
    paint_nose,
    shade,
)
from virtual.portrait_traits import FaceTraits

PORTRAIT_HEIGHT_PX: Final = 800
PORTRAIT_WIDTH_PX: Final = 600
_RED: Final[Colour] = (190, 30, 38)
_BLUE: Final[Colour] = (34, 86, 168)


def _head(frame: Frame, traits: FaceTraits) -> Points:
    c, j, chin, crown = traits.cheek, traits.jaw, traits.chin, traits.crown
    right = [
        (0.0, -crown),
        (0.62, -crown + 0.16),
        (c * 0.93, -0.85),
        (c, -0.1),
        (c * 0.97, 0.55),
        (j, 1.25),
        (j * 0.58, chin - 0.16),
    ]
    left = [(-x, y) for x, y in reversed(right[1:])]
    return closed_curve(frame.at([*right, (0.0, chin), *left]))


def _paint_body(canvas: Canvas, frame: Frame, traits: FaceTraits) -> None:
    """Neck, shoulders and clothes."""
    u, skin, dress = frame.unit, traits.skin, traits.clothes
    slope = 0.0 if traits.female else 0.12
    neck_half = 0.60 if traits.female else 0.72
    neck = frame.at([(-neck_half, 0.9), (neck_half, 0.9), (neck_half + 0.05, 2.6), (0, 3.0), (-neck_half - 0.05, 2.6)])
    canvas.fill(neck, shade(skin, 0.86), soft_px=2.0)
    throat = canvas.mask_of(neck, 2.0)
    under = (0.78 * u, 0.36 * u)
    canvas.ellipse(
        frame.spot(0, traits.chin + 0.06), under, shade(skin, 0.55), alpha=0.55, soft_px=0.12 * u, clip=throat
    )
    half = [(0.0, 2.72), (0.45, 2.55), (0.68, 2.26), (1.15, 2.52 - slope), (1.9, 2.78 - slope), (2.32, 3.2), (2.5, 4.6)]
    shoulders = np.concatenate([open_curve(frame.at(half)), open_curve(frame.at([(-x, y) for x, y in half]))[::-1]])
    canvas.fill(shoulders, dress, soft_px=1.6)
    clip = canvas.mask_of(shoulders, 1.6)
    canvas.ellipse(
        frame.spot(-1.6, 3.6), (0.8 * u, 1.2 * u), shade(dress, 1.12), alpha=0.35, soft_px=0.3 * u, clip=clip
    )
    canvas.ellipse(frame.spot(2.1, 3.9), (0.8 * u, 1.4 * u), shade(dress, 0.72), alpha=0.5, soft_px=0.3 * u, clip=clip)
    if traits.hair == "veil":
        return
    if traits.collar:
        for side in (-1.0, 1.0):
            flap = frame.at([(side * 0.66, 2.18), (side * 0.02, 2.74), (side * 0.42, 3.12), (side * 1.02, 2.5)])
            canvas.fill(flap, shade(dress, 1.08), soft_px=1.4)
            canvas.line(flap[1:4], shade(dress, 0.6), 0.03 * u, alpha=0.7, taper=False)
        canvas.line(frame.at([(0.02, 2.8), (0.04, 4.6)]), shade(dress, 0.66), 0.025 * u, alpha=0.8, taper=False)
    else:
        rim = open_curve(frame.at([(-0.7, 2.24), (-0.42, 2.58), (0, 2.74), (0.42, 2.58), (0.7, 2.24)]))
        canvas.line(rim, shade(dress, 0.66), 0.05 * u, alpha=0.8, soft_px=1.4)


def _paint_hair_behind(canvas: Canvas, frame: Frame, traits: FaceTraits) -> None:
    """Hair or cloth that lies behind face and neck."""
    hair, c, top = traits.hair_colour, traits.cheek, traits.crown
    if traits.hair in ("long", "bob"):
        low = 3.0 if traits.hair == "long" else 1.75
        half = [
            (0.0, -top - 0.2),
            (0.75, -top),
            (c + 0.2, -0.8),
            (c + 0.27, 0.4),
            (c + 0.24, 0.75 * low),
            (c - 0.1, low),
        ]
        outline = closed_curve(frame.at([*half, *[(-x, y) for x, y in reversed(half[1:])]]))
        canvas.fill(outline, shade(hair, 0.8), soft_px=2.4)
    elif traits.hair == "bun":
        unit = frame.unit
        canvas.ellipse(frame.spot(0, -top - 0.12), (0.40 * unit, 0.24 * unit), shade(hair, 0.85), soft_px=2.0)
        canvas.ellipse(
            frame.spot(-0.08, -top - 0.2), (0.2 * unit, 0.08 * unit), shade(hair, 1.5), alpha=0.4, soft_px=8.0
        )
    elif traits.hair == "veil":
        half = [
            (0.0, -top - 0.24),
            (0.8, -top),
            (c + 0.28, -0.7),
            (c + 0.36, 0.6),
            (c + 0.42, 1.6),
            (1.7, 2.5),
            (1.5, 4.0),
        ]
        outline = closed_curve(frame.at([*half, *[(-x, y) for x, y in reversed(half[1:])]]))
        canvas.fill(outline, shade(traits.veil, 0.82), soft_px=2.0)


def _paint_ears(canvas: Canvas, frame: Frame, traits: FaceTraits) -> None:
    if traits.hair in ("veil", "long", "bob"):
        return
    u = frame.unit
    for side in (-1.0, 1.0):
        ear = [(0.98, -0.18), (1.16, -0.26), (1.22, 0.0), (1.16, 0.34), (1.02, 0.46), (0.96, 0.2)]
        outline = closed_curve(frame.at([(side * x * traits.cheek / 1.06, y) for x, y in ear]))
        canvas.fill(outline, shade(traits.skin, 0.88, 4), soft_px=1.4)
        inner = frame.spot(side * 1.11 * traits.cheek / 1.06, 0.06)
        canvas.ellipse(inner, (0.04 * u, 0.16 * u), shade(traits.skin, 0.6), alpha=0.5, soft_px=3.5, tilt_deg=side * 8)


def _model_head(canvas: Canvas, frame: Frame, traits: FaceTraits, clip: NDArray[np.float32]) -> None:
    """Light and shade that make the head round; light from the upper left, weakly."""
    u, skin = frame.unit, traits.skin
    rim = 1.0 - cv2.GaussianBlur(clip, (0, 0), 0.24 * u)
    canvas.blend(np.asarray(clip * np.clip(rim * 1.15 - 0.18, 0, 1) * 0.75, np.float32), shade(skin, 0.55, 6))
    canvas.ellipse(frame.spot(0.75, 0.8), (0.38 * u, 0.9 * u), shade(skin, 0.7), alpha=0.28, soft_px=0.2 * u, clip=clip)
    canvas.ellipse(
        frame.spot(-0.15, -0.85), (0.6 * u, 0.34 * u), shade(skin, 1.13), alpha=0.45, soft_px=0.2 * u, clip=clip
    )
    for side, glow in ((-1.0, 0.50), (1.0, 0.34)):
        canvas.ellipse(
            frame.spot(side * 0.58, 0.50),
            (0.28 * u, 0.2 * u),
            shade(skin, 1.12),
            alpha=glow,
            soft_px=0.12 * u,
            clip=clip,
        )
        blush = shade(skin, 0.98, 14 if traits.female else 6)
        canvas.ellipse(
            frame.spot(side * 0.64, 0.66), (0.26 * u, 0.18 * u), blush, alpha=0.40, soft_px=0.12 * u, clip=clip
        )
    canvas.ellipse(
        frame.spot(-0.03, traits.chin - 0.24),
        (0.2 * u, 0.12 * u),
        shade(skin, 1.10),
        alpha=0.4,
        soft_px=0.08 * u,
        clip=clip,
    )


def _strands(canvas: Canvas, clip: NDArray[np.float32], frame: Frame, traits: FaceTraits) -> None:
    """Single strands of lighter and darker hair over the cap of hair."""
    rng = np.random.default_rng(traits.hair_seed)
    curl = 0.10 if traits.hair == "curly" else 0.015
    parting = float(rng.uniform(-0.35, 0.35))
    for _ in range(150):
        side = 1.0 if rng.random() < 0.5 else -1.0
        x0, y0 = parting + side * float(rng.uniform(0, 0.5)), -traits.crown - 0.12 + float(rng.uniform(0, 0.4))
        reach = float(rng.uniform(0.3, 1.0))
        points = [(x0, y0), (x0 + side * 0.5 * reach, y0 + 0.18 * reach), (x0 + side * 0.85 * reach, y0 + 0.7 * reach)]
        bent = [(x + float(rng.normal(0, curl)), y + float(rng.normal(0, curl))) for x, y in points]
        tone = float(rng.uniform(0.55, 1.7))
        colour = shade((traits.hair_colour[0] + 12, traits.hair_colour[1] + 10, traits.hair_colour[2] + 8), tone)
        canvas.line(open_curve(frame.at(bent)), colour, 2.6, alpha=0.35, soft_px=0.8, clip=clip)


def _hairline(traits: FaceTraits) -> list[tuple[float, float]]:
    """The lower edge of the hair over the forehead, from the right temple to the left, in inter-eye distances."""
    c = traits.cheek
    recede = float(np.clip((traits.age_years - 35) / 60, 0, 0.35)) * (0.2 if traits.female else 1.0)
    y = -1.02 - recede
    if traits.hair == "parted":
        return [
            (c + 0.03, -0.12),
            (c - 0.10, -0.62),
            (0.62, y + 0.08),
            (0.1, y - 0.12),
            (-0.34, y - 0.30),
            (-0.66, y - 0.02),
            (-c + 0.10, -0.62),
            (-c - 0.03, -0.12),
        ]
    if traits.female:
        low = 0.75 if traits.hair in ("long", "bob") else -0.15
        return [
            (c + 0.06, low),
            (c - 0.08, -0.45),
            (0.66, y + 0.05),
            (0.12, y - 0.32),
            (0.0, y - 0.36),
            (-0.62, y + 0.02),
            (-c + 0.08, -0.45),
            (-c - 0.06, low),
        ]
    return [
        (c + 0.03, -0.10),
        (c - 0.09, -0.55),
        (0.76, y + 0.02),
        (0.3, y - 0.08),
        (-0.3, y - 0.08),
        (-0.76, y + 0.02),
        (-c + 0.09, -0.55),
        (-c - 0.03, -0.10),
    ]


def _paint_hair(canvas: Canvas, frame: Frame, traits: FaceTraits, head: NDArray[np.float32]) -> None:
    """Hair, cap or headscarf in front."""
    u, c, top = frame.unit, traits.cheek, traits.crown
    if traits.hair == "veil":
        _paint_veil(canvas, frame, traits)
        return
    if traits.hair == "bald":
        for side in (-1.0, 1.0):
            patch = closed_curve(
                frame.at(
                    [
                        (side * (c - 0.06), -0.75),
                        (side * (c + 0.05), -0.55),
                        (side * (c + 0.03), 0.05),
                        (side * (c - 0.07), -0.2),
                    ]
                )
            )
            canvas.fill(patch, traits.hair_colour, alpha=0.8, soft_px=5.0, clip=head)
        canvas.ellipse(
            frame.spot(-0.2, -1.25), (0.3 * u, 0.16 * u), (255, 244, 232), alpha=0.3, soft_px=0.1 * u, clip=head
        )
        return
    lift = {"curly": 0.26, "parted": 0.22, "bun": 0.10}.get(traits.hair, 0.17)
    crown = [
        (-c - 0.05, -0.6),
        (-0.97, -1.26),
        (-0.56, -top - lift * 0.42),
        (0.0, -top - lift),
        (0.56, -top - lift * 0.42),
        (0.97, -1.26),
        (c + 0.05, -0.6),
    ]
    outline = np.concatenate([open_curve(frame.at(crown)), open_curve(frame.at(_hairline(traits)))])
    canvas.fill(outline, shade(traits.skin, 0.5), alpha=0.5, soft_px=0.07 * u, clip=head)
    canvas.fill(outline, traits.hair_colour, soft_px=4.0 if traits.hair == "curly" else 2.4)
    clip = canvas.mask_of(outline, 2.4)
    canvas.ellipse(
        frame.spot(-0.35, -top + 0.12), (0.5 * u, 0.14 * u), (150, 140, 136), alpha=0.22, soft_px=0.12 * u, clip=clip
    )
    _strands(canvas, clip, frame, traits)
    if traits.hair == "cap":
        _paint_cap(canvas, frame)


def _paint_cap(canvas: Canvas, frame: Frame) -> None:
    """A black cap (peci) over the hair."""
    u = frame.unit
    cap = frame.at(
        [
            (-1.04, -0.98),
            (-0.98, -1.72),
            (-0.55, -2.0),
            (0.0, -2.06),
            (0.55, -2.0),
            (0.98, -1.72),
            (1.04, -0.98),
            (0.5, -0.90),
            (0.0, -0.88),
            (-0.5, -0.90),
        ]
    )
    canvas.fill(cap, (22, 21, 26), soft_px=1.8)
    cloth = canvas.mask_of(cap, 1.8)
    canvas.ellipse(frame.spot(-0.4, -1.6), (0.4 * u, 0.4 * u), (74, 72, 82), alpha=0.45, soft_px=0.16 * u, clip=cloth)


def _paint_veil(canvas: Canvas, frame: Frame, traits: FaceTraits) -> None:
    """A headscarf drawn round the face, with folds."""
    u, c, top, cloth = frame.unit, traits.cheek, traits.crown, traits.veil
    outer = [
        (0.0, -top - 0.26),
        (0.8, -top - 0.02),
        (c + 0.22, -0.7),
        (c + 0.28, 0.5),
        (c + 0.34, 1.5),
        (1.75, 2.5),
        (2.0, 3.4),
        (1.1, 4.6),
    ]
    inner = [
        (0.0, -1.18),
        (0.6, -1.05),
        (c - 0.13, -0.45),
        (c - 0.09, 0.3),
        (c - 0.2, 1.1),
        (0.55, traits.chin - 0.1),
        (0.0, traits.chin + 0.05),
    ]
    ring = closed_curve(frame.at([*outer, *[(-x, y) for x, y in reversed(outer[1:])]]))
    hole = closed_curve(frame.at([*inner, *[(-x, y) for x, y in reversed(inner[1:-1])]]))
    cover = np.clip(canvas.mask_of(ring, 1.8) - canvas.mask_of(hole, 1.8), 0, 1).astype(np.float32)
    rim_shadow = np.clip(canvas.mask_of(hole, 1.8) - canvas.mask_of(hole, 0.09 * u), 0, 1).astype(np.float32)
    canvas.blend(np.asarray(rim_shadow * 0.8, np.float32), shade(traits.skin, 0.45))
    canvas.blend(cover, cloth)
    rng = np.random.default_rng(traits.hair_seed)
    for k in range(9):
        side, spread = (1.0 if k % 2 else -1.0), float(rng.uniform(0, 0.22))
        fold = [
            (side * (c - 0.02 + spread), -0.9 + 0.2 * spread),
            (side * (c + 0.02 + spread), 0.6),
            (side * (0.75 + spread), 1.9 + spread),
            (side * 0.2, 2.5 + 2 * spread),
        ]
        tone = 0.70 if k % 3 else 1.18
        canvas.line(open_curve(frame.at(fold)), shade(cloth, tone), 0.10 * u, alpha=0.5, soft_px=0.03 * u, clip=cover)
    canvas.ellipse(
        frame.spot(-0.4, -top), (0.5 * u, 0.2 * u), shade(cloth, 1.22), alpha=0.4, soft_px=0.12 * u, clip=cover
    )


def _finish(
    canvas: Canvas, rng: np.random.Generator, skin_mask: NDArray[np.float32], tilt_deg: float, gain: float
) -> NDArray[np.uint8]:
    """Skin grain, a slight tilt, exposure and the camera's noise."""
    height, width = skin_mask.shape
    grain = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0), 1.2)
    mottle = cv2.GaussianBlur(rng.standard_normal((height // 4, width // 4), dtype=np.float32), (0, 0), 3.0)
    mottle = cv2.resize(mottle, (width, height))
    canvas.pixels += (skin_mask * (6.0 * grain + 22.0 * mottle))[..., None]
    turn = cv2.getRotationMatrix2D((width / 2, height * 0.6), tilt_deg, 1.0)
    image = cv2.warpAffine(canvas.pixels, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    image = image * np.float32(gain) + 1.6 * rng.standard_normal((height, width, 1), dtype=np.float32)
    return np.asarray(np.clip(np.rint(image), 0, 255), dtype=np.uint8)


def paint_portrait(traits: FaceTraits, rng: np.random.Generator, *, birth_year: int) -> NDArray[np.uint8]:
    """One portrait, (800, 600, 3) uint8 RGB; `rng` draws what differs between two sittings."""
    ground = _RED if birth_year % 2 else _BLUE
    canvas = Canvas(PORTRAIT_HEIGHT_PX, PORTRAIT_WIDTH_PX, ground)
    frame = Frame(300.0 + float(rng.normal(0, 4)), 362.0 + float(rng.normal(0, 5)), 128.0 * float(rng.normal(1, 0.015)))
    canvas.ellipse(
        frame.spot(0, 0.2), (2.2 * frame.unit, 2.6 * frame.unit), shade(ground, 1.10), alpha=0.5, soft_px=90.0
    )
    _paint_hair_behind(canvas, frame, traits)
    _paint_body(canvas, frame, traits)
    _paint_ears(canvas, frame, traits)
    outline = _head(frame, traits)
    canvas.fill(outline, traits.skin, soft_px=2.0)
    head = canvas.mask_of(outline, 2.0)
    _model_head(canvas, frame, traits, head)
    paint_age(canvas, frame, traits)
    paint_nose(canvas, frame, traits)
    paint_beard(canvas, frame, traits, head)
    paint_mouth(canvas, frame, traits, 0.02 + float(rng.normal(0, 0.006)))
    gaze = float(rng.normal(0, 0.006))
    for side in (-1.0, 1.0):
        paint_eye(canvas, frame, traits, side, gaze)
        paint_brow(canvas, frame, traits, side, np.random.default_rng(traits.hair_seed + int(side)))
    if traits.mole:
        canvas.ellipse(
            frame.spot(*traits.mole), (0.02 * frame.unit, 0.02 * frame.unit), (60, 36, 30), alpha=0.8, clip=head
        )
    _paint_hair(canvas, frame, traits, head)
    if traits.glasses:
        paint_glasses(canvas, frame)
    return _finish(canvas, rng, head, float(rng.normal(0, 1.0)), float(np.clip(rng.normal(1.0, 0.03), 0.92, 1.08)))
