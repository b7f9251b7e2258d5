"""Do two machines make the same templates? One writes pictures and templates of synthetic people, the other compares.

    python -m tests.arm.same_templates make FOLDER     on the one, for example x86-64
    python -m tests.arm.same_templates check FOLDER    on the other, for example aarch64; exit status 1 if they differ

A unit at a desk and the hub extract from the same image and must agree; a card written by one is read by the other.
Pictures travel as files, so that only extraction and comparison are judged, not how pictures are drawn.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.sample import FingerPosition, IrisPosition
from edge.matcher_lite import FingerTemplate, IrisTemplate, compare, compare_iris, extract, extract_iris
from edge.matcher_lite.finger_codes import describe

if TYPE_CHECKING:
    from virtual.people import Person

PEOPLE = 4
SEED = 4711
FINGERS = (FingerPosition.RIGHT_INDEX, FingerPosition.LEFT_THUMB)
IMPRESSIONS = 2
PIXELS_APART_MAX = 1  # of an ISO record: rounding may fall either way
TURN_APART_MAX = 1  # 1.4°
SCORE_APART_MAX = 0.02  # of the score of a template with itself
MATED_APART_MAX = 0.05  # of the score of two impressions
IRIS_BITS_APART_MAX = 0.005


def make(folder: Path) -> None:
    """Pictures and this machine's templates of them."""
    from virtual.people import person  # needs more packages than the checking machine has

    folder.mkdir(parents=True, exist_ok=True)
    for name, image in _prints(person):
        _write(folder / f"{name}.png", image)
        template = extract(image)
        (folder / f"{name}.cbor").write_bytes(template.to_bytes())
        (folder / f"{name}.fmr").write_bytes(template.to_iso())
    for index in range(PEOPLE):
        image = person(SEED, index).iris(IrisPosition.LEFT)
        _write(folder / f"iris-{index}.png", image)
        (folder / f"iris-{index}.iris").write_bytes(extract_iris(image, IrisPosition.LEFT).to_bytes())
    (folder / "machine.json").write_text(json.dumps(platform.machine()) + "\n", encoding="utf-8")


def _prints(person: Callable[[int, int], Person]) -> list[tuple[str, NDArray[np.uint8]]]:
    return [
        (f"finger-{index}-{int(position)}_{impression}", person(SEED, index).finger(position, impression))
        for index in range(PEOPLE)
        for position in FINGERS
        for impression in range(IMPRESSIONS)
    ]


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(path), image):
        raise OSError(f"{path} was not written")


def check(folder: Path) -> list[str]:
    """What differs by more than rounding; prints what it measured."""
    there: dict[str, FingerTemplate] = {}
    here: dict[str, FingerTemplate] = {}
    faults: list[str] = []
    for path in sorted(folder.glob("finger-*.png")):
        there[path.stem] = FingerTemplate.from_bytes(path.with_suffix(".cbor").read_bytes())
        here[path.stem] = extract(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    if len(there) < PEOPLE * len(FINGERS) * IMPRESSIONS:
        return [f"{folder} holds {len(there)} prints only; make it again"]
    made_there = json.loads((folder / "machine.json").read_text(encoding="utf-8"))
    print(f"templates of {made_there} against templates of {platform.machine()}")
    faults += _check_records(folder, here)
    faults += _check_codes(there, here)
    faults += _check_scores(there, here)
    faults += _check_irises(folder)
    return faults


def _check_records(folder: Path, here: dict[str, FingerTemplate]) -> list[str]:
    """ISO records: the same bytes, or the same minutiae to within one unit."""
    faults = []
    same = 0
    for name, template in here.items():
        octets = (folder / f"{name}.fmr").read_bytes()
        same += octets == template.to_iso()
        one, two = FingerTemplate.from_iso(octets), FingerTemplate.from_iso(template.to_iso())
        if one.minutiae != two.minutiae:
            faults.append(f"{name}: {one.minutiae} minutiae there, {two.minutiae} here")
            continue
        apart = max(np.abs(one.x - two.x).max(), np.abs(one.y - two.y).max())
        turn = np.abs(np.angle(np.exp(1j * (one.angle - two.angle).astype(np.float64)))).max() * 128 / np.pi
        if apart > PIXELS_APART_MAX + 0.1 or turn > TURN_APART_MAX + 0.1:
            faults.append(f"{name}: minutiae {apart:.1f} px and {turn:.1f} units of angle apart")
    print(f"{same} of {len(here)} ISO records are the same to the byte")
    return faults


def _check_codes(there: dict[str, FingerTemplate], here: dict[str, FingerTemplate]) -> list[str]:
    """Codes: the same minutiae give the same codes to the bit; the same picture gives nearly the same."""
    faults = [
        f"{name}: the same minutiae have other codes here"
        for name, template in there.items()
        if not np.array_equal(describe(template.geometry), template.codes)
    ]
    pairs = [(there[name], here[name]) for name in there if there[name].codes.shape == here[name].codes.shape]
    apart = [float(np.bitwise_count(one.codes ^ two.codes).mean()) / 64 for one, two in pairs]
    print(f"{sum(share == 0 for share in apart)} of {len(there)} templates have the same codes to the bit")
    print(f"code bits that differ, worst template: {100 * max(apart, default=1.0):.3f} %")
    return faults


def _check_scores(there: dict[str, FingerTemplate], here: dict[str, FingerTemplate]) -> list[str]:
    """Scores across machines are those within one machine."""
    faults = []
    drift = mated_drift = 0.0
    for name, template in there.items():
        itself, across = compare(template, template).value, compare(template, here[name]).value
        drift = max(drift, abs(across - itself) / itself)
        other = f"{name.rsplit('_', 1)[0]}_{1 - int(name[-1])}"
        within, between = compare(template, there[other]).value, compare(template, here[other]).value
        mated_drift = max(mated_drift, abs(between - within) / max(within, 20.0))
    print(f"score with itself across machines: at most {100 * drift:.3f} % off")
    print(f"score of two impressions across machines: at most {100 * mated_drift:.3f} % off")
    if drift > SCORE_APART_MAX:
        faults.append(f"a template scores {100 * drift:.1f} % less with its twin from here than with itself")
    if mated_drift > MATED_APART_MAX:
        faults.append(f"two impressions score {100 * mated_drift:.1f} % otherwise across machines")
    return faults


def _check_irises(folder: Path) -> list[str]:
    """Iris templates of both machines are the same eye, bit for bit but for rounding."""
    faults = []
    for path in sorted(folder.glob("iris-*.png")):
        there = IrisTemplate.from_bytes(path.with_suffix(".iris").read_bytes())
        here = extract_iris(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), IrisPosition.LEFT)
        apart = np.mean(np.unpackbits(np.frombuffer(there.to_bytes()[10:], np.uint8))
                        != np.unpackbits(np.frombuffer(here.to_bytes()[10:], np.uint8)))  # fmt: skip
        score = compare_iris(here, there).value
        print(f"{path.stem}: {100 * float(apart):.3f} % of code and mask bits differ, score {score:.1f}")
        if apart > IRIS_BITS_APART_MAX:
            faults.append(f"{path.stem}: {100 * float(apart):.2f} % of the bits differ")
    return faults


def main(command: str, folder: Path) -> int:
    """Runs `command`; returns the exit status."""
    if command == "make":
        make(folder)
        return 0
    faults = check(folder)
    print("\n".join(faults) or "the same, but for rounding")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in {"make", "check"}:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
