"""Both faces of the KTP-el as they are printed: CR80 at 300 dpi, 1012 × 638 px, the layout residents know.

Front: province and regency, NIK, the biodata with their Indonesian labels, portrait, place and date of issue, the
holder's signature. The portrait's frame is red for an odd and blue for an even year of birth, as the background of
portraits is by custom; the portrait itself is printed as it was taken. Back: our own emblem and a QR code with card
number and capture digest. A machine-readable zone would repeat name and date of birth in the open, so there is none:
who may read more reads the chip.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
import segno
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from contract.packet import Biodata
from edge.matcher_lite.signature_picture import INK_RGB
from hub.card_ornament import EMBLEM_RED, LINE_BLUE, LINE_ROSE, emblem, ground, rosette, tint
from hub.card_text import MONO, OVERSAMPLING, REGULAR, SERIF, Box, Colour, Placed, draw, place

WIDTH_PX, HEIGHT_PX, PPI = 1012, 638, 300
VALID_UNTIL = "SEUMUR HIDUP"
FRAME_ODD: Colour = (190, 40, 44)
FRAME_EVEN: Colour = (36, 84, 158)
CAPTURE_DIGEST_BYTES = 16
GROUND_COLOURS = 24

_INK: Colour = (24, 24, 28)
_QUIET: Colour = (72, 80, 92)
_NAVY: Colour = (22, 52, 96)
_LABELS_LEFT, _COLON, _VALUES_LEFT, _VALUES_RIGHT = 40, 252, 268, 716
_ROWS_TOP, _ROWS_BOTTOM = 176, 622
_PHOTO: Box = (752, 150, 976, 448)
_ISSUE: Box = (736, 462, 992, 516)
_SIGNATURE: Box = (746, 520, 982, 620)
_LABEL_PX, _VALUE_PX = 22.0, 24.0
_INDENTED = ("RT/RW", "Kel/Desa", "Kecamatan")
_MONTHS = (
    "JANUARI", "FEBRUARI", "MARET", "APRIL", "MEI", "JUNI",
    "JULI", "AGUSTUS", "SEPTEMBER", "OKTOBER", "NOVEMBER", "DESEMBER",
)  # fmt: skip
_BACK_LINES = (
    "Kartu ini diterbitkan oleh Pemerintah dan menjadi bukti diri pemegangnya.",
    "Data pada cip hanya terbaca oleh pembaca resmi dan ditandatangani penerbit.",
    "Bila menemukan kartu ini, serahkan ke kantor kecamatan atau Dinas Dukcapil terdekat.",
    "This card is proof of its holder's identity. If found, please hand it to the nearest district office.",
)


@dataclass(frozen=True, slots=True)
class CardFaces:
    """Both faces as PNG, WIDTH_PX × HEIGHT_PX, 300 dpi."""

    front: bytes
    back: bytes


def render(
    biodata: Biodata,
    photo: NDArray[np.uint8],
    signature: Image.Image,
    *,
    card_number: str,
    issued_on: str,
    capture_id: str = "",
) -> CardFaces:
    """Both faces.

    photo: RGB (H, W, 3), 3 by 4; signature: RGBA, ink on nothing; issued_on: ISO date; capture_id: its digest enters
    the QR code, so that a card found somewhere leads to its record and to nothing about its holder.
    """
    return CardFaces(
        front=_png(_front(biodata, photo, signature, issued_on)), back=_png(_back(card_number, capture_id))
    )


def front_texts(biodata: Biodata, issued_on: str) -> list[Placed]:
    """Every text of the front, placed."""
    texts = [
        place(_titled("PROVINSI", biodata.province), (150, 24, 862, 62), 34, colour=_NAVY, align="centre", lines_max=1),
        place(biodata.regency.upper(), (150, 64, 862, 102), 32, colour=_NAVY, align="centre", lines_max=1),
        place("NIK", (_LABELS_LEFT, 116, 130, 164), 38, colour=_INK, lines_max=1),
        place(f": {biodata.nik}", (134, 112, 730, 168), 46, font=MONO, narrow=0.82, colour=_INK, lines_max=1),
    ]
    rows = _rows(biodata)
    pitch = (_ROWS_BOTTOM - _ROWS_TOP) / len(rows)
    for number, (label, value) in enumerate(rows):
        top, bottom = _ROWS_TOP + number * pitch, _ROWS_TOP + (number + 1) * pitch - 1
        start = _LABELS_LEFT + (28 if label in _INDENTED else 0)
        end = _VALUES_RIGHT
        texts.append(place(label, (start, top, _COLON - 6, bottom), _LABEL_PX, font=REGULAR, lines_max=1))
        texts.append(place(":", (_COLON, top, _VALUES_LEFT - 2, bottom), _LABEL_PX, lines_max=1))
        if label == "Jenis Kelamin":
            end = 474
            texts.append(place("Gol. Darah", (488, top, 620, bottom), _LABEL_PX, font=REGULAR, lines_max=1))
            texts.append(place(f": {biodata.blood_type}", (624, top, _VALUES_RIGHT, bottom), _VALUE_PX, lines_max=1))
        texts.append(place(value, (_VALUES_LEFT, top, end, bottom), _VALUE_PX, colour=_INK))
    left, top, right, bottom = _ISSUE
    middle = (top + bottom) / 2
    place_of_issue = biodata.regency.upper().removeprefix("KABUPATEN ").removeprefix("KOTA ")
    texts.append(place(place_of_issue, (left, top, right, middle), 21, align="centre", lines_max=2))
    texts.append(place(_day(issued_on), (left, middle, right, bottom), 21, align="centre", lines_max=1))
    return texts


def back_texts(card_number: str) -> list[Placed]:
    """Every text of the back, placed."""
    texts = [
        place("KARTU TANDA PENDUDUK ELEKTRONIK", (196, 44, 972, 92), 40, font=SERIF, colour=_NAVY, lines_max=1),
        place("Electronic Identity Card", (196, 94, 972, 126), 25, font=REGULAR, colour=_QUIET, lines_max=1),
        place(
            "No. Kartu / Card No.", (694, 536, 972, 562), 20, font=REGULAR, colour=_QUIET, align="centre", lines_max=1
        ),
        place(card_number, (674, 562, 992, 600), 30, font=MONO, align="centre", lines_max=1),
    ]
    for number, line in enumerate(_BACK_LINES):
        top = 232 + number * 86
        colour = _QUIET if number == len(_BACK_LINES) - 1 else _INK
        texts.append(place(line, (56, top, 632, top + 74), 24, font=REGULAR, narrow=0.92, colour=colour))
    return texts


def qr_text(card_number: str, capture_id: str) -> str:
    """What the QR code says: whose format it is, the card's number, the capture's digest."""
    digest = hashlib.sha256(f"rekam capture {capture_id}".encode()).digest()[:CAPTURE_DIGEST_BYTES].hex().upper()
    return f"RKTP1:{card_number}" + (f":{digest}" if capture_id else "")


def _rows(biodata: Biodata) -> list[tuple[str, str]]:
    born = date.fromisoformat(biodata.birth_date)
    return [
        ("Nama", biodata.name),
        ("Tempat/Tgl Lahir", f"{biodata.birth_place}, {born:%d-%m-%Y}"),
        ("Jenis Kelamin", biodata.sex),
        ("Alamat", biodata.address),
        ("RT/RW", biodata.rt_rw),
        ("Kel/Desa", biodata.village),
        ("Kecamatan", biodata.district),
        ("Agama", biodata.religion),
        ("Status Perkawinan", biodata.marital_status),
        ("Pekerjaan", biodata.occupation),
        ("Kewarganegaraan", biodata.nationality),
        ("Berlaku Hingga", VALID_UNTIL),
    ]


def _front(biodata: Biodata, photo: NDArray[np.uint8], signature: Image.Image, issued_on: str) -> Image.Image:
    canvas = _front_ground().copy()
    odd = int(biodata.birth_date[:4]) % 2 == 1
    _paste_photo(canvas, photo, FRAME_ODD if odd else FRAME_EVEN)
    _paste_signature(canvas, signature)
    emblem(canvas, *_drawn(40, 20), 84 * OVERSAMPLING)
    for placed in front_texts(biodata, issued_on):
        draw(canvas, placed)
    return canvas.reduce(OVERSAMPLING)


def _back(card_number: str, capture_id: str) -> Image.Image:
    canvas = _back_ground().copy()
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((*_drawn(0, 160), *_drawn(WIDTH_PX, 166)), fill=EMBLEM_RED)
    pen.rectangle((*_drawn(0, 168), *_drawn(WIDTH_PX, 171)), fill=(255, 255, 255))
    emblem(canvas, *_drawn(56, 24), 122 * OVERSAMPLING)
    _paste_qr(canvas, qr_text(card_number, capture_id))
    for placed in back_texts(card_number):
        draw(canvas, placed)
    return canvas.reduce(OVERSAMPLING).quantize(256, dither=Image.Dither.NONE)


@lru_cache(maxsize=1)
def _front_ground() -> Image.Image:
    canvas = _enlarged(ground(WIDTH_PX, HEIGHT_PX, 0.0))
    tint(canvas, rosette(620 * OVERSAMPLING, 12, 10), *_drawn(60, 60), LINE_BLUE, 0.5)
    return _few_colours(canvas)


@lru_cache(maxsize=1)
def _back_ground() -> Image.Image:
    canvas = _enlarged(ground(WIDTH_PX, HEIGHT_PX, 1.0))
    tint(canvas, rosette(700 * OVERSAMPLING, 16, 12), *_drawn(-120, 60), LINE_ROSE, 0.55)
    tint(canvas, rosette(520 * OVERSAMPLING, 9, 9), *_drawn(570, 180), LINE_BLUE, 0.5)
    return _few_colours(canvas)


def _few_colours(canvas: Image.Image) -> Image.Image:
    """The ground at the card's own pixels in few colours: two faces have to travel in one message to the station."""
    ready = canvas.reduce(OVERSAMPLING).quantize(GROUND_COLOURS, dither=Image.Dither.NONE).convert("RGB")
    return _enlarged(ready)


def _enlarged(picture: Image.Image) -> Image.Image:
    """Each pixel of the card as OVERSAMPLING squared drawn pixels."""
    return picture.resize((WIDTH_PX * OVERSAMPLING, HEIGHT_PX * OVERSAMPLING), Image.Resampling.NEAREST)


def _paste_photo(canvas: Image.Image, photo: NDArray[np.uint8], frame: Colour) -> None:
    left, top, right, bottom = (round(edge * OVERSAMPLING) for edge in _PHOTO)
    pen = ImageDraw.Draw(canvas)
    rim = 5 * OVERSAMPLING
    pen.rounded_rectangle((left - rim, top - rim, right + rim, bottom + rim), 3 * rim, fill=frame)
    portrait = Image.fromarray(photo).resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    corners = Image.new("L", portrait.size)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, *portrait.size), 2 * rim, fill=255)
    canvas.paste(portrait, (left, top), corners)


def _paste_signature(canvas: Image.Image, signature: Image.Image) -> None:
    left, top, right, bottom = (round(edge * OVERSAMPLING) for edge in _SIGNATURE)
    ink = signature.getchannel("A")
    scale = min((right - left) / ink.width, (bottom - top) / ink.height)
    ink = ink.resize((max(1, round(ink.width * scale)), max(1, round(ink.height * scale))), Image.Resampling.LANCZOS)
    corner = (left + (right - left - ink.width) // 2, top + (bottom - top - ink.height) // 2)
    canvas.paste(INK_RGB, corner, ink)


def _paste_qr(canvas: Image.Image, text: str) -> None:
    code = segno.make_qr(text, error="m")
    modules = np.array([list(row) for row in code.matrix], dtype=np.uint8)
    quiet = np.pad(modules, 3)
    side = 316 * OVERSAMPLING
    scale = side // quiet.shape[0]
    pixels = np.where(quiet.repeat(scale, 0).repeat(scale, 1) > 0, 12, 255).astype(np.uint8)
    left, top = _drawn(676, 204)
    margin = (side - pixels.shape[0]) // 2
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle((left, top, left + side, top + side), 10 * OVERSAMPLING, fill=(255, 255, 255))
    canvas.paste(Image.fromarray(pixels), (left + margin, top + margin))


def _titled(title: str, name: str) -> str:
    """The title before a name that does not carry it."""
    name = name.upper()
    return name if name.startswith((title, "DAERAH")) else f"{title} {name}"


def _day(iso: str) -> str:
    day = date.fromisoformat(iso)
    return f"{day.day:02d} {_MONTHS[day.month - 1]} {day.year}"


def _drawn(x: int, y: int) -> tuple[int, int]:
    return x * OVERSAMPLING, y * OVERSAMPLING


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", dpi=(PPI, PPI), compress_level=6)
    return file.getvalue()
