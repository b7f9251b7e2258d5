"""The station's step table: no card is released that was not encoded, printed and read back in order (M34, M35)."""

import itertools

import pytest

from contract.errors import RemoteError
from contract.lifecycle import CardState
from edge.personalisation_steps import (
    SHOWN,
    STEP_CLOCKS_MAX,
    TABLE,
    TEXTS,
    Event,
    Step,
    Work,
    advance_work,
    next_attempt,
    progress_of,
    report_of,
)

JOB = "01890000-0000-7000-8000-0000000000aa"
GOOD = (
    Event.STARTED, Event.BLANK_BOUND, Event.ENCODED, Event.PRINT_BEGUN, Event.FACES_DONE, Event.CHECKED, Event.RELEASED,
)  # fmt: skip


def walk(events, work=None):
    work = work or Work(job_id=JOB)
    for number, event in enumerate(events, 1):
        work = advance_work(work, event, 1000 * number)
    return work


def test_the_good_way_ends_verified_and_reported():
    work = walk(GOOD)
    assert (work.step, work.card) == (Step.REPORT, CardState.VERIFIED)
    walked = ["waiting", "blank", "encode", "preview", "printing", "read_back", "release"]
    assert [clock.step for clock in work.steps] == walked
    assert all(clock.ended_ms >= clock.started_ms for clock in work.steps)


def test_every_way_to_a_release_passes_encoding_printing_and_reading_back():
    """Walk every path of the table up to a length: RELEASED never comes without the three before it."""
    reached = 0
    frontier = [(Work(job_id=JOB), ())]
    for _ in range(11):
        following = []
        for work, past in frontier:
            for event in Event:
                if (work.step, event) not in TABLE or (event is Event.SPOILED and len(past) > 4):
                    continue
                moved = advance_work(work, event, 1)
                if event is Event.RELEASED:
                    reached += 1
                    order = [past.index(needed) for needed in (Event.ENCODED, Event.FACES_DONE, Event.CHECKED)]
                    assert order == sorted(order)
                    assert moved.card is CardState.VERIFIED
                elif event is not Event.REPORTED:
                    following.append((moved, (*past, event)))
        frontier = following
    assert reached > 3


def test_no_event_is_taken_at_a_step_that_the_table_does_not_name():
    for step, event in itertools.product(Step, Event):
        work = Work(job_id=JOB, step=step)
        if (step, event) not in TABLE:
            with pytest.raises(RemoteError, match="cannot happen"):
                advance_work(work, event, 1)


def test_a_forged_step_does_not_release_a_card_that_was_never_encoded():
    with pytest.raises(RemoteError):
        advance_work(Work(job_id=JOB, step=Step.READ_BACK), Event.CHECKED, 1)


def test_a_failed_back_is_printed_again_as_a_back():
    work = walk((Event.STARTED, Event.BLANK_BOUND, Event.ENCODED))
    work = advance_work(work, Event.PRINT_BEGUN, 1, side="front")
    work = advance_work(work, Event.FRONT_DONE, 1)
    assert work.step is Step.TURN
    work = advance_work(work, Event.PRINT_BEGUN, 1, side="back")
    assert advance_work(advance_work(work, Event.PRINT_FAILED, 1), Event.PRINT_AGAIN, 1).step is Step.TURN
    assert advance_work(work, Event.NOT_SENT, 1).step is Step.TURN
    assert advance_work(work, Event.FACES_DONE, 1).card is CardState.PRINTED


def test_a_spoiled_blank_leads_to_another_blank_for_the_same_job():
    spoiled = advance_work(walk(GOOD[:3]), Event.SPOILED, 9, outcome="spoiled", reason="scratched", card_uid="04AABBCC")
    assert spoiled.card is CardState.SPOILED
    body = report_of(spoiled.model_copy(update={"operator": "op-1"}), JOB)
    assert (body.outcome, body.reason, body.released_by) == ("spoiled", "scratched", None)
    again = next_attempt(spoiled, 10)
    assert (again.step, again.card, again.attempt, again.card_uid) == (Step.WAITING, CardState.BLANK, 2, "")


def test_clocks_are_bounded():
    work = walk(GOOD[:3])
    for _ in range(60):
        work = advance_work(advance_work(work, Event.PRINT_BEGUN, 1), Event.NOT_SENT, 2)
    assert len(work.steps) == STEP_CLOCKS_MAX


def test_every_step_says_in_both_languages_what_to_do():
    assert set(TEXTS) == set(Step)
    for text in TEXTS.values():
        assert text.prompt_id
        assert text.prompt_en
        assert text.actions
    assert "Card Encoding Successfully. Would you like to process print the card" in TEXTS[Step.PREVIEW].prompt_en
    for step in Step:
        assert [shown for shown, _ in progress_of(step)] == list(SHOWN)
