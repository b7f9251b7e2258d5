"""The later change of a PIN stands, in whatever order changes arrive, and nothing of an earlier epoch ever does."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.packet import PinOrder
from contract.pins import CLOCK_SLACK_MS, SUPERSEDED_MAX, PinState, pin_digest, settle, takes_over

NOW_MS = 2_000_000_000_000
RECORDS = [f"record-{number}" for number in range(12)]


def order(changed_ms: int, replaces: str = "", epoch: int = 0) -> PinOrder:
    return PinOrder(epoch=epoch, replaces=pin_digest(replaces), changed_ms=changed_ms)


@given(
    st.lists(st.tuples(st.sampled_from(RECORDS), st.integers(1, NOW_MS)), unique_by=(lambda c: c[0], lambda c: c[1]))
)
def test_the_latest_stands_in_whatever_order_they_arrive(changes: list[tuple[str, int]]) -> None:
    pin, state = "old", PinState()
    for changed, at_ms in changes:
        pin, state = settle(pin, state, changed, order(at_ms, "old"), NOW_MS)
    assert pin == max(changes, key=lambda change: change[1], default=("old", 0))[0]
    assert state.changed_ms == max((at_ms for _, at_ms in changes), default=0)
    assert len(state.superseded) <= SUPERSEDED_MAX and pin_digest(pin) not in state.superseded


@given(st.integers(0, 3), st.integers(0, 2 * NOW_MS), st.sampled_from(["", "old", "mine"]))
def test_nothing_of_another_epoch_stands(epoch: int, changed_ms: int, replaces: str) -> None:
    state = PinState(epoch=2, changed_ms=5)
    pin, after = settle("old", state, "mine", order(changed_ms, replaces, epoch), NOW_MS)
    if epoch != 2:
        assert pin == "old" and pin_digest("mine") in after.superseded and after.epoch == 2


def test_a_clock_that_runs_ahead_is_believed_only_on_top_of_what_stands() -> None:
    ahead_ms = NOW_MS + CLOCK_SLACK_MS + 1
    state = PinState(changed_ms=NOW_MS - 1000)
    pin, after = settle("theirs", state, "mine", order(ahead_ms, "old"), NOW_MS)
    assert pin == "theirs" and after.superseded == (pin_digest("mine"),)
    pin, after = settle("theirs", state, "mine", order(ahead_ms, "theirs"), NOW_MS)
    assert (pin, after.changed_ms) == ("mine", NOW_MS)  # and whatever is changed after it is later


def test_a_pin_that_was_there_and_lost_is_named_and_one_that_was_known_is_not() -> None:
    first, state = settle("old", PinState(), "first", order(10, "old"), NOW_MS)
    second, state = settle(first, state, "second", order(20, "old"), NOW_MS)  # made without knowing of the first
    assert (second, state.superseded) == ("second", (pin_digest("first"),))
    third, state = settle(second, state, "third", order(30, "second"), NOW_MS)
    assert (third, state.superseded) == ("third", (pin_digest("first"),))
    assert settle(third, state, "third", order(30, "second"), NOW_MS) == ("third", state)  # twice is once


def test_after_a_reset_the_first_pin_is_made_in_time() -> None:
    state = PinState(epoch=1, changed_ms=100, set_by_ms=1000)
    assert takes_over(order(1000, "", 1), state)
    assert not takes_over(order(1001, "", 1), state)
    assert takes_over(order(1001, "new", 1), state)  # changed again later, with the new one
    pin, after = settle("", state, "new", order(500, "", 1), NOW_MS)
    assert pin == "new" and after.set_by_ms == 1000


def test_a_unit_of_an_earlier_version_is_believed_where_nobody_named_an_order() -> None:
    assert settle("old", PinState(), "new", None, NOW_MS) == ("new", PinState())
    pin, after = settle("old", PinState(changed_ms=1), "new", None, NOW_MS)
    assert pin == "old" and after.superseded == (pin_digest("new"),)


@pytest.mark.parametrize(
    "changes", [{"epoch": -1}, {"superseded": (b"short",)}, {"superseded": (bytes(32),) * 9}, {"changed_ms": "soon"}]
)
def test_garbage_is_refused(changes: dict[str, object]) -> None:
    good = encode(PinState())
    assert decode(PinState, good) == PinState()
    with pytest.raises(RemoteError):
        decode(PinState, cbor2.dumps(PinState().model_dump() | changes))
