"""Synthetic people: the same everywhere, nobody's number, nobody twice, and fit for a card."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections import Counter
from datetime import date
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import RekamError
from contract.sample import ALL_FINGERS, BOTH_EYES, FingerPosition, IrisPosition
from virtual.biodata import AGE_MAX_YEARS, AGE_MIN_YEARS, age_years
from virtual.finger_pattern import PatternClass, ridge_direction
from virtual.finger_presets import EVERYDAY, GUIDED, PRESETS
from virtual.nik import make_nik, read_nik
from virtual.people import ALIAS_MAX, INDEX_MAX, SMALL_FINGER_SIZE_PX, Person, duplicate, person, population

INDEX = FingerPosition.RIGHT_INDEX
ROOT = Path(__file__).resolve().parents[2]
CASCADE = cv2.data.haarcascades + "haarcascade_frontalface_default.xml"


def faces_in(portrait: np.ndarray) -> int:
    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    return len(cv2.CascadeClassifier(CASCADE).detectMultiScale(grey, 1.1, 5, minSize=(120, 120)))


def checksums(someone: Person) -> str:
    samples = (
        someone.finger(FingerPosition.LEFT_THUMB, 2),
        someone.iris(IrisPosition.LEFT),
        someone.portrait(1),
        someone.signature(1).x_mm,
    )
    return " ".join([someone.nik, *(str(zlib.crc32(sample.tobytes())) for sample in samples)])


def test_the_same_seed_gives_the_same_person_in_another_process() -> None:
    program = "from tests.unit.test_virtual_people import checksums, person; print(checksums(person(5, 3)))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert other.strip() == checksums(person(5, 3))


def test_every_nik_lies_in_the_province_that_does_not_exist_and_says_what_the_biodata_say() -> None:
    for each in population(7, 300):
        parts = read_nik(each.nik)
        born = date.fromisoformat(each.biodata.birth_date)
        assert each.nik.startswith("99")
        assert parts.female == (each.biodata.sex == "PEREMPUAN")
        assert (parts.birth_day, parts.birth_month) == (born.day, born.month)
        assert parts.birth_year_of_century == born.year % 100
        assert AGE_MIN_YEARS <= age_years(born) <= AGE_MAX_YEARS


def test_the_first_of_a_district_has_serial_0001() -> None:
    assert person(1, 0).nik.endswith("0001")


def test_no_two_people_share_a_nik_under_any_name() -> None:
    niks = [Person(3, index, alias).nik for index in range(700) for alias in range(ALIAS_MAX + 1)]
    assert len(set(niks)) == len(niks)
    assert read_nik(Person(3, INDEX_MAX, ALIAS_MAX).nik).serial <= 9999


@given(st.text(max_size=20))
@settings(max_examples=150, deadline=None)
def test_what_is_no_synthetic_nik_is_refused_with_our_own_error(text: str) -> None:
    try:
        parts = read_nik(text)
    except RekamError:
        return
    assert 1 <= parts.birth_day <= 31


def test_a_women_s_day_carries_forty_more() -> None:
    born = date(1990, 3, 7)
    woman = make_nik(regency=1, district=2, birth_date=born, female=True, serial=12)
    man = make_nik(regency=1, district=2, birth_date=born, female=False, serial=12)
    assert (woman, man) == ("9901024703900012", "9901020703900012")
    with pytest.raises(RekamError):
        make_nik(regency=1, district=2, birth_date=born, female=True, serial=10000)


def test_a_duplicate_is_the_same_body_under_other_papers() -> None:
    first = person(2, 4)
    again = duplicate(first)
    assert again.nik != first.nik
    assert again.biodata.name != first.biodata.name or again.biodata.birth_date != first.biodata.birth_date
    assert again.biodata.sex == first.biodata.sex
    assert np.array_equal(first.finger(INDEX, 1), again.finger(INDEX, 1))
    assert np.array_equal(first.iris(IrisPosition.LEFT), again.iris(IrisPosition.LEFT))


@pytest.mark.parametrize(
    "broken",
    [
        lambda: person(-1, 0),
        lambda: person(1, INDEX_MAX + 1),
        lambda: Person(1, 1, ALIAS_MAX + 1),
        lambda: person(1, 1).finger(FingerPosition.UNKNOWN),
        lambda: person(1, 1).finger(INDEX, -1),
        lambda: person(1, 1).iris(IrisPosition.UNKNOWN),
    ],
)
def test_asking_for_nobody_says_what_to_ask_instead(broken) -> None:
    with pytest.raises(RekamError) as told:
        broken()
    assert told.value.next_step


def test_a_finger_is_dark_ridges_on_light_ground_and_no_two_touches_are_alike() -> None:
    someone = person(1, 2)
    first, second = someone.finger(INDEX, 0), someone.finger(INDEX, 1)
    assert first.shape == (374, 388)
    assert first.dtype == np.uint8
    assert np.median(first[:8]) > 200
    assert first.min() < 100
    assert np.mean(first != second) > 0.2
    assert np.array_equal(first, person(1, 2).finger(INDEX, 0))


def test_a_small_sensor_sees_a_smaller_window() -> None:
    image = person(1, 2).finger(INDEX, 0, size=SMALL_FINGER_SIZE_PX, preset=GUIDED)
    assert image.shape == (288, 256)
    assert np.mean(image < 128) > 0.1


def test_ridges_are_as_far_apart_as_real_ones() -> None:
    someone = person(1, 5)
    image = someone.finger(INDEX, 0, preset=GUIDED)[100:228, 130:258].astype(float)
    power = np.abs(np.fft.fft2((image - image.mean()) * np.outer(np.hanning(128), np.hanning(128)))) ** 2
    frequency = np.fft.fftfreq(128)
    radius = np.hypot(*np.meshgrid(frequency, frequency))
    strongest = radius.ravel()[np.argmax(np.where(radius > 0.04, power, 0))]
    assert 6.5 <= 1 / strongest <= 13.0


def test_pattern_classes_come_in_about_the_shares_of_real_hands() -> None:
    found = Counter(each.pattern(finger).pattern for each in population(11, 120) for finger in ALL_FINGERS)
    share = {pattern: found[pattern] / 1200 for pattern in PatternClass}
    loops = share[PatternClass.LEFT_LOOP] + share[PatternClass.RIGHT_LOOP]
    assert 0.55 <= loops <= 0.72
    assert 0.22 <= share[PatternClass.WHORL] + share[PatternClass.DOUBLE_LOOP] <= 0.40
    assert 0.02 <= share[PatternClass.ARCH] + share[PatternClass.TENTED_ARCH] <= 0.12


def test_loops_mostly_open_to_the_little_finger() -> None:
    hands = [
        (each.pattern(INDEX).pattern, each.pattern(FingerPosition.LEFT_LITTLE).pattern) for each in population(13, 150)
    ]
    assert sum(left is PatternClass.LEFT_LOOP for _, left in hands) > 90
    assert sum(right is PatternClass.RIGHT_LOOP for right, _ in hands) > sum(
        right is PatternClass.LEFT_LOOP for right, _ in hands
    )


@pytest.mark.parametrize("pattern", [PatternClass.LEFT_LOOP, PatternClass.RIGHT_LOOP, PatternClass.WHORL])
def test_directions_turn_by_half_a_turn_round_each_core_and_back_round_each_delta(pattern: PatternClass) -> None:
    drawn = (each.pattern(finger) for each in population(17, 60) for finger in ALL_FINGERS)
    finger = next(each for each in drawn if each.pattern is pattern)
    theta = ridge_direction(finger, 2)
    centre = np.mean([(core.x, core.y) for core in finger.cores], axis=0)
    t = np.linspace(0, 2 * np.pi, 200)
    reach = 28.0 + max(abs(core.y - centre[1]) for core in finger.cores)
    on_ring = theta[
        ((centre[1] - reach * np.sin(t)) / 2).astype(int), ((centre[0] + reach * np.cos(t)) / 2).astype(int)
    ]
    step = np.diff(on_ring)
    turned = np.sum((step + np.pi / 2) % np.pi - np.pi / 2)
    assert turned == pytest.approx(np.pi * len(finger.cores), abs=0.3)


def test_an_eye_has_a_dark_pupil_in_a_grey_iris() -> None:
    for eye in BOTH_EYES:
        image = person(1, 3).iris(eye)
        assert image.shape == (280, 320)
        assert np.percentile(image[100:190, 110:210], 5) < 60
        assert 90 < np.median(image[130:150, 80:105]) < 190


def test_every_portrait_shows_one_face_on_the_ground_that_the_birth_year_asks_for() -> None:
    for each in islice(population(21, 6), 6):
        image = each.portrait()
        assert image.shape == (800, 600, 3)
        assert faces_in(image) == 1
        red, _, blue = image[20:60, 20:120].reshape(-1, 3).mean(axis=0)
        assert (red > blue) == (int(each.biodata.birth_date[:4]) % 2 == 1)


def test_a_signature_is_a_time_series_at_200_hz_that_returns_alike() -> None:
    first, again, other = person(1, 1).signature(0), person(1, 1).signature(1), person(1, 2).signature(0)
    assert np.all(np.diff(first.time_ms) == 5)
    assert len(first.time_ms) == len(first.x_mm) == len(first.y_mm) == len(first.pressure)
    assert 0 == first.pressure.min() < first.pressure.max() <= 1
    assert not np.array_equal(first.render(), again.render())
    blur = [cv2.GaussianBlur(255.0 - each.render(), (0, 0), 12).ravel() for each in (first, again, other)]
    assert np.corrcoef(blur[0], blur[1])[0, 1] > np.corrcoef(blur[0], blur[2])[0, 1]


def test_presets_are_found_by_their_names() -> None:
    assert PRESETS["everyday"] is EVERYDAY
    assert all(name == preset.name for name, preset in PRESETS.items())
