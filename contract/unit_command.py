"""What a technician asks of a unit for now: passed on by the hub, begun in seconds or not at all, answered in parts.

The tool makes a key for each command and names it in the signed order; the hub checks the technician's rights, passes
the order on sealed to the unit, and hands back what it cannot open: every part of the answer is signed by the unit and
sealed to that key, which never leaves the tool's memory. Pictures may show a person; neither the broker, nor the hub,
nor whoever recorded the line can read them, then or later.

The tool gives the order again until it has every part. Each attempt is signed anew with its time and names the parts
that were heard; the command's id stays, so that a unit begins once and repeats what was lost.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contract.certificates import load_public
from contract.commissioning import PublicDer
from contract.commissioning_problems import Problem
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RemoteError
from contract.packet import Millis, Model, Name, Text, UuidText
from contract.seal import (
    SEAL_OVERHEAD_BYTES_MAX,
    OpeningKey,
    PublicKey,
    SigningKey,
    load_recipient_key,
    load_statement_public_key,
    open_sealed,
    seal,
)
from contract.technician import Order, verify_order
from contract.topics import COMMAND_LIFE_S

LIFE_MS = COMMAND_LIFE_S * 1000
ORDER_BYTES_MAX = 8 * 1024
PARTS_MAX = 64
PICTURES_MAX = 2
PICTURE_BYTES_MAX = 96 * 1024
PART_BYTES_MAX = 256 * 1024
SEALED_PART_BYTES_MAX = PART_BYTES_MAX + SEAL_OVERHEAD_BYTES_MAX
LINES_MAX = 200
LINE_FIELDS_CHARACTERS_MAX = 600

Level = Literal["debug", "info", "warning", "error", "critical"]
Sequence = Annotated[int, Field(ge=0, le=2**53)]


class CommandOrder(Model):
    """The body of a technician's order to a unit.

    command: the same for every attempt; answer_key: P-256, SubjectPublicKeyInfo DER, to which the answer is sealed;
    heard: how many parts the tool has; ask: CBOR of the verb's own message.
    """

    unit: Name
    command: UuidText
    answer_key: PublicDer
    heard: Annotated[int, Field(ge=0, le=PARTS_MAX)] = 0
    ask: Annotated[bytes, Field(max_length=1024)]


class Command(Model):
    """An order as the hub passes it on, sealed to the unit.

    order: signed by the technician; order_key: that verifies it, SubjectPublicKeyInfo DER, on the hub's word;
    issued_ms: the hub's clock when it passed on this attempt.
    """

    unit: Name
    command: UuidText
    technician: Name
    order_key: Annotated[bytes, Field(min_length=30, max_length=200)]
    order: Annotated[bytes, Field(min_length=1, max_length=ORDER_BYTES_MAX)]
    issued_ms: Millis


class Passed(Model):
    """The hub's word to the tool: it has passed the order on. sign_key: PEM, verifies what the unit answers.

    online: whether the unit is on its line as far as the hub has heard, and seen_ms: its last word.
    """

    unit: Name
    sign_key: Annotated[bytes, Field(min_length=60, max_length=1000)]
    online: bool
    seen_ms: Millis


class Part(Model):
    """A part of a unit's answer. number: counts from 0; last: nothing follows; message: where it could not go on."""

    unit: Name
    command: UuidText
    number: Annotated[int, Field(ge=0, lt=PARTS_MAX)]
    last: bool
    problem: Problem | None = None
    message: Annotated[str, Field(max_length=600)] = ""
    next_step: Annotated[str, Field(max_length=600)] = ""
    body: Annotated[bytes, Field(max_length=PART_BYTES_MAX - 4096)] = b""


class Nothing(Model):
    """A command, or an answer, that needs no more than its verb."""


class SelftestAsk(Model):
    """Try every device. pictures: send what the cameras saw."""

    pictures: bool = True


class TriedDevice(Model):
    """One row of the unit's self-test, and how many there will be. pictures: small JPEG of what the device saw."""

    rows: Annotated[int, Field(ge=1, le=PARTS_MAX)]
    kind: Name
    driver: Text = ""
    outcome: Literal["ok", "failed", "not configured"]
    model: Text = ""
    serial: Text = ""
    firmware: Text = ""
    time_ms: Annotated[int, Field(ge=0, le=2**40)] = 0
    found: Annotated[str, Field(max_length=500)] = ""
    next_step: Annotated[str, Field(max_length=500)] = ""
    pictures: Annotated[
        tuple[Annotated[bytes, Field(min_length=1, max_length=PICTURE_BYTES_MAX)], ...],
        Field(max_length=PICTURES_MAX),
    ] = ()


class LogsAsk(Model):
    """Log lines with a sequence above `after`, at least this grave, no older than `since_s` by the unit's clock."""

    after: Sequence = 0
    since_s: Annotated[int, Field(ge=0, le=400 * 86_400)] = 0
    level: Level = "debug"


class LogLine(Model):
    """One line. sequence: counts from 1 over the unit's life; fields: what stood beside the event, as text."""

    sequence: Sequence
    at_ms: Millis
    level: Level
    event: Text
    fields: Annotated[str, Field(max_length=LINE_FIELDS_CHARACTERS_MAX)] = ""


class LogPage(Model):
    """A page of lines, the oldest first. looked_to: ask for more after this one; oldest: that the unit still has.

    dropped: lines that were never kept, because they came faster than the disk took them.
    """

    lines: Annotated[tuple[LogLine, ...], Field(max_length=LINES_MAX)]
    looked_to: Sequence
    more: bool
    oldest: Sequence
    dropped: Sequence = 0
    unit_ms: Millis


def open_order(command: Command) -> tuple[Order, CommandOrder]:
    """The technician's order in a command, and what it says of it. Raises RemoteError where anything differs."""
    try:
        public = load_statement_public_key(command.order_key, command.technician)
    except DeviceError:
        raise RemoteError("The command names no key of a technician.") from None
    order = verify_order(command.order, public)
    body = decode(CommandOrder, order.body)
    load_public(body.answer_key)
    if (body.unit, body.command) != (command.unit, command.command):
        raise RemoteError("The command is about another unit or command than the order in it.")
    return order, body


def seal_part(part: Part, signer: SigningKey, answer_key: bytes) -> bytes:
    """A part as the unit publishes it; only the holder of the command's answer key can open it."""
    return seal(encode(part), signer, [load_recipient_key(answer_key, part.command)])


def open_part(sealed: bytes, key: OpeningKey, unit: PublicKey) -> Part:
    """A part of the answer to the command whose id is the key's, by this unit. Raises RemoteError."""
    if len(sealed) > SEALED_PART_BYTES_MAX:
        raise RemoteError(f"A part of {len(sealed)} bytes is too large.")
    opened = open_sealed(sealed, key, lambda signer: unit if signer == unit.kid else None)
    part = decode(Part, opened.payload)
    if (part.unit, part.command) != (unit.kid, key.kid):
        raise RemoteError("The part answers another command.")
    return part
