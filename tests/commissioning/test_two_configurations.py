"""A second configuration comes while the first is tested: what is taken up was tested, and the unit gets to work."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.commissioning_problems import Problem
from contract.configuration import Desired, SelftestRow
from contract.dispatch import decode
from contract.technician import ConfigureOrder, Verb
from edge.box import Box
from edge.box_files import Phase
from edge.config import load_config
from edge.configuration import Configurations
from tests.commissioning.desk_world import DeskWorld, hear, make_box

NAME = "desk-b1"
ROWS = [SelftestRow(kind="finger", driver="zfm", passed=True)]


@pytest.fixture
def world(tmp_path: Path) -> DeskWorld:
    return DeskWorld(tmp_path)


def confirmed_box(world: DeskWorld, folder: Path) -> Box:
    box = make_box(world, folder)
    box.take_claim(world.claim())
    for step in range(6):
        if (saying := box.say()) is not None:
            for said in world.deliver(saying.topic, saying.payload):
                hear(box, said)
        if step == 0:
            assert world.approve(box, NAME).done
    assert box.phase is Phase.CONFIRMED
    return box


def report(world: DeskWorld, box: Box) -> None:
    for saying in box.reports():
        world.deliver(saying.topic, saying.payload)


def configure(world: DeskWorld, **policy: float) -> None:
    assert world.order(Verb.CONFIGURE, ConfigureOrder(unit=NAME, tables={"policy": policy})).done


def test_a_mistake_sent_during_the_test_is_not_what_the_unit_starts_on(world: DeskWorld, tmp_path: Path) -> None:
    box = confirmed_box(world, tmp_path / "box")
    assert box.hear_desired(world.desired(NAME)) is not None
    configure(world, attempts_maximum=3)
    assert box.hear_desired(world.desired(NAME)) is None
    assert box.problem is not None and box.problem.problem is Problem.CONFIGURATION_INVALID
    assert box.note_selftest(ROWS)
    box.files.finish()
    assert load_config(tmp_path / "box/unit.toml").unit.id == NAME


def test_a_unit_that_gets_another_configuration_on_its_first_day_enters_service(
    world: DeskWorld, tmp_path: Path
) -> None:
    box = confirmed_box(world, tmp_path / "box")
    assert box.hear_desired(world.desired(NAME)) is not None
    configure(world, attempts_max=3)  # the box has lost its line and does not hear of it
    assert box.note_selftest(ROWS)
    box.files.finish()
    report(world, box)
    assert world.state(NAME) == "keyed"
    agent = Configurations(tmp_path / "box/unit.toml", world.clock)
    second = box._opened(world.desired(NAME), NAME, box.files.kept("hub-dispatch.pub"))
    trial = agent.consider(decode(Desired, second))
    assert trial is not None
    agent.adopt(trial)
    report(world, box)
    assert world.state(NAME) == "in service"
