"""The transfer of sealed packets: offer, need, chunk, receipt, and the states that unit and hub show each other.

Only the hub's signed receipt, sent after its commit, frees anything on a unit; a broker's acknowledgement means that
the broker has heard it. Everything is idempotent: an offer may come again at any time, and is answered by what is
missing, or by the receipt.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.identifiers import PID_PATTERN
from contract.packet import SCHEMA_VERSION, Millis, Model, Name, Text, UuidText
from contract.seal import (
    SEALED_BYTES_MAX,
    STATEMENT_BYTES_MAX,
    StatementKey,
    StatementPublicKey,
    sign_statement,
    verify_statement,
)

CHUNK_BYTES_MAX = 65536
CHUNK_BYTES_MIN = 1024
CHUNK_HEADROOM_BYTES = 1024  # topic and properties around a chunk in the broker's largest packet
CHUNKS_MAX = -(-SEALED_BYTES_MAX // CHUNK_BYTES_MIN)
WINDOW_CHUNKS = 8
NEED_RANGES_MAX = 512
LINK_HOPS_MAX = 8
MESSAGE_BYTES_MAX = 16 * 1024
RECEIPT_PURPOSE = "receipt"
ATTEMPT_ANEW = 0

_CHUNK_HEAD = struct.Struct(">II")

Pid = Annotated[str, Field(pattern=PID_PATTERN.pattern)]
Length = Annotated[int, Field(ge=1, le=SEALED_BYTES_MAX)]
Index = Annotated[int, Field(ge=0, lt=CHUNKS_MAX)]
Count = Annotated[int, Field(ge=0, le=2**53)]


class Offer(Model):
    """A unit offers one packet (its pid is in the topic).

    attempt: a number that the answer repeats, so that a late answer to an earlier offer is not taken for this one's;
    count: follows from length and chunk, and is checked.
    """

    attempt: Annotated[int, Field(ge=1, le=2**53)]
    length: Length
    chunk: Annotated[int, Field(ge=CHUNK_BYTES_MIN, le=CHUNK_BYTES_MAX)]
    count: Annotated[int, Field(ge=1, le=CHUNKS_MAX)]
    key_id: Name
    schema_version: Literal[1] = SCHEMA_VERSION

    @model_validator(mode="after")
    def _count_follows(self) -> Offer:
        if self.count != chunk_count(self.length, self.chunk):
            raise ValueError("count does not follow from length and chunk")
        return self


class Need(Model):
    """The hub's answer to an offer: which chunks it lacks, as (first, last) inclusive and ascending.

    attempt: the offer's, or ATTEMPT_ANEW where the chunks did not make up the packet and all are needed again;
    retry_after_ms: above 0 the hub takes nothing now (quota), and the unit asks again after that time.
    """

    attempt: Annotated[int, Field(ge=ATTEMPT_ANEW, le=2**53)]
    chunk: Annotated[int, Field(ge=CHUNK_BYTES_MIN, le=CHUNK_BYTES_MAX)]
    ranges: Annotated[tuple[tuple[Index, Index], ...], Field(max_length=NEED_RANGES_MAX)]
    retry_after_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 0

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Need:
        edge = -1
        for first, last in self.ranges:
            if first <= edge or last < first:
                raise ValueError("ranges must ascend and not overlap")
            edge = last
        return self

    def indices(self, count: int) -> list[int]:
        """The chunks to send, of a packet that has `count`; what lies behind its end is left out."""
        return [index for first, last in self.ranges for index in range(first, min(last, count - 1) + 1)]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a packet: bytes [index·chunk, …) of the sealed bytes."""

    index: int
    data: bytes


class Disposition(StrEnum):
    """What the hub's receipt says has become of a packet."""

    STORED = "stored"
    RELEASED = "released"
    QUARANTINED = "quarantined"

    @property
    def frees(self) -> bool:
        """Whether the unit may purge its copy: the hub keeps the bytes for good."""
        return self is not Disposition.STORED


class Receipt(Model):
    """The hub has this packet, durably. `stored`: stop sending and keep; released and quarantined: purge.

    hub_sequence: counts the hub's receipts; reason: for the unit's screen, without personal data.
    """

    pid: Pid
    length: Length
    hub_sequence: Annotated[int, Field(ge=1, le=2**53)]
    time_ms: Millis
    disposition: Disposition
    reason: Text = ""


class UnitState(Model):
    """A unit's presence (`up/state`, retained, also its will). A will of an older boot is ignored."""

    state: Literal["online", "offline"]
    boot: Annotated[int, Field(ge=0, le=2**53)]
    software: Text
    sequence: Annotated[int, Field(ge=0, le=2**53)]
    time_ms: Millis

    def supersedes(self, known: UnitState | None) -> bool:
        """Whether this is newer than `known`; the will of an older boot is not."""
        return known is None or (self.boot, self.sequence) >= (known.boot, known.sequence)


class UnitAlarm(Model):
    """Something at a unit that a technician should know of (`up/evt/{kind}`): its door, its temperature, its box.

    Said until the broker hands it to the hub, so it may come twice: alarm_id is the same then. source: which part saw
    it; detail: in words, without personal data.
    """

    alarm_id: UuidText
    kind: Name
    source: Name
    at_ms: Millis
    detail: Text = ""


class HubState(Model):
    """The hub's presence (`hub/state`, retained, also its will): units hold bulk until it is on-line."""

    online: bool
    time_ms: Millis


class LinkHop(Model):
    """One hop of a link check. round_trip_ms: 0 where it was not reached; problem: what was seen instead."""

    name: Text
    address: Text
    reachable: bool
    round_trip_ms: Annotated[float, Field(ge=0, le=3_600_000, allow_inf_nan=False)] = 0.0
    problem: Text = ""


class LinkCheck(Model):
    """A unit's newest link check (M21), hop by hop away from the unit. at_ms: by the unit's clock."""

    at_ms: Millis
    hops: Annotated[tuple[LinkHop, ...], Field(min_length=1, max_length=LINK_HOPS_MAX)]

    @property
    def broken_at(self) -> LinkHop | None:
        """The first hop that did not answer."""
        return next((hop for hop in self.hops if not hop.reachable), None)


class UplinkStatus(Model):
    """The uplink status panel: the NID Scheduler's five lines (M20), and what has not arrived yet with its age (M19).

    correlation_id: the site code; oldest_age_s: 0 with nothing pending; held: of these, set aside after failures;
    links: the newest link check, absent from units that have made none or know of none.
    """

    mode: Literal["PRODUCTION"] = "PRODUCTION"
    database: Literal["CONNECTED", "DISCONNECTED"]
    correlation_id: Name
    queue: Literal["CONNECTED", "DISCONNECTED"]
    scheduler: Literal["RUNNING", "STOPPED"]
    records_sent_since_restart: Count
    pending: Count = 0
    pending_bytes: Count = 0
    awaiting_release: Count = 0
    held: Count = 0
    oldest_age_s: Count = 0
    hub_online: bool = False
    last_error: Text = ""
    links: LinkCheck | None = None


class Step(StrEnum):
    """The steps of a transfer, in order, unit and hub: what observers are told, and where faults are aimed."""

    SPOOL_FILE_WRITTEN = "unit: packet file written"
    SPOOL_FILE_DURABLE = "unit: packet file durable under its name"
    SPOOL_ROW_DURABLE = "unit: spool row durable"
    OFFER_SENT = "unit: offer sent"
    OFFER_RECEIVED = "hub: offer received"
    PART_OPENED = "hub: part opened"
    NEED_SENT = "hub: need sent"
    NEED_RECEIVED = "unit: need received"
    CHUNK_SENT = "unit: chunk sent"
    CHUNK_WRITTEN = "hub: chunk written"
    PART_DURABLE = "hub: chunks and bitmap durable"
    PART_COMPLETE = "hub: part complete and verified"
    SENT_COMPLETELY = "unit: all chunks sent"
    BLOB_DURABLE = "hub: sealed packet durable under its name"
    COMMITTED = "hub: packet, record and receipt committed"
    RECEIPT_SENT = "hub: receipt sent"
    RECEIPT_MARKED = "hub: receipt marked as sent"
    RECEIPT_VERIFIED = "unit: receipt verified"
    RECEIPT_RECORDED = "unit: receipt recorded"
    FILE_PURGED = "unit: packet file purged"
    ROW_PURGED = "unit: spool row purged"


Observer = Callable[[Step, str], None]


def unobserved(_step: Step, _pid: str) -> None:
    """The observer of a process that nobody watches."""


def chunk_count(length: int, chunk: int) -> int:
    """How many chunks of `chunk` bytes hold `length` bytes."""
    return -(-length // chunk)


def chunk_bytes(broker_packet_bytes_max: int | None) -> int:
    """The chunk for a broker that takes packets of that many bytes (CONNACK, MQTT 5, 3.2.2.3.6; None: no limit)."""
    if broker_packet_bytes_max is None:
        return CHUNK_BYTES_MAX
    return max(CHUNK_BYTES_MIN, min(CHUNK_BYTES_MAX, broker_packet_bytes_max - CHUNK_HEADROOM_BYTES))


def encode_chunk(chunk: Chunk) -> bytes:
    """index u32 | CRC-32 of the data u32 | data, big endian."""
    return _CHUNK_HEAD.pack(chunk.index, zlib.crc32(chunk.data)) + chunk.data


def decode_chunk(encoded: bytes) -> Chunk:
    """A chunk from the wire. Raises RemoteError for a wrong length, index or checksum."""
    if not _CHUNK_HEAD.size < len(encoded) <= _CHUNK_HEAD.size + CHUNK_BYTES_MAX:
        raise RemoteError(f"A chunk of {len(encoded)} bytes is too short or too long.")
    index, crc32 = _CHUNK_HEAD.unpack_from(encoded)
    data = encoded[_CHUNK_HEAD.size :]
    if index >= CHUNKS_MAX:
        raise RemoteError(f"Chunk {index} cannot exist: a packet has at most {CHUNKS_MAX}.")
    if zlib.crc32(data) != crc32:
        raise RemoteError(f"Chunk {index} has a wrong checksum.", next_step="The unit sends it again by itself.")
    return Chunk(index, data)


def ranges_of(indices: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Ascending indices as inclusive ranges, the first NEED_RANGES_MAX of them (the rest is asked for next time)."""
    ranges: list[tuple[int, int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], index)
        elif len(ranges) == NEED_RANGES_MAX:
            break
        else:
            ranges.append((index, index))
    return tuple(ranges)


def sign_receipt(receipt: Receipt, key: StatementKey) -> bytes:
    """The receipt as the hub publishes it."""
    return sign_statement(encode(receipt), key, RECEIPT_PURPOSE)


def verify_receipt(signed: bytes, public: StatementPublicKey, pid: str) -> Receipt:
    """The hub's receipt for packet `pid`. Raises RemoteError for anything else, also a receipt for another packet."""
    receipt = decode(Receipt, verify_statement(signed, public, RECEIPT_PURPOSE), STATEMENT_BYTES_MAX)
    if receipt.pid != pid:
        raise RemoteError("The receipt is for another packet than its topic says.")
    return receipt
