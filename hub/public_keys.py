"""The public parts of the hub's keys as a box needs them, read from the files that hub.toml names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from contract.errors import DeviceError
from hub.config import HubSettings


@dataclass(frozen=True, slots=True)
class HubPublicKeys:
    """packet, recovery, issuer: PEM, for grants; dispatch, statement: SubjectPublicKeyInfo DER, for claims."""

    packet: bytes
    recovery: bytes
    issuer: bytes
    dispatch: bytes
    statement: bytes


def load_public_keys(settings: HubSettings) -> HubPublicKeys:
    """Raises DeviceError where a key file is missing or none."""
    section = settings.keys
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    return HubPublicKeys(
        packet=_public(settings.path(section.packet), pem),
        recovery=_public(settings.path(section.recovery), pem),
        issuer=_public(settings.path(section.issuer), pem),
        dispatch=_public(settings.path(section.dispatch), der),
        statement=_public(settings.path(section.statement), der),
    )


def _public(path: Path, encoding: serialization.Encoding) -> bytes:
    try:
        content = path.read_bytes()
        if b"PUBLIC KEY" in content:
            key = serialization.load_pem_public_key(content)
        else:
            key = serialization.load_pem_private_key(content, password=None).public_key()
        return key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    except (OSError, ValueError, TypeError) as error:
        raise DeviceError(
            f"{path} holds no usable key ({type(error).__name__}).", next_step="Check [keys] in hub.toml."
        ) from None
