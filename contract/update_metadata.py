"""TUF metadata as the officer who signs releases and the hub that serves them judge it (TUF 1.0, python-tuf).

Root and targets are signed off-line by people, snapshot and timestamp by the hub. Nothing is believed for where it
lies: a root is believed by the root before it and by itself, targets by the root, each by as many keys as it asks for.
"""

from __future__ import annotations

from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError, SerializationError

from contract.errors import RemoteError

METADATA_BYTES_MAX = 2 * 1024 * 1024  # what a unit takes of targets; of the others it takes less
ROOT_CHAIN_MAX = 256
ROOT, TARGETS, SNAPSHOT, TIMESTAMP = Root.type, Targets.type, Snapshot.type, Timestamp.type
ADVICE = "Write the media again with 'rekam-provision release publish'; if that does not help, ask who signs releases."
S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


def read_metadata(encoded: bytes, kind: type[S]) -> Metadata[S]:
    """Metadata of this kind, not believed yet. Raises RemoteError for everything that is not one."""
    name = kind.type
    if len(encoded) > METADATA_BYTES_MAX:
        raise RemoteError(f"The {name} metadata has {len(encoded)} bytes, too many.", next_step=ADVICE)
    try:
        metadata = Metadata[S].from_bytes(encoded)
        metadata.signed_bytes  # noqa: B018 - what cannot be written canonically cannot be judged either
    except (DeserializationError, SerializationError, RecursionError) as error:
        raise RemoteError(f"The {name} metadata cannot be read ({type(error).__name__}).", next_step=ADVICE) from None
    if not isinstance(metadata.signed, kind):
        raise RemoteError(f"This is no {name} metadata but {metadata.signed.type}.", next_step=ADVICE)
    if isinstance(metadata.signed, Root) and not metadata.signed.consistent_snapshot:
        raise RemoteError("The root does not name its files by their content.", next_step=ADVICE)
    return metadata


def root_lacks(root: Metadata[Root], before: Metadata[Root] | None) -> int:
    """How many signatures a root still lacks, by its own keys and by those of the root before it."""
    try:
        found = root.signed.get_root_verification_result(
            before.signed if before else None, root.signed_bytes, root.signatures
        )
    except ValueError as error:
        raise RemoteError(f"The root does not follow: {error}", next_step=ADVICE) from None
    return max(found.first.missing, found.second.missing)


def role_lacks(root: Metadata[Root], metadata: Metadata[Any]) -> int:
    """How many signatures targets, snapshot or timestamp still lack under this root."""
    try:
        found = root.signed.get_verification_result(
            metadata.signed.type, metadata.signed_bytes, metadata.signatures
        )  # fmt: skip
    except ValueError as error:
        raise RemoteError(f"The root does not fit: {error}", next_step=ADVICE) from None
    return found.missing


def believe_root(encoded: bytes, before: Metadata[Root] | None) -> Metadata[Root]:
    """The root that follows `before`, or the first one, which somebody has brought by hand. Raises RemoteError."""
    root = read_metadata(encoded, Root)
    if lacking := root_lacks(root, before):
        raise RemoteError(
            f"Root {root.signed.version} lacks {lacking} signatures.",
            next_step="Have it signed by more of the root keys with 'rekam-provision release sign'.",
        )
    return root


def believe(encoded: bytes, kind: type[S], root: Metadata[Root]) -> Metadata[S]:
    """Metadata with enough signatures under this root. Raises RemoteError."""
    metadata = read_metadata(encoded, kind)
    if lacking := role_lacks(root, metadata):
        raise RemoteError(
            f"The {kind.type} metadata of version {metadata.signed.version} lacks {lacking} signatures.",
            next_step="Have it signed by more keys with 'rekam-provision release sign'.",
        )
    return metadata


def check_content(target: TargetFile, content: bytes) -> None:
    """Whether these are the bytes that were signed for. Raises RemoteError."""
    try:
        target.verify_length_and_hashes(content)
    except RepositoryError:
        raise RemoteError(f"{target.path} is not the file that was signed for.", next_step=ADVICE) from None


def sha256_of(target: TargetFile) -> str:
    """A target's SHA-256, hexadecimal. Raises RemoteError where it is signed for by another hash only."""
    digest = target.hashes.get("sha256", "")
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise RemoteError(f"{target.path} is signed for without its SHA-256.", next_step=ADVICE)
    return digest


def name_by_content(name: str, digest: str) -> str:
    """A target's name in a repository that names files by content (consistent snapshots)."""
    return f"{digest}.{name}"
