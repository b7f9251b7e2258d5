"""A technician's folder: who they are, where the broker is, and the two keys that speak for them.

The TLS key opens the line; the order key (Ed25519) signs what they order, and never leaves the folder.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contract.certificates import make_request, new_key, private_pem
from contract.errors import DeviceError
from contract.packet import Name
from contract.seal import StatementKey, StatementPublicKey, load_statement_key, load_statement_public_key
from contract.topics import NAME_PATTERN
from provisioning.world import Broker

FILE_BYTES_MAX = 16 * 1024
FILE, REQUEST, CERTIFICATE = "technician.toml", "tls.csr", "tls.crt"
Port = Annotated[int, Field(ge=1, le=65535)]


class IdentityFile(BaseModel):
    """technician.toml: closed to unknown keys."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", hide_input_in_errors=True)
    technician: Name
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Port
    renewal_port: Port


@dataclass(frozen=True, slots=True)
class Identity:
    """A technician who may speak. order: signs orders; hub: verifies replies."""

    folder: Path
    technician: str
    host: str
    port: int
    renewal_port: int
    hub: StatementPublicKey
    order: StatementKey = field(repr=False)

    @property
    def ca(self) -> Path:
        """The root's certificate."""
        return self.folder / "ca.crt"

    @property
    def certificate(self) -> Path:
        """The technician's own certificate with its issuer."""
        return self.folder / CERTIFICATE

    @property
    def key(self) -> Path:
        """The certificate's key."""
        return self.folder / "tls.key"


def new_order_key() -> ed25519.Ed25519PrivateKey:
    """A new key for a technician's orders."""
    return ed25519.Ed25519PrivateKey.generate()


def order_public_der(key: ed25519.Ed25519PrivateKey) -> bytes:
    """What the hub must know of it: SubjectPublicKeyInfo DER."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def identity_files(
    name: str, broker: Broker, ca: bytes, hub_statement: bytes, key: ed25519.Ed25519PrivateKey
) -> dict[str, bytes]:
    """The files of a technician's folder but for the certificate, by name."""
    service, _, renewals, _ = broker.doors
    text = f'technician = "{name}"\nhost = "{broker.host}"\nport = {service}\nrenewal_port = {renewals}\n'
    return {FILE: text.encode(), "ca.crt": ca, "hub-statement.pub": hub_statement, "order.key": _private(key)}


def load_identity(folder: Path) -> Identity:
    """The technician whose folder this is. Raises DeviceError that says what is missing."""
    advice = "Name the folder that 'rekam-provision init' or 'setup' made for you: --identity OUT/technicians/NAME."
    try:
        if (folder / FILE).stat().st_size > FILE_BYTES_MAX:
            raise DeviceError(f"{folder / FILE} is too large.", next_step=advice)
        found = IdentityFile.model_validate(tomllib.loads((folder / FILE).read_text(encoding="utf-8")))
        statement = (folder / "hub-statement.pub").read_bytes()
        order = (folder / "order.key").read_bytes()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise DeviceError(f"{folder} is no technician's folder ({type(error).__name__}).", next_step=advice) from None
    if (folder / REQUEST).exists() and not (folder / CERTIFICATE).exists():
        raise DeviceError(
            f"{found.technician} is not certified yet.",
            next_step=f"Put the answer of 'rekam-hub certify-technician {folder / REQUEST} …' here as {CERTIFICATE}.",
        )
    return Identity(
        folder=folder,
        technician=found.technician,
        host=found.host,
        port=found.port,
        renewal_port=found.renewal_port,
        hub=load_statement_public_key(statement),
        order=load_statement_key(order, found.technician),
    )


def make_folder(name: str, like: Identity, folder: Path) -> bytes:
    """A new technician's folder beside a colleague's; returns the order key's public part, DER. Raises DeviceError."""
    if folder.exists() or not NAME_PATTERN.fullmatch(name):
        raise DeviceError(
            f"{folder} exists already, or '{name[:64]}' is no name.", next_step="Name a new folder and your own id."
        )
    order, tls = new_order_key(), new_key()
    text = f'technician = "{name}"\nhost = "{like.host}"\nport = {like.port}\nrenewal_port = {like.renewal_port}\n'
    files = {
        FILE: text.encode(),
        "ca.crt": like.ca.read_bytes(),
        "hub-statement.pub": (like.folder / "hub-statement.pub").read_bytes(),
        "order.key": _private(order),
        "tls.key": private_pem(tls),
        REQUEST: make_request(name, tls).public_bytes(serialization.Encoding.PEM),
    }
    folder.mkdir(parents=True, mode=0o700)
    for file_name, content in files.items():
        path = folder / file_name
        path.touch(mode=0o600)
        path.write_bytes(content)
    return order_public_der(order)


def _private(key: ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
