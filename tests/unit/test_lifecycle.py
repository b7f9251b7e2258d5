"""The five tables: what they allow, what is absent on purpose, and that these tests notice a table that allows all."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.diagrams import with_diagrams
from contract.lifecycle import (
    LIFECYCLES,
    CardEvent,
    CardState,
    IllegalTransition,
    Lifecycle,
    PacketEvent,
    PacketState,
    RecordEvent,
    RecordState,
    UnitEvent,
    UnitState,
    advance,
    diagram,
    is_allowed,
)

R, E = RecordState, RecordEvent
ROOT = Path(__file__).resolve().parents[2]
Advance = Callable[[StrEnum, StrEnum], StrEnum]


def accept_all(state: StrEnum, event: StrEnum) -> StrEnum:
    """An advance() that refuses nothing: every event leads where it leads from anywhere."""
    table = next(lifecycle.table for lifecycle in LIFECYCLES if type(lifecycle.start) is type(state))
    return next((target for (_, known), target in table.items() if known is event), state)


def steps(advance_: Advance, states: type[StrEnum], events: type[StrEnum]) -> set[tuple[StrEnum, StrEnum, StrEnum]]:
    """Every (state, event, following) that an advance() allows."""
    found = set()
    for state in states:
        for event in events:
            try:
                found.add((state, event, advance_(state, event)))
            except IllegalTransition:
                continue
    return found


def reachable(advance_: Advance, start: RecordState, without: RecordState) -> set[StrEnum]:
    """States that can be reached from `start` without ever being in `without`."""
    allowed = steps(advance_, RecordState, RecordEvent)
    seen, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        for state, _, following in allowed:
            if state is here and following is not without and following not in seen:
                seen.add(following)
                waiting.append(following)
    return seen


def never_a_new_capture_after_a_card(advance_: Advance) -> None:
    allowed = steps(advance_, RecordState, RecordEvent)
    cards = {R.CARD_SHIPPED, R.CARD_PRINTED, R.CARD_ISSUED, R.SENT_FOR_CARD_PRINTING}
    back = {(s, e) for s, e, f in allowed if s in cards and f in {R.UNREGISTERED, R.BIO_CAPTURED, R.PACKET_ENTRY}}
    assert not back


def a_failed_handover_changes_nothing(advance_: Advance) -> None:
    allowed = steps(advance_, RecordState, RecordEvent)
    assert {(s, f) for s, e, f in allowed if e is E.HANDOVER_FAILED} == {(R.CARD_PRINTED, R.CARD_PRINTED)}


def a_duplicate_is_printed_only_after_fresh_adjudication(advance_: Advance) -> None:
    assert R.PRINT_READY_RECORD not in reachable(advance_, R.DUPLICATE_RECORD, R.ADJUDICATE_RECORD)


def nothing_is_printed_without_print_ready(advance_: Advance) -> None:
    before = reachable(advance_, R.UNREGISTERED, R.PRINT_READY_RECORD)
    assert not before & {R.SENT_FOR_CARD_PRINTING, R.CARD_SHIPPED, R.CARD_PRINTED, R.CARD_ISSUED}


def capture_only_while_unregistered(advance_: Advance) -> None:
    allowed = steps(advance_, RecordState, RecordEvent)
    assert {s for s, e, _ in allowed if e is E.CAPTURE_COMPLETED} == {R.UNREGISTERED}


def only_two_persons_free_a_nik(advance_: Advance) -> None:
    allowed = steps(advance_, RecordState, RecordEvent)
    assert {(s, e) for s, e, f in allowed if f is R.UNREGISTERED} == {
        (R.ENROLL_FAILURE_AT_CENTRAL, E.DELETION_AUTHORISED),
        (R.ENROLL_FAILURE_AT_REGIONAL, E.DELETION_AUTHORISED),
        (R.PROCESSING, E.LOSS_DECLARED),
        (R.SENT_FOR_ENROLLMENT, E.LOSS_DECLARED),
    }


def the_search_alone_never_calls_a_duplicate(advance_: Advance) -> None:
    allowed = steps(advance_, RecordState, RecordEvent)
    assert {s for s, _, f in allowed if f is R.DUPLICATE_RECORD} == {R.ADJUDICATE_IN_PROCESS}


def a_packet_is_purged_only_on_a_receipt(advance_: Advance) -> None:
    allowed = steps(advance_, PacketState, PacketEvent)
    assert {e for s, e, f in allowed if f is PacketState.PURGEABLE and s is not f} == {PacketEvent.RECEIPT_FREES}
    assert PacketState.SEALED not in {s for s, _, f in allowed if f is PacketState.PURGEABLE}


def a_destroyed_card_stays_destroyed(advance_: Advance) -> None:
    allowed = steps(advance_, CardState, CardEvent)
    assert not {(s, f) for s, _, f in allowed if s is CardState.DESTROYED}
    assert {s for s, e, _ in allowed if e is CardEvent.HANDED_OVER} == {CardState.AT_DESK}


def a_retired_unit_never_comes_back(advance_: Advance) -> None:
    assert not {f for s, _, f in steps(advance_, UnitState, UnitEvent) if s is UnitState.RETIRED}


INVARIANTS = (
    never_a_new_capture_after_a_card,
    a_failed_handover_changes_nothing,
    a_duplicate_is_printed_only_after_fresh_adjudication,
    nothing_is_printed_without_print_ready,
    capture_only_while_unregistered,
    only_two_persons_free_a_nik,
    the_search_alone_never_calls_a_duplicate,
    a_packet_is_purged_only_on_a_receipt,
    a_destroyed_card_stays_destroyed,
    a_retired_unit_never_comes_back,
)


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda invariant: invariant.__name__)
def test_the_tables_keep(invariant: Callable[[Advance], None]) -> None:
    invariant(advance)


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda invariant: invariant.__name__)
def test_an_advance_that_accepts_everything_is_noticed_by(invariant: Callable[[Advance], None]) -> None:
    with pytest.raises(AssertionError):
        invariant(accept_all)


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda lifecycle: lifecycle.name)
def test_every_state_is_reached_and_every_event_is_used(lifecycle: Lifecycle) -> None:
    reached = {lifecycle.start, *lifecycle.table.values()}
    assert reached == set(type(lifecycle.start))
    events = {type(event) for _, event in lifecycle.table}
    assert len(events) == 1
    assert {event for _, event in lifecycle.table} == set(events.pop())


@given(st.sampled_from(list(RecordState)), st.sampled_from(list(RecordEvent)))
@settings(max_examples=200)
def test_advance_follows_the_table_or_refuses_with_advice(state: RecordState, event: RecordEvent) -> None:
    if is_allowed(state, event):
        assert isinstance(advance(state, event), RecordState)
        return
    with pytest.raises(IllegalTransition) as refused:
        advance(state, event)
    assert json.dumps(refused.value.diagnostics())
    assert refused.value.next_step


def test_an_event_of_another_machine_is_refused() -> None:
    with pytest.raises(IllegalTransition):
        advance(RecordState.UNREGISTERED, CardEvent.HANDED_OVER)


def test_the_diagrams_in_the_readme_are_the_tables() -> None:
    text = (ROOT / "contract" / "README.md").read_text(encoding="utf-8")
    assert with_diagrams(text) == text
    for lifecycle in LIFECYCLES:
        assert diagram(lifecycle).strip() in text
