"""The capture session: order, gate, exceptions, refusals, and that nothing is captured before it is sealed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from contract.dispatch import Notice
from contract.errors import DeviceError, TransientError
from contract.lifecycle import RecordState
from contract.packet import EnrolmentBody, PacketKind, RefusalBody
from contract.sample import FingerPosition, IrisPosition, Modality
from edge import enrolment
from edge.eligibility import Refusal
from edge.enrolment import ENROLMENT, Enrolment, start_enrolment
from edge.procedure import Refused
from edge.register import Register
from tests.unit.edge_fakes import KEY, NIK, OPERATOR, PAPERS, SECOND, Bench, biodata, make_bench, roster_of

ORDER = [
    "biodata", "photo", "photo_review", "signature", "fingers", "irises", "verify", "attest", "sign_off", "saved",
]  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(tmp_path)
    yield made
    made.store.close()


async def begin(bench: Bench) -> Enrolment:
    return await start_enrolment(bench.services, NIK, OPERATOR, PAPERS)


async def do(session: Enrolment, action: str, **fields: str) -> str:
    await session.start(action, fields)
    return session.step


def usual_action(bench: Bench, session: Enrolment) -> str:
    """What a resident does at each step when all goes well; at the sign-off the operator stands at the scanner."""
    bench.sensors.person = OPERATOR if session.step == "sign_off" else "sari"
    return {"biodata": "confirm", "photo_review": "confirm", "attest": "agree"}.get(session.step, "capture")


async def walk(bench: Bench, session: Enrolment, until: str = "saved") -> list[str]:
    visited = [session.step]
    while session.step != until:
        await do(session, usual_action(bench, session))
        assert session.problem is None and session.advice is None, (session.step, session.problem, session.advice)
        if session.step != visited[-1]:
            visited.append(session.step)
        assert len(visited) < 20
    return visited


async def test_a_resident_is_captured_in_the_procedures_order(bench: Bench) -> None:
    session = await begin(bench)
    assert await walk(bench, session) == ORDER
    ((kind, packet_id, body),) = bench.keeper.kept
    assert kind is PacketKind.ENROLMENT and packet_id == session.context.capture_id
    assert isinstance(body, EnrolmentBody)
    taken = [(sample.modality, sample.position, sample.purpose) for sample in body.samples]
    assert taken[:2] == [(Modality.FACE, 0, "reference"), (Modality.SIGNATURE, 0, "reference")]
    assert [position for kind_, position, purpose in taken if kind_ is Modality.FINGER and purpose == "reference"] == [
        *range(1, 11)
    ]
    assert [position for _, position, purpose in taken if purpose == "check"] == [2, 7]
    assert [check.matched for check in body.verification] == [True, True]
    assert bench.sensors.calls == ["photo", "pen", *[f"finger {n}" for n in range(1, 11)], "irises", "finger 2",
                                   "finger 7", "pen", "finger 2"]  # fmt: skip


async def test_the_operators_signature_covers_exactly_what_was_captured(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session)
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody) and body.signoff is not None
    assert body.signoff.operator == OPERATOR and body.signoff.position == 2
    KEY.public_key().verify(body.signoff.signature, body.digest(), ec.ECDSA(hashes.SHA256()))


async def test_every_step_has_its_clock(bench: Bench) -> None:
    session = await begin(bench)
    while session.step != "saved":
        bench.clock.now_ms += 1000
        await do(session, usual_action(bench, session))
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody)
    durations = {clock.step: clock.ended_ms - clock.started_ms for clock in body.steps}
    assert durations["fingers"] == 10_000 and durations["photo"] == 1000 and durations["verify"] == 2000


@pytest.mark.parametrize("step", ORDER[:-1])
async def test_an_interrupted_session_leaves_nothing_captured(bench: Bench, tmp_path: Path, step: str) -> None:
    session = await begin(bench)
    await walk(bench, session, until=step)
    del session  # power is lost: only what is on disk remains
    after = Register(bench.store, "9901-A")
    assert bench.keeper.kept == [] and after.claim_of(NIK) is None
    entry = after.entry(NIK)
    assert entry is not None and entry.status is RecordState.UNREGISTERED
    assert b"sari/" not in (tmp_path / "unit.db").read_bytes()


@pytest.mark.parametrize("step", ORDER[:-1])
async def test_a_session_can_be_cancelled_at_every_step_and_forgets(bench: Bench, step: str) -> None:
    session = await begin(bench)
    await walk(bench, session, until=step)
    await session.cancel()
    assert session.step == "cancelled" and session.context.taken == {} and bench.keeper.kept == []
    assert await start_enrolment(bench.services, NIK, OPERATOR, PAPERS)


async def test_cancel_ends_a_capture_that_waits_for_a_finger(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="fingers")
    waiting = asyncio.Event()

    async def never(_position: FingerPosition) -> object:
        waiting.set()
        return await asyncio.Event().wait()

    bench.sensors.finger = never  # type: ignore[method-assign, assignment]
    task = session.start("capture", {})
    await waiting.wait()
    assert session.actions() == ["cancel"]
    with pytest.raises(Refused) as caught:
        session.start("capture", {})
    assert caught.value.refusal is Refusal.BUSY
    await session.cancel()
    assert task.cancelled() and session.step == "cancelled" and bench.sensors.cancelled == 1


async def test_sealing_is_not_cancelled_half_way(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="sign_off")
    bench.sensors.person = OPERATOR
    reached, go_on = asyncio.Event(), asyncio.Event()
    keep = bench.keeper.keep_capture

    async def slow(*arguments: object) -> object:
        reached.set()
        await go_on.wait()
        return await keep(*arguments)  # type: ignore[arg-type]

    bench.keeper.keep_capture = slow  # type: ignore[method-assign, assignment]
    task = session.start("capture", {})
    await reached.wait()
    assert session.step == "seal" and session.actions() == []
    with pytest.raises(Refused):
        await session.cancel()
    go_on.set()
    await task
    assert session.step == "saved" and len(bench.keeper.kept) == 1


async def test_a_full_disk_at_sealing_can_be_tried_again_and_nothing_was_claimed(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="sign_off")
    bench.keeper.faults.append(DeviceError("The disk is full."))
    bench.sensors.person = OPERATOR
    assert await do(session, "capture") == "seal"
    assert session.problem is not None and bench.register.claim_of(NIK) is None
    assert session.actions() == ["retry", "cancel"]
    assert await do(session, "retry") == "saved"


async def test_a_second_capture_of_the_same_nik_is_refused_here(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session)
    with pytest.raises(Refused) as caught:
        await begin(bench)
    assert caught.value.refusal is Refusal.CAPTURED_HERE


async def test_a_repeat_under_another_nik_is_refused_on_the_spot_and_never_silent(bench: Bench) -> None:
    bench.examiner.site["01920000-0000-7000-8000-00000000000a"] = {b"sari/2", b"sari/7"}
    session = await begin(bench)
    await walk(bench, session, until="irises")
    assert await do(session, "capture") == "refused"
    ((kind, _, body),) = bench.keeper.kept
    assert kind is PacketKind.REFUSAL and isinstance(body, RefusalBody)
    assert not body.appealed and body.samples == ()
    assert body.similar_capture == "01920000-0000-7000-8000-00000000000a"
    assert bench.register.claim_of(NIK) is None and session.actions() == ["appeal", "finish"]


async def test_an_appeal_sends_the_samples_to_fresh_eyes(bench: Bench) -> None:
    bench.examiner.site["01920000-0000-7000-8000-00000000000a"] = {b"sari/2"}
    session = await begin(bench)
    await walk(bench, session, until="irises")
    await do(session, "capture")
    assert await do(session, "appeal") == "appealed"
    body = bench.keeper.kept[1][2]
    assert isinstance(body, RefusalBody) and body.appealed and len(body.samples) == 14
    assert session.context.taken == {}


async def test_an_upheld_appeal_lets_the_resident_be_captured_and_nobody_else(bench: Bench) -> None:
    similar, appeal = "01920000-0000-7000-8000-00000000000a", "01920000-0000-7000-8000-00000000000b"
    bench.examiner.site[similar] = {b"sari/2", b"sari/7"}
    cleared = Notice(
        capture_id=appeal, nik="9901014107900002", status=RecordState.UNREGISTERED, version=1, at_ms=1,
        message_id="", message_en="", cleared_of=similar,
    )  # fmt: skip
    bench.register.take_notice(cleared)
    refused = await begin(bench)
    await walk(bench, refused, until="irises")
    assert await do(refused, "capture") == "refused"
    bench.register.take_notice(cleared.model_copy(update={"nik": NIK, "version": 2}))
    await walk(bench, await begin(bench))
    body = bench.keeper.kept[-1][2]
    assert isinstance(body, EnrolmentBody) and body.appeal_of == appeal


async def test_poor_quality_is_retried_with_advice_and_forced_only_after_the_last_retry(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="fingers")
    bench.sensors.quality = 10
    for attempt in (1, 2, 3):
        assert "force" not in session.actions()
        assert await do(session, "capture") == "fingers"
        assert session.advice is not None and session.context.gate.attempts == attempt
    assert "force" in session.actions()
    await do(session, "force")
    taken = session.context.taken[Modality.FINGER, 1]
    assert taken.forced and taken.attempts == 3 and session.context.next_finger is FingerPosition.RIGHT_INDEX


async def test_a_dot_is_no_signature_until_the_last_retry_and_its_quality_is_recorded(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="signature")
    bench.sensors.stride = 1
    for attempt in range(1, 4):
        assert await do(session, "capture") == "signature"
        assert session.advice is not None and "kecil" in session.advice.text_id
        assert ("force" in session.actions()) == (attempt == 3)
    assert await do(session, "force") == "fingers"
    (taken,) = [taken for (modality, _), taken in session.context.taken.items() if modality is Modality.SIGNATURE]
    assert taken.forced and taken.attempts == 3 and taken.examined.quality < 50


async def test_the_same_finger_is_not_taken_twice(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="fingers")
    await do(session, "capture")
    bench.sensors.fingers[FingerPosition.RIGHT_INDEX] = ("sari", 1)
    for _ in range(4):
        await do(session, "capture")
    assert session.advice is not None and "ibu jari kanan" in session.advice.text_id
    assert session.context.next_finger is FingerPosition.RIGHT_INDEX and "force" not in session.actions()


async def test_a_missing_finger_needs_a_reason_a_photo_and_a_second_officer(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="fingers")
    bench.sensors.missing.add(FingerPosition.RIGHT_THUMB)
    await do(session, "capture")
    assert session.advice is not None and session.context.gate.attempts == 0
    assert session.advice.text_id.startswith("Jari belum terbaca") and "No finger came" in session.advice.text_en
    await do(session, "except", reason=" ")
    assert session.problem is not None and session.step == "fingers"
    assert await do(session, "except", reason="amputated") == "exception_photo"
    assert await do(session, "capture") == "second_officer"
    await do(session, "capture", operator=OPERATOR)
    assert session.problem is not None and session.step == "second_officer"
    await do(session, "capture", operator=SECOND)
    assert session.advice is not None and session.step == "second_officer"  # the resident's finger is not the officer's
    bench.sensors.person = SECOND
    assert await do(session, "capture", operator=SECOND) == "fingers"
    assert session.context.next_finger is FingerPosition.RIGHT_INDEX
    await walk(bench, session)
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody)
    (exception,) = body.exceptions
    assert (exception.position, exception.reason, exception.second_officer) == (1, "amputated", SECOND)
    assert exception.photo.startswith(b"FAC")


async def test_an_exception_can_be_withdrawn(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="fingers")
    await do(session, "except", reason="bandaged")
    assert await do(session, "withdraw") == "fingers"
    assert session.context.exceptions == {} and session.context.next_finger is FingerPosition.RIGHT_THUMB


async def test_one_poor_eye_is_asked_again_alone(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="irises")
    bench.sensors.iris_quality[IrisPosition.LEFT] = 5
    assert await do(session, "capture") == "irises"
    assert session.context.missing_eyes == (IrisPosition.LEFT,)
    for _ in range(2):
        await do(session, "capture")
    assert await do(session, "force") == "verify"
    assert session.context.taken[Modality.IRIS, 2].forced and not session.context.taken[Modality.IRIS, 1].forced


async def test_another_persons_finger_at_the_check_does_not_pass(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="verify")
    bench.sensors.fingers[FingerPosition.RIGHT_INDEX] = ("other", 2)
    for _ in range(3):
        assert await do(session, "capture") == "verify"
    assert "recapture" in session.actions()
    assert await do(session, "recapture") == "fingers"
    assert session.context.next_finger is FingerPosition.RIGHT_INDEX
    bench.sensors.fingers.clear()
    await walk(bench, session)
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody) and [check.matched for check in body.verification][:3] == [False] * 3


async def test_only_the_operators_own_finger_signs_off(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="sign_off")
    for person, position in (("sari", "2"), (SECOND, "2"), (OPERATOR, "3")):
        bench.sensors.person = person
        assert await do(session, "capture", position=position) == "sign_off"
        assert bench.keeper.kept == []
    bench.sensors.person = OPERATOR
    assert await do(session, "capture", position="7") == "saved"


async def test_an_operator_revoked_during_the_session_cannot_sign_off(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="sign_off")
    bench.roster.take(roster_of(version=2))
    bench.sensors.person = OPERATOR
    assert await do(session, "capture") == "sign_off"
    assert session.problem is not None and bench.keeper.kept == []


async def test_an_empty_pad_is_no_signature(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="signature")
    bench.sensors.ink = 0
    assert await do(session, "capture") == "signature"
    assert session.advice is not None


async def test_a_broken_device_moves_nothing_and_says_what_to_do(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="photo")
    bench.sensors.faults += [DeviceError("The camera is gone."), TransientError("Worker restarted."), ValueError("bug")]
    for name in ("DeviceError", "TransientError", "ValueError"):
        assert await do(session, "capture") == "photo"
        assert session.problem is not None and session.problem["error"] == name and session.problem["next_step"]
    assert await do(session, "capture") == "photo_review"


async def test_wrong_biodata_go_to_the_correction_service(bench: Bench) -> None:
    session = await begin(bench)
    assert await do(session, "wrong") == "correction"
    assert session.ended and bench.keeper.kept == []


@pytest.mark.parametrize("status", [status for status in RecordState if status is not RecordState.UNREGISTERED])
async def test_only_an_unregistered_nik_is_captured(tmp_path: Path, status: RecordState) -> None:
    with pytest.raises(Refused) as caught:
        await begin(make_bench(tmp_path, status=status))
    assert caught.value.refusal is Refusal.NOT_UNREGISTERED


async def test_who_may_not_be_captured_is_told_why(tmp_path: Path, bench: Bench) -> None:
    for nik, operator, papers, refusal in (
        ("9901010101900009", OPERATOR, PAPERS, Refusal.NIK_UNKNOWN),
        (NIK, OPERATOR, PAPERS[:1], Refusal.PAPERS_MISSING),
        (NIK, "nobody", PAPERS, Refusal.OPERATOR_UNKNOWN),
        (NIK, SECOND, PAPERS, Refusal.OPERATOR_UNKNOWN),
        (NIK, "op-late", PAPERS, Refusal.LEASE_ENDED),
    ):
        with pytest.raises(Refused) as caught:
            await start_enrolment(bench.services, nik, operator, papers)
        assert caught.value.refusal is refusal
        assert caught.value.message and caught.value.next_step
    bench.keeper.full = True
    with pytest.raises(Refused) as caught:
        await begin(bench)
    assert caught.value.refusal is Refusal.SPOOL_FULL and bench.sensors.calls == []
    child = make_bench(tmp_path / "child", eligible=False)
    with pytest.raises(Refused) as caught:
        await begin(child)
    assert caught.value.refusal is Refusal.NOT_ELIGIBLE


async def test_a_nik_captured_elsewhere_meanwhile_is_refused_at_sealing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await begin(bench)
    await walk(bench, session, until="sign_off")
    known = bench.register.entry(NIK)
    assert known is not None
    captured = known.model_copy(update={"status": RecordState.RECEIVED_AT_CENTRAL})
    monkeypatch.setattr(bench.register, "entry", lambda _nik: captured)
    bench.sensors.person = OPERATOR
    await do(session, "capture")
    assert session.problem is not None and bench.keeper.kept == []


def test_each_step_is_reached_only_from_the_step_before() -> None:
    assert [step for step, row in ENROLMENT.items() if row.shown] == [step for step in ORDER if step != "photo_review"]
    assert enrolment.LAST_BEFORE_SEAL in ENROLMENT and "gagal" not in ENROLMENT


async def test_no_action_skips_a_step(bench: Bench) -> None:
    every = {action for row in ENROLMENT.values() for action in row.actions}
    session = await begin(bench)
    for _ in range(40):
        for action in sorted(every - set(session.actions())):
            with pytest.raises(Refused):
                session.start(action, {})
        if session.step == "saved":
            break
        await do(session, usual_action(bench, session))
    assert session.step == "saved" and biodata().nik == NIK
