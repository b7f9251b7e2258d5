"""A small TUF repository made with python-tuf's own metadata classes, and everything that an attacker does to one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from contract.errors import RemoteError
from contract.updates import (
    Artefact,
    FileRole,
    NamedTarget,
    NamedWheel,
    ReleaseManifest,
    TargetCustom,
    UpdateJob,
    encode_manifest,
    write_custom,
)
from edge.update_channel import Span

UNIT = "desk-a1"
YEAR = timedelta(days=365)


class Repository:
    """Files by role and name, as the hub serves them. Each `publish` is a new version of everything."""

    def __init__(self) -> None:
        self.signers = {role: CryptoSigner.generate_ed25519() for role in ("root", "targets", "snapshot", "timestamp")}
        self.targets: dict[str, TargetFile] = {}
        self.files: dict[tuple[FileRole, str], bytes] = {}
        self.version = 0
        root = Root(version=1, expires=datetime.now(UTC) + YEAR, consistent_snapshot=True)
        for role, signer in self.signers.items():
            root.add_key(signer.public_key, role)
        self._root = root
        self.root = self._signed(root, "root")
        self.publish()

    def add(self, name: str, content: bytes, custom: TargetCustom) -> None:
        """A target; `publish` makes it known."""
        target = TargetFile.from_data(name, content, ["sha256"])
        target.unrecognized_fields["custom"] = write_custom(custom)
        self.targets[name] = target
        self.files[FileRole.TARGET, f"{target.hashes['sha256']}.{name}"] = content

    def add_release(
        self,
        number: int,
        version: str,
        wheels: Mapping[str, bytes],
        *,
        floor: int = 0,
        firmware: tuple[str, int, bytes] | None = None,
        schema: tuple[str, int, bytes] | None = None,
    ) -> UpdateJob:
        """An edge release and what belongs to it; the job that tells a unit to take it up."""
        for name, content in wheels.items():
            self.add(name, content, TargetCustom(artefact=Artefact.WHEEL, number=0, version=""))
        named = {}
        for artefact, more in ((Artefact.FIRMWARE, firmware), (Artefact.CONFIGURATION_SCHEMA, schema)):
            if more is not None:
                name, its_number, content = more
                self.add(name, content, TargetCustom(artefact=artefact, number=its_number, version=str(its_number)))
                named[artefact] = NamedTarget(target=name, number=its_number, version=str(its_number))
        manifest = ReleaseManifest(
            number=number,
            version=version,
            wheels=tuple(NamedWheel(target=name, sha256=hashlib.sha256(c).hexdigest()) for name, c in wheels.items()),
            firmware=named.get(Artefact.FIRMWARE),
            configuration_schema=named.get(Artefact.CONFIGURATION_SCHEMA),
        )
        custom = TargetCustom(artefact=Artefact.EDGE, number=number, version=version, floor=floor)
        self.add(f"rekam-edge-{version}.json", encode_manifest(manifest), custom)
        self.publish()
        return job_for(number, version)

    def publish(self, *, expires: datetime | None = None, signers: Mapping[str, CryptoSigner] | None = None) -> None:
        """The next version of targets, snapshot and timestamp. expires: of the timestamp; signers: others than ours."""
        self.version += 1
        used = {**self.signers, **(signers or {})}
        later = datetime.now(UTC) + YEAR
        targets = self._signed(Targets(self.version, expires=later, targets=dict(self.targets)), "targets", used)
        self.put(f"{self.version}.targets.json", targets)
        self.publish_snapshot_of(self.version, targets, expires, used)

    def publish_snapshot_of(
        self,
        version: int,
        targets: bytes,
        expires: datetime | None = None,
        signers: Mapping[str, CryptoSigner] | None = None,
    ) -> None:
        """Snapshot and timestamp of now over targets of any version."""
        later = datetime.now(UTC) + YEAR
        snapshot = Snapshot(self.version, expires=later, meta={"targets.json": _of(version, targets)})
        encoded = self._signed(snapshot, "snapshot", signers)
        timestamp = Timestamp(self.version, expires=expires or later, snapshot_meta=_of(self.version, encoded))
        self.put(f"{self.version}.snapshot.json", encoded)
        self.put("timestamp.json", self._signed(timestamp, "timestamp", signers))

    def put(self, name: str, content: bytes) -> None:
        """A metadata file."""
        self.files[FileRole.METADATA, name] = content

    def metadata(self, name: str) -> bytes:
        """A metadata file."""
        return self.files[FileRole.METADATA, name]

    def target_file(self, name: str) -> tuple[FileRole, str]:
        """Where a target lies."""
        return FileRole.TARGET, f"{self.targets[name].hashes['sha256']}.{name}"

    def rotate_root(self, signer: CryptoSigner) -> None:
        """The next root, signed by the one before and by itself: the key that signs releases is another one."""
        old = self.signers["targets"]
        self._root = Root.from_dict(self._root.to_dict())
        self._root.version += 1
        self._root.revoke_key(old.public_key.keyid, "targets")
        self._root.add_key(signer.public_key, "targets")
        self.signers["targets"] = signer
        self.put(f"{self._root.version}.root.json", self._signed(self._root, "root"))

    def read(self, role: FileRole, name: str, offset: int, length_max: int) -> Span | None:
        """What a unit gets over its line."""
        content = self.files.get((role, name))
        return None if content is None else Span(len(content), content[offset : offset + min(length_max, 65536)])

    def _signed(
        self,
        signed: Root | Targets | Snapshot | Timestamp,
        role: str,
        signers: Mapping[str, CryptoSigner] | None = None,
    ) -> bytes:
        metadata = Metadata(signed)
        metadata.sign((signers or self.signers)[role])
        return metadata.to_bytes()


class Line:
    """A line to a repository that counts what it carries, and can be told to misbehave.

    cut_after: the reader is gone after so many bytes more; endless: a file that never ends.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.carried: list[tuple[str, int, int]] = []
        self.endless: set[str] = set()
        self.cut_after: int | None = None

    @property
    def bytes_of_targets(self) -> int:
        return sum(length for name, _, length in self.carried if not name.endswith(("timestamp.json", "root.json")))

    def __call__(self, role: FileRole, name: str, offset: int, length_max: int) -> Span | None:
        span = self.repository.read(role, name, offset, length_max)
        if span is None:
            return None
        if any(part in name for part in self.endless):
            span = Span(2**28, bytes(length_max))
        if self.cut_after is not None:
            if self.cut_after <= 0:
                raise Cut
            self.cut_after -= len(span.data)
        self.carried.append((name, offset, len(span.data)))
        return span


class Cut(BaseException):
    """The process is gone: nothing above may catch this."""


def job_for(number: int, version: str, **more: object) -> UpdateJob:
    """The hub's word to take up an edge release."""
    fields: dict[str, object] = {
        "job": f"j-{number}", "unit": UNIT, "artefact": Artefact.EDGE, "target": f"rekam-edge-{version}.json",
        "number": number, "version": version, "issued_ms": number,
    }  # fmt: skip
    return UpdateJob.model_validate(fields | more)


def broken_line(_role: FileRole, name: str, _offset: int, _length: int) -> Span | None:
    """A line on which everything comes wrong."""
    raise RemoteError(f"Nothing right comes of {name}.")


def _of(version: int, encoded: bytes) -> MetaFile:
    return MetaFile(version, len(encoded), {"sha256": hashlib.sha256(encoded).hexdigest()})
