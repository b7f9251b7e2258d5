"""When a repeat is refused on the spot: two fingers must look alike, one by chance refuses nobody (M15)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contract.comparison import threshold_at
from contract.errors import RemoteError
from edge.examination import SiteSearch, person_value
from edge.matcher_lite import extract
from edge.matcher_lite.finger_parameters import EXTRACTOR_VERSION
from edge.matcher_lite.finger_warm import ridge_pattern


@pytest.mark.parametrize(
    ("values", "fingers", "value"),
    [([], 10, 0.0), ([90.0], 10, 0.0), ([90.0, 61.0, 20.0], 10, 61.0), ([90.0], 1, 90.0), ([], 1, 0.0), ([], 0, 0.0)],
)
def test_a_person_is_as_alike_as_the_second_finger(values: list[float], fingers: int, value: float) -> None:
    assert person_value(values, fingers) == value


def test_a_capture_is_found_by_two_fingers_and_not_by_one_of_two_and_not_once_forgotten() -> None:
    template = extract(ridge_pattern()).to_bytes()
    site = SiteSearch()
    site.add("a", {2: template, 7: template})
    site.add("b", {2: template, 7: extract(ridge_pattern()[:, ::-1]).to_bytes()})
    found = site.search({2: template, 7: template}, 1e-6)
    assert [candidate.reference_id for candidate in found] == ["a"] and found[0].score.value >= threshold_at(1e-6)
    assert {candidate.reference_id for candidate in site.search({2: template}, 1e-6)} == {"a", "b"}
    site.add("a", {7: template})  # one finger in common is all there is, so it decides
    assert [candidate.reference_id for candidate in site.search({2: template, 7: template}, 1e-6)] == ["a"]
    site.remove("a")
    site.remove("a")
    assert [candidate.reference_id for candidate in site.search({2: template}, 1e-6)] == ["b"]


def test_another_extractors_template_is_not_taken_and_the_search_goes_on() -> None:
    template = extract(ridge_pattern())
    older = replace(template, version=EXTRACTOR_VERSION - 1).to_bytes()
    site = SiteSearch()
    site.add("a", {2: template.to_bytes()})
    with pytest.raises(RemoteError, match="another extractor"):
        site.add("b", {2: template.to_bytes(), 7: older})
    assert [candidate.reference_id for candidate in site.search({2: template.to_bytes()}, 1e-6)] == ["a"]
