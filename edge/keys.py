"""The unit's keys, read once at the start from the paths in unit.toml; none is ever shown, logged or sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from contract.card_keys import Sam, SoftSam
from contract.errors import DeviceError
from contract.seal import (
    OpeningKey,
    PublicKey,
    RecipientKey,
    SigningKey,
    StatementPublicKey,
    load_opening_key,
    load_public_key,
    load_recipient_key,
    load_signing_key,
    load_statement_public_key,
)
from edge.config import KeysTable

KEY_FILE_BYTES_MAX = 16 * 1024
HUB, RECOVERY, ISSUER = "hub", "recovery", "issuer"


@dataclass(frozen=True, slots=True)
class UnitKeys:
    """Everything a unit signs, opens, seals and verifies with."""

    sign: SigningKey
    open: OpeningKey
    hub_packet: RecipientKey
    recovery: RecipientKey
    hub_dispatch: PublicKey
    hub_statement: StatementPublicKey
    issuer: PublicKey
    store: bytes = field(repr=False)
    sam: Sam | None = field(default=None, repr=False)


def load_keys(unit: str, paths: KeysTable) -> UnitKeys:
    """All keys of a unit. Raises DeviceError that names the file."""
    return UnitKeys(
        sign=load_signing_key(_read(paths.sign), unit),
        open=load_opening_key(_read(paths.open), unit),
        hub_packet=load_recipient_key(_read(paths.hub_packet), HUB),
        recovery=load_recipient_key(_read(paths.recovery), RECOVERY),
        hub_dispatch=load_public_key(_read(paths.hub_dispatch), HUB),
        hub_statement=load_statement_public_key(_read(paths.hub_statement), HUB),
        issuer=load_public_key(_read(paths.issuer), ISSUER),
        store=_read(paths.store),
        sam=SoftSam.load(_read(paths.sam)) if paths.sam is not None else None,
    )


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > KEY_FILE_BYTES_MAX:
            raise DeviceError(f"The key file {path} is too large to be one.")
        return path.read_bytes()
    except OSError as error:
        raise DeviceError(
            f"The key file {path} cannot be read ({error.strerror}).",
            next_step="Run the setup or commissioning command for this machine again.",
        ) from None
