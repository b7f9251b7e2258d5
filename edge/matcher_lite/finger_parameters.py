"""Every constant of the fingerprint extractor and comparator, so that tuning is an edit of one file.

Lengths of the extractor are pixels of its working image (333 ppi, 13.1 px/mm: a ridge period of 9 px at 500 ppi is
6 px here). Lengths of descriptors and comparison are pixels at 500 ppi (19.7 px/mm), the unit of templates.
"""

from __future__ import annotations

from typing import Final

# Identity of what we produce. Raise the version whenever templates of old and new code must not be compared.
EXTRACTOR: Final = "rekam-finger"
EXTRACTOR_VERSION: Final = 2

# Door: what an image may be.
PPI_MIN: Final = 150
PPI_MAX: Final = 4000
IMAGE_PIXELS_MAX: Final = 64_000_000
FILE_PIXELS_MAX: Final = 12_000_000  # of a compressed file: the slowest format is read within 2 s
WORKING_PIXELS_MAX: Final = 1_000_000  # 1 megapixel at 333 ppi is 76 mm × 76 mm: more than any one finger
TEMPLATE_PPI: Final = 500.0
WORKING_PPI: Final = 500.0 / 1.5

# Margins and frames around the picture.
FRAME_SIDE_MIN: Final = 60  # smaller images are left alone
FRAME_SHARE_MAX: Final = 0.35  # of a side at most is margin
FRAME_STEP: Final = 2  # rows within which the step lies, after resampling
FRAME_DEVIATION_SHARE: Final = 0.04  # of the image's span of grey levels: a plain row varies no more
FRAME_STEP_SHARE: Final = 0.15  # of the span: a step is at least so high
FRAME_STEP_LENGTH: Final = 0.4  # along at least so much of the row

# Normalisation and segmentation.
FLAT_WINDOW: Final = 5  # side of the window in which a flat area shows no range
FLAT_RANGE_MAX: Final = 2  # grey levels
NORMALISE_WINDOW: Final = 17
CONTRAST_MIN: Final = 6.0  # grey-level standard deviation below which nothing is a ridge
CONTRAST_STRONG_SHARE: Final = 0.4  # of the 90 % quantile, where a pale image has less than CONTRAST_MIN
CONTRAST_FAINT: Final = 2.0  # but never less than this: the glass's own noise
CONTRAST_SHARE: Final = 0.5  # of the median standard deviation
MASK_CLOSE: Final = 7  # sides of the structuring discs, pixels at half resolution
MASK_OPEN: Final = 9
MASK_ERODE: Final = 7
CROP_MARGIN: Final = 12  # kept around the finger's box
IMAGE_MARGIN: Final = 3  # the image's own edge costs less than the finger's: ridges go on behind it

# Block spectrum.
BLOCK: Final = 24
BLOCK_STEP: Final = 12
PERIOD_MIN: Final = 2.8
PERIOD_MAX: Final = 9.8
WAVES: Final = 9  # wave numbers 0..8 per axis: 24 / 2.8 = 8.6

# Orientation.
TENSOR_SIGMA: Final = 2.5  # half-resolution pixels

# Core and delta; half-resolution pixels (6.6 px/mm).
SINGULAR_SIGMA: Final = 5.0  # smoothing of the direction field in which singular points are sought
SINGULAR_SIGMA_FINE: Final = 2.0  # and placed
SINGULAR_PLACE_MAX: Final = 8.0  # how far the finer place may lie from the coarser
SINGULAR_RINGS: Final = (8.0, 11.0)  # radii at which the turn of the ridges is verified
SINGULAR_RING_POINTS: Final = 48
SINGULAR_COHERENCE_MIN: Final = 0.35
SINGULAR_APART_MIN: Final = 4.0  # nearer points of one kind are one
SINGULAR_MAX: Final = 2  # of each kind on one finger

# Oriented band-pass.
GABOR_SIDE: Final = 11
GABOR_ORIENTATIONS: Final = 32
GABOR_PERIOD: Final = 6.0
GABOR_SIGMA_ACROSS: Final = 2.0
GABOR_SIGMA_ALONG: Final = 3.0
RIDGE_BLUR_SIGMA: Final = 0.7

# Minutiae.
OPPOSED_ALONG: Final = 8.0  # half axes of the ellipse in which two opposed minutiae are one scar or gap
OPPOSED_ACROSS: Final = 4.0
OPPOSED_ANGLE_MAX: Final = 0.8  # rad from exactly opposed
MINUTIA_QUALITY_MIN: Final = 0.3
MINUTIAE_MAX: Final = 100
TYPE_PROBE: Final = 3.0  # how far before and behind a minutia its ridge phase is read
QUALITY_SIGMA: Final = 6.0  # neighbourhood in which fidelity of the ridges is judged

# Minutia codes: a cylinder of space × direction around each minutia, projected to bits.
CYLINDER_SIDE: Final = 12  # cells across
CYLINDER_LAYERS: Final = 6  # cells of direction
CYLINDER_RADIUS: Final = 70.0
CYLINDER_SIGMA: Final = 28.0 / 3.0
CYLINDER_SIGMA_DIRECTION: Final = 0.6
CYLINDER_REACH: Final = 3.0  # in sigmas: farther contributions are nil
CELL_FLOOR: Final = 0.047  # density below which a cell is empty; 1 is a neighbour's own, whole in one layer
CELL_FULL: Final = 0.28  # density from which it is full
CELL_LEVELS: Final = 7  # steps from empty to full
CODE_BITS: Final = 256
SHORT_CODE_BITS: Final = 128

# Comparison.
PAIRS_MAX: Final = 40
ROTATION_COSINE_MIN: Final = 0.5  # 60°
RELAXATION_STEPS: Final = 5
RELAXATION_INERTIA: Final = 0.5
CODE_DISTANCE_MAX: Final = 128  # what unrelated minutiae have
HOPELESS_LIKENESS: Final = 0.15  # mean likeness of the paired codes, 0..1, below which no mates have been seen
PAIR_SLACK: Final = 7.0  # px by which distances within two agreeing pairs may differ
PAIR_STRETCH: Final = 0.04  # and more by this share of their sum
PAIR_BEARING: Final = 0.35  # sine of the difference of bearings
PAIR_ROTATION: Final = 0.5
STRONGEST_MIN: Final = 4
STRONGEST_MAX: Final = 12
MEET_DISTANCE: Final = 14.0
MEET_COSINE_MIN: Final = 0.9009689  # 25.7°, π/7
ALIGNMENTS: Final = 4  # motions tried beside the one for all, each around one of the strongest pairs
ALIGN_AGAIN_SCORE: Final = 0.03  # raw score, near FMR 1e-1: what cannot reach it is not aligned again
ALIGN_AGAIN_GAIN: Final = 2.0  # likeness by which another motion has to be better: chance gives less
MEETING_FREE: Final = 4.0  # likeness granted before any minutia meets: a failed fit must not void good pairs
SCARCE_MINUTIAE: Final = 11  # fewer pair up by chance more readily than whole prints do: their score counts less

# Quality and usability.
USABLE_AREA_MM2_MIN: Final = 12.0
USABLE_MINUTIAE_MIN: Final = 4
USABLE_TRUST_MIN: Final = 0.35
USABLE_QUALITY_MIN: Final = 12  # below, even drawn noise gets: no real print of any set did
SOUND_TRUST: Final = 0.6
GOOD_AREA_MM2: Final = 120.0
GOOD_EVIDENCE: Final = 15.0
GOOD_TRUST: Final = 0.8
GOOD_QUALITY: Final = 60
SMALL_AREA_MM2: Final = 70.0
DRY_DARKNESS: Final = 0.3
WET_DARKNESS: Final = 0.7
SMEARED_TRUST: Final = 0.6
FEW_MINUTIAE: Final = 15
ADVISED_QUALITY: Final = 95  # a print graded so needs no advice, whatever else is believed of it
FAULT_BELIEF_MIN: Final = 0.3

# Templates.
COORDINATE_STEPS: Final = 16  # stored coordinates are sixteenths of a pixel at 500 ppi
ANGLE_STEPS: Final = 65536  # stored angles are this many parts of a turn
TEMPLATE_MINUTIAE_MAX: Final = 255
TEMPLATE_BYTES_MAX: Final = 16384
GALLERY_BYTES_MAX: Final = 1 << 30

# Search of one finger among many.
SHORT_MINUTIAE: Final = 32
SHORT_DISTANCE_MAX: Final = 49  # of 128 bits: farther is no vote
DIRECTION_BINS: Final = 36
SHORTLIST_SHARE: Final = 0.01
SHORTLIST_MIN: Final = 100
