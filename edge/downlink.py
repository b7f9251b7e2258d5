"""What comes down from the hub: opened with the unit's key or the site's, checked, and put where it belongs.

Messages of a site can arrive before the key of their epoch; they wait for it, bounded. What does not open, or is not
what its topic says, is refused and logged by the channel; the unit goes on with what it has.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from contract import topics
from contract.channel_mqtt import Connection, MqttChannel
from contract.dispatch import (
    MESSAGE_BYTES_MAX,
    ConsignedCard,
    GalleryEntry,
    Notice,
    RegisterPage,
    SiteKey,
    decode,
    encode,
)
from contract.errors import DeviceError, RemoteError, TransientError
from contract.operators import Roster, RosterDelta, RosterGap
from contract.packet import Model
from contract.seal import (
    LOCK_OVERHEAD_BYTES,
    OpeningKey,
    PublicKey,
    StatementPublicKey,
    lock,
    open_sealed,
    unlock,
)
from contract.topics import Topic
from contract.transfer import Receipt, verify_receipt
from edge.moment import MomentSource
from edge.register import Register
from edge.roster import RosterBook
from edge.site_gallery import SiteGallery

HUB = "hub"
WAITING_MAX = 2000
WAITING_BYTES_MAX = 64 * 1024 * 1024
_EPOCH = struct.Struct(">I")
SITE_MESSAGE_BYTES_MAX = _EPOCH.size + LOCK_OVERHEAD_BYTES + MESSAGE_BYTES_MAX
M = TypeVar("M", bound=Model)
Handler = Callable[[dict[str, str], bytes], Awaitable[None]]
SiteHandler = Callable[[str, bytes], Awaitable[None]]

log = structlog.get_logger("edge.downlink")


async def _nothing() -> None:
    """What is done after a roster came, where nobody wants to know."""


class Downlink:
    """Subscribes before the channel starts; hands messages on as they come."""

    def __init__(
        self,
        channel: MqttChannel,
        unit: str,
        site: str,
        open_key: OpeningKey,
        hub_dispatch: PublicKey,
        hub_statement: StatementPublicKey,
        register: Register,
        roster: RosterBook,
        gallery: SiteGallery,
        moments: MomentSource,
        on_receipt: Callable[[Receipt], Awaitable[None]],
    ) -> None:
        self._channel = channel
        self._unit, self._site = unit, site
        self._open_key, self._hub_dispatch, self._hub_statement = open_key, hub_dispatch, hub_statement
        self._register, self._roster, self._gallery, self._moments = register, roster, gallery, moments
        self._on_receipt = on_receipt
        self._waiting: dict[str, tuple[bytes, SiteHandler]] = {}
        self._delta: RosterDelta | None = None
        self.on_roster: Callable[[], Awaitable[None]] = _nothing
        self._on(topics.DN_CHECKPOINT, self._checkpoint, unit=unit)
        self._on(topics.DN_SITE_KEY, self._site_key, unit=unit)
        self._on(topics.DN_ROSTER, self._whole_roster, unit=unit)
        self._on(topics.DN_ROSTER_DELTA, self._roster_delta, unit=unit)
        self._on(topics.DN_CONSIGNMENT, self._consignment, unit=unit)
        self._on(topics.DN_RECEIPT, self._receipt, unit=unit)
        self._on(topics.SITE_REGISTER, self._from_site(topics.SITE_REGISTER, self._page), site=site)
        self._on(topics.SITE_NOTICE, self._from_site(topics.SITE_NOTICE, self._notice), site=site)
        self._on(topics.SITE_GALLERY, self._from_site(topics.SITE_GALLERY, self._entry), site=site)
        channel.on_connected(self._share_captures)
        channel.on_connected(self._tell_roster)

    def _on(self, topic: Topic, handler: Handler, **names: str) -> None:
        """Subscribe; a disk or worker that fails here costs this message, which is retained, not the connection."""

        async def take(found: dict[str, str], payload: bytes) -> None:
            try:
                await handler(found, payload)
            except DeviceError as error:
                raise TransientError(error.message, next_step=error.next_step) from None

        self._channel.on(topic, take, **names)

    def opened(self, kind: type[M], payload: bytes) -> M:
        """A message that only this unit can open, signed by the hub. Raises RemoteError."""
        found = open_sealed(payload, self._open_key, lambda signer: self._hub_dispatch if signer == HUB else None)
        return decode(kind, found.payload)

    async def share(self, entry: GalleryEntry) -> None:
        """Tell the site's other units of a capture. Kept for the next connection where there is none now."""
        key = self._register.site_key
        if key is None:
            return
        topic = topics.SITE_GALLERY.at(site=self._site, capture=entry.capture_id)
        payload = _EPOCH.pack(key.epoch) + lock(encode(entry), key.key, topic.encode())
        try:
            await self._channel.publish(topic, payload, retain=True)
        except TransientError as error:
            log.info("capture not shared yet", reason=error.message)

    async def _share_captures(self, _connection: Connection) -> None:
        for entry in self._gallery.unshared():
            await self.share(entry)

    async def _checkpoint(self, _names: dict[str, str], payload: bytes) -> None:
        if await asyncio.to_thread(self._moments.take_checkpoint, payload, self._hub_statement):
            checkpoint = self._moments.checkpoint
            if checkpoint is not None:
                self._roster.time.hear(checkpoint)

    async def _site_key(self, _names: dict[str, str], payload: bytes) -> None:
        if not payload:  # taken back: the unit was suspended; what it has it keeps
            return
        key = self.opened(SiteKey, payload)
        if not await asyncio.to_thread(self._register.take_site_key, key):
            raise RemoteError("The site key is for another site.")
        waiting, self._waiting = self._waiting, {}
        for topic, (locked, handler) in waiting.items():
            try:
                await self._unlock(topic, locked, handler)
            except RemoteError as error:
                log.warning("message refused", **error.diagnostics())
        for entry in self._gallery.unshared():
            await self.share(entry)

    async def _whole_roster(self, _names: dict[str, str], payload: bytes) -> None:
        if not payload:
            return
        if await asyncio.to_thread(self._roster.take, self.opened(Roster, payload)):
            await self._follow_roster()

    async def _roster_delta(self, _names: dict[str, str], payload: bytes) -> None:
        if payload:
            self._delta = self.opened(RosterDelta, payload)
            await self._follow_roster()

    async def _follow_roster(self) -> None:
        """Apply the newest delta to the whole, whichever came first; where it does not fit, ask for the whole."""
        delta, asks = self._delta, False
        if delta is not None:
            try:
                await asyncio.to_thread(self._roster.take_delta, delta)
            except RosterGap as error:
                log.warning("roster asked for", **error.diagnostics())
                asks = True
        await self._say_roster(asks=asks)
        await self.on_roster()

    async def _tell_roster(self, _connection: Connection) -> None:
        await self._say_roster(asks=False)

    async def _say_roster(self, *, asks: bool) -> None:
        held = self._roster.held.model_copy(update={"asks": asks})
        try:
            await self._channel.publish(topics.UP_ROSTER.at(unit=self._unit), encode(held), retain=True)
        except TransientError as error:
            log.info("roster not told yet", reason=error.message)

    async def _consignment(self, names: dict[str, str], payload: bytes) -> None:
        if not payload:
            await asyncio.to_thread(self._register.drop_card, names["card"])
            return
        card = self.opened(ConsignedCard, payload)
        if card.card_uid != names["card"]:
            raise RemoteError("The consigned card is another one than its topic says.")
        await asyncio.to_thread(self._register.take_card, card)

    async def _receipt(self, names: dict[str, str], payload: bytes) -> None:
        await self._on_receipt(verify_receipt(payload, self._hub_statement, names["pid"]))

    def _from_site(self, topic: Topic, handler: SiteHandler) -> Handler:
        async def take(names: dict[str, str], payload: bytes) -> None:
            if payload:  # an empty payload is the broker's word that a retained message was cleared
                await self._unlock(topic.at(**names), payload, handler)

        return take

    async def _unlock(self, topic: str, payload: bytes, handler: SiteHandler) -> None:
        """Open a site message and hand it on; where its key has not come yet, keep it until it does."""
        if not _EPOCH.size <= len(payload) <= SITE_MESSAGE_BYTES_MAX:
            raise RemoteError(f"A site message of {len(payload)} bytes is too short or too long.")
        (epoch,) = _EPOCH.unpack_from(payload)
        key = self._register.site_key_of(epoch)
        if key is None:
            others = [held for name, (held, _) in self._waiting.items() if name != topic]
            if len(others) >= WAITING_MAX or sum(map(len, others)) + len(payload) > WAITING_BYTES_MAX:
                raise RemoteError("Too many site messages wait for a key that does not come.")
            self._waiting[topic] = (payload, handler)
            return
        await handler(topic, unlock(payload[_EPOCH.size :], key.key, topic.encode()))

    async def _page(self, topic: str, plain: bytes) -> None:
        page = decode(RegisterPage, plain)
        if topics.SITE_REGISTER.at(site=page.site, page=page.page) != topic:
            raise RemoteError("The register page is another one than its topic says.")
        await asyncio.to_thread(self._register.take_page, page)

    async def _notice(self, topic: str, plain: bytes) -> None:
        notice = decode(Notice, plain)
        if topics.SITE_NOTICE.at(site=self._site, capture=notice.capture_id) != topic:
            raise RemoteError("The notice is about another capture than its topic says.")
        taken = await asyncio.to_thread(self._register.take_notice, notice)
        if not (taken and notice.frees):
            return
        if await self._gallery.remove(notice.capture_id):
            # It may have been shared again just now, over what the hub has put in its place.
            await self.share(GalleryEntry(capture_id=notice.capture_id, nik=notice.nik, tombstone=True, templates={}))

    async def _entry(self, topic: str, plain: bytes) -> None:
        entry = decode(GalleryEntry, plain)
        if topics.SITE_GALLERY.at(site=self._site, capture=entry.capture_id) != topic:
            raise RemoteError("The gallery entry is about another capture than its topic says.")
        await self._gallery.take(entry)
