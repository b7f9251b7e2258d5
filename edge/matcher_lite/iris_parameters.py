"""Every constant of the iris extractor and comparator, in one place.

Lengths are pixels of the stage's own scale, angles are degrees unless a name says otherwise. "Turns" of the
normalised texture are its 512 columns.
"""

from __future__ import annotations

from typing import Final

EXTRACTOR: Final = "rekam-iris"
VERSION: Final = 2

# --- Images that are accepted ---
SIDE_MIN_PX: Final = 64
SIDE_MAX_PX: Final = 12_000
WORKING_WIDTH_PX: Final = 640  # larger images are reduced to this width

# --- Speculars: small spots that stand out from an opening of the image ---
SPECULAR_KERNEL: Final = 0.045  # of the working width
SPECULAR_RISE: Final = 35.0
GLINT_RISE: Final = 80.0
GLINT_LEVEL: Final = 190.0

# --- Coarse search at reduced size: gradient voting, then rings ---
COARSE_WIDTH_PX: Final = 160
VOTE_SHARE: Final = 0.30  # pixels with the steepest gradients that may vote
VOTE_RADIUS_MIN: Final = 4
VOTE_RADIUS_MAX: Final = 68
CANDIDATES: Final = 6
CANDIDATE_SPACING: Final = 6
PUPIL_RADIUS_MIN: Final = 4
PUPIL_RADIUS_MAX: Final = 36
LIMBUS_RADIUS_MAX: Final = 76
LIMBUS_RADIUS_USUAL: Final = 22.0  # and more; smaller ones grow unlikely
SIZE_SPREAD: Final = 0.35
RING_ANGLES: Final = 36
PUPIL_STEP_CLIP: Final = (-10.0, 45.0)
RUNNER_UP_SHARE: Final = 0.6  # of the best score, below which a place is given up
PUPIL_HYPOTHESES: Final = 2
LIMBUS_WEIGHT: Final = 2.6
PUPIL_EVIDENCE: Final = 0.15  # weights of the coarse scores beside the limbus' step, which is 1 at best
LIMBUS_EVIDENCE: Final = 0.10
STEP_SOFT: Final = 10.0
OFFSET_COST: Final = 2.0  # of the centres' distance beyond a twentieth of the limbus' radius
LIMBUS_SOFT: Final = 8.0  # grey levels at which a rise is worth half of what a large one is
LIMBUS_FALL_MAX: Final = -6.0
LIMBUS_SLACK: Final = 5.0
LIMBUS_LID_WEIGHT: Final = 0.15  # of directions above and below
LIMBUS_WEAKER_SIDE: Final = 0.5
LIMBUS_HYPOTHESES: Final = 3
LIMBUS_RUNNER_UP: Final = 0.5
LIMBUS_SPACING: Final = 0.12  # of the radius
PUPIL_TO_IRIS_MIN: Final = 0.15
PUPIL_TO_IRIS_MAX: Final = 0.73
RATIO_TYPICAL: Final = 0.40
RATIO_FREE: Final = 0.20  # natural logarithm of the departure that costs nothing
RATIO_SPREAD: Final = 0.25

# --- Contours by dynamic programming in polar coordinates ---
CONTOUR_ANGLES: Final = 128
CONTOUR_RADII: Final = 96
PUPIL_SEARCH: Final = (0.55, 1.55)  # of the coarse radius
LIMBUS_SEARCH: Final = (0.80, 1.22)
PUPIL_HARMONICS: Final = 3
PUPIL_UPPER_WEIGHT: Final = 0.5  # of directions where a lid may hang
LIMBUS_HARMONICS: Final = 2
PUPIL_RIDGE: Final = 0.02
LIMBUS_RIDGE: Final = 0.10

# --- What can be an eye ---
RATIO_MIN: Final = 0.12
RATIO_MAX: Final = 0.80
IRIS_RADIUS_MIN_PX: Final = 24.0
PUPIL_CONTRAST_MIN: Final = 5.0
LIMBUS_CONTRAST_MIN: Final = 2.5

# --- Normalised texture ---
TEXTURE_ROWS: Final = 64
TEXTURE_COLUMNS: Final = 512
BRIGHT_DEVIATIONS: Final = 5.0
LASH_DEVIATIONS: Final = 3.5
LID_COLUMNS: Final = 128
LID_COST: Final = 4.0  # of a sample taken for lid; a sample taken for iris costs its squared departure
LID_COST_SIDES: Final = 8.0
LID_COST_MAX: Final = 16.0
LID_STIFFNESS: Final = 2.0
LID_REACH_ROWS: Final = 6
LID_MARGIN_ROWS: Final = 5

# --- Left or right ---
SIDE_PUPIL_OFFSET: Final = 0.022  # everyday distance of the pupil's centre towards the nose, in limbus radii
SIDE_LASH_BALANCE: Final = 0.06
SIDE_LASH_DEPTH: Final = 25.0  # grey levels below the iris
SIDE_LEAN_MIN: Final = 0.8
SIDE_CONFIDENCE_MAX: Final = 0.95

# --- Code: 8 rows, 2 bands, 64 columns, real and imaginary sign ---
CODE_ROWS: Final = 8
CODE_COLUMNS: Final = 64
FINE_COLUMNS: Final = 256  # positions of 1.4 degrees, from which rotated codes are taken
WAVELENGTHS: Final = (48.0, 24.0)  # texture columns
BAND_SIGMA: Final = 0.55  # log-Gabor bandwidth ratio
ROW_SIGMAS: Final = (4.5, 3.0)  # texture rows
CODE_BITS: Final = CODE_ROWS * len(WAVELENGTHS) * CODE_COLUMNS * 2
CODE_WORDS: Final = CODE_BITS // 64
VALID_SHARE_MIN: Final = 0.65  # of a filter's support
FRAGILE_SHARE: Final = 0.20

# --- Comparison ---
ROTATIONS: Final = 20  # steps of 1.4 degrees to each side
JOINT_BITS_MIN: Final = 320
COARSE_STEP: Final = 4  # every fourth rotation first, 5.6 degrees apart
FINE_REACH: Final = 2  # then this many to each side of the best
COARSE_Z: Final = 4.3  # agreement / √joint that the prefilter asks of the coarse turn
JOINT_BITS_TYPICAL: Final = 911.0

# --- Score to false match rate, fitted by `rekam-match calibrate-iris` ---
SCORE_SIGMA: Final = 0.0385
SCORE_DRAWS: Final = 21.5
CALIBRATED_TO: Final = 60.0  # values beyond are extrapolated: the fit saw about a million pairs
