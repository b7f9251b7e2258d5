"""How hard a capture is: named sets of degradations for impressions of synthetic fingers.

A preset says how much placement, pressure, skin and sensor vary from one impression to the next. `EVERYDAY`, the
default, is as hard for comparators as the mean of four public FVC sets (`python -m virtual.evaluate_people` shows
both); the others bracket it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CapturePreset:
    """Spread of the conditions of an impression; lengths in pixels at 500 ppi.

    rotation_sd_deg, rotation_max_deg: turn of the finger. shift_sd_px: displacement of the touching area on the
    finger (across, along). placement_sd_px: displacement of the finger on the glass. contact_width_px,
    contact_height_px: half axes of the touching area at full pressure. low_contact: share of impressions in which
    only a part touches. drag_sd_px, twist_sd_deg: skin dragged and twisted under a finger that sticks to the glass.
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
    shift_sd_px=(16.0, 26.0),
    placement_sd_px=(22.0, 26.0),
    contact_width_px=132.0,
    contact_height_px=172.0,
    low_contact=0.12,
    drag_sd_px=7.0,
    twist_sd_deg=4.0,
    ripple_px=2.2,
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
