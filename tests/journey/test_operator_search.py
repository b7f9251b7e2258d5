"""Every enrolment of an operator is searched among all operators of the country, and no stranger is named for it.

`OPERATORS=50000 pytest -s --timeout 0 tests/journey/test_operator_search.py -k many` prints what that costs at the size
of the country.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import cbor2
import pytest

from contract.errors import RemoteError
from contract.finger_minutiae import decode_record, encode_record
from hub.schema.operator_tables import OperatorEnrolment
from hub.schema.tables import Operator
from hub.search import operator_fingers
from hub.search.operator_fingers import OperatorFingers
from tests.hub_world import DESK, OFFICERS, SITE_B, World, biodata, build_world
from tests.journey.test_hub_operator_fraud import ELSEWHERE, enter, other_region, page, similar
from tests.journey.test_hub_operators import NEW, approve, body, fingers_of

MANY = int(os.environ.get("OPERATORS", "800"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for built in build_world(tmp_path, "sqlite"):
        built.register(biodata(1))
        yield built


def strangers(count: int) -> Iterator[dict[int, bytes]]:
    """Two fingers each of people who do not exist: the minutiae of real pictures of fingers, moved at random."""
    draw = Random(6)
    views = [decode_record(record) for index in (7, 9) for record in fingers_of(index)[1].values()]
    for _ in range(count):
        made = {}
        for position in (2, 7):
            record = draw.choice(views)
            view = record.views[0]
            wide, high = record.width_px - 20, record.height_px - 20
            moved = tuple(
                minutia._replace(x=draw.randrange(20, wide), y=draw.randrange(20, high), angle=draw.randrange(256))
                for minutia in view.minutiae
            )
            made[position] = encode_record(replace(record, views=(replace(view, minutiae=moved),)))
        yield made


def fill(world: World, count: int) -> None:
    """So many operators more, all over the country."""
    vault = world.central.context.vault
    with world.central.context.database.transaction() as session:
        for number, templates in enumerate(strangers(count)):
            name = f"op-{number:05d}"
            session.add(
                Operator(
                    id=name, name=name, roles="operator", sites=SITE_B, public_key=b"", private_key=b"", lease_days=7,
                    console_secret="", templates=vault.lock(cbor2.dumps(templates), "operator-templates", name),
                )
            )  # fmt: skip


def test_who_is_an_operator_in_another_region_is_recognised_and_whom_to_ask_is_shown(world: World) -> None:
    other_region(world)
    enter(world, ELSEWHERE, "operator", SITE_B, index=9)
    assert similar(world, world.send(DESK, body(NEW, 9))) == ELSEWHERE
    (shown,) = page(world, OFFICERS[0], "dc-officer")["pending"]
    assert shown["similar"] == [{"operator": ELSEWHERE, "sites": [SITE_B]}]


def test_who_waits_in_another_region_is_recognised_too(world: World) -> None:
    world.send(DESK, body(ELSEWHERE, 9))
    other_region(world)
    with world.central.context.database.transaction() as session:
        session.query(OperatorEnrolment).update({"site": SITE_B})
    assert similar(world, world.send(DESK, body(NEW, 9))) == ELSEWHERE


def test_what_is_known_follows_the_database(world: World) -> None:
    fingers = OperatorFingers(world.central.context.vault)
    database, probe = world.central.context.database, fingers_of(9)[1]

    def named() -> list[str]:
        with database.reading() as session:
            fingers.follow(session)
        return fingers.resembling(probe, "op-lain")

    assert named() == []
    enrolled = world.send(DESK, body(NEW, 9))
    assert named() == [NEW] and fingers.resembling(probe, NEW) == []  # nobody is unlike themselves
    approve(world, enrolled, OFFICERS[0])
    assert named() == [NEW] == fingers.resembling(probe, NEW)
    approve(world, world.send(DESK, body(NEW, 7)), OFFICERS[0])  # taken anew, with other fingers
    assert named() == []
    with pytest.raises(RemoteError):
        fingers.resembling({2: b"FMR nothing"}, NEW)


def test_two_fingers_that_are_somewhat_alike_count_for_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {("r", "r"): 45.0, ("l", "l"): 40.0}

    class Score:
        def __init__(self, value: float) -> None:
            self.value = value

    monkeypatch.setattr(operator_fingers, "compare", lambda one, other: Score(values.get((one, other), 0.0)))
    likeness = operator_fingers._likeness
    assert likeness("r", "r") == 45.0  # type: ignore[arg-type]
    assert 60.0 < likeness("rl", "lr") < 85.0  # type: ignore[arg-type]
    assert likeness("rl", "rx") == 45.0  # type: ignore[arg-type]
    assert likeness("", "r") == 0.0  # type: ignore[arg-type]


def test_among_many_operators_one_is_found_and_no_stranger(world: World) -> None:
    other_region(world)
    enter(world, ELSEWHERE, "operator", SITE_B, index=9)
    fill(world, MANY)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    known = world.central.operators.rebuild()
    readied = time.process_time()
    assert similar(world, world.send(DESK, body(NEW, 9))) == ELSEWHERE
    enrolled = time.process_time()
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    print(f"\n{known} operators: ready in {readied - started:.1f} s of processor time, {grown_mib:.0f} MiB;")
    print(f"an enrolment in {enrolled - readied:.2f} s, reading its packet included")
    assert known > MANY and (enrolled - readied) / known < 1e-3
