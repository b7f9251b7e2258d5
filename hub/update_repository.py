"""The hub's part of the TUF repository: believes what was signed off-line, signs snapshot and timestamp on-line.

The timestamp is what a unit asks for first, and it lives for a day: who holds back an old one is found out then. It is
signed anew at half of its life, and an alarm says when a quarter is left. Versions are minutes since 1970 where that is
more than the one before plus one, so that a hub from its backup does not go back behind what units have seen.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from contract.clock import utc
from contract.errors import RemoteError
from contract.update_metadata import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    believe,
    believe_root,
    read_metadata,
    role_lacks,
)
from contract.updates import Artefact, TargetCustom, read_custom
from hub.context import HubContext
from hub.schema.update_tables import Rollout, UpdateMetadata
from hub.update_files import UpdateFiles

ALARM_SHARE = 0.25
KEPT_VERSIONS = 20
MINUTE_MS, DAY_MS = 60_000, 86_400_000
KEY_BYTES_MAX = 4096
TARGETS_FILE, TARGETS_FOLDER = "targets.json", "targets"
S = TypeVar("S", Root, Timestamp, Snapshot, Targets)
log = structlog.get_logger("updates")


@dataclass(frozen=True, slots=True)
class ReleaseTarget:
    """A release that may be rolled out."""

    target: str
    custom: TargetCustom

    @classmethod
    def of(cls, row: Rollout) -> ReleaseTarget:
        """The release of a rollout."""
        return cls(row.target, TargetCustom(artefact=Artefact(row.artefact), number=row.number, version=row.version))


class UpdateRepository:
    """Metadata in the database, keys and files on the disk. Methods run in the caller's transaction."""

    def __init__(self, context: HubContext) -> None:
        self._context = context
        self._section = context.settings.updates
        self.folder = context.settings.path(self._section.folder)
        self.files = UpdateFiles(self.folder / TARGETS_FOLDER)
        self._parsed: tuple[int, dict[str, TargetFile]] = (0, {})

    def root(self, session: Session) -> Metadata[Root] | None:
        """The newest root, or None where there is no repository."""
        return self._newest(session, Root)

    def targets(self, session: Session) -> Metadata[Targets] | None:
        """The newest targets metadata."""
        return self._newest(session, Targets)

    def update_root(self, session: Session) -> bytes:
        """What new units trust; empty where there is no repository."""
        row = _newest_row(session, ROOT)
        return row.encoded if row is not None else b""

    def releases(self, session: Session) -> list[ReleaseTarget]:
        """What may be rolled out, the newest of each artefact first."""
        targets = self.targets(session)
        if targets is None:
            return []
        found = [
            ReleaseTarget(name, read_custom(target.custom)) for name, target in targets.signed.targets.items()
        ]  # fmt: skip
        found = [row for row in found if row.custom.artefact is not Artefact.WHEEL]
        return sorted(found, key=lambda row: (list(Artefact).index(row.custom.artefact), -row.custom.number))

    def file_targets(self, session: Session) -> dict[str, TargetFile]:
        """Every file that is signed for, by its name."""
        row = _newest_row(session, TARGETS)
        if row is None:
            return {}
        version, files = self._parsed
        if version != row.version:
            files = read_metadata(row.encoded, Targets).signed.targets
            self._parsed = (row.version, files)
        return files

    def metadata_file(self, session: Session, name: str) -> bytes | None:
        """A metadata file by its name in a repository with consistent snapshots; None where there is none."""
        number, _, role = name.removesuffix(".json").rpartition(".")
        if role == TIMESTAMP:
            row = None if number else _newest_row(session, TIMESTAMP)
        else:
            row = session.get(UpdateMetadata, (role, int(number))) if number.isdecimal() else None
        return row.encoded if row is not None else None

    def begin(self, session: Session, encoded: bytes) -> None:
        """Trust this first root, which somebody brought by hand. Raises RemoteError where another is trusted."""
        root = believe_root(encoded, None)
        known = session.get(UpdateMetadata, (ROOT, root.signed.version))
        if known is not None and known.encoded == encoded:
            return
        if _newest_row(session, ROOT) is not None:
            raise RemoteError(
                "The hub serves another repository already.", next_step="Use the folder of releases that it knows."
            )
        self._enter(session, root, encoded)

    def take(self, session: Session, roots: Sequence[bytes], targets: bytes) -> bool:
        """Believe newer roots and targets, and sign for them; whether anything is new. Raises RemoteError."""
        root, changed = self.follow(session, roots)
        fresh = believe(targets, Targets, root)
        known = self.targets(session)
        if known is not None and known.signed.version > fresh.signed.version:
            raise RemoteError(
                f"These media hold targets {fresh.signed.version}; the hub has {known.signed.version} already.",
                next_step="Write the media again with 'release publish' from the newest folder.",
            )
        if fresh.signed.is_expired(self._now()):
            raise RemoteError("The targets' signatures have expired.", next_step="Run 'release renew', and sign again.")
        if known is None or known.signed.version < fresh.signed.version:
            self._enter(session, fresh, targets)
            changed = True
        elif known.signed_bytes != fresh.signed_bytes:
            raise RemoteError(
                f"Two different targets metadata have the version {fresh.signed.version}.",
                next_step="Somebody signed from an old copy of the folder: find out who, then sign a higher version.",
            )
        self.refresh(session)
        return changed

    def follow(self, session: Session, roots: Sequence[bytes]) -> tuple[Metadata[Root], bool]:
        """The newest root after these, each believed by the one before it; whether one is new. Raises RemoteError."""
        row = _newest_row(session, ROOT, lock=True)
        if row is None:
            raise RemoteError(
                "This hub has no update repository yet.", next_step="Run 'rekam-hub begin-updates FOLDER' first."
            )
        current, changed = read_metadata(row.encoded, Root), False
        for encoded in roots:
            version = read_metadata(encoded, Root).signed.version
            if version <= current.signed.version:
                known = session.get(UpdateMetadata, (ROOT, version))
                if known is not None and known.encoded != encoded:
                    raise RemoteError(
                        f"Root {version} is another one than the hub's: these are media of another repository.",
                        next_step="Use the folder of releases that this hub was begun with.",
                    )
                continue
            current = believe_root(encoded, current)
            self._enter(session, current, encoded)
            changed = True
        return current, changed

    def refresh(self, session: Session) -> bool:
        """Sign snapshot and timestamp where that is due; whether something was signed."""
        _newest_row(session, ROOT, lock=True)  # one signer at a time: the process, or a command beside it
        root, targets = self.root(session), self.targets(session)
        if root is None or targets is None:
            return False
        signed = False
        snapshot = self._newest(session, Snapshot)
        meta = MetaFile(targets.signed.version)
        if snapshot is None or snapshot.signed.meta[TARGETS_FILE] != meta or self._is_due(session, SNAPSHOT, root):
            made = Snapshot(version=self._next_version(snapshot), expires=self._end(self._section.snapshot_h))
            made.meta = {TARGETS_FILE: meta}
            signed |= self._sign(session, root, Metadata(made))
            snapshot = self._newest(session, Snapshot)
        if snapshot is None:
            return signed
        timestamp = self._newest(session, Timestamp)
        meta = MetaFile(snapshot.signed.version)
        if timestamp is None or timestamp.signed.snapshot_meta != meta or self._is_due(session, TIMESTAMP, root):
            fresh = Timestamp(version=self._next_version(timestamp), expires=self._end(self._section.timestamp_h))
            fresh.snapshot_meta = meta
            signed |= self._sign(session, root, Metadata(fresh))
        return signed

    def alarm(self, session: Session) -> str:
        """What keeps units from updating, or will soon; or nothing."""
        now_ms = self._context.clock.wall_ms()
        if self.root(session) is None:
            return ""
        if self.files.damaged:
            return f"{len(self.files.damaged)} files of releases are damaged here: run 'rekam-hub take-release' again."
        for role in (SNAPSHOT, TIMESTAMP):
            row = _newest_row(session, role)
            if row is None or row.expires_ms - now_ms < ALARM_SHARE * (row.expires_ms - row.made_ms):
                return f"The hub's {role} signature runs out, and no unit updates after that. Look at the hub's log."
        for role in (TARGETS, ROOT):
            row = _newest_row(session, role)
            if row is not None and row.expires_ms - now_ms < self._section.ends_soon_days * DAY_MS:
                how = "release renew" if role == TARGETS else "release rotate-root"
                until = utc(row.expires_ms).strftime("%Y-%m-%d")
                return f"The {role} signatures of releases end on {until}: run 'rekam-provision {how}', then publish."
        return ""

    def _sign(self, session: Session, root: Metadata[Root], metadata: Metadata[Snapshot] | Metadata[Timestamp]) -> bool:
        """Sign and keep; False, with a word in the log, where the hub lacks the key."""
        role = metadata.signed.type
        signers = load_online_keys(self.folder)
        for keyid in root.signed.roles[role].keyids:
            if keyid in signers:
                metadata.sign(signers[keyid], append=True)
        if role_lacks(root, metadata):
            log.critical("no key for updates", role=role, next_step="Run 'rekam-hub begin-updates' with the new keys.")
            return False
        self._enter(session, metadata, metadata.to_bytes())
        last = metadata.signed.version
        versions = select(UpdateMetadata.version).where(UpdateMetadata.role == role)
        kept = session.scalars(versions.order_by(UpdateMetadata.version.desc()).limit(KEPT_VERSIONS)).all()
        session.execute(
            delete(UpdateMetadata).where(UpdateMetadata.role == role, UpdateMetadata.version.not_in(kept))
        )  # fmt: skip
        log.info("updates signed", role=role, version=last, until=metadata.signed.expires.isoformat())
        return True

    def _is_due(self, session: Session, role: str, root: Metadata[Root]) -> bool:
        """Whether half of a signature's life has passed, or the root has named another key since."""
        row = _newest_row(session, role)
        if row is None:
            return True
        held = read_metadata(row.encoded, Snapshot) if role == SNAPSHOT else read_metadata(row.encoded, Timestamp)
        lacks = role_lacks(root, held)
        return bool(lacks) or self._context.clock.wall_ms() >= (row.made_ms + row.expires_ms) // 2

    def _newest(self, session: Session, kind: type[S]) -> Metadata[S] | None:
        row = _newest_row(session, kind.type)
        return read_metadata(row.encoded, kind) if row is not None else None

    def _enter(
        self,
        session: Session,
        metadata: Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp],
        encoded: bytes,
    ) -> None:
        signed = metadata.signed
        session.add(
            UpdateMetadata(
                role=signed.type,
                version=signed.version,
                encoded=encoded,
                made_ms=self._context.clock.wall_ms(),
                expires_ms=int(signed.expires.timestamp() * 1000),
            )
        )
        session.flush()

    def _next_version(self, before: Metadata[Snapshot] | Metadata[Timestamp] | None) -> int:
        minutes = self._context.clock.wall_ms() // MINUTE_MS
        return max(minutes, before.signed.version + 1 if before is not None else 1)

    def _now(self) -> datetime.datetime:
        return utc(self._context.clock.wall_ms())

    def _end(self, life_h: float) -> datetime.datetime:
        return self._now() + datetime.timedelta(hours=life_h)


def load_online_keys(folder: Path) -> dict[str, CryptoSigner]:
    """The keys in the hub's folder of updates, by key id. A file that is no key is left aside, with a word."""
    found = {}
    for path in sorted(folder.glob("*.key")):
        try:
            with path.open("rb") as file:
                key = load_pem_private_key(file.read(KEY_BYTES_MAX), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            log.critical("no usable key", file=path.name, error=type(error).__name__)
            continue
        if isinstance(key, Ed25519PrivateKey):
            signer = CryptoSigner(key)
            found[signer.public_key.keyid] = signer
    return found


def _newest_row(session: Session, role: str, *, lock: bool = False) -> UpdateMetadata | None:
    query = select(UpdateMetadata).where(UpdateMetadata.role == role).order_by(UpdateMetadata.version.desc()).limit(1)
    return session.scalars(query.with_for_update() if lock else query).first()
