"""Orders of a technician's tool to the hub and the answers: signed, idempotent, safe to repeat over a bad line.

The tool signs an order with the technician's key and repeats the same bytes until the answer comes; the hub carries an
order out once and answers repetitions from memory. The approval order is the technician's token: it binds site, unit,
serial number and key digest, and is kept as evidence.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from contract.commissioning import CertificateDer, PublicDer, UnitRole
from contract.commissioning_problems import Problem
from contract.configuration import Tables
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.packet import Digest, Millis, Model, Name, Text, UuidText
from contract.seal import STATEMENT_BYTES_MAX, StatementKey, StatementPublicKey, sign_statement, verify_statement
from contract.transfer import UplinkStatus
from contract.unit_alerts import UnitAlert

ORDER_PURPOSE, REPLY_PURPOSE = "technician order", "technician reply"
ORDER_AGE_MS_MAX = 24 * 3600 * 1000
ORDER_AHEAD_MS_MAX = 5 * 60 * 1000
CLAIMS_MAX = 50
ROWS_MAX = 50
PACKETS_ASKED_MAX = 500


class Verb(StrEnum):
    """What a technician may order."""

    CLAIMS = "claims"
    KNOCKS = "knocks"
    APPROVE = "approve"
    ASSIGN = "assign"
    CONFIGURE = "configure"
    SETTINGS = "settings"
    STATUS = "status"
    RENEW = "renew"
    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"
    RETIRE = "retire"
    REPLACE = "replace"
    WHEREABOUTS = "whereabouts"
    RELEASES = "releases"
    UPDATE = "update"
    ROLLOUT = "rollout"
    ROLLOUTS = "rollouts"
    TEST = "test"
    LOGS = "logs"
    CERTIFICATE = "certificate"
    CERTIFICATE_USED = "certificate-used"
    DISMISS = "dismiss"
    REFUSED = "refused"


COMMANDS = frozenset({Verb.TEST, Verb.LOGS, Verb.RENEW})  # for a unit, now: contract.unit_command


class Order(Model):
    """One order. id: the same for every repetition; body: CBOR of the verb's own message."""

    id: UuidText
    technician: Name
    verb: Verb
    at_ms: Millis
    body: Annotated[bytes, Field(max_length=48 * 1024)]


class Reply(Model):
    """The hub's answer to one order. problem: where it was refused for a known reason; body: CBOR of the result."""

    id: UuidText
    done: bool
    problem: Problem | None = None
    message: Annotated[str, Field(max_length=600)] = ""
    next_step: Annotated[str, Field(max_length=600)] = ""
    hub_ms: Millis
    body: Annotated[bytes, Field(max_length=56 * 1024)] = b""


class ClaimAsk(Model):
    """One claim to be certified. serial: of the only unit that may use it, empty for any."""

    nonce: Name
    serial: Annotated[str, Field(max_length=64)] = ""
    key: PublicDer


class ClaimsOrder(Model):
    """Certify claims that live `life_h` hours."""

    claims: Annotated[tuple[ClaimAsk, ...], Field(min_length=1, max_length=CLAIMS_MAX)]
    life_h: Annotated[int, Field(ge=1, le=72)]


class ClaimsResult(Model):
    """The certificates in the order of the claims, and what else the media must carry.

    update_root: the TUF root, empty until there is a repository.
    """

    certificates: Annotated[tuple[CertificateDer, ...], Field(max_length=CLAIMS_MAX)]
    hub_statement: bytes
    hub_dispatch: bytes
    host: str
    claim_port: int
    service_port: int
    renewal_port: int
    made_ms: Millis
    expires_ms: Millis
    update_root: Annotated[bytes, Field(max_length=64 * 1024)] = b""


class KnocksOrder(Model):
    """Who knocks. page: counts from 0."""

    page: Annotated[int, Field(ge=0, le=10_000)] = 0


class KnockRow(Model):
    """One knocking unit as a technician sees it. fingerprint: of its keys, to be compared with the unit's screen."""

    nonce: Name
    serial: str
    model: str
    software: str
    key_home: str
    fingerprint: str
    key_digest: Digest
    knocked_ms: Millis
    clock_off_ms: int
    state: str
    unit: str
    problem: Problem | None = None


class KnocksResult(Model):
    """A page of knocking units, the newest knock first."""

    rows: Annotated[tuple[KnockRow, ...], Field(max_length=ROWS_MAX)]
    more: bool


class ApproveOrder(Model):
    """The technician's token: this unit, with this serial number and these keys, stands at this site.

    tables: its first configuration; replaces: the unit that it takes the place of, or nothing.
    """

    nonce: Name
    unit: Name
    site: Name
    role: UnitRole
    serial: Name
    key_digest: Digest
    tables: Tables
    replaces: Annotated[str, Field(max_length=64)] = ""


class AssignOrder(Model):
    """Move a unit that is not in service to another site."""

    unit: Name
    site: Name


class ConfigureOrder(Model):
    """Desire these tables of a unit; they replace those desired before.

    after: the version that the technician saw them beside; the hub refuses where it is another by now.
    """

    unit: Name
    tables: Tables
    after: Annotated[int, Field(ge=0, le=2**53)] | None = None


class SettingsOrder(Model):
    """What a unit is told to be, and what it made of it."""

    unit: Name


class SettingsResult(Model):
    """The newest desired configuration, version 0 where there is none, and the unit's own word on it.

    in_force: whether the unit runs on exactly this; refused: whether it tried or checked this, and does not.
    """

    unit: Name
    version: Annotated[int, Field(ge=0, le=2**53)]
    tables: Tables
    online: bool
    reported_version: Annotated[int, Field(ge=0, le=2**53)]
    in_force: bool
    refused: bool
    problem: Problem | None = None
    detail: Annotated[str, Field(max_length=1000)] = ""


class UnitOrder(Model):
    """An order about one unit that needs a reason: suspend, resume, revoke, retire."""

    unit: Name
    reason: Text


class ReplaceOrder(Model):
    """A dead unit goes; `successor` is in its place, or comes later."""

    unit: Name
    successor: Annotated[str, Field(max_length=64)] = ""
    reason: Text


class CertificateResult(Model):
    """A technician's next certificate with its issuer, DER. The order's body is a commissioning.Renewal."""

    certificate: CertificateDer
    issuing: CertificateDer


class DismissOrder(Model):
    """Take a technician's certificates away, now."""

    technician: Name
    reason: Text


class StatusOrder(Model):
    """How a unit is, or all of them. page: counts from 0."""

    unit: Annotated[str, Field(max_length=64)] = ""
    page: Annotated[int, Field(ge=0, le=10_000)] = 0


class CertificateRow(Model):
    """One certificate of a unit."""

    serial: str
    state: str
    key_home: str
    from_ms: int
    until_ms: int
    reason: str


class UnitRow(Model):
    """One unit as a technician sees it. pending: packets that it said were not at the centre yet, −1 if unknown.

    held: of these, set aside after failures; oldest_age_s: of these, as of now; alerts: what to see to, the gravest
    first; pending_bytes: of what it holds; visit_by_ms: when that has waited too long, 0 with nothing waiting;
    broken_hop: the first that its newest link check did not reach; uplink: its panel with the newest link
    check, where one unit was asked for.
    """

    unit: Name
    site: str
    role: str
    state: str
    online: bool
    seen_ms: int
    software: str
    serial: str
    pending: int
    desired_version: int
    reported_version: int
    problem: Problem | None = None
    detail: Annotated[str, Field(max_length=400)] = ""
    certificates: Annotated[tuple[CertificateRow, ...], Field(max_length=20)] = ()
    held: int = 0
    oldest_age_s: int = 0
    alerts: Annotated[tuple[UnitAlert, ...], Field(max_length=len(UnitAlert))] = ()
    broken_hop: Text = ""
    uplink: UplinkStatus | None = None
    pending_bytes: int = 0
    visit_by_ms: int = 0


class StatusResult(Model):
    """A page of units by name. alarm: what is about to lock everybody out, or nothing."""

    rows: Annotated[tuple[UnitRow, ...], Field(max_length=ROWS_MAX)]
    more: bool
    alarm: Text = ""


class DepartureResult(Model):
    """What is known of the data of a unit that went: nothing of it may be forgotten.

    received: packets of the unit that are here; partial: transfers that never ended; pending: what it last said it
    still held, −1 if it never did; oldest_age_s: of the oldest of these, when it said so.
    """

    unit: Name
    state: str
    received: int
    partial: int
    pending: int
    oldest_age_s: int
    said_ms: int


class RefusedOrder(Model):
    """Which orders were refused. page: counts from 0."""

    page: Annotated[int, Field(ge=0, le=10_000)] = 0


class RefusedRow(Model):
    """An order that the hub refused. about: the unit, claim or person that it named; left_out_before: how many of this
    technician's were not written down before this one, since there were too many."""

    technician: str
    verb: str
    about: str
    at_ms: Millis
    problem: Problem | None = None
    why: Annotated[str, Field(max_length=200)]
    left_out_before: int = 0


class RefusedResult(Model):
    """A page of refused orders, the newest first: everybody's for who works everywhere, else one's own."""

    rows: Annotated[tuple[RefusedRow, ...], Field(max_length=ROWS_MAX)]
    more: bool


class WhereaboutsOrder(Model):
    """What has become of these packets? pids: SHA-256 of the sealed bytes; who knows one holds the packet."""

    pids: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=PACKETS_ASKED_MAX)]


class PacketFate(StrEnum):
    """What has become of a packet at the centre; the words of its newest receipt."""

    ABSENT = "absent"
    STORED = "stored"
    RELEASED = "released"
    QUARANTINED = "quarantined"


class WhereaboutsResult(Model):
    """The fates, in the order of the packets asked for."""

    fates: Annotated[tuple[PacketFate, ...], Field(max_length=PACKETS_ASKED_MAX)]


def sign_order(order: Order, key: StatementKey) -> bytes:
    """The order as the tool publishes it, for every repetition the same bytes."""
    return sign_statement(encode(order), key, ORDER_PURPOSE)


def verify_order(signed: bytes, public: StatementPublicKey) -> Order:
    """An order by the holder of this key. Raises RemoteError."""
    order = decode(Order, verify_statement(signed, public, ORDER_PURPOSE), STATEMENT_BYTES_MAX)
    if order.technician != public.kid:
        raise _other()
    return order


def sign_reply(reply: Reply, key: StatementKey) -> bytes:
    """The reply as the hub publishes it."""
    return sign_statement(encode(reply), key, REPLY_PURPOSE)


def verify_reply(signed: bytes, public: StatementPublicKey, order: str) -> Reply:
    """The hub's reply to this order. Raises RemoteError."""
    reply = decode(Reply, verify_statement(signed, public, REPLY_PURPOSE), STATEMENT_BYTES_MAX)
    if reply.id != order:
        raise _other()
    return reply


def _other() -> RemoteError:
    return RemoteError("The order or reply is another one than its topic says.")
