"""From a body to a packet that lasts: moment, envelope, seal, spool; and the journal of what this unit has sent.

The order is what makes a capture one thing (M14): first the claim on the NIK and the site's gallery entry, marked as
open; then the packet, durable in the spool; then the claim is closed. Whatever a power cut leaves in between is
settled at the next start by asking the spool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import structlog
from pydantic import Field

from contract.clock import Clock
from contract.dispatch import GalleryEntry, decode_kept
from contract.dispatch import encode as encode_message
from contract.errors import RekamError
from contract.packet import Body, Envelope, Millis, Model, Name, PacketKind, UuidText, encode
from contract.seal import RecipientKey, SigningKey, seal
from contract.transfer import Pid, Receipt
from edge.moment import MomentSource
from edge.ports import Kept
from edge.register import Claim, Register
from edge.sealed_store import Change, SealedStore
from edge.site_gallery import KIND as GALLERY
from edge.site_gallery import SiteGallery
from edge.spool import Spool

JOURNAL = "journal"
JOURNAL_BYTES_MAX = 16 * 1024

log = structlog.get_logger("edge.packing")


class JournalEntry(Model):
    """One packet that this unit has kept, and the hub's receipt once there is one."""

    packet_id: UuidText
    kind: Name
    pid: Pid
    kept_ms: Millis
    receipt: Annotated[Receipt | None, Field()] = None


@dataclass(frozen=True, slots=True)
class Sealer:
    """Who seals, and for whom."""

    unit: str
    site: str
    signer: SigningKey
    recipients: Sequence[RecipientKey]


class PacketKeeper:
    """Keeps packets. Disk and cryptography run off the loop; everything else on it."""

    def __init__(
        self,
        sealer: Sealer,
        spool: Spool,
        store: SealedStore,
        register: Register,
        gallery: SiteGallery,
        moments: MomentSource,
        clock: Clock,
        wake: Callable[[], None],
        share: Callable[[GalleryEntry], None],
    ) -> None:
        """wake: tells the uplink, from any thread; share: tells the site's other units, on the loop."""
        self._sealer = sealer
        self._spool = spool
        self._store = store
        self._register = register
        self._gallery = gallery
        self._moments = moments
        self._clock = clock
        self._wake = wake
        self._share = share
        self._journal = {
            name: decode_kept(JournalEntry, value, JOURNAL_BYTES_MAX) for name, value in store.items(JOURNAL)
        }
        self._by_pid = {entry.pid: entry.packet_id for entry in self._journal.values()}

    async def is_full(self) -> bool:
        """Whether the spool is above its high-water mark."""
        return await asyncio.to_thread(self._spool.refuses) is not None

    async def keep(self, kind: PacketKind, packet_id: str, body: Body) -> Kept:
        """Seal and spool: durable when it returns, nothing kept where it raises."""
        return await asyncio.to_thread(self._keep, kind, packet_id, body)

    async def keep_capture(self, packet_id: str, body: Body, entry: GalleryEntry) -> Kept:
        """An enrolment: claim and gallery entry first, then the packet, then the claim is closed."""
        claim = Claim(entry.nik, packet_id, confirmed=False)
        before = (self._register.claim_change(claim), self._gallery.own_change(entry))
        await asyncio.to_thread(self._store.change, before)
        try:
            kept = await self.keep(PacketKind.ENROLMENT, packet_id, body)
        except Exception:
            await asyncio.to_thread(self._undo, claim)
            raise
        confirmed = Claim(entry.nik, packet_id, confirmed=True)
        try:
            await asyncio.to_thread(self._register.keep_claim, confirmed)
        except RekamError as error:
            # The claim is at rest, still open; the next start closes it because its packet is in the spool.
            self._register.know_claim(confirmed)
            log.warning("claim not closed yet", **error.diagnostics())
        try:
            await self._gallery.add_own(entry)
        except RekamError as error:
            # The entry is at rest and is loaded again with the worker; the capture stands all the same.
            log.warning("own capture is not searched yet", **error.diagnostics())
        self._share(entry)
        return kept

    async def receipt(self, pid: str) -> Receipt | None:
        """The hub's receipt, once there is one."""
        entry = self._journal.get(self._by_pid.get(pid, ""))
        return entry.receipt if entry else None

    async def note_receipt(self, receipt: Receipt) -> None:
        """The hub has signed for a packet."""
        packet_id = self._by_pid.get(receipt.pid)
        if packet_id is None:
            return
        entry = self._journal[packet_id].model_copy(update={"receipt": receipt})
        await asyncio.to_thread(self._write, entry)

    def entry(self, packet_id: str) -> JournalEntry | None:
        """What is known of a packet, by the capture's or the event's id."""
        return self._journal.get(packet_id)

    def settle_after_start(self) -> list[str]:
        """After a start, before anything else: what a power cut left open. The ids that were dropped."""
        labels = {packet.pid: self._spool.label(packet.pid) for packet in self._spool.all()}
        spooled = {label.subject_id for label in labels.values()}
        for pid, label in labels.items():
            if label.subject_id not in self._journal and label.kind in set(PacketKind):
                packet = self._spool.find(pid)
                kept_ms = packet.spooled_ms if packet else self._clock.wall_ms()
                self._write(JournalEntry(packet_id=label.subject_id, kind=label.kind, pid=pid, kept_ms=kept_ms))
        dropped = self._register.reconcile_claims(lambda capture: capture in spooled or capture in self._journal)
        for capture_id in dropped:
            self._store.remove(GALLERY, capture_id)
        return dropped

    def _keep(self, kind: PacketKind, packet_id: str, body: Body) -> Kept:
        sealer = self._sealer
        envelope = Envelope(
            kind=kind, id=packet_id, unit=sealer.unit, site=sealer.site, moment=self._moments.next(), body=body
        )
        sealed = seal(encode(envelope), sealer.signer, sealer.recipients)
        pid = self._spool.put(sealed, kind=kind.value, subject_id=packet_id)
        kept_ms = self._clock.wall_ms()
        try:
            self._write(JournalEntry(packet_id=packet_id, kind=kind.value, pid=pid, kept_ms=kept_ms))
        except RekamError as error:
            # The packet is durable and will be sent: it stands. The next start writes its journal from the spool.
            log.warning("packet kept without a line in the journal", **error.diagnostics())
        self._wake()
        return Kept(packet_id, pid, kept_ms)

    def _undo(self, claim: Claim) -> None:
        """The packet could not be kept, so nothing was captured."""
        self._store.change((Change(GALLERY, claim.capture_id, None),))
        self._register.know_claim(claim)
        self._register.drop_claim(claim.capture_id)

    def _write(self, entry: JournalEntry) -> None:
        self._store.put(JOURNAL, entry.packet_id, encode_message(entry))
        self._journal[entry.packet_id] = entry
        self._by_pid[entry.pid] = entry.packet_id
