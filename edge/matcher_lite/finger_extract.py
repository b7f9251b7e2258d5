"""From a finger image to a template: the extractor as its figure, one line per stage.

`observe`, where given, is called with the name and the outcome of every stage; `finger_trace` draws pages from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.finger_minutiae import MinutiaKind
from contract.sample import FingerPosition
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_fidelity import trust as fidelity
from edge.matcher_lite.finger_input import as_grey, checked_ppi, resample, unframe
from edge.matcher_lite.finger_minutiae import Residues, locate, prune
from edge.matcher_lite.finger_orientation import orient
from edge.matcher_lite.finger_quality import FingerQuality, darkness, judge
from edge.matcher_lite.finger_quality_evidence import Stages
from edge.matcher_lite.finger_quality_model import grade
from edge.matcher_lite.finger_quality_sums import level_counts
from edge.matcher_lite.finger_ridges import draw
from edge.matcher_lite.finger_segment import Region, crop, normalise, segment
from edge.matcher_lite.finger_spectrum import enhance
from edge.matcher_lite.finger_template import FingerTemplate, build

Observe = Callable[[str, Any], None]


def extract(
    image: NDArray[Any],
    ppi: int = 500,
    position: FingerPosition = FingerPosition.UNKNOWN,
    observe: Observe | None = None,
) -> FingerTemplate:
    """Template of one finger.

    image: (H, W) grey, dark ridges or light ones; other sample types and colour are converted. ppi: resolution of the
    image, 150 to 4000. A picture without a usable finger gives a template with `usable` False; an array that is no
    image, or shows more than one finger's area, is a RemoteError (a ValueError).
    """
    see = observe or _nothing
    see("grey", grey := resample(as_grey(image), checked_ppi(ppi)))
    see("window", window := unframe(grey))
    see("normalised", normalised := normalise(window.grey))
    see("segment", masks := segment(normalised[1]))
    see("crop", region := crop(window, *normalised, *masks))
    see("spectrum", enhanced := enhance(region.plane, region.finger))
    see("orientation", rough := orient(enhanced))
    see("ridges", ridges := draw(enhanced, rough[0], region.finger))
    see("direction", field := orient(ridges))
    see("trust", trust := fidelity(region.plane, ridges, field[1]))
    see("residues", found := locate(ridges, field[0], region.interior, trust))
    see("minutiae", kept := prune(found))
    see("levels", levels := level_counts(*region[:3]))
    see("stages", stages := Stages(region, ridges, *field, trust, found, kept, window, levels))
    see("classical", classical := judge(region.interior, trust, kept.score, darkness(levels)))
    see("quality", quality := grade(classical, stages))
    return _template(kept, quality, region, (grey.shape[1], grey.shape[0]), position)


def _nothing(_name: str, _value: Any) -> None:
    return None


def _template(
    kept: Residues, quality: FingerQuality, region: Region, size: tuple[int, int], position: FingerPosition
) -> FingerTemplate:
    """Minutiae in template units; none where the quality says that there is no finger."""
    scale = p.TEMPLATE_PPI / p.WORKING_PPI
    rows = slice(None) if quality.value > 0 else slice(0)
    kind = np.where(kept.ending > 0, int(MinutiaKind.ENDING), int(MinutiaKind.BIFURCATION)).astype(np.uint8)
    score = np.clip(np.round(kept.score * 100), 1, 100).astype(np.uint8)
    return build(
        (kept.x[rows] + region.left + 0.5) * scale - 0.5,
        (kept.y[rows] + region.top + 0.5) * scale - 0.5,
        np.arctan2(-kept.dy[rows], kept.dx[rows]),
        kind[rows],
        score[rows],
        size=(round(size[0] * scale), round(size[1] * scale)),
        position=position,
        quality=quality.value,
        advice=quality.advice,
        stamp=(p.EXTRACTOR, p.EXTRACTOR_VERSION),
    )
