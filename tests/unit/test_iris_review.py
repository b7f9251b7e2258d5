"""Eyes that look swapped: the operator is asked, never stopped, and what the operator says is signed (M11, M12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from contract.packet import EnrolmentBody
from contract.sample import IrisPosition, Modality
from edge.enrolment import Enrolment
from edge.snapshot import session_snapshot
from tests.unit.edge_fakes import KEY, Bench, make_bench
from tests.unit.test_enrolment import begin, do, walk


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(tmp_path)
    yield made
    made.store.close()


async def at_the_eyes(bench: Bench) -> Enrolment:
    session = await begin(bench)
    await walk(bench, session, until="irises")
    return session


async def test_the_best_picture_of_a_burst_is_kept(bench: Bench) -> None:
    bench.sensors.iris_burst = (70, 0, 40)
    session = await at_the_eyes(bench)
    assert await do(session, "capture") == "verify"
    assert [session.context.taken[Modality.IRIS, eye].examined.quality for eye in (1, 2)] == [80, 80]


async def test_eyes_that_look_swapped_are_asked_about_in_both_languages_and_the_answer_is_signed(bench: Bench) -> None:
    session = await at_the_eyes(bench)
    bench.sensors.swapped = True
    assert await do(session, "capture") == "iris_review"
    assert session.actions() == ["confirm", "retake", "cancel"]
    seen = session_snapshot(session)
    assert "tertukar" in seen.prompt_id and "swapped" in seen.prompt_en and seen.ask is None
    bench.clock.now_ms += 7
    assert await do(session, "confirm") == "verify"
    await walk(bench, session)
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody) and body.signoff is not None
    assert body.eyes_confirmed_ms == bench.clock.now_ms
    KEY.public_key().verify(body.signoff.signature, body.digest(), ec.ECDSA(hashes.SHA256()))
    assert body.model_copy(update={"eyes_confirmed_ms": None}).digest() != body.digest()


async def test_swapped_eyes_are_taken_again_and_nothing_of_the_first_pictures_stays(bench: Bench) -> None:
    session = await at_the_eyes(bench)
    bench.sensors.swapped = True
    await do(session, "capture")
    assert await do(session, "retake") == "irises"
    assert session.context.missing_eyes == (IrisPosition.RIGHT, IrisPosition.LEFT)
    bench.sensors.swapped = False
    assert await do(session, "capture") == "verify"
    assert session.context.eyes_confirmed_ms is None
    assert session.context.taken[Modality.IRIS, 1].examined.record == b"IIR sari/iris1"


async def test_forced_eyes_are_looked_at_as_well_and_a_confirmed_word_is_asked_for_once(bench: Bench) -> None:
    session = await at_the_eyes(bench)
    bench.sensors.swapped, bench.sensors.iris_quality = True, {IrisPosition.LEFT: 3}
    for _ in range(3):
        await do(session, "capture")
    assert await do(session, "force") == "iris_review"
    assert await do(session, "confirm") == "verify"
    bench.sensors.person = "other"
    for _ in range(3):
        await do(session, "capture")
    bench.sensors.person = "sari"
    await do(session, "recapture")
    assert await do(session, "capture") == "verify"


async def test_one_eye_alone_is_never_judged(bench: Bench) -> None:
    session = await at_the_eyes(bench)
    bench.sensors.swapped = True
    await do(session, "except", reason="missing since birth", position="2")
    await do(session, "capture")
    bench.sensors.person = "op-budi"
    await do(session, "capture", operator="op-budi")
    bench.sensors.person = "sari"
    assert await do(session, "capture") == "verify"


async def test_a_capture_whose_eyes_were_not_asked_about_has_the_digest_of_before(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session)
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody) and body.signoff is not None and body.eyes_confirmed_ms is None
    before = {name: value for name, value in body.model_dump().items() if name not in {"eyes_confirmed_ms", "scans"}}
    digest = hashes.Hash(hashes.SHA256())
    digest.update(cbor2.dumps({**before, "signoff": None}, canonical=True))
    assert digest.finalize() == body.digest()
