"""The hub's side of the repository: what it takes from media, what it serves, and everything that it must not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from structlog.testing import capture_logs
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp
from typer.testing import CliRunner

from contract.channel_disk import Disk, SyncSite
from contract.clock import utc
from contract.dispatch import decode
from contract.errors import DeviceError, RekamError, RemoteError
from contract.rollouts import ReleasesOrder, ReleasesResult
from contract.technician import StatusOrder, StatusResult, Verb
from contract.update_metadata import believe, believe_root, read_metadata
from contract.updates import FileAsk, FileRole
from hub.__main__ import cli
from hub.schema.update_tables import UpdateMetadata
from hub.update_files import UpdateFiles
from provisioning.release_folder import ReleaseFolder
from tests.commissioning.desk_world import DAY_MS, HOUR_MS
from tests.hub_world import DATABASES
from tests.updates.hub_stage import UpdateStage
from tests.updates.office import Office

RELEASE = "0.7.0"


@pytest.fixture(params=DATABASES)
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> UpdateStage:
    return UpdateStage(tmp_path, request.param, units=2)


@pytest.fixture
def begun(tmp_path: Path) -> UpdateStage:
    found = UpdateStage(tmp_path, units=2)
    found.office.add_edge(RELEASE)
    found.begin()
    return found


def versions(stage: UpdateStage) -> dict[str, int]:
    """The newest version of each role."""
    with stage.world.database.reading() as session:
        rows = session.execute(select(UpdateMetadata.role, UpdateMetadata.version).order_by(UpdateMetadata.version))
        return {row.role: row.version for row in rows}


def metadata(stage: UpdateStage, name: str) -> bytes:
    with stage.world.database.reading() as session:
        found = stage.repository.metadata_file(session, name)
    assert found is not None, name
    return found


def refresh(stage: UpdateStage) -> tuple[bool, str]:
    """Sign what is due; whether something was, and the alarm."""
    with stage.world.database.transaction() as session:
        signed = stage.repository.refresh(session)
        return signed, stage.repository.alarm(session)


def test_what_was_signed_is_taken_and_served_as_a_unit_will_follow_it(stage: UpdateStage) -> None:
    stage.office.add_edge(RELEASE)
    assert "begin-updates" in str(_refusal(lambda: stage.take(stage.office.publish())))
    taken = stage.begin()
    assert (taken.version, taken.files, taken.new) == (2, 3, True) and taken.releases == ("rekam-edge-0.7.0.json",)
    root = believe_root(metadata(stage, "1.root.json"), None)
    timestamp = believe(metadata(stage, "timestamp.json"), Timestamp, root).signed
    snapshot = believe(metadata(stage, f"{timestamp.snapshot_meta.version}.snapshot.json"), Snapshot, root).signed
    targets = believe(metadata(stage, f"{snapshot.meta['targets.json'].version}.targets.json"), Targets, root).signed
    assert set(targets.targets) >= {"rekam-edge-0.7.0.json", "rekam-0.7.0-py3-none-any.whl"}
    again = stage.take(stage.office.publish())
    assert (again.files, again.new) == (0, False)
    stage.office.add_edge("0.8.0")
    newer = stage.take(stage.office.publish())
    assert (newer.version, newer.files, newer.new) == (3, 2, True)  # one wheel is the same
    assert not (stage.world.folder / "hub" / "updates" / "root-1.key").exists()
    shown = decode(ReleasesResult, stage.order(Verb.RELEASES, ReleasesOrder()).body)
    assert [row.version for row in shown.rows] == ["0.8.0", "0.7.0"] and shown.targets_version == 3


def test_older_foreign_and_forked_media_are_refused(stage: UpdateStage, tmp_path: Path) -> None:
    stage.office.add_edge(RELEASE)
    old = stage.office.publish("old")
    shutil.copytree(stage.office.folder, tmp_path / "copy")
    stage.begin()
    stage.office.add_edge("0.8.0")
    stage.take(stage.office.publish())
    before = versions(stage)
    assert "has 3 already" in str(_refusal(lambda: stage.take(old)))
    (tmp_path / "other").mkdir()
    stranger = Office(tmp_path / "other")
    stranger.add_edge("9.0.0")
    assert "another repository" in str(_refusal(lambda: stage.take(stranger.publish())))
    fork = stage.office
    fork.folder = tmp_path / "copy"
    fork.add_edge("0.8.1")
    assert "old copy" in str(_refusal(lambda: stage.take(fork.publish("fork"))))
    assert versions(stage) == before


def test_too_few_signatures_are_refused_at_the_hub_too(tmp_path: Path) -> None:
    stage = UpdateStage(tmp_path, units=1)
    shutil.rmtree(stage.office.folder)
    stage.office = Office(tmp_path, "--targets-keys", "2", "--targets-threshold", "2")
    stage.begin()
    stage.office.add_edge(RELEASE, keys=("targets-1",))
    place = stage.office.folder  # the folder itself is media that nobody checked
    assert "lacks 1 signatures" in str(_refusal(lambda: stage.take(place)))
    assert versions(stage)["targets"] == 1
    stage.office.run("sign", keys=("targets-2",))
    assert stage.take(place).version == 2


def test_half_written_media_are_refused_with_advice(begun: UpdateStage, tmp_path: Path) -> None:
    office = begun.office
    office.add_edge("0.8.0")
    whole = office.publish()

    class PulledDisk(Disk):
        """Media that are pulled before the n-th name is given."""

        def __init__(self, writes: int) -> None:
            self.writes = writes

        def publish_draft(self, draft: Path, path: Path, site: SyncSite) -> None:
            self.writes -= 1
            if self.writes < 0:
                raise DeviceError("The media are gone.")
            super().publish_draft(draft, path, site)

    files = sum(1 for path in (whole / "rekam-release").rglob("*") if path.is_file())
    for writes in range(files):
        media = tmp_path / f"pulled-{writes}"
        shutil.copytree(whole, media) if writes % 2 else media.mkdir()  # media that held a release before, and new ones
        shutil.rmtree(media / "rekam-release" / "targets", ignore_errors=True)
        with pytest.raises(DeviceError):
            ReleaseFolder(office.folder, PulledDisk(writes)).publish(media, datetime.now(UTC))
        refused = _refusal(lambda: begun.take(media))  # noqa: B023 - called here
        assert "release publish" in refused.next_step, refused
    (wheel,) = (whole / "rekam-release" / "targets").glob("*rekam-0.8.0*.whl")
    content = wheel.read_bytes()
    wheel.write_bytes(content[:-1])
    assert "torn" in str(_refusal(lambda: begun.take(whole)))
    wheel.write_bytes(content[:-1] + b"\1")
    assert "not the file that was signed" in str(_refusal(lambda: begun.take(whole)))
    wheel.unlink()
    assert "not on the media" in str(_refusal(lambda: begun.take(whole)))
    wheel.write_bytes(content)
    assert begun.take(whole).version == 3


@given(st.sampled_from(("2.root.json", "3.targets.json", "1.root.json")), st.binary(max_size=200), st.integers(0, 2000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_on_media_is_refused(begun: UpdateStage, tmp_path: Path, name: str, garbage: bytes, keep: int) -> None:
    media = tmp_path / "garbage"
    shutil.rmtree(media, ignore_errors=True)
    shutil.copytree(begun.office.folder / "metadata", media / "metadata")
    newest = (begun.office.folder / "metadata" / "2.targets.json").read_bytes()
    (media / "metadata" / name).write_bytes(newest[: keep % len(newest)] + garbage)
    before = versions(begun)
    _refusal(lambda: begun.take(media))
    assert versions(begun) == before


def test_the_commands_of_the_hub_say_what_they_took_and_what_to_do(tmp_path: Path) -> None:
    stage = UpdateStage(tmp_path, units=1)
    stage.office.add_edge(RELEASE)
    media = stage.office.publish()
    config = ("--config", str(stage.world.folder / "hub" / "hub.toml"))

    def run(*words: str) -> tuple[int, str]:
        found = CliRunner().invoke(cli, [*words, *config], env={"COLUMNS": "200"})
        return found.exit_code, found.output

    code, said = run("take-release", str(media))
    assert code == 1 and "begin-updates" in said
    code, said = run("begin-updates", str(stage.office.folder))
    assert code == 0 and "rekam-edge-0.7.0.json" in said
    code, said = run("take-release", str(media))
    assert code == 0 and "Known already: targets 2" in said
    code, said = run("take-release", str(tmp_path))
    assert code == 1 and "release publish" in said
    for name in ("begin-updates", "take-release"):
        code, said = run(name, "--help")
        assert code == 0 and "Example:" in said


def test_taking_may_be_cut_at_every_write_and_goes_on(begun: UpdateStage, monkeypatch: pytest.MonkeyPatch) -> None:
    begun.office.add_edge("0.8.0")
    media = begun.office.publish()
    before = versions(begun)
    put = UpdateFiles.put
    for allowed in range(2):
        left = [allowed]

        def stopped(files: UpdateFiles, *args: Any, left: list[int] = left) -> None:
            if not left[0]:
                raise DeviceError("The power went.")
            left[0] -= 1
            put(files, *args)

        monkeypatch.setattr(UpdateFiles, "put", stopped)
        with pytest.raises(DeviceError):
            begun.take(media)
        assert versions(begun) == before
    monkeypatch.undo()
    assert begun.take(media).new


def test_timestamp_is_signed_anew_at_half_of_its_life_and_alarms_where_it_cannot(begun: UpdateStage) -> None:
    first = versions(begun)
    begun.clock.now_ms += 11 * HOUR_MS
    assert refresh(begun) == (False, "")
    begun.clock.now_ms += 2 * HOUR_MS
    assert refresh(begun) == (True, "")
    second = versions(begun)
    assert second["timestamp"] > first["timestamp"] and second["snapshot"] == first["snapshot"]
    key = begun.world.folder / "hub" / "updates" / "timestamp.key"
    held = key.read_bytes()
    key.write_bytes(b"not a key any more")
    begun.clock.now_ms += 13 * HOUR_MS
    assert refresh(begun) == (False, "")
    begun.clock.now_ms += 6 * HOUR_MS
    signed, alarm = refresh(begun)
    assert not signed and "timestamp signature runs out" in alarm
    with begun.world.database.transaction() as session:
        begun.world.desks.authority.revocation_list(session)
    status = decode(StatusResult, begun.order(Verb.STATUS, StatusOrder()).body)
    assert status.alarm == alarm
    key.write_bytes(held)
    assert refresh(begun) == (True, "")
    begun.clock.now_ms += 4 * DAY_MS
    assert refresh(begun)[0] and versions(begun)["snapshot"] > first["snapshot"]


def test_ninety_days_without_a_gap_and_the_end_of_the_signatures_is_told(begun: UpdateStage) -> None:
    end = begun.clock.now_ms + 90 * DAY_MS
    while begun.clock.now_ms < end:
        begun.clock.now_ms += 6 * HOUR_MS
        assert refresh(begun)[1] == ""
        assert not read_metadata(metadata(begun, "timestamp.json"), Timestamp).signed.is_expired(_now(begun))
    with begun.world.database.reading() as session:
        kept = session.scalars(select(UpdateMetadata.version).where(UpdateMetadata.role == "timestamp")).all()
    assert len(kept) <= 21
    begun.clock.now_ms += 216 * DAY_MS
    assert "release renew" in refresh(begun)[1]


def test_a_hub_from_its_backup_does_not_go_back_behind_what_units_have_seen(begun: UpdateStage) -> None:
    seen = versions(begun)
    with begun.world.database.transaction() as session:
        for role in ("snapshot", "timestamp"):
            for row in session.scalars(select(UpdateMetadata).where(UpdateMetadata.role == role)).all():
                session.delete(row)
    begun.clock.now_ms += 2 * 60_000
    refresh(begun)
    after = versions(begun)
    assert after["snapshot"] > seen["snapshot"] and after["timestamp"] > seen["timestamp"]


def test_a_rotated_root_is_followed_and_new_online_keys_are_taken_up(begun: UpdateStage) -> None:
    office = begun.office
    office.run(
        "rotate-root", "--replace", "timestamp", "--replace", "root-1", keys=("root-1", "root-2")
    )  # fmt: skip
    (office.folder / "keys" / "root-1.key").unlink()
    media = office.publish()
    with capture_logs() as logs:
        begun.take(media)
    assert [line["role"] for line in logs if line["event"] == "no key for updates"] == ["timestamp"]
    begun.begin()
    root = believe_root(metadata(begun, "2.root.json"), believe_root(metadata(begun, "1.root.json"), None))
    assert believe(metadata(begun, "timestamp.json"), Timestamp, root)
    with begun.world.database.reading() as session:
        assert begun.repository.update_root(session) == metadata(begun, "2.root.json")
    assert read_metadata(metadata(begun, "2.root.json"), Root).signed.version == 2


@contextmanager
def tampered(path: Path, *, quietly: bool = False) -> Iterator[None]:
    """A file with one bit changed; quietly: its time is put back."""
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    if quietly:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    yield
    path.write_bytes(content)


def test_a_tampered_file_is_not_served_and_somebody_is_told(begun: UpdateStage) -> None:
    with begun.world.database.reading() as session:
        target = begun.repository.file_targets(session)["rekam-0.7.0-py3-none-any.whl"]
    files, name = begun.repository.files, f"{target.hashes['sha256']}.{target.path}"
    path = begun.repository.folder / "targets" / name
    whole = files.read(target, 0, 1 << 20)
    assert whole == path.read_bytes() and files.read(target, 5, 3) == whole[5:8] and files.read(target, 10**6, 9) == b""
    for quietly in (False, True):
        with tampered(path, quietly=quietly), capture_logs() as logs:
            assert files.read(target, 0, 10) is None and files.read(target, 0, 10) is None
            assert [line["file"] for line in logs if line["event"] == "alarm"] == [name]
            assert "take-release" in refresh(begun)[1]
        assert files.read(target, 0, 10) == whole[:10] and refresh(begun)[1] == ""
    path.unlink()
    assert files.read(target, 0, 1) is None
    path.symlink_to("/etc/passwd")
    assert files.read(target, 0, 1) is None
    path.unlink()
    assert begun.take(begun.office.publish()).files == 1  # the same media mend it
    assert files.read(target, 0, 10) == whole[:10]


def test_files_that_nobody_signs_for_go_after_the_next_release(begun: UpdateStage) -> None:
    def held() -> set[str]:
        return {path.name[65:] for path in (begun.repository.folder / "targets").iterdir()}

    begun.office.add_edge("0.8.0")
    begun.office.run("drop", "rekam-edge-0.7.0.json", keys=("targets-1",))
    begun.take(begun.office.publish())
    assert "rekam-0.7.0-py3-none-any.whl" in held()  # a unit may be fetching it
    begun.office.add_edge("0.9.0")
    begun.take(begun.office.publish())
    assert "rekam-0.7.0-py3-none-any.whl" not in held() and "rekam-0.8.0-py3-none-any.whl" in held()


def test_a_release_on_its_way_is_not_taken_from_under_its_units(begun: UpdateStage) -> None:
    assert begun.update(RELEASE).done
    begun.office.add_edge("0.8.0")
    begun.office.run("drop", "rekam-edge-0.7.0.json", keys=("targets-1",))
    assert "on its way" in str(_refusal(lambda: begun.take(begun.office.publish())))
    assert versions(begun)["targets"] == 2


def test_an_ask_is_a_name_of_the_repository_and_nothing_else() -> None:
    for name in ("../hub.toml", "/etc/passwd", "timestamp.key", "1.root.json/..", "root.json\n"):
        with pytest.raises(ValueError, match="no file of a repository"):
            FileAsk(request=1, role=FileRole.METADATA, name=name, length=1)


def _now(stage: UpdateStage) -> Any:
    return utc(stage.clock.wall_ms())


def _refusal(work: Any) -> RekamError:
    with pytest.raises(RekamError) as caught:
        work()
    assert isinstance(caught.value, DeviceError | RemoteError)
    return caught.value
