"""The card's faces: everything printed stays in its place whatever the names, and the back names nobody."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.dispatch import MESSAGE_BYTES_MAX
from hub import card_face
from hub.card_text import draw, place, text_width, wrap
from tests.unit.test_chip_file import BIODATA, CAPTURE_ID

NOISE = np.random.default_rng(1).integers(0, 255, (800, 600, 3), dtype=np.uint8)
SIGNATURE = Image.new("RGBA", (944, 400))
NUMBER = "9901-0123456789"
LONG = {
    "name": "RADEN AJENG SITI NURHALIZA KUSUMANINGTYAS WIDYASTUTI PRAWIRODIRDJO",
    "address": "PERUMAHAN GRIYA ARGA MULYA INDAH BLOK C-12 NOMOR 144, JALAN GAJAH MADA KAVLING TIMUR",
    "occupation": "KARYAWAN BADAN USAHA MILIK DAERAH",
}


@pytest.fixture(scope="module")
def faces():
    return card_face.render(
        BIODATA, NOISE, SIGNATURE, card_number=NUMBER, issued_on="2026-11-22", capture_id=CAPTURE_ID
    )


def pixels(face):
    return np.asarray(Image.open(io.BytesIO(face)).convert("RGB"))


def check_layout(texts):
    for text in texts:
        left, top, right, bottom = text.extent
        assert left >= text.box[0] - 0.01, text
        assert top >= text.box[1] - 0.01, text
        assert right <= text.box[2] + 0.01, text
        assert bottom <= text.box[3] + 0.01, text
        assert 0 <= text.box[0] < text.box[2] <= card_face.WIDTH_PX
        assert 0 <= text.box[1] < text.box[3] <= card_face.HEIGHT_PX
    boxes = [text.extent for text in texts]
    for number, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, (texts[number], other)


def test_faces_are_cr80_at_300_dpi(faces):
    for face in (faces.front, faces.back):
        picture = Image.open(io.BytesIO(face))
        assert picture.size == (1012, 638)
        assert [round(value) for value in picture.info["dpi"]] == [300, 300]


def test_both_faces_travel_in_one_message_even_with_the_noisiest_portrait(faces):
    assert len(faces.front) + len(faces.back) + 16 * 1024 < MESSAGE_BYTES_MAX


def test_every_label_of_the_ktp_el_is_there():
    shown = " ".join(" ".join(text.lines) for text in card_face.front_texts(BIODATA, "2026-11-22"))
    labels = (
        "NIK|Nama|Tempat/Tgl Lahir|Jenis Kelamin|Gol. Darah|Alamat|RT/RW|Kel/Desa|Kecamatan|Agama|"
        "Status Perkawinan|Pekerjaan|Kewarganegaraan|Berlaku Hingga"
    )
    for label in labels.split("|"):
        assert label in shown
    for value in (BIODATA.nik, BIODATA.name, "TEMANGGUNG, 05-06-1990", "SEUMUR HIDUP", "22 NOVEMBER 2026",
                  "PROVINSI BARU", "KABUPATEN BARU"):  # fmt: skip
        assert value in shown


@pytest.mark.parametrize("changed", [{}, LONG, dict.fromkeys(LONG, "W" * 200), {"province": "P" * 200}])
def test_nothing_overflows_or_overlaps(changed):
    check_layout(card_face.front_texts(BIODATA.model_copy(update=changed), "2026-11-22"))
    check_layout(card_face.back_texts("9" * 64))


def test_long_names_are_shown_whole_and_legibly():
    texts = card_face.front_texts(BIODATA.model_copy(update=LONG), "2026-11-22")
    for value in LONG.values():
        found = next(text for text in texts if " ".join(text.lines) == value)
        assert found.size_px >= 12  # one millimetre


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=60))
@settings(max_examples=40, deadline=None)
def test_any_names_stay_inside(name, address, regency):
    changed = {"name": name, "address": address, "regency": regency, "occupation": name}
    check_layout(card_face.front_texts(BIODATA.model_copy(update=changed), "2026-11-22"))


def test_drawing_any_letters_does_no_harm():
    odd = {"name": "Ａ" * 200, "address": "\u202e\u0000\n\t é ß 漢字", "village": ""}
    card_face.render(BIODATA.model_copy(update=odd), NOISE, SIGNATURE, card_number="1", issued_on="2026-01-01")


def test_ink_stays_in_the_box_it_was_given():
    placed = place("Ejpqy WIDTH", (100, 100, 400, 140), 36)
    left, top, right, bottom = placed.extent
    plain = Image.new("RGB", (1000, 400), "white")
    draw(plain, placed)
    ink = np.argwhere(np.asarray(plain.convert("L")) < 200) / 2
    assert ink[:, 1].min() >= left - 2
    assert ink[:, 1].max() <= right + 2
    assert ink[:, 0].min() >= top - 2
    assert ink[:, 0].max() <= bottom + 2


def test_words_are_kept_together_where_they_can_be():
    width = text_width("KUSUMANINGTYAS WIDYA", "DejaVuSans-Bold.ttf", 20)
    assert wrap("KUSUMANINGTYAS WIDYA STUTI", "DejaVuSans-Bold.ttf", 20, 0.86, width) == (
        "KUSUMANINGTYAS WIDYA",
        "STUTI",
    )


def test_the_qr_code_reads_and_names_nobody(faces):
    text, _, _ = cv2.QRCodeDetector().detectAndDecode(pixels(faces.back))
    assert text == card_face.qr_text(NUMBER, CAPTURE_ID)
    assert text.startswith(f"RKTP1:{NUMBER}:")
    for secret in (BIODATA.nik, "SITI", CAPTURE_ID):
        assert secret not in text


def test_the_portrait_is_printed_as_it_was_taken_in_a_frame_of_the_birth_years_colour():
    grey = np.full((800, 600, 3), 120, np.uint8)
    for year, frame in (("1990-06-05", card_face.FRAME_EVEN), ("1991-06-05", card_face.FRAME_ODD)):
        biodata = BIODATA.model_copy(update={"birth_date": year})
        front = pixels(card_face.render(biodata, grey, SIGNATURE, card_number="1", issued_on="2026-01-01").front)
        assert (front[200:400, 780:940] == 120).all()
        assert (np.abs(front[300, 749].astype(int) - frame) < 8).all()
