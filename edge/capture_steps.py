"""The steps that take samples: photo, signature, fingers, irises, exceptions, and the check of both indexes (M11, M12).

Each is a coroutine of the step table: it takes the capture and the action's fields, and gives the step that follows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from contract.attestation import SIGNATURE_BYTES_MAX, biodata_digest
from contract.comparison import Decision
from contract.errors import RekamError
from contract.finger_image import SlapPosition
from contract.packet import Attestation, BiometricException, PortraitReview, Verification
from contract.sample import BOTH_EYES, FingerPosition, IrisPosition, Modality
from contract.sample_quality import LIMIT_VALUE
from contract.signature_series import encode_series, signature_of
from edge.capture_state import Capture, PendingException, Taken
from edge.eligibility import Refusal
from edge.officer import identify_officer
from edge.ports import Examined
from edge.procedure import Advice, Fields, Refused, Retry
from edge.prompts import AGAIN_BETTER, NO_INK, NOT_THE_SAME, same_as_before, statement_of_truth
from edge.sensors.interface import PenPoint
from edge.sensors.quality import judge_signature

# Fingers of one person resemble each other more than the strangers that a calibration is made of.
SAME_FINGER_FMR = 1e-7
SIGNATURE_POINTS_MIN = 8
SIGNATURE_POINTS_MAX = SIGNATURE_BYTES_MAX // 10  # a point takes 9 bytes
UNITS_PER_MM = 100.0
REASON_CHARS_MIN = 3
_DIFFERENCES: tuple[Literal["sex", "age"], ...] = ("sex", "age")


async def confirm_biodata(_capture: Capture, _fields: Fields) -> str:
    """The resident has heard the biodata and agrees."""
    return "photo"


async def wrong_biodata(capture: Capture, _fields: Fields) -> str:
    """The biodata differ from the papers: the correction service goes first (M8)."""
    capture.forget()
    return "correction"


async def take_photo(capture: Capture, _fields: Fields) -> str:
    """The portrait."""
    frame = await capture.services.sensors.photo()
    examined = await capture.services.examiner.face(frame)
    _pass_gate(capture, Modality.FACE, 0, examined, capture.services.policy.face_quality_min)
    return "photo_review"


async def force_photo(capture: Capture, _fields: Fields) -> str:
    """The best portrait there is, after the last retry."""
    _force_gate(capture, Modality.FACE, 0)
    return "photo_review"


async def confirm_portrait(capture: Capture, fields: Fields) -> str:
    """The operator says that the photo shows this person, and what of the biodata it does not seem to fit (M29)."""
    named = [name for name in fields.get("differs", "").split(",") if name]
    if any(name not in _DIFFERENCES for name in named):
        raise Refused(Refusal.INVALID, "A photo differs from the biodata in 'sex', in 'age', or in 'sex,age'.")
    capture.portrait_review = PortraitReview(
        differs=tuple(name for name in _DIFFERENCES if name in named), reviewed_ms=capture.services.clock.wall_ms()
    )
    return "signature"


async def retake_photo(capture: Capture, _fields: Fields) -> str:
    """The photo shows somebody else, or shows the person badly: it is dropped and taken again."""
    capture.taken.pop((Modality.FACE, 0), None)
    capture.open_gate()
    return "photo"


async def take_signature(capture: Capture, _fields: Fields) -> str:
    """The signature for the card, by its ink: its size, its length, its time."""
    points = await capture.services.sensors.pen()
    quality = judge_signature(points)
    advice = Advice(quality.advice[0].indonesian, quality.advice[0].english) if quality.advice else None
    examined = Examined(signature_record(points), quality.value, b"", advice=advice)
    _pass_gate(capture, Modality.SIGNATURE, 0, examined, LIMIT_VALUE)
    return "fingers"


async def force_signature(capture: Capture, _fields: Fields) -> str:
    """The best signature there is, after the last retry: some people's is a small cross."""
    _force_gate(capture, Modality.SIGNATURE, 0)
    return "fingers"


async def take_finger(capture: Capture, _fields: Fields) -> str:
    """The finger that is asked for; one that was given before under another name is not taken (M12)."""
    finger = capture.next_finger
    if finger is None:
        return "irises"
    frame = await capture.services.sensors.finger(finger)
    examined = await capture.services.examiner.finger(frame, finger)
    try:
        await refuse_repeat(capture, examined, finger, capture.fingers())
    except Retry:
        capture.gate.attempts += 1
        raise
    _pass_gate(capture, Modality.FINGER, finger, examined, capture.services.policy.finger_quality_min)
    return after_sample(capture)


async def refuse_repeat(
    capture: Capture, examined: Examined, asked: FingerPosition | SlapPosition, earlier: Mapping[FingerPosition, bytes]
) -> None:
    """Raise Retry where a finger is one of `earlier`, position to template, under another name (M12)."""
    if not examined.template or not earlier:
        return
    scores = await capture.services.examiner.compare(examined.template, list(earlier.values()))
    for given, score in zip(earlier, scores, strict=True):
        if score.decide(SAME_FINGER_FMR) is Decision.MATCH:
            raise Retry(same_as_before(asked, given))


async def force_finger(capture: Capture, _fields: Fields) -> str:
    """The best presentation of the asked finger, after the last retry."""
    finger = capture.next_finger
    if finger is None:
        return "irises"
    _force_gate(capture, Modality.FINGER, finger)
    return after_sample(capture)


async def take_irises(capture: Capture, _fields: Fields) -> str:
    """Every eye that is not there yet, in one presentation; of each the best picture passes the gate for itself."""
    eyes = capture.missing_eyes
    if not eyes:
        return "search"
    bursts = await capture.services.sensors.irises(eyes)
    minimum = capture.services.policy.iris_quality_min
    attempts = capture.gate.attempts + 1
    advice: Advice | None = None
    for eye, burst in zip(eyes, bursts, strict=True):
        examined = await capture.services.examiner.iris(burst, eye)
        if examined.quality >= minimum:
            capture.taken[Modality.IRIS, int(eye)] = Taken(Modality.IRIS, int(eye), examined, attempts)
        else:
            capture.gate.best = examined
            advice = advice or examined.advice or AGAIN_BETTER
    capture.gate.attempts = attempts
    if not capture.missing_eyes:
        capture.open_gate()
        return after_sample(capture)
    raise Retry(advice or AGAIN_BETTER)


async def force_iris(capture: Capture, _fields: Fields) -> str:
    """The last presentation of the eye that did not pass, after the last retry; another missing eye is asked again."""
    _force_gate(capture, Modality.IRIS, capture.missing_eyes[-1])
    return after_sample(capture)


async def except_iris(capture: Capture, fields: Fields) -> str:
    """An eye that is missing or cannot be used."""
    eyes = {str(int(eye)): eye for eye in capture.missing_eyes}
    wanted = fields.get("position", next(iter(eyes), ""))
    if wanted not in eyes:
        raise Refused(Refusal.INVALID, "That eye is not asked for.")
    return claim_exception(capture, Modality.IRIS, eyes[wanted], fields)


async def confirm_irises(capture: Capture, _fields: Fields) -> str:
    """The operator says that right and left are as named, although they look swapped: signed with the capture."""
    capture.eyes_confirmed_ms = capture.services.clock.wall_ms()
    return after_sample(capture)


async def retake_irises(capture: Capture, _fields: Fields) -> str:
    """The eyes were swapped: both are dropped and taken again."""
    for eye in BOTH_EYES:
        capture.taken.pop((Modality.IRIS, int(eye)), None)
    capture.open_gate()
    return "irises"


async def take_exception_photo(capture: Capture, _fields: Fields) -> str:
    """A photo of what is missing."""
    pending = capture.pending_exception
    if pending is None:
        return _after_exception(capture)
    examined = await capture.services.examiner.face(await capture.services.sensors.photo())
    pending.photo = examined.record
    return "second_officer"


async def confirm_exception(capture: Capture, fields: Fields) -> str:
    """A second officer's fingerprint: false exceptions evade the 1:N, so nobody may claim one alone."""
    pending = capture.pending_exception
    if pending is None:
        return _after_exception(capture)
    services = capture.services
    name = fields.get("operator", "")
    if name == capture.operator.operator:
        raise Refused(Refusal.OPERATOR_UNKNOWN, "The second officer must be another person than the operator.")
    officer = services.roster.may_work(name)
    if isinstance(officer, Refusal):
        raise Refused(officer)
    await identify_officer(services, officer, fields)
    capture.exceptions[pending.modality, pending.position] = BiometricException(
        modality=pending.modality,
        position=pending.position,
        reason=pending.reason,
        photo=pending.photo,
        second_officer=name,
    )
    return _after_exception(capture)


async def withdraw_exception(capture: Capture, _fields: Fields) -> str:
    """The exception was a mistake: the sample is asked for again."""
    return _after_exception(capture)


async def check_finger(capture: Capture, _fields: Fields) -> str:
    """An index finger again, 1:1 against the one just captured."""
    finger = capture.next_check
    if finger is None:
        return "attest"
    services = capture.services
    examined = await services.examiner.finger(await services.sensors.finger(finger), finger)
    (score,) = await services.examiner.compare(examined.template, [capture.finger_template(finger)])
    matched = score.decide(services.policy.verify_fmr) is Decision.MATCH
    capture.gate.attempts += 1
    capture.note_verification(
        Verification(position=int(finger), value=score.value, threshold_fmr=services.policy.verify_fmr, matched=matched)
    )
    if not matched:
        raise Retry(NOT_THE_SAME)
    capture.checks[int(finger)] = Taken(Modality.FINGER, int(finger), examined, capture.gate.attempts)
    capture.open_gate()
    return "verify" if capture.next_check is not None else "attest"


async def recapture_finger(capture: Capture, _fields: Fields) -> str:
    """The finger does not verify: take its reference again."""
    finger = capture.next_check
    if finger is not None:
        del capture.taken[Modality.FINGER, int(finger)]
    capture.open_gate()
    return "fingers"


async def agree(capture: Capture, _fields: Fields) -> str:
    """The resident e-signs the statement of truth."""
    record = signature_record(await capture.services.sensors.pen())
    text, _ = statement_of_truth(capture.biodata)
    capture.attestation = Attestation(
        text_sha256=hashlib.sha256(text.encode()).digest(),
        biodata_sha256=biodata_digest(capture.biodata),
        signature=record,
        agreed_ms=capture.services.clock.wall_ms(),
    )
    return "sign_off"


def signature_record(points: Sequence[PenPoint]) -> bytes:
    """A signature as ISO/IEC 19794-7, SIGNATURE_POINTS_MAX points at most. Raises Retry where nothing was written."""
    written = [point for point in points if point.down and point.pressure > 0]
    if len(written) < SIGNATURE_POINTS_MIN:
        raise Retry(NO_INK)
    kept = points[:: math.ceil(len(points) / SIGNATURE_POINTS_MAX)]
    series = signature_of(
        [(point.x, point.y, point.time_ms, point.pressure, point.down) for point in kept],
        units_per_mm=UNITS_PER_MM,
    )
    try:
        return encode_series(series)
    except RekamError:
        raise Retry(NO_INK) from None


def _pass_gate(capture: Capture, modality: Modality, position: int, examined: Examined, minimum: int) -> None:
    """Keep the sample where its quality is enough; otherwise raise Retry with advice."""
    capture.gate.take(examined)
    if examined.quality < minimum or not examined.record:
        raise Retry(examined.advice or AGAIN_BETTER)
    capture.accept(modality, int(position), examined)


def _force_gate(capture: Capture, modality: Modality, position: int) -> None:
    """Keep the best presentation there is, marked as forced."""
    best = capture.gate.best
    if best is None:
        raise Refused(Refusal.NOT_ALLOWED, "There is no presentation that could be taken.")
    capture.accept(modality, int(position), best, forced=True)


def after_sample(capture: Capture) -> str:
    """Fingers first, then eyes, then the operator's word where these look swapped, then the search."""
    if capture.next_finger is not None:
        return "fingers"
    if capture.missing_eyes:
        return "irises"
    return "iris_review" if capture.eyes_look_swapped and capture.eyes_confirmed_ms is None else "search"


def claim_exception(
    capture: Capture, modality: Modality, position: FingerPosition | IrisPosition, fields: Fields
) -> str:
    """Note that a sample cannot be given, and why; a photo and a second officer follow."""
    reason = fields.get("reason", "").strip()
    if len(reason) < REASON_CHARS_MIN:
        raise Refused(Refusal.INVALID, "An exception needs a reason.")
    capture.pending_exception = PendingException(modality, int(position), reason)
    return "exception_photo"


def _after_exception(capture: Capture) -> str:
    capture.pending_exception = None
    capture.open_gate()
    return after_sample(capture)
