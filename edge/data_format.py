"""Which form the data of a unit have on its disk: so that no older release runs on what only a newer one can read.

The number stands in the data folder beside what it is about: store, spool, journal, records of updates. It is that of
the newest release that was found good there. A release that writes another form raises WRITES, and writes as the
number says until it was found good itself; the releases before must have raised READS, or there is no way back to them:
the launcher asks a release (edge.slot_check) before it lets it take over, and it refuses.
"""

from __future__ import annotations

from pathlib import Path

from contract.durable_files import DurableFolder, Observer, unobserved
from contract.errors import DeviceError

WRITES = READS = 1
FORMAT_FILE = "format"


def check(data_dir: Path, reads: int = READS) -> None:
    """Raises DeviceError where a newer release has written what this one cannot read."""
    if (found := _found(data_dir)) > reads:
        raise DeviceError(
            f"The unit's data have form {found}, and this software reads {reads} at most: a newer one wrote them.",
            next_step="Install the newer release again; nothing is lost.",
        )


def note(data_dir: Path, writes: int = WRITES, observe: Observer = unobserved) -> None:
    """From now on data are written in this form. Raises Refusal (STORE_UNUSABLE)."""
    if _found(data_dir) < writes:
        DurableFolder(data_dir, observe).write(FORMAT_FILE, b"%d\n" % writes)


def _found(data_dir: Path) -> int:
    """0 where none is noted, or nothing that is a number: a spoiled file keeps no unit from serving."""
    try:
        with (data_dir / FORMAT_FILE).open("rb") as file:
            return int(file.read(20))
    except (OSError, ValueError):
        return 0
