"""A portrait's judgement as a page: where face, pupils and crop were found, every check with its limit and advice."""

from __future__ import annotations

import base64
import html
import io

from PIL import Image

from contract.sample_quality import LIMIT_VALUE, Measure, Verdict
from edge.matcher_lite.portrait_crop import CHIP_PHOTO_PX, card_photo, chip_photo
from edge.matcher_lite.portrait_face import Face
from edge.matcher_lite.portrait_quality import Pixels, PortraitReport

SHOWN_SIDE_PX_MAX = 1400

_NAMES = {
    "one face": "satu wajah", "eyes seen": "mata terlihat", "pupils": "pupil terlihat", "eye distance": "jarak mata",
    "roll": "kemiringan kepala", "size": "ukuran wajah", "centring": "posisi mendatar", "height": "posisi tegak",
    "margins": "ruang di samping", "crop": "potongan untuk kartu", "brightness": "kecerahan",
    "over-exposure": "terlalu terang", "under-exposure": "terlalu gelap", "dynamic range": "rentang nada (entropi)",
    "evenness": "kerataan cahaya", "sharpness": "ketajaman", "background": "latar belakang", "colour": "warna",
    "natural colour": "kewajaran warna", "compression": "pemampatan", "yaw": "menoleh", "pitch": "menunduk",
    "expression": "raut wajah", "mouth": "mulut", "gaze": "arah pandang", "covering": "penutup wajah",
    "glare": "pantulan", "red eyes": "mata merah",
}  # fmt: skip
_COUNTS = {"one face": "= 1", "eyes seen": "= 2"}
_VERDICTS = {Verdict.GOOD: ("baik", "good"), Verdict.POOR: ("kurang", "poor"), Verdict.NOT_JUDGED: ("–", "none")}

_STYLE = """
:root{--ink:#10243a;--soft:#51657a;--line:#d5dee8;--brand:#0a4a8f;--good:#0b7a43;--good-pale:#e0f4e9;--bad:#a61022;
--bad-pale:#fde6e8;--ground:#eef3f8}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.45 system-ui,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
main{max-width:1180px;margin:0 auto;padding:26px 22px 48px;display:grid;gap:20px}
h1,h2,p{margin:0}h2{font-size:1.1rem}small,.en{color:var(--soft);font-weight:400}
.card{background:#fff;border-radius:16px;padding:20px 24px;box-shadow:0 1px 2px #10243a14,0 8px 28px #10243a14}
.head{display:grid;grid-template-columns:auto 1fr;gap:22px;align-items:center}
.value{width:96px;height:96px;border-radius:50%;display:grid;place-content:center;text-align:center;font-weight:750;
font-size:2rem;line-height:1;color:#fff;background:var(--good)}.value.poor{background:var(--bad)}
.value small{font-size:.72rem;color:#fff}.advice{margin:8px 0 0;padding-left:1.15em}
.pictures{display:grid;grid-template-columns:minmax(0,1.5fr) minmax(240px,1fr);gap:20px;align-items:start}
.seen{position:relative;line-height:0}.seen img,.seen svg{width:100%;border-radius:10px}
.seen svg{position:absolute;inset:0}
.legend{display:flex;flex-wrap:wrap;gap:6px 18px;margin-top:12px;font-size:.86rem}
.legend i{display:inline-block;width:18px;height:4px;border-radius:2px;vertical-align:middle;margin-right:6px}
figure{margin:0 0 18px}figcaption{margin-top:6px;font-size:.9rem}.photo{border-radius:10px;display:block;max-width:100%}
table{border-collapse:collapse;width:100%}th{text-align:left;color:var(--soft);font-size:.84rem;padding:6px 10px}
td{padding:7px 10px;border-top:1px solid var(--line);vertical-align:top}td.n{white-space:nowrap;
font-variant-numeric:tabular-nums}
.bar{position:relative;width:110px;height:9px;border-radius:5px;background:#e6edf4;margin-top:8px}
.bar i{position:absolute;inset:0 auto 0 0;border-radius:5px;background:var(--good)}.poor .bar i{background:var(--bad)}
.bar::after{content:"";position:absolute;left:50%;top:-3px;bottom:-3px;width:2px;background:var(--ink)}
.tag{padding:2px 11px;border-radius:99px;font-size:.84rem;font-weight:650;background:var(--good-pale);color:#07512d}
tr.poor .tag{background:var(--bad-pale);color:#6d0a16}.unjudged{display:flex;flex-wrap:wrap;gap:8px;margin-top:10px}
.unjudged span{padding:3px 12px;border-radius:99px;background:#e9eef4}
main>*,.pictures>*{min-width:0}.card{overflow-x:auto}
@media(max-width:800px){.pictures{grid-template-columns:minmax(0,1fr)}main{padding:16px 12px}}
"""
_LEGEND = (("#ffbf47", "wajah", "face"), ("#35d07f", "mata", "eyes"), ("#ff3b5c", "pupil", "pupils"),
           ("#4fb3ff", "potongan untuk kartu", "crop for the card"))  # fmt: skip


def portrait_page(picture: Pixels, report: PortraitReport, name: str) -> str:
    """The page, complete in one file. picture: RGB (H, W, 3), what `report` is about."""
    return (
        '<!doctype html><html lang="id"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Foto: {html.escape(name)}</title><style>{_STYLE}</style></head><body><main>"
        f"{_head(report, name)}{_pictures(picture, report)}{_table(report)}{_unjudged(report)}</main></body></html>"
    )


def _head(report: PortraitReport, name: str) -> str:
    quality = report.quality
    kind = "" if quality.value >= LIMIT_VALUE else " poor"
    advice = "".join(
        f"<li>{html.escape(item.indonesian)} <small>{html.escape(item.english)}</small></li>" for item in quality.advice
    )
    said = (
        f'<ul class="advice">{advice}</ul>' if advice else "<p>Semua yang dinilai baik. <small>All is good.</small></p>"
    )
    return (
        f'<section class="card head"><div class="value{kind}">{quality.value}<small>dari 100</small></div>'
        f"<div><h1>{html.escape(name)}</h1>{said}</div></section>"
    )


def _pictures(picture: Pixels, report: PortraitReport) -> str:
    height, width = picture.shape[:2]
    legend = "".join(f'<span><i style="background:{c}"></i>{i} <small>{e}</small></span>' for c, i, e in _LEGEND)
    seen = (
        f'<div class="seen"><img alt="Foto (portrait)" src="{_data_url(picture, SHOWN_SIDE_PX_MAX)}">'
        f'<svg viewBox="0 0 {width} {height}" fill="none">{_overlay(report, max(width, height) / 400)}</svg></div>'
    )
    crops = ""
    if min(picture.shape[:2]) >= 4:
        photo = card_photo(picture)
        file = chip_photo(photo)
        chip = base64.b64encode(_as_png(file)).decode()
        crops = (
            f'<figure><img class="photo" width="240" alt="" src="{_data_url(photo, 480)}"><figcaption>Foto kartu '
            f"<small>card: {photo.shape[1]} × {photo.shape[0]} px</small></figcaption></figure>"
            f'<figure><img class="photo" width="{CHIP_PHOTO_PX[0]}" alt="" src="data:image/png;base64,{chip}">'
            f"<figcaption>Foto chip <small>chip: JPEG 2000, {len(file)} bytes, {CHIP_PHOTO_PX[0]} × {CHIP_PHOTO_PX[1]}"
            " px</small></figcaption></figure>"
        )
    return (
        f'<section class="pictures"><div class="card">{seen}<div class="legend">{legend}</div></div>'
        f'<div class="card">{crops}</div></section>'
    )


def _overlay(report: PortraitReport, unit: float) -> str:
    """Boxes, pupils and crop over the picture; unit: a pen's width in its pixels."""
    drawn = []
    if any(face.eyes for face in report.faces):
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in report.window.corners)
        drawn.append(f'<polygon points="{corners}" stroke="#4fb3ff" stroke-width="{1.4 * unit:.2f}"/>')
    drawn += [_face_overlay(face, unit) for face in report.faces]
    return "".join(drawn)


def _face_overlay(face: Face, unit: float) -> str:
    dash = f'stroke-dasharray="{4 * unit:.2f} {3 * unit:.2f}"'
    parts = [
        f'<rect x="{face.x:.1f}" y="{face.y:.1f}" width="{face.size:.1f}" height="{face.size:.1f}" rx="{4 * unit:.1f}" '
        f'stroke="#ffbf47" stroke-width="{unit:.2f}" {dash}/>'
    ]
    parts += [
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" stroke="#35d07f" '
        f'stroke-width="{0.8 * unit:.2f}"/>'
        for x, y, side in face.boxes
    ]
    if face.eyes:
        (ax, ay), (bx, by) = face.eyes
        parts.append(
            f'<path d="M{ax:.1f} {ay:.1f}L{bx:.1f} {by:.1f}" stroke="#ff3b5c" stroke-width="{0.5 * unit:.2f}"/>'
        )
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.6 * unit:.2f}" fill="#ff3b5c"/>' for x, y in face.eyes]
    return "".join(parts)


def _table(report: PortraitReport) -> str:
    rows = "".join(_row(item) for item in report.quality.measures if item.verdict is not Verdict.NOT_JUDGED)
    return (
        '<section class="card"><table><thead><tr><th>Pemeriksaan <small>check</small></th><th>Terukur '
        "<small>measured</small></th><th>Batas <small>limit</small></th><th>Nilai <small>0–100, limit at 50</small>"
        f"</th><th>Putusan</th><th>Saran <small>advice</small></th></tr></thead><tbody>{rows}</tbody></table></section>"
    )


def _row(item: Measure) -> str:
    kind = _VERDICTS[item.verdict]
    advice = (
        f"{html.escape(item.advice.indonesian)}<br><small>{html.escape(item.advice.english)}</small>"
        if item.advice
        else ""
    )
    return (
        f'<tr class="{kind[1]}"><td>{_NAMES.get(item.name, item.name)} <small>{item.name}</small></td>'
        f'<td class="n">{number(item.measured)} {html.escape(item.unit)}</td><td class="n">{limit_of(item)}</td>'
        f'<td><div class="bar" title="{item.value}"><i style="width:{item.value}%"></i></div></td>'
        f'<td><span class="tag">{kind[0]}</span></td><td>{advice}</td></tr>'
    )


def _unjudged(report: PortraitReport) -> str:
    names = "".join(
        f"<span>{_NAMES.get(name, name)} <small>{name}</small></span>" for name in report.quality.not_judged
    )
    return (
        '<section class="card"><h2>Tidak dinilai <small>Not judged: these need more than this program can see</small>'
        f'</h2><div class="unjudged">{names}</div></section>'
    )


def limit_of(item: Measure) -> str:
    """The limit with the side that is good, by where the measured value lies."""
    if item.limit is None or item.measured is None:
        return ""
    if item.name in _COUNTS:
        return _COUNTS[item.name]
    above = (item.value >= LIMIT_VALUE) == (item.measured >= item.limit)
    return f"{'≥' if above else '≤'} {number(item.limit)}"


def number(value: float | None) -> str:
    """A number with what digits help."""
    if value is None:
        return ""
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _data_url(picture: Pixels, side_px_max: int) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((side_px_max, side_px_max))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _as_png(file: bytes) -> bytes:
    """A JPEG 2000 file as PNG, since browsers do not show the former."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(file)).save(buffer, "PNG")
    return buffer.getvalue()
