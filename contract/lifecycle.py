"""The five small machines of the product: record, packet, card, request and unit.

One table each, after the "Record transitions" and the decisions of the domain description. `advance` is pure; a pair
that the table lacks raises, and nothing else in the product may change a state. What is absent is absent on purpose
(a handover failure that leads back to UNREGISTERED, a printed card without PRINT_READY_RECORD, …).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from contract.errors import RemoteError


class RecordState(StrEnum):
    """Status of a record, by the official names (M22). A record is a capture; a NIK points to the one that stands."""

    UNREGISTERED = "UNREGISTERED"
    BIO_CAPTURED = "BIO_CAPTURED"
    PROCESSING = "PROCESSING"
    SENT_FOR_ENROLLMENT = "SENT_FOR_ENROLLMENT"
    RECEIVED_AT_CENTRAL = "RECEIVED_AT_CENTRAL"
    ENROLL_FAILURE_AT_CENTRAL = "ENROLL_FAILURE_AT_CENTRAL"
    ENROLL_FAILURE_AT_REGIONAL = "ENROLL_FAILURE_AT_REGIONAL"
    SEARCH_FAILURE_AT_CENTRAL = "SEARCH_FAILURE_AT_CENTRAL"
    PACKET_ENTRY = "PACKET_ENTRY"
    SENT_FOR_DEDUP = "SENT_FOR_DEDUP"
    DUPLICATE_RECORD = "DUPLICATE_RECORD"
    ADJUDICATE_RECORD = "ADJUDICATE_RECORD"
    ADJUDICATE_IN_PROCESS = "ADJUDICATE_IN_PROCESS"
    REQUEST_VALIDATION = "REQUEST_VALIDATION"
    PRINT_READY_RECORD = "PRINT_READY_RECORD"
    SENT_FOR_CARD_PRINTING = "SENT_FOR_CARD_PRINTING"
    CARD_SHIPPED = "CARD_SHIPPED"
    CARD_PRINTED = "CARD_PRINTED"
    CARD_ISSUED = "CARD_ISSUED"
    INACTIVE = "INACTIVE"


class RecordEvent(StrEnum):
    """What can happen to a record."""

    CAPTURE_COMPLETED = "capture completed"
    PACKET_QUEUED = "packet sealed and queued"
    PACKET_SENT = "packet sent"
    PACKET_RECEIVED = "packet stored and receipted"
    CHECKS_PASSED = "checks passed"
    CHECKS_FAILED = "unreadable or incomplete"
    REGION_WRONG = "wrong region code"
    PACKET_ENTERED = "the same capture again"
    REPROCESSED = "packet enters again"
    DELETION_AUTHORISED = "two-person deletion"
    LOSS_DECLARED = "two-person declaration of loss"
    SEARCH_FAILED = "search error"
    SEARCH_RETRIED = "search retried"
    NO_CANDIDATE = "no candidate"
    SIMILAR_FOUND = "similar record found"
    ANOMALY_FOUND = "anomaly found"
    CASE_CLAIMED = "case claimed"
    JUDGED_DIFFERENT = "judged different persons"
    JUDGED_FIRST = "judged the first capture of the person"
    JUDGED_SAME = "judged the same person"
    VALIDATION_ASKED = "validation asked of the region"
    APPEALED = "appealed"
    REGION_SAYS_SEARCH = "region answers: search again"
    REGION_SAYS_ADJUDICATE = "region answers: adjudicate"
    REGION_SAYS_RIGHT = "region answers: data are right"
    PRINT_DATA_SENT = "print data sent"
    PRINT_DATA_CONFIRMED = "print data confirmed by the office"
    CARD_RELEASED = "encoded, printed, read back, released"
    CARD_SPOILED = "card spoiled, blank written off"
    HANDED_OVER = "handed over against a receipt"
    HANDOVER_FAILED = "1:1 gagal, card retained"
    CARD_RETURNED = "card returned and destroyed, or redirected"
    READDRESSED = "new address"
    REISSUE_REQUESTED = "reissue by a service"
    EARLIER_CAPTURE_ARRIVED = "an earlier capture of the person arrived"
    DEACTIVATED = "deactivated"


class PacketState(StrEnum):
    """Life of a sealed packet on the unit."""

    SEALED = "sealed"
    QUEUED = "queued"
    SENT = "sent"
    RECEIPTED = "receipted"
    PURGEABLE = "purgeable"


class PacketEvent(StrEnum):
    """What can happen to a packet."""

    SPOOLED = "spooled"
    SENT_COMPLETELY = "all chunks sent"
    ASKED_AGAIN = "hub needs chunks again"
    RECEIPT_STORED = "receipt: stored"
    RECEIPT_FREES = "receipt: released, or quarantined with bytes kept"


class CardState(StrEnum):
    """Life of a physical card (M38)."""

    BLANK = "blank"
    ENCODED = "encoded"
    PRINTED = "printed"
    VERIFIED = "verified"
    BATCHED = "batched"
    IN_TRANSIT = "in transit"
    AT_DESK = "at desk"
    HELD = "held"
    RETAINED = "retained"
    RETURNED = "returned"
    DESTROYED = "destroyed"
    SPOILED = "spoiled"


class CardEvent(StrEnum):
    """What can happen to a physical card."""

    CHIP_ENCODED = "chip encoded"
    FACE_PRINTED = "face printed"
    READ_BACK = "read back and released"
    BATCH_MADE = "batched"
    DEPARTED = "departed with berita acara"
    ARRIVED = "arrived at the desk"
    SERVED_HERE = "served at the printing office"
    HANDED_OVER = "handed over"
    KEPT_BACK = "retained after gagal or recall"
    SENT_BACK = "returned"
    SURRENDERED = "surrendered by the holder"
    SPOILED = "spoiled"
    DESTROYED = "destroyed with berita acara"


class RequestState(StrEnum):
    """Life of a service request."""

    RECEIVED = "received"
    VERIFIED = "verified"
    FORWARDED = "forwarded"
    FULFILLED = "fulfilled"
    REFUSED = "refused"


class RequestEvent(StrEnum):
    """What can happen to a service request."""

    PAPERS_VERIFIED = "papers verified"
    FORWARDED = "forwarded"
    FULFILLED = "fulfilled"
    REFUSED = "refused"


class UnitState(StrEnum):
    """Life of a unit (M66)."""

    FACTORY = "factory"
    CLAIMED = "claimed"
    KEYED = "keyed"
    CONFIGURED = "configured"
    TESTED = "tested"
    IN_SERVICE = "in service"
    SUSPENDED = "suspended"
    RETIRED = "retired"


class UnitEvent(StrEnum):
    """What can happen to a unit."""

    CLAIMED = "claimed"
    KEY_MADE = "key made"
    CONFIGURED = "configured"
    TEST_PASSED = "test passed"
    ENTERED_SERVICE = "entered service"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    RETIRED = "retired"


_R, _RE = RecordState, RecordEvent
_PRINTABLE = (_R.PRINT_READY_RECORD, _R.SENT_FOR_CARD_PRINTING, _R.CARD_SHIPPED)

RECORD: Mapping[tuple[RecordState, RecordEvent], RecordState] = {
    (_R.UNREGISTERED, _RE.CAPTURE_COMPLETED): _R.BIO_CAPTURED,
    (_R.BIO_CAPTURED, _RE.PACKET_QUEUED): _R.PROCESSING,
    (_R.PROCESSING, _RE.PACKET_SENT): _R.SENT_FOR_ENROLLMENT,
    (_R.PROCESSING, _RE.LOSS_DECLARED): _R.UNREGISTERED,
    (_R.SENT_FOR_ENROLLMENT, _RE.PACKET_RECEIVED): _R.RECEIVED_AT_CENTRAL,
    (_R.SENT_FOR_ENROLLMENT, _RE.LOSS_DECLARED): _R.UNREGISTERED,
    (_R.RECEIVED_AT_CENTRAL, _RE.CHECKS_PASSED): _R.SENT_FOR_DEDUP,
    (_R.RECEIVED_AT_CENTRAL, _RE.CHECKS_FAILED): _R.ENROLL_FAILURE_AT_CENTRAL,
    (_R.RECEIVED_AT_CENTRAL, _RE.REGION_WRONG): _R.ENROLL_FAILURE_AT_REGIONAL,
    (_R.ENROLL_FAILURE_AT_CENTRAL, _RE.PACKET_ENTERED): _R.PACKET_ENTRY,
    (_R.ENROLL_FAILURE_AT_REGIONAL, _RE.PACKET_ENTERED): _R.PACKET_ENTRY,
    (_R.ENROLL_FAILURE_AT_CENTRAL, _RE.DELETION_AUTHORISED): _R.UNREGISTERED,
    (_R.ENROLL_FAILURE_AT_REGIONAL, _RE.DELETION_AUTHORISED): _R.UNREGISTERED,
    (_R.PACKET_ENTRY, _RE.REPROCESSED): _R.SENT_FOR_ENROLLMENT,
    (_R.SENT_FOR_DEDUP, _RE.SEARCH_FAILED): _R.SEARCH_FAILURE_AT_CENTRAL,
    (_R.SEARCH_FAILURE_AT_CENTRAL, _RE.SEARCH_RETRIED): _R.SENT_FOR_DEDUP,
    (_R.SENT_FOR_DEDUP, _RE.NO_CANDIDATE): _R.PRINT_READY_RECORD,
    (_R.SENT_FOR_DEDUP, _RE.SIMILAR_FOUND): _R.ADJUDICATE_RECORD,
    (_R.SENT_FOR_DEDUP, _RE.ANOMALY_FOUND): _R.REQUEST_VALIDATION,
    (_R.ADJUDICATE_RECORD, _RE.CASE_CLAIMED): _R.ADJUDICATE_IN_PROCESS,
    (_R.ADJUDICATE_IN_PROCESS, _RE.JUDGED_DIFFERENT): _R.PRINT_READY_RECORD,
    (_R.ADJUDICATE_IN_PROCESS, _RE.JUDGED_FIRST): _R.PRINT_READY_RECORD,
    (_R.ADJUDICATE_IN_PROCESS, _RE.JUDGED_SAME): _R.DUPLICATE_RECORD,
    (_R.ADJUDICATE_IN_PROCESS, _RE.VALIDATION_ASKED): _R.REQUEST_VALIDATION,
    (_R.DUPLICATE_RECORD, _RE.APPEALED): _R.ADJUDICATE_RECORD,
    (_R.REQUEST_VALIDATION, _RE.REGION_SAYS_SEARCH): _R.SENT_FOR_DEDUP,
    (_R.REQUEST_VALIDATION, _RE.REGION_SAYS_ADJUDICATE): _R.ADJUDICATE_RECORD,
    (_R.REQUEST_VALIDATION, _RE.REGION_SAYS_RIGHT): _R.PRINT_READY_RECORD,
    (_R.PRINT_READY_RECORD, _RE.PRINT_DATA_SENT): _R.SENT_FOR_CARD_PRINTING,
    (_R.SENT_FOR_CARD_PRINTING, _RE.PRINT_DATA_CONFIRMED): _R.CARD_SHIPPED,
    (_R.CARD_SHIPPED, _RE.CARD_RELEASED): _R.CARD_PRINTED,
    (_R.CARD_SHIPPED, _RE.CARD_SPOILED): _R.CARD_SHIPPED,
    (_R.CARD_PRINTED, _RE.HANDED_OVER): _R.CARD_ISSUED,
    (_R.CARD_PRINTED, _RE.HANDOVER_FAILED): _R.CARD_PRINTED,
    (_R.CARD_PRINTED, _RE.CARD_RETURNED): _R.SENT_FOR_CARD_PRINTING,
    (_R.CARD_ISSUED, _RE.REISSUE_REQUESTED): _R.SENT_FOR_CARD_PRINTING,
    **{(state, _RE.READDRESSED): state for state in _PRINTABLE},
    **{
        (state, _RE.EARLIER_CAPTURE_ARRIVED): _R.ADJUDICATE_RECORD
        for state in (*_PRINTABLE, _R.CARD_PRINTED, _R.CARD_ISSUED)
    },
    **{(state, _RE.DEACTIVATED): _R.INACTIVE for state in _R if state is not _R.INACTIVE},
}

_P, _PE = PacketState, PacketEvent
PACKET: Mapping[tuple[PacketState, PacketEvent], PacketState] = {
    (_P.SEALED, _PE.SPOOLED): _P.QUEUED,
    (_P.QUEUED, _PE.SENT_COMPLETELY): _P.SENT,
    (_P.SENT, _PE.ASKED_AGAIN): _P.QUEUED,
    # The hub was restored from an older backup and has lost what it had stored: our copy is sent again.
    (_P.RECEIPTED, _PE.ASKED_AGAIN): _P.QUEUED,
    # The hub may hold the packet already (its receipt was lost): then it answers the offer itself.
    (_P.QUEUED, _PE.RECEIPT_STORED): _P.RECEIPTED,
    (_P.QUEUED, _PE.RECEIPT_FREES): _P.PURGEABLE,
    (_P.SENT, _PE.RECEIPT_STORED): _P.RECEIPTED,
    (_P.SENT, _PE.RECEIPT_FREES): _P.PURGEABLE,
    (_P.RECEIPTED, _PE.RECEIPT_FREES): _P.PURGEABLE,
}

_C, _CE = CardState, CardEvent
CARD: Mapping[tuple[CardState, CardEvent], CardState] = {
    (_C.BLANK, _CE.CHIP_ENCODED): _C.ENCODED,
    (_C.ENCODED, _CE.FACE_PRINTED): _C.PRINTED,
    (_C.PRINTED, _CE.READ_BACK): _C.VERIFIED,
    (_C.VERIFIED, _CE.BATCH_MADE): _C.BATCHED,
    (_C.VERIFIED, _CE.SERVED_HERE): _C.AT_DESK,
    (_C.BATCHED, _CE.DEPARTED): _C.IN_TRANSIT,
    (_C.IN_TRANSIT, _CE.ARRIVED): _C.AT_DESK,
    (_C.AT_DESK, _CE.HANDED_OVER): _C.HELD,
    (_C.AT_DESK, _CE.KEPT_BACK): _C.RETAINED,
    (_C.BATCHED, _CE.SENT_BACK): _C.RETURNED,
    (_C.IN_TRANSIT, _CE.SENT_BACK): _C.RETURNED,
    (_C.AT_DESK, _CE.SENT_BACK): _C.RETURNED,
    (_C.RETAINED, _CE.SENT_BACK): _C.RETURNED,
    (_C.HELD, _CE.SURRENDERED): _C.RETURNED,
    (_C.RETURNED, _CE.DESTROYED): _C.DESTROYED,
    (_C.SPOILED, _CE.DESTROYED): _C.DESTROYED,
    **{(state, _CE.SPOILED): _C.SPOILED for state in (_C.BLANK, _C.ENCODED, _C.PRINTED, _C.VERIFIED)},
}

_Q, _QE = RequestState, RequestEvent
REQUEST: Mapping[tuple[RequestState, RequestEvent], RequestState] = {
    (_Q.RECEIVED, _QE.PAPERS_VERIFIED): _Q.VERIFIED,
    (_Q.RECEIVED, _QE.REFUSED): _Q.REFUSED,
    (_Q.VERIFIED, _QE.FORWARDED): _Q.FORWARDED,
    (_Q.VERIFIED, _QE.FULFILLED): _Q.FULFILLED,
    (_Q.VERIFIED, _QE.REFUSED): _Q.REFUSED,
    (_Q.FORWARDED, _QE.FULFILLED): _Q.FULFILLED,
    (_Q.FORWARDED, _QE.REFUSED): _Q.REFUSED,
}

_U, _UE = UnitState, UnitEvent
UNIT: Mapping[tuple[UnitState, UnitEvent], UnitState] = {
    (_U.FACTORY, _UE.CLAIMED): _U.CLAIMED,
    (_U.CLAIMED, _UE.KEY_MADE): _U.KEYED,
    (_U.KEYED, _UE.CONFIGURED): _U.CONFIGURED,
    (_U.CONFIGURED, _UE.TEST_PASSED): _U.TESTED,
    (_U.TESTED, _UE.ENTERED_SERVICE): _U.IN_SERVICE,
    (_U.IN_SERVICE, _UE.SUSPENDED): _U.SUSPENDED,
    (_U.SUSPENDED, _UE.RESUMED): _U.IN_SERVICE,
    **{(state, _UE.RETIRED): _U.RETIRED for state in _U if state is not _U.RETIRED},
}

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class IllegalTransition(RemoteError):
    """The event is not allowed in this state; the state is unchanged."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """One of the five tables with its name and the state it starts in."""

    name: str
    table: Mapping[tuple[StrEnum, StrEnum], StrEnum]
    start: StrEnum


LIFECYCLES = (
    Lifecycle("record", RECORD, RecordState.UNREGISTERED),  # type: ignore[arg-type]  # Mapping is invariant in its key
    Lifecycle("packet", PACKET, PacketState.SEALED),  # type: ignore[arg-type]
    Lifecycle("card", CARD, CardState.BLANK),  # type: ignore[arg-type]
    Lifecycle("request", REQUEST, RequestState.RECEIVED),  # type: ignore[arg-type]
    Lifecycle("unit", UNIT, UnitState.FACTORY),  # type: ignore[arg-type]
)

_TABLE_OF: dict[type[StrEnum], Mapping[tuple[StrEnum, StrEnum], StrEnum]] = {
    type(lifecycle.start): lifecycle.table for lifecycle in LIFECYCLES
}


def advance(state: S, event: E) -> S:
    """The state that follows `state` on `event`.

    Raises IllegalTransition where the table of the state's kind has no such pair.
    """
    try:
        following = _TABLE_OF[type(state)][state, event]
    except KeyError:
        raise IllegalTransition(
            f"'{event}' is not allowed in state '{state}'.",
            next_step="Nothing was changed. Look up the record's history to see what happened before.",
        ) from None
    return type(state)(following)


def is_allowed(state: StrEnum, event: StrEnum) -> bool:
    """Whether `advance(state, event)` would succeed."""
    return (state, event) in _TABLE_OF.get(type(state), {})


def diagram(lifecycle: Lifecycle) -> str:
    """The table as a Mermaid state diagram, parallel transitions joined, in the table's own order."""
    lines = ["stateDiagram-v2", f"    [*] --> {_node(lifecycle.start)}"]
    joined: dict[tuple[StrEnum, StrEnum], list[str]] = {}
    everywhere = _events_from_everywhere(lifecycle)
    for (state, event), following in lifecycle.table.items():
        if event not in everywhere:
            joined.setdefault((state, following), []).append(str(event))
    for (state, following), events in joined.items():
        lines.append(f"    {_node(state)} --> {_node(following)}: {', '.join(events)}")
    for event, following in everywhere.items():
        lines.append(f"    note right of {_node(following)}: from any state on '{event}'")
    return "\n".join(lines) + "\n"


def _events_from_everywhere(lifecycle: Lifecycle) -> dict[StrEnum, StrEnum]:
    """Events that every state but their target allows, so that a diagram says so once."""
    states = set(type(lifecycle.start))
    sources: dict[StrEnum, set[StrEnum]] = {}
    targets: dict[StrEnum, StrEnum] = {}
    for (state, event), following in lifecycle.table.items():
        sources.setdefault(event, set()).add(state)
        targets[event] = following
    return {event: targets[event] for event, froms in sources.items() if froms == states - {targets[event]}}


def _node(state: StrEnum) -> str:
    return str(state).replace(" ", "_")
