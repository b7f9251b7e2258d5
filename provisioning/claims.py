"""Claims: made here with keys of their own, certified by the hub, put on media with a label for each box.

A claim file takes its name last, after every byte is on the media; a box that finds half of one says so.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from contract.certificates import certificate_key, der, is_issued_by, load_certificate, new_key, public_der
from contract.channel_disk import write_whole
from contract.clock import utc
from contract.commissioning import CLAIM_FILE, CLAIM_PREFIX, Claim, encode_claim
from contract.errors import DeviceError, RemoteError
from contract.technician import CLAIMS_MAX, ClaimAsk, ClaimsOrder, ClaimsResult, Verb
from provisioning.line import HubLine

NONCE_BYTES = 10


@dataclass(frozen=True, slots=True)
class ClaimWish:
    """A claim to be made. serial: of the only box that may use it, empty for any."""

    nonce: str
    serial: str


@dataclass(frozen=True, slots=True, repr=False)
class MadeClaim:
    """A claim ready for its media. until: when it ends, as the label prints it."""

    nonce: str
    serial: str
    host: str
    until: str
    encoded: bytes


def wishes_for(count: int, serials: Sequence[str]) -> list[ClaimWish]:
    """That many claims with fresh nonces; for these serial numbers where they are given. Raises DeviceError."""
    if serials and len(serials) != count:
        raise DeviceError(
            f"{len(serials)} serial numbers for {count} boxes.", next_step="Give one serial number for each box."
        )
    if len(set(serials)) != len(serials):
        raise DeviceError("A serial number is given twice.", next_step="Give each box its own serial number.")
    given = list(serials) or [""] * count
    return [ClaimWish(f"{CLAIM_PREFIX}{secrets.token_hex(NONCE_BYTES)}", serial) for serial in given]


async def make_claims(line: HubLine, wishes: Sequence[ClaimWish], life_h: int) -> list[MadeClaim]:
    """Have claims certified. Raises Refused, TransientError, or RemoteError where the answer does not fit."""
    made: list[MadeClaim] = []
    for start in range(0, len(wishes), CLAIMS_MAX):
        made += await _make_some(line, wishes[start : start + CLAIMS_MAX], life_h)
    return made


async def _make_some(line: HubLine, wishes: Sequence[ClaimWish], life_h: int) -> list[MadeClaim]:
    keys = [new_key() for _ in wishes]
    asked = tuple(
        ClaimAsk(nonce=wish.nonce, serial=wish.serial, key=public_der(key.public_key()))
        for wish, key in zip(wishes, keys, strict=True)
    )
    result = await line.ask(Verb.CLAIMS, ClaimsOrder(claims=asked, life_h=life_h), ClaimsResult)
    if len(result.certificates) != len(wishes):
        raise RemoteError("The hub certified another number of claims.", next_step="Run 'box' again.")
    root = load_certificate(line.root)
    made = []
    for wish, key, encoded in zip(wishes, keys, result.certificates, strict=True):
        certificate = load_certificate(encoded)
        if public_der(certificate_key(certificate)) != public_der(key.public_key()) or is_issued_by(certificate, root):
            raise RemoteError("A claim's certificate is not for its key.", next_step="Run 'box' again.")
        private = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        claim = Claim(
            nonce=wish.nonce,
            serial=wish.serial,
            certificate=encoded,
            key=private,
            ca=der(root),
            hub_statement=result.hub_statement,
            hub_dispatch=result.hub_dispatch,
            host=result.host,
            claim_port=result.claim_port,
            service_port=result.service_port,
            renewal_port=result.renewal_port,
            made_ms=result.made_ms,
            expires_ms=result.expires_ms,
            update_root=result.update_root,
        )
        until = utc(result.expires_ms).strftime("%Y-%m-%d %H:%M UTC")
        made.append(MadeClaim(wish.nonce, wish.serial, result.host, until, encode_claim(claim)))
    return made


def write_media(claim: MadeClaim, folder: Path) -> Path:
    """Put a claim into a media folder; never over another one. Raises DeviceError."""
    path = folder / CLAIM_FILE
    if path.exists():
        raise DeviceError(f"{path} exists already.", next_step="Use empty media for each box.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, claim.encoded)
    except OSError as error:
        raise DeviceError(
            f"{folder} cannot be written: {error.strerror}.", next_step="Check the media, or use another."
        ) from None
    return path
