"""The officer's folder of releases: TUF metadata and the files that they sign for, off-line, safe to cut anywhere.

    metadata/N.root.json, metadata/N.targets.json    every version; the newest is a draft until enough keys have signed
    targets/SHA256.NAME                               files, each under its content's name
    keys/root-1.key …, online/snapshot.key …          as `release init` made them; they do not stay here

What is signed completely is never changed: the next change is the next version. Media hold the same layout; their
targets metadata is removed first and written last, so that media cut half-way are seen to be half.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets

from contract.channel_disk import Disk, SyncSite
from contract.errors import DeviceError, RemoteError
from contract.update_metadata import (
    ROOT,
    ROOT_CHAIN_MAX,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    believe_root,
    check_content,
    name_by_content,
    read_metadata,
    role_lacks,
    root_lacks,
    sha256_of,
)
from provisioning.release_keys import make_keys, name_of, public_key, write_keys

ROOT_LIFE, TARGETS_LIFE = timedelta(days=730), timedelta(days=365)
MEDIA_FOLDER, UPDATE_ROOT_FILE = "rekam-release", "update-root.json"
_VERSIONED = re.compile(r"^([1-9][0-9]{0,8})\.(root|targets)\.json$")


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """How many keys sign for root and for targets, and how many of them must sign together."""

    root_keys: int = 3
    root_threshold: int = 2
    targets_keys: int = 3
    targets_threshold: int = 2


def make_repository(folder: Path, now: datetime, plan: KeyPlan) -> bytes:
    """Begin a folder of releases that does not exist yet, with keys of its own; returns what units trust.

    It takes its name last, so that what was cut looks like nothing. Raises DeviceError.
    """
    if folder.exists():
        raise DeviceError(f"{folder} exists already.", next_step="Name a new folder; keys are never written over.")
    root_keys = make_keys(ROOT, plan.root_keys)
    targets_keys = make_keys(TARGETS, plan.targets_keys)
    online = {role: CryptoSigner.generate_ed25519() for role in (SNAPSHOT, TIMESTAMP)}
    root = Root(version=1, expires=now + ROOT_LIFE, consistent_snapshot=True)
    _set_role(root, ROOT, root_keys, plan.root_threshold)
    _set_role(root, TARGETS, targets_keys, plan.targets_threshold)
    for role in (SNAPSHOT, TIMESTAMP):
        _set_role(root, role, {role: online[role]}, 1)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        draft.mkdir(parents=True, mode=0o700)
        targets = Targets(version=1, expires=now + TARGETS_LIFE)
        encoded = ReleaseFolder(draft).begin(root, root_keys, targets, targets_keys)
        write_keys(draft / "keys", root_keys | targets_keys)
        write_keys(draft / "online", online)
        draft.rename(folder)
    except OSError as error:
        raise DeviceError(f"{folder} cannot be made: {error.strerror}.", next_step="Name another place.") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return encoded


def give_to_hub(releases: Path, hub: Path) -> None:
    """Leave a repository that was just made where a hub on this machine begins with it; its keys go there for good."""
    hub.mkdir(mode=0o700)
    for path in (releases / "online").iterdir():
        path.rename(hub / path.name)
    (releases / "online").rmdir()
    shutil.copytree(releases / "metadata", hub / "first" / "metadata")


class ReleaseFolder:
    """One officer's folder. Methods raise DeviceError for the disk, RemoteError for metadata that do not hold."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.folder = folder
        self._disk = disk or Disk()

    @property
    def metadata(self) -> Path:
        """Where the metadata lie."""
        return self.folder / "metadata"

    def begin(
        self, root: Root, root_keys: dict[str, CryptoSigner], targets: Targets, targets_keys: dict[str, CryptoSigner]
    ) -> bytes:
        """Write the first root and empty targets, signed by every key; returns the root as units trust it."""
        for part in (self.metadata, self.folder / "targets"):
            self._disk.make_folder(part, SyncSite.RELEASE_NAME)
        first = Metadata(root)
        self._save(first, root_keys.values())
        self._save(Metadata(targets), targets_keys.values())
        encoded = first.to_bytes()
        self._write(self.folder / UPDATE_ROOT_FILE, encoded)
        return encoded

    def roots(self) -> list[Metadata[Root]]:
        """Every root from the first on; all but the last hold. Raises DeviceError where the folder is another one."""
        found: list[Metadata[Root]] = []
        while (path := self.metadata / f"{len(found) + 1}.root.json").exists() and len(found) < ROOT_CHAIN_MAX:
            encoded = _read(path)
            if found:
                believe_root(found[-1].to_bytes(), found[-2] if len(found) > 1 else None)
            found.append(read_metadata(encoded, Root))
        if not found:
            raise DeviceError(
                f"{self.folder} is no folder of releases.", next_step="Name the folder that 'release init' made."
            )
        return found

    def root_lacks(self) -> int:
        """How many signatures the newest root lacks."""
        chain = self.roots()
        return root_lacks(chain[-1], chain[-2] if len(chain) > 1 else None)

    def targets(self) -> Metadata[Targets]:
        """The newest targets metadata, believed or not."""
        versions = _versions(self.metadata, TARGETS)
        if not versions:
            raise DeviceError(f"{self.folder} has no targets metadata.", next_step="Restore the folder.")
        return read_metadata(_read(self.metadata / f"{versions[-1]}.targets.json"), Targets)

    def targets_lack(self) -> int:
        """How many signatures the newest targets metadata lacks under the newest root."""
        return role_lacks(self.roots()[-1], self.targets())

    def change_targets(self, now: datetime) -> Targets:
        """The next version of the targets, to be changed and kept: an unsigned draft goes on, a signed one is left."""
        newest = self.targets()
        signed = newest.signed
        if self.targets_lack() == 0:
            signed.version += 1
        signed.expires = now + TARGETS_LIFE
        return signed

    def keep_targets(self, targets: Targets) -> None:
        """Write the targets as a draft without signatures."""
        self._save(Metadata(targets), ())

    def put_file(self, name: str, content: bytes) -> None:
        """A file under its content's name; one that lies there whole is left."""
        place = self.file(name, hashlib.sha256(content).hexdigest())
        if not _holds(place, content):
            self._write(place, content)

    def file(self, name: str, digest: str) -> Path:
        """Where a target's file lies."""
        return self.folder / "targets" / name_by_content(name, digest)

    def rotate(
        self, now: datetime, replaced: Sequence[str], thresholds: dict[str, int]
    ) -> tuple[dict[str, CryptoSigner], int]:
        """Draft the next root: these keys replaced by new ones, these thresholds; returns the new keys and its version.

        A draft that is not signed is drafted anew. Targets follow where their keys changed.
        """
        chain = self.roots()
        before = chain[-1] if self.root_lacks() == 0 or len(chain) == 1 else chain[-2]
        root = read_metadata(before.to_bytes(), Root).signed
        root.version, root.expires = root.version + 1, now + ROOT_LIFE
        fresh: dict[str, CryptoSigner] = {}
        for name in replaced:
            role, keyid = _find_key(root, name)
            names = [name_of(root.keys[key]) for key in root.roles[role].keyids]
            root.revoke_key(keyid, role)
            made = make_keys(role, 1, _next_number(role, [*names, *fresh]))
            for new_name, signer in made.items():
                root.add_key(public_key(new_name, signer), role)
            fresh |= made
        for role, threshold in thresholds.items():
            _check_threshold(role, threshold, len(root.roles[role].keyids))
            root.roles[role].threshold = threshold
        draft = Metadata(root)
        self._save(draft, ())
        targets = self.targets()
        if role_lacks(draft, targets):
            signed = targets.signed
            signed.version += 0 if role_lacks(before, targets) else 1
            self.keep_targets(signed)
        return fresh, root.version

    def sign(self, signers: Iterable[CryptoSigner]) -> list[str]:
        """Put these keys' signatures under whatever draft asks for them; returns what each signed, in words."""
        chain = self.roots()
        done: list[str] = []
        newest, before = chain[-1], chain[-2] if len(chain) > 1 else None
        targets = self.targets()
        for signer in signers:
            keyid = signer.public_key.keyid
            asked_by = {keyid for root in (newest, before) if root for keyid in root.signed.roles[ROOT].keyids}
            before_count = len(done)
            if keyid in asked_by and root_lacks(newest, before):
                newest.sign(signer, append=True)
                done.append(f"root {newest.signed.version}")
            if keyid in newest.signed.roles[TARGETS].keyids and role_lacks(newest, targets):
                targets.sign(signer, append=True)
                done.append(f"targets {targets.signed.version}")
            known = keyid in asked_by or keyid in newest.signed.roles[TARGETS].keyids
            if not known and len(done) == before_count:
                raise RemoteError(
                    f"The key {keyid[:8]} may sign neither root nor targets here.",
                    next_step="Name a key of this repository; 'release show' lists them.",
                )
        if any(word.startswith(ROOT) for word in done):
            self._save(newest, None)
        if any(word.startswith(TARGETS) for word in done):
            self._save(targets, None)
        return done

    def publish(self, media: Path, now: datetime) -> Path:
        """Write all roots, the newest targets metadata and their files to media; checked before, and whole or not.

        Raises RemoteError for too few signatures, and DeviceError where a file is missing here or the media fail.
        """
        chain = self.roots()
        believe_root(chain[-1].to_bytes(), chain[-2] if len(chain) > 1 else None)
        targets = self.targets()
        if lacking := role_lacks(chain[-1], targets):
            raise RemoteError(
                f"Targets {targets.signed.version} lack {lacking} signatures.",
                next_step="Have them signed with 'rekam-provision release sign --key …' first.",
            )
        if targets.signed.is_expired(now):
            raise RemoteError("The targets' signatures have expired.", next_step="Run 'release renew', and sign again.")
        if not media.is_dir():
            raise DeviceError(f"{media} is not there.", next_step="Mount the media and name its folder.")
        place = media / MEDIA_FOLDER
        for part in (place, place / "metadata", place / "targets"):
            self._disk.make_folder(part, SyncSite.RELEASE_NAME)
        for version in _versions(place / "metadata", TARGETS):
            self._disk.remove(place / "metadata" / f"{version}.targets.json", SyncSite.RELEASE_NAME)
        for target in targets.signed.targets.values():
            content = _read(self.file(target.path, sha256_of(target)))
            check_content(target, content)
            copy = place / "targets" / name_by_content(target.path, sha256_of(target))
            if not _holds(copy, content):
                self._write(copy, content)
        for root in chain:
            name = f"{root.signed.version}.root.json"
            self._write(place / "metadata" / name, _read(self.metadata / name))
        name = f"{targets.signed.version}.targets.json"
        self._write(place / "metadata" / name, _read(self.metadata / name))
        return place

    def _save(self, metadata: Metadata[Root] | Metadata[Targets], signers: Iterable[CryptoSigner] | None) -> None:
        """Write metadata under their version. signers: sign anew by these; None keeps the signatures there are."""
        if signers is not None:
            metadata.signatures.clear()
            for signer in signers:
                metadata.sign(signer, append=True)
        path = self.metadata / f"{metadata.signed.version}.{metadata.signed.type}.json"
        self._write(path, metadata.to_bytes())

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file whole or not at all."""
        draft = self._disk.write_draft(path, content, SyncSite.RELEASE_BYTES)
        self._disk.publish_draft(draft, path, SyncSite.RELEASE_NAME)


def _set_role(root: Root, role: str, keys: dict[str, CryptoSigner], threshold: int) -> None:
    _check_threshold(role, threshold, len(keys))
    for name, signer in keys.items():
        root.add_key(public_key(name, signer), role)
    root.roles[role].threshold = threshold


def _check_threshold(role: str, threshold: int, count: int) -> None:
    if not 1 <= threshold <= count:
        raise DeviceError(
            f"{threshold} signatures of {count} {role} keys cannot be.", next_step="Ask for one at least, all at most."
        )


def _find_key(root: Root, name: str) -> tuple[str, str]:
    for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP):
        for keyid in root.roles[role].keyids:
            if name_of(root.keys[keyid]) == name:
                return role, keyid
    raise DeviceError(f"No key is called '{name[:64]}'.", next_step="'rekam-provision release show' lists them.")


def _next_number(role: str, names: Iterable[str]) -> int:
    taken = [int(name.rpartition("-")[2]) for name in names if re.fullmatch(rf"{role}-[0-9]+", name)]
    return max(taken, default=0) + 1


def _versions(folder: Path, role: str) -> list[int]:
    try:
        found = [_VERSIONED.match(path.name) for path in folder.iterdir()]
    except OSError:
        return []
    return sorted(int(match[1]) for match in found if match is not None and match[2] == role)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}.", next_step="Restore the folder.") from None
