"""Officers sign on by finger and a second factor; tries are counted durably, and rights that end do end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from math import log10
from pathlib import Path

import pytest

from contract.checkpoint import Checkpoint
from contract.comparison import ComparisonScore
from contract.dispatch import encode
from contract.errors import CaptureRetry, RemoteError
from contract.operators import OPERATORS_MAX, SignOnPolicy
from contract.packet import PacketKind, PinBody
from contract.pins import PinState
from contract.sample import FingerPosition
from contract.secret import hash_secret, secret_matches
from edge import sign_on
from edge.eligibility import Refusal
from edge.officer_desk import SignOnTeller
from edge.procedure import Refused
from edge.second_factor import FIRST_WAIT_MS, FREE_TRIES, TALLY, TRIES_MAX, Factor, FactorBook, Tally, factor_of
from tests.unit.edge_fakes import (
    CARD_UID,
    HEAD,
    NIK,
    OPERATOR,
    SECOND,
    chip,
    make_bench,
    operator_entry,
    roster_of,
)
from tests.unit.officer_fakes import HOUR_MS, OTHER, PIN, RECORD, WORK, Unit, desk_of_fakes, head, siti


@pytest.fixture
async def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Unit]:
    monkeypatch.setattr(sign_on, "PIN_COST", 2)
    async with desk_of_fakes(tmp_path) as made:
        yield made


async def test_nobody_is_served_before_somebody_signed_on(unit: Unit) -> None:
    assert (await unit.capture())["code"] == "SIGN_ON_FIRST"
    assert (await unit.post("/api/handover", operator=OPERATOR, nik=NIK))["code"] == "SIGN_ON_FIRST"
    assert (await unit.identify(person="sari"))["advice_id"] and await unit.on_duty() == ""
    assert (await unit.identify())["step"] == "signed_on" and await unit.on_duty() == OPERATOR
    assert (await unit.post(f"{WORK}/finish"))["step"] == "finished"
    assert (await unit.get(WORK))["code"] == "NO_SESSION"
    assert (await unit.capture(SECOND))["code"] == "OPERATOR_UNKNOWN"
    assert (await unit.capture())["step"] == "biodata"
    assert (await unit.post("/api/sign-off"))["code"] == "BUSY"
    await unit.post("/api/session/cancel")
    assert (await unit.post("/api/sign-off"))["signed_off"] and await unit.on_duty() == ""


async def test_any_enrolled_finger_lets_an_officer_in_and_no_other(unit: Unit) -> None:
    unit.bench.sensors.fingers[FingerPosition.RIGHT_INDEX] = (OPERATOR, 3)  # bandaged: the next one is not enrolled
    assert (await unit.identify())["advice_id"] and await unit.on_duty() == ""
    unit.bench.sensors.fingers[FingerPosition.RIGHT_INDEX] = (OPERATOR, 7)
    assert (await unit.identify())["step"] == "signed_on" and await unit.on_duty() == OPERATOR


async def test_several_fingers_are_no_more_often_somebody_elses_than_one(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    just_enough = -10 * log10(unit.bench.services.policy.sign_fmr)

    async def compare(_probe: bytes, references: Sequence[bytes]) -> list[ComparisonScore]:
        return [ComparisonScore(just_enough) for _ in references]

    monkeypatch.setattr(unit.bench.examiner, "compare", compare)
    assert (await unit.identify())["advice_id"] and await unit.on_duty() == ""
    just_enough += 10 * log10(2)
    assert (await unit.identify())["step"] == "signed_on"


async def test_a_sign_on_ends_by_itself(unit: Unit) -> None:
    await unit.identify()
    unit.bench.clock.now_ms += 59 * 60_000
    assert await unit.on_duty() == OPERATOR
    unit.bench.clock.now_ms += 60_000
    assert await unit.on_duty() == ""
    await unit.identify()
    for _ in range(10):  # work goes on, and the shift ends all the same
        unit.officers.sign_on.touch()
        unit.bench.clock.now_ms += HOUR_MS
        if await unit.on_duty() == "":
            break
    else:
        pytest.fail("a shift does not end")
    unit.start()
    assert await unit.on_duty() == ""


async def test_a_lease_that_ended_lets_nobody_in_and_who_was_served_is_served(unit: Unit) -> None:
    unit.roster(siti(lease_until_ms=unit.bench.clock.now_ms + 1000))
    await unit.identify()
    assert (await unit.capture())["step"] == "biodata"
    unit.bench.clock.now_ms += 1000
    assert (await unit.post("/api/session/confirm"))["step"] == "photo"
    assert await unit.on_duty() == ""
    await unit.post("/api/session/cancel")
    assert (await unit.capture())["code"] == "LEASE_ENDED"
    ended = await unit.identify()
    assert ended["code"] == "LEASE_ENDED" and "pusat" in ended["next_step"] and "clock" in ended["message"]
    unit.bench.clock.now_ms -= 86_400_000  # set back: nothing revives
    assert (await unit.identify())["code"] == "LEASE_ENDED"


async def test_a_revoked_officer_stops_at_once_and_another_takes_the_work_over(unit: Unit) -> None:
    tono = operator_entry("op-tono", "operator")
    unit.roster(siti(), tono)
    await unit.identify()
    await unit.capture()
    assert (await unit.identify("op-tono"))["code"] == "BUSY"
    unit.roster(tono)
    assert await unit.on_duty() == ""
    refused = await unit.post("/api/session/confirm")
    assert refused["code"] == "OPERATOR_REVOKED"
    assert (await unit.identify("op-tono"))["step"] == "signed_on"
    assert (await unit.post("/api/session/confirm"))["operator"] == "op-tono"
    assert (await unit.post("/api/session/cancel"))["step"] == "cancelled"


async def test_a_revoked_officers_work_can_always_be_cancelled(unit: Unit) -> None:
    await unit.identify()
    await unit.capture()
    unit.roster()
    assert (await unit.post("/api/session/cancel"))["step"] == "cancelled"


# --- second factors ---


@pytest.mark.parametrize(
    ("policy", "pin", "card", "reads", "asked"),
    [
        ("finger", False, False, True, Factor.NONE),
        ("finger", True, False, True, Factor.PIN),
        ("finger", False, True, True, Factor.CARD),
        ("finger", True, True, False, Factor.PIN),
        ("finger", False, True, False, None),
        ("finger+pin", False, False, True, None),
        ("finger+pin", True, True, True, Factor.PIN),
        ("finger+pin", False, True, True, Factor.CARD),
        ("finger+card", True, False, True, None),
        ("finger+card", True, False, False, Factor.PIN),
        ("finger+card", True, True, True, Factor.CARD),
        ("finger+card", False, False, False, None),
    ],
)
def test_what_is_asked_besides_the_finger(
    policy: str, pin: bool, card: bool, reads: bool, asked: Factor | None
) -> None:
    entry = siti(pin=RECORD if pin else "", card_uid=CARD_UID if card else None)
    if asked is None:
        with pytest.raises(Refused) as caught:
            factor_of(SignOnPolicy(policy), entry, reads_cards=reads)
        assert caught.value.refusal is Refusal.SECOND_FACTOR
    else:
        assert factor_of(SignOnPolicy(policy), entry, reads_cards=reads) is asked


async def test_a_pin_is_asked_of_who_has_one_and_nothing_tells_it(unit: Unit) -> None:
    unit.roster(siti(pin=RECORD))
    assert (await unit.identify())["step"] == "pin" and await unit.on_duty() == ""
    wrong = await unit.post(f"{WORK}/pin", pin=OTHER)
    assert wrong["step"] == "pin" and "7" in wrong["advice_id"]
    right = await unit.post(f"{WORK}/pin", pin=PIN)
    assert right["step"] == "signed_on" and PIN not in str(right)
    (count,) = unit.factors.report().counts
    assert (count.signed_on, count.failed, count.locked) == (1, 1, False)


async def test_wrong_pins_wait_longer_and_lock_and_neither_restart_nor_clock_helps(unit: Unit) -> None:
    unit.roster(siti(pin=RECORD), head())
    clock = unit.bench.clock
    await unit.identify()
    for tried in range(1, TRIES_MAX + 1):
        await unit.post(f"{WORK}/pin", pin=OTHER)
        unit.start()
        begun = await unit.identify()
        if tried == TRIES_MAX:
            assert begun["code"] == "PIN_LOCKED"
            break
        if tried >= FREE_TRIES:
            assert begun["code"] == "PIN_WAITS"
            clock.now_ms += (FIRST_WAIT_MS << (tried - FREE_TRIES)) - 1
            assert (await unit.identify())["code"] == "PIN_WAITS"
            clock.now_ms += 1
            assert (await unit.identify())["step"] == "pin"
    clock.now_ms += 100 * HOUR_MS
    assert (await unit.identify())["code"] == "PIN_LOCKED"
    assert next(o for o in await unit.get("/api/officers") if o["operator"] == OPERATOR)["locked"]
    assert unit.factors.report().counts[-1].locked
    for officer, subject in ((OPERATOR, OPERATOR), (HEAD, HEAD), (HEAD, "nobody")):
        refused = await unit.post(f"{WORK}/identify", operator=officer, purpose="unlock", subject=subject)
        assert refused["code"] == "OPERATOR_UNKNOWN"
    assert (await unit.identify(HEAD, purpose="unlock", subject=OPERATOR))["step"] == "unlocked"
    await unit.identify()
    assert (await unit.post(f"{WORK}/pin", pin=PIN))["step"] == "signed_on"


async def test_a_wait_set_by_a_clock_a_year_ahead_ends_when_the_hub_tells_the_time(unit: Unit) -> None:
    entry, time, right_ms = siti(pin=RECORD), unit.bench.roster.time, unit.bench.clock.now_ms
    time.is_at_least(right_ms + 8760 * HOUR_MS)
    for _ in range(FREE_TRIES):
        unit.factors.check_pin(entry, OTHER)
    with pytest.raises(Refused):
        unit.factors.check_pin(entry, PIN)
    for number in (1, 2):
        time.hear(Checkpoint(sequence=number, time_ms=right_ms))
    assert unit.factors.check_pin(entry, PIN)


async def test_a_try_counts_before_it_is_compared(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_pin: str, _stored: str) -> bool:
        raise PowerCut

    class PowerCut(BaseException):
        """The power goes while the PIN is compared."""

    entry = siti(pin=RECORD)
    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr("edge.second_factor.secret_matches", cut)
        unit.factors.check_pin(entry, OTHER)
    assert FactorBook(unit.bench.store, unit.bench.roster.time).tries_left(entry) == TRIES_MAX - 1


async def test_another_pin_from_the_hub_begins_anew(unit: Unit) -> None:
    entry = siti(pin=RECORD)
    for _ in range(FREE_TRIES):
        unit.factors.check_pin(entry, OTHER)
    with pytest.raises(Refused):
        unit.factors.check_pin(entry, PIN)
    assert unit.factors.check_pin(siti(pin=hash_secret(OTHER, bytes(16), 2)), OTHER)


async def test_a_card_is_the_officers_own_and_genuine(unit: Unit) -> None:
    unit.roster(siti(card_uid=CARD_UID), sign_on="finger+card")
    assert (await unit.identify())["step"] == "card"
    unit.proof.content = chip(uid="04FFFFFFFFFFFF")
    assert (await unit.post(f"{WORK}/card"))["advice_id"]
    unit.proof.faults = [RemoteError("The card is no card of ours."), CaptureRetry("No card came.")]
    assert (await unit.post(f"{WORK}/card"))["problem"]["error"] == "RemoteError"
    assert (await unit.post(f"{WORK}/card"))["advice_id"]
    assert await unit.on_duty() == ""
    unit.proof.content = chip()
    assert (await unit.post(f"{WORK}/card"))["step"] == "signed_on"


async def test_a_pin_is_changed_with_finger_and_old_pin_and_is_good_here_at_once(unit: Unit) -> None:
    unit.roster(siti(pin=RECORD))
    await unit.identify(purpose="new-pin")
    assert (await unit.post(f"{WORK}/pin", pin=PIN))["step"] == "new_pin"
    for pin, again in (("123456", "123456"), (OTHER, PIN), ("48", "48")):
        assert (await unit.post(f"{WORK}/pin", pin=pin, again=again))["advice_id"]
    assert (await unit.post(f"{WORK}/pin", pin=OTHER, again=OTHER))["step"] == "pin_changed"
    ((kind, _, body),) = unit.bench.keeper.kept
    assert kind is PacketKind.PIN and isinstance(body, PinBody) and secret_matches(OTHER, body.pin)
    assert body.signoff is not None and body.signoff.operator == OPERATOR
    unit.start()
    await unit.identify()
    assert (await unit.post(f"{WORK}/pin", pin=PIN))["step"] == "pin"
    assert (await unit.post(f"{WORK}/pin", pin=OTHER))["step"] == "signed_on"
    again = hash_secret("560218", bytes(16), 2)
    later = PinState(changed_ms=unit.bench.clock.now_ms + 1)
    unit.roster(siti(pin=again, pin_state=later))  # the hub has another one since
    await unit.identify()
    assert (await unit.post(f"{WORK}/pin", pin="560218"))["step"] == "signed_on"


async def test_a_first_pin_can_be_made_where_the_site_asks_for_one(unit: Unit) -> None:
    unit.roster(siti(), sign_on="finger+pin")
    assert (await unit.identify())["code"] == "SECOND_FACTOR"
    assert (await unit.identify(purpose="new-pin"))["step"] == "new_pin"
    await unit.post(f"{WORK}/pin", pin=PIN, again=PIN)
    await unit.identify()
    assert (await unit.post(f"{WORK}/pin", pin=PIN))["step"] == "signed_on"


def test_no_pin_lies_readable_on_the_disk(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    bench.roster.take(roster_of(siti(pin=RECORD), version=2))
    FactorBook(bench.store, bench.roster.time).check_pin(siti(pin=RECORD), PIN)
    bench.store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert PIN.encode() not in content and b"scrypt" not in content and OPERATOR.encode() not in content


# --- what the hub hears ---


def test_of_more_officers_than_a_report_takes_the_latest_are_told(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    for number in range(OPERATORS_MAX + 1):
        tally = Tally(operator=f"op-{number}", last_ms=1_800_000_000_000 + number)
        bench.store.put(TALLY, tally.operator, encode(tally))
    told = {count.operator for count in FactorBook(bench.store, bench.roster.time).report().counts}
    assert len(told) == OPERATORS_MAX and "op-0" not in told
    bench.store.close()


async def test_the_hub_hears_counts_when_there_is_a_line(unit: Unit) -> None:
    said: list[tuple[str, bytes]] = []

    async def publish(topic: str, payload: bytes, *, retain: bool) -> bool:
        assert retain
        if not said:
            said.append(("", b""))
            raise RemoteError("no line")
        said.append((topic, payload))
        return True

    teller = SignOnTeller("desk-a1", unit.factors, publish)
    await unit.identify(person="sari")
    await teller.say()
    await teller.say()
    assert [topic for topic, _ in said] == ["", "k/desk-a1/up/sign-ons"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{WORK}/identify", b"{}"),
        (f"{WORK}/identify", b'{"operator": "op-siti", "purpose": "other"}'),
        (f"{WORK}/identify", b'{"operator": "op-siti", "subject": 5}'),
        (f"{WORK}/enrol", b'{"operator": "op-rina"}'),
        (f"{WORK}/enrol", b'{"operator": "op-rina", "name": "Rina", "roles": "operator"}'),
        (f"{WORK}/pin", b'{"pin": {"a": 1}}'),
    ],
)
async def test_garbage_at_the_door_is_refused(unit: Unit, path: str, body: bytes) -> None:
    answer = await unit.http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and answer.json()["code"] == "INVALID"
