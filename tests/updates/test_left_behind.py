"""A rollout that waits for units off the line alone: shown, closed by a technician, and what those units get then."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.rollouts import RolloutAction
from contract.update_problems import UpdateProblem
from contract.updates import UpdateState as Said
from hub.update_desk import LATE_INTERVAL_MS
from provisioning.update_tables import waiting
from tests.hub_world import DATABASES
from tests.updates.hub_stage import UpdateStage, running
from tests.updates.test_waves import RELEASE, everybody

NEXT = "0.8.0"
LATE_S = LATE_INTERVAL_MS / 1000 + 1
ON, OFF = ["u-01", "u-02", "u-03", "u-04"], ["u-05", "u-06"]


@pytest.fixture(params=DATABASES)
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> UpdateStage:
    """Four of six units run the release; the others have been off the line since before it was ordered."""
    found = UpdateStage(tmp_path, request.param, units=6)
    found.office.add_edge(RELEASE)
    found.begin()
    for name in OFF:
        found.is_present(name, "offline")
    found.clock.now_ms += 3_600_000
    assert found.update(RELEASE).done
    everybody(found, ON)
    found.passes(1)
    return found


def closed(stage: UpdateStage) -> str:
    assert stage.steer(RolloutAction.CLOSE, reason="they are in the hills until March").done
    return stage.rollout().id


def step(stage: UpdateStage, rollout: str, unit: str) -> str:
    return next(row.step for row in stage.shown(rollout).units if row.unit == unit)


def test_it_says_how_many_it_waits_for_and_since_when(stage: UpdateStage) -> None:
    row = stage.rollout()
    assert (row.state, row.absent) == ("running", 2)
    assert stage.clock.wall_ms() - row.absent_since_ms >= 3_600_000
    assert "2 units off-line, the first since" in waiting(row) and "--close" in waiting(row)
    stage.is_present("u-05")
    assert stage.rollout().absent == 1


def test_closed_it_frees_all_and_whoever_comes_back_gets_the_release(stage: UpdateStage) -> None:
    name = closed(stage)
    row = stage.rollout()
    assert (row.state, row.absent) == ("closed", 2) and "Left behind: 2 units" in waiting(row)
    assert stage.steps() == dict.fromkeys(ON, "good") | dict.fromkeys(OFF, "left")
    assert stage.told() == []
    stage.passes(LATE_S)
    assert stage.told() == []  # they are off
    stage.is_present("u-05")
    stage.says("u-05", None)
    stage.passes(LATE_S)
    assert stage.told() == ["u-05"] and step(stage, name, "u-05") == "told"
    everybody(stage, ["u-05"])
    assert step(stage, name, "u-05") == "good" and stage.rollout().state == "closed"
    stage.is_present("u-06")
    stage.says("u-06", Said.GOOD, running(1), job="another")  # a package brought it meanwhile
    stage.passes(LATE_S)
    stage.passes(LATE_S)
    assert stage.told() == [] and stage.rollout().state == "done"


def test_a_unit_left_behind_that_is_in_a_newer_update_gets_that_alone(stage: UpdateStage) -> None:
    old = closed(stage)
    stage.office.add_edge(NEXT)
    stage.take(stage.office.publish("next"))
    stage.is_present("u-05")
    assert stage.update(NEXT, units=["u-05", "u-01"]).done
    assert step(stage, old, "u-05") == "spared"
    job = stage.job("u-05")
    assert job is not None and job.version == NEXT
    stage.is_present("u-06")
    stage.passes(LATE_S)
    (other,) = [job for job in (stage.job("u-06"),) if job is not None]
    assert other.version == RELEASE and step(stage, old, "u-06") == "told"
    assert stage.update(NEXT, units=["u-06"]).done  # told, but not begun: the newer one takes its place
    job = stage.job("u-06")
    assert job is not None and job.version == NEXT and step(stage, old, "u-06") == "spared"


def test_late_units_are_under_the_error_stop_too(stage: UpdateStage) -> None:
    name = closed(stage)
    for unit in OFF:
        stage.is_present(unit)
    stage.passes(LATE_S)
    assert stage.told() == OFF
    stage.says("u-05", Said.INSTALLING)
    stage.says("u-05", Said.RETURNED, problem=UpdateProblem.UNHEALTHY, detail="finger: No answer.")
    stage.passes(LATE_S)
    assert (stage.rollout().state, stage.told()) == ("stopped", [])
    assert step(stage, name, "u-06") == "left"
    stage.passes(LATE_S)
    assert stage.told() == []
    assert stage.steer(RolloutAction.RESUME).done
    assert stage.rollout().state == "closed" and stage.told() == ["u-06"]
    everybody(stage, ["u-06"])
    stage.passes(LATE_S)
    assert stage.rollout().state == "done"


def test_it_is_not_closed_while_somebody_on_the_line_is_at_it(stage: UpdateStage) -> None:
    stage.is_present("u-05")
    refused = stage.steer(RolloutAction.CLOSE)
    assert not refused.done and "1 units are at it: u-05" in refused.message
    stage.says("u-05", Said.INSTALLING)
    stage.is_present("u-05", "offline")
    assert not stage.steer(RolloutAction.CLOSE).done  # it may be on trial this very moment
    stage.says("u-05", Said.GOOD, running(1))
    name = closed(stage)
    assert step(stage, name, "u-06") == "left"
    for action in (RolloutAction.PAUSE, RolloutAction.RESUME, RolloutAction.CLOSE):
        assert not stage.steer(action).done
    assert stage.steer(RolloutAction.CANCEL).done
    stage.is_present("u-06")
    stage.passes(LATE_S)
    assert stage.told() == [] and step(stage, name, "u-06") == "spared"


def test_a_wave_that_has_not_begun_is_not_closed_over(tmp_path: Path) -> None:
    stage = UpdateStage(tmp_path)
    stage.office.add_edge(RELEASE)
    stage.begin()
    assert stage.update(RELEASE, 25, 100).done
    refused = stage.steer(RolloutAction.CLOSE)
    assert not refused.done and "last wave has not begun" in refused.message


def test_a_release_that_nobody_signs_any_more_is_given_to_nobody_who_comes_late(stage: UpdateStage) -> None:
    closed(stage)
    stage.office.run("drop", f"rekam-edge-{RELEASE}.json", keys=("targets-1",))
    stage.take(stage.office.publish("without"))
    stage.is_present("u-05")
    stage.passes(LATE_S)
    assert stage.told() == []
