"""What comes down: only what the hub sealed for this unit or site is believed, in any order, and nothing stops it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from contract import topics
from contract.channel_mqtt import Disconnected
from contract.dispatch import GalleryEntry, Notice, RegisterEntry, RegisterPage, SiteKey, decode, encode
from contract.errors import RemoteError, TransientError
from contract.lifecycle import RecordState
from contract.operators import Roster, RosterDelta, RosterHeld
from contract.packet import Model
from contract.seal import (
    load_opening_key,
    load_public_key,
    load_recipient_key,
    load_signing_key,
    load_statement_key,
    load_statement_public_key,
    lock,
    seal,
    unlock,
)
from contract.topics import Topic
from contract.transfer import Disposition, Receipt, sign_receipt
from edge import downlink
from edge.downlink import Downlink
from edge.moment import MomentSource
from edge.register import Claim, Register
from edge.roster import RosterBook
from edge.sealed_store import SealedStore
from edge.site_gallery import SiteGallery
from edge.trusted_time import TrustedTime
from tests.unit.edge_fakes import CARD_UID, NIK, PAPERS, SetClock, biodata, consigned, operator_entry, roster_of

SITE_KEY = SiteKey(site="9901-A", epoch=3, key=bytes(range(32)))
CAPTURE, OTHER = "01920000-0000-7000-8000-00000000000a", "01920000-0000-7000-8000-00000000000b"


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


UNIT, DISPATCH, STRANGER = (ec.derive_private_key(number, ec.SECP256R1()) for number in (21, 22, 23))
STATEMENT = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@dataclass
class Line:
    """A channel that hands over what a test says has arrived, and keeps what is published."""

    handlers: list[tuple[str, Topic, Callable[[dict[str, str], bytes], Awaitable[None]]]] = field(default_factory=list)
    greetings: list[Callable[[Any], Awaitable[None]]] = field(default_factory=list)
    published: list[tuple[str, bytes]] = field(default_factory=list)
    connected: bool = True

    def on(self, topic: Topic, handler: Callable[[dict[str, str], bytes], Awaitable[None]], **names: str) -> None:
        self.handlers.append((topic.template, topic, handler))

    def on_connected(self, handler: Callable[[Any], Awaitable[None]]) -> None:
        self.greetings.append(handler)

    async def publish(self, topic: str, payload: bytes, **_options: Any) -> bool:
        if not self.connected:
            raise Disconnected("There is no connection to the broker.")
        self.published.append((topic, payload))
        return True

    def said(self, topic: str) -> list[bytes]:
        return [payload for said, payload in self.published if said == topic]

    async def arrive(self, topic: str, payload: bytes) -> None:
        for _, known, handler in self.handlers:
            names = known.parse(topic)
            if names is not None:
                await handler(names, payload)


@dataclass
class Memory:
    stamp: str = "rekam/1"
    held: dict[str, Mapping[int, bytes]] = field(default_factory=dict)

    async def remember(self, entries: Mapping[str, Mapping[int, bytes]]) -> None:
        self.held.update(entries)

    async def forget(self, capture_id: str) -> None:
        self.held.pop(capture_id, None)


class Unit:
    """A downlink on a fresh store."""

    def __init__(self, folder: Path) -> None:
        self.line, self.memory = Line(), Memory()
        self.store = SealedStore(folder / "unit.db", bytes(32))
        self.register = Register(self.store, "9901-A")
        self.roster = RosterBook(
            self.store, "9901-A", load_statement_public_key(public(STATEMENT)), TrustedTime(self.store, SetClock())
        )
        self.gallery = SiteGallery(self.store, self.memory, self.register)
        self.receipts: list[Receipt] = []

        async def on_receipt(receipt: Receipt) -> None:
            self.receipts.append(receipt)

        self.downlink = Downlink(
            self.line, "desk-a1", "9901-A", load_opening_key(pem(UNIT), "desk-a1"),  # type: ignore[arg-type]
            load_public_key(public(DISPATCH), "hub"), load_statement_public_key(public(STATEMENT)),
            self.register, self.roster, self.gallery, MomentSource(self.store, SetClock()), on_receipt,
        )  # fmt: skip


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(tmp_path)
    yield made
    made.store.close()


def sealed(message: Model, signer: ec.EllipticCurvePrivateKey = DISPATCH, kid: str = "hub") -> bytes:
    return seal(encode(message), load_signing_key(pem(signer), kid), [load_recipient_key(public(UNIT), "desk-a1")])


def locked(message: Model, topic: str, key: SiteKey = SITE_KEY) -> bytes:
    return key.epoch.to_bytes(4, "big") + lock(encode(message), key.key, topic.encode())


PAGE = RegisterPage(
    site="9901-A", page="p1", version=1,
    entries=(RegisterEntry(biodata=biodata(), status=RecordState.UNREGISTERED, eligible=True, required_papers=PAPERS),),
)  # fmt: skip
PAGE_TOPIC = "s/9901-A/register/p1"
ROSTER = roster_of(operator_entry("op-siti", "operator"))


async def test_what_arrives_before_its_key_waits_for_it(unit: Unit) -> None:
    await unit.line.arrive(PAGE_TOPIC, locked(PAGE, PAGE_TOPIC))
    assert unit.register.entry(NIK) is None
    await unit.line.arrive("k/desk-a1/dn/site-key", sealed(SITE_KEY))
    assert unit.register.entry(NIK) is not None


async def test_roster_and_cards_are_kept_and_a_cleared_card_goes(unit: Unit) -> None:
    await unit.line.arrive("k/desk-a1/dn/roster", sealed(ROSTER))
    assert unit.roster.officer("op-siti") is not None
    topic = f"k/desk-a1/dn/consignment/{CARD_UID}"
    await unit.line.arrive(topic, sealed(consigned()))
    assert unit.register.card(card_uid=CARD_UID) is not None
    with pytest.raises(RemoteError):
        await unit.line.arrive("k/desk-a1/dn/consignment/04FFFFFFFFFFFF", sealed(consigned()))
    await unit.line.arrive(topic, b"")
    assert unit.register.card(card_uid=CARD_UID) is None


async def test_what_the_broker_keeps_no_more_is_no_message_and_takes_nothing_away(unit: Unit) -> None:
    """A unit that is suspended hears that its roster and its site's key were cleared."""
    await unit.line.arrive("k/desk-a1/dn/roster", sealed(ROSTER))
    await unit.line.arrive("k/desk-a1/dn/site-key", sealed(SITE_KEY))
    for name in ("roster", "site-key", "roster-delta"):
        await unit.line.arrive(f"k/desk-a1/dn/{name}", b"")
    assert unit.roster.officer("op-siti") is not None and unit.register.site_key is not None


@pytest.mark.parametrize(
    "forged",
    [
        sealed(ROSTER, STRANGER),
        sealed(ROSTER, DISPATCH, "desk-a1"),
        sealed(SITE_KEY),
        b"\x00" * 40,
        sealed(ROSTER)[:-1],
    ],
)
async def test_a_roster_that_the_hub_did_not_seal_for_us_is_refused(unit: Unit, forged: bytes) -> None:
    with pytest.raises(RemoteError):
        await unit.line.arrive("k/desk-a1/dn/roster", forged)
    assert unit.roster.standing() == []


async def test_the_newest_delta_waits_for_its_whole_which_is_asked_for(unit: Unit) -> None:
    two = roster_of(operator_entry("op-siti", "operator"), operator_entry("op-budi", "operator"), version=2)
    delta = RosterDelta(
        base=1, version=2, sign_on=two.sign_on, changed=(operator_entry("op-budi", "operator"),), digest=two.digest(),
        renewed={},
    )  # fmt: skip
    await unit.line.arrive("k/desk-a1/dn/roster-delta", sealed(delta))
    await unit.line.arrive("k/desk-a1/dn/roster", sealed(ROSTER))
    await unit.line.arrive("k/desk-a1/dn/roster-delta", b"")  # the whole took its place
    heard = [decode(RosterHeld, payload) for payload in unit.line.said("k/desk-a1/up/roster")]
    assert [(held.version, held.asks) for held in heard] == [(0, True), (2, False)]
    assert heard[-1].digest == two.digest()
    unit.line.connected = False
    await unit.line.arrive("k/desk-a1/dn/roster", sealed(roster_of(version=3)))
    assert unit.roster.officers() == []
    unit.line.connected = True
    for greet in unit.line.greetings:
        await greet(None)
    assert decode(RosterHeld, unit.line.said("k/desk-a1/up/roster")[-1]).version == 3


async def test_a_site_message_moved_to_another_topic_is_refused(unit: Unit) -> None:
    await unit.line.arrive("k/desk-a1/dn/site-key", sealed(SITE_KEY))
    with pytest.raises(RemoteError):
        await unit.line.arrive("s/9901-A/register/p2", locked(PAGE, PAGE_TOPIC))
    with pytest.raises(RemoteError):
        await unit.line.arrive("s/9901-A/register/p2", locked(PAGE, "s/9901-A/register/p2"))
    with pytest.raises(RemoteError):
        await unit.line.arrive(PAGE_TOPIC, b"\x00\x00")
    assert unit.register.entry(NIK) is None


async def test_a_receipt_is_believed_by_its_signature_and_its_topic(unit: Unit) -> None:
    receipt = Receipt(pid="ab" * 32, length=9, hub_sequence=1, time_ms=1, disposition=Disposition.RELEASED)
    signed = sign_receipt(receipt, load_statement_key(pem(STATEMENT)))
    await unit.line.arrive(f"k/desk-a1/dn/pkt/{'ab' * 32}/receipt", signed)
    with pytest.raises(RemoteError):
        await unit.line.arrive(f"k/desk-a1/dn/pkt/{'cd' * 32}/receipt", signed)
    assert unit.receipts == [receipt]


async def test_flipped_bits_are_refused_and_nothing_else_is_raised(unit: Unit) -> None:
    generator = random.Random(4)
    await unit.line.arrive("k/desk-a1/dn/site-key", sealed(SITE_KEY))
    cases = [("k/desk-a1/dn/roster", sealed(ROSTER)), (PAGE_TOPIC, locked(PAGE, PAGE_TOPIC))]
    for _ in range(120):
        topic, whole = generator.choice(cases)
        damaged = bytearray(whole)
        damaged[generator.randrange(4, len(damaged))] ^= 1 << generator.randrange(8)
        with pytest.raises(RemoteError):
            await unit.line.arrive(topic, bytes(damaged))


async def test_captures_are_shared_under_the_site_key_once_there_is_a_line(unit: Unit) -> None:
    entry = GalleryEntry(capture_id=CAPTURE, nik=NIK, extractor="rekam/1", templates={2: b"t"})
    unit.store.change((unit.gallery.own_change(entry),))
    await unit.gallery.add_own(entry)
    await unit.downlink.share(entry)  # no key yet
    unit.line.connected = False
    await unit.line.arrive("k/desk-a1/dn/site-key", sealed(SITE_KEY))
    assert unit.line.published == []
    unit.line.connected = True
    for greet in unit.line.greetings:
        await greet(None)
    ((topic, payload),) = [said for said in unit.line.published if said[0].startswith("s/")]
    assert topic == topics.SITE_GALLERY.at(site="9901-A", capture=CAPTURE) and payload != b"t"
    assert decode(GalleryEntry, unlock(payload[4:], SITE_KEY.key, topic.encode())) == entry
    await unit.line.arrive(topic, payload)
    assert unit.gallery.unshared() == []


def notice_of(capture_id: str = CAPTURE, **changes: Any) -> Notice:
    fields = {
        "capture_id": capture_id, "nik": NIK, "status": RecordState.UNREGISTERED, "version": 4, "at_ms": 9,
        "message_id": "", "message_en": "",
    }  # fmt: skip
    return Notice.model_validate(fields | changes)


async def test_only_the_hubs_notice_removes_a_capture_and_no_later_word_of_a_unit_brings_it_back(unit: Unit) -> None:
    await unit.line.arrive("k/desk-a1/dn/site-key", sealed(SITE_KEY))
    entry = GalleryEntry(capture_id=CAPTURE, nik=NIK, extractor="rekam/1", templates={2: b"t"})
    unit.store.change((unit.gallery.own_change(entry),))
    await unit.gallery.add_own(entry)
    unit.register.keep_claim(Claim(NIK, CAPTURE, confirmed=True))
    gallery, notices = topics.SITE_GALLERY.at(site="9901-A", capture=CAPTURE), f"s/9901-A/notice/{CAPTURE}"
    tombstone = GalleryEntry(capture_id=CAPTURE, nik=NIK, tombstone=True)
    await unit.line.arrive(gallery, locked(tombstone, gallery))
    assert unit.register.claim_of(NIK) is not None and CAPTURE in unit.memory.held
    await unit.line.arrive(notices, locked(notice_of(), notices))
    assert unit.register.claim_of(NIK) is None and unit.memory.held == {}
    said = [decode(GalleryEntry, unlock(payload[4:], SITE_KEY.key, topic.encode()))
            for topic, payload in unit.line.published if topic == gallery]  # fmt: skip
    assert said[-1].tombstone
    told = unit.line.said(gallery)
    await unit.line.arrive(gallery, locked(entry, gallery))
    for greet in unit.line.greetings:
        await greet(None)
    assert unit.memory.held == {} and unit.line.said(gallery) == told and unit.store.get("gallery", CAPTURE) is None


async def test_a_power_cut_between_notice_and_removal_is_made_good_at_the_start(unit: Unit) -> None:
    entry = GalleryEntry(capture_id=CAPTURE, nik=NIK, extractor="rekam/1", templates={2: b"t"})
    unit.store.change((unit.gallery.own_change(entry),))
    unit.register.keep_claim(Claim(NIK, CAPTURE, confirmed=True))
    unit.register.take_notice(notice_of())
    assert await unit.gallery.load() == 0 and unit.gallery.unshared() == []
    assert unit.register.claim_of(NIK) is None


async def test_an_upheld_appeal_frees_no_nik_and_says_no_status(unit: Unit) -> None:
    unit.register.take_page(PAGE)
    unit.register.keep_claim(Claim(NIK, CAPTURE, confirmed=True))
    unit.register.take_notice(notice_of(OTHER, cleared_of=CAPTURE))
    assert unit.register.cleared(NIK) == {CAPTURE: OTHER} and not unit.register.is_freed(OTHER)
    entry = unit.register.entry(NIK)
    assert entry is not None and entry.status is RecordState.PROCESSING


async def test_what_waits_for_a_key_is_bounded_in_bytes(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RemoteError, match="too long"):
        await unit.line.arrive(PAGE_TOPIC, bytes(downlink.SITE_MESSAGE_BYTES_MAX + 1))
    monkeypatch.setattr(downlink, "WAITING_BYTES_MAX", 1000)
    await unit.line.arrive(PAGE_TOPIC, bytes(600))
    await unit.line.arrive(PAGE_TOPIC, bytes(700))  # takes the place of the one before
    with pytest.raises(RemoteError, match="wait for a key"):
        await unit.line.arrive("s/9901-A/register/p2", bytes(301))


async def test_a_failing_disk_costs_the_message_and_not_the_line(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    from contract.errors import DeviceError

    def full(_roster: Roster) -> bool:
        raise DeviceError("The disk is full.")

    monkeypatch.setattr(unit.roster, "take", full)
    with pytest.raises(TransientError):
        await unit.line.arrive("k/desk-a1/dn/roster", sealed(ROSTER))
