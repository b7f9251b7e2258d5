"""Keys of an SBI device's twin, and the trust provider that vouches for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from contract.clock import Clock, utc
from edge.sensors.sbi_token_frames import sign_token


class Issuer:
    """A trust provider and the keys of one device that it vouches for."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._clock = clock
        ca_key = rsa.generate_private_key(65537, 2048)
        self.key = rsa.generate_private_key(65537, 2048)
        self.anchor = self._certificate(f"{name} Trust", ca_key, f"{name} Trust", ca_key, authority=True)
        self.device = self._certificate(f"{name} Device", self.key, f"{name} Trust", ca_key, authority=False)

    def _certificate(
        self, subject: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey, *, authority: bool
    ) -> x509.Certificate:
        now = utc(self._clock.wall_ms())
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(issuer_key, SHA256())
        )

    def sign(self, payload: Mapping[str, Any]) -> str:
        """A token of the device, with its chain up to the trust provider."""
        return sign_token(payload, self.key, (self.device, self.anchor))
