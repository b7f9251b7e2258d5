"""Fingers in slaps, 4-4-2: each finger has its own gate, exception and last resort (M11, M12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import DeviceError
from contract.packet import EnrolmentBody
from contract.sample import FingerPosition, Modality
from edge.enrolment import Enrolment
from edge.snapshot import session_snapshot
from tests.unit.edge_fakes import SECOND, Bench, make_bench
from tests.unit.test_enrolment import begin, do, walk

INDEX, MIDDLE, RING, LITTLE = (FingerPosition(code) for code in (2, 3, 4, 5))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(tmp_path)
    made.sensors.slaps = True
    yield made
    made.store.close()


async def at_the_fingers(bench: Bench) -> Enrolment:
    session = await begin(bench)
    await walk(bench, session, until="fingers")
    return session


def fingers_taken(session: Enrolment) -> list[int]:
    return sorted(position for modality, position in session.context.taken if modality is Modality.FINGER)


async def test_ten_fingers_take_three_presentations_and_the_checks_a_finger_each(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session)
    assert bench.sensors.calls == ["photo", "pen", "slap 13", "slap 14", "slap 15", "irises", "finger 2", "finger 7",
                                   "pen", "finger 2"]  # fmt: skip
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody)
    found = {(sample.position, sample.record) for sample in body.samples if sample.modality is Modality.FINGER}
    assert {(n, f"FIR sari/{n}".encode()) for n in range(1, 11)} <= found


async def test_the_screen_is_told_which_fingers_a_slap_asks_for(bench: Bench) -> None:
    session = await at_the_fingers(bench)
    ask = session_snapshot(session).ask
    assert ask is not None and (ask.position, ask.fingers) == (13, [2, 3, 4, 5])
    assert (ask.label_id, ask.label_en) == ("Empat jari kanan", "Four right fingers")
    assert "empat jari kanan" in session_snapshot(session).prompt_id
    assert session.actions() == ["capture", "one_by_one", "except", "cancel"]


async def test_what_passes_is_kept_and_the_rest_is_asked_again_by_name_then_alone(bench: Bench) -> None:
    session = await at_the_fingers(bench)
    bench.sensors.finger_quality = {RING: 5, LITTLE: 5}
    await do(session, "capture")
    assert fingers_taken(session) == [2, 3]
    assert session.advice is not None
    assert "jari manis kanan, kelingking kanan" in session.advice.text_id and "four right" in session.advice.text_en
    assert session_snapshot(session).attempt == 1
    bench.sensors.finger_quality = {LITTLE: 5}
    await do(session, "capture")
    assert fingers_taken(session) == [2, 3, 4] and session.context.next_slap == 14
    await do(session, "capture")
    assert fingers_taken(session) == [2, 3, 4, 7, 8, 9, 10]
    await do(session, "capture")
    assert session.context.asked_fingers == (LITTLE,) and "force" not in session.actions()
    bench.sensors.quality = 5
    for _ in range(3):
        await do(session, "capture")
    assert bench.sensors.calls[-3:] == ["finger 5"] * 3
    assert await do(session, "force") == "irises"
    forced = session.context.taken[Modality.FINGER, LITTLE]
    assert forced.forced and session.context.taken[Modality.FINGER, RING].attempts == 2


async def test_a_hand_that_never_lies_well_is_taken_finger_by_finger(bench: Bench) -> None:
    session = await at_the_fingers(bench)
    bench.sensors.missing = {LITTLE}
    for tries in (1, 2, 3):
        await do(session, "capture")
        assert (session.advice is not None) is (tries < 3)
        assert session.advice is None or "Lay all the fingers" in session.advice.text_en
        assert session.context.slap_tries[13] == tries  # type: ignore[index]
    await do(session, "capture")
    await do(session, "capture")
    assert session.context.asked_fingers == (INDEX,)
    assert bench.sensors.calls[-5:] == ["slap 13", "slap 13", "slap 13", "slap 14", "slap 15"]


async def test_the_operator_may_choose_finger_by_finger_for_one_hand(bench: Bench) -> None:
    session = await at_the_fingers(bench)
    assert await do(session, "one_by_one") == "fingers"
    assert session.context.next_slap == 14
    await walk(bench, session, until="irises")
    assert bench.sensors.calls[-6:] == ["slap 14", "slap 15", "finger 2", "finger 3", "finger 4", "finger 5"]


async def test_a_missing_finger_of_a_slap_is_named_and_excepted_and_the_hand_lies_without_it(bench: Bench) -> None:
    session = await at_the_fingers(bench)
    bench.sensors.missing = {RING}
    assert await do(session, "except", reason="missing (amputated)") == "fingers"
    assert session.problem is not None and "which" in session.problem["message"]
    assert await do(session, "except", reason="missing (amputated)", position="9") == "fingers"
    assert await do(session, "except", reason="missing (amputated)", position="4") == "exception_photo"
    await do(session, "capture")
    bench.sensors.person = SECOND
    assert await do(session, "capture", operator=SECOND) == "fingers"
    bench.sensors.person = "sari"
    await do(session, "capture")
    assert session.advice is None and fingers_taken(session) == [2, 3, 5]
    await walk(bench, session)
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody)
    assert [(item.position, item.second_officer) for item in body.exceptions] == [(4, SECOND)]


async def test_the_other_hand_again_is_not_taken_and_nothing_of_it_stays(bench: Bench) -> None:
    session = await at_the_fingers(bench)
    await do(session, "capture")
    pairs = zip((10, 9, 8, 7), (5, 4, 3, 2), strict=True)
    bench.sensors.fingers = {FingerPosition(left): ("sari", right) for left, right in pairs}
    assert await do(session, "capture") == "fingers"
    assert fingers_taken(session) == [2, 3, 4, 5]
    assert session.advice is not None
    assert "kelingking kanan" in session.advice.text_id and "empat jari kiri" in session.advice.text_id


async def test_one_finger_twice_in_a_slap_is_not_taken(bench: Bench) -> None:
    session = await at_the_fingers(bench)
    bench.sensors.fingers = {MIDDLE: ("sari", 2)}
    await do(session, "capture")
    assert fingers_taken(session) == []


async def test_a_broken_slap_scanner_costs_a_person_no_try(bench: Bench) -> None:
    session = await at_the_fingers(bench)
    bench.sensors.faults = [DeviceError("The scanner is gone.", next_step="Plug it in.")]
    await do(session, "capture")
    assert session.problem is not None and session.context.slap_tries == {}
    await session.cancel()
    assert session.context.taken == {}


async def test_a_finger_that_does_not_verify_is_taken_again_alone(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="verify")
    bench.sensors.person = "other"
    for _ in range(3):
        await do(session, "capture")
    bench.sensors.person = "sari"
    assert await do(session, "recapture") == "fingers"
    assert session.context.asked_fingers == (INDEX,) and session.context.next_slap is None
    assert await do(session, "capture") == "verify"
