"""A unit's roster follows the hub whatever it missed, is never half of one and half of another, and leases end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.checkpoint import Checkpoint
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.operators import (
    Lease,
    Roster,
    RosterDelta,
    RosterGap,
    RosterHeld,
    SignOnPolicy,
    SignOns,
    sign_lease,
    verify_lease,
)
from contract.packet import OperatorBody, PinBody
from contract.secret import hash_secret, is_weak_pin, secret_matches
from edge.eligibility import Refusal
from edge.roster import FINISH_MS, Officer, RosterBook
from edge.sealed_store import SealedStore
from edge.trusted_time import TrustedTime
from tests.unit.edge_fakes import HUB_SIGNS, HUB_STATEMENT, LEASE_FROM_MS, LEASE_UNTIL_MS, operator_entry, roster_of

DAY_MS, YEAR_MS = 86_400_000, 365 * 86_400_000
NOW_MS = 1_790_000_000_000
KEY = bytes(range(32))


class Clocks:
    """A wall clock that somebody sets, and a monotonic one that nobody can."""

    def __init__(self) -> None:
        self.wall, self.passed = NOW_MS, 5_000

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_ms(self) -> int:
        return self.passed

    def pass_ms(self, duration_ms: int) -> None:
        self.wall += duration_ms
        self.passed += duration_ms


class Unit:
    """The store of one unit; `start` is the agent starting on it, with a monotonic clock that begins anew."""

    def __init__(self, folder: Path) -> None:
        self.store = SealedStore(folder / "unit.db", KEY)
        self.clocks = Clocks()
        self.start()

    def start(self) -> None:
        self.clocks.passed = 0
        self.time = TrustedTime(self.store, self.clocks)
        self.book = RosterBook(self.store, "9901-A", HUB_STATEMENT, self.time)


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(tmp_path)
    yield made
    made.store.close()


SITI, BUDI = operator_entry("op-siti", "operator"), operator_entry("op-budi", "operator")


def delta_to(result: Roster, base: int = 1, **changes: object) -> RosterDelta:
    fields = {"base": base, "version": result.version, "sign_on": result.sign_on, "digest": result.digest()}
    return RosterDelta.model_validate(fields | changes)


def test_a_delta_leads_from_its_base_or_from_anything_between(unit: Unit) -> None:
    unit.book.take(roster_of(SITI))
    two = roster_of(SITI, BUDI, version=2)
    assert unit.book.take_delta(delta_to(two, changed=(BUDI,)))
    three = roster_of(BUDI, version=3, sign_on="finger+pin")
    newest = delta_to(three, changed=(BUDI,), removed=("op-siti",))
    assert unit.book.take_delta(newest) and not unit.book.take_delta(newest)
    assert not unit.book.take_delta(delta_to(two, changed=(BUDI,)))  # late, and older
    assert [officer.operator for officer in unit.book.officers()] == ["op-budi"]
    assert unit.book.sign_on is SignOnPolicy.FINGER_AND_PIN
    unit.start()
    assert unit.book.held == RosterHeld(version=3, digest=three.digest())


def test_a_renewed_lease_travels_alone(unit: Unit) -> None:
    unit.book.take(roster_of(SITI, BUDI))
    later = operator_entry("op-siti", "operator", lease_until_ms=LEASE_UNTIL_MS + DAY_MS, sequence=2)
    renewed = delta_to(roster_of(later, BUDI, version=2), renewed={"op-siti": later.lease})
    assert len(encode(renewed)) < len(encode(later))
    assert unit.book.take_delta(renewed)
    officer = unit.book.officer("op-siti")
    assert officer is not None and officer.lease.until_ms == LEASE_UNTIL_MS + DAY_MS


@pytest.mark.parametrize(
    "wrong",
    [
        delta_to(roster_of(SITI, BUDI, version=9), base=5, changed=(BUDI,)),  # the whole has not come yet
        delta_to(roster_of(SITI, BUDI, version=2)),  # does not do what it promises
        delta_to(roster_of(SITI, version=2), renewed={"op-budi": BUDI.lease}),
        delta_to(roster_of(SITI, BUDI, version=2), changed=(BUDI,), digest=bytes(32)),
    ],
)
def test_a_delta_that_does_not_fit_changes_nothing(unit: Unit, wrong: RosterDelta) -> None:
    unit.book.take(roster_of(SITI))
    before = unit.book.held
    with pytest.raises(RosterGap):
        unit.book.take_delta(wrong)
    assert unit.book.held == before
    unit.start()
    assert unit.book.held == before


def test_a_damaged_roster_is_replaced_by_the_whole_of_the_same_version(unit: Unit) -> None:
    unit.book.take(roster_of(SITI))
    assert not unit.book.take(roster_of(SITI))
    assert unit.book.take(roster_of(SITI, BUDI))
    assert not unit.book.take(roster_of(BUDI, version=0))


class PowerCut(BaseException):
    """The power goes."""


def test_power_lost_while_a_delta_is_applied_leaves_one_roster_whole(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit.book.take(roster_of(SITI))
    two = roster_of(SITI, BUDI, version=2)

    def cut(*_args: object) -> None:
        raise PowerCut

    for place in ("_seal", "put"):
        with monkeypatch.context() as patch, pytest.raises(PowerCut):
            patch.setattr(unit.store, place, cut)
            unit.book.take_delta(delta_to(two, changed=(BUDI,)))
        unit.start()
        assert unit.book.held == RosterHeld(version=1, digest=roster_of(SITI).digest())
    assert unit.book.take_delta(delta_to(two, changed=(BUDI,)))
    unit.start()
    assert unit.book.held.digest == two.digest()


def test_a_lease_is_the_hubs_the_operators_own_and_for_this_site(unit: Unit) -> None:
    other_key = SITI.model_copy(update={"public_key": bytes(91)})
    other_name = BUDI.model_copy(update={"operator": "op-tono"})
    elsewhere = operator_entry("op-siti", "operator", sites=("9902-B",))
    forged = SITI.model_copy(update={"lease": SITI.lease[:-1] + bytes((SITI.lease[-1] ^ 1,))})
    for entry in (other_key, other_name, elsewhere, forged):
        with pytest.raises(RemoteError):
            unit.book.take(roster_of(entry))
    assert unit.book.officers() == []


def test_a_roster_of_an_earlier_version_of_the_software_is_asked_for_again(unit: Unit) -> None:
    unit.store.put("roster", "", b"\xa0")
    unit.start()
    assert unit.book.held.version == 0 and unit.book.take(roster_of(SITI))


def test_who_began_may_finish_when_the_lease_ends_and_not_when_revoked(unit: Unit) -> None:
    unit.book.take(roster_of(SITI, operator_entry("op-late", "operator", lease_until_ms=NOW_MS + 1000)))
    assert isinstance(unit.book.may_work("op-late", "operator"), Officer)
    unit.clocks.pass_ms(1000)
    assert unit.book.may_work("op-late", "operator") is Refusal.LEASE_ENDED
    assert isinstance(unit.book.may_finish("op-late", "operator"), Officer)
    unit.clocks.pass_ms(FINISH_MS)
    assert unit.book.may_finish("op-late", "operator") is Refusal.LEASE_ENDED
    unit.book.take(roster_of(version=2))
    assert unit.book.may_finish("op-siti", "operator") is Refusal.OPERATOR_REVOKED


# --- the time that leases are measured by ---


def checkpoints(unit: Unit, *times_ms: int) -> None:
    for sequence, time_ms in enumerate(times_ms, 1):
        unit.time.hear(Checkpoint(sequence=sequence, time_ms=time_ms))


def test_a_clock_set_back_revives_nothing_that_had_ended(unit: Unit) -> None:
    unit.clocks.pass_ms(8 * DAY_MS)
    ended = unit.time.now_ms()
    unit.time.keep(at_once=True)
    unit.clocks.wall = NOW_MS
    assert unit.time.now_ms() >= ended
    unit.start()
    assert unit.time.now_ms() >= ended
    unit.clocks.pass_ms(5000)
    assert unit.time.now_ms() >= ended + 5000


def test_a_clock_a_year_ahead_is_put_right_by_a_hub_that_ticks(unit: Unit) -> None:
    unit.clocks.wall += YEAR_MS
    unit.time.keep(at_once=True)
    checkpoints(unit, NOW_MS - 60_000)
    assert unit.time.now_ms() >= NOW_MS + YEAR_MS  # one alone may be what the broker kept for days
    checkpoints(unit, NOW_MS)
    assert unit.time.now_ms() == NOW_MS
    unit.clocks.pass_ms(30_000)
    assert unit.time.now_ms() == NOW_MS + 30_000
    unit.time.keep()
    unit.clocks.wall -= YEAR_MS
    unit.start()
    assert unit.time.now_ms() == NOW_MS + 30_000


def test_a_clock_a_year_behind_is_put_right_by_whatever_the_hub_signed(unit: Unit) -> None:
    unit.clocks.wall -= YEAR_MS
    unit.book.take(roster_of(operator_entry("op-siti", "operator", lease_until_ms=LEASE_UNTIL_MS)))
    assert unit.time.now_ms() == LEASE_FROM_MS
    checkpoints(unit, NOW_MS)
    assert unit.time.now_ms() == NOW_MS


def test_the_time_is_kept_now_and_then(unit: Unit) -> None:
    unit.time.keep()
    kept = unit.store.get("trusted-time", "mark")
    unit.clocks.pass_ms(59_000)
    unit.time.keep()
    assert unit.store.get("trusted-time", "mark") == kept
    unit.clocks.pass_ms(1000)
    unit.time.keep()
    assert unit.store.get("trusted-time", "mark") != kept


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("wall"), st.integers(-2 * YEAR_MS, 2 * YEAR_MS)),
            st.tuples(st.just("pass"), st.integers(0, 20 * DAY_MS)),
            st.tuples(st.just("keep"), st.just(0)),
            st.tuples(st.just("start"), st.just(0)),
        ),
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_without_the_hub_time_seen_to_end_a_lease_never_goes_back(
    tmp_path_factory: pytest.TempPathFactory, deeds: list[tuple[str, int]]
) -> None:
    unit = Unit(tmp_path_factory.mktemp("time"))
    ended = 0
    for deed, amount in deeds:
        if deed == "wall":
            unit.clocks.wall = max(0, NOW_MS + amount)
        elif deed == "pass":
            unit.clocks.pass_ms(amount)
        elif deed == "keep":
            ended = unit.time.now_ms()
            unit.time.keep(at_once=True)
        else:
            unit.start()
        assert unit.time.now_ms() >= ended
    unit.store.close()


# --- what comes from outside ---


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_and_nothing_else_is_raised(garbage: bytes) -> None:
    for kind in (Roster, RosterDelta, RosterHeld, SignOns, Lease, OperatorBody, PinBody):
        try:
            decode(kind, garbage)
        except RemoteError:
            continue
    with pytest.raises(RemoteError):
        verify_lease(garbage, HUB_STATEMENT)


def test_damaged_messages_are_refused() -> None:
    generator = random.Random(5)
    wholes = [encode(roster_of(SITI)), encode(delta_to(roster_of(SITI, BUDI, version=2), changed=(BUDI,)))]
    for _ in range(200):
        whole = bytearray(generator.choice(wholes))
        whole[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        for kind in (Roster, RosterDelta):
            try:
                decode(kind, bytes(whole))
            except RemoteError:
                continue


def test_rosters_stand_in_order_and_leases_end_after_they_begin() -> None:
    with pytest.raises(ValueError, match="by name"):
        Roster(version=1, operators=(SITI, BUDI))
    with pytest.raises(ValueError, match="by name"):
        Roster(version=1, operators=(SITI, SITI))
    fields = verify_lease(SITI.lease, HUB_STATEMENT).model_dump()
    with pytest.raises(ValueError, match="after it begins"):
        Lease.model_validate({**fields, "until_ms": fields["from_ms"]})
    assert verify_lease(sign_lease(Lease.model_validate(fields), HUB_SIGNS), HUB_STATEMENT).covers("9901-A")


# --- secrets ---


def test_a_pin_is_kept_as_a_salted_hash_and_compared_in_bounds() -> None:
    stored = hash_secret("482913", bytes(16), 2**10)
    assert secret_matches("482913", stored) and not secret_matches("482914", stored)
    assert "482913" not in stored and hash_secret("482913", bytes(range(16)), 2**10) != stored
    for broken in (
        "",
        "scrypt",
        stored[:-1],
        stored.replace("$1024$", "$9999999$"),
        stored.replace("$1024$", "$1000$"),
    ):
        assert not secret_matches("482913", broken)


@given(st.text(max_size=120))
def test_no_stored_text_makes_a_comparison_fail_otherwise(stored: str) -> None:
    assert not secret_matches("482913", stored)


@pytest.mark.parametrize(
    "pin", ["000000", "123456", "987654", "012345", "890123", "12345", "1234567", "48291a", "٤٨٢٩١٣"]
)
def test_pins_that_are_tried_first_are_none(pin: str) -> None:
    assert is_weak_pin(pin)


def test_an_ordinary_pin_is_one() -> None:
    assert not is_weak_pin("482913") and not is_weak_pin("112233")
