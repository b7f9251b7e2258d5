"""The sites on a map of their own: an equirectangular picture with no tiles, since the centre's network is private.

Places are drawn as circles whose area follows their number of units, in the colour of the worst that is there; sites
without coordinates are listed beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hub.fleet_watch import Watched
from hub.schema.tables import Site

WIDTH, PAD, HEIGHT_MIN, HEIGHT_MAX = 900.0, 46.0, 200.0, 400.0
RADIUS_MIN, RADIUS_MAX = 6.0, 22.0
LABELS_MAX = 40
SPAN_DEGREES_MIN = 0.02
Fields = dict[str, Any]


def site_map(sites: Iterable[Site], units: Mapping[str, list[Watched]]) -> Fields:
    """Size of the picture, places on it, and the sites that have no coordinates. Each with units, and the worst."""
    known = [(site, units.get(site.code, [])) for site in sites]
    placed = [(site, here) for site, here in known if site.latitude is not None and site.longitude is not None]
    lost = [_site(site, here) for site, here in known if site.latitude is None or site.longitude is None]
    if not placed:
        return {"width": 0, "height": 0, "places": [], "lost": lost, "labels": False}
    points = [(site.longitude or 0.0, site.latitude or 0.0) for site, _ in placed]
    squeeze = math.cos(math.radians(sum(latitude for _, latitude in points) / len(points)))
    west, east = min(x for x, _ in points), max(x for x, _ in points)
    south, north = min(y for _, y in points), max(y for _, y in points)
    across, up = max((east - west) * squeeze, SPAN_DEGREES_MIN), max(north - south, SPAN_DEGREES_MIN)
    scale = min((WIDTH - 2 * PAD) / across, (HEIGHT_MAX - 2 * PAD) / up)
    height = max(HEIGHT_MIN, up * scale + 2 * PAD)
    most = max(1, *(len(here) for _, here in placed))
    places = [
        {
            **_site(site, here),
            "x": round(WIDTH / 2 + (x - (west + east) / 2) * squeeze * scale, 1),
            "y": round(height / 2 - (y - (south + north) / 2) * scale, 1),
            "r": round(RADIUS_MIN + (RADIUS_MAX - RADIUS_MIN) * math.sqrt(len(here) / most), 1),
        }
        for (site, here), (x, y) in zip(placed, points, strict=True)
    ]
    # The gravest lie on top.
    places.sort(key=lambda place: ("quiet", "good", "off", "warn", "bad").index(place["worst"]))
    return {
        "width": WIDTH, "height": round(height), "places": places, "lost": lost, "labels": len(places) <= LABELS_MAX,
    }  # fmt: skip


def _site(site: Site, here: list[Watched]) -> Fields:
    online = sum(watched.is_online for watched in here)
    return {"code": site.code, "name": site.name, "units": len(here), "online": online, "worst": _worst(here, online)}


def _worst(here: list[Watched], online: int) -> str:
    """bad: a unit needs a visit; warn: a look; off: some are not on the line; good: all are; quiet: there is none."""
    if any(alert.grave for watched in here for alert in watched.alerts):
        return "bad"
    if any(watched.alerts for watched in here):
        return "warn"
    if online < len(here):
        return "off"
    return "good" if here else "quiet"
