"""What runs under the recorder: the real spool, ingest or release files, doing each thing once; a mark a promise.

    python -m tests.fault.powercut_workload spool FOLDER [SITE]

SITE names one sync to leave out, as if somebody had removed it from the source.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tuf.api.metadata import TargetFile

from contract.channel_disk import Disk, SyncSite
from contract.dispatch import encode
from contract.identifiers import pid_of
from contract.transfer import Chunk, Disposition, Offer, Receipt, Step, chunk_count, encode_chunk
from edge.spool import Spool
from hub.update_files import UpdateFiles
from tests.fault.recorded_disk import MARK
from tests.fault.rig import UNIT, Rig

CHUNK_BYTES = 1024
RELEASES = 3
STORE_KEY = bytes(range(32))


class ForgetfulDisk(Disk):
    """A disk on which one sync was forgotten."""

    def __init__(self, omitted: SyncSite | None) -> None:
        self.omitted = omitted

    def sync_file(self, descriptor: int, site: SyncSite) -> None:
        if site is not self.omitted:
            super().sync_file(descriptor, site)

    def sync_folder(self, folder: Path, site: SyncSite) -> None:
        if site is not self.omitted:
            super().sync_folder(folder, site)

    def synchronous(self, site: SyncSite) -> str:
        return "NORMAL" if site is self.omitted else super().synchronous(site)


class SetClock:
    """A clock that the workload sets."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


class Marks:
    """Writes one mark with one system call, so that it stands between the calls before and after it."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, *words: str) -> None:
        os.write(self._descriptor, (" ".join(words) + "\n").encode())


def packet_of(number: int) -> bytes:
    """Bytes for the spool, which does not look into them."""
    return bytes([number]) * (1500 * number)


def spool_work(folder: Path, disk: Disk, mark: Marks) -> None:
    """Put, send, receipt, purge, put again; then close, which checkpoints the database."""
    spool = Spool(folder / "spool", STORE_KEY, SetClock(), 10**9, 10**6, disk=disk)

    def put(number: int) -> str:
        pid = spool.put(packet_of(number), kind="enrolment", subject_id=str(number))
        mark("kept", pid)
        return pid

    def receipt(pid: str, number: int, disposition: Disposition) -> None:
        if disposition.frees:
            mark("freeing", pid)
        length = len(packet_of(number))
        spool.accept_receipt(Receipt(pid=pid, length=length, hub_sequence=number, time_ms=1, disposition=disposition))

    first, second = put(1), put(2)
    spool.mark_sent(first)
    receipt(first, 1, Disposition.RELEASED)
    spool.purge()
    mark("purged", first)
    third = put(3)
    receipt(second, 2, Disposition.STORED)
    receipt(third, 3, Disposition.QUARANTINED)
    spool.purge()
    mark("purged", third)
    put(4)
    spool.close()
    mark("closed")


def ingest_work(folder: Path, rig: Rig, disk: ForgetfulDisk, mark: Marks) -> None:
    """Take three packets, one of them slowly; each receipt and each durable bitmap is a promise."""
    from hub.ingest import Ingest
    from tests.fault.rig_hub import hub_context, store_of

    clock = SetClock()
    context = hub_context(rig, clock, "NORMAL" if disk.omitted is SyncSite.HUB_DATABASE else "FULL")
    store, keys = store_of(context)

    def observe(step: Step, pid: str) -> None:
        if step is Step.PART_DURABLE:
            mark("progress", pid, str(taken[pid]))

    taken: dict[str, int] = {}
    blobs = context.blob_dir
    ingest = Ingest(blobs, store, keys, context.keys.packet, context.keys.statement, clock, disk=disk, observe=observe)
    mark("open")
    for number, path in enumerate(sorted((folder / "inbox").iterdir())):
        sealed = path.read_bytes()
        pid = pid_of(sealed)
        taken[pid] = 0
        count = chunk_count(len(sealed), CHUNK_BYTES)
        offer = Offer(attempt=1, length=len(sealed), chunk=CHUNK_BYTES, count=count, key_id=UNIT)
        ingest.on_offer(UNIT, pid, encode(offer))
        for index in range(count):
            taken[pid] += 1
            data = sealed[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
            ingest.on_chunk(UNIT, pid, encode_chunk(Chunk(index, data)))
            if ingest.finish():
                mark("receipted", pid)
            elif number == 1 and index % 12 == 11:
                clock.now_ms += 5_000
                ingest.tick()
    ingest.close()
    context.database.close()
    mark("closed")


def release_of(number: int) -> tuple[TargetFile, bytes]:
    """A file of a release, and what it is signed as."""
    content = bytes([number]) * (2500 * number)
    return TargetFile.from_data(f"wheel-{number}.whl", content, ["sha256"]), content


def release_work(folder: Path, disk: Disk, mark: Marks) -> None:
    """Keep three files; let one go that nobody signs for any more."""
    files = UpdateFiles(folder / "updates" / "files", disk)
    for number in range(1, RELEASES + 1):
        files.put(*release_of(number))
        mark("stored", str(number))
    mark("dropping", "1")
    files.keep_only(release_of(number)[0] for number in range(2, RELEASES + 1))
    mark("closed")


def main() -> None:
    """Run one workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", choices=("spool", "ingest", "release"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("omitted", nargs="?", type=SyncSite)
    arguments = parser.parse_args()
    disk = ForgetfulDisk(arguments.omitted)
    mark = Marks(arguments.folder)
    if arguments.subject == "spool":
        spool_work(arguments.folder, disk, mark)
    elif arguments.subject == "release":
        release_work(arguments.folder, disk, mark)
    else:
        ingest_work(arguments.folder, Rig(arguments.folder / "world", 0), disk, mark)


if __name__ == "__main__":
    main()
