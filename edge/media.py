"""Packets by removable media, where a unit's line stays down (M2, M19): out of one spool and into another.

The files are sealed to the hub, so whoever carries or finds them can read nothing; a packet is deleted nowhere but by
the hub's receipt.
"""

from __future__ import annotations

from pathlib import Path

from contract.channel_disk import Disk, SyncSite
from contract.dispatch import encode
from contract.errors import DeviceError, RemoteError
from contract.export_list import file_name, list_of
from contract.identifiers import PACKET_FILE_SUFFIX, PID_PATTERN, pid_of
from contract.lifecycle import PacketState
from contract.seal import SEALED_BYTES_MAX
from edge.spool import Spool


def export_packets(spool: Spool, media: Path) -> int:
    """Copy everything that has no freeing receipt to a folder; how many.

    One damaged packet keeps no other back. Raises DeviceError at the end where some could not be read, and at once
    where the media take nothing.
    """
    disk = Disk()
    copied, damaged = 0, []
    for packet in spool.all():
        if packet.state is PacketState.PURGEABLE:
            continue
        try:
            sealed = spool.read(packet.pid)
        except DeviceError as error:
            damaged.append(error.message)
            continue
        target = media / (packet.pid + PACKET_FILE_SUFFIX)
        draft = disk.write_draft(target, sealed, SyncSite.SPOOL_FILE)
        disk.publish_draft(draft, target, SyncSite.SPOOL_NAME)
        copied += 1
    if damaged:
        raise DeviceError(
            f"{copied} packets were copied, {len(damaged)} could not be read. {damaged[0]}",
            next_step="Take what was copied to the centre; tell the technician of the others.",
        )
    return copied


def leave_list(spool: Spool, media: Path, unit: str, site: str, at_ms: int) -> None:
    """Say beside the packets whose they are, so that this visit can be accounted for. Raises DeviceError."""
    there = [packet.pid for packet in spool.all() if (media / (packet.pid + PACKET_FILE_SUFFIX)).is_file()]
    disk, target = Disk(), media / file_name(unit)
    draft = disk.write_draft(target, encode(list_of(unit, site, at_ms, there)), SyncSite.SPOOL_FILE)
    disk.publish_draft(draft, target, SyncSite.SPOOL_NAME)


def import_packets(spool: Spool, media: Path) -> int:
    """Take up packets that another unit exported, idempotently; how many were new here.

    One damaged file keeps no other back. Raises RemoteError at the end where some were damaged.
    """
    taken, damaged = 0, []
    for path in sorted(media.glob(f"*{PACKET_FILE_SUFFIX}")):
        pid = path.name.removesuffix(PACKET_FILE_SUFFIX)
        sealed = _read(path)
        if not sealed or not PID_PATTERN.fullmatch(pid) or pid_of(sealed) != pid:
            damaged.append(path.name)
            continue
        taken += spool.find(pid) is None
        spool.put(sealed, kind="imported", subject_id=pid)
    if damaged:
        raise RemoteError(
            f"{taken} packets were taken up, {len(damaged)} are damaged: {', '.join(damaged[:3])}.",
            next_step="Export those again at the unit they came from.",
        )
    return taken


def _read(path: Path) -> bytes | None:
    """The bytes of an exported packet, or None where there are too many or the media do not give them."""
    try:
        return path.read_bytes() if path.stat().st_size <= SEALED_BYTES_MAX else None
    except OSError:
        return None
