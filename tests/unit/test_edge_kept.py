"""What a unit kept under a release that was on trial is read by the one that it went back to: nobody is locked out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import cbor2
import pytest

from contract.checkpoint import Checkpoint
from contract.clock import SystemClock
from contract.dispatch import Notice, SiteKey, decode, decode_kept, encode
from contract.errors import RemoteError
from contract.lifecycle import RecordState
from contract.packet import Model
from contract.transfer import UnitAlarm
from edge import alarms, command_desk, moment, packing, queue_numbers, register
from edge.personalisation_steps import Work
from edge.personalisation_store import StationStore
from edge.sealed_store import SealedStore

ID = "01900000-0000-7000-8000-000000000001"
KEPT: tuple[tuple[str, str, Model], ...] = (
    (alarms.KIND, ID, UnitAlarm(alarm_id=ID, kind="door-opened", source="enclosure", at_ms=1)),
    (command_desk.KIND, command_desk.BEGUN, command_desk.Begun(floor_ms=7)),
    (moment.KIND, "checkpoint", Checkpoint(sequence=1, time_ms=1)),
    (packing.JOURNAL, ID, packing.JournalEntry(packet_id=ID, kind="enrolment", pid="0" * 64, kept_ms=1)),
    (queue_numbers.KIND, "1", queue_numbers.QueueEntry(
        day="2026-11-25", prefix="A", ordinal=1, service="capture", issued_ms=1
    )),
    (register.SITE_KEY, "1", SiteKey(site="kec-1", epoch=1, key=bytes(32))),
    (register.NOTICE, ID, Notice(
        capture_id=ID, nik="9900000000000001", status=RecordState.BIO_CAPTURED, version=1, at_ms=1, message_id="",
        message_en="",
    )),
    ("station-work", ID, Work(job_id=ID)),
)  # fmt: skip


def later(message: Model) -> bytes:
    """The message as a later release keeps it: with one field more, in its parts too."""
    return cbor2.dumps(_more(message.model_dump()))


def _more(value: Any) -> Any:
    return {**{name: _more(part) for name, part in value.items()}, "later": 1} if isinstance(value, dict) else value


@pytest.fixture
def store(tmp_path: Path) -> SealedStore:
    found = SealedStore(tmp_path / "unit.db", bytes(32))
    for kind, name, message in KEPT:
        found.put(kind, name, later(message))
    return found


def test_the_parts_of_a_unit_open_what_a_later_release_kept(store: SealedStore) -> None:
    clock, nothing = SystemClock(), cast(Any, None)
    assert alarms.AlarmBook("desk-a1", store, clock, nothing)._waiting
    desk = command_desk.CommandDesk(cast(Any, _Channel()), nothing, "desk-a1", nothing, store, clock, {}, nothing)
    assert desk._begun.floor_ms == 7
    keeper = packing.PacketKeeper(nothing, nothing, store, nothing, nothing, nothing, clock, nothing, nothing)
    assert keeper._by_pid == {"0" * 64: ID}
    assert queue_numbers.QueueNumbers(store, clock, {}, str)._entries
    book = register.Register(store, "kec-1")
    assert book.site_key is not None and [notice.capture_id for notice in book.notices()] == [ID]
    assert moment.MomentSource(store, clock).checkpoint is None  # its digest would be another one: the next will do
    assert [work.job_id for work in StationStore(store).works()] == [ID]


def test_what_comes_over_the_line_stays_closed_to_unknown_fields() -> None:
    message = KEPT[0][2]
    assert decode_kept(UnitAlarm, later(message)) == message
    with pytest.raises(RemoteError):
        decode(UnitAlarm, later(message))
    for garbage in (b"", b"\xff", encode(message)[:-1], cbor2.dumps({"alarm_id": 3})):
        with pytest.raises(RemoteError):
            decode_kept(UnitAlarm, garbage)


class _Channel:
    def on(self, *_what: object, **_names: str) -> None:
        return
