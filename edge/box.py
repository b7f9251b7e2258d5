"""A box on its way to become a unit, without its network: what it says next, and what it makes of what it hears.

After a power cut it says again what it said before, and gets the same answer: the phase comes from the files alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from contract import topics
from contract.certificates import (
    certificate_key,
    der,
    fingerprint,
    load_certificate,
    make_request,
    public_der,
    serial_text,
)
from contract.clock import Clock, utc
from contract.commissioning import (
    CLOCK_SKEW_MS_MAX,
    Answer,
    AnswerState,
    Birth,
    CertificateAsk,
    Claim,
    Grant,
    Knock,
    binding_text,
    decode_claim,
    make_signed_birth,
    verify_answer,
    verify_confirmation,
)
from contract.commissioning_problems import Problem, Refusal
from contract.configuration import Desired, Reported, SelftestReport, SelftestRow, objection
from contract.dispatch import decode, encode
from contract.errors import DeviceError
from contract.seal import load_opening_key, load_public_key, load_statement_public_key, open_sealed
from edge.box_files import (
    CANDIDATE,
    DRAFT,
    HUB_DISPATCH,
    HUB_STATEMENT,
    OPEN_KEY,
    REPORTED,
    SELFTEST,
    BoxFiles,
    BoxKeys,
    Phase,
)
from edge.config import UnitConfig, load_config
from edge.factory import Factory

HUB = "hub"


class Door(StrEnum):
    """Which of the broker's doors a message goes through."""

    CLAIM = "claim"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Saying:
    """What the box says next."""

    door: Door
    topic: str
    payload: bytes
    retain: bool = False


class Box:
    """One box. Methods block on the disk; they raise Refusal or RemoteError for what is wrong with a message."""

    def __init__(self, files: BoxFiles, factory: Factory, clock: Clock, software: str) -> None:
        self.files = files
        self._factory = factory
        self._clock = clock
        self._software = software
        self._answer: Answer | None = None
        self._digest = b""
        self.problem: Refusal | None = None

    @property
    def serial(self) -> str:
        """The number on the box."""
        return self._factory.serial

    @property
    def phase(self) -> Phase:
        """How far the box is."""
        return self.files.phase

    @property
    def nonce(self) -> str:
        """Of the claim that it has, empty without one."""
        return "" if self.phase is Phase.UNCLAIMED else self.files.claim().nonce

    @property
    def code(self) -> str:
        """The fingerprint of its keys, for the technician to compare; empty before it has knocked."""
        return fingerprint(self._digest) if self._digest else ""

    @property
    def is_approved(self) -> bool:
        """Whether a technician has approved it, as far as it has heard."""
        return self._answer is not None and self._answer.state in (AnswerState.APPROVED, AnswerState.DONE)

    def take_claim(self, content: bytes) -> bool:
        """Take up a claim from media; False where it is the one it has. Raises Refusal for one that cannot serve.

        A new claim on a box that was not born yet begins again, with the keys that it has.
        """
        claim = decode_claim(content)
        if claim.serial and claim.serial != self._factory.serial:
            raise Refusal(Problem.CLAIM_FOR_OTHER_SERIAL, f"It is for {claim.serial}.")
        if self._has(claim):
            return False
        now = self._clock.wall_ms()
        if now < claim.made_ms - CLOCK_SKEW_MS_MAX:
            raise Refusal(Problem.CLOCK_WRONG, f"It shows {_day(now)}; the claim was made on {_day(claim.made_ms)}.")
        if now > claim.expires_ms:
            raise Refusal(Problem.CLAIM_EXPIRED, f"It ended on {_day(claim.expires_ms)}; the clock shows {_day(now)}.")
        self._begin(claim)
        self.problem = None
        return True

    def say(self) -> Saying | None:
        """What to say now; saying it again does no harm. None where there is nothing to say but to wait."""
        phase = self.phase
        if phase is Phase.KNOCKING:
            keys = self.files.keys()
            knock = self._knock(keys)
            self._digest = knock.digest()
            if self._answer is not None and self.is_approved:
                return self._ask(keys, self._answer)
            return Saying(Door.CLAIM, topics.CLAIM_KNOCK.at(nonce=self.files.claim().nonce), encode(knock))
        if phase is Phase.BORN:
            return self._birth()
        return None

    def hear_answer(self, payload: bytes) -> None:
        """The hub's answer to a knock or request. Raises RemoteError for one that the hub did not sign."""
        claim = self.files.claim()
        self._answer = answer = verify_answer(payload, load_statement_public_key(claim.hub_statement), claim.nonce)
        self.problem = Refusal(answer.problem, answer.detail) if answer.problem is not None else None

    def hear_grant(self, payload: bytes) -> None:
        """Certificate and surroundings, kept. Raises RemoteError for a grant that is not for this box."""
        claim, keys = self.files.claim(), self.files.keys()
        grant = decode(Grant, self._opened(payload, claim.nonce, claim.hub_dispatch))
        held = public_der(certificate_key(load_certificate(grant.certificate)))
        if grant.nonce != claim.nonce or held != keys.tls.public():
            raise Refusal(Problem.KEYS_CHANGED, "The grant is for another box.")
        if self.phase is Phase.KNOCKING:
            self.files.keep_grant(grant, claim)
            self.problem = None

    def hear_confirmation(self, payload: bytes) -> None:
        """The hub's word on the birth. Raises RemoteError; a refusal is kept as the box's problem.

        Where the certificate does not count any more, the box knocks again: the answer says what it needs now.
        """
        identity = self.files.identified()
        public = load_statement_public_key(self.files.kept(HUB_STATEMENT))
        found = verify_confirmation(payload, public, identity.unit)
        if found.certificate != serial_text(self.files.certificate()):
            return
        self.problem = Refusal(found.problem, found.detail) if found.problem is not None else None
        if found.problem is None and not identity.confirmed:
            self.files.confirm()
        elif found.problem is Problem.CERTIFICATE_REVOKED:
            self._begin(self.files.claim())

    def hear_desired(self, payload: bytes) -> UnitConfig | None:
        """A configuration: kept as a draft and reported; the settings where they can be used, None where not."""
        identity = self.files.identified()
        desired = decode(Desired, self._opened(payload, identity.unit, self.files.kept(HUB_DISPATCH)))
        if desired.unit != identity.unit:
            self._report(desired, Refusal(Problem.CONFIGURATION_FOR_OTHER_UNIT, f"It is for {desired.unit}."))
            return None
        if refusal := objection(desired.tables):
            self._report(desired, refusal)
            return None
        content, candidate = self.files.drafted(desired), self.files.folder.path(CANDIDATE)
        self.files.folder.write(CANDIDATE, content)
        try:
            config = load_config(candidate)
        except DeviceError as error:
            detail = error.message.removeprefix(f"{candidate}: ")
            self._report(desired, Refusal(Problem.CONFIGURATION_INVALID, detail))
            return None
        self.files.folder.write(DRAFT, content)  # only now: what is taken up in the end is what could be used
        self._report(desired, None)
        return config

    def note_selftest(self, rows: Sequence[SelftestRow]) -> bool:
        """The result of the unit's own test on the drafted configuration; whether everything passed."""
        reported = self.files.reported()
        if reported is None or not reported.digest:
            raise DeviceError("There is no configuration to test.", next_step="Wait for the hub's configuration.")
        passed = all(row.passed for row in rows)
        report = SelftestReport(digest=reported.digest, rows=tuple(rows), passed=passed, at_ms=self._clock.wall_ms())
        self.files.folder.write(SELFTEST, encode(report))
        failed = " ".join(f"{row.kind}: {row.next_step}" for row in rows if not row.passed)
        self.problem = None if passed else Refusal(Problem.SELFTEST_FAILED, failed[:800])
        return passed

    def reports(self) -> list[Saying]:
        """What the box reports of configuration and test, to be said again at every connect."""
        unit = self.files.identified().unit
        kept = ((self.files.reported(), topics.UP_REPORTED), (self.files.selftest(), topics.UP_SELFTEST))
        return [
            Saying(Door.SERVICE, topic.at(unit=unit), encode(message), topic.retain)
            for message, topic in kept
            if message is not None
        ]

    def _has(self, claim: Claim) -> bool:
        """Whether it has this claim; one of its own that cannot be read any more is none."""
        try:
            return self.phase is not Phase.UNCLAIMED and self.files.claim().nonce == claim.nonce
        except Refusal:
            return False

    def _begin(self, claim: Claim) -> None:
        self.files.begin(claim)
        self._answer = None

    def _knock(self, keys: BoxKeys) -> Knock:
        return Knock(
            serial=self._factory.serial,
            model=self._factory.model,
            software=self._software,
            tls_key=keys.tls.public(),
            sign_key=keys.sign.public(),
            open_key=keys.opening.public(),
            key_home=keys.home,
            wall_ms=self._clock.wall_ms(),
        )

    def _ask(self, keys: BoxKeys, answer: Answer) -> Saying:
        bound = binding_text(answer.nonce, answer.unit, answer.challenge, self._digest)
        try:
            binding = keys.sign.sign(bound)
        except DeviceError as error:
            raise Refusal(Problem.KEY_PART_UNUSABLE, str(error)) from None
        ask = CertificateAsk(request=der(make_request(answer.unit, keys.tls.key, answer.challenge)), binding=binding)
        return Saying(Door.CLAIM, topics.CLAIM_ASK.at(nonce=answer.nonce), encode(ask))

    def _birth(self) -> Saying:
        identity, keys = self.files.identified(), self.files.keys()
        birth = Birth(
            unit=identity.unit,
            serial=self._factory.serial,
            certificate=serial_text(self.files.certificate()),
            nonce=identity.nonce,
            software=self._software,
            key_home=keys.home,
            wall_ms=self._clock.wall_ms(),
        )
        signed = make_signed_birth(birth, keys.tls.sign)
        return Saying(Door.SERVICE, topics.UP_BIRTH.at(unit=identity.unit), signed, topics.UP_BIRTH.retain)

    def _opened(self, payload: bytes, name: str, dispatch: bytes) -> bytes:
        """What the hub sealed to this box under `name`. Raises RemoteError."""
        public = load_public_key(dispatch, HUB)
        opening = load_opening_key(self.files.kept(OPEN_KEY), name)
        return open_sealed(payload, opening, lambda signer: public if signer == HUB else None).payload

    def _report(self, desired: Desired, refusal: Refusal | None) -> None:
        now, known = self._clock.wall_ms(), self.files.reported()
        if refusal is None:
            report = Reported(version=desired.version, digest=desired.digest(), at_ms=now)
        else:
            report = Reported(
                version=known.version if known else 0,
                digest=known.digest if known else b"",
                refused_version=desired.version,
                problem=refusal.problem,
                detail=refusal.detail[:1000],
                at_ms=now,
            )
        self.files.folder.write(REPORTED, encode(report))
        self.problem = refusal


def _day(wall_ms: int) -> str:
    return utc(wall_ms).strftime("%Y-%m-%d %H:%M")
