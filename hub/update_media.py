"""Releases as they come to the hub, on media: checked as a whole before anything of them is served.

Files come first, each against the signed SHA-256; the metadata that names them follow in one transaction. So whatever
is cut, the hub serves the release before or this one, and the same command goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session
from tuf.api.metadata import TargetFile, Targets

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError, RekamError, RemoteError
from contract.update_metadata import (
    METADATA_BYTES_MAX,
    ROOT_CHAIN_MAX,
    believe,
    check_content,
    name_by_content,
    sha256_of,
)
from contract.updates import TARGET_BYTES_MAX, Artefact, decode_manifest, read_custom
from hub.broker_files import write_private
from hub.config import HubSettings
from hub.context import HubContext, load_keys
from hub.rollout import OPEN_STATES
from hub.schema.database import Database
from hub.schema.update_tables import Rollout
from hub.update_files import UpdateFiles
from hub.update_repository import TARGETS_FOLDER, UpdateRepository
from hub.vault import Vault

MEDIA_FOLDER, FIRST_FOLDER, KEYS_FOLDER = "rekam-release", "first", "online"
AGAIN = "Write the media again with 'rekam-provision release publish', and wait until it says so."
log = structlog.get_logger("updates")


@dataclass(frozen=True, slots=True)
class Media:
    """What lies on media. roots: from the first on; folder: where the files are."""

    roots: tuple[bytes, ...]
    targets: bytes
    folder: Path


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken. version: of the targets; files: that were copied; releases: their names."""

    version: int
    files: int
    releases: tuple[str, ...]
    new: bool


def read_media(media: Path) -> Media:
    """What `release publish` wrote, or a folder of releases itself. Raises DeviceError where it is not whole."""
    place = media / MEDIA_FOLDER if (media / MEDIA_FOLDER).is_dir() else media
    metadata = place / "metadata"
    if not metadata.is_dir():
        raise DeviceError(f"{media} holds no releases.", next_step="Name the folder that 'release publish' wrote to.")
    roots: list[bytes] = []
    while len(roots) < ROOT_CHAIN_MAX and (metadata / f"{len(roots) + 1}.root.json").exists():
        roots.append(_read(metadata / f"{len(roots) + 1}.root.json", METADATA_BYTES_MAX))
    numbers = [path.name.split(".")[0] for path in metadata.glob("*.targets.json")]
    newest = max((int(number) for number in numbers if number.isdecimal()), default=0)
    if not roots or not newest:
        raise DeviceError(f"{media} is half-written: the media were pulled too early.", next_step=AGAIN)
    return Media(
        tuple(roots), _read(metadata / f"{newest}.targets.json", METADATA_BYTES_MAX), place / TARGETS_FOLDER
    )  # fmt: skip


def begin_updates(settings: HubSettings, database: Database, folder: Path, clock: Clock | None = None) -> Taken:
    """Give the hub its keys of a new repository, or new ones after a rotation, and take what is signed so far."""
    context = _context(settings, database, clock)
    repository = UpdateRepository(context)
    media = read_media(folder)
    keys = sorted((folder / KEYS_FOLDER).glob("*.key"))
    if not keys:
        raise DeviceError(
            f"{folder / KEYS_FOLDER} holds no keys.", next_step="Name the folder that 'release init' made."
        )
    with database.transaction() as session:
        repository.begin(session, media.roots[0])
    try:
        repository.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"{repository.folder} cannot be made: {error.strerror}.") from None
    for path in keys:
        write_private(repository.folder / path.name, _read(path, 4096))
    return _take(context, repository, media)


def take_release(settings: HubSettings, database: Database, media: Path, clock: Clock | None = None) -> Taken:
    """Take what media hold. Raises RemoteError for signatures that do not suffice, DeviceError for torn media."""
    context = _context(settings, database, clock)
    return _take(context, UpdateRepository(context), read_media(media))


def adopt_first(context: HubContext) -> None:
    """Where setup has left a new repository in the hub's folder, and none is served yet: begin with it.

    One that cannot be used is told in the log: captures do not wait for it.
    """
    repository = UpdateRepository(context)
    first = repository.folder / FIRST_FOLDER
    with context.database.reading() as session:
        known = repository.root(session)
    if known is not None or not first.is_dir():
        return
    try:
        media = read_media(first)
        with context.database.transaction() as session:
            repository.begin(session, media.roots[0])
        _take(context, repository, media)
    except RekamError as error:
        log.critical("alarm", **error.diagnostics())


def _take(context: HubContext, repository: UpdateRepository, media: Media) -> Taken:
    files = repository.files
    with context.database.transaction() as session:
        root, _ = repository.follow(session, media.roots)
        fresh = believe(media.targets, Targets, root)
        before = repository.file_targets(session)
        _check_rollouts(session, fresh.signed)
        session.rollback()  # nothing is believed for good before its files are here
    copied = 0
    for target in fresh.signed.targets.values():
        read_custom(target.custom)
        if not files.has(target):
            files.put(target, _content(media.folder, target))
            copied += 1
    _check_manifests(files, fresh.signed)
    with context.database.transaction() as session:
        changed = repository.take(session, media.roots, media.targets)
    files.keep_only([*fresh.signed.targets.values(), *before.values()])
    releases = tuple(name for name, target in fresh.signed.targets.items() if not _is_wheel(target))
    log.info("releases taken", version=fresh.signed.version, files=copied, new=changed)
    return Taken(fresh.signed.version, copied, releases, changed)


def _content(folder: Path, target: TargetFile) -> bytes:
    path = folder / name_by_content(target.path, sha256_of(target))
    if target.length > TARGET_BYTES_MAX:
        raise RemoteError(f"{target.path} is signed for with {target.length} bytes, too many.")
    try:
        if path.stat().st_size != target.length:
            raise DeviceError(f"{target.path} is torn: the media were pulled too early.", next_step=AGAIN)
    except FileNotFoundError:
        raise DeviceError(f"{target.path} is not on the media.", next_step=AGAIN) from None
    content = _read(path, target.length)
    check_content(target, content)
    return content


def _check_manifests(files: UpdateFiles, targets: Targets) -> None:
    """Every release names wheels that are signed for as just those bytes. Raises RemoteError."""
    for target in targets.targets.values():
        if read_custom(target.custom).artefact is not Artefact.EDGE:
            continue
        manifest = decode_manifest(files.read(target, 0, target.length) or b"")
        for wheel in manifest.wheels:
            signed = targets.targets.get(wheel.target)
            if signed is None or sha256_of(signed) != wheel.sha256:
                raise RemoteError(f"{target.path} names {wheel.target}, which is not signed for like that.")


def _check_rollouts(session: Session, targets: Targets) -> None:
    """Raises RemoteError where a release that is on its way to units would go."""
    query = select(Rollout.target, Rollout.number).where(Rollout.state.in_(OPEN_STATES))
    for name, number in session.execute(query):
        target = targets.targets.get(name)
        if target is None or read_custom(target.custom).number != number:
            raise RemoteError(
                f"{name} is on its way to units, and these media do not have it.",
                next_step="Cancel that update first ('rekam-provision update --cancel'), or keep the release.",
            )


def _is_wheel(target: TargetFile) -> bool:
    return read_custom(target.custom).artefact is Artefact.WHEEL


def _context(settings: HubSettings, database: Database, clock: Clock | None) -> HubContext:
    keys = load_keys(settings)
    return HubContext(settings, database, Vault(keys.blob), keys, clock or SystemClock())


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}.", next_step=AGAIN) from None
    if len(content) > bytes_max:
        raise DeviceError(f"{path} is longer than {bytes_max} bytes.", next_step=AGAIN)
    return content
