"""The card reader of a handover desk: authorised reading, the issuer's signature, and the attestation (M42, M45)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from contract.attestation import AttestationPage, open_attestation
from contract.card_keys import CardRole, Sam
from contract.chip_file import ChipData
from contract.dispatch import ConsignedCard
from contract.errors import RemoteError
from contract.finger_card import CardFormat, decode_card
from contract.finger_minutiae import encode_record
from contract.sample import FingerPosition
from contract.seal import PublicKey, load_public_key
from edge.card_access import ReadChip, open_card, read_card
from edge.ports import ChipContent
from edge.sensors.interface import CardReader
from edge.sensors.worker import DeviceWorker

ISSUER = "issuer"
READ_TIMEOUT_S = 20.0


def reading(sam: Sam, card_timeout_s: float) -> Callable[[CardReader, threading.Event], ReadChip]:
    """Waits for a card on a reader and reads all of it, for the reader's thread."""

    def read(reader: CardReader, cancel: threading.Event) -> ReadChip:
        channel = reader.connect(card_timeout_s, cancel)
        try:
            return read_card(channel, sam)
        finally:
            channel.close()

    return read


class ReaderDesk:
    """A ChipDesk on a PC/SC reader (or any CardReader). issuer: the key that this unit trusts card data by."""

    def __init__(self, reader: DeviceWorker[CardReader], sam: Sam, issuer: PublicKey, card_timeout_s: float) -> None:
        self._reader = reader
        self._sam = sam
        self._issuer = issuer
        self._card_timeout_s = card_timeout_s

    async def read(self, card: ConsignedCard) -> ChipContent:
        """Wait for a card, read it, verify it by the issuer's key that came with the consignment."""
        found = await self._reader.run(reading(self._sam, self._card_timeout_s), self._card_timeout_s + READ_TIMEOUT_S)
        issuer = await asyncio.to_thread(load_public_key, card.issuer_key, self._issuer.kid)
        return chip_content(found.uid, found.verified(issuer))

    def attestation(self, card: ConsignedCard, chip: ChipContent) -> AttestationPage:
        """What the resident e-signed at capture: biodata and the pen's time series. Raises RemoteError."""
        return attestation_of(card, chip)

    def cancel(self) -> None:
        """End a read that is under way."""
        self._reader.cancel()


class ReaderProof:
    """A CardProof on the unit's reader: card and unit authenticate each other under the card's own key."""

    def __init__(self, reader: DeviceWorker[CardReader], sam: Sam, issuer: PublicKey, card_timeout_s: float) -> None:
        self._reader = reader
        self._sam = sam
        self._issuer = issuer
        self._card_timeout_s = card_timeout_s

    async def uid(self) -> str:
        """Wait for a card and authenticate it."""
        return await self._reader.run(self._prove, self._card_timeout_s + READ_TIMEOUT_S)

    def cancel(self) -> None:
        """End a wait that is under way."""
        self._reader.cancel()

    async def owner(self) -> ChipContent:
        """Wait for a card, authenticate it, read it, verify it by the issuer's key."""
        found = await self._reader.run(reading(self._sam, self._card_timeout_s), self._card_timeout_s + READ_TIMEOUT_S)
        return chip_content(found.uid, found.verified(self._issuer))

    def _prove(self, reader: CardReader, cancel: threading.Event) -> str:
        channel = reader.connect(self._card_timeout_s, cancel)
        try:
            return open_card(channel, self._sam, CardRole.READER).uid
        finally:
            channel.close()


def attestation_of(card: ConsignedCard, chip: ChipContent) -> AttestationPage:
    """The page that travelled with `card`, opened with the key on `chip`. Raises RemoteError where it is another's."""
    page = open_attestation(card.attestation, chip.attestation_key, card.card_number)
    if page.capture_id != card.capture_id:
        raise RemoteError("The attestation belongs to another capture.")
    return page


def chip_content(card_uid: str, data: ChipData) -> ChipContent:
    """Verified chip data as the handover needs them: card templates become ISO records that any comparator reads."""
    return ChipContent(
        card_uid=card_uid,
        card_number=data.card_number,
        biodata=data.biodata,
        portrait=data.photo,
        signature=data.signature,
        templates={finger.position: _as_record(finger.template, finger.position) for finger in data.fingers},
        attestation_key=data.attestation_key,
    )


def _as_record(template: bytes, position: FingerPosition) -> bytes:
    return encode_record(decode_card(template, CardFormat.NORMAL, position))
