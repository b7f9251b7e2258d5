"""The iris commands do on a folder of drawn eyes what their help says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contract.errors import RemoteError
from contract.image_formats import ImageFormat, encode_image
from contract.sample import BOTH_EYES
from edge.matcher_lite.__main__ import app
from edge.matcher_lite.iris_extract import extract_iris
from virtual.people import person

run = CliRunner().invoke


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eyes")
    for number in range(2):
        for eye in BOTH_EYES:
            place = folder / f"{number:03}" / eye.name[0]
            place.mkdir(parents=True)
            for impression in range(2):
                octets = encode_image(person(5, number).iris(eye, impression), ImageFormat.PNG)
                (place / f"{impression}.png").write_bytes(octets)
    return folder


def test_a_folder_of_eyes_is_measured(eyes: Path, tmp_path: Path) -> None:
    figures_file, page = tmp_path / "e.json", tmp_path / "e.html"
    done = run(app, ["evaluate-iris", str(eyes), "--json", str(figures_file), "--html", str(page)])
    assert done.exit_code == 0, done.output
    figures = json.loads(figures_file.read_text())
    assert (figures["images"], figures["mated"], figures["non_mated"]) == (8, 4, 24)
    assert page.read_text().count("<img") >= 8
    assert page.read_text().count("<tr>") == len(figures) - 1  # every figure has its label; the set is the title


def test_a_list_of_eyes_is_measured(eyes: Path, tmp_path: Path) -> None:
    listing = tmp_path / "eyes.csv"
    rows = [f"{path},{path.parts[-3]},{path.parts[-2]}" for path in sorted(eyes.glob("*/*/*.png"))]
    listing.write_text("path,person,eye of it\n" + "\n".join(rows) + "\n")
    assert run(app, ["evaluate-iris", str(listing)]).exit_code == 0


def test_a_list_that_names_no_files_is_refused(tmp_path: Path) -> None:
    listing = tmp_path / "eyes.csv"
    listing.write_bytes(b"a\x00.png,1,L\nb.png,1,L\n")
    assert isinstance(run(app, ["evaluate-iris", str(listing)]).exception, RemoteError)


def test_two_eyes_are_compared_as_images_and_as_templates(eyes: Path, tmp_path: Path) -> None:
    first, second, other = (eyes / "000" / "L" / "0.png", eyes / "000" / "L" / "1.png", eyes / "001" / "L" / "0.png")
    stored = tmp_path / "stored.iris"
    stored.write_bytes(extract_iris(person(5, 0).iris(BOTH_EYES[1], 1)).to_bytes())
    assert run(app, ["compare-iris", str(first), str(second)]).exit_code == 0
    assert run(app, ["compare-iris", str(first), str(stored)]).exit_code == 0
    assert run(app, ["compare-iris", str(first), str(other)]).exit_code == 1


def test_an_extraction_is_shown(eyes: Path, tmp_path: Path) -> None:
    assert run(app, ["trace-iris", str(eyes / "000" / "R" / "0.png"), "--out", str(tmp_path / "trace")]).exit_code == 0
    assert "concentricity" in (tmp_path / "trace" / "index.html").read_text()


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    assert run(app, ["evaluate-iris", str(tmp_path)]).exit_code != 0


def test_the_kernel_is_timed() -> None:
    done = run(app, ["bench-iris", "--references", "2000"])
    assert done.exit_code == 0
    assert "exact comparisons/s" in done.output
