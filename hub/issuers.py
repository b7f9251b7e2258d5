"""Loads the two authorities that the hub signs with: the issuing one, from a file or a hardware module, and claims'."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.certificates import Issuer, certificate_key, der, is_issued_by, load_certificate, public_der
from contract.errors import DeviceError, RemoteError
from hub.config import AuthoritySection, HubSettings
from hub.hardware_key import SCHEME, HardwareKey

_RESTORE = "Check [authority] in hub.toml; 'rekam-provision init' writes these files."


@dataclass(frozen=True, slots=True)
class Issuers:
    """root: the pinned certificate, DER; issuing signs everybody on the bus, claims only claims."""

    root: bytes
    issuing: Issuer
    claims: Issuer


def load_issuers(settings: HubSettings, section: AuthoritySection) -> Issuers:
    """Raises DeviceError where a file is missing, or a key and its certificate do not belong together."""
    root = _certificate(settings.path(settings.broker.ca))
    issuing = Issuer(_certificate(settings.path(section.issuing_certificate)), issuing_key(settings, section))
    claims = Issuer(
        _certificate(settings.path(section.claims_certificate)), file_key(settings.path(section.claims_key))
    )
    for name, issuer in (("issuing", issuing), ("claims", claims)):
        if public_der(issuer.key.public_key()) != public_der(certificate_key(issuer.certificate)):
            raise DeviceError(f"The {name} key does not belong to its certificate.", next_step=_RESTORE)
    if not is_issued_by(issuing.certificate, root):
        raise DeviceError("The issuing authority was not signed by the pinned root.", next_step=_RESTORE)
    return Issuers(der(root), issuing, claims)


def issuing_key(settings: HubSettings, section: AuthoritySection) -> ec.EllipticCurvePrivateKey:
    """The issuing key where hub.toml says that it is. Raises DeviceError."""
    if section.issuing_key.startswith(SCHEME):
        return HardwareKey(section.issuing_key)
    return file_key(settings.path(Path(section.issuing_key)))


def _certificate(path: Path) -> x509.Certificate:
    try:
        return load_certificate(_read(path))
    except RemoteError:
        raise DeviceError(f"{path} is no certificate of the bus.", next_step=_RESTORE) from None


def file_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A P-256 key from a PEM file. Raises DeviceError."""
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError):
        key = None
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise DeviceError(f"{path} holds no P-256 key.", next_step=_RESTORE)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}.", next_step=_RESTORE) from None
