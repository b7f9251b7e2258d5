"""An officer's identity card as second factor, through pcscd: enrolled with it, signed on by it, and by no other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from contract.card_keys import CardRole, SoftSam, card_keys, role_master
from contract.chip_file import ChipFinger, build_chip, sign_chip
from contract.comparison import ComparisonScore
from contract.seal import load_signing_key
from edge.card_access import open_card
from edge.chip_desk import ReaderProof
from edge.eligibility import Refusal
from edge.matcher_lite import FingerTemplate, compare
from edge.officer_snapshot import officer_snapshot
from edge.procedure import Refused
from edge.sensors.cardreader_pcsc import PcscReader
from edge.sensors.interface import CardReader
from edge.sensors.worker import DeviceWorker
from edge.sign_on import Purpose
from hub import rosters
from hub.schema.operator_tables import OperatorEnrolment, SignOn
from tests.commissioning.stage import SITE, UNIT, Stage, until
from tests.journey.test_operator_life import (
    CENTRE,
    FINGERS,
    HEAD,
    NEW,
    OTHER,
    Desk,
    RealFingers,
    officers_stage,
    rows,
    templates,
)
from tests.unit.test_chip_file import BIODATA, CAPTURE_ID
from virtual.card import CardMemory
from virtual.card_box import CardBox
from virtual.card_reader_rig import CardReaderRig

__all__ = ["templates"]

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("pcsc")]
HANDOVER = OTHER
WAIT_S = 0.4


class ComparedFingers(RealFingers):
    """Real templates, really compared: what lies on a chip is never the bytes that a scanner gave."""

    async def compare(self, probe: bytes, references: Sequence[bytes]) -> list[ComparisonScore]:
        taken = FingerTemplate.from_iso(probe)
        return [compare(taken, FingerTemplate.from_iso(reference)) for reference in references]


class Cards:
    """The officers' cards: made with the world's own keys, laid and lifted at the virtual reader."""

    def __init__(self, stage: Stage, rig: CardReaderRig) -> None:
        self.rig, self.box = rig, CardBox(rig.cards)
        self.master = (stage.folder / "hub" / "sam.key").read_bytes()
        self.issuer = load_signing_key((stage.folder / "hub" / "issuer.key").read_bytes(), "issuer")

    def make(self, seed: int, templates: dict[str, bytes], name: str) -> str:
        """Personalise a blank over pcscd for somebody, as a station would; its UID."""
        (uid,) = self.box.add_blanks(1, self.master, seed)
        fingers = tuple(
            ChipFinger(finger, FingerTemplate.from_iso(templates[f"{name}/{int(finger)}"]).to_card())
            for finger in FINGERS
        )
        chip = build_chip(BIODATA, b"jpeg 2000" * 300, b"png" * 100, fingers, bytes(32))
        files = sign_chip(
            chip, self.issuer, card_number=f"9901-{seed:07d}", capture_id=CAPTURE_ID, issued_on="2026-11-22"
        )
        reader = PcscReader(reader=self.rig.reader, socket=str(self.rig.socket))
        reader.open()
        self.rig.control.insert(uid)
        channel = reader.connect(5, threading.Event())
        access = open_card(channel, SoftSam.load(self.master), CardRole.PERSONALISER)
        access.write_files(files)
        access.activate()
        channel.close()
        reader.close()
        self.lift()
        return uid

    async def lay(self, uid: str) -> None:
        """Lay this card where another may lie."""
        await asyncio.to_thread(self.lift)
        await asyncio.to_thread(self.rig.control.insert, uid)
        await asyncio.to_thread(self._until, True)

    def lift(self) -> None:
        """Nothing lies on the reader any more."""
        if self.rig.control.status()["uid"]:
            self.rig.control.remove()
        self._until(False)

    def _until(self, lies: bool) -> None:
        """pcscd notices within half a second."""
        reader = PcscReader(reader=self.rig.reader, socket=str(self.rig.socket))
        reader.open()
        deadline = time.monotonic() + 5
        while reader.card_present() != lies:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        reader.close()

    def counterfeit(self, uid: str) -> CardMemory:
        """Put a card with the same UID and content in its place, with keys of somebody else; returns the true one."""
        true = self.box.load(uid)
        keys = {role: card_keys(role_master(bytes(32), role), true.uid) for role in CardRole}
        self.box.save(replace(true, keys=keys))
        return true


@pytest.fixture
def stage(tmp_path: Path, templates: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(rosters, "ASKED_EVERY_MS", 0)
    made = officers_stage(tmp_path, templates, "handover")
    with made.broker:
        yield made


@pytest.fixture
async def desk(stage: Stage, card_rig: CardReaderRig) -> AsyncIterator[Desk]:
    """A handover desk, which has a reader and the key to cards."""
    made = Desk(stage, HANDOVER)
    made.examiner = ComparedFingers()
    worker: DeviceWorker[CardReader] = DeviceWorker(
        "card", lambda: PcscReader(reader=card_rig.reader, socket=str(card_rig.socket))
    )
    assert made.keys.sam is not None
    made.card = ReaderProof(worker, made.keys.sam, made.keys.issuer, WAIT_S)
    yield made
    await worker.close()
    if card_rig.control.status()["uid"]:  # whoever uses the reader next finds it empty
        card_rig.control.remove()


async def test_an_officers_own_card_and_no_other_lets_them_in(
    stage: Stage, desk: Desk, card_rig: CardReaderRig, templates: dict[str, bytes]
) -> None:
    cards = Cards(stage, card_rig)
    own, heads = [await asyncio.to_thread(cards.make, seed, templates, name) for seed, name in ((91, NEW), (92, HEAD))]
    async with stage.hub() as service:
        await desk.start()
        other = await Desk(stage, UNIT).start()  # without a reader
        await until(lambda: desk.knows(HEAD) and other.knows(HEAD))
        assert await desk.sign_on(HEAD) == "signed_on"
        work = desk.officers.enrol(NEW, "Rina Contoh", ["front-desk-officer"])
        for _ in FINGERS:
            await desk.act(work, "capture", NEW)
        assert await desk.act(work, "with_card") == "enrolment_card"
        assert await desk.act(work, "card") == "enrolment_card" and officer_snapshot(work).advice_id  # none came
        await cards.lay(heads)
        assert await desk.act(work, "card") == "enrolment_card"  # somebody else's fingers are on it
        assert "bukan kartu petugas" in officer_snapshot(work).advice_id
        await cards.lay(own)
        assert await desk.act(work, "card") == "sign_off"
        assert await desk.act(work, "capture", HEAD) == "enrolled"
        await until(lambda: bool(rows(service, OperatorEnrolment)))
        (waiting,) = rows(service, OperatorEnrolment)
        with service.central.context.database.transaction() as session:
            service.central.operators.approve(session, waiting.id, CENTRE, ["front-desk-officer"], [SITE])  # type: ignore[attr-defined]
        await until(lambda: desk.knows(NEW) and other.knows(NEW))

        work = await desk.officers.identify(NEW, Purpose.SIGN_ON)
        assert await desk.act(work, "capture", NEW) == "card"
        await cards.lay(heads)
        assert await desk.act(work, "card") == "card"
        assert "bukan kartu petugas" in officer_snapshot(work).advice_id
        true = cards.counterfeit(own)
        await cards.lay(own)
        assert await desk.act(work, "card") == "card" and officer_snapshot(work).problem
        await asyncio.to_thread(cards.lift)
        cards.box.save(true)
        await cards.lay(own)
        card_rig.control.remove_after(2)
        assert await desk.act(work, "card") == "card" and officer_snapshot(work).advice_id  # lifted too early
        card_rig.stop_pcscd()
        assert await desk.act(work, "card") == "card"
        problem = officer_snapshot(work).problem
        assert problem is not None and problem["next_step"]
        await asyncio.to_thread(card_rig.start_pcscd)
        officer = desk.officers.sign_on.officer
        assert officer is not None and officer.operator == HEAD  # as before
        await cards.lay(own)
        assert await desk.act(work, "card") == "signed_on"
        officer = desk.officers.sign_on.officer
        assert officer is not None and officer.operator == NEW
        await until(lambda: bool(rows(service, SignOn, SignOn.unit == HANDOVER, SignOn.failed == 1)))
        with pytest.raises(Refused) as caught:
            await other.sign_on(NEW)
        assert caught.value.refusal is Refusal.SECOND_FACTOR
        await desk.stop()
        await other.stop()
