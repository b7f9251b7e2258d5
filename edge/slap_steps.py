"""Fingers in slaps, 4-4-2, where the unit's scanner takes them: right four, left four, both thumbs (M11, M12).

A slap is one presentation, and each of its fingers passes the quality gate for itself: those that pass are kept, the
others are asked for again with the hand. After the last try, or where the operator chooses so, what is left of a slap
is taken finger by finger, with that finger's own gate, force and exception.
"""

from __future__ import annotations

from contract.errors import CaptureRetry
from contract.finger_image import SLAP_FINGERS, SlapPosition
from contract.sample import FingerPosition, Modality
from edge.capture_state import Capture, Taken
from edge.capture_steps import after_sample, claim_exception, refuse_repeat, take_finger
from edge.eligibility import Refusal
from edge.ports import Examined
from edge.procedure import Advice, Fields, Refused, Retry
from edge.prompts import slap_again


async def take_fingers(capture: Capture, fields: Fields) -> str:
    """The slap that is asked for, or the finger."""
    slap = capture.next_slap
    return await take_finger(capture, fields) if slap is None else await _take_slap(capture, slap)


async def one_by_one(capture: Capture, _fields: Fields) -> str:
    """The hand cannot be laid flat: its fingers are asked for one after the other."""
    slap = capture.next_slap
    if slap is not None:
        capture.slap_tries[slap] = capture.services.policy.attempts_max
    return "fingers"


async def except_finger(capture: Capture, fields: Fields) -> str:
    """A finger is missing or cannot be used: a reason now, then a photo and a second officer.

    Of a slap, `position` says which.
    """
    asked = {str(int(finger)): finger for finger in capture.asked_fingers}
    wanted = fields.get("position", next(iter(asked)) if len(asked) == 1 else "")
    if wanted not in asked:
        raise Refused(Refusal.INVALID, "Say which of the asked fingers cannot be given.")
    return claim_exception(capture, Modality.FINGER, asked[wanted], fields)


async def _take_slap(capture: Capture, slap: SlapPosition) -> str:
    """One presentation of a hand. What passes is kept; raises Retry for the rest, and for fingers given before."""
    tries = capture.slap_tries.get(slap, 0) + 1
    excepted = [finger for finger in SLAP_FINGERS[slap] if (Modality.FINGER, int(finger)) in capture.exceptions]
    try:
        frames = await capture.services.sensors.slap(slap, excepted)
    except CaptureRetry as retry:
        capture.slap_tries[slap] = tries
        return _asked_again(capture, slap, slap_again(slap, (), None, retry.next_step or str(retry)))
    capture.slap_tries[slap] = tries
    passed: dict[FingerPosition, Examined] = {}
    failed: dict[FingerPosition, Examined] = {}
    minimum = capture.services.policy.finger_quality_min
    for finger in capture.open_fingers(slap):
        examined = await capture.services.examiner.finger(frames[finger], finger)
        if examined.record and examined.quality >= minimum:
            before = {at: found.template for at, found in passed.items()}
            await refuse_repeat(capture, examined, slap, {**capture.fingers(), **before})
            passed[finger] = examined
        else:
            failed[finger] = examined
    for finger, examined in passed.items():
        capture.taken[Modality.FINGER, int(finger)] = Taken(Modality.FINGER, int(finger), examined, tries)
    if failed:
        advice = next((examined.advice for examined in failed.values() if examined.advice), None)
        return _asked_again(capture, slap, slap_again(slap, tuple(failed), advice))
    capture.open_gate()
    return after_sample(capture)


def _asked_again(capture: Capture, slap: SlapPosition, advice: Advice) -> str:
    """Raise the advice while this slap is still asked for; after its last try another prompt says what comes."""
    if capture.next_slap is slap:
        raise Retry(advice)
    return "fingers"
