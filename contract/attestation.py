"""The attestation that travels with a card and opens only with the card present (M45).

The hub locks what the resident e-signed under a key that exists nowhere but on the chip; the handover desk reads that
key from the card on its reader, opens the page, and compares it with what is printed.
"""

from __future__ import annotations

import hashlib

import cbor2

from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.packet import Attestation, Biodata, Model, Name, UuidText
from contract.seal import lock, unlock

PAGE_BYTES_MAX = 256 * 1024
SIGNATURE_BYTES_MAX = 192 * 1024  # of the pen's time series: the page with its biodata always fits
_CONTEXT = "rekam attestation 1/"


class AttestationPage(Model):
    """What the resident stated to be true at the capture, with their signature's time series."""

    capture_id: UuidText
    card_number: Name
    biodata: Biodata
    attestation: Attestation


def biodata_digest(biodata: Biodata) -> bytes:
    """SHA-256 of the biodata's canonical CBOR: what the attestation binds."""
    return hashlib.sha256(cbor2.dumps(biodata.model_dump(), canonical=True)).digest()


def seal_attestation(page: AttestationPage, chip_key: bytes) -> bytes:
    """The page under the chip's attestation key, bound to the card's number."""
    return lock(encode(page), chip_key, _context(page.card_number))


def open_attestation(sealed: bytes, chip_key: bytes, card_number: str) -> AttestationPage:
    """The page of the card with this number. Raises RemoteError where key, card or a single bit differ."""
    if len(sealed) > PAGE_BYTES_MAX:
        raise RemoteError(f"The attestation has {len(sealed)} bytes, more than {PAGE_BYTES_MAX}.")
    page = decode(AttestationPage, unlock(sealed, chip_key, _context(card_number)), PAGE_BYTES_MAX)
    if page.card_number != card_number or page.attestation.biodata_sha256 != biodata_digest(page.biodata):
        raise RemoteError("The attestation is not about this card's data.")
    return page


def _context(card_number: str) -> bytes:
    return (_CONTEXT + card_number).encode()
