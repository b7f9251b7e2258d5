"""Firmware out of a release: over the agent's own link to a board that runs the true firmware, or refused clearly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract.update_problems import UpdateProblem, UpdateRefusal
from contract.updates import Artefact, TargetCustom, UpdateState
from edge.controller_release import ControllerRelease
from edge.panel_words import PanelState
from tests.device.controller_bench import KEY, board, built, panel_on
from tests.device.controller_bench import until as patiently
from tests.updates.repository import Repository, job_for
from tests.updates.test_unit_updates import begun, proved
from tests.updates.unit_rig import Life, Unit
from virtual.controller_twin import ControllerTwin

pytestmark = pytest.mark.xdist_group("controller")
NEWER = built().version + 1
WHEELS = {"rekam-0.2.0-py3-none-any.whl": b"agent" * 100}


@pytest.fixture
def repository() -> Repository:
    found = Repository()
    custom = TargetCustom(artefact=Artefact.FIRMWARE, number=NEWER, version=str(NEWER))
    found.add("controller.bin", built(NEWER).content, custom)
    found.publish()
    return found


@pytest.fixture
def unit(tmp_path: Path, repository: Repository) -> Unit:
    found = Unit(tmp_path, repository)
    (found.keys / "controller.key").write_bytes(KEY)
    return found


@asynccontextmanager
async def connected(unit: Unit) -> AsyncIterator[tuple[ControllerTwin, ControllerRelease]]:
    """A board, and the unit's link to it."""
    with board(unit.folder) as twin, panel_on(twin.port) as panel:
        yield twin, ControllerRelease(panel, unit.keys)


FIRMWARE_JOB = job_for(NEWER, "next", artefact=Artefact.FIRMWARE, target="controller.bin")


async def test_a_firmware_release_goes_to_the_board_and_is_known(unit: Unit) -> None:
    async with connected(unit) as (_twin, controller):
        without = Unit(unit.folder, unit.repository, slots=False)  # a developer's checkout, the demo
        life = Life(without, without.updates(), controller=controller)
        await life.until_settled(FIRMWARE_JOB)
        report = life.line.said[-1]
        assert (report.state, report.running.firmware_number) == (UpdateState.GOOD, NEWER), report
        assert (await controller.identity()).version == NEWER and not controller.complaint()
        again = Life(without, without.updates(), controller=controller)
        await again.until_settled(job_for(NEWER - 1, "old", artefact=Artefact.FIRMWARE, target="x", issued_ms=2**40))
        assert again.line.said[-1].problem is UpdateProblem.RELEASE_OLD


async def test_a_board_without_its_key_here_or_with_another_is_left_as_it_is(unit: Unit) -> None:
    async with connected(unit) as (_twin, controller):
        for key, problem in (
            (b"", UpdateProblem.CONTROLLER_KEY_MISSING), (bytes(32), UpdateProblem.CONTROLLER_FAILED)
        ):  # fmt: skip
            (unit.keys / "controller.key").write_bytes(key)
            life = Life(unit, unit.updates(), controller=controller)
            await life.until_settled(FIRMWARE_JOB.model_copy(update={"job": problem.value}))
            report = life.line.said[-1]
            assert (report.state, report.problem) == (UpdateState.REFUSED, problem)
        assert (await controller.identity()).version == NEWER - 1


async def test_the_firmware_of_a_release_follows_once_the_unit_is_well_on_it(unit: Unit) -> None:
    unit.repository.add_release(2, "0.2.0", WHEELS, firmware=("controller.bin", NEWER, built(NEWER).content))
    async with connected(unit) as (_twin, controller):
        life = Life(unit, unit.updates(), controller=controller)
        await life.until_settled(job_for(2, "0.2.0"))
        assert life.restarted.is_set() and (await controller.identity()).version == NEWER - 1
        updates = await proved(unit, {"hub": "It was not reached."}, {}, controller=controller)
        assert updates.report().state is UpdateState.GOOD
        assert (await controller.identity()).version == NEWER


async def test_a_release_whose_firmware_the_board_does_not_take_is_left(unit: Unit) -> None:
    unit.repository.add_release(2, "0.2.0", WHEELS, firmware=("controller.bin", NEWER, b"no image at all"))
    async with connected(unit) as (_twin, controller):
        life = Life(unit, unit.updates(), controller=controller)
        await life.until_settled(job_for(2, "0.2.0"))
        updates = await proved(unit, {}, controller=controller)
        report = updates.report()
        assert (report.state, report.problem) == (UpdateState.RETURNED, UpdateProblem.UNHEALTHY)
        assert "no firmware image" in report.detail and (await controller.identity()).version == NEWER - 1


async def test_an_image_that_rotted_on_the_units_disk_is_not_vouched_for(unit: Unit) -> None:
    """The board believes what the unit puts its key's HMAC under, hours after the image was verified."""
    unit.repository.add_release(2, "0.2.0", WHEELS, firmware=("controller.bin", NEWER, built(NEWER).content))
    async with connected(unit) as (_twin, controller):
        life = Life(unit, unit.updates(), controller=controller)
        await life.until_settled(job_for(2, "0.2.0"))
        (image,) = (unit.folder / "update" / "kept").glob("*/controller.bin")
        image.write_bytes(image.read_bytes()[:-1] + b"?")
        report = (await proved(unit, {}, controller=controller)).report()
        assert report.state is UpdateState.RETURNED and "has changed on the unit's disk" in report.detail
        assert (await controller.identity()).version == NEWER - 1


async def test_a_link_that_is_lost_is_a_complaint_and_one_that_was_lost_before_is_none(unit: Unit) -> None:
    async with connected(unit) as (twin, controller):
        twin.terminal.unplug()
        panel = controller.panel
        assert panel is not None
        await asyncio.to_thread(patiently, lambda: panel.status().state is not PanelState.READY, "the loss")
        assert "not heard" in controller.complaint() or "/port" in controller.complaint()
        with pytest.raises(UpdateRefusal) as refusal:
            await controller.identity()
        assert refusal.value.problem is UpdateProblem.CONTROLLER_MISSING
        twin.terminal.plug_in()
    unit.repository.add_release(2, "0.2.0", WHEELS)
    await begun(unit)
    updates = await proved(unit, {"controller": "The controller is not heard."})
    assert "not heard" in updates.report().detail
