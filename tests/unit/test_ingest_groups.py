"""Packets that are complete together share a commit; cut at any step of it, each is committed once and receipted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from contract.channel_disk import Disk, SyncSite
from contract.dispatch import encode
from contract.errors import DeviceError
from contract.identifiers import pid_of
from contract.topics import DN_RECEIPT
from contract.transfer import Chunk, Disposition, Offer, Receipt, Step, chunk_count, encode_chunk, verify_receipt
from hub import ingest as ingest_module
from hub.ingest import Outgoing
from hub.packets import PacketBook
from hub.parts import Quota
from hub.schema.tables import Packet, ReceiptRow, Record
from tests.fault.rig import UNIT, Rig, capture_id, sealed_capture
from tests.fault.rig_world import make_world
from tests.unit.test_ingest import CHUNK, Hub

GROUP = 4


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return make_world(tmp_path_factory.mktemp("groups"))


@pytest.fixture
def hub(rig: Rig) -> Iterator[Hub]:
    hub = Hub(rig, Quota(parts_max=100))
    yield hub
    with hub.context.database.transaction() as session:  # the next test begins with an empty book
        session.execute(text("DELETE FROM receipt"))
        session.execute(text("DELETE FROM packet"))


@pytest.fixture
def group(request: pytest.FixtureRequest, rig: Rig) -> list[bytes]:
    first = 100 * (1 + request.session.items.index(request.node))
    return [sealed_capture(rig, first + number, 1_500) for number in range(GROUP)]


def send(hub: Hub, sealed: bytes) -> None:
    """All chunks of a packet; whatever is complete by then waits for `finish`."""
    count = chunk_count(len(sealed), CHUNK)
    offer = Offer(attempt=1, length=len(sealed), chunk=CHUNK, count=count, key_id=UNIT)
    hub.ingest.on_offer(UNIT, pid_of(sealed), encode(offer))
    for index in range(count):
        data = sealed[index * CHUNK : (index + 1) * CHUNK]
        if hub.ingest._parts.find(UNIT, pid_of(sealed)) is not None:
            hub.ingest.on_chunk(UNIT, pid_of(sealed), encode_chunk(Chunk(index, data)))


def receipts(hub: Hub, messages: list[Outgoing]) -> dict[str, Receipt]:
    found = {}
    for message in messages:
        names = DN_RECEIPT.parse(message.topic)
        assert names is not None and names["unit"] == UNIT
        found[names["pid"]] = verify_receipt(message.payload, hub.rig.hub_statement(), names["pid"])
    return found


def once_each(hub: Hub, group: list[bytes]) -> None:
    """Every packet is committed, and stands in the outbox, once, with its bytes on the disk."""
    assert (hub.rows(Packet), hub.rows(ReceiptRow)) == (len(group), len(group))
    assert sorted(message.pid for message in hub.ingest.outbox(0)) == sorted(map(pid_of, group))
    assert all(hub.ingest.blob_path(pid_of(sealed)).read_bytes() == sealed for sealed in group)


def test_packets_that_are_complete_together_share_a_commit(hub: Hub, group: list[bytes]) -> None:
    commits: list[object] = []
    event.listen(hub.context.database.engine, "commit", commits.append)
    for sealed in [*group, group[0]]:
        send(hub, sealed)
    found = receipts(hub, hub.ingest.finish())
    assert len(commits) == 1
    assert {receipt.disposition for receipt in found.values()} == {Disposition.STORED}
    once_each(hub, group)
    assert hub.ingest.finish() == []


@pytest.mark.parametrize("step", [Step.PART_COMPLETE, Step.BLOB_DURABLE, Step.COMMITTED])
@pytest.mark.parametrize("after", range(GROUP))
def test_a_hub_killed_anywhere_in_a_group_commits_each_packet_once(
    hub: Hub, group: list[bytes], step: Step, after: int
) -> None:
    passed = 0

    def kill(reached: Step, _pid: str) -> None:
        nonlocal passed
        passed += reached is step
        if passed > after:
            raise Killed

    hub.ingest.observe = hub.ingest._parts.observe = kill
    for sealed in group:
        send(hub, sealed)
    with pytest.raises(Killed):
        hub.ingest.finish()
    assert hub.rows(Packet) == (GROUP if step is Step.COMMITTED else 0)
    hub.start()
    answers: list[Outgoing] = []
    for sealed in group:
        count = chunk_count(len(sealed), CHUNK)
        offer = Offer(attempt=2, length=len(sealed), chunk=CHUNK, count=count, key_id=UNIT)
        answers += [said for said in hub.ingest.on_offer(UNIT, pid_of(sealed), encode(offer)) if said.settles]
        send(hub, sealed)
    answers += hub.ingest.finish()
    assert set(receipts(hub, answers)) == set(map(pid_of, group))
    once_each(hub, group)


@pytest.mark.parametrize("method", ["execute", "flush", "commit"])
def test_nothing_is_receipted_while_the_database_does_not_answer_and_all_at_the_next_offer(
    hub: Hub, group: list[bytes], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("", {}, Exception())

    for sealed in group:
        send(hub, sealed)
    with monkeypatch.context() as down:
        down.setattr(Session, method, refuse)
        assert hub.ingest.finish() == []
    assert hub.rows(Packet) == 0
    for sealed in group:
        send(hub, sealed)
    assert len(receipts(hub, hub.ingest.finish())) == GROUP
    once_each(hub, group)


def test_one_packet_that_cannot_be_entered_goes_before_a_person_and_the_others_go_on(
    hub: Hub, group: list[bytes], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    enter = PacketBook.enter
    bad = capture_id(100 * (1 + request.session.items.index(request.node)) + 1)

    def stumble(self: PacketBook, session: Session, packet: Packet, *told: object) -> str:
        refusal: str = enter(self, session, packet, *told)  # type: ignore[arg-type]  # passed on as they came
        if packet.event_id == bad:
            session.execute(insert(Record).values(capture_id=bad))  # what the database refuses
        return refusal

    monkeypatch.setattr(PacketBook, "enter", stumble)
    for sealed in group:
        send(hub, sealed)
    found = receipts(hub, hub.ingest.finish())
    expected = [Disposition.STORED, Disposition.QUARANTINED, Disposition.STORED, Disposition.STORED]
    assert [found[pid_of(sealed)].disposition for sealed in group] == expected
    once_each(hub, group)


def test_a_packet_that_is_complete_is_not_begun_anew_by_an_offer_that_cuts_it_differently(
    hub: Hub, group: list[bytes]
) -> None:
    for sealed in group:
        send(hub, sealed)
        for chunk in (CHUNK, 2 * CHUNK):
            offer = Offer(
                attempt=2, length=len(sealed), chunk=chunk, count=chunk_count(len(sealed), chunk), key_id=UNIT
            )
            assert hub.ingest.on_offer(UNIT, pid_of(sealed), encode(offer)) == []
    assert set(receipts(hub, hub.ingest.finish())) == set(map(pid_of, group))
    once_each(hub, group)


def test_a_part_whose_file_is_gone_takes_no_other_with_it(hub: Hub, group: list[bytes]) -> None:
    for sealed in group:
        send(hub, sealed)
    part = hub.ingest._parts.find(UNIT, pid_of(group[0]))
    assert part is not None
    part.path.unlink()
    assert set(receipts(hub, hub.ingest.finish())) == set(map(pid_of, group[1:]))


class FailingDisk(Disk):
    """A disk that does not keep the second packet."""

    def __init__(self) -> None:
        self.syncs = 0

    def sync_file(self, descriptor: int, site: SyncSite) -> None:
        self.syncs += site is SyncSite.PACKET_BYTES
        if site is SyncSite.PACKET_BYTES and self.syncs == 2:
            raise DeviceError("The disk did not keep it.")
        super().sync_file(descriptor, site)


def test_a_packet_that_the_disk_does_not_keep_has_no_receipt_and_the_others_have(hub: Hub, group: list[bytes]) -> None:
    hub.disk = FailingDisk()
    hub.start()
    for sealed in group:
        send(hub, sealed)
    assert set(receipts(hub, hub.ingest.finish())) == set(map(pid_of, group)) - {pid_of(group[1])}
    send(hub, group[1])
    assert set(receipts(hub, hub.ingest.finish())) == {pid_of(group[1])}
    once_each(hub, group)


@pytest.mark.parametrize(("limit", "value", "commits"), [("GROUP_PACKETS_MAX", 3, 2), ("GROUP_BYTES_MAX", 1, GROUP)])
def test_a_group_is_bounded(
    hub: Hub, group: list[bytes], monkeypatch: pytest.MonkeyPatch, limit: str, value: int, commits: int
) -> None:
    monkeypatch.setattr(ingest_module, limit, value)
    counted: list[object] = []
    event.listen(hub.context.database.engine, "commit", counted.append)
    for sealed in group:
        send(hub, sealed)
    assert len(receipts(hub, hub.ingest.finish())) == GROUP
    assert len(counted) == commits
    once_each(hub, group)
