"""A release on its way to the unit: trusted by TUF, chosen for this machine, fetched wheel by wheel, kept for the next.

The client of The Update Framework is python-tuf's; what it refuses is said here in the words of one table. The root
that it begins with came with the unit's claim. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag, sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from tuf.api import exceptions
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater, UpdaterConfig

from contract.errors import DeviceError, RemoteError, TransientError
from contract.update_problems import UpdateProblem, UpdateRefusal
from contract.updates import (
    MANIFEST_BYTES_MAX,
    TARGET_BYTES_MAX,
    Artefact,
    NamedTarget,
    NamedWheel,
    ReleaseManifest,
    TargetCustom,
    UpdateJob,
    decode_manifest,
    read_custom,
)
from edge.update_fetcher import METADATA_URL, TARGETS_URL, Read, RepositoryFetcher

SPARE_BYTES = 64 * 1024 * 1024
ROOM_TIMES = 5  # of a release's wheels: the download, and what they unpack and compile to
_LIMITS = UpdaterConfig(
    max_root_rotations=32,
    root_max_length=64 * 1024,
    timestamp_max_length=16 * 1024,
    snapshot_max_length=256 * 1024,
    targets_max_length=2 * 1024 * 1024,
    app_user_agent="rekam",
)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A release that is here and verified. wheels: of this machine; target: the manifest, image or schema itself."""

    custom: TargetCustom
    target: Path
    wheels: tuple[Path, ...] = ()
    hashes: tuple[str, ...] = ()
    firmware: Path | None = None
    firmware_number: int = 0
    schema: Path | None = None
    schema_number: int = 0
    slot_schema: bytes = b""


class _TimedUpdater(Updater):
    """python-tuf's client with a clock of ours: it asks the machine's once, when it is made."""

    def judge_by(self, now: datetime.datetime) -> None:
        """Metadata have expired, or not, at this time."""
        self._trusted_set.reference_time = now


class UpdateClient:
    """The unit's update folder: `metadata/` (trusted), `parts/` (under way), `kept/` (verified, by hash)."""

    def __init__(
        self,
        folder: Path,
        root: bytes,
        read: Read,
        tags: Iterable[Tag] | None = None,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        """root: the trusted root metadata, as the claim brought it; tags: of wheels that this machine takes.

        now: the time that signatures are judged by, which the machine's clock need not be.
        """
        self._now = now
        self._folder = folder
        self._root = root
        self._tags = {tag: rank for rank, tag in enumerate(sys_tags() if tags is None else tags)}
        self._fetcher = RepositoryFetcher(read, folder / "parts")
        self._updater: Updater | None = None

    def refresh(self) -> None:
        """Ask for the newest metadata, and believe it or not. Raises UpdateRefusal, TransientError."""
        metadata = self._folder / "metadata"
        metadata.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._updater = None
        try:
            updater = _TimedUpdater(
                str(metadata), METADATA_URL, str(self._folder / "kept"), TARGETS_URL, self._fetcher, _LIMITS,
                bootstrap=self._root,
            )  # fmt: skip
            updater.judge_by(self._now())
            updater.refresh()
        except (exceptions.RepositoryError, exceptions.DownloadError) as error:
            raise self._refused(error) from None
        except OSError as error:
            raise _disk(error) from None
        finally:
            _sync_folder(metadata)  # what was seen is the floor of what may be seen next
        self._updater = updater

    def signed(self, name: str) -> tuple[TargetFile, TargetCustom]:
        """A target as it was signed. Raises UpdateRefusal."""
        if self._updater is None:
            self.refresh()
        assert self._updater is not None
        try:
            found = self._updater.get_targetinfo(name)
        except (exceptions.RepositoryError, exceptions.DownloadError) as error:
            raise self._refused(error) from None
        if found is None:
            raise UpdateRefusal(UpdateProblem.RELEASE_UNKNOWN, f"({name})")
        if found.length > TARGET_BYTES_MAX or "sha256" not in found.hashes:
            raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, f"{name} is too long, or not signed with SHA-256.")
        try:
            return found, read_custom(found.custom)
        except RemoteError as error:
            raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, f"{name}: {error.message}") from None

    def fetch(self, job: UpdateJob, progress: Progress) -> Fetched:
        """Everything that a job's release needs here. progress: bytes here, bytes in all. Raises UpdateRefusal."""
        target, custom = self.signed(job.target)
        if (custom.artefact, custom.number) != (job.artefact, job.number):
            raise UpdateRefusal(
                UpdateProblem.RELEASE_UNKNOWN, f"{job.target} is signed as {custom.artefact} {custom.number}."
            )
        if custom.artefact is not Artefact.EDGE:
            self._make_room([target])
            return Fetched(custom, self._take([target], progress)[0])
        if target.length > MANIFEST_BYTES_MAX:
            raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, f"{job.target} is too long for a manifest.")
        path = self._take([target], lambda _done, _all: None)[0]
        return self._fetch_release(custom, path, progress)

    def forget(self, fetched: Fetched) -> None:
        """Remove what this release does not need from the unit: wheels of others, and parts."""
        self._keep_only({fetched.target, *fetched.wheels, fetched.firmware, fetched.schema})
        self._fetcher.forget()

    def _keep_only(self, wanted: Set[Path | None]) -> None:
        for kept in (self._folder / "kept").glob("*/*"):
            if kept not in wanted:
                shutil.rmtree(kept.parent, ignore_errors=True)

    def _fetch_release(self, custom: TargetCustom, path: Path, progress: Progress) -> Fetched:
        """The wheels of an edge release that fit this machine, and what belongs to it."""
        manifest = self._manifest(custom, path)
        chosen = self._chosen(manifest)
        targets = [self._named(wheel.target, Artefact.WHEEL)[0] for wheel in chosen]
        for wheel, target in zip(chosen, targets, strict=True):
            if target.hashes["sha256"] != wheel.sha256:
                raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, f"{wheel.target} is not the one of this release.")
        more = {
            kind: self._belonging(named, kind)
            for kind, named in (
                (Artefact.FIRMWARE, manifest.firmware),
                (Artefact.CONFIGURATION_SCHEMA, manifest.configuration_schema),
            )
            if named is not None
        }
        wanted = [*targets, *more.values()]
        self._make_room(wanted)
        here = self._take(wanted, progress)
        others = dict(zip(more, here[len(targets) :], strict=True))
        return Fetched(
            custom, path, tuple(here[: len(targets)]), tuple(wheel.sha256 for wheel in chosen),
            others.get(Artefact.FIRMWARE), manifest.firmware.number if manifest.firmware else 0,
            others.get(Artefact.CONFIGURATION_SCHEMA),
            manifest.configuration_schema.number if manifest.configuration_schema else 0,
        )  # fmt: skip

    def _manifest(self, custom: TargetCustom, path: Path) -> ReleaseManifest:
        try:
            manifest = decode_manifest(path.read_bytes())
        except RemoteError as error:
            raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, error.message) from None
        if (manifest.number, manifest.version) != (custom.number, custom.version):
            raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, "Its manifest is of another release than was signed.")
        return manifest

    def _chosen(self, manifest: ReleaseManifest) -> list[NamedWheel]:
        """Of each project the wheel that fits this machine best. Raises UpdateRefusal where one has none that fits."""
        best: dict[str, tuple[int, NamedWheel]] = {}
        projects = set()
        for wheel in manifest.wheels:
            try:
                project, _version, _build, tags = parse_wheel_filename(wheel.target)
            except InvalidWheelFilename:
                raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, f"{wheel.target} is no wheel's name.") from None
            projects.add(project)
            rank = min((self._tags[tag] for tag in tags if tag in self._tags), default=-1)
            if rank >= 0 and (project not in best or rank < best[project][0]):
                best[project] = (rank, wheel)
        if missing := sorted(projects - set(best)):
            raise UpdateRefusal(UpdateProblem.RELEASE_FOR_OTHER_MACHINE, f"({', '.join(missing[:5])})")
        return [best[project][1] for project in sorted(best)]

    def _belonging(self, named: NamedTarget, artefact: Artefact) -> TargetFile:
        target, custom = self._named(named.target, artefact)
        if custom.number != named.number:
            raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, f"{named.target} is another one than the release names.")
        return target

    def _named(self, name: str, artefact: Artefact) -> tuple[TargetFile, TargetCustom]:
        """A target that a release names, signed as what it is used for."""
        target, custom = self.signed(name)
        if custom.artefact is not artefact:
            raise UpdateRefusal(UpdateProblem.RELEASE_INVALID, f"{name} is signed as {custom.artefact}.")
        return target, custom

    def _make_room(self, targets: list[TargetFile]) -> None:
        """Raises UpdateRefusal where the disk would be filled: what a unit has not sent yet needs it more.

        What other releases have left here goes first, where there is no room for both.
        """
        self._fetcher.forget(frozenset(_part_name(target) for target in targets))
        missing = sum(target.length for target in targets if self._kept(target) is None)
        needed = ROOM_TIMES * sum(target.length for target in targets) + SPARE_BYTES
        if shutil.disk_usage(self._folder).free < needed:
            self._keep_only({self._place(target) for target in targets})
        free = shutil.disk_usage(self._folder).free
        if missing and free < needed:
            raise UpdateRefusal(UpdateProblem.NO_ROOM, f"{needed // 2**20} MB are needed, {free // 2**20} are free.")

    def _take(self, targets: list[TargetFile], progress: Progress) -> list[Path]:
        """These targets as verified files; what is here already is not fetched. Raises UpdateRefusal."""
        whole = sum(target.length for target in targets)
        here = {target.path: self._kept(target) for target in targets}
        done = sum(target.length for target in targets if here[target.path] is not None)
        done += sum(
            min(self._fetcher.bytes_here(_part_name(target)), target.length)
            for target in targets
            if here[target.path] is None
        )

        def count(more: int) -> None:
            nonlocal done
            done += more
            progress(min(done, whole), whole)

        self._fetcher.progress = count
        progress(done, whole)
        found = [here[target.path] or self._download(target) for target in targets]
        progress(whole, whole)
        return found

    def _kept(self, target: TargetFile) -> Path | None:
        """The verified file, where an earlier release brought it already."""
        path = self._place(target)
        try:
            with path.open("rb") as file:
                target.verify_length_and_hashes(file)
        except (OSError, exceptions.LengthOrHashMismatchError):
            return None
        return path

    def _place(self, target: TargetFile) -> Path:
        return self._folder / "kept" / target.hashes["sha256"] / target.path

    def _download(self, target: TargetFile) -> Path:
        """Fetch one target to its end, verified and durable; a rotten part of before is begun anew once."""
        assert self._updater is not None
        path = self._place(target)
        draft = path.with_name(f".{path.name}.draft")
        begun_before = self._fetcher.bytes_here(_part_name(target)) > 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._updater.download_target(target, str(draft))
            except exceptions.LengthOrHashMismatchError:
                if not begun_before:
                    raise
                self._updater.download_target(target, str(draft))
            _sync_file(draft)
            draft.replace(path)
            _sync_folder(path.parent)
            (self._folder / "parts" / _part_name(target)).unlink(missing_ok=True)
        except (exceptions.RepositoryError, exceptions.DownloadError) as error:
            raise self._refused(error, of_target=True) from None
        except OSError as error:
            raise _disk(error) from None
        return path

    def _refused(self, error: Exception, *, of_target: bool = False) -> UpdateRefusal | TransientError:
        """What python-tuf refuses, in the words of the table. Names of files and versions are no secret."""
        name, said = self._fetcher.last_name, str(error)
        if isinstance(error, exceptions.ExpiredMetadataError):
            return UpdateRefusal(UpdateProblem.METADATA_EXPIRED, f"({said})")
        if isinstance(error, exceptions.UnsignedMetadataError):
            return UpdateRefusal(UpdateProblem.METADATA_UNTRUSTED, f"({said})")
        if isinstance(error, exceptions.BadVersionNumberError):
            # Of a snapshot python-tuf says the same error for an older targets version and for another publication.
            older = name.endswith("timestamp.json") or ".json version" in said
            problem = UpdateProblem.METADATA_OLDER if older else UpdateProblem.METADATA_MIXED
            return UpdateRefusal(problem, f"({said})")
        if isinstance(error, exceptions.LengthOrHashMismatchError):
            problem = UpdateProblem.FILE_WRONG if of_target else UpdateProblem.METADATA_MIXED
            return UpdateRefusal(problem, f"({name}: {said})")
        if isinstance(error, exceptions.DownloadLengthMismatchError):
            return UpdateRefusal(UpdateProblem.FILE_ENDLESS, f"({said})")
        if isinstance(error, exceptions.DownloadHTTPError):
            return UpdateRefusal(UpdateProblem.FILE_ABSENT, f"({name})")
        if isinstance(error, exceptions.DownloadError):
            return TransientError(f"A file of the release was not fetched: {said}")
        return UpdateRefusal(UpdateProblem.METADATA_UNTRUSTED, f"({name}: {said})")


def sha256_of(path: Path) -> str:
    """A file's SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_kept(path: Path) -> bytes:
    """A kept target's bytes, still those that were signed for, whenever that was. Raises UpdateRefusal."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UpdateRefusal(UpdateProblem.FILE_ABSENT, f"({path.name}: {error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != path.parent.name:
        raise UpdateRefusal(UpdateProblem.FILE_WRONG, f"({path.name} has changed on the unit's disk)")
    return content


def _part_name(target: TargetFile) -> str:
    """The file of a consistent snapshot, as python-tuf asks for it."""
    return f"{next(iter(target.hashes.values()))}.{target.path}"


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make every file of a small folder durable, and its names."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync_file(path)
    _sync_file(folder)


def _disk(error: OSError) -> DeviceError:
    return DeviceError(f"The update cannot be kept: {error.strerror}.", next_step="Check the unit's storage card.")
