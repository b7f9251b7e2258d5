"""Packets on their way by hand (M19): from the media of units with no line, together, and what has become of each.

The files are sealed to the hub: who carries them can read nothing. Nothing is removed anywhere: the unit's copy goes by
the hub's receipt alone, and a carrier may lose its media without loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contract.channel_disk import Disk, SyncSite
from contract.dispatch import encode
from contract.errors import DeviceError, RemoteError
from contract.export_list import LIST_BYTES_MAX, LIST_PREFIX, LIST_SUFFIX, ExportList, file_name, read_list
from contract.identifiers import PACKET_FILE_SUFFIX, PID_PATTERN, pid_of
from contract.seal import SEALED_BYTES_MAX

FILES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Collection:
    """What lies on the media. lengths: whole packets by id; new: ids that were copied now; damaged: names of files.

    lists: what the units' exports say of whose packets these are.
    """

    lengths: dict[str, int]
    new: tuple[str, ...]
    damaged: tuple[str, ...]
    lists: tuple[ExportList, ...] = ()


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
    lists = []
    for path in sorted(media.glob(f"{LIST_PREFIX}*{LIST_SUFFIX}")):
        found = _list(path)
        if found is None:
            damaged.append(path.name)
            continue
        lists.append(found)
        if into is not None and not _is_newer(into / path.name, found):
            draft = disk.write_draft(into / path.name, encode(found), SyncSite.SPOOL_FILE)
            disk.publish_draft(draft, into / path.name, SyncSite.SPOOL_NAME)
    return Collection(lengths, tuple(new), tuple(damaged), tuple(lists))


def _list(path: Path) -> ExportList | None:
    """A list that is what its name says, or None."""
    try:
        with path.open("rb") as file:
            found = read_list(file.read(LIST_BYTES_MAX + 1))
    except (OSError, RemoteError):
        return None
    return found if path.name == file_name(found.unit) else None


def _is_newer(path: Path, than: ExportList) -> bool:
    """Whether a list of a later visit lies there already: it names all that its unit still held."""
    there = _list(path) if path.is_file() else None
    return there is not None and there.at_ms >= than.at_ms


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
