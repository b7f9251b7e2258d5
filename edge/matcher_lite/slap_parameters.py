"""Every constant of the slap segmenter. Lengths are millimetres of skin, so that they hold at any resolution."""

from __future__ import annotations

from typing import Final

WORKING_PPI: Final = 250.0  # ridges are 4 to 5 px apart here: enough to see that they are ridges
WORKING_PX_PER_MM: Final = WORKING_PPI / 25.4
SLAP_AREA_MM2_MAX: Final = 30_000.0  # a sheet of A5: more than any platen

# Where there are ridges.
RIDGE_SIGMA_FINE: Final = 0.08  # band of the difference of Gaussians
RIDGE_SIGMA_COARSE: Final = 0.26
AMPLITUDE_MAX: Final = 30.0  # grey levels: a stroke of ink is no more than a ridge
RIDGE_GAP: Final = 0.9  # ridges that are nearer are one area
COHERENCE_SIGMA: Final = 0.9
COHERENCE_MIN: Final = 0.15
ENERGY_WINDOW: Final = 0.8
ENERGY_LEVEL_MIN: Final = 2.5  # grey levels of mean ridge amplitude below which nothing is a ridge
ENERGY_STRONG_PERCENTILE: Final = 90.0
ENERGY_SHARE: Final = 0.4  # of what the strong ridges of the image have
CLOSE: Final = 1.0  # diameters of structuring discs
OPEN: Final = 6.5  # print, handwriting and rulings on a card are thinner than this, fingers are not

# What is a finger.
PART_AREA_MM2_MIN: Final = 45.0
PART_STRENGTH_SHARE: Final = 0.6  # of the strongest part's ridges: shading and pencil on a card are fainter
FINGER_WIDTH_MAX: Final = 21.0  # a part that is wider holds fingers that touch
SOLIDITY_MIN: Final = 0.93  # so does one that fills less of its convex hull
SPLIT_STEP: Final = 0.8
SPLIT_STEPS_MAX: Final = 12
SPLIT_AREA_MM2_MIN: Final = 12.0  # of what erosion leaves
ELONGATION_MIN: Final = 1.2  # ratio of the axes from which a part says where it points
LEAN_MAX_RAD: Final = 1.05  # 60° from upright: farther, nobody can say which side is up
LEAN_FROM_HAND_MAX_RAD: Final = 0.3
COLUMN_OVERLAP_MIN: Final = 0.4  # of the narrower: parts above one another are of one finger
TIP_LENGTH_MAX: Final = 29.0  # from the tip: the distal segment
CUT_EDGE_MM: Final = 0.6  # a part nearer to the image's side is cut off by it
STRAY_AREA_SHARE: Final = 0.7  # of the median finger: what is cut off by the side and smaller is the next finger's rim
BOX_MARGIN: Final = 1.5

# Which hand it is.
SWAPPED_DROP_MM: Final = 4.0  # by how much the supposed index ends lower than the supposed little finger

# Sequence check: a false alarm sends a resident back to the glass, and ten fingers make 45 to 145 comparisons.
SEQUENCE_FMR: Final = 1e-5
