"""What a search would miss: the mate among many, a removed reference, a snapshot after a restart."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import RekamError, RemoteError
from contract.sample import FingerPosition
from edge.matcher_lite import FingerGallery, FingerTemplate, extract
from edge.matcher_lite.finger_learn import random_minutiae, second_impression
from edge.matcher_lite.finger_template import build

_RANDOM = np.random.default_rng(11)
_FINGERS = [random_minutiae(_RANDOM) for _ in range(150)]


def template(geometry: np.ndarray, seed: int = 0) -> FingerTemplate:
    """A template of bare minutiae, moved into the positive quadrant."""
    count = geometry.shape[1]
    return build(
        geometry[0] + 400, 400 - geometry[1], np.arctan2(geometry[3], geometry[2]), np.ones(count, np.uint8),
        np.full(count, 60, np.uint8), size=(800, 800), position=FingerPosition.UNKNOWN, quality=50, advice=(),
        stamp=("test", 1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def gallery() -> FingerGallery:
    made = FingerGallery()
    for index, geometry in enumerate(_FINGERS):
        made.add(f"finger-{index}", template(geometry))
    return made


def test_the_mate_comes_first_among_many(gallery: FingerGallery) -> None:
    random = np.random.default_rng(12)
    first = 0
    for index in range(0, 150, 10):
        probe = template(second_impression(random, _FINGERS[index])[0])
        found = gallery.search(probe, limit=3, fmr=1e-3)
        first += bool(found) and found[0].reference_id == f"finger-{index}"
        assert len(found) <= 3
        assert all(a.score.value >= b.score.value for a, b in itertools.pairwise(found))
    assert first >= 13


def test_a_removed_reference_is_never_returned() -> None:
    gallery = FingerGallery()
    for index in range(4):
        gallery.add(str(index), template(_FINGERS[index]))
    gallery.remove("2")
    assert "2" not in gallery
    assert len(gallery) == 3
    assert all(found.reference_id != "2" for found in gallery.search(template(_FINGERS[2]), fmr=1.0))
    gallery.add("2", template(_FINGERS[2]))
    assert gallery.search(template(_FINGERS[2]))[0].reference_id == "2"


def test_ids_are_taken_once_and_blank_templates_never(gallery: FingerGallery) -> None:
    with pytest.raises(RekamError, match="already"):
        gallery.add("finger-0", template(_FINGERS[0]))
    with pytest.raises(RekamError, match="without minutiae"):
        gallery.add("blank", extract(np.full((200, 200), 255, np.uint8)))
    with pytest.raises(RekamError, match="not in the gallery"):
        gallery.remove("nobody")


def test_an_empty_gallery_and_a_blank_probe_find_nothing(gallery: FingerGallery) -> None:
    assert FingerGallery().search(template(_FINGERS[0])) == []
    assert gallery.search(extract(np.full((200, 200), 255, np.uint8))) == []


def test_a_snapshot_searches_as_the_gallery_did(gallery: FingerGallery) -> None:
    back = FingerGallery.from_bytes(gallery.to_bytes())
    probe = template(_FINGERS[33])
    assert len(back) == len(gallery)
    assert back.search(probe) == gallery.search(probe)


def test_a_probe_of_another_extractor_is_refused(gallery: FingerGallery) -> None:
    with pytest.raises(RemoteError):
        gallery.search(dataclasses.replace(template(_FINGERS[0]), version=2))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_gallery_or_a_refusal(octets: bytes) -> None:
    try:
        FingerGallery.from_bytes(octets)
    except RemoteError:
        return
