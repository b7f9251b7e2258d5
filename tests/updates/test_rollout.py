"""The plan of an update of many units: waves, soak, error stop, and who is told, spared, or left to come later."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hub.rollout import (
    NOT_BEGUN,
    OPEN_STATES,
    SETTLED,
    Course,
    Decision,
    Limits,
    Member,
    RolloutState,
    UnitStep,
    assign_waves,
    decide,
)

LIMITS = Limits(soak_ms=1000, good_share=0.9, stop_share=0.05, overdue_ms=5000)
BEGIN = Course(RolloutState.RUNNING, 0, 3, None, 0)


def member(name: str, wave: int = 0, step: UnitStep = UnitStep.WAITING, **fields: object) -> Member:
    return replace(Member(name, wave, step, 0, present=True, served=True), **fields)  # type: ignore[arg-type]


def test_the_first_wave_is_told_and_no_other() -> None:
    units = [member("a"), member("b", 1), member("c", 2)]
    assert decide(BEGIN, units, LIMITS, 0) == Decision(BEGIN, tell=("a",))


def test_the_next_wave_begins_after_enough_were_good_for_the_soak_time() -> None:
    units = [member("a", 0, UnitStep.GOOD), member("b", 1), member("c", 2)]
    reached = decide(BEGIN, units, LIMITS, 100).course
    assert (reached.wave, reached.reached_ms) == (0, 100)
    assert decide(reached, units, LIMITS, 1099).course.wave == 0
    later = decide(reached, units, LIMITS, 1100)
    assert (later.course.wave, later.tell, later.course.reached_ms) == (1, ("b",), None)
    back = [member("a", 0, UnitStep.WRITING), *units[1:]]
    assert decide(reached, back, LIMITS, 900).course.reached_ms is None  # and the soak begins anew


def test_nine_of_ten_are_enough_and_eight_are_not() -> None:
    good = [member(f"g{n}", 0, UnitStep.GOOD) for n in range(9)]
    slow = member("slow", 0, UnitStep.FETCHING)
    assert decide(BEGIN, [*good, slow], LIMITS, 0).course.reached_ms == 0
    assert decide(BEGIN, [*good[1:], slow, replace(slow, unit="s2")], LIMITS, 0).course.reached_ms is None


def test_a_unit_that_is_off_holds_nobody_back_and_gets_it_later() -> None:
    off = member("off", 0, UnitStep.TOLD, present=False)
    units = [member("a", 0, UnitStep.GOOD), off, member("b", 1)]
    course = replace(BEGIN, wave=1, reached_ms=0, waves=2)
    found = decide(course, units, LIMITS, 0)
    assert found.tell == ("b",) and not found.withdraw
    alone = decide(BEGIN, [off, member("b", 1)], LIMITS, 10**9)
    assert alone.course.wave == 0 and alone.course.reached_ms is None
    assert decide(course, [replace(units[0]), off], LIMITS, 10**9).course.state is RolloutState.RUNNING


def test_failures_stop_it_and_take_the_job_back_from_whoever_has_not_begun() -> None:
    units = [
        member("a", 0, UnitStep.FAILED), member("b", 0, UnitStep.TOLD), member("c", 0, UnitStep.FETCHING),
        member("d", 0, UnitStep.WRITING), member("e", 1),
    ]  # fmt: skip
    found = decide(BEGIN, units, LIMITS, 0)
    assert (found.course.state, found.withdraw, found.tell) == (RolloutState.STOPPED, ("b", "c"), ())
    assert "1 of 4" in found.why
    assert decide(found.course, units, LIMITS, 10**9).tell == ()


def test_one_failure_in_a_large_wave_is_below_the_limit() -> None:
    units = [member(f"u{n}", 0, UnitStep.GOOD) for n in range(19)] + [member("bad", 0, UnitStep.FAILED)]
    assert decide(BEGIN, units, LIMITS, 0).course.state is not RolloutState.STOPPED
    worse = [replace(units[0], step=UnitStep.FAILED), *units[1:]]
    assert decide(BEGIN, worse, LIMITS, 0).course.state is RolloutState.STOPPED


def test_a_unit_that_began_to_write_and_falls_silent_has_failed() -> None:
    units = [member("a", 0, UnitStep.WRITING, present=False), member("b", 1)]
    assert decide(BEGIN, units, LIMITS, 5000).course.state is RolloutState.RUNNING
    assert decide(BEGIN, units, LIMITS, 5001).course.state is RolloutState.STOPPED


def test_whoever_goes_on_after_a_stop_forgives_just_these_failures() -> None:
    units = [member("a", 0, UnitStep.FAILED), member("b", 1), member("c", 2)]
    course = replace(BEGIN, forgiven=1)
    course = decide(course, units, LIMITS, 0).course
    assert course.reached_ms == 0 and course.state is RolloutState.RUNNING  # nobody is left in the first wave
    course = decide(course, units, LIMITS, 1000).course
    assert course.wave == 1
    units[1] = member("b", 1, UnitStep.FAILED)
    assert decide(course, units, LIMITS, 2000).course.state is RolloutState.STOPPED


def test_a_suspended_unit_is_not_told_and_its_job_is_taken_back() -> None:
    units = [member("a", served=False), member("b", 0, UnitStep.TOLD, served=False), member("c")]
    found = decide(BEGIN, units, LIMITS, 0)
    assert (found.tell, found.withdraw) == (("c",), ("b",))


def test_it_is_done_when_everybody_has_settled() -> None:
    units = [member("a", 0, UnitStep.GOOD), member("b", 1, UnitStep.GONE), member("c", 2, UnitStep.GOOD)]
    assert decide(BEGIN, units, LIMITS, 0).course.state is RolloutState.DONE


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.sampled_from(("s1", "s2")), max_size=40))
def test_a_hundred_percent_is_everybody_once_and_the_first_wave_is_never_empty(units: dict[str, str]) -> None:
    waves = assign_waves(units, [1, 10, 50, 100], "r1")
    assert set(waves) == set(units)
    sizes = [sum(wave == number for wave in waves.values()) for number in range(4)]
    assert sizes[0] == (1 if units else 0)
    assert sum(sizes[:3]) == -(-len(units) // 2)
    assert waves == assign_waves(dict(reversed(units.items())), [1, 10, 50, 100], "r1")


def test_named_units_and_sites_come_in_the_order_that_was_said() -> None:
    units = {"a": "s1", "b": "s1", "c": "s2", "d": "s3"}
    assert assign_waves(units, [("b",), ("s1", "c")], "r") == {"b": 0, "a": 1, "c": 1}
    assert assign_waves(units, [("b",), 50], "r").keys() > {"b"} and len(assign_waves(units, [("b",), 50], "r")) == 2
    firsts = {min(assign_waves(units, [25], f"r{n}")) for n in range(40)}
    assert firsts == set(units)  # the lot falls on everybody in turn


class Fleet(RuleBasedStateMachine):
    """Units that fetch, write, fail, go off and come back, under a plan that is asked again and again."""

    def __init__(self) -> None:
        super().__init__()
        waves = assign_waves({f"u{n}": "s" for n in range(12)}, [10, 50, 100], "r")
        self.members = {name: member(name, wave) for name, wave in waves.items()}
        self.course, self.now, self.ever_told = BEGIN, 0, set[str]()

    def put(self, name: str, **fields: object) -> None:
        self.members[name] = replace(self.members[name], since_ms=self.now, **fields)  # type: ignore[arg-type]

    @rule(number=st.integers(0, 11), worse=st.integers(0, 9))
    def goes_on(self, number: int, worse: int) -> None:
        name = f"u{number}"
        after = {
            UnitStep.TOLD: UnitStep.FETCHING, UnitStep.FETCHING: UnitStep.WRITING,
            UnitStep.WRITING: UnitStep.FAILED if worse == 0 else UnitStep.GOOD,
        }.get(self.members[name].step)  # fmt: skip
        if after is not None and self.members[name].present:
            self.put(name, step=after)

    @rule(number=st.integers(0, 11), present=st.booleans(), served=st.booleans())
    def comes_and_goes(self, number: int, present: bool, served: bool) -> None:
        self.members[f"u{number}"] = replace(self.members[f"u{number}"], present=present, served=served)

    @rule(state=st.sampled_from((RolloutState.PAUSED, RolloutState.RUNNING, RolloutState.CANCELLED)))
    def is_steered(self, state: RolloutState) -> None:
        if self.course.state in OPEN_STATES:
            self.course = replace(self.course, state=state)

    @rule(passes_ms=st.integers(1, 3000))
    def is_planned(self, passes_ms: int) -> None:
        self.now += passes_ms
        before, told = self.course, {m.unit for m in self.members.values() if m.step is UnitStep.TOLD}
        found = decide(before, self.members.values(), LIMITS, self.now)
        assert found.course.wave in (before.wave, before.wave + 1)
        if found.course.wave > before.wave:
            assert before.reached_ms is not None and self.now - before.reached_ms >= LIMITS.soak_ms
        failed = sum(m.step is UnitStep.FAILED for m in self.members.values())
        if before.state is RolloutState.RUNNING and failed > LIMITS.stop_share * len(self.members):
            assert found.course.state is RolloutState.STOPPED and not found.tell
        for name in found.withdraw:
            assert self.members[name].step in NOT_BEGUN
            self.put(name, step=UnitStep.WAITING)
        for name in found.tell:
            assert found.course.state is RolloutState.RUNNING and name not in told
            assert self.members[name].served and self.members[name].wave <= found.course.wave
            self.put(name, step=UnitStep.TOLD)
            self.ever_told.add(name)
        self.course = found.course

    @invariant()
    def nobody_was_told_who_is_in_a_later_wave(self) -> None:
        assert all(self.members[name].wave <= self.course.wave for name in self.ever_told)

    @invariant()
    def what_is_done_is_done(self) -> None:
        if self.course.state is RolloutState.DONE:
            assert all(m.step in SETTLED for m in self.members.values())


TestFleet = Fleet.TestCase
