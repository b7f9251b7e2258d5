"""Operators, their leases, and how a unit's roster follows the hub's (M67).

An entry says who somebody is; a lease, signed by the hub, says what they may do, where, and until when. It ends by
itself on a unit that hears nothing. A unit's roster is said whole once, and then by a delta that always starts from
that whole: whoever missed a delta needs only the newest, one that comes twice changes nothing, and the digest of the
result tells a unit that it has to ask for the whole again.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from contract.dispatch import FINGERS_MAX, TemplateBytes, decode, encode
from contract.errors import RemoteError
from contract.packet import CardUid, Digest, Millis, Model, Name, Text
from contract.pins import PinState
from contract.seal import STATEMENT_BYTES_MAX, StatementKey, StatementPublicKey, sign_statement, verify_statement
from contract.secret import SecretHash

PURPOSE = "lease"
EVERYWHERE = "*"
OPERATORS_MAX = 500
SITES_MAX = 200
HELD_BYTES_MAX = 1024
SIGN_ONS_BYTES_MAX = 256 * 1024

Place = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$")]
Roles = Annotated[tuple[Name, ...], Field(min_length=1, max_length=8)]
SignedLease = Annotated[bytes, Field(min_length=1, max_length=STATEMENT_BYTES_MAX)]
Version = Annotated[int, Field(ge=0, le=2**53)]
Count = Annotated[int, Field(ge=0, le=2**53)]


class SignOnPolicy(StrEnum):
    """What a site asks of everybody who signs on there, besides what the operator's own entry asks."""

    FINGER = "finger"
    FINGER_AND_PIN = "finger+pin"
    FINGER_AND_CARD = "finger+card"


class Lease(Model):
    """What an operator may do, where, and until when; signed by the hub.

    sites: "*" for every site; sequence: counts this operator's leases, a later one replaces an earlier one;
    key_sha256: of the SubjectPublicKeyInfo that verifies the operator's sign-offs, so that no entry borrows a lease.
    """

    operator: Name
    roles: Roles
    sites: Annotated[tuple[Place, ...], Field(min_length=1, max_length=SITES_MAX)]
    from_ms: Millis
    until_ms: Millis
    sequence: Annotated[int, Field(ge=1, le=2**53)]
    key_sha256: Digest

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.until_ms <= self.from_ms:
            raise ValueError("a lease ends after it begins")
        return self

    def covers(self, site: str) -> bool:
        """Whether it is good for this site."""
        return bool({site, EVERYWHERE} & set(self.sites))


def sign_lease(lease: Lease, key: StatementKey) -> bytes:
    """The lease as the hub hands it out."""
    return sign_statement(encode(lease), key, PURPOSE)


def verify_lease(signed: bytes, public: StatementPublicKey) -> Lease:
    """A lease from the hub. Raises RemoteError."""
    return decode(Lease, verify_statement(signed, public, PURPOSE), STATEMENT_BYTES_MAX)


class OperatorEntry(Model):
    """An operator whom this unit may let work, for as long as the lease says.

    templates: {finger position: ISO/IEC 19794-2 record}; public_key: SubjectPublicKeyInfo DER, P-256, verifies
    sign-offs; private_key: PKCS#8 DER, makes them once the finger matched; pin, card_uid: second factors, empty for
    none; pin_state: None where the PIN was neither changed nor reset since the enrolment; lease: signed.
    """

    operator: Name
    name: Text
    templates: Annotated[dict[Annotated[int, Field(ge=1, le=10)], TemplateBytes], Field(max_length=FINGERS_MAX)]
    public_key: Annotated[bytes, Field(min_length=60, max_length=200)]
    private_key: Annotated[bytes, Field(min_length=60, max_length=400)]
    pin: SecretHash = ""
    card_uid: CardUid | None = None
    pin_state: PinState | None = None
    lease: SignedLease

    @model_serializer(mode="wrap")
    def _as_before_pins_had_states(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Units of an earlier version read the entry of whoever has no such state."""
        fields: dict[str, Any] = handler(self)
        if self.pin_state is None:
            fields.pop("pin_state", None)
        return fields

    @property
    def pin_stands(self) -> PinState:
        """The PIN's state, also where there is nothing to say of it."""
        return self.pin_state or PinState()

    def rights(self, public: StatementPublicKey, site: str) -> Lease:
        """The lease, where it is the hub's, this operator's, and good for this site. Raises RemoteError."""
        lease = verify_lease(self.lease, public)
        if lease.operator != self.operator or lease.key_sha256 != hashlib.sha256(self.public_key).digest():
            raise RemoteError("The lease belongs to another operator.", next_step="Ask the hub for the roster.")
        if not lease.covers(site):
            raise RemoteError("The lease is for other sites.", next_step="Ask the hub for the roster.")
        return lease


class Roster(Model):
    """All operators of one unit, by name; replaces any earlier version."""

    version: Version
    sign_on: SignOnPolicy = SignOnPolicy.FINGER
    operators: Annotated[tuple[OperatorEntry, ...], Field(max_length=OPERATORS_MAX)]

    @model_validator(mode="after")
    def _stand_in_order(self) -> Self:
        names = [entry.operator for entry in self.operators]
        if names != sorted(set(names)):
            raise ValueError("operators stand by name, each once")
        return self

    def digest(self) -> bytes:
        """SHA-256 of the roster's canonical encoding."""
        return hashlib.sha256(encode(self)).digest()


class RosterGap(RemoteError):
    """A delta does not lead from the roster that is here to the one that it promises: ask for the whole."""

    default_next_step = "The unit asks the hub for the whole roster by itself."


class RosterDelta(Model):
    """What has to be done to the whole of version `base`, or to anything between, to have `version`.

    changed: entries that are new, or other than in the base; renewed: {operator: signed lease} of those whose lease
    alone is another; digest: of the roster that results.
    """

    base: Version
    version: Version
    sign_on: SignOnPolicy
    changed: Annotated[tuple[OperatorEntry, ...], Field(max_length=OPERATORS_MAX)] = ()
    renewed: Annotated[dict[Name, SignedLease], Field(max_length=OPERATORS_MAX, default_factory=dict)]
    removed: Annotated[tuple[Name, ...], Field(max_length=OPERATORS_MAX)] = ()
    digest: Digest

    def applied_to(self, roster: Roster) -> Roster:
        """The roster of `version`; the same roster where it is that new already. Raises RosterGap."""
        if roster.version >= self.version:
            return roster
        if roster.version < self.base:
            raise RosterGap("The roster delta starts from a later roster than the one here.")
        entries = {entry.operator: entry for entry in roster.operators if entry.operator not in self.removed}
        for operator, lease in self.renewed.items():
            if operator not in entries:
                raise RosterGap("The roster delta renews somebody who is not here.")
            entries[operator] = entries[operator].model_copy(update={"lease": lease})
        entries |= {entry.operator: entry for entry in self.changed}
        if len(entries) > OPERATORS_MAX:
            raise RosterGap("The roster delta leads to too many operators.")
        operators = tuple(entries[name] for name in sorted(entries))
        result = Roster(version=self.version, sign_on=self.sign_on, operators=operators)
        if result.digest() != self.digest:
            raise RosterGap("The roster delta leads to another roster than it promises.")
        return result


class RosterHeld(Model):
    """Which roster a unit holds (`up/roster`, retained). asks: for the whole, since a delta does not fit."""

    version: Version
    digest: Digest
    asks: bool = False


class SignOnCount(Model):
    """Sign-ons of one operator at one unit, since the unit began. locked: too many wrong PINs in a row."""

    operator: Name
    last_ms: Millis
    signed_on: Count
    failed: Count
    locked: bool = False


class SignOns(Model):
    """All counts of a unit (`up/sign-ons`, retained): saying them twice changes nothing, and none is missed."""

    counts: Annotated[tuple[SignOnCount, ...], Field(max_length=OPERATORS_MAX)]
