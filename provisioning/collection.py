"""Packets on their way by hand (M19): from the media of units with no line, together, and what has become of each.

The files are sealed to the hub: who carries them can read nothing. Nothing is removed anywhere: the unit's copy goes by
the hub's receipt alone, and a carrier may lose its media without loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contract.channel_disk import Disk, SyncSite
from contract.errors import DeviceError
from contract.identifiers import PACKET_FILE_SUFFIX, PID_PATTERN, pid_of
from contract.seal import SEALED_BYTES_MAX

FILES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Collection:
    """What lies on the media. lengths: whole packets by id; new: ids that were copied now; damaged: names of files."""

    lengths: dict[str, int]
    new: tuple[str, ...]
    damaged: tuple[str, ...]


def collect(media: Path, into: Path | None, disk: Disk | None = None) -> Collection:
    """Check every packet on `media`, and copy to `into` those that are not there yet. Cut anywhere, it may be repeated.

    One damaged file keeps no other back. Raises DeviceError where the media cannot be read, or take nothing more.
    """
    disk = disk or Disk()
    lengths, new, damaged = {}, [], []
    if into is not None:
        _make(into, disk)
    for path in _packet_files(media):
        pid = path.name.removesuffix(PACKET_FILE_SUFFIX)
        sealed = _whole(path, pid)
        if sealed is None:
            damaged.append(path.name)
            continue
        lengths[pid] = len(sealed)
        if into is not None and _whole(into / path.name, pid) is None:
            draft = disk.write_draft(into / path.name, sealed, SyncSite.SPOOL_FILE)
            disk.publish_draft(draft, into / path.name, SyncSite.SPOOL_NAME)
            new.append(pid)
    return Collection(lengths, tuple(new), tuple(damaged))


def _packet_files(media: Path) -> list[Path]:
    try:
        found = sorted(path for path in media.iterdir() if path.name.endswith(PACKET_FILE_SUFFIX))
    except OSError as error:
        raise DeviceError(
            f"{media} cannot be read ({error.strerror}).", next_step="Mount the media and name its folder."
        ) from None
    if len(found) > FILES_MAX:
        raise DeviceError(f"{media} holds more than {FILES_MAX} packets.", next_step="Collect from several folders.")
    return found


def _make(folder: Path, disk: Disk) -> None:
    if not folder.absolute().parent.is_dir():
        raise DeviceError(f"{folder.absolute().parent} is not there.", next_step="Mount the media that carry away.")
    disk.make_folder(folder.absolute(), SyncSite.SPOOL_ROOT)


def _whole(path: Path, pid: str) -> bytes | None:
    """The bytes of a packet that are what their name says; None where they are not, are too many, or cannot be read."""
    try:
        if not path.is_file() or not 0 < path.stat().st_size <= SEALED_BYTES_MAX:
            return None
        sealed = path.read_bytes()
    except OSError:
        return None
    return sealed if PID_PATTERN.fullmatch(pid) and pid_of(sealed) == pid else None
