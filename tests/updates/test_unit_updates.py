"""A unit takes up a release, or does not and says why: jobs, floors, trials, power cuts at every write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from contract.dispatch import decode
from contract.update_problems import UpdateProblem, UpdateRefusal
from contract.updates import Artefact, TargetCustom, UpdateJob, UpdateState
from edge.__main__ import _software_rows
from edge.config import load_config
from edge.controller_release import ControllerRelease
from edge.launcher import BootFile
from edge.sensors.selftest import Outcome
from edge.slots import Release
from edge.trial import prove
from edge.unit_selftest import software_row
from edge.update_client import Fetched
from edge.update_record import RECORD, Record, Updates
from edge.update_trial import ReleaseOnTrial
from tests.commissioning.stage import until
from tests.commissioning.test_configuration import HUB_AWAY, OLD, Time
from tests.commissioning.test_power_cuts import Cutter, PowerCut
from tests.updates.repository import Repository, job_for
from tests.updates.unit_rig import Life, MarkingInstaller, Unit

WHEELS = {"rekam-0.2.0-py3-none-any.whl": b"agent" * 100}
RECEIVED, DOWNLOADING, READY, INSTALLING, TRIAL, GOOD, RETURNED, REFUSED, CANCELLED = UpdateState


@pytest.fixture
def repository() -> Repository:
    found = Repository()
    found.add_release(2, "0.2.0", WHEELS)
    return found


@pytest.fixture
def unit(tmp_path: Path, repository: Repository) -> Unit:
    return Unit(tmp_path, repository)


class TrialAgent:
    """An agent that complains as it is told, the last for ever, with a controller as a test has it."""

    def __init__(self, *answers: Mapping[str, str], controller: ControllerRelease | None = None) -> None:
        self.answers = list(answers) or [{}]
        self.stopped = asyncio.Event()
        self.controller = controller or ControllerRelease(None, Path())
        self.reports = 0

    async def run(self) -> None:
        await self.stopped.wait()

    def stop(self) -> None:
        self.stopped.set()

    async def complaints(self) -> Mapping[str, str]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def report_update(self) -> None:
        self.reports += 1


async def begun(unit: Unit, number: int = 2, version: str = "0.2.0", **more: object) -> Life:
    """A unit whose next start is the trial of a release."""
    updates = unit.updates()
    assert not updates.settle()
    life = Life(unit, updates)
    await life.until_settled(job_for(number, version, **more))
    assert life.restarted.is_set(), life.line.said[-1]
    return life


async def proved(unit: Unit, *answers: Mapping[str, str], controller: ControllerRelease | None = None) -> Updates:
    """The trial's start, with an agent that complains like this."""
    updates, time = unit.updates(), Time()
    assert updates.settle() and updates.slots is not None
    agent = TrialAgent(*answers, controller=controller)
    tried = ReleaseOnTrial(agent, updates, updates.slots, time.pause)
    proving = asyncio.create_task(prove(agent, tried, time, time.pause))
    await until(lambda: proving.done() or agent.reports > 0)
    agent.stop()
    await proving
    assert agent.reports == 1
    return updates


async def test_a_good_release_is_taken_up_and_the_floor_rises_with_it(unit: Unit) -> None:
    life = await begun(unit)
    assert life.line.states == [RECEIVED, DOWNLOADING, READY, INSTALLING, TRIAL]
    assert life.updates.floor == 1 and unit.running == Release(2, "0.2.0")
    updates = await proved(unit, HUB_AWAY, {})
    report = updates.report()
    assert (report.state, report.job, report.running.slot, report.running.floor) == (GOOD, "j-2", "b", 2)
    assert unit.updates().settle() is False and unit.running == Release(2, "0.2.0")


async def test_the_same_job_again_is_nothing_to_do(unit: Unit) -> None:
    await begun(unit)
    await proved(unit)
    life = Life(unit, unit.updates())
    await life.until(lambda: len(life.line.said) == 1, job_for(2, "0.2.0"))
    assert life.line.states == [GOOD] and not life.restarted.is_set()


async def test_a_release_that_already_runs_is_good_at_once(unit: Unit) -> None:
    await begun(unit)
    await proved(unit)
    life = Life(unit, unit.updates())
    await life.until_settled(job_for(2, "0.2.0", job="another", issued_ms=9))
    assert life.line.states[-1] is GOOD and not life.restarted.is_set()


async def test_an_unhealthy_release_is_left_with_its_reason_and_not_tried_again_by_itself(unit: Unit) -> None:
    await begun(unit)
    updates = await proved(unit, {"finger": "No answer on /dev/finger."})
    report = updates.report()
    assert (report.state, report.problem) == (RETURNED, UpdateProblem.UNHEALTHY)
    assert "No answer on /dev/finger" in report.detail and "After 300 s" in report.detail
    assert unit.running == Release(1, "0.1.0")
    life = Life(unit, unit.updates())
    assert not life.updates.settle()
    await life.until(lambda: bool(life.line.said), job_for(2, "0.2.0"))
    assert life.line.states == [RETURNED] and life.line.said[-1].running.slot == "a"
    again = Life(unit, unit.updates())
    await again.until_settled(job_for(2, "0.2.0", job="j-again", issued_ms=99))  # a new job is a new try
    assert again.restarted.is_set()


async def test_a_release_that_ends_each_time_is_left_by_the_launcher_and_the_reason_told(unit: Unit) -> None:
    await begun(unit)
    for _ in range(3):
        assert unit.updates().settle()  # it starts, and then it is gone
    updates = unit.updates()
    assert not updates.settle()
    report = updates.report()
    assert (report.state, report.problem, report.running.slot) == (RETURNED, UpdateProblem.NEVER_READY, "a")
    assert "3 times" in report.detail


async def test_what_failed_before_is_no_fault_of_the_release(unit: Unit) -> None:
    updates = unit.updates()
    life = Life(unit, updates, complaints={"iris": "unplugged for weeks"})
    await life.until_settled(job_for(2, "0.2.0"))
    assert (await proved(unit, {"iris": "unplugged for weeks"})).report().state is GOOD


async def test_a_job_that_is_begun_before_it_was_answered_is_worked_to_its_end(unit: Unit) -> None:
    life, loop = Life(unit, unit.updates()), asyncio.get_running_loop()
    ending, answered = threading.Event(), threading.Event()
    take, end = life.updates.take, life.updates.end
    running: list[asyncio.Task[None]] = []

    def take_slowly(job: UpdateJob) -> bool:
        taken = take(job)
        loop.call_soon_threadsafe(lambda: running.append(asyncio.create_task(life.intake.run())))
        return ending.wait(10) and taken

    def end_late(job: UpdateJob, refusal: UpdateRefusal) -> bool:
        ending.set()
        return answered.wait(10) and end(job, refusal)

    life.updates.take, life.updates.end = take_slowly, end_late  # type: ignore[method-assign]
    await life.line.connect()
    await life.line.give(job_for(2, "0.2.0", unit="desk-z9"))
    answered.set()
    await until(lambda: life.line.said[-1].state is REFUSED)
    life.intake.stop()
    running[0].cancel()


@pytest.mark.parametrize(
    ("job", "problem", "named"),
    [
        (job_for(2, "0.2.0", unit="desk-z9"), UpdateProblem.FOR_OTHER_UNIT, "desk-z9"),
        (job_for(9, "0.9.0"), UpdateProblem.RELEASE_UNKNOWN, "rekam-edge-0.9.0.json"),
        (job_for(5, "0.2.0"), UpdateProblem.RELEASE_UNKNOWN, "signed as edge 2"),
        (job_for(4, "4", artefact=Artefact.FIRMWARE, target="c.bin"), UpdateProblem.CONTROLLER_MISSING, ""),
    ],
)
async def test_what_is_wrong_with_a_job_is_told(unit: Unit, job: object, problem: UpdateProblem, named: str) -> None:
    life = Life(unit, unit.updates())
    await life.until_settled(job)  # type: ignore[arg-type]
    report = life.line.said[-1]
    assert (report.state, report.problem) == (REFUSED, problem) and named in report.detail
    assert unit.running == Release(1, "0.1.0")


async def test_software_moves_forward_only(unit: Unit, repository: Repository) -> None:
    await begun(unit)
    await proved(unit)
    repository.add_release(1, "0.1.0", WHEELS)
    life = Life(unit, unit.updates())
    await life.until_settled(job_for(1, "0.1.0", issued_ms=50))
    report = life.line.said[-1]
    assert (report.state, report.problem) == (REFUSED, UpdateProblem.RELEASE_OLD) and "2 runs" in report.detail


async def test_the_floor_of_a_release_that_was_left_stays(unit: Unit, repository: Repository) -> None:
    """The slot of before may run; nothing below what the signer has called the lowest is installed any more."""
    repository.add_release(4, "0.4.0", WHEELS, floor=4)
    repository.add_release(3, "0.3.0", WHEELS)
    await begun(unit, 4, "0.4.0")
    updates = await proved(unit, {"finger": "silent"})
    assert unit.running == Release(1, "0.1.0") and updates.floor == 4
    life = Life(unit, unit.updates())
    await life.until_settled(job_for(3, "0.3.0", issued_ms=50))
    assert life.line.said[-1].problem is UpdateProblem.RELEASE_OLD
    assert life.line.said[-1].running.floor == 4


async def test_a_unit_without_slots_says_what_it_needs(tmp_path: Path, repository: Repository) -> None:
    unit = Unit(tmp_path, repository, slots=False)
    life = Life(unit, unit.updates())
    await life.until_settled(job_for(2, "0.2.0"))
    report = life.line.said[-1]
    assert (report.state, report.problem, report.running.slot) == (REFUSED, UpdateProblem.NO_SLOTS, "")


async def test_a_unit_without_a_root_trusts_nobody(unit: Unit) -> None:
    (unit.keys / "update-root.json").unlink()
    life = Life(unit, unit.updates())
    await life.until_settled(job_for(2, "0.2.0"))
    assert life.line.said[-1].problem is UpdateProblem.NO_ROOT


async def test_nothing_is_installed_while_a_person_is_served(unit: Unit) -> None:
    served = True
    life = Life(unit, unit.updates(), is_free=lambda: not served)
    await life.until(lambda: len(life.pauses) > 3, job_for(2, "0.2.0"))
    assert life.line.states[-1] is READY and BootFile(unit.folder / "slots").read().trial == ""
    served = False
    after = Life(unit, unit.updates(), is_free=lambda: not served)
    await after.until_settled(job_for(2, "0.2.0"))
    assert after.restarted.is_set()


async def test_a_job_is_taken_back_until_it_writes(unit: Unit) -> None:
    life = Life(unit, unit.updates(), is_free=lambda: False)
    running = asyncio.create_task(life.intake.run())
    await life.line.give(job_for(2, "0.2.0"))
    await until(lambda: READY in life.line.states)
    await life.line.give(None)
    life.intake.stop()
    running.cancel()
    assert life.line.states[-1] is CANCELLED
    again = Life(unit, unit.updates())
    await again.until(lambda: bool(again.line.said), None)
    assert not again.restarted.is_set()


async def test_a_job_is_taken_back_also_while_the_line_is_silent(unit: Unit) -> None:
    life = Life(unit, unit.updates())
    life.line.silent = True
    running = asyncio.create_task(life.intake.run())
    await life.line.give(job_for(2, "0.2.0"))
    await until(lambda: DOWNLOADING in life.line.states)
    await life.line.give(None)
    life.line.silent = False
    await life.line.give(job_for(2, "0.2.0", job="j-new", issued_ms=9))
    await asyncio.wait_for(life.restarted.wait(), 10)
    life.intake.stop()
    running.cancel()
    assert life.line.states[-4:] == [DOWNLOADING, READY, INSTALLING, TRIAL] and CANCELLED in life.line.states


async def test_an_older_job_than_the_last_is_not_heard(unit: Unit) -> None:
    life = Life(unit, unit.updates())
    await life.until_settled(job_for(9, "0.9.0", issued_ms=100))
    await life.line.give(job_for(2, "0.2.0", issued_ms=99))
    assert life.updates.record.job is not None and life.updates.record.job.number == 9


async def test_a_release_that_expires_while_it_is_installed_is_not_begun(unit: Unit, repository: Repository) -> None:
    class Slow(MarkingInstaller):
        def install(self, fetched: Fetched) -> None:
            super().install(fetched)
            repository.targets.clear()
            repository.publish()

    life = Life(unit, unit.updates(), installer=Slow)
    await life.until_settled(job_for(2, "0.2.0"))
    assert life.line.said[-1].problem is UpdateProblem.RELEASE_UNKNOWN and unit.running == Release(1, "0.1.0")


async def test_a_schema_of_settings_is_a_release_too(unit: Unit, repository: Repository) -> None:
    name, content = (
        "rekam-settings-1.json",
        b'{"properties": {"policy": {"properties": {"verify_fmr": {"maximum": 0.001}}}}}',
    )
    repository.add(name, content, TargetCustom(artefact=Artefact.CONFIGURATION_SCHEMA, number=1, version="1"))
    repository.add("bad.json", b'{"$ref": "http://x/y"}', TargetCustom(
        artefact=Artefact.CONFIGURATION_SCHEMA, number=2, version="2"
    ))  # fmt: skip
    repository.publish()
    more = {"artefact": Artefact.CONFIGURATION_SCHEMA, "target": name}
    life = Life(unit, unit.updates(), is_free=lambda: False)  # it disturbs nobody
    await life.until_settled(job_for(1, "1", **more))
    assert life.line.states[-1] is GOOD and life.line.said[-1].running.schema_number == 1
    assert (unit.keys / "settings-schema.json").read_bytes() == content
    after = Life(unit, unit.updates())
    await after.until_settled(job_for(2, "2", artefact=Artefact.CONFIGURATION_SCHEMA, target="bad.json", issued_ms=9))
    assert after.line.said[-1].problem is UpdateProblem.RELEASE_INVALID
    assert (unit.keys / "settings-schema.json").read_bytes() == content


def one_life(unit: Unit, cutter: Cutter, *, well: bool) -> bool:
    """One start of the unit, to its restart or to the job's end; whether it is settled. Raises PowerCut."""
    updates = unit.updates(cutter)
    if updates.settle():
        assert updates.slots is not None
        tried = ReleaseOnTrial(TrialAgent(), updates, updates.slots)
        asyncio.run(_settled(tried, well=well))
        return False
    if updates.slots is not None and updates.slots.boot.slot != updates.slots.own:
        return False
    asyncio.run(_worked(unit, updates, cutter))
    state = updates.record.state
    return state is not None and state.is_end


async def _settled(tried: ReleaseOnTrial, *, well: bool) -> None:
    await (tried.take_up() if well else tried.give_up("finger: silent"))


async def _worked(unit: Unit, updates: Updates, cutter: Cutter) -> None:
    life = Life(unit, updates, installer=lambda slots, config: MarkingInstaller(slots, config, cutter))
    is_cut = cutter.passed < cutter.at

    def over() -> bool:
        return life._is_settled() or (is_cut and cutter.passed >= cutter.at)

    await life.until(over, job_for(2, "0.2.0"))
    if is_cut and cutter.passed >= cutter.at:
        raise PowerCut


@pytest.mark.parametrize("well", [True, False])
def test_a_power_cut_at_every_write_ends_where_none_would_have(
    tmp_path: Path, repository: Repository, well: bool
) -> None:
    for at in range(1, 200):
        unit, cutter = Unit(tmp_path / str(at), repository), Cutter(at)
        settled = cut = False
        for _ in range(9):
            try:
                settled = one_life(unit, cutter, well=well)
            except PowerCut:
                cut = True
            assert unit.running.number in (1, 2)  # one of the two can be started at every moment
            if settled:
                break
        record = unit.updates().record
        where = cutter.places[at - 1] if cut else "no cut"
        assert settled and record.state is (GOOD if well else RETURNED), (where, record)
        assert unit.running == (Release(2, "0.2.0") if well else Release(1, "0.1.0")), where
        assert record.floor == (2 if well else 0), where
        if not cut:
            break
    assert len(cutter.places) >= 20 and {"after record.bin", "after boot.json", "after release.json"} <= set(
        cutter.places
    )


def test_a_spoiled_record_keeps_the_floor_of_what_runs(unit: Unit) -> None:
    folder = unit.folder / "update"
    folder.mkdir()
    (folder / RECORD).write_bytes(b"\x00" * 40)
    assert unit.updates().floor == 1 and decode(Record, b"\xa0") == Record()


async def test_page_and_command_show_what_runs_and_what_became_of_the_update(unit: Unit) -> None:
    assert _software_rows(dict(unit.updates().status())) == {
        "Software": "0.1.0", "Slot": "a", "Nothing older than number": 1
    }  # fmt: skip
    await begun(unit)
    trial = unit.updates()
    assert trial.settle() and _software_rows(dict(trial.status()))["Software"] == "0.2.0 (on trial)"
    updates = await proved(unit, {"finger": "It is silent."})
    updates = unit.updates()
    found = dict(updates.status())
    assert (found["state_id"], found["slot"], found["to"]) == ("Dikembalikan", "a", "0.2.0")
    assert "kembali ke yang sebelumnya" in found["problem_id"] and "It is silent." in found["problem_en"]
    assert "It is silent." in _software_rows(found)["Update's problem"]
    config = load_config(_settings(unit))
    row = software_row(config, unit.clock)
    assert (row.kind, row.outcome, row.found) == ("software", Outcome.OK, "edge 0.2.0: returned")


def _settings(unit: Unit) -> Path:
    path = unit.folder / "unit.toml"
    path.write_text(OLD.replace('role = "desk"', 'role = "desk"\ndata_dir = "."'), encoding="utf-8")
    return path


async def test_a_trial_that_the_debian_package_began_is_no_end_of_an_earlier_job(unit: Unit) -> None:
    life = Life(unit, unit.updates())
    await life.until_settled(job_for(9, "0.9.0"))
    assert life.updates.record.state is REFUSED
    for complaints, number in (({"finger": "It is silent."}, 1), (HUB_AWAY | {}, 1), ({}, 2)):
        slots = unit.launch()
        assert slots is not None
        custom = TargetCustom(artefact=Artefact.EDGE, number=2, version="0.2.0")
        MarkingInstaller(slots, Path()).install(Fetched(custom, Path()))
        slots.begin("")
        updates = await proved(unit, complaints)
        assert updates.record.state is REFUSED and unit.running.number == number
    assert updates.record.floor == 2


async def test_what_a_job_still_says_changes_nothing_once_another_came_or_it_was_taken_back(unit: Unit) -> None:
    updates, first, second = unit.updates(), job_for(2, "0.2.0"), job_for(3, "0.3.0", issued_ms=9)
    assert updates.take(first) and updates.note(first, DOWNLOADING)
    assert updates.take(second) and not updates.note(first, READY)
    assert (updates.record.job, updates.record.state) == (second, RECEIVED)
    assert updates.note(second, CANCELLED) and not updates.note(second, READY)
    assert updates.record.state is CANCELLED
