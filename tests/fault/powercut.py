"""A power cut at every write of spool, ingest and release files, and the same again with each sync left out in turn.

The workload (tests.fault.powercut_workload) is recorded once per variant. Then, for every prefix of what it wrote, the
disks that a cut may leave there are built, the product is started on each, and its promises are checked. With all syncs
in place nothing may be lost; with any one left out something must be, or that sync was superstition.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from contract.channel_disk import SyncSite
from contract.errors import RekamError
from contract.identifiers import pid_of
from edge.spool import Spool
from hub.parts import PartStore
from hub.schema.database import Database
from hub.update_files import UpdateFiles
from tests.fault.powercut_workload import CHUNK_BYTES, STORE_KEY, SetClock, packet_of, release_of
from tests.fault.recorded_disk import Call, DiskModel, Survivor, record
from tests.fault.rig import UNIT, Rig, sealed_capture
from tests.fault.rig_hub import hub_context, store_of
from tests.fault.rig_world import make_world

SEED = 7
LOSSES_ENOUGH = 3  # with a sync left out, so many disks with a loss prove the point
WATCHED = ("spool/", "updates/", "world/hub/blobs/", "world/hub/hub.db")
SPOOL_SITES = (
    SyncSite.SPOOL_ROOT,
    SyncSite.SPOOL_FILE,
    SyncSite.SPOOL_NAME,
    SyncSite.SPOOL_REMOVAL,
    SyncSite.SPOOL_DATABASE,
)
INGEST_SITES = (
    SyncSite.PART_ROOT,
    SyncSite.PART_FOLDER,
    SyncSite.PART_BYTES,
    SyncSite.PART_MAP,
    SyncSite.PART_NAME,
    SyncSite.PACKET_BYTES,
    SyncSite.PACKET_NAME,
    SyncSite.HUB_DATABASE,
)
RELEASE_SITES = (SyncSite.RELEASE_BYTES, SyncSite.RELEASE_NAME)
SUBJECTS = {"spool": SPOOL_SITES, "ingest": INGEST_SITES, "release": RELEASE_SITES}
MEMORY = Path("/dev/shm")

Check = Callable[[Path, list[list[str]]], str | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One variant: `cuts` disks were checked after a cut, on `losses` of them a promise was broken."""

    subject: str
    omitted: str
    cuts: int
    losses: int
    example: str

    @property
    def as_expected(self) -> bool:
        """No loss with every sync in place; a loss where one is left out."""
        return bool(self.losses) == bool(self.omitted)


def check_spool(disk: Path, promises: list[list[str]]) -> str | None:
    """Start the spool on what a cut left, and compare with what it had promised; a problem, or None."""
    folder = disk / "spool"
    kept = {words[1] for words in promises if words[0] == "kept"}
    freeing = {words[1] for words in promises if words[0] == "freeing"}
    purged = {words[1] for words in promises if words[0] == "purged"}
    try:
        spool = Spool(folder, STORE_KEY, SetClock(), 10**9, 10**6)
        try:
            rows = {packet.pid for packet in spool.all()}
            if kept - freeing - rows:
                return "an acknowledged capture has no row"
            for packet in spool.all():
                if packet.pid not in freeing:
                    spool.read(packet.pid)
                if spool.label(packet.pid).kind != "enrolment":
                    return "a row is damaged"
        finally:
            spool.close()
    except (RekamError, sqlite3.Error, OSError) as error:
        return f"{type(error).__name__}: {error}"
    files = {path.name for path in folder.rglob("*")}
    if purged & (files | rows):
        return "a purged packet came back"
    wanted = {pid_of(packet_of(number)) for number in range(1, 5)}
    return None if rows <= wanted else "there is a row for a packet that never was"


def check_release(disk: Path, promises: list[list[str]]) -> str | None:
    """Look for every file that was stored and is still signed for; a problem, or None."""
    dropped = {words[1] for words in promises if words[0] == "dropping"}
    files = UpdateFiles(disk / "updates" / "files")
    for words in promises:
        if words[0] == "stored" and words[1] not in dropped and not files.has(release_of(int(words[1]))[0]):
            return "a file of a release is not what was stored"
    return None


class IngestCheck:
    """Starts the hub's store and parts on what a cut left."""

    def __init__(self, rig: Rig, inbox: Path) -> None:
        self._context = hub_context(rig)
        self._sealed = {pid_of(path.read_bytes()): path.read_bytes() for path in inbox.iterdir()}

    def __call__(self, disk: Path, promises: list[list[str]]) -> str | None:
        """A broken promise, or None."""
        database = Database(f"sqlite:///{disk / 'world/hub/hub.db'}")
        try:
            return self._broken(disk / "world/hub/blobs", database, promises)
        except (RekamError, sqlite3.Error, OSError) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            database.close()

    def _broken(self, blobs: Path, database: Database, promises: list[list[str]]) -> str | None:
        store, _ = store_of(replace(self._context, database=database))
        for words in promises:
            if words[0] == "receipted":
                pid = words[1]
                blob = blobs / "packets" / pid[:2] / pid
                if store.find(pid) is None:
                    return "a receipted packet has no row"
                if not blob.exists() or pid_of(blob.read_bytes()) != pid:
                    return "a receipted packet's bytes are gone"
        if not blobs.exists():
            return "the folder of parts is gone" if any(words[0] == "progress" for words in promises) else None
        parts = PartStore(blobs / "parts", SetClock())
        try:
            return self._false_claim(parts) or self._lost_progress(parts, store.find, blobs, promises)
        finally:
            parts.close()

    def _false_claim(self, parts: PartStore) -> str | None:
        for pid, sealed in self._sealed.items():
            part = parts.find(UNIT, pid)
            if part is None:
                continue
            stored = part.path.read_bytes()
            for index, claimed in enumerate(part.arrived):
                piece = slice(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)
                if claimed and stored[piece] != sealed[piece]:
                    return "the bitmap claims a chunk that is not there"
        return None

    def _lost_progress(
        self, parts: PartStore, find: Callable[[str], object], blobs: Path, promises: list[list[str]]
    ) -> str | None:
        for words in promises:
            if words[0] == "progress":
                pid, arrived = words[1], int(words[2])
                part = parts.find(UNIT, pid)
                here = sum(part.arrived) if part is not None else 0
                if here < arrived and find(pid) is None and not (blobs / "packets" / pid[:2] / pid).exists():
                    return "chunks that were durable have to be sent again"
        return None


def run_variant(subject: str, omitted: SyncSite | None, *, every: int = 1) -> Verdict:
    """Record one workload and check the cuts after every `every`-th call."""
    with tempfile.TemporaryDirectory(prefix="rekam-cut-", dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        folder = Path(scratch) / "disk"
        folder.mkdir()
        checks: dict[str, Check] = {"spool": check_spool, "release": check_release}
        check = checks.get(subject) or _prepare_ingest(folder)
        model = DiskModel.of(folder)
        argv = [sys.executable, "-m", "tests.fault.powercut_workload", subject, str(folder)]
        calls = record(argv + ([omitted.value] if omitted else []), folder, Path(scratch) / "calls")
        cuts, problems = 0, []
        for survivor, promises in _cuts(model, calls, every):
            disk = Path(scratch) / "after"
            _build(disk, survivor)
            problem = check(disk, promises)
            shutil.rmtree(disk)
            cuts += 1
            if problem:
                problems.append(problem)
            if omitted and len(problems) >= LOSSES_ENOUGH:
                break
    return Verdict(subject, omitted.value if omitted else "", cuts, len(problems), problems[0] if problems else "")


def check_all(say: Callable[[str], None]) -> list[Verdict]:
    """Every subject, whole and with each sync left out."""
    verdicts = []
    for subject, sites in SUBJECTS.items():
        for omitted in (None, *sites):
            verdict = run_variant(subject, omitted)
            verdicts.append(verdict)
            what = f"without '{verdict.omitted}'" if verdict.omitted else "with every sync"
            seen = f"{verdict.losses} with a loss" + (f" ({verdict.example})" if verdict.example else "")
            unexpected = "" if verdict.as_expected else " UNEXPECTED"
            say(f"power cut, {subject} {what}: {verdict.cuts} disks, {seen}{unexpected}")
    return verdicts


def _prepare_ingest(folder: Path) -> IngestCheck:
    """A hub with its schema and fleet, and three sealed packets to take in, all safe before the recording."""
    rig = make_world(folder)
    inbox = folder / "inbox"
    inbox.mkdir()
    for number in range(3):
        (inbox / f"{number}").write_bytes(sealed_capture(rig, number, 36_000))
    hub_context(rig).database.close()
    return IngestCheck(rig, inbox)


def _cuts(model: DiskModel, calls: list[Call], every: int) -> Iterator[tuple[Survivor, list[list[str]]]]:
    rng = random.Random(SEED)
    promises: list[list[str]] = []
    seen: set[bytes] = set()
    for number, call in enumerate(calls):
        if call.name == "mark":
            promises.append(call.data.decode().split())
        elif not model.apply(call):
            continue
        if number % every:
            continue
        for survivor in model.survivors(rng):
            digest = _digest(survivor, len(promises))
            if digest not in seen:
                seen.add(digest)
                yield survivor, promises


def _digest(survivor: Survivor, promises: int) -> bytes:
    digest = hashlib.sha256(str(promises).encode())
    for path, content in sorted(survivor.items()):
        if path.startswith(WATCHED):
            digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.digest()


def _build(disk: Path, survivor: Survivor) -> None:
    """Write the files of one survivor. An empty folder holds no promise: the product makes it again."""
    disk.mkdir()
    for path, content in survivor.items():
        if path.startswith(WATCHED):
            (disk / path).parent.mkdir(parents=True, exist_ok=True)
            (disk / path).write_bytes(content)
