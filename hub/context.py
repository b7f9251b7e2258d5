"""What every part of the hub shares and nobody changes: settings, database, vault, keys, clock, randomness."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from contract.clock import Clock
from contract.errors import DeviceError
from contract.identifiers import uuid7
from contract.seal import (
    KEY_BYTES,
    OpeningKey,
    SigningKey,
    StatementKey,
    load_opening_key,
    load_signing_key,
    load_statement_key,
)
from hub.config import HubSettings
from hub.schema.database import Database
from hub.vault import Vault

HUB_KEY_ID = "hub"
ISSUER_KEY_ID = "issuer"


@dataclass(frozen=True, slots=True, repr=False)
class HubKeys:
    """The hub's private keys. issuer signs chips, issuer_public is its SubjectPublicKeyInfo DER; sam: cards' master."""

    packet: OpeningKey
    dispatch: SigningKey
    statement: StatementKey
    issuer: SigningKey
    issuer_public: bytes
    sam: bytes
    blob: bytes


@dataclass(frozen=True, slots=True, repr=False)
class HubContext:
    """The hub's surroundings. blob_dir: sealed packets, one file each."""

    settings: HubSettings
    database: Database
    vault: Vault
    keys: HubKeys
    clock: Clock
    random_bytes: Callable[[int], bytes] = secrets.token_bytes

    @property
    def blob_dir(self) -> Path:
        """The folder of sealed packets."""
        return self.settings.path(self.settings.hub.blob_dir)

    def new_id(self) -> str:
        """A UUIDv7 as text."""
        return uuid7(self.clock, self.random_bytes)


def load_keys(settings: HubSettings) -> HubKeys:
    """The keys from the files that hub.toml names. Raises DeviceError."""
    section = settings.keys
    issuer_pem = _read(settings.path(section.issuer))
    return HubKeys(
        packet=load_opening_key(_read(settings.path(section.packet)), HUB_KEY_ID),
        dispatch=load_signing_key(_read(settings.path(section.dispatch)), HUB_KEY_ID),
        statement=load_statement_key(_read(settings.path(section.statement)), HUB_KEY_ID),
        issuer=load_signing_key(issuer_pem, ISSUER_KEY_ID),
        issuer_public=_public_der(issuer_pem),
        sam=_secret(settings.path(section.sam)),
        blob=_secret(settings.path(section.blob)),
    )


def _public_der(pem: bytes) -> bytes:
    key = load_pem_private_key(pem, password=None).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _secret(path: Path) -> bytes:
    content = _read(path)
    if len(content) != KEY_BYTES:
        raise DeviceError(f"{path.name} has {len(content)} bytes, not {KEY_BYTES}.", next_step="Restore the key file.")
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DeviceError(
            f"{path} cannot be read: {error.strerror}.", next_step="Check [keys] in hub.toml and the file's owner."
        ) from None
