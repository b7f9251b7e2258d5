"""Fingers and irises: image → template, template × template → score, probe × gallery → candidates."""

from contract.comparison import ComparisonScore
from edge.matcher_lite.finger_compare import compare
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_gallery import FingerGallery
from edge.matcher_lite.finger_quality import FingerAdvice
from edge.matcher_lite.finger_template import FingerTemplate

__all__ = ["ComparisonScore", "FingerAdvice", "FingerGallery", "FingerTemplate", "compare", "extract"]
