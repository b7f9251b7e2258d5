"""Fingers and irises as their extractors judged them (M12): the extractor's quality is made to predict comparison."""

from __future__ import annotations

from contract.sample_quality import Advice, Measure, SampleQuality, Verdict, sample_quality
from edge.matcher_lite.finger_template import FingerTemplate
from edge.matcher_lite.iris_quality import INDONESIAN
from edge.matcher_lite.iris_template import IrisTemplate


def judge_finger(template: FingerTemplate) -> SampleQuality:
    """A finger as its extractor judged it: one measure, its advice in order of urgency."""
    reasons = tuple(Advice(advice.indonesian, advice.english) for advice in template.advice)
    verdict = Verdict.POOR if reasons else Verdict.GOOD
    overall = Measure("ridges", verdict, float(template.quality), None, "of 100", template.quality)
    return SampleQuality(
        template.quality,
        (overall, *(Measure(str(a), Verdict.POOR, None, None, "", template.quality, r)
                    for a, r in zip(template.advice, reasons, strict=True))),
    )  # fmt: skip


def judge_iris(template: IrisTemplate) -> SampleQuality:
    """An eye as its extractor judged it (ISO/IEC 29794-6): one measure with its advice."""
    advice = Advice(INDONESIAN[template.advice], template.advice) if template.advice else None
    if not template.usable:
        return sample_quality((Measure("iris seen", Verdict.POOR, 0.0, None, "irises", 0, advice),))
    verdict = Verdict.POOR if advice else Verdict.GOOD
    measured = float(template.quality)
    return sample_quality((Measure("iris", verdict, measured, None, "of 100", template.quality, advice),))
