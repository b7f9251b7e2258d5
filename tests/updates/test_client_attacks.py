"""What the unit's update client refuses, each with a message that says so, and what a bad line costs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from packaging.tags import Tag
from securesystemslib.signer import CryptoSigner

from contract.errors import TransientError
from contract.update_problems import UpdateProblem, UpdateRefusal
from contract.updates import Artefact, FileRole, TargetCustom
from edge.update_client import Fetched, UpdateClient
from tests.updates.repository import Cut, Line, Repository, broken_line, job_for

MIB = 1024 * 1024
TAGS = [Tag("cp311", "cp311", "linux_aarch64"), Tag("py3", "none", "any")]
REKAM, NUMPY = "rekam-0.2.0-py3-none-any.whl", "numpy-2.2.0-cp311-cp311-linux_aarch64.whl"
OTHER = "numpy-2.2.0-cp311-cp311-win_amd64.whl"
WHEELS = {REKAM: b"agent" * 1000, NUMPY: bytes(range(256)) * 2000, OTHER: b"elsewhere"}
JOB = job_for(2, "0.2.0")


class Desk:
    """One unit's update client, before an honest repository that has one release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Repository()
        self.repository.add_release(2, "0.2.0", WHEELS)
        self.line = Line(self.repository)
        self.now = datetime.now(UTC)

    def client(self) -> UpdateClient:
        """As after a start."""
        return UpdateClient(self.folder / "update", self.repository.root, self.line, TAGS, lambda: self.now)

    def fetch(self, number: int = 2, version: str = "0.2.0") -> Fetched:
        client = self.client()
        client.refresh()
        return client.fetch(job_for(number, version), lambda _done, _all: None)

    def refused(self, work: Callable[[], object] | None = None) -> UpdateRefusal:
        with pytest.raises(UpdateRefusal) as refusal:
            (work or self.fetch)()
        return refusal.value


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_honest_release_comes_whole_and_only_for_this_machine(desk: Desk) -> None:
    fetched = desk.fetch()
    assert {path.name: path.read_bytes() for path in fetched.wheels} == {k: WHEELS[k] for k in (REKAM, NUMPY)}
    assert fetched.custom == TargetCustom(artefact=Artefact.EDGE, number=2, version="0.2.0")
    assert not any(OTHER in name for name, _, _ in desk.line.carried)
    assert not list((desk.folder / "update" / "parts").iterdir())


def test_only_wheels_that_changed_are_fetched_again(desk: Desk) -> None:
    desk.fetch()
    desk.repository.add_release(3, "0.3.0", {"rekam-0.3.0-py3-none-any.whl": b"newer", NUMPY: WHEELS[NUMPY]})
    desk.line.carried.clear()
    fetched = desk.fetch(3, "0.3.0")
    assert len(fetched.wheels) == 2 and not any("numpy" in name for name, _, _ in desk.line.carried)
    client = desk.client()
    client.forget(fetched)
    assert sorted(path.name for path in (desk.folder / "update" / "kept").glob("*/*")) == [
        NUMPY, "rekam-0.3.0-py3-none-any.whl", "rekam-edge-0.3.0.json"
    ]  # fmt: skip


def test_rolled_back_metadata_are_refused(desk: Desk) -> None:
    old = desk.repository.metadata("timestamp.json")
    desk.repository.publish()
    desk.fetch()
    desk.repository.put("timestamp.json", old)
    refusal = desk.refused()
    assert refusal.problem is UpdateProblem.METADATA_OLDER and "timestamp version" in refusal.detail


def test_rolled_back_targets_under_new_snapshots_are_refused(desk: Desk) -> None:
    """Whoever holds the hub's two keys can still not bring back an older list of releases."""
    desk.fetch()
    desk.repository.version = 0
    desk.repository.targets.clear()
    desk.repository.publish()
    desk.repository.version = 6
    snapshot_of_old = desk.repository.metadata("1.targets.json")
    desk.repository.publish_snapshot_of(1, snapshot_of_old)
    assert desk.refused().problem is UpdateProblem.METADATA_OLDER


def test_frozen_metadata_are_refused_once_they_expire(desk: Desk) -> None:
    desk.repository.publish(expires=datetime.now(UTC) - timedelta(minutes=1))
    refusal = desk.refused()
    assert refusal.problem is UpdateProblem.METADATA_EXPIRED and "clock" in refusal.next_step


def test_signatures_are_judged_by_the_units_time_and_not_by_the_machines(desk: Desk) -> None:
    """Whoever sets the machine's clock back makes nothing fresh; one that ran ahead makes nothing stale."""
    now = datetime.now(UTC)
    desk.now = now + timedelta(days=400)
    assert desk.refused().problem is UpdateProblem.METADATA_EXPIRED
    desk.repository.publish(expires=now - timedelta(days=1))
    desk.now = now - timedelta(days=2)
    assert desk.fetch().wheels


def test_metadata_mixed_of_two_publications_are_refused(desk: Desk) -> None:
    one = desk.repository.metadata("2.snapshot.json")
    desk.repository.publish()
    desk.repository.put("3.snapshot.json", one)
    assert desk.refused().problem is UpdateProblem.METADATA_MIXED
    desk.repository.publish()
    desk.repository.put("4.targets.json", desk.repository.metadata("3.targets.json"))
    assert desk.refused().problem is UpdateProblem.METADATA_MIXED


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_metadata_signed_with_another_key_are_refused(desk: Desk, role: str) -> None:
    desk.repository.publish(signers={role: CryptoSigner.generate_ed25519()})
    assert desk.refused().problem is UpdateProblem.METADATA_UNTRUSTED


def test_a_root_that_the_one_before_did_not_sign_is_refused(desk: Desk) -> None:
    stranger = Repository()
    stranger.rotate_root(CryptoSigner.generate_ed25519())
    desk.repository.put("2.root.json", stranger.metadata("2.root.json"))
    assert desk.refused().problem is UpdateProblem.METADATA_UNTRUSTED


def test_a_root_that_follows_is_followed_and_the_lost_key_is_worth_nothing(desk: Desk) -> None:
    lost = desk.repository.signers["targets"]
    desk.repository.rotate_root(CryptoSigner.generate_ed25519())
    desk.repository.publish()
    assert desk.fetch().wheels
    desk.repository.publish(signers={"targets": lost})
    assert desk.refused().problem is UpdateProblem.METADATA_UNTRUSTED


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json", "2.root.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b'{"signed":{},"signatures":[]}', b"\xff\x00" * 500])
def test_garbage_for_metadata_is_refused(desk: Desk, name: str, content: bytes) -> None:
    desk.repository.put(name, content)
    refused = (UpdateProblem.METADATA_UNTRUSTED, UpdateProblem.METADATA_MIXED, UpdateProblem.FILE_ENDLESS)
    assert desk.refused().problem in refused


def test_a_truncated_wheel_is_refused(desk: Desk) -> None:
    place = desk.repository.target_file(NUMPY)
    desk.repository.files[place] = WHEELS[NUMPY][:-1]
    refusal = desk.refused()
    assert refusal.problem is UpdateProblem.FILE_WRONG and NUMPY in refusal.detail
    assert desk.client()._kept(desk.repository.targets[NUMPY]) is None


def test_a_changed_wheel_is_refused_and_its_part_thrown_away(desk: Desk) -> None:
    place = desk.repository.target_file(NUMPY)
    desk.repository.files[place] = b"\x01" + WHEELS[NUMPY][1:]
    assert desk.refused().problem is UpdateProblem.FILE_WRONG
    assert not [path for path in (desk.folder / "update" / "parts").iterdir() if NUMPY in path.name]


@pytest.mark.parametrize("name", ["timestamp.json", "2.targets.json", "2.snapshot.json", "2.root.json", NUMPY])
def test_endless_data_are_refused_before_they_are_taken(desk: Desk, name: str) -> None:
    if "root" in name:
        desk.repository.put(name, b"")  # else there is none, and nothing to be endless
    desk.line.endless = {name}
    refusal = desk.refused()
    assert refusal.problem is UpdateProblem.FILE_ENDLESS
    assert sum(length for carried, _, length in desk.line.carried if name in carried) <= MIB


def test_a_file_that_the_hub_lacks_is_named(desk: Desk) -> None:
    del desk.repository.files[desk.repository.target_file(NUMPY)]
    refusal = desk.refused()
    assert refusal.problem is UpdateProblem.FILE_ABSENT and NUMPY in refusal.detail


def test_a_line_on_which_everything_comes_wrong_is_tried_again_later(desk: Desk) -> None:
    client = UpdateClient(desk.folder / "update", desk.repository.root, broken_line, TAGS)
    with pytest.raises(TransientError):
        client.refresh()


def test_a_release_that_nobody_signed_or_that_is_signed_as_another_is_refused(desk: Desk) -> None:
    assert desk.refused(lambda: desk.fetch(9, "0.9.0")).problem is UpdateProblem.RELEASE_UNKNOWN
    refusal = desk.refused(lambda: desk.fetch(7, "0.2.0"))
    assert refusal.problem is UpdateProblem.RELEASE_UNKNOWN and "edge 2" in refusal.detail


def test_a_wheel_that_was_signed_again_under_its_name_is_not_of_the_release(desk: Desk) -> None:
    desk.repository.add(NUMPY, b"another", TargetCustom(artefact=Artefact.WHEEL, number=0, version=""))
    desk.repository.publish()
    refusal = desk.refused()
    assert refusal.problem is UpdateProblem.RELEASE_INVALID and NUMPY in refusal.detail


def test_no_firmware_passes_for_a_wheel(desk: Desk) -> None:
    desk.repository.add(NUMPY, WHEELS[NUMPY], TargetCustom(artefact=Artefact.FIRMWARE, number=5, version="5"))
    desk.repository.publish()
    assert desk.refused().problem is UpdateProblem.RELEASE_INVALID


def test_a_release_without_a_wheel_for_this_machine_names_it(desk: Desk) -> None:
    desk.repository.add_release(3, "0.3.0", {REKAM: WHEELS[REKAM], OTHER: WHEELS[OTHER]})
    refusal = desk.refused(lambda: desk.fetch(3, "0.3.0"))
    assert refusal.problem is UpdateProblem.RELEASE_FOR_OTHER_MACHINE and "numpy" in refusal.detail


def test_a_full_disk_is_left_to_what_was_captured(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.update_client.SPARE_BYTES", 2**60)
    assert desk.refused().problem is UpdateProblem.NO_ROOM


def test_what_other_releases_left_makes_room_for_this_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.fetch()
    part = desk.folder / "update" / "parts" / "of-another-job"
    part.write_bytes(b"half")
    (left,) = (desk.folder / "update" / "kept").glob("*/numpy*")
    usage = shutil.disk_usage(desk.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=0 if left.exists() else 2**39))
    desk.repository.add_release(3, "0.3.0", {REKAM: WHEELS[REKAM]})
    assert [path.name for path in desk.fetch(3, "0.3.0").wheels] == [REKAM]
    assert not part.exists() and sum(REKAM in name for name, _, _ in desk.line.carried) == 1


def test_cut_at_every_megabyte_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """30 MB; the process is gone after each megabyte. What is fetched in all is little more than the release."""
    desk = Desk(tmp_path)
    big = {f"wheel{n}-1.0-py3-none-any.whl": bytes([n]) * (10 * MIB) for n in range(3)}
    job = desk.repository.add_release(3, "0.3.0", big)
    cuts = 0
    while True:
        desk.line.cut_after = MIB
        try:
            fetched = desk.fetch(job.number, job.version)
            break
        except Cut:
            cuts += 1
    assert cuts >= 25 and {path.name: path.read_bytes() for path in fetched.wheels} == big
    carried = sum(length for name, _, length in desk.line.carried if ".whl" in name)
    assert carried <= 30 * MIB + cuts * 65536


def test_a_part_that_rotted_while_the_unit_was_off_is_begun_anew_once(desk: Desk) -> None:
    part = desk.folder / "update" / "parts" / desk.repository.target_file(NUMPY)[1]
    part.parent.mkdir(parents=True)
    for rotten in (bytes(1000), bytes(len(WHEELS[NUMPY])), bytes(len(WHEELS[NUMPY]) + 5)):
        part.write_bytes(rotten)
        assert desk.fetch().wheels
        (desk.folder / "update" / "kept" / desk.repository.targets[NUMPY].hashes["sha256"] / NUMPY).write_bytes(b"bad")
    assert desk.fetch().wheels  # what lies on the disk is looked at each time


def test_only_files_of_a_repository_are_asked_for(desk: Desk) -> None:
    desk.fetch()
    assert {FileRole.METADATA, FileRole.TARGET} == {role for role, _ in desk.repository.files}
    assert all("/" not in name for name, _, _ in desk.line.carried)
