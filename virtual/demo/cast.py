"""Who plays in the demo: residents, an impostor, operators and officers, and the pictures of their fingers and eyes.

Everybody is synthetic (virtual.people). Where a folder of real prints is given, the index fingers come from there:
images named FINGER_IMPRESSION.*, impression 1 for the capture, 2 for the check after it, 3 and later for the handover.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from contract.errors import DeviceError
from contract.image_formats import decode_image
from contract.sample import ALL_FINGERS, INDEX_FINGERS, FingerPosition, IrisPosition
from edge.matcher_lite import extract
from virtual.demo.chronicle import Pixels
from virtual.demo.report import encode_png
from virtual.finger_presets import GUIDED
from virtual.people import Person, duplicate, person

CAPTURED, CHECKED, HANDED_OVER = 1, 2, 3
FIRST_STAFF_INDEX = 100
IMAGE_NAME = re.compile(r"^(\d+)_(\d+)\.(tif|tiff|png|bmp|jpg|jp2|wsq)$", re.IGNORECASE)

SITE_A, SITE_B, SITE_K = "9901-A", "9902-B", "9900-K"
DESK, KIOSK, STATION, HANDOVER = "desk-a1", "kiosk-b1", "station-1", "handover-a1"


@dataclass(frozen=True, slots=True)
class Staff:
    """An operator or officer. unit_finger: enrolled for sign-offs at units; console: has a pass phrase at the hub."""

    id: str
    name: str
    roles: tuple[str, ...]
    sites: tuple[str, ...]
    person: Person
    console: bool = False


@dataclass(frozen=True, slots=True)
class Resident:
    """A person with a part in the demo. real_fingers: {index finger: number in the folder of real prints}."""

    key: str
    title: str
    colour: str
    person: Person
    site: str
    unit: str
    real_fingers: Mapping[FingerPosition, str] = field(default_factory=dict)

    @property
    def nik(self) -> str:
        """The NIK that the resident shows."""
        return self.person.nik


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody, and where their pictures lie."""

    folder: Path
    residents: Mapping[str, Resident]
    staff: Mapping[str, Staff]
    prints: Mapping[tuple[str, int], Path]

    def finger(self, who: Resident | Staff, position: FingerPosition, impression: int) -> Path:
        """The picture of a finger on the glass, made where it is not there yet."""
        real = who.real_fingers.get(position) if isinstance(who, Resident) else None
        if real is not None:
            source = self.prints[real, impression]
            pixels = decode_image(source.read_bytes())
            return self._keep(f"print-{real}-{impression}", np.asarray(pixels, np.uint8))
        name = f"{_body_name(who.person)}-finger-{int(position)}-{impression}"
        return self._known(name) or self._keep(name, who.person.finger(position, impression, preset=GUIDED))

    def eye(self, who: Resident, position: IrisPosition, impression: int) -> Path:
        """The picture of an eye."""
        name = f"{_body_name(who.person)}-iris-{int(position)}-{impression}"
        return self._known(name) or self._keep(name, who.person.iris(position, impression))

    def face(self, who: Resident) -> Path:
        """The picture of a face."""
        name = f"{_body_name(who.person)}-face"
        return self._known(name) or self._keep(name, who.person.portrait(CAPTURED))

    def template(self, who: Staff, position: FingerPosition) -> Path:
        """A staff member's enrolled finger as an ISO/IEC 19794-2 record."""
        path = self.folder / f"{who.id}-{int(position)}.fmr"
        pixels = cv2.imread(str(self.finger(who, position, CAPTURED)), cv2.IMREAD_GRAYSCALE)
        path.write_bytes(extract(np.asarray(pixels, np.uint8), 500, position).to_iso())
        return path

    @property
    def pictures_total(self) -> int:
        """How many pictures `draw_everything` draws."""
        return len(self._fingers_needed())

    def draw_everything(self) -> Iterator[int]:
        """Draw the fingers that the scenes need, so that nobody waits for one later. Yields how many are done."""
        for done, (who, position, impression) in enumerate(self._fingers_needed()):
            self.finger(who, position, impression)
            yield done + 1

    def _fingers_needed(self) -> list[tuple[Resident | Staff, FingerPosition, int]]:
        needed: list[tuple[Resident | Staff, FingerPosition, int]] = []
        for resident in self.residents.values():
            fingers = INDEX_FINGERS if resident.key == "impostor" else ALL_FINGERS
            needed += [(resident, position, CAPTURED) for position in fingers]
            needed += [(resident, position, i) for position in INDEX_FINGERS for i in (CHECKED, HANDED_OVER)]
        needed += [
            (staff, FingerPosition.RIGHT_INDEX, impression)
            for staff in self.staff.values()
            for impression in (CAPTURED, CHECKED)
        ]
        return needed

    def _known(self, name: str) -> Path | None:
        path = self.folder / f"{name}.png"
        return path if path.exists() else None

    def _keep(self, name: str, pixels: Pixels) -> Path:
        path = self.folder / f"{name}.png"
        path.write_bytes(encode_png(pixels))
        return path


def _body_name(somebody: Person) -> str:
    return f"person-{somebody.seed}-{somebody.index}"


def make_cast(seed: int, folder: Path, fingers: Path | None) -> Cast:
    """The demo's cast for a seed. Raises DeviceError where the folder of prints does not serve."""
    folder.mkdir(parents=True, exist_ok=True)
    prints = _find_prints(fingers) if fingers is not None else {}
    numbers = sorted({number for number, _ in prints}, key=int)
    if prints and len(numbers) < len(INDEX_FINGERS) * 4:
        raise DeviceError(
            f"{fingers} holds {len(numbers)} fingers, fewer than the 8 that the demo's residents need.",
            next_step="Give a folder with images named FINGER_IMPRESSION.*, impressions 1 to 3 of 8 fingers or more.",
        )

    def real(ordinal: int) -> dict[FingerPosition, str]:
        pair = numbers[2 * ordinal : 2 * ordinal + 2]
        return dict(zip(INDEX_FINGERS, pair, strict=False))

    first = person(seed, 0)
    residents = [
        Resident("first", "A", "#1f6fb4", first, SITE_A, DESK, real(0)),
        Resident("second", "B", "#2a9d5c", person(seed, 1), SITE_B, KIOSK, real(1)),
        Resident("third", "C", "#b8860b", person(seed, 2), SITE_A, DESK, real(2)),
        Resident("repeat-here", "A again, at site A", "#8e5bb5", duplicate(first, 1), SITE_A, DESK, real(0)),
        Resident("repeat-there", "A again, at site B", "#c0392b", duplicate(first, 2), SITE_B, KIOSK, real(0)),
        Resident("impostor", "impostor", "#555555", person(seed, 3), SITE_A, HANDOVER, real(3)),
    ]
    names = [
        ("op-desk", ("operator",), (SITE_A, SITE_B), False),
        ("op-handover", ("operator", "front-desk-officer"), (SITE_A,), False),
        ("op-station", ("operator",), (SITE_K,), False),
        ("head-station", ("section-head",), (SITE_K, SITE_A), False),
        ("adj-1", ("adjudicator",), ("*",), True),
        ("adj-2", ("adjudicator",), ("*",), True),
        ("adj-3", ("adjudicator",), ("*",), True),
        ("dc-officer", ("dc-officer",), ("*",), True),
    ]
    staff = []
    for ordinal, (identity, roles, sites, console) in enumerate(names):
        somebody = person(seed, FIRST_STAFF_INDEX + ordinal)
        staff.append(Staff(identity, somebody.biodata.name.title(), roles, sites, somebody, console))
    return Cast(folder, {r.key: r for r in residents}, {s.id: s for s in staff}, prints)


def _find_prints(folder: Path) -> dict[tuple[str, int], Path]:
    """{(finger, impression): file} of the fingers that have impressions 1, 2 and 3."""
    if not folder.is_dir():
        raise DeviceError(f"{folder} is not a folder.", next_step="Give FINGERS=DIR with images of fingers.")
    found = {
        (match[1], int(match[2])): path
        for path in sorted(folder.iterdir())
        if (match := IMAGE_NAME.match(path.name)) is not None
    }
    complete = {number for number, _ in found if all((number, i) in found for i in (1, 2, 3))}
    return {(number, i): path for (number, i), path in found.items() if number in complete}
