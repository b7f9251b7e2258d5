"""The X.509 profile of the message bus (RFC 5280): which certificates exist, who signs them, and what is read in them.

A root that stays off-line signs one issuing authority; the issuing authority signs everybody who speaks on the bus, and
the revocation list. Claims have a root of their own, which only the provisioning listener trusts: a claim opens no
other door. Keys are P-256. The common name is who may speak; a private extension says where a unit's keys live.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

from contract.errors import RemoteError
from contract.topics import NAME_PATTERN

ROOT_LIFE = timedelta(days=3650)
ISSUING_LIFE = timedelta(days=1825)
OPERATIONAL_LIFE = timedelta(days=30)
CLAIM_LIFE_MAX = timedelta(hours=72)
REVOCATION_LIST_LIFE = timedelta(days=7)
RENEWABLE_AFTER_END = timedelta(days=180)
CLOCK_SKEW = timedelta(minutes=5)
CERTIFICATE_BYTES_MAX = 4096
CHALLENGE_BYTES = 32
# Under 2.25 (ITU-T X.667) anybody owns the arc of a UUID of their own; this one is the product's.
KEY_HOME = x509.ObjectIdentifier("2.25.215963427091460563286475021183560413337")
_UTF8_STRING, _DER_SHORT_MAX = 0x0C, 127
_REFUSED = "Start the commissioning of this unit again."


class RevocationReason(IntEnum):
    """Why a certificate is on the list (RFC 5280, 5.3.1)."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    SUPERSEDED = 4
    CESSATION = 5


_REASONS = {
    RevocationReason.UNSPECIFIED: x509.ReasonFlags.unspecified,
    RevocationReason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    RevocationReason.SUPERSEDED: x509.ReasonFlags.superseded,
    RevocationReason.CESSATION: x509.ReasonFlags.cessation_of_operation,
}


@dataclass(frozen=True, slots=True)
class Issuer:
    """A certificate authority: its certificate, and a key object that may live in a hardware module."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Revoked:
    """One line of the revocation list."""

    serial: int
    at: datetime
    reason: RevocationReason


def make_root(name: str, key: ec.EllipticCurvePrivateKey, now: datetime, *, path_length: int = 1) -> Issuer:
    """A self-signed authority. path_length: 1 above the issuing authority, 0 for one that signs end entities itself."""
    builder = _builder(_name(name), _name(name), key.public_key(), key.public_key(), now, ROOT_LIFE)
    return Issuer(_as_authority(builder, path_length).sign(key, hashes.SHA256()), key)


def certify_authority(root: Issuer, name: str, public: ec.EllipticCurvePublicKey, now: datetime) -> x509.Certificate:
    """The issuing authority's certificate; only its public key is needed, the private one may never leave an HSM."""
    life = min(now + ISSUING_LIFE, root.certificate.not_valid_after_utc) - now
    builder = _builder(_name(name), root.certificate.subject, public, root.key.public_key(), now, life)
    return _as_authority(builder, 0).sign(root.key, hashes.SHA256())


def certify_client(
    issuer: Issuer,
    name: str,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    *,
    life: timedelta = OPERATIONAL_LIFE,
    key_home: str = "",
) -> x509.Certificate:
    """A certificate for the client `name`. key_home: where its keys live, as `key_home_of` reads it again."""
    builder = _end_entity(issuer, name, public, now, life, ExtendedKeyUsageOID.CLIENT_AUTH)
    if key_home:
        builder = builder.add_extension(x509.UnrecognizedExtension(KEY_HOME, _utf8(key_home)), critical=False)
    return builder.sign(issuer.key, hashes.SHA256())


def certify_server(
    issuer: Issuer, name: str, hosts: tuple[str, ...], public: ec.EllipticCurvePublicKey, now: datetime
) -> x509.Certificate:
    """A certificate for a server that is reached under these host names or addresses."""
    builder = _end_entity(issuer, name, public, now, OPERATIONAL_LIFE, ExtendedKeyUsageOID.SERVER_AUTH)
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    return builder.add_extension(names, critical=False).sign(issuer.key, hashes.SHA256())


def make_request(name: str, key: ec.EllipticCurvePrivateKey, challenge: bytes = b"") -> x509.CertificateSigningRequest:
    """A PKCS#10 request (RFC 2986); the hub's challenge in it proves that the key signed it now."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    if challenge:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.hex().encode())
    return builder.sign(key, hashes.SHA256())


def load_request(der: bytes) -> x509.CertificateSigningRequest:
    """A request whose signature is its own key's, P-256. Raises RemoteError."""
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise RemoteError("The certificate request is too large.", next_step=_REFUSED)
    try:
        request = x509.load_der_x509_csr(der)
        genuine = request.is_signature_valid
    except Exception as error:  # noqa: BLE001 - the parser raises what it likes on hostile bytes
        raise RemoteError(f"The certificate request is none ({type(error).__name__}).", next_step=_REFUSED) from None
    if not genuine:
        raise RemoteError("The certificate request is not signed by its own key.", next_step=_REFUSED)
    request_key(request)
    return request


def request_key(request: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    """The public key of a request. Raises RemoteError where it is not P-256."""
    try:
        return _p256(request.public_key())
    except ValueError:
        raise RemoteError("The request's key is not P-256.", next_step=_REFUSED) from None


def request_challenge(request: x509.CertificateSigningRequest) -> bytes:
    """The challenge that a request repeats, or nothing."""
    try:
        value = request.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value
        return bytes.fromhex(value.decode("ascii"))
    except Exception:  # noqa: BLE001 - an attribute may be missing, repeated, of another type, or no text at all
        return b""


def load_certificate(encoded: bytes) -> x509.Certificate:
    """A certificate with a P-256 key, from DER or PEM. Raises RemoteError."""
    if len(encoded) > CERTIFICATE_BYTES_MAX:
        raise RemoteError("The certificate is too large.", next_step=_REFUSED)
    try:
        pem = encoded.lstrip().startswith(b"-----")
        certificate = x509.load_pem_x509_certificate(encoded) if pem else x509.load_der_x509_certificate(encoded)
        _p256(certificate.public_key())
        # The library parses these when they are first asked for.
        _ = certificate.subject, certificate.extensions
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except Exception as error:  # noqa: BLE001 - see load_request
        raise RemoteError(f"The certificate is none ({type(error).__name__}).", next_step=_REFUSED) from None
    return certificate


def certificate_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """The public key of a certificate that load_certificate gave."""
    return _p256(certificate.public_key())


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` signed `certificate`; says nothing of its validity in time."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def common_name(holder: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """The one common name, which is the subject's whole name. Raises RemoteError where it is no name of the bus."""
    try:
        attributes = list(holder.subject)
    except ValueError:
        attributes = []
    if len(attributes) != 1 or attributes[0].oid != NameOID.COMMON_NAME:
        raise RemoteError("The subject is not a single common name.", next_step=_REFUSED)
    name = attributes[0].value
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise RemoteError("The common name is no name of the bus.", next_step=_REFUSED)
    return name


def key_home_of(certificate: x509.Certificate) -> str:
    """Where the holder's keys live (`tls=software sign=atecc608`), or nothing where the certificate does not say."""
    try:
        extension = certificate.extensions.get_extension_for_oid(KEY_HOME).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    value = extension.value if isinstance(extension, x509.UnrecognizedExtension) else b""
    if len(value) < 2 or value[0] != _UTF8_STRING or value[1] != len(value) - 2:
        return ""
    return value[2:].decode("utf-8", errors="replace")


def renewal_due(certificate: x509.Certificate) -> datetime:
    """When two thirds of a certificate's life have passed."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return start + (end - start) * 2 / 3


def serial_text(certificate: x509.Certificate) -> str:
    """The serial number as the hub's tables and the tool's screens show it: lower-case hexadecimal."""
    return f"{certificate.serial_number:x}"


def public_der(key: ec.EllipticCurvePublicKey) -> bytes:
    """SubjectPublicKeyInfo DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_public(der: bytes) -> ec.EllipticCurvePublicKey:
    """A P-256 key from SubjectPublicKeyInfo DER. Raises RemoteError."""
    try:
        return _p256(serialization.load_der_public_key(der))
    except Exception as error:  # noqa: BLE001 - see load_request
        raise RemoteError(f"The public key is none ({type(error).__name__}).", next_step=_REFUSED) from None


def key_digest(*keys: bytes) -> bytes:
    """SHA-256 over public keys, each with its length before it: what a technician's word binds."""
    digest = hashlib.sha256(b"rekam keys 1")
    for key in keys:
        digest.update(len(key).to_bytes(4) + key)
    return digest.digest()


def fingerprint(digest: bytes) -> str:
    """The first 60 bits of a digest as three groups of four letters and digits, to be compared by eye."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: without I, L, O, U
    number = int.from_bytes(digest[:8]) >> 4
    letters = [alphabet[number >> shift & 31] for shift in range(55, -1, -5)]
    return "-".join("".join(letters[start : start + 4]) for start in (0, 4, 8))


def make_revocation_list(
    issuer: Issuer, number: int, revoked: Iterable[Revoked], now: datetime, life: timedelta = REVOCATION_LIST_LIFE
) -> bytes:
    """The issuing authority's list, PEM. A broker locks everybody out once `now + life` has passed."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - CLOCK_SKEW)
        .next_update(now + life)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    for entry in revoked:
        line = (
            x509.RevokedCertificateBuilder()
            .serial_number(entry.serial)
            .revocation_date(entry.at)
            .add_extension(x509.CRLReason(_REASONS[entry.reason]), critical=False)
        )
        builder = builder.add_revoked_certificate(line.build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates one after the other, PEM: a leaf first, then who signed it."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def der(certificate: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    """DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as unencrypted PKCS#8 PEM; the file that holds it is readable by its owner alone."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key in software."""
    return ec.generate_private_key(ec.SECP256R1())


def _end_entity(
    issuer: Issuer,
    name: str,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
    purpose: x509.ObjectIdentifier,
) -> x509.CertificateBuilder:
    return (
        _builder(_name(name), issuer.certificate.subject, public, issuer.key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )


def _as_authority(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True).add_extension(
        _usage(signs_certificates=True), critical=True
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer_public: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _utf8(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > _DER_SHORT_MAX:
        raise ValueError("the text is too long for this extension")
    return bytes((_UTF8_STRING, len(encoded))) + encoded


def _p256(key: object) -> ec.EllipticCurvePublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError("not a P-256 key")
