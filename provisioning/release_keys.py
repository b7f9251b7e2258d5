"""Keys that sign releases: Ed25519, one file each, so that each can lie with another person and off every network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Key

from contract.errors import DeviceError

KEY_BYTES_MAX = 4096
NAME_FIELD = "x-rekam-name"
SUFFIX = ".key"


def make_keys(role: str, count: int, first: int = 1) -> dict[str, CryptoSigner]:
    """That many new keys of a role, by name: root-1, root-2, …"""
    return {f"{role}-{number}": CryptoSigner.generate_ed25519() for number in range(first, first + count)}


def public_key(name: str, signer: CryptoSigner) -> Key:
    """The public key as metadata holds it, with the name that people call it by."""
    key = signer.public_key
    key.unrecognized_fields[NAME_FIELD] = name
    return key


def name_of(key: Key) -> str:
    """What people call this key."""
    return str(key.unrecognized_fields.get(NAME_FIELD, key.keyid[:8]))


def write_keys(folder: Path, keys: dict[str, CryptoSigner]) -> list[Path]:
    """Write private keys, each readable by its owner alone; never over another one. Raises DeviceError."""
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, signer in keys.items():
            path = folder / f"{name}{SUFFIX}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(signer.private_bytes)
                file.flush()
                os.fsync(file.fileno())
            paths.append(path)
    except OSError as error:
        raise DeviceError(
            f"{folder} cannot take the keys: {error.strerror}.", next_step="Name a folder without such keys."
        ) from None
    return paths


def load_signer(path: Path) -> CryptoSigner:
    """A private key from its file. Raises DeviceError."""
    try:
        with path.open("rb") as file:
            key = load_pem_private_key(file.read(KEY_BYTES_MAX), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DeviceError(
            f"{path} is no key that signs releases ({type(error).__name__}).",
            next_step="Name a file such as root-1.key or targets-1.key.",
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise DeviceError(f"{path} is a key of another kind.", next_step="Name a file such as targets-1.key.")
    return CryptoSigner(key)


def load_signers(paths: Sequence[Path]) -> list[CryptoSigner]:
    """Private keys from their files. Raises DeviceError."""
    return [load_signer(path) for path in paths]
