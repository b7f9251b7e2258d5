"""What stays with a synthetic face: proportions, colours, hair and dress, drawn once for each person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from virtual.biodata import Sex
from virtual.portrait_canvas import Colour

_SKINS: Final[tuple[Colour, ...]] = (
    (226, 184, 152), (214, 168, 132), (203, 154, 117), (190, 140, 104), (172, 122, 88), (148, 102, 74), (232, 196, 168),
)  # fmt: skip
_CLOTHES: Final[tuple[Colour, ...]] = (
    (238, 238, 234), (52, 70, 104), (96, 52, 58), (66, 92, 74), (70, 72, 80), (196, 206, 220), (128, 94, 66),
    (36, 40, 48),
)  # fmt: skip
_VEILS: Final[tuple[Colour, ...]] = (
    (38, 40, 50), (186, 178, 168), (94, 66, 84), (58, 84, 92), (206, 190, 196), (104, 110, 128), (120, 92, 74),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FaceTraits:
    """One face. Lengths are in inter-eye distances (about 128 px of 600), angles in degrees.

    cheek, jaw: half widths. chin, crown: below and above the line of the eyes. hair: `short`, `parted`, `curly`,
    `cap`, `bald` for men, `long`, `bun`, `bob`, `veil` for women.
    """

    female: bool
    age_years: int
    skin: Colour
    hair_colour: Colour
    hair: str
    hair_seed: int
    cheek: float
    jaw: float
    chin: float
    crown: float
    eye_width: float
    eye_height: float
    eye_tilt_deg: float
    brow_height: float
    brow_weight: float
    brow_arch: float
    nose_length: float
    nose_width: float
    mouth_y: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    lip_colour: Colour
    moustache: float
    beard: float
    glasses: bool
    clothes: Colour
    veil: Colour
    collar: bool
    mole: tuple[float, float] | None


def _tint(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    r, g, b = np.clip(np.array(colour) * rng.normal(1.0, spread) + rng.normal(0, 3, 3), 10, 248)
    return float(r), float(g), float(b)


def _draw_hair(rng: np.random.Generator, female: bool, age: int, veiled: bool) -> str:
    if veiled:
        return "veil"
    if female:
        return str(rng.choice(["long", "bun", "bob"], p=[0.45, 0.35, 0.2]))
    if age > 45 and rng.random() < 0.2:
        return "bald"
    return str(rng.choice(["short", "parted", "curly", "cap"], p=[0.42, 0.34, 0.14, 0.10]))


def draw_face(rng: np.random.Generator, *, sex: Sex, age_years: int, veiled: bool) -> FaceTraits:
    """The lasting face of a person of this sex and age; `veiled` women wear a headscarf."""
    female = sex is Sex.FEMALE
    skin = _tint(rng, _SKINS[int(rng.integers(len(_SKINS)))], 0.02)
    grey = float(np.clip((age_years - 42) / 35 + rng.normal(0, 0.12), 0, 0.92))
    dark = np.array((28.0, 23.0, 22.0)) + rng.normal(0, 4)
    hair_colour = dark + grey * (np.array((176.0, 174.0, 172.0)) - dark)
    lips = np.array(skin) * (0.86, 0.62, 0.60) + ((22, 2, 6) if female else (0, 0, 0))
    return FaceTraits(
        female=female,
        age_years=age_years,
        skin=skin,
        hair_colour=(float(hair_colour[0]), float(hair_colour[1]), float(hair_colour[2])),
        hair=_draw_hair(rng, female, age_years, female and veiled),
        hair_seed=int(rng.integers(1 << 62)),
        cheek=float(np.clip(rng.normal(1.10 if female else 1.13, 0.045), 1.0, 1.24)),
        jaw=float(np.clip(rng.normal(0.80 if female else 0.88, 0.06), 0.66, 1.02)),
        chin=float(np.clip(rng.normal(1.86 if female else 1.95, 0.07), 1.7, 2.12)),
        crown=float(np.clip(rng.normal(1.62, 0.05), 1.5, 1.75)),
        eye_width=float(rng.normal(0.245, 0.012)),
        eye_height=float(np.clip(rng.normal(0.092 if female else 0.082, 0.009), 0.064, 0.112)),
        eye_tilt_deg=float(rng.normal(4.0, 2.2)),
        brow_height=float(rng.normal(0.34, 0.03)),
        brow_weight=float(np.clip(rng.normal(0.062 if female else 0.10, 0.016), 0.04, 0.14)),
        brow_arch=float(np.clip(rng.normal(0.09 if female else 0.06, 0.02), 0.02, 0.14)),
        nose_length=float(rng.normal(0.80, 0.04)),
        nose_width=float(rng.normal(0.33 if female else 0.36, 0.03)),
        mouth_y=float(rng.normal(1.20, 0.03)),
        mouth_width=float(rng.normal(0.42 if female else 0.45, 0.03)),
        lip_upper=float(np.clip(rng.normal(0.085, 0.018), 0.045, 0.13)),
        lip_lower=float(np.clip(rng.normal(0.125, 0.022), 0.07, 0.18)),
        lip_colour=_tint(rng, (float(lips[0]), float(lips[1]), float(lips[2])), 0.03),
        moustache=0.0 if female else float(max(0.0, rng.normal(-0.1, 0.5))),
        beard=0.0 if female else float(max(0.0, rng.normal(-0.35, 0.5))),
        glasses=bool(rng.random() < (0.10 if age_years < 45 else 0.22)),
        clothes=_tint(rng, _CLOTHES[int(rng.integers(len(_CLOTHES)))], 0.04),
        veil=_tint(rng, _VEILS[int(rng.integers(len(_VEILS)))], 0.05),
        collar=bool(rng.random() < (0.35 if female else 0.75)),
        mole=(float(rng.uniform(-0.8, 0.8)), float(rng.uniform(0.4, 1.4))) if rng.random() < 0.22 else None,
    )
