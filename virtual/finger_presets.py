"""How hard a capture is: named sets of degradations for impressions of synthetic fingers.

A preset says how much placement, pressure, skin and sensor vary from one impression to the next. `EVERYDAY`, the
default, is as hard for comparators as the mean of four public FVC sets (`python -m virtual.evaluate_people` shows
both); the others bracket it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class CapturePreset:
    """Spread of the conditions of an impression; lengths in pixels at 500 ppi.

    rotation_sd_deg, rotation_max_deg: turn of the finger. shift_sd_px: displacement of the touching area on the
    finger (across, along). placement_sd_px: displacement of the finger on the glass. contact_width_px,
    contact_height_px: half axes of the touching area at full pressure. low_contact: share of impressions in which
    only a part touches. mishap: share that go wrong (a corner of the finger, hardly any contact, a smear).
    drag_sd_px, twist_sd_deg: skin dragged and twisted under a finger that sticks to the glass.
    ripple_px: other elastic deformation. dry_sd, wet_sd: how far moisture strays from the person's own. grain: noise
    along the ridges. blotch: uneven contact. wear: patches where ridges are rubbed off in this impression.
    residue: chance of the last finger's grease on the glass. sensor_noise: standard deviation in grey levels.
    background: grey level of the empty glass, 0–255. unevenness: its slow variation in grey levels.
    """

    name: str
    rotation_sd_deg: float
    rotation_max_deg: float
    shift_sd_px: tuple[float, float]
    placement_sd_px: tuple[float, float]
    contact_width_px: float
    contact_height_px: float
    low_contact: float
    mishap: float
    drag_sd_px: float
    twist_sd_deg: float
    ripple_px: float
    dry_sd: float
    wet_sd: float
    grain: float
    blotch: float
    wear: float
    residue: float
    sensor_noise: float
    background: int
    unevenness: float


EVERYDAY: Final = CapturePreset(
    name="everyday",
    rotation_sd_deg=8.0,
    rotation_max_deg=22.0,
    shift_sd_px=(17.0, 28.0),
    placement_sd_px=(22.0, 26.0),
    contact_width_px=118.0,
    contact_height_px=170.0,
    low_contact=0.14,
    mishap=0.009,
    drag_sd_px=12.0,
    twist_sd_deg=6.5,
    ripple_px=2.8,
    dry_sd=0.5,
    wet_sd=0.4,
    grain=0.5,
    blotch=0.5,
    wear=0.6,
    residue=0.08,
    sensor_noise=4.0,
    background=250,
    unevenness=1.0,
)
"""A desk scanner used without much guidance; the default."""

GUIDED: Final = replace(
    EVERYDAY,
    name="guided",
    rotation_sd_deg=5.0,
    rotation_max_deg=14.0,
    shift_sd_px=(9.0, 14.0),
    placement_sd_px=(12.0, 14.0),
    low_contact=0.03,
    mishap=0.0,
    drag_sd_px=4.0,
    twist_sd_deg=2.0,
    ripple_px=1.6,
    blotch=0.4,
    wear=0.4,
    residue=0.02,
)
"""A scanner that tells the person how to place the finger, and has a quality gate behind it."""

DISTORTED: Final = replace(EVERYDAY, name="distorted", drag_sd_px=15.0, twist_sd_deg=8.0, ripple_px=3.6, mishap=0.08)
"""Fingers pushed and twisted on purpose, as in FVC2004."""

DRY: Final = replace(
    EVERYDAY, name="dry", dry_sd=1.0, grain=0.8, wear=0.9, blotch=0.65, background=205, unevenness=14.0
)
"""A small, noisy sensor that sees dry fingers badly."""

PRESETS: Final = {each.name: each for each in (EVERYDAY, GUIDED, DISTORTED, DRY)}
