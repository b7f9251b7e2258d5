"""What the hub answers a box that knocks, a unit that is born, and a unit that asks for its next certificate.

Everything may be said again, and gets the same answer: a knock changes nothing that the first did not, a request gets
the certificate that waits for it, a birth that was confirmed is confirmed again. Methods open their own transactions,
block, and raise RemoteError for what is not worth an answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from contract import topics
from contract.card_keys import CardRole, role_key_file
from contract.certificates import (
    CHALLENGE_BYTES,
    certificate_key,
    common_name,
    der,
    fingerprint,
    load_certificate,
    load_public,
    load_request,
    public_der,
    request_challenge,
    request_key,
    serial_text,
)
from contract.commissioning import (
    CLOCK_SKEW_MS_MAX,
    MESSAGE_BYTES_MAX,
    Answer,
    AnswerState,
    Birth,
    CertificateAsk,
    Confirmation,
    Grant,
    Knock,
    Renewal,
    RenewalAnswer,
    SignedBirth,
    binding_text,
    birth_text,
    is_signed,
    sign_answer,
    sign_confirmation,
    sign_renewal_answer,
)
from contract.commissioning_problems import Problem, Refusal
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.lifecycle import UnitEvent, UnitState
from contract.seal import load_recipient_key, seal
from contract.unit_alerts import UnitAlert
from hub import alarms, approvals, certificates, presence
from hub.authority import Authority
from hub.certificates import CertificateState
from hub.context import HubContext
from hub.public_keys import HubPublicKeys
from hub.renewals import next_certificate, note_copy
from hub.schema.commissioning_tables import Certificate, ClaimRow, Commissioning
from hub.schema.tables import Unit
from hub.unit_setup import UnitSetups
from hub.update_repository import UpdateRepository

RIVAL_MS = 2 * 60 * 1000
log = structlog.get_logger("commissioning")


@dataclass(frozen=True, slots=True)
class Said:
    """A message that answers; lost, it is asked for again. expiry_s: how long it counts, 0 for as long as it takes."""

    topic: str
    payload: bytes
    expiry_s: int = 0


@dataclass(frozen=True, slots=True)
class DeskParts:
    """What the desks stand on. changed: called when the broker's lists have to be written again."""

    context: HubContext
    authority: Authority
    setups: UnitSetups
    public: HubPublicKeys
    repository: UpdateRepository
    changed: Callable[[], None]


class CommissioningDesk:
    """Answers what comes over the provisioning listener and the renewal door, and births."""

    def __init__(self, parts: DeskParts) -> None:
        self._context, self._authority, self._setups = parts.context, parts.authority, parts.setups
        self._public, self._changed = parts.public, parts.changed

    def on_knock(self, nonce: str, payload: bytes) -> list[Said]:
        """A box says that it is there."""
        knock = decode(Knock, payload, MESSAGE_BYTES_MAX)
        for key in (knock.tls_key, knock.sign_key, knock.open_key):
            load_public(key)
        with self._context.database.transaction() as session:
            return [self._answer(nonce, self._take_knock(session, nonce, knock))]

    def on_ask(self, nonce: str, payload: bytes) -> list[Said]:
        """An approved box asks for its certificate: the grant, or why there is none."""
        ask = decode(CertificateAsk, payload, MESSAGE_BYTES_MAX)
        try:
            with self._context.database.transaction() as session:
                grant = self._grant(session, nonce, ask)
        except Refusal as refusal:
            log.warning("certificate refused", nonce=nonce, **refusal.diagnostics())
            return [self._answer(nonce, self._refused(nonce, refusal))]
        self._changed()
        return [grant]

    def take_birth(self, session: Session, unit: str, payload: bytes) -> Callable[[], list[Said]]:
        """A unit has connected with a certificate and says so: now it counts, and the claim is burned.

        Gives what makes the confirmation, for after the commit.
        """
        signed = decode(SignedBirth, payload, MESSAGE_BYTES_MAX)
        birth = decode(Birth, signed.birth, MESSAGE_BYTES_MAX)
        if birth.unit != unit:
            raise RemoteError("The birth is of another unit than its topic says.")
        problem, detail, is_fresh = None, "", False
        try:
            born = self._find_born(session, birth, signed)
        except Refusal as refusal:
            problem, detail = refusal.problem, refusal.detail
            log.warning("birth refused", unit=unit, **refusal.diagnostics())
        else:
            is_fresh = self._activate(session, *born)

        def confirm() -> list[Said]:
            if is_fresh:
                self._changed()
            confirmation = Confirmation(
                unit=unit, certificate=birth.certificate, problem=problem, detail=detail[:200], hub_ms=self._now()
            )
            signed_confirmation = sign_confirmation(confirmation, self._context.keys.statement)
            return [Said(topics.DN_CONFIRMED.at(unit=unit), signed_confirmation)]

        return confirm

    def on_renewal(self, unit: str, payload: bytes) -> list[Said]:
        """A request for the next certificate on the unit's own line."""
        return [Said(topics.DN_RENEWAL.at(unit=unit), self.renew(payload, unit))]

    def renew(self, payload: bytes, speaker: str = "") -> bytes:
        """The signed answer to a request for the next certificate. speaker: who the broker says sent it, if it does."""
        renewal = decode(Renewal, payload, MESSAGE_BYTES_MAX)
        digest = hashlib.sha256(renewal.request).digest()
        try:
            with self._context.database.transaction() as session:
                row = next_certificate(session, self._context, self._authority, renewal, speaker)
                answer = RenewalAnswer(
                    request_sha256=digest,
                    hub_ms=self._now(),
                    certificate=row.encoded,
                    issuing=der(self._authority.issuing_certificate),
                )
        except Refusal as refusal:
            log.warning("renewal refused", **refusal.diagnostics())
            if refusal.problem is Problem.CERTIFICATE_SUPERSEDED:
                self._note_copy(renewal.certificate)
            answer = RenewalAnswer(
                request_sha256=digest, problem=refusal.problem, detail=refusal.detail[:200], hub_ms=self._now()
            )
        else:
            self._changed()
        return sign_renewal_answer(answer, self._context.keys.statement)

    def _note_copy(self, encoded: bytes) -> None:
        """Its own key was proved, and it is not the unit's newest."""
        certificate = load_certificate(encoded)
        holder, serial = common_name(certificate), serial_text(certificate)
        with self._context.database.transaction() as session:
            note_copy(session, self._context.clock, holder, serial, "An older certificate asked for the next one.")

    def _note_copied_claim(self, session: Session, unit: str, knock: Knock) -> None:
        """Another box has the claim that a unit came in with: its media were copied, or the box was reset."""
        code = fingerprint(knock.digest())
        log.warning("a used claim knocks again", unit=unit, serial=knock.serial, code=code)
        if session.get(Unit, unit) is not None:
            detail = f"A box with serial number {knock.serial} shows {code}."
            alarms.raise_here(session, self._context.clock, unit, UnitAlert.CLAIM_COPIED, "claim", detail)

    def _take_knock(self, session: Session, nonce: str, knock: Knock) -> Answer:
        claim = session.get(ClaimRow, nonce, with_for_update=True)
        row = session.get(Commissioning, nonce)
        if claim is None:
            return self._refused(nonce, Refusal(Problem.CLAIM_UNKNOWN))
        if row is not None and row.key_digest != knock.digest():
            if claim.burned_ms is None:
                return self._refused(nonce, Refusal(Problem.KEYS_CHANGED))
            self._note_copied_claim(session, row.unit or "", knock)
            return self._refused(nonce, Refusal(Problem.CLAIM_USED))
        if claim.burned_ms is not None and row is not None:
            return self._reply(row, AnswerState.DONE)
        if self._now() > claim.expires_ms:
            return self._refused(nonce, Refusal(Problem.CLAIM_EXPIRED))
        if claim.serial and claim.serial != knock.serial:
            return self._refused(nonce, Refusal(Problem.CLAIM_FOR_OTHER_SERIAL, f"It is for {claim.serial}."))
        row = self._note_knock(session, row, nonce, knock)
        refusal = self._objection(session, row)
        rival = self._rival(session, row) if refusal is None and row.approval is None else None
        told = refusal or rival
        row.problem, row.detail = (told.problem, told.detail[:200]) if told else ("", "")
        session.flush()
        if refusal is not None:
            return self._refused(nonce, refusal)
        if row.approval is None:
            return self._reply(row, AnswerState.WAITING, rival or Refusal(Problem.NOT_APPROVED))
        return self._reply(row, AnswerState.APPROVED)

    def _note_knock(self, session: Session, row: Commissioning | None, nonce: str, knock: Knock) -> Commissioning:
        if row is None:
            row = Commissioning(
                nonce=nonce,
                serial=knock.serial,
                key_digest=knock.digest(),
                challenge=self._context.random_bytes(CHALLENGE_BYTES),
            )
            session.add(row)
            log.info("a unit knocks", nonce=nonce, serial=knock.serial, model=knock.model)
        row.knock, row.knocked_ms = encode(knock), self._now()
        row.clock_off_ms = knock.wall_ms - self._now()
        session.flush()
        return row

    def _objection(self, session: Session, row: Commissioning) -> Refusal | None:
        """Why this box does not go on for now, though its claim is good."""
        if abs(row.clock_off_ms) > CLOCK_SKEW_MS_MAX:
            return Refusal(Problem.CLOCK_WRONG, f"It is {_amount(abs(row.clock_off_ms))} {_way(row.clock_off_ms)}.")
        taken = self._setups.holder_of_serial(session, row.serial)
        if taken not in (None, row.unit, row.replaces) and not approvals.is_same_box(session, row, taken or ""):
            return Refusal(Problem.SERIAL_TAKEN, approvals.who_has_it(session, taken or "", row))
        return None

    def _rival(self, session: Session, row: Commissioning) -> Refusal | None:
        """That another box knocks with this serial number: which of them is right, the technician sees by the codes."""
        query = select(Commissioning).where(
            Commissioning.serial == row.serial,
            Commissioning.nonce != row.nonce,
            Commissioning.key_digest != row.key_digest,
            Commissioning.knocked_ms > self._now() - RIVAL_MS,
        )
        other = session.scalars(query.order_by(Commissioning.knocked_ms.desc()).limit(1)).first()
        if other is None:
            return None
        codes = fingerprint(row.key_digest), fingerprint(other.key_digest)
        return Refusal(Problem.SERIAL_SHARED, f"This box shows {codes[0]}, the other {codes[1]}.")

    def _grant(self, session: Session, nonce: str, ask: CertificateAsk) -> Said:
        row = session.get(Commissioning, nonce, with_for_update=True)
        claim = session.get(ClaimRow, nonce, with_for_update=True)
        if row is None or claim is None:
            raise Refusal(Problem.CLAIM_UNKNOWN)
        if row.approval is None or row.unit is None:
            raise Refusal(Problem.NOT_APPROVED)
        knock = decode(Knock, row.knock, MESSAGE_BYTES_MAX)
        request = load_request(ask.request)
        if common_name(request) != row.unit:
            raise Refusal(Problem.NAME_DIFFERS, f"It should be {row.unit}.")
        if public_der(request_key(request)) != knock.tls_key:
            raise Refusal(Problem.KEYS_CHANGED)
        bound = binding_text(nonce, row.unit, row.challenge, row.key_digest)
        if request_challenge(request) != row.challenge or not is_signed(
            load_public(knock.sign_key), ask.binding, bound
        ):
            raise Refusal(Problem.PROOF_WRONG)
        certificate = self._certificate_for(session, row, claim, knock)
        session.flush()
        log.info("certificate granted", nonce=nonce, unit=row.unit, certificate=certificate.serial)
        grant = self._grant_message(session, row, certificate)
        recipient = load_recipient_key(knock.open_key, nonce)
        sealed = seal(encode(grant), self._context.keys.dispatch, [recipient])
        return Said(topics.CLAIM_GRANT.at(nonce=nonce), sealed)

    def _certificate_for(self, session: Session, row: Commissioning, claim: ClaimRow, knock: Knock) -> Certificate:
        """The certificate of this claim: the one that was issued for it, whatever became of the first answer."""
        query = select(Certificate).where(Certificate.nonce == row.nonce).order_by(Certificate.issued_ms.desc())
        known = session.scalars(query).first()
        if claim.burned_ms is not None:
            if known is None or known.state != CertificateState.ACTIVE:
                raise Refusal(Problem.CLAIM_USED)
            return known
        if self._now() > claim.expires_ms:
            raise Refusal(Problem.CLAIM_EXPIRED)
        return self._authority.issue(session, row.unit or "", load_public(knock.tls_key), knock.key_home, row.nonce)

    def _grant_message(self, session: Session, row: Commissioning, certificate: Certificate) -> Grant:
        keys = self._context.keys
        unit = session.get_one(Unit, row.unit)
        sam = b""
        if unit.role == "station":
            sam = keys.sam
        elif unit.role == "handover":
            sam = role_key_file(keys.sam, CardRole.READER)
        return Grant.model_validate(
            {
                "nonce": row.nonce,
                "unit": unit.id,
                "site": unit.site,
                "role": unit.role,
                "certificate": certificate.encoded,
                "issuing": der(self._authority.issuing_certificate),
                "hub_packet": self._public.packet,
                "recovery": self._public.recovery,
                "issuer": self._public.issuer,
                "sam": sam,
            }
        )

    def _find_born(self, session: Session, birth: Birth, signed: SignedBirth) -> tuple[Certificate, Unit]:
        """The certificate that is born, and its unit. Raises Refusal where it does not count."""
        unit = presence.locked_unit(session, birth.unit)
        with session.no_autoflush:  # by its key
            row = session.get(Certificate, birth.certificate)
        if row is None or unit is None or row.holder != birth.unit:
            raise Refusal(Problem.CERTIFICATE_REVOKED, "This certificate is not known.")
        if not is_signed(certificate_key(load_certificate(row.encoded)), signed.proof, birth_text(signed.birth)):
            raise Refusal(Problem.PROOF_WRONG)
        if row.state != CertificateState.ACTIVE:  # one that counts already is confirmed, and nothing is changed
            session.refresh(row, with_for_update=True)
        if row.state not in certificates.LIVING:
            raise Refusal(Problem.CERTIFICATE_REVOKED, row.reason)
        return row, unit

    def _activate(self, session: Session, row: Certificate, unit: Unit) -> bool:
        """Let it count from now on; False where it does already."""
        if not certificates.activate(session, row, self._now()):
            return False
        log.info("certificate active", unit=unit.id, certificate=row.serial)
        claim = session.get(ClaimRow, row.nonce, with_for_update=True) if row.nonce else None
        if claim is not None and claim.burned_ms is None:
            claim.burned_ms, claim.unit = self._now(), unit.id
            self._enter_keyed(session, session.get_one(Commissioning, row.nonce), unit)
        return True

    def _enter_keyed(self, session: Session, row: Commissioning, unit: Unit) -> None:
        """The box is the unit now: it is keyed, and who it replaces is gone."""
        if unit.state == UnitState.CLAIMED:
            self._setups.move(session, unit, UnitEvent.KEY_MADE, unit.id, {"claim": row.nonce, "serial": row.serial})
        if row.replaces:
            self._setups.retire_replaced(session, row.replaces, unit.id)
        self._setups.desire_again(session, unit)

    def _reply(self, row: Commissioning, state: AnswerState, told: Refusal | None = None) -> Answer:
        approved = state in (AnswerState.APPROVED, AnswerState.DONE)
        return Answer(
            nonce=row.nonce,
            state=state,
            problem=told.problem if told else None,
            detail=told.detail[:200] if told else "",
            hub_ms=self._now(),
            unit=(row.unit or "") if approved else "",
            site=row.site if approved else "",
            role=row.role if approved else "",
            challenge=row.challenge if approved else b"",
        )

    def _refused(self, nonce: str, refusal: Refusal) -> Answer:
        return Answer(
            nonce=nonce,
            state=AnswerState.REFUSED,
            problem=refusal.problem,
            detail=refusal.detail[:200],
            hub_ms=self._now(),
        )

    def _answer(self, nonce: str, answer: Answer) -> Said:
        return Said(topics.CLAIM_ANSWER.at(nonce=nonce), sign_answer(answer, self._context.keys.statement))

    def _now(self) -> int:
        return self._context.clock.wall_ms()


def _amount(ms: int) -> str:
    """A length of time as a person would say it."""
    minutes = ms // 60_000
    return f"{minutes} minutes" if minutes < 2 * 24 * 60 else f"{minutes // (24 * 60)} days"


def _way(off_ms: int) -> str:
    return "ahead" if off_ms > 0 else "behind"
