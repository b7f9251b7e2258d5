"""Handover: old card, chip, data, finger, receipt; and everything a failed one must never lead to (M41–M48)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from contract.attestation import seal_attestation
from contract.errors import CaptureRetry, DeviceError, RemoteError
from contract.packet import HandoverBody, PacketKind
from edge.chip_desk import attestation_of
from edge.config import PolicyTable
from edge.eligibility import Refusal
from edge.enrolment import ENROLMENT
from edge.handover import HANDOVER, Handover, start_handover
from edge.procedure import Procedure, Refused
from edge.prompts import prompt, signed_statement
from edge.register import Register
from tests.unit.edge_fakes import CARD_UID, HEAD, NIK, OPERATOR, SECOND, Bench, FakeDesk, biodata, chip, consigned
from tests.unit.edge_fakes import make_bench as make


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make(tmp_path)
    made.register.take_card(consigned())
    yield made
    made.store.close()


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk(chip())


async def do(handover: Procedure[Handover], action: str, **fields: str) -> str:
    await handover.start(action, fields)
    return handover.step


async def at_data(bench: Bench, desk: FakeDesk, old_card: str = "surrendered") -> Procedure[Handover]:
    handover = start_handover(bench.services, desk, OPERATOR, nik=NIK)
    assert await do(handover, "old_card", state=old_card) == "card"
    assert await do(handover, "read") == "data"
    return handover


async def at_verify(bench: Bench, desk: FakeDesk) -> Procedure[Handover]:
    handover = await at_data(bench, desk)
    assert await do(handover, "confirm") == "verify"
    return handover


def result(bench: Bench) -> HandoverBody:
    ((kind, _, body),) = bench.keeper.kept
    assert kind is PacketKind.HANDOVER and isinstance(body, HandoverBody)
    return body


async def test_a_card_is_handed_over_after_the_match_and_the_receipt(bench: Bench, desk: FakeDesk) -> None:
    handover = await at_verify(bench, desk)
    assert await do(handover, "capture") == "receipt"
    assert bench.keeper.kept == []
    assert await do(handover, "sign") == "berhasil"
    body = result(bench)
    assert body.berhasil and body.old_card == "surrendered" and not body.old_card_returned
    assert [(check.position, check.matched) for check in body.verification] == [(2, True)]
    assert bench.register.card(nik=NIK) is None


async def test_a_card_handed_over_stays_off_the_list_when_the_broker_tells_of_it_again(
    bench: Bench, desk: FakeDesk
) -> None:
    handover = await at_verify(bench, desk)
    await do(handover, "capture")
    await do(handover, "sign")
    bench.register.take_card(consigned())
    assert Register(bench.store, "9901-A").card(card_uid=CARD_UID) is None


async def test_nothing_is_handed_over_without_a_receipt(bench: Bench, desk: FakeDesk) -> None:
    handover = await at_verify(bench, desk)
    await do(handover, "capture")
    bench.sensors.ink = 0
    assert await do(handover, "sign") == "receipt"
    assert handover.advice is not None and bench.keeper.kept == []
    assert bench.register.card(nik=NIK) is not None
    with pytest.raises(ValidationError):
        handover.context.body(berhasil=True)


async def test_an_impostor_gets_gagal_the_old_card_back_and_no_new_card(bench: Bench, desk: FakeDesk) -> None:
    bench.sensors.person = "impostor"
    handover = await at_verify(bench, desk)
    for _ in range(5):
        assert await do(handover, "capture") == "verify"
    assert await do(handover, "capture") == "old_card_back"
    assert bench.keeper.kept == [] and handover.actions() == ["returned", "not_returned"]
    assert await do(handover, "returned") == "gagal"
    body = result(bench)
    assert not body.berhasil and body.old_card_returned and body.receipt_signature == b""
    assert [check.position for check in body.verification] == [2, 2, 2, 7, 7, 7]
    with pytest.raises(Refused) as caught:
        start_handover(bench.services, desk, OPERATOR, nik=NIK)
    assert caught.value.refusal is Refusal.CARD_WITHDRAWN


async def test_an_old_card_that_was_not_given_back_is_not_said_to_be(bench: Bench, desk: FakeDesk) -> None:
    handover = await at_verify(bench, desk)
    assert await do(handover, "give_up") == "old_card_back"
    with pytest.raises(Refused):
        await handover.cancel()
    assert await do(handover, "not_returned") == "gagal"
    assert result(bench).old_card == "surrendered" and not result(bench).old_card_returned
    assert "melengkapi data" in prompt("gagal")[0]


async def test_where_no_old_card_came_in_none_goes_back(bench: Bench, desk: FakeDesk) -> None:
    handover = await at_data(bench, desk, old_card="lost")
    await do(handover, "confirm")
    assert await do(handover, "give_up") == "gagal" and not result(bench).old_card_returned


def test_no_step_of_a_handover_leads_to_a_capture() -> None:
    assert not set(HANDOVER) & {"biodata", "photo", "fingers", "irises", "sign_off", "seal", "saved"} & set(ENROLMENT)
    assert set(HANDOVER["gagal"].actions) == {"finish"} and HANDOVER["gagal"].on_arrival is None


async def test_after_gagal_the_nik_is_still_refused_a_capture(bench: Bench, desk: FakeDesk) -> None:
    from contract.dispatch import RegisterEntry, RegisterPage
    from contract.lifecycle import RecordState
    from edge.enrolment import start_enrolment
    from tests.unit.edge_fakes import PAPERS

    printed = RegisterEntry(biodata=biodata(), status=RecordState.CARD_PRINTED, eligible=True, required_papers=PAPERS)
    bench.register.take_page(RegisterPage(site="9901-A", page="p1", version=2, entries=(printed,)))
    bench.sensors.person = "impostor"
    handover = await at_verify(bench, desk)
    await do(handover, "give_up")
    assert await do(handover, "returned") == "gagal"
    with pytest.raises(Refused) as caught:
        await start_enrolment(bench.services, NIK, OPERATOR, PAPERS)
    assert caught.value.refusal is Refusal.NOT_UNREGISTERED


async def test_policy_either_takes_the_left_index_when_the_right_fails(bench: Bench, desk: FakeDesk) -> None:
    from contract.sample import FingerPosition

    bench.sensors.fingers[FingerPosition.RIGHT_INDEX] = ("sari", 9)
    handover = await at_verify(bench, desk)
    for _ in range(3):
        await do(handover, "capture")
    assert handover.context.asked is FingerPosition.LEFT_INDEX
    assert await do(handover, "capture") == "receipt"


async def test_policy_both_needs_both(bench: Bench, desk: FakeDesk) -> None:
    from contract.sample import FingerPosition

    bench.register.take_card(consigned(policy="both"))
    handover = await at_verify(bench, desk)
    assert await do(handover, "capture") == "verify"
    bench.sensors.fingers[FingerPosition.LEFT_INDEX] = ("other", 7)
    for _ in range(2):
        assert await do(handover, "capture") == "verify"
    assert await do(handover, "capture") == "old_card_back"
    assert await do(handover, "returned") == "gagal"


async def test_the_desk_may_ask_for_both_where_the_card_does_not(bench: Bench, desk: FakeDesk) -> None:
    bench.services = replace(bench.services, policy=PolicyTable(handover_policy="both"))
    handover = await at_verify(bench, desk)
    assert await do(handover, "capture") == "verify"
    assert await do(handover, "capture") == "receipt"
    await do(handover, "sign")
    assert result(bench).policy == "both"


async def test_without_index_on_the_chip_another_finger_of_the_chip_serves(bench: Bench) -> None:
    handover = await at_verify(bench, FakeDesk(chip(fingers=(3, 8))))
    assert handover.context.asked == 3
    assert await do(handover, "other_finger") == "verify"
    assert await do(handover, "capture") == "receipt"
    await do(handover, "sign")
    assert result(bench).fallback == "other finger"


async def test_only_a_section_head_decides_where_the_chip_has_no_finger(bench: Bench) -> None:
    handover = await at_verify(bench, FakeDesk(chip(fingers=())))
    assert "capture" not in handover.actions() and "section_head" in handover.actions()
    await do(handover, "section_head", operator=OPERATOR, decision="accept")
    assert handover.problem is not None and handover.step == "verify"
    bench.sensors.person = HEAD
    assert await do(handover, "section_head", operator=HEAD, decision="accept") == "receipt"
    await do(handover, "sign")
    assert result(bench).fallback == "section head" and result(bench).berhasil


async def test_the_section_head_is_not_offered_while_a_finger_can_be_asked(bench: Bench, desk: FakeDesk) -> None:
    handover = await at_verify(bench, desk)
    assert "section_head" not in handover.actions()
    with pytest.raises(Refused):
        handover.start("section_head", {"operator": HEAD, "decision": "accept"})


async def test_a_disputed_card_that_agrees_with_the_attestation_is_still_verified(bench: Bench, desk: FakeDesk) -> None:
    desk.attested = biodata()
    handover = await at_data(bench, desk)
    assert await do(handover, "dispute") == "attestation"
    assert handover.actions() == ["settle", "cancel"]
    assert await do(handover, "settle") == "verify"
    await do(handover, "capture")
    await do(handover, "sign")
    assert result(bench).dispute == "attestation agrees"


def test_the_attestation_opens_with_this_cards_key_and_for_this_capture_alone() -> None:
    signed = FakeDesk(chip(), attested=biodata()).attestation(consigned(), chip())
    sealed = seal_attestation(signed, bytes(32))
    assert attestation_of(consigned(attestation=sealed), chip()) == signed
    for other in (
        (consigned(attestation=sealed), replace(chip(), attestation_key=bytes(31) + b"1")),
        (consigned(attestation=sealed, card_number="C-2"), chip()),
        (consigned(attestation=sealed, capture_id="01920000-0000-7000-8000-000000000009"), chip()),
        (consigned(attestation=sealed[:-1] + b"x"), chip()),
    ):
        with pytest.raises(RemoteError):
            attestation_of(*other)


def test_the_statement_is_shown_only_where_it_is_the_one_that_was_signed() -> None:
    page = FakeDesk(chip(), attested=biodata()).attestation(consigned(), chip())
    assert "SARI CONTOH" in signed_statement(page)[0]
    worded_otherwise = page.attestation.model_copy(update={"text_sha256": bytes(32)})
    assert signed_statement(page.model_copy(update={"attestation": worded_otherwise})) == ("", "")


async def test_the_pages_strokes_and_the_page_itself_are_gone_when_the_handover_ends(
    bench: Bench, desk: FakeDesk
) -> None:
    desk.attested = biodata()
    handover = await at_data(bench, desk)
    await do(handover, "dispute")
    assert handover.context.attested is not None
    await handover.cancel()
    assert handover.context.attested is None


async def test_a_card_that_differs_from_the_attestation_is_gagal(bench: Bench, desk: FakeDesk) -> None:
    desk.attested = biodata(name="SARI CONTOH BINTI")
    handover = await at_data(bench, desk)
    assert await do(handover, "dispute") == "attestation" and handover.context.disputed_fields == ("name",)
    assert await do(handover, "settle") == "old_card_back"
    assert await do(handover, "returned") == "gagal"
    assert result(bench).dispute == "attestation differs" and not result(bench).berhasil


async def test_an_old_card_that_the_register_knows_cannot_be_recorded_as_none(bench: Bench, desk: FakeDesk) -> None:
    handover = start_handover(bench.services, desk, OPERATOR, nik=NIK)
    for state in ("none", "kept", ""):
        assert await do(handover, "old_card", state=state) == "old_card"
        assert handover.problem is not None
    assert await do(handover, "old_card", state="lost") == "card"
    bench.register.take_card(consigned(old_card_due=False))
    first_card = start_handover(bench.services, desk, OPERATOR, nik=NIK)
    assert await do(first_card, "old_card", state="none") == "card"


@pytest.mark.parametrize(
    "fault", [CaptureRetry("Removed."), DeviceError("Reader gone."), RemoteError("The chip's signature is wrong.")]
)
async def test_a_chip_that_cannot_be_trusted_moves_nothing(bench: Bench, desk: FakeDesk, fault: Exception) -> None:
    handover = start_handover(bench.services, desk, OPERATOR, card_uid=CARD_UID)
    await do(handover, "old_card", state="surrendered")
    desk.faults.append(fault)
    assert await do(handover, "read") == "card"
    assert handover.advice is not None or handover.problem is not None
    assert await do(handover, "read") == "data"


async def test_another_residents_card_on_the_reader_is_not_taken(bench: Bench) -> None:
    for other in (chip(uid="04FFFFFFFFFFFF"), chip(nik="9901014107900002")):
        handover = start_handover(bench.services, FakeDesk(other), OPERATOR, nik=NIK)
        await do(handover, "old_card", state="surrendered")
        assert await do(handover, "read") == "card" and handover.advice is not None


async def test_cards_that_are_unknown_or_withdrawn_are_not_handed_over(bench: Bench, desk: FakeDesk) -> None:
    with pytest.raises(Refused) as caught:
        start_handover(bench.services, desk, OPERATOR, nik="9901014107900002")
    assert caught.value.refusal is Refusal.CARD_UNKNOWN
    bench.register.take_card(consigned(withdrawn=True))
    with pytest.raises(Refused) as caught:
        start_handover(bench.services, desk, OPERATOR, nik=NIK)
    assert caught.value.refusal is Refusal.CARD_WITHDRAWN
    with pytest.raises(Refused) as caught:
        start_handover(bench.services, desk, HEAD, nik=NIK)
    assert caught.value.refusal is Refusal.OPERATOR_UNKNOWN
    bench.register.take_card(consigned())
    assert start_handover(bench.services, desk, SECOND, nik=NIK).step == "old_card"


async def test_a_handover_can_be_cancelled_before_its_result(bench: Bench, desk: FakeDesk) -> None:
    handover = await at_verify(bench, desk)
    await handover.cancel()
    assert handover.step == "cancelled" and handover.context.chip is None and bench.keeper.kept == []
    again = await at_verify(bench, desk)
    await do(again, "capture")
    await do(again, "sign")
    with pytest.raises(Refused):
        await again.cancel()


async def test_a_result_that_cannot_be_saved_is_kept_for_another_try(bench: Bench, desk: FakeDesk) -> None:
    handover = await at_verify(bench, desk)
    await do(handover, "capture")
    bench.keeper.faults.append(DeviceError("The disk is full."))
    assert await do(handover, "sign") == "result_berhasil"
    assert bench.register.card(nik=NIK) is not None and "retry" in handover.actions()
    assert await do(handover, "retry") == "berhasil"
