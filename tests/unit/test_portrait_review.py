"""The operator's word on the portrait (M29): asked of every capture, and part of what is signed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from contract.packet import EnrolmentBody
from tests.unit.edge_fakes import KEY, Bench, make_bench
from tests.unit.test_enrolment import begin, do, walk


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(tmp_path)
    yield made
    made.store.close()


async def test_the_operators_word_on_the_photo_is_signed_with_the_capture(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="photo_review")
    assert session.actions() == ["confirm", "retake", "cancel"]
    await do(session, "confirm", differs="sex,height")
    assert session.problem is not None and session.step == "photo_review"
    bench.clock.now_ms += 7
    assert await do(session, "confirm", differs="age,sex") == "signature"
    await walk(bench, session)
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody) and body.portrait_review is not None and body.signoff is not None
    assert body.portrait_review.differs == ("sex", "age") and body.portrait_review.reviewed_ms == bench.clock.now_ms
    KEY.public_key().verify(body.signoff.signature, body.digest(), ec.ECDSA(hashes.SHA256()))
    other = body.model_copy(update={"portrait_review": body.portrait_review.model_copy(update={"differs": ()})})
    assert other.digest() != body.digest()


async def test_a_photo_that_does_not_show_the_person_is_dropped_and_taken_again(bench: Bench) -> None:
    session = await begin(bench)
    await walk(bench, session, until="photo_review")
    assert await do(session, "retake") == "photo"
    assert session.context.taken == {} and session.context.portrait_review is None
    assert await do(session, "capture") == "photo_review"


async def test_a_forced_photo_is_reviewed_as_well(bench: Bench) -> None:
    session = await begin(bench)
    await do(session, "confirm")
    bench.sensors.quality = 3
    for _ in range(3):
        await do(session, "capture")
    assert await do(session, "force") == "photo_review"
