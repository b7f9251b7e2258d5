"""Seeded people who do not exist: biodata with a NIK, ten fingers, two irises, a portrait and a signature.

`person(seed, index)` is a description; nothing is drawn until it is asked for, and the same seed and index give the
same person in every process. A body (fingers, irises, face, hand) belongs to seed and index; papers may be others:
`duplicate(person)` is the same body under another name and NIK, for trying to enrol somebody twice.

What differs between two impressions is drawn from the impression's number, so impression 3 of a finger is always the
same picture, and no two numbers are the same touch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contract.errors import RekamError
from contract.packet import Biodata
from contract.sample import FingerPosition, IrisPosition
from virtual.biodata import AGE_MAX_YEARS, Sex, age_years, draw_biodata, draw_birth_date, draw_sex
from virtual.finger_impression import Skin, Touch, render_impression
from virtual.finger_master import Master, grow_master
from virtual.finger_pattern import FingerPattern, draw_pattern
from virtual.finger_presets import EVERYDAY, CapturePreset
from virtual.iris_eye import EyeTraits, draw_eye_traits, render_eye
from virtual.iris_texture import grow_texture
from virtual.portrait_face import paint_portrait
from virtual.portrait_traits import FaceTraits, draw_face
from virtual.signature_strokes import PenStrokes, sign

INDEX_MAX: Final = 150_000
ALIAS_MAX: Final = 2
FINGER_SIZE_PX: Final = (374, 388)
"""(height, width) of an impression at 500 ppi unless asked otherwise: a common optical scanner's window."""
SMALL_FINGER_SIZE_PX: Final = (288, 256)
"""(height, width) of a small embedded sensor's window."""


class _Stream(IntEnum):
    """One random stream for each thing that is drawn, so that adding one changes no other."""

    BODY = 1
    PAPERS = 2
    FINGER = 3
    IMPRESSION = 4
    EYE = 5
    EYE_PICTURE = 6
    FACE = 7
    SITTING = 8
    HAND = 9
    SIGNING = 10


def _stream(seed: int, index: int, stream: _Stream, *more: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, index, int(stream), *more]))


@dataclass(frozen=True, slots=True)
class Body:
    """What a body brings to all of its samples.

    ridge_period_px: mean distance between ridges at 500 ppi. moisture: of the skin, −2 dry to +2 wet.
    roughness: 0 smooth to 1 worn. fingertip_size: 1 ordinary.
    """

    sex: Sex
    birth_date: date
    ridge_period_px: float
    moisture: float
    roughness: float
    fingertip_size: float


@lru_cache(maxsize=4096)
def _body(seed: int, index: int) -> Body:
    rng = _stream(seed, index, _Stream.BODY)
    sex, born = draw_sex(rng), draw_birth_date(rng)
    age = age_years(born) / AGE_MAX_YEARS
    return Body(
        sex=sex,
        birth_date=born,
        ridge_period_px=float(rng.normal(8.9 if sex is Sex.FEMALE else 9.3, 0.55)),
        moisture=float(rng.normal(0.15 - 0.7 * max(0.0, age - 0.4), 0.5)),
        roughness=float(np.clip(rng.beta(1.5, 5.0) + 0.35 * max(0.0, age - 0.4), 0.0, 1.0)),
        fingertip_size=float(rng.normal(0.95 if sex is Sex.FEMALE else 1.04, 0.05)),
    )


@lru_cache(maxsize=4096)
def _biodata(seed: int, index: int, alias: int) -> Biodata:
    body = _body(seed, index)
    rng = _stream(seed, index, _Stream.PAPERS, alias)
    born = body.birth_date
    if alias:  # Papers of another person are about another birth, a few years away at most.
        born = date.fromordinal(max(born.toordinal() - int(rng.integers(40, 1200)), date(1930, 1, 1).toordinal()))
    return draw_biodata(rng, sex=body.sex, birth_date=born, ordinal=index + alias * (INDEX_MAX + 1))


def _finger_streams(seed: int, index: int, position: FingerPosition) -> tuple[np.random.Generator, FingerPattern, Skin]:
    body = _body(seed, index)
    rng = _stream(seed, index, _Stream.FINGER, int(position))
    pattern = draw_pattern(rng, position, mean_period_px=body.ridge_period_px)
    age = age_years(body.birth_date)
    width = (1.12, 1.0, 1.02, 0.98, 0.86)[(int(position) - 1) % 5]
    skin = Skin(
        moisture=float(np.clip(body.moisture + rng.normal(0, 0.2), -2, 2)),
        roughness=float(np.clip(body.roughness + rng.normal(0, 0.08), 0, 1)),
        creases=int(rng.poisson(1.0 + 6.0 * body.roughness + max(0, age - 40) / 12)),
        size=float(body.fingertip_size * width * rng.normal(1, 0.02)),
    )
    return rng, pattern, skin


@lru_cache(maxsize=64)
def _finger(seed: int, index: int, position: FingerPosition) -> tuple[Master, Skin]:
    rng, pattern, skin = _finger_streams(seed, index, position)
    return grow_master(pattern, rng, creases=skin.creases), skin


@lru_cache(maxsize=32)
def _eye(seed: int, index: int, position: IrisPosition) -> tuple[NDArray[np.float32], EyeTraits]:
    rng = _stream(seed, index, _Stream.EYE, int(position))
    nasal = 1.0 if position is IrisPosition.RIGHT else -1.0
    return grow_texture(rng), draw_eye_traits(rng, nasal=nasal)


@lru_cache(maxsize=1024)
def _face(seed: int, index: int) -> FaceTraits:
    body = _body(seed, index)
    rng = _stream(seed, index, _Stream.FACE)
    veiled = _biodata(seed, index, 0).religion == "ISLAM" and rng.random() < 0.72
    return draw_face(rng, sex=body.sex, age_years=age_years(body.birth_date), veiled=veiled)


@dataclass(frozen=True, slots=True)
class Person:
    """A body and papers, by number; see the module's docstring.

    alias: 0 for the person's own papers, 1 and 2 for papers under another name and NIK.
    """

    seed: int
    index: int
    alias: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0 or not 0 <= self.index <= INDEX_MAX or not 0 <= self.alias <= ALIAS_MAX:
            raise RekamError(
                f"A person has a seed from 0, an index of 0–{INDEX_MAX} and an alias of 0–{ALIAS_MAX}.",
                next_step="Choose another seed to get more people.",
            )

    @property
    def biodata(self) -> Biodata:
        """The resident's biodata with the NIK, as the card prints them."""
        return _biodata(self.seed, self.index, self.alias)

    @property
    def nik(self) -> str:
        """16 digits beginning with the unassigned province 99."""
        return self.biodata.nik

    @property
    def body(self) -> Body:
        """What the person's body is like."""
        return _body(self.seed, self.index)

    def pattern(self, position: FingerPosition) -> FingerPattern:
        """Class and flow of one finger's ridges, without growing them."""
        return _finger_streams(self.seed, self.index, _known_finger(position))[1]

    def finger(
        self,
        position: FingerPosition,
        impression: int = 0,
        *,
        size: tuple[int, int] = FINGER_SIZE_PX,
        preset: CapturePreset = EVERYDAY,
        alter: Callable[[Touch], Touch] | None = None,
    ) -> NDArray[np.uint8]:
        """One impression of one finger, (height, width) = `size`, 500 ppi, dark ridges on a light ground.

        A smaller `size` sees less of the finger. Impressions are numbered from 0. alter: see `render_impression`.
        """
        master, skin = _finger(self.seed, self.index, _known_finger(position))
        stream = self._touch(_Stream.IMPRESSION, position, impression)
        return render_impression(master, skin, preset, stream, size, alter)

    def iris(self, position: IrisPosition, impression: int = 0) -> NDArray[np.uint8]:
        """One near-infrared picture of one eye, (280, 320) uint8."""
        if position is IrisPosition.UNKNOWN:
            raise RekamError("A person's eye is the right or the left one.", next_step="Name the eye.")
        texture, traits = _eye(self.seed, self.index, position)
        return render_eye(texture, traits, self._touch(_Stream.EYE_PICTURE, position, impression))

    def portrait(self, impression: int = 0) -> NDArray[np.uint8]:
        """One portrait, (800, 600, 3) uint8 RGB, on the ground that the year of birth asks for."""
        born = int(self.biodata.birth_date[:4])
        return paint_portrait(
            _face(self.seed, self.index), self._touch(_Stream.SITTING, 0, impression), birth_year=born
        )

    def signature(self, impression: int = 0) -> PenStrokes:
        """One signing, as a tablet reports it; a body's hand signs alike under any name."""
        own = _stream(self.seed, self.index, _Stream.HAND)
        return sign(own, self._touch(_Stream.SIGNING, 0, impression))

    def _touch(self, stream: _Stream, position: int, impression: int) -> np.random.Generator:
        if impression < 0:
            raise RekamError("Impressions are numbered from 0.", next_step="Ask for impression 0 or later.")
        return _stream(self.seed, self.index, stream, int(position), impression)


def _known_finger(position: FingerPosition) -> FingerPosition:
    if position is FingerPosition.UNKNOWN:
        raise RekamError("A person's finger is one of ten.", next_step="Name the finger.")
    return FingerPosition(position)


def person(seed: int, index: int) -> Person:
    """The `index`-th person (from 0) of the population `seed`."""
    return Person(seed, index)


def duplicate(original: Person, alias: int = 1) -> Person:
    """The same body with the papers of somebody else: another name, birth date, address and NIK, the same sex."""
    return Person(original.seed, original.index, alias)


def population(seed: int, size: int) -> Iterator[Person]:
    """The first `size` people of the population `seed`, one by one."""
    return (person(seed, index) for index in range(size))


def main() -> None:
    """Command line: write a contact sheet of some people."""
    from virtual.people_sheet import write_sheet

    write_sheet()


if __name__ == "__main__":
    main()
