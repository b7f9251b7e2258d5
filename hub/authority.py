"""The hub as certificate authority: signs certificates and the revocation list, and keeps hub and broker certified.

The list is signed anew at half of its life, and an alarm says when a quarter is left: a broker whose list has run out
locks everybody out. The hub's own certificate and the broker's are renewed here at two thirds of their lives.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from contract.certificates import (
    CLAIM_LIFE_MAX,
    CLOCK_SKEW,
    RevocationReason,
    Revoked,
    certificate_key,
    certify_client,
    certify_server,
    is_issued_by,
    load_certificate,
    make_revocation_list,
    new_key,
    pem,
    private_pem,
    public_der,
    renewal_due,
)
from contract.errors import RekamError
from hub import certificates
from hub.broker_files import write_private
from hub.certificates import CertificateState, milliseconds, moment
from hub.config import AuthoritySection
from hub.context import HUB_KEY_ID, HubContext
from hub.issuers import Issuers, file_key, load_issuers
from hub.schema.commissioning_tables import Certificate, RevocationList

ALARM_SHARE = 0.25
LISTS_KEPT = 20
_SKEW_MS = CLOCK_SKEW // timedelta(milliseconds=1)
log = structlog.get_logger("authority")


class Authority:
    """Signs. `now` is the hub's clock."""

    def __init__(self, context: HubContext, section: AuthoritySection) -> None:
        """Load both authorities. Raises DeviceError."""
        self._context = context
        self._section = section
        self.issuers: Issuers = load_issuers(context.settings, section)

    @property
    def issuing_certificate(self) -> x509.Certificate:
        """Who signs the units."""
        return self.issuers.issuing.certificate

    def issue(
        self,
        session: Session,
        name: str,
        public: ec.EllipticCurvePublicKey,
        key_home: str,
        nonce: str = "",
        follows: str = "",
    ) -> Certificate:
        """A pending certificate for a unit or technician; the same question again gives the same certificate.

        nonce: of the claim, or follows: the serial of the certificate that it is asked for with.
        """
        now = self._context.clock.wall_ms()
        known = certificates.pending_with(session, name, public_der(public))
        if known is not None and known.until_ms > now:
            return known
        certificates.drop_pending(session, name, now)
        certificate = certify_client(self.issuers.issuing, name, public, moment(now), key_home=key_home)
        return certificates.enter(session, certificate, CertificateState.PENDING, now, nonce, follows)

    def issue_claim(self, nonce: str, public: ec.EllipticCurvePublicKey, life: timedelta) -> x509.Certificate:
        """A claim certificate; it opens the provisioning listener and no other door."""
        life = min(life, CLAIM_LIFE_MAX)
        return certify_client(self.issuers.claims, nonce, public, moment(self._context.clock.wall_ms()), life=life)

    def revocation_list(self, session: Session) -> RevocationList:
        """The newest list; signed anew where certificates ended since, or half of its life has passed."""
        now = self._context.clock.wall_ms()
        newest = _newest_list(session)
        lines = certificates.revoked(session, now)
        if newest is not None:
            lines += certificates.strangers(session, _lines_of(newest), now)
        if newest is not None and _is_current(newest, now) and _lists(newest, lines):
            return newest
        row = RevocationList(encoded=b"", made_ms=now, next_ms=now + int(self._life / timedelta(milliseconds=1)))
        session.add(row)
        session.flush()
        row.encoded = make_revocation_list(self.issuers.issuing, row.number, lines, moment(now), self._life)
        session.execute(delete(RevocationList).where(RevocationList.number <= row.number - LISTS_KEPT))
        session.flush()
        log.info("revocation list signed", number=row.number, lines=len(lines))
        return row

    def is_listed(self, session: Session, certificate: x509.Certificate) -> bool:
        """Whether the newest list revokes a certificate."""
        newest = _newest_list(session)
        return newest is not None and any(line.serial == certificate.serial_number for line in _lines_of(newest))

    def adopt_list(self, session: Session, encoded: bytes) -> int:
        """Believe the list that the broker holds where it is newer than the database; how many certificates ended.

        A hub that begins again from a backup has forgotten whom it shut out since; the list that it signed has not.
        """
        try:
            found = x509.load_pem_x509_crl(encoded)
            number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            genuine = found.is_signature_valid(self.issuing_certificate.public_key())  # type: ignore[arg-type]
        except (ValueError, TypeError, x509.ExtensionNotFound):
            return 0
        newest = _newest_list(session)
        if not genuine or not number or (newest is not None and newest.number >= number):
            return 0
        row = RevocationList(
            number=number,
            encoded=encoded,
            made_ms=milliseconds(found.last_update_utc + CLOCK_SKEW),
            next_ms=milliseconds(found.next_update_utc or found.last_update_utc),
        )
        session.add(row)
        ended = certificates.end_listed(session, _lines_of(row), self._context.clock.wall_ms())
        log.critical("the broker's list is newer than the database: restored from a backup?", ended=",".join(ended))
        return len(ended)

    def alarm(self, session: Session) -> str:
        """What is about to lock everybody out, or nothing."""
        now = self._context.clock.wall_ms()
        newest = _newest_list(session)
        if newest is None or newest.next_ms - now < ALARM_SHARE * (newest.next_ms - newest.made_ms):
            return "The revocation list runs out: at its end the broker refuses everybody. Look at the hub's log."
        return ""

    def has_list(self, session: Session) -> bool:
        """Whether a list was ever signed."""
        return session.scalars(select(RevocationList.number).limit(1)).first() is not None

    def certify_hub(self) -> bool:
        """Renew the hub's own certificate where it is due or missing; whether there is a new one."""
        settings = self._context.settings
        certificate, key = settings.path(settings.broker.certificate), settings.path(settings.broker.key)
        if not self._is_due(certificate, key):
            return False
        fresh = new_key()
        now = moment(self._context.clock.wall_ms())
        issued = certify_client(self.issuers.issuing, HUB_KEY_ID, fresh.public_key(), now)
        self._write(certificate, key, issued, fresh)
        log.info("hub certified", until=issued.not_valid_after_utc.isoformat())
        return True

    def certify_broker(self, folder: Path) -> bool:
        """Renew the broker's certificate in its folder where it is due or missing; whether there is a new one."""
        certificate, key = folder / "tls.crt", folder / "tls.key"
        if not self._is_due(certificate, key):
            return False
        fresh = new_key()
        hosts = dict.fromkeys(
            (self._context.settings.broker.host, *self._section.broker_names, "localhost", "127.0.0.1")
        )
        now = moment(self._context.clock.wall_ms())
        issued = certify_server(self.issuers.issuing, "broker", tuple(hosts), fresh.public_key(), now)
        self._write(certificate, key, issued, fresh)
        log.info("broker certified", until=issued.not_valid_after_utc.isoformat())
        return True

    @property
    def _life(self) -> timedelta:
        return timedelta(hours=self._section.revocation_list_h)

    def _is_due(self, path: Path, key: Path) -> bool:
        """Whether the certificate is missing, not ours, without its key, or past two thirds of its life."""
        try:
            certificate = load_certificate(path.read_bytes())
            held = file_key(key)
        except (OSError, RekamError):
            return True
        fits = public_der(held.public_key()) == public_der(certificate_key(certificate))
        now = moment(self._context.clock.wall_ms())
        in_time = certificate.not_valid_before_utc <= now < renewal_due(certificate)
        return not fits or not in_time or not is_issued_by(certificate, self.issuing_certificate)

    def _write(self, certificate: Path, key: Path, issued: x509.Certificate, fresh: ec.EllipticCurvePrivateKey) -> None:
        """Key and certificate. A cut between them leaves two that do not fit, which the next start notices."""
        write_private(key, private_pem(fresh))
        write_private(certificate, pem(issued, self.issuing_certificate))


def _newest_list(session: Session) -> RevocationList | None:
    return session.scalars(select(RevocationList).order_by(RevocationList.number.desc()).limit(1)).first()


def _is_current(row: RevocationList, now_ms: int) -> bool:
    """Whether half of its life has not passed, and it has begun: a clock that was ahead signs lists of the future."""
    return row.made_ms - _SKEW_MS <= now_ms < (row.made_ms + row.next_ms) // 2


def _lines_of(row: RevocationList) -> list[Revoked]:
    """The lines of a signed list."""
    lines = []
    for entry in x509.load_pem_x509_crl(row.encoded):
        try:
            reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            reason = x509.ReasonFlags.unspecified
        superseded = reason is x509.ReasonFlags.superseded
        kind = RevocationReason.SUPERSEDED if superseded else RevocationReason.CESSATION
        lines.append(Revoked(entry.serial_number, entry.revocation_date_utc, kind))
    return lines


def _lists(row: RevocationList, lines: list[Revoked]) -> bool:
    """Whether a signed list has exactly these lines."""
    listed = {entry.serial_number for entry in x509.load_pem_x509_crl(row.encoded)}
    return listed == {line.serial for line in lines}
