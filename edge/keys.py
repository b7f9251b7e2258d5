"""The unit's keys, read once at the start from the paths in unit.toml; none is ever shown, logged or sent."""

from __future__ import annotations

from collections.abc import Mapping
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
    signing_key_in_a_part,
)
from edge.config import KeysTable
from edge.unit_signer import ChipSigner, StartCounter, open_chip_signer

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
    counter: StartCounter | None = field(default=None, repr=False)


def load_keys(unit: str, paths: KeysTable, identity: Mapping[str, object] | None = None) -> UnitKeys:
    """All keys of a unit. Raises DeviceError that names the file.

    identity: [devices.identity] of a unit whose packet key lives in that chip, where no file is named.
    """
    chip = None
    if paths.sign is None:
        chip = _opened(identity)
        sign = signing_key_in_a_part(unit, chip.sign)
    else:
        sign = load_signing_key(_read(paths.sign), unit)
    return UnitKeys(
        sign=sign,
        open=load_opening_key(_read(paths.open), unit),
        hub_packet=load_recipient_key(_read(paths.hub_packet), HUB),
        recovery=load_recipient_key(_read(paths.recovery), RECOVERY),
        hub_dispatch=load_public_key(_read(paths.hub_dispatch), HUB),
        hub_statement=load_statement_public_key(_read(paths.hub_statement), HUB),
        issuer=load_public_key(_read(paths.issuer), ISSUER),
        store=load_store_key(paths),
        sam=SoftSam.load(_read(paths.sam)) if paths.sam is not None else None,
        counter=chip.counter if chip else None,
    )


def load_store_key(paths: KeysTable) -> bytes:
    """The key of what lies on the unit's disk, alone: enough for its spool, whatever became of its other parts."""
    return _read(paths.store)


def _opened(identity: Mapping[str, object] | None) -> ChipSigner:
    if identity is None:
        raise DeviceError(
            "No packet key is named: neither a file nor an identity chip.",
            next_step="Name [keys] sign or [devices.identity] in unit.toml.",
        )
    signer = open_chip_signer(identity)
    try:
        signer.public()  # a part without its key is found at the start, not at the first person
    except DeviceError:
        signer.close()
        raise
    return signer


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
