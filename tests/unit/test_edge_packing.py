"""A capture is one thing: packet, claim and gallery entry stand together, wherever the power goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.dispatch import GalleryEntry
from contract.dispatch import encode as encode_message
from contract.errors import DeviceError, RemoteError
from contract.lifecycle import RecordState
from contract.packet import Attestation, EnrolmentBody, PacketKind, PacketSample, RefusalBody, decode
from contract.sample import Modality
from contract.seal import (
    load_opening_key,
    load_public_key,
    load_recipient_key,
    load_signing_key,
    open_sealed,
)
from contract.transfer import Disposition, Receipt
from edge.moment import MomentSource
from edge.packing import PacketKeeper, Sealer
from edge.register import Register
from edge.sealed_store import SealedStore
from edge.site_gallery import SiteGallery
from edge.spool import Spool
from tests.unit.edge_fakes import NIK, SetClock, biodata, make_bench

CAPTURE = "01920000-0000-7000-8000-00000000000a"
OTHER = "01920000-0000-7000-8000-00000000000b"
THIRD = "01920000-0000-7000-8000-00000000000c"


@dataclass
class Memory:
    """The worker's gallery, as a dictionary."""

    stamp: str = "rekam/1"
    held: dict[str, Mapping[int, bytes]] = field(default_factory=dict)

    async def remember(self, entries: Mapping[str, Mapping[int, bytes]]) -> None:
        if any(b"garbage" in templates.values() for templates in entries.values()):
            raise RemoteError("That is no template.")
        self.held.update(entries)

    async def forget(self, capture_id: str) -> None:
        self.held.pop(capture_id, None)


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


UNIT_KEY, HUB_KEY, RECOVERY_KEY = (ec.derive_private_key(number, ec.SECP256R1()) for number in (11, 12, 13))


class Desk:
    """One unit's keeping side on a folder; made again, it is the unit after a restart."""

    def __init__(self, folder: Path) -> None:
        self.clock = SetClock()
        self.store = SealedStore(folder / "unit.db", bytes(range(32)))
        self.register = Register(self.store, "9901-A")
        self.spool = Spool(folder / "spool", bytes(range(32)), self.clock, 10**9, 100)
        self.memory = Memory()
        self.gallery = SiteGallery(self.store, self.memory, self.register)
        self.woken: list[bool] = []
        self.shared: list[GalleryEntry] = []
        sealer = Sealer(
            "desk-a1", "9901-A", load_signing_key(pem(UNIT_KEY), "desk-a1"),
            (load_recipient_key(public(HUB_KEY), "hub"), load_recipient_key(public(RECOVERY_KEY), "recovery")),
        )  # fmt: skip
        self.keeper = PacketKeeper(
            sealer, self.spool, self.store, self.register, self.gallery, MomentSource(self.store, self.clock),
            self.clock, wake=lambda: self.woken.append(True), share=self.shared.append,
        )  # fmt: skip
        self.dropped = self.keeper.settle_after_start()

    async def capture(self) -> None:
        entry = GalleryEntry(capture_id=CAPTURE, nik=NIK, extractor="rekam/1", templates={2: b"t"})
        await self.keeper.keep_capture(CAPTURE, enrolment(), entry)

    def close(self) -> None:
        self.spool.close()
        self.store.close()

    def stands(self) -> tuple[bool, bool, bool]:
        """Whether packet, claim and gallery entry are there."""
        spooled = any(self.spool.label(packet.pid).subject_id == CAPTURE for packet in self.spool.all())
        return spooled, self.register.claim_of(NIK) is not None, self.store.get("gallery", CAPTURE) is not None


def body() -> RefusalBody:
    """Any body will do for keeping; this is the smallest."""
    return RefusalBody(biodata=biodata(), similar_capture=OTHER, value=60.0, appealed=False, operator="op-siti")


def enrolment() -> EnrolmentBody:
    """The smallest capture that the schema takes."""
    sample = PacketSample(modality=Modality.FACE, position=0, record=b"FAC", quality=90, attempts=1)
    attestation = Attestation(text_sha256=bytes(32), biodata_sha256=bytes(32), signature=b"SDI", agreed_ms=1)
    return EnrolmentBody(
        biodata=biodata(), samples=(sample,), verification=(), papers=(), attestation=attestation, steps=()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_bench(tmp_path).store.close()
    return tmp_path


async def test_a_kept_packet_opens_at_the_hub_and_at_recovery_only(folder: Path) -> None:
    desk = Desk(folder)
    kept = await desk.keeper.keep(PacketKind.REFUSAL, CAPTURE, body())
    sealed = desk.spool.read(kept.pid)
    for key, kid in ((HUB_KEY, "hub"), (RECOVERY_KEY, "recovery")):
        opened = open_sealed(
            sealed, load_opening_key(pem(key), kid), lambda kid: load_public_key(public(UNIT_KEY), kid)
        )
        envelope = decode(opened.payload)
        assert (envelope.id, envelope.unit, envelope.site, opened.signer) == (CAPTURE, "desk-a1", "9901-A", "desk-a1")
    assert desk.woken == [True] and envelope.moment.sequence == 1


async def test_a_capture_stands_with_its_claim_and_is_shared(folder: Path) -> None:
    desk = Desk(folder)
    await desk.capture()
    assert desk.stands() == (True, True, True) and desk.memory.held == {CAPTURE: {2: b"t"}}
    assert [entry.capture_id for entry in desk.shared] == [CAPTURE] == [e.capture_id for e in desk.gallery.unshared()]
    entry = desk.register.entry(NIK)
    assert entry is not None and entry.status is RecordState.PROCESSING
    desk.close()
    again = Desk(folder)
    assert again.stands() == (True, True, True) and again.dropped == []
    assert await again.gallery.load() == 1 and len(again.gallery.unshared()) == 1


class PowerCut(BaseException):
    """The power goes here."""


def cut(*_arguments: object, **_names: object) -> None:
    raise PowerCut


CUTS: dict[str, Callable[[Desk], None]] = {
    "before the claim": lambda desk: setattr(desk.store, "change", cut),
    "before the moment": lambda desk: setattr(desk.keeper, "_keep", cut),
    "before the spool": lambda desk: setattr(desk.spool, "put", cut),
    "before the journal": lambda desk: setattr(desk.keeper, "_write", cut),
    "before the claim is closed": lambda desk: setattr(desk.register, "keep_claim", cut),
}


@pytest.mark.parametrize("moment", list(CUTS))
async def test_power_lost_while_keeping_leaves_all_or_nothing(folder: Path, moment: str) -> None:
    desk = Desk(folder)
    CUTS[moment](desk)
    with pytest.raises(PowerCut):
        await desk.capture()
    desk.close()
    after = Desk(folder)
    captured = moment in {"before the journal", "before the claim is closed"}
    assert after.stands() == (captured, captured, captured)
    assert (after.keeper.entry(CAPTURE) is not None) == captured
    claim = after.register.claim_of(NIK)
    assert claim is None or claim.confirmed
    assert len(after.dropped) == (0 if captured or moment == "before the claim" else 1)


async def test_a_full_disk_keeps_nothing_and_frees_the_nik(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(folder)

    def full(*_arguments: object, **_names: object) -> str:
        raise DeviceError("The disk is full.")

    monkeypatch.setattr(desk.spool, "put", full)
    with pytest.raises(DeviceError):
        await desk.capture()
    assert desk.stands() == (False, False, False) and desk.memory.held == {}


async def test_a_receipt_is_remembered_after_the_packet_was_purged(folder: Path) -> None:
    desk = Desk(folder)
    kept = await desk.keeper.keep(PacketKind.REFUSAL, CAPTURE, body())
    receipt = Receipt(pid=kept.pid, length=5, hub_sequence=7, time_ms=8, disposition=Disposition.RELEASED)
    await desk.keeper.note_receipt(receipt)
    await desk.keeper.note_receipt(receipt.model_copy(update={"pid": "0" * 64}))
    desk.close()
    assert await Desk(folder).keeper.receipt(kept.pid) == receipt


async def test_the_hubs_removal_frees_nik_gallery_and_search(folder: Path) -> None:
    desk = Desk(folder)
    await desk.capture()
    assert await desk.gallery.remove(CAPTURE)
    assert desk.stands()[1:] == (False, False) and desk.memory.held == {} and desk.gallery.unshared() == []


async def test_no_unit_of_the_site_can_remove_or_replace_what_another_captured(folder: Path) -> None:
    desk = Desk(folder)
    await desk.capture()
    await desk.gallery.take(desk.shared[0])
    forged = GalleryEntry(capture_id=CAPTURE, nik=NIK, extractor="rekam/1", templates={2: b"forged"})
    for word in (GalleryEntry(capture_id=CAPTURE, nik=NIK, tombstone=True), forged):
        await desk.gallery.take(word)
        assert desk.stands() == (True, True, True) and desk.memory.held == {CAPTURE: {2: b"t"}}
    assert desk.gallery.unshared() == desk.shared  # said again over the forgery
    peers = forged.model_copy(update={"capture_id": OTHER})
    await desk.gallery.take(peers)
    await desk.gallery.take(peers.model_copy(update={"templates": {2: b"later"}}))
    assert desk.memory.held[OTHER] == {2: b"forged"}
    desk.close()
    again = Desk(folder)
    assert await again.gallery.load() == 2 and again.memory.held[CAPTURE] == {2: b"t"}


async def test_an_entry_that_cannot_be_searched_is_not_kept_and_one_that_was_does_not_stop_the_unit(
    folder: Path,
) -> None:
    desk = Desk(folder)
    await desk.capture()
    bad = GalleryEntry(capture_id=OTHER, nik=NIK, extractor="rekam/1", templates={2: b"garbage"})
    with pytest.raises(RemoteError):
        await desk.gallery.take(bad)
    assert desk.store.get("gallery", OTHER) is None
    desk.store.put("gallery", OTHER, b"\x00" + encode_message(bad))
    desk.store.put("gallery", THIRD, b"\x00 no entry at all")
    desk.close()
    again = Desk(folder)
    assert await again.gallery.load() == 1 and list(again.memory.held) == [CAPTURE]


async def test_a_journal_that_fails_after_the_packet_is_durable_costs_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(folder)

    def full(*_arguments: object) -> None:
        raise DeviceError("The disk is full.")

    monkeypatch.setattr(desk.keeper, "_write", full)
    await desk.capture()
    assert desk.stands() == (True, True, True) and desk.woken == [True]
    desk.close()
    after = Desk(folder)
    assert after.dropped == [] and after.keeper.entry(CAPTURE) is not None


async def test_an_echo_ends_the_sharing_and_a_strangers_templates_are_not_searched(folder: Path) -> None:
    desk = Desk(folder)
    await desk.capture()
    await desk.gallery.take(desk.shared[0])
    assert desk.gallery.unshared() == []
    await desk.gallery.take(GalleryEntry(capture_id=OTHER, nik=NIK, extractor="else/9", templates={2: b"x"}))
    assert list(desk.memory.held) == [CAPTURE] and len(desk.gallery) == 2
    await asyncio.sleep(0)
