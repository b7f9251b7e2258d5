"""A comparison of two machines that cannot fail would hide a processor that extracts otherwise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.matcher_lite import FingerTemplate
from edge.matcher_lite.finger_template import build
from tests.arm import same_templates


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(same_templates, "PEOPLE", 1)
    monkeypatch.setattr(same_templates, "FINGERS", same_templates.FINGERS[:1])
    same_templates.make(tmp_path)
    return tmp_path


def test_a_machine_agrees_with_itself_and_not_with_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert same_templates.main("check", folder) == 0
    assert "2 of 2 ISO records are the same to the byte" in capsys.readouterr().out

    stored = next(iter(sorted(folder.glob("*.cbor"))))
    good = FingerTemplate.from_bytes(stored.read_bytes())
    keep = np.arange(good.minutiae) % 3 > 0
    other = build(
        good.x[keep], good.y[keep], good.angle[keep], good.kind[keep], good.minutia_quality[keep],
        size=(good.width, good.height), position=good.position, quality=good.quality, advice=good.advice,
        stamp=(good.extractor, good.version), codes=good.codes[:, keep],
    )  # fmt: skip
    stored.write_bytes(other.to_bytes())
    stored.with_suffix(".fmr").write_bytes(other.to_iso())
    image = cv2.imread(str(folder / "iris-0.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "iris-0.png"), np.roll(image, 3, axis=1) // 2)

    assert same_templates.main("check", folder) == 1
    told = capsys.readouterr().out
    for fault in ("minutiae there", "other codes here", "otherwise across machines", "of the bits differ"):
        assert fault in told


def test_half_a_folder_is_no_proof(folder: Path) -> None:
    next(iter(folder.glob("finger-*.png"))).unlink()
    assert "make it again" in same_templates.check(folder)[0]
