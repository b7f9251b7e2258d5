"""Fingers and irises: image → template, template × template → score, probe × gallery → candidates."""

from contract.comparison import ComparisonScore
from edge.matcher_lite.finger_compare import compare
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_gallery import FingerGallery
from edge.matcher_lite.finger_quality import FingerAdvice
from edge.matcher_lite.finger_sequence import check_sequence
from edge.matcher_lite.finger_singularities import find_singularities
from edge.matcher_lite.finger_template import FingerTemplate
from edge.matcher_lite.iris_compare import compare_iris, fuse_eyes
from edge.matcher_lite.iris_extract import extract_iris
from edge.matcher_lite.iris_gallery import IrisGallery
from edge.matcher_lite.iris_side import which_eye
from edge.matcher_lite.iris_template import IrisTemplate
from edge.matcher_lite.slap_segment import segment_slap

__all__ = [
    "ComparisonScore",
    "FingerAdvice",
    "FingerGallery",
    "FingerTemplate",
    "IrisGallery",
    "IrisTemplate",
    "check_sequence",
    "compare",
    "compare_iris",
    "extract",
    "extract_iris",
    "find_singularities",
    "fuse_eyes",
    "segment_slap",
    "which_eye",
]
