"""A box with a TPM that is missing, wiped, exchanged, or cut off between making its key and remembering it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.certificates import key_home_of
from contract.clock import SystemClock
from contract.commissioning_problems import Problem, Refusal
from contract.durable_files import DurableFolder, Observer, unobserved
from contract.errors import DeviceError
from edge.box import Box
from edge.box_files import SIGN_PUBLIC, BoxFiles
from edge.commissioning import Commissioner
from edge.config import load_config
from edge.factory import Factory
from edge.keys import load_keys
from edge.screens.commissioning import view
from edge.unit_signer import BoxChip
from tests.commissioning.boxes import QUICK
from tests.commissioning.desk_world import DeskWorld, hear
from tests.commissioning.test_power_cuts import Cutter, PowerCut
from tests.soft_tpm import SoftTpm

BoxMaker = Callable[..., BoxFiles]


@pytest.fixture
def box_with(soft_tpm: SoftTpm, tmp_path: Path) -> Iterator[BoxMaker]:
    """Makes the box after power comes: it knows only its disk and its TPM."""
    chips: list[BoxChip] = []

    def make(name: str = "box", observe: Observer = unobserved, **changes: object) -> BoxFiles:
        settings = soft_tpm.settings(**changes)
        chips.append(BoxChip(settings))
        return BoxFiles(DurableFolder(tmp_path / name, observe), chips[-1], settings)

    yield make
    for chip in chips:
        chip.close()


def test_a_cut_between_making_the_key_and_remembering_it_leaves_one_key(box_with: BoxMaker) -> None:
    points = Cutter(0)
    box_with("uncut", points, label="uncut").keys()
    assert f"before {SIGN_PUBLIC}" in points.places
    for at in range(1, points.passed + 1):
        with pytest.raises(PowerCut):
            box_with(f"box{at}", Cutter(at), label=f"k{at}").keys()
        made = box_with(f"box{at}", label=f"k{at}").keys().sign.public()
        again = box_with(f"box{at}", label=f"k{at}")
        assert again.keys().sign.public() == made == again.kept(SIGN_PUBLIC)


def test_a_key_that_was_remembered_is_never_made_anew(box_with: BoxMaker) -> None:
    box_with().keys()
    other = box_with(label="other")
    with pytest.raises(Refusal, match="no key 'other'"):
        other.keys()
    box_with("beside", label="other").keys()
    with pytest.raises(Refusal, match="another key than before") as refused:
        other.keys()
    assert refused.value.problem is Problem.KEY_PART_UNUSABLE and SIGN_PUBLIC in refused.value.detail


def test_the_page_of_a_box_without_its_tpm_says_so_and_goes_on_once_it_is_there(
    box_with: BoxMaker, soft_tpm: SoftTpm, tmp_path: Path
) -> None:
    soft_tpm.cut()
    factory, clock = Factory(serial="S-1", media=(tmp_path / "media",)), SystemClock()
    commissioner = Commissioner(Box(box_with(), factory, clock, "rekam test"), factory, clock, QUICK)

    async def shown(code: Problem) -> dict[str, str]:
        async with asyncio.timeout(10):
            while True:
                problem = view(commissioner)["problem"]
                if problem is not None and problem["code"] == code.value:
                    return dict(problem)
                await asyncio.sleep(0.02)

    async def walk() -> None:
        running = asyncio.create_task(commissioner.run())
        try:
            found = await shown(Problem.KEY_PART_UNUSABLE)
            assert "/dev/tpmrm0" in found["detail"] and found["what_id"] and not found["waiting"]
            soft_tpm.start()
            await shown(Problem.CLAIM_MISSING)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(walk())


def test_an_approved_box_that_loses_its_tpm_says_so_and_asks_for_its_certificate_once_it_is_back(
    box_with: BoxMaker, soft_tpm: SoftTpm, tmp_path: Path
) -> None:
    world = DeskWorld(tmp_path / "world")
    box = Box(box_with(), Factory(serial="S-1"), world.clock, "rekam test")
    box.take_claim(world.claim())
    for _ in range(2):
        knocked = box.say()
        assert knocked is not None
        for answer in world.deliver(knocked.topic, knocked.payload):
            hear(box, answer)
        if not box.is_approved:
            assert world.approve(box, "desk-b8").done
    assert box.is_approved
    soft_tpm.cut()
    with pytest.raises(Refusal) as refused:
        box.say()
    assert refused.value.problem is Problem.KEY_PART_UNUSABLE
    soft_tpm.start()
    asked = box.say()
    assert asked is not None
    for answer in world.deliver(asked.topic, asked.payload):
        hear(box, answer)
    assert key_home_of(box.files.certificate()) == "tls=software sign=tpm"


def test_a_unit_whose_tpm_was_wiped_says_so_at_its_start(soft_tpm: SoftTpm, tmp_path: Path) -> None:
    world = DeskWorld(tmp_path / "world")
    config = load_config(world.folder / "units" / "desk-a1" / "unit.toml")
    without = config.keys.model_copy(update={"sign": None})
    with pytest.raises(DeviceError, match="holds no key 'sign'"):
        load_keys(config.unit.id, without, soft_tpm.settings())
