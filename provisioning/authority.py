"""The message bus's authorities as they are made once: a root, the issuing authority under it, and two roots apart.

The root signs the issuing authority and then leaves the machine. Claims have a root of their own, which only the
provisioning listener trusts; the hub's control of the broker has another. See contract.certificates for the profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from contract.certificates import (
    Issuer,
    certify_authority,
    certify_client,
    certify_server,
    make_revocation_list,
    make_root,
    new_key,
    pem,
    private_pem,
    request_key,
)
from contract.errors import DeviceError

HUB = "hub"


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with those that lead to the root, and its private key, all PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Makes the authorities, and signs certificates with them. With a `request` the issuing key stays where it is."""

    def __init__(self, name: str, now: datetime, request: x509.CertificateSigningRequest | None = None) -> None:
        """Make a new root called `name`, valid from `now`.

        request: of an issuing key that lives elsewhere, in a hardware module; then `issue` cannot sign here, and the
        hub certifies itself and its broker when it first starts.
        """
        self._now = now
        self._root = make_root(name, new_key(), now)
        self._claims = make_root(f"{name} claims", new_key(), now, path_length=0)
        self._control = make_root(f"{name} control", new_key(), now, path_length=0)
        self._signer: Issuer | None = None
        if request is None:
            key = new_key()
            self._issuing = certify_authority(self._root, f"{name} issuing", key.public_key(), now)
            self._signer = Issuer(self._issuing, key)
        else:
            self._issuing = certify_authority(self._root, f"{name} issuing", request_key(request), now)

    @property
    def root(self) -> Credential:
        """The root itself: to be kept off-line."""
        return _credential(self._root)

    @property
    def certificate(self) -> bytes:
        """The root's certificate, PEM: the one thing every party pins."""
        return pem(self._root.certificate)

    @property
    def issuing(self) -> tuple[bytes, bytes | None]:
        """The issuing authority's certificate, PEM, and its key where it was made here."""
        return pem(self._issuing), None if self._signer is None else private_pem(self._signer.key)

    @property
    def claims(self) -> Credential:
        """The root of claims."""
        return _credential(self._claims)

    @property
    def control(self) -> bytes:
        """The root of the hub's control of the broker, PEM; its key is not kept."""
        return pem(self._control.certificate)

    def issue(self, common_name: str, *, server_names: tuple[str, ...] = (), key_home: str = "") -> Credential:
        """A certificate for `common_name`: for a server where names are given, for a client otherwise."""
        signer, key = self._here(), new_key()
        if server_names:
            certificate = certify_server(signer, common_name, server_names, key.public_key(), self._now)
        else:
            certificate = certify_client(signer, common_name, key.public_key(), self._now, key_home=key_home)
        return Credential(pem(certificate, signer.certificate), private_pem(key))

    def issue_control(self) -> Credential:
        """What the hub shows at the broker's control listener; as long-lived as its root, since both are local."""
        key = new_key()
        life = self._control.certificate.not_valid_after_utc - self._now
        certificate = certify_client(self._control, HUB, key.public_key(), self._now, life=life)
        return Credential(pem(certificate), private_pem(key))

    def revocation_list(self) -> bytes:
        """An empty list, so that the broker can start before the hub has written one."""
        return make_revocation_list(self._here(), 0, (), self._now)

    def _here(self) -> Issuer:
        if self._signer is None:
            raise DeviceError(
                "The issuing key lives in a hardware module, so nothing can be certified here.",
                next_step="Start the hub: it certifies itself and its broker.",
            )
        return self._signer


def _credential(issuer: Issuer) -> Credential:
    return Credential(pem(issuer.certificate), private_pem(issuer.key))
