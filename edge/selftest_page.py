"""The selftest as a page of its own: one file that a technician sends to the regency, or prints.

It carries the pictures that the cameras took, so it may show whoever stood there: the page says so.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from edge.screens.pictures import jpeg
from edge.sensors.selftest import Outcome, SelftestRow

TEMPLATES = Path(__file__).parent / "screens" / "templates"
PICTURE_SIDE_PX = 420
KINDS_ID = {
    "camera": "Kamera", "finger": "Pemindai sidik jari", "slap": "Pemindai empat jari", "iris": "Pemindai iris",
    "signature": "Papan tanda tangan", "code": "Pembaca kode", "card": "Pembaca kartu", "scanner": "Pemindai berkas",
    "ticket": "Pencetak struk", "illumination": "Lampu kamera", "presence": "Sensor kehadiran",
    "climate": "Suhu kotak", "identity": "Cip identitas", "printer": "Pencetak kartu", "enclosure": "Kotak perangkat",
    "comparison": "Pembanding biometrik", "controller": "Papan kendali", "software": "Perangkat lunak",
}  # fmt: skip
OUTCOMES = {
    Outcome.OK: ("good", "Baik", "ok"),
    Outcome.FAILED: ("bad", "Gagal", "failed"),
    Outcome.MISSING: ("none", "Tidak dipasang", "not configured"),
}


def render_page(rows: Sequence[SelftestRow], *, unit: str, site: str, role: str, at: str) -> str:
    """The whole page as HTML, with nothing to load. at: the local time in words."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    return environment.get_template("selftest.html").render(
        unit=unit,
        site=site,
        role=role,
        at=at,
        kinds=KINDS_ID,
        outcomes=OUTCOMES,
        failed=[row for row in rows if row.outcome is Outcome.FAILED],
        working=[row for row in rows if row.outcome is Outcome.OK],
        missing=[row for row in rows if row.outcome is Outcome.MISSING],
        pictures=[(row, _data_uri(picture)) for row in rows for picture in row.pictures],
    )


def _data_uri(pixels: object) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(pixels, PICTURE_SIDE_PX)).decode()  # type: ignore[arg-type]
