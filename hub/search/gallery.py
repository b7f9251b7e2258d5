"""One probe person among everybody captured: short codes find who may be alike, all samples together decide (M24).

Stage one asks matcher_lite's gallery of each finger position for references that reach a low threshold. Whoever one
finger names is compared completely, every finger and eye that both have, and fused (hub.search.fusion).
"""

from __future__ import annotations

import threading

from contract.comparison import threshold_at
from contract.sample import Modality
from edge.matcher_lite import FingerGallery, FingerTemplate, IrisGallery, IrisTemplate, compare, compare_iris
from hub.config import SearchSection
from hub.search.features import Features
from hub.search.fusion import PersonMatch, SampleKey, best_of, fuse

SHORTLIST_FMR = 1e-2
SHORTLIST_MAX = 50


class PersonGallery:
    """Everybody's features by capture id. Thread-safe; rebuilt from the database when the hub starts."""

    def __init__(self, settings: SearchSection) -> None:
        self._settings = settings
        self._people: dict[str, Features] = {}
        self._fingers: dict[int, FingerGallery] = {}
        self._irises: dict[int, IrisGallery] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._people)

    def __contains__(self, capture_id: object) -> bool:
        return capture_id in self._people

    def add(self, capture_id: str, features: Features) -> None:
        """Enter a person, or replace what was known of the capture."""
        with self._lock:
            self._drop(capture_id)
            self._people[capture_id] = features
            for position, eyes in features.irises.items():
                eye_gallery = self._irises.setdefault(position, IrisGallery())
                for impression, eye in enumerate(eyes):
                    if eye.usable:
                        eye_gallery.add(_reference(capture_id, impression), eye)
            for position, templates in features.fingers.items():
                gallery = self._fingers.setdefault(position, FingerGallery())
                for impression, template in enumerate(templates):
                    if template.usable:
                        gallery.add(_reference(capture_id, impression), template)

    def remove(self, capture_id: str) -> None:
        """Forget a capture that was deleted; nothing happens where it is not known."""
        with self._lock:
            self._drop(capture_id)

    def search(self, probe: Features, exclude: str = "") -> list[PersonMatch]:
        """The persons who may be the probe's, best first, at most `candidates_max`."""
        with self._lock:
            named = self._named(probe) - {exclude}
            matches = [self.compare_with(probe, capture_id) for capture_id in named]
        similar = [match for match in matches if self._is_similar(match)]
        similar.sort(key=lambda match: (-match.value, match.capture_id))
        return similar[: self._settings.candidates_max]

    def compare_with(self, probe: Features, capture_id: str) -> PersonMatch:
        """The complete comparison with one known capture; value 0 where they share no sample."""
        single: dict[SampleKey, float] = {}
        known = self._people.get(capture_id, Features())
        for position in probe.fingers.keys() & known.fingers.keys():
            values = _finger_values(probe.fingers[position], known.fingers[position])
            if values:
                single[Modality.FINGER, position] = best_of(values)
        for position in probe.irises.keys() & known.irises.keys():
            values = _iris_values(probe.irises[position], known.irises[position])
            if values:
                single[Modality.IRIS, position] = best_of(values)
        fused = fuse([self._believed(modality, value) for (modality, _), value in single.items()])
        return PersonMatch(capture_id, fused, single)

    def features_of(self, capture_id: str) -> Features | None:
        """What is known of a capture."""
        return self._people.get(capture_id)

    def _named(self, probe: Features) -> set[str]:
        """Captures that any single finger or eye names."""
        named: set[str] = set()
        for position, templates in probe.fingers.items():
            gallery = self._fingers.get(position)
            for template in templates:
                if gallery is not None and template.usable:
                    found = gallery.search(template, limit=SHORTLIST_MAX, fmr=SHORTLIST_FMR)
                    named.update(_capture_of(candidate.reference_id) for candidate in found)
        for position, eyes in probe.irises.items():
            eye_gallery = self._irises.get(position)
            for eye in eyes:
                if eye_gallery is not None and eye.usable:
                    threshold = threshold_at(SHORTLIST_FMR)
                    hits = eye_gallery.search(eye, count_max=SHORTLIST_MAX, value_min=threshold)
                    named.update(_capture_of(candidate.reference_id) for candidate in hits)
        return named

    def _is_similar(self, match: PersonMatch) -> bool:
        return match.value >= threshold_at(self._settings.candidate_fmr) or match.best(Modality.FINGER) >= threshold_at(
            self._settings.finger_fmr
        )

    def _best(self, match: PersonMatch, modality: Modality) -> float:
        return self._believed(modality, match.best(modality))

    def _believed(self, modality: Modality, value: float) -> float:
        """A single value without what its calibration may have flattered it by."""
        margin = self._settings.finger_margin if modality is Modality.FINGER else self._settings.iris_margin
        return max(0.0, value - margin)

    def _drop(self, capture_id: str) -> None:
        known = self._people.pop(capture_id, None)
        if known is not None:
            for position, templates in known.fingers.items():
                for impression, template in enumerate(templates):
                    if template.usable:
                        self._fingers[position].remove(_reference(capture_id, impression))
            for position, eyes in known.irises.items():
                for impression, eye in enumerate(eyes):
                    if eye.usable:
                        self._irises[position].remove(_reference(capture_id, impression))


def _finger_values(probes: tuple[FingerTemplate, ...], references: tuple[FingerTemplate, ...]) -> list[float]:
    return [
        compare(probe, reference).value
        for probe in probes
        for reference in references
        if probe.usable and reference.usable
    ]


def _iris_values(probes: tuple[IrisTemplate, ...], references: tuple[IrisTemplate, ...]) -> list[float]:
    return [
        compare_iris(probe, reference).value
        for probe in probes
        for reference in references
        if probe.usable and reference.usable
    ]


def _reference(capture_id: str, impression: int) -> str:
    return f"{capture_id}/{impression}"


def _capture_of(reference_id: str) -> str:
    return reference_id.partition("/")[0]
