"""Stuck packets go by media (M19): put together from many units, whatever is cut, and accounted for at the centre."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from contract.channel_disk import Disk, SyncSite
from contract.dispatch import decode
from contract.errors import DeviceError
from contract.identifiers import PACKET_FILE_SUFFIX, pid_of
from contract.seal import SEALED_BYTES_MAX
from contract.technician import PACKETS_ASKED_MAX, PacketFate, Verb, WhereaboutsOrder, WhereaboutsResult
from contract.transfer import Disposition
from edge.media import export_packets, import_packets
from edge.spool import Spool
from hub.schema.tables import Packet, ReceiptRow
from provisioning.__main__ import app
from provisioning.collection import collect
from tests.commissioning.desk_world import DeskWorld
from tests.hub_world import DATABASES
from tests.unit.transfer_keys import STORE_KEY, SetClock


def exported(folder: Path, *packets: bytes) -> list[str]:
    """Media of a unit with these packets, written by the unit's own export; their ids."""
    folder.mkdir()
    spool = Spool(folder.with_name(f"{folder.name}-unit"), STORE_KEY, SetClock(), 10**9, 10**4)
    pids = [spool.put(sealed, kind="enrolment", subject_id="c") for sealed in packets]
    assert export_packets(spool, folder) == len(packets)
    spool.close()
    return pids


class WeakDisk(Disk):
    """A disk that is full at the n-th write."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def write_draft(self, path: Path, data: bytes, site: SyncSite) -> Path:
        self.left -= 1
        if self.left < 0:
            raise DeviceError("The disk is full.", next_step="Make room.")
        return super().write_draft(path, data, site)


def test_packets_of_two_units_are_carried_together_and_taken_up_once(tmp_path: Path) -> None:
    first = exported(tmp_path / "a", b"one", b"two")
    second = exported(tmp_path / "b", b"two", b"three")
    tour = tmp_path / "tour"
    assert set(collect(tmp_path / "a", tour).new) == set(first)
    assert collect(tmp_path / "b", tour).new == (pid_of(b"three"),)
    assert collect(tmp_path / "b", tour).new == ()
    spool = Spool(tmp_path / "line", STORE_KEY, SetClock(), 10**9, 10**4)
    assert (import_packets(spool, tour), import_packets(spool, tour)) == (3, 0)
    assert {packet.pid for packet in spool.pending()} == {*first, *second}
    spool.close()


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_disk_that_is_full_on_the_way_leaves_whole_packets_and_the_rest_follows(tmp_path: Path, writes: int) -> None:
    pids = exported(tmp_path / "a", b"one", b"two", b"three")
    tour = tmp_path / "tour"
    with pytest.raises(DeviceError):
        collect(tmp_path / "a", tour, WeakDisk(writes))
    assert len(collect(tour, None).lengths) == writes and collect(tour, None).damaged == ()
    assert len(collect(tmp_path / "a", tour).new) == 3 - writes
    assert set(collect(tour, None).lengths) == set(pids)


def test_a_copy_that_was_cut_is_made_again_and_damaged_files_are_named(tmp_path: Path) -> None:
    (pid,) = exported(tmp_path / "a", b"one")
    tour = tmp_path / "tour"
    collect(tmp_path / "a", tour)
    (tour / (pid + PACKET_FILE_SUFFIX)).write_bytes(b"o")
    assert collect(tmp_path / "a", tour).new == (pid,)
    (tmp_path / "a" / ("0" * 64 + PACKET_FILE_SUFFIX)).write_bytes(b"x")
    (tmp_path / "a" / ("x" + PACKET_FILE_SUFFIX)).mkdir()
    with (tmp_path / "a" / ("1" * 64 + PACKET_FILE_SUFFIX)).open("wb") as huge:
        huge.truncate(SEALED_BYTES_MAX + 1)
    found = collect(tmp_path / "a", tour)
    assert set(found.lengths) == {pid} and len(found.damaged) == 3
    for missing in (tmp_path / "nowhere", tmp_path / "a" / (pid + PACKET_FILE_SUFFIX)):
        with pytest.raises(DeviceError, match="cannot be read"):
            collect(missing, None)
    with pytest.raises(DeviceError, match="is not there"):
        collect(tmp_path / "a", tmp_path / "not" / "mounted")


@given(content=st.binary(max_size=40), name=st.sampled_from(["a", "0" * 64, "A" * 64, "é", "0" * 63 + "g"]))
@settings(max_examples=40, deadline=None)
def test_no_file_on_media_is_taken_but_one_that_is_what_its_name_says(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    media = tmp_path_factory.mktemp("media")
    (media / (name + PACKET_FILE_SUFFIX)).write_bytes(content)
    assert collect(media, media.with_name(f"{media.name}-tour")).lengths == {}


@pytest.mark.parametrize("database", DATABASES)
def test_the_centre_says_what_has_become_of_each(tmp_path: Path, database: str) -> None:
    world = DeskWorld(tmp_path, database)
    sealed = {fate: f"packet {fate}".encode() for fate in PacketFate}
    with world.desks.context.database.transaction() as session:
        for fate, content in sealed.items():
            if fate is PacketFate.ABSENT:
                continue
            session.add(
                Packet(
                    pid=pid_of(content), carrier="d", signer="d", length=1, received_ms=1, kind="", event_id="",
                    quarantine="",
                )
            )  # fmt: skip
            session.flush()
            for disposition in dict.fromkeys((Disposition.STORED, Disposition(fate.value))):
                session.add(ReceiptRow(pid=pid_of(content), unit="d", time_ms=1, disposition=disposition, reason=""))
                session.flush()
    asked = tuple(bytes.fromhex(pid_of(sealed[fate])) for fate in PacketFate)
    reply = world.order(Verb.WHEREABOUTS, WhereaboutsOrder(pids=asked))
    assert reply.done and decode(WhereaboutsResult, reply.body).fates == tuple(PacketFate)
    many = tuple(number.to_bytes(32) for number in range(PACKETS_ASKED_MAX))
    reply = world.order(Verb.WHEREABOUTS, WhereaboutsOrder(pids=many))
    assert decode(WhereaboutsResult, reply.body).fates == (PacketFate.ABSENT,) * PACKETS_ASKED_MAX


def test_in_the_field_the_tool_copies_without_a_line_and_says_what_it_took(tmp_path: Path) -> None:
    (pid,) = exported(tmp_path / "a", b"one")
    words = ["collect", str(tmp_path / "a"), "--into", str(tmp_path / "tour"), "--no-ask"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0 and "1 copied" in said.stdout
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert found["packets"] == [{"pid": pid, "length": 3, "copied": False, "centre": None}]
    (tmp_path / "a" / ("0" * 64 + PACKET_FILE_SUFFIX)).write_bytes(b"x")
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 1 and "1 files are damaged" in again.stdout
