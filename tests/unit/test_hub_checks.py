"""What makes a capture fail at the centre, and what its code tells people to do; order of captures; fused scores."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.attestation import SIGNATURE_BYTES_MAX
from contract.comparison import threshold_at
from contract.lifecycle import RecordEvent
from contract.packet import BiometricException, EnrolmentBody
from contract.sample import Modality
from hub.capture_order import CaptureTime, Order, earliest_within_boot, order_of
from hub.enrolment_checks import ADVICE, Facts, Failure, check
from hub.search.fusion import best_of, fuse
from tests.hub_world import OPERATOR, SECOND, SITE_A, biodata, enrolment, public_bytes, signed_off

ANA = biodata(1)
KNOWN = {name: public_bytes(name, Encoding.DER) for name in (OPERATOR, SECOND)}
FACTS = Facts(
    unit_site=SITE_A,
    may_capture=True,
    site_known=True,
    nik_known=True,
    signing_key=KNOWN.get,
    is_officer=KNOWN.__contains__,
    verify_fmr_max=1e-3,
)


def envelope(body: EnrolmentBody):
    from contract.packet import Envelope, Moment, PacketKind

    moment = Moment(boot_id=bytes(16), monotonic_ms=1, sequence=1, wall_ms=1)
    return Envelope(
        kind=PacketKind.ENROLMENT, id="01890000-0000-7000-8000-000000000001", unit="desk-a1", site=SITE_A,
        moment=moment, body=body,
    )  # fmt: skip


def failure_of(body: EnrolmentBody, facts: Facts = FACTS) -> Failure | None:
    finding = check(envelope(body), body, facts)
    return finding.failure if finding else None


def without(body: EnrolmentBody, modality: Modality, position: int) -> EnrolmentBody:
    kept = tuple(s for s in body.samples if (s.modality, s.position) != (modality, position))
    return body.model_copy(update={"samples": kept})


def test_a_complete_capture_passes() -> None:
    assert failure_of(enrolment(ANA)) is None


@pytest.mark.parametrize(
    ("modality", "position"),
    [(Modality.FINGER, 9), (Modality.IRIS, 2), (Modality.FACE, 0), (Modality.SIGNATURE, 0)],
)
def test_a_silent_gap_is_incomplete(modality: Modality, position: int) -> None:
    assert failure_of(signed_off(without(enrolment(ANA), modality, position))) is Failure.INCOMPLETE


def excepted(officer: str) -> EnrolmentBody:
    body = without(enrolment(ANA), Modality.FINGER, 9)
    missing = BiometricException(
        modality=Modality.FINGER, position=9, reason="lost in an accident", photo=b"p", second_officer=officer
    )
    return signed_off(body.model_copy(update={"exceptions": (missing,)}))


def test_an_exception_needs_a_second_officer_who_is_known_and_another_person() -> None:
    assert failure_of(excepted(SECOND)) is None
    assert failure_of(excepted(OPERATOR)) is Failure.SECOND_OFFICER
    assert failure_of(excepted("nobody")) is Failure.SECOND_OFFICER


def test_a_finger_both_taken_and_excepted_is_incomplete() -> None:
    body = excepted(SECOND)
    samples = enrolment(ANA).samples
    assert failure_of(signed_off(body.model_copy(update={"samples": samples}))) is Failure.INCOMPLETE


def test_the_sign_off_must_be_of_a_known_operator_over_exactly_this_capture() -> None:
    body = enrolment(ANA)
    assert failure_of(body.model_copy(update={"signoff": None})) is Failure.SIGNOFF_MISSING
    assert failure_of(body.model_copy(update={"papers": ("other",)})) is Failure.SIGNOFF_WRONG
    assert failure_of(signed_off(body, "stranger")) is Failure.SIGNOFF_WRONG


def test_an_image_that_is_none_is_unreadable_and_an_unverified_index_is_told() -> None:
    body = enrolment(ANA)
    broken = tuple(s.model_copy(update={"record": b"not a record"}) if s.position == 3 else s for s in body.samples)
    assert failure_of(signed_off(body.model_copy(update={"samples": broken}))) is Failure.UNREADABLE
    unmatched = tuple(v.model_copy(update={"matched": False}) for v in body.verification)
    assert failure_of(signed_off(body.model_copy(update={"verification": unmatched}))) is Failure.NOT_VERIFIED
    lenient = tuple(v.model_copy(update={"threshold_fmr": 0.5}) for v in body.verification)
    assert failure_of(signed_off(body.model_copy(update={"verification": lenient}))) is Failure.NOT_VERIFIED


def test_a_signature_that_could_not_travel_with_the_card_is_told_at_the_door() -> None:
    body = enrolment(ANA)
    long = body.attestation.model_copy(update={"signature": body.attestation.signature + bytes(SIGNATURE_BYTES_MAX)})
    assert failure_of(signed_off(body.model_copy(update={"attestation": long}))) is Failure.UNREADABLE


def test_an_attestation_about_other_data_is_refused() -> None:
    body = enrolment(ANA).model_copy(update={"biodata": biodata(1, name="SOMEBODY ELSE")})
    assert failure_of(signed_off(body)) is Failure.ATTESTATION_WRONG


def test_region_and_nik_are_told_apart_from_the_centres_failures() -> None:
    import dataclasses

    body = enrolment(ANA)
    wrong_site = dataclasses.replace(FACTS, unit_site="9902-B")
    finding = check(envelope(body), body, wrong_site)
    assert finding is not None
    assert finding.event is RecordEvent.REGION_WRONG
    assert failure_of(body, dataclasses.replace(FACTS, nik_known=False)) is Failure.NIK_UNKNOWN


@pytest.mark.parametrize("failure", list(Failure))
def test_every_code_says_what_to_do_in_two_languages(failure: Failure) -> None:
    indonesian, english = ADVICE[failure]
    assert indonesian.endswith(".")
    assert english.endswith(".")


def at(earliest_ms: int, latest_ms: int, unit: str = "a", sequence: int = 1) -> CaptureTime:
    return CaptureTime(unit, sequence, earliest_ms, latest_ms)


def test_the_first_capture_is_the_one_that_happened_first_not_the_one_that_arrived_first() -> None:
    assert order_of(at(0, 500), at(1000, 1100, "b")) is Order.FIRST
    assert order_of(at(1000, 1100), at(0, 500, "b")) is Order.SECOND
    assert order_of(at(0, 2000), at(1000, 1100, "b")) is Order.UNKNOWN
    assert order_of(at(0, 9000, "a", 5), at(0, 10, "a", 6)) is Order.FIRST


@given(*(st.integers(0, 10_000) for _ in range(4)))
@settings(max_examples=150)
def test_order_is_antisymmetric_and_never_claims_what_overlaps(a: int, b: int, c: int, d: int) -> None:
    one, other = at(min(a, b), max(a, b)), at(min(c, d), max(c, d), "b")
    mirror = {Order.FIRST: Order.SECOND, Order.SECOND: Order.FIRST, Order.UNKNOWN: Order.UNKNOWN}
    assert order_of(one, other) is mirror[order_of(other, one)]
    if one.earliest_ms <= other.latest_ms and other.earliest_ms <= one.latest_ms:
        assert order_of(one, other) is Order.UNKNOWN


def test_a_boots_own_clock_carries_a_bound_forward() -> None:
    assert earliest_within_boot(5000, [(1000, 100_000), (6000, 900_000)]) == 100_000 + 4000 * 999_800 // 1_000_000
    assert earliest_within_boot(5000, []) == 0


def test_a_fused_value_means_what_a_single_one_means() -> None:
    assert fuse([37.0]) == pytest.approx(37.0)
    assert fuse([0.0] * 10) == 0.0
    assert fuse([4.3] * 10) < threshold_at(0.1)
    assert fuse([30.0] * 4) > threshold_at(1e-8)
    assert best_of([30.0, 10.0]) == pytest.approx(30.0 - 3.0103, abs=1e-3)


@given(st.lists(st.floats(0, 500), min_size=1, max_size=14), st.integers(0, 13), st.floats(0, 50))
@settings(max_examples=200)
def test_more_likeness_never_lowers_the_fused_value(values: list[float], index: int, more: float) -> None:
    raised = list(values)
    raised[index % len(values)] += more
    assert fuse(raised) >= fuse(values) - 1e-9
