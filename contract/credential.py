"""The certificate of a party of the bus over its renewals: a cut anywhere leaves one that works.

The next certificate is kept beside the present one with its key in one file, is used from the next connect on, and
takes the present one's place when the hub counts it. Units and technicians do the same.
"""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.certificates import (
    certificate_key,
    common_name,
    der,
    load_certificate,
    make_request,
    new_key,
    pem,
    private_pem,
    public_der,
    renewal_due,
    serial_text,
)
from contract.channel_mqtt_settings import MqttSettings
from contract.clock import Clock, utc
from contract.commissioning import Birth, Renewal, make_signed_birth, renewal_text
from contract.commissioning_problems import Problem, Refusal
from contract.durable_files import DurableFolder
from contract.errors import DeviceError, RekamError

NEXT, NEXT_KEY = "tls.next.pem", "tls.next.key"
SOFTWARE = "software"


class FileSigner:
    """A key in a PEM file."""

    home = SOFTWARE

    def __init__(self, pem: bytes) -> None:
        """Raises DeviceError for anything but a P-256 private key."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise DeviceError("A key file holds no P-256 key.", next_step="Commission the unit, or enrol, again.")
        self.key = key

    def public(self) -> bytes:
        """SubjectPublicKeyInfo DER."""
        return public_der(self.key.public_key())

    def sign(self, text: bytes) -> bytes:
        """ECDSA with SHA-256, DER."""
        return self.key.sign(text, ec.ECDSA(hashes.SHA256()))


class Credential:
    """The certificate that somebody speaks with: the present one, or the next one while it is tried."""

    def __init__(self, settings: MqttSettings, clock: Clock, files: DurableFolder) -> None:
        """settings: of the service line, with the present certificate's files; files: of the folder they lie in."""
        self._settings = settings
        self._clock = clock
        self._files = files
        self._failures = 0

    def settings(self) -> MqttSettings:
        """Asked at every connect. The next certificate is tried first; after two failures they take turns.

        A cut while one took the other's place leaves a present certificate beside another's key: then there is no turn.
        """
        if self._files.path(NEXT).exists() and (self._failures % 4 < 2 or not self._present_fits()):
            return replace(self._settings, certificate=self._files.path(NEXT), key=self._files.path(NEXT))
        return self._settings

    def _present_fits(self) -> bool:
        try:
            held = certificate_key(load_certificate(self._settings.certificate.read_bytes()))
            return FileSigner(self._settings.key.read_bytes()).public() == public_der(held)
        except (OSError, RekamError):
            return False

    def note_connected(self) -> None:
        """The one that is tried works."""
        self._failures = 0

    def note_lost(self) -> None:
        """An attempt failed, or a connection ended."""
        self._failures += 1

    def present(self) -> tuple[x509.Certificate, FileSigner]:
        """The certificate in use and its key. Raises RekamError."""
        return _read(self.settings())

    def newest(self) -> tuple[x509.Certificate, FileSigner]:
        """The last certificate that was issued to this party, used yet or not, and its key. Raises RekamError.

        Only this one may be followed by another: an older one renews for nobody, since a copy of it would come back so.
        """
        if self._files.path(NEXT).exists():
            return _read(replace(self._settings, certificate=self._files.path(NEXT), key=self._files.path(NEXT)))
        return _read(self._settings)

    def birth(self, serial: str, software: str) -> bytes:
        """What is said after connecting: with this certificate, whose key is here. serial: of the machine."""
        certificate, signer = self.present()
        birth = Birth(
            unit=common_name(certificate),
            serial=serial,
            certificate=serial_text(certificate),
            software=software,
            key_home="",
            wall_ms=self._clock.wall_ms(),
        )
        return make_signed_birth(birth, signer.sign)

    def request(self) -> Renewal:
        """Ask for the next certificate; the same key until it is answered, so that the answer may be lost."""
        certificate, signer = self.newest()
        content = self._files.read(NEXT_KEY)
        if content is None:
            content = private_pem(new_key())
            self._files.write(NEXT_KEY, content)
        key = FileSigner(content).key
        request = der(make_request(common_name(certificate), key))
        now = self._clock.wall_ms()
        proof = signer.sign(renewal_text(der(certificate), request, now))
        return Renewal(certificate=der(certificate), request=request, wall_ms=now, proof=proof)

    def keep_next(self, certificate: bytes, issuing: bytes) -> None:
        """Keep the next certificate with its key, in one file. Raises Refusal where they do not fit."""
        content = self._files.read(NEXT_KEY)
        issued = load_certificate(certificate)
        if content is None or FileSigner(content).public() != public_der(certificate_key(issued)):
            raise Refusal(Problem.KEYS_CHANGED, "The certificate is for another key.")
        self._files.write(NEXT, pem(issued, load_certificate(issuing)) + content)
        self._failures = 0

    def take_over(self, serial: str) -> bool:
        """The hub counts the certificate with this serial: where it is the next one, it takes the present one's place.

        The file with both is removed last, and serves until then: no cut leaves a certificate without its key.
        """
        content = self._files.read(NEXT)
        if content is None or serial_text(load_certificate(content)) != serial:
            return False
        key_at = content.index(b"-----BEGIN P")  # behind the certificates
        self._files.write(self._settings.certificate.name, content[:key_at])
        self._files.write(self._settings.key.name, content[key_at:])
        self._files.remove(NEXT)
        self._files.remove(NEXT_KEY)
        return True

    @property
    def is_due(self) -> bool:
        """Whether two thirds of the newest certificate's life have passed."""
        return utc(self._clock.wall_ms()) >= renewal_due(self.newest()[0])

    @property
    def has_ended(self) -> bool:
        """Whether the newest certificate is past its end, by this unit's clock."""
        return utc(self._clock.wall_ms()) >= self.newest()[0].not_valid_after_utc

    @property
    def is_tried(self) -> bool:
        """Whether a next certificate waits to be confirmed; one that ended before that has to be followed itself."""
        content = self._files.read(NEXT)
        return content is not None and utc(self._clock.wall_ms()) < load_certificate(content).not_valid_after_utc

    def give_up(self, serial: str) -> bool:
        """The hub does not count the certificate with this serial: is it the next one, the present one goes on."""
        content = self._files.read(NEXT)
        if content is None or serial_text(load_certificate(content)) != serial or not self._present_fits():
            return False
        self._files.remove(NEXT)
        self._files.remove(NEXT_KEY)
        return True


def _read(settings: MqttSettings) -> tuple[x509.Certificate, FileSigner]:
    """A certificate and its key from their files. Raises RekamError."""
    try:
        certificate, key = settings.certificate.read_bytes(), settings.key.read_bytes()
    except OSError as error:
        raise DeviceError(
            f"{error.filename} cannot be read: {error.strerror}.", next_step="Commission the unit, or enrol, again."
        ) from None
    return load_certificate(certificate), FileSigner(key)
