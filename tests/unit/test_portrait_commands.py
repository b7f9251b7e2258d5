"""`rekam-match portrait`, `bench-portrait` and `replay`: figures, pages and files that an integrator would miss."""

from __future__ import annotations

import contextlib
import io
import json
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from contract import face_image
from contract.chip_layout import BUDGET, ChipFile
from contract.errors import RemoteError
from contract.image_formats import ImageFormat, decode_image, encode_image
from contract.signature_series import decode_series, encode_series, signature_of
from contract.signature_strokes import Ink, ink_of
from edge.examination import examine_face
from edge.matcher_lite.__main__ import app
from edge.matcher_lite.portrait_quality import NEVER_JUDGED, examine_portrait, judge_portrait
from edge.matcher_lite.portrait_report import portrait_page
from edge.matcher_lite.signature_picture import CARD_FIELD_PX, chip_signature, draw_ink, signature_png
from virtual.people import person

runner = CliRunner()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    path.write_bytes(encode_image(person(1, 3).portrait(0), ImageFormat.PNG))
    return path


def run(*arguments: object, status: int = 0) -> str:
    result = runner.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_a_portrait_is_judged_and_cropped_into_files(photo: Path, tmp_path: Path) -> None:
    page, figures = tmp_path / "out/page.html", tmp_path / "figures.json"
    card, chip = tmp_path / "card.png", tmp_path / "chip.jp2"
    output = run("portrait", photo, "--html", page, "--json", figures, "--card", card, "--chip", chip)
    assert "eye distance" in output and "Not judged: yaw" in output
    told = json.loads(figures.read_text())
    assert told["faces"] == 1 and told["value"] >= 50 and len(told["eyes"]) == 2
    unjudged = [check["name"] for check in told["checks"] if check["verdict"] == "not judged"]
    assert unjudged == list(NEVER_JUDGED)
    assert all(check["limit"] is not None for check in told["checks"] if check["name"] not in unjudged)
    assert decode_image(card.read_bytes(), colour=True).shape == (640, 480, 3)
    assert len(chip.read_bytes()) <= BUDGET[ChipFile.PHOTO]
    text = page.read_text(encoding="utf-8")
    assert '<html lang="id">' in text and "<polygon" in text and text.count("<circle") == 2 and "http" not in text


def test_an_iso_record_is_read_and_a_bad_photo_says_what_to_do(tmp_path: Path) -> None:
    small = np.ascontiguousarray(person(1, 3).portrait(0)[::3, ::3])
    image = face_image.FaceImage(small.shape[1], small.shape[0], encode_image(small, ImageFormat.JPEG2000))
    record = tmp_path / "face.iso"
    record.write_bytes(face_image.encode_record(face_image.FaceImageRecord((image,))))
    assert "Majulah" in run("portrait", record, status=1)


@pytest.mark.parametrize("content", [b"", b"FAC\x00010\x00", b"\x89PNG\r\n\x1a\nrest", b"plain text"])
def test_a_file_that_is_no_picture_is_a_remote_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    result = runner.invoke(app, ["portrait", str(path)])
    assert isinstance(result.exception, RemoteError)


def test_the_page_escapes_names_and_holds_for_nobody_and_for_a_sliver() -> None:
    for shape in ((200, 150, 3), (3, 60, 3)):
        empty = np.full(shape, 90, np.uint8)
        page = portrait_page(empty, examine_portrait(empty), "<script>.png")
        assert "<script>" not in page and "&lt;script&gt;" in page and "<polygon" not in page


def test_the_time_is_measured(photo: Path) -> None:
    output = run("bench-portrait", photo, "--rounds", 3)
    assert "1225 × 1633 px: judged in" in output and "encoded for the chip" in output


def signed(index: int = 4) -> Ink:
    written = person(1, index).signature(0)
    moves = zip(written.time_ms, written.x_mm, written.y_mm, written.pressure, strict=True)
    points = [(round(x * 100), round(y * 100), int(t), round(p * 65535), bool(p > 0)) for t, x, y, p in moves]
    return ink_of(decode_series(encode_series(signature_of(points, units_per_mm=100.0))))


def test_a_signature_is_replayed_on_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    record, page, png = tmp_path / "a.iso", tmp_path / "a.html", tmp_path / "a.png"
    points = [(100 * n, 500 + 300 * (n % 7), 10 * n, 30_000, n % 20 > 2) for n in range(60)]
    record.write_bytes(encode_series(signature_of(points, units_per_mm=100.0)))
    output = run("replay", record, "--html", page, "--png", png)
    assert "60 points (X, Y, T, F, S); 3 strokes" in output
    text = page.read_text(encoding="utf-8")
    assert "signatureReplay(document.getElementById" in text and 'src="http' not in text
    assert Image.open(png).mode == "RGBA"
    record.write_bytes(b"SDI\x00 10\x00")
    assert isinstance(runner.invoke(app, ["replay", str(record)]).exception, RemoteError)


def test_the_cards_signature_is_ink_on_nothing_inside_its_field() -> None:
    for index in range(4):
        picture = Image.open(io.BytesIO(signature_png(signed(index))))
        assert picture.size == CARD_FIELD_PX and picture.mode == "RGBA"
        alpha = np.asarray(picture.getchannel("A"))
        assert alpha.max() == 255 and 0.005 < (alpha > 0).mean() < 0.4
        edge = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
        assert edge.max() == 0


def test_a_harder_press_is_a_broader_line() -> None:
    def line(pressure: float) -> Ink:
        return Ink((tuple((float(x), 5.0, pressure, x / 100) for x in range(40)),), 39.0, 10.0)

    light, hard = (int((draw_ink(line(pressure), (400, 170)) > 127).sum()) for pressure in (0.05, 0.95))
    assert hard > 2 * light


def test_a_signature_of_nothing_a_dot_or_a_rule_is_drawn_and_breaks_nothing() -> None:
    dot = Ink((((0.0, 0.0, 0.5, 0.0),),))
    rule = Ink((((0.0, 0.0, 0.5, 0.0), (60.0, 0.0, 0.5, 1.0)),), 60.0, 0.0)
    assert draw_ink(Ink(()), CARD_FIELD_PX).max() == 0
    for ink in (dot, rule):
        assert draw_ink(ink, CARD_FIELD_PX).max() > 100
        assert len(chip_signature(ink)) <= BUDGET[ChipFile.SIGNATURE]


def test_the_chips_signature_keeps_its_budget() -> None:
    for index in range(6):
        file = chip_signature(signed(index))
        assert len(file) <= BUDGET[ChipFile.SIGNATURE]
        assert {int(value) for value in np.unique(np.asarray(Image.open(io.BytesIO(file)).convert("L")))} == {0, 255}


@given(st.sampled_from(["png", "jpeg", "jpeg2000", "bmp", "tiff"]), st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_photo_of_any_format_is_a_value_or_a_remote_error(kind: str, data: st.DataObject) -> None:
    octets = bytearray(photo_in(ImageFormat(kind)))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteError):
        picture = decode_image(bytes(octets[: data.draw(st.integers(1, len(octets)))]), colour=True)
        assert 0 <= judge_portrait(picture).value <= 100


@cache
def photo_in(kind: ImageFormat) -> bytes:
    return encode_image(np.ascontiguousarray(person(1, 3).portrait(0)[::4, ::4]), kind)


def test_the_capture_notes_both_pupils_in_the_record_the_persons_left_on_the_right() -> None:
    examined = examine_face(cv2.resize(person(1, 3).portrait(0), (1500, 2000)))
    (image,) = face_image.decode_record(examined.record).images
    assert image.height_px == 1600
    points = {(point.major, point.minor): (point.x, point.y) for point in image.feature_points}
    left, right = points[face_image.LEFT_EYE], points[face_image.RIGHT_EYE]
    shown = decode_image(image.image, colour=True)
    assert left[0] - right[0] == pytest.approx(250, abs=16) and abs(left[1] - right[1]) < 16
    for x, y in (left, right):
        assert shown[y - 4 : y + 5, x - 4 : x + 5].mean() < 90
    assert (
        face_image.decode_record(examine_face(np.full((300, 200, 3), 128, np.uint8)).record).images[0].feature_points
        == ()
    )
