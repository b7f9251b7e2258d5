"""The print engine behind the virtual card printer: a program of its own that ippeveprinter runs for each job.

It takes time, waits while a fault is set, and lays every printed side into the stacker as PNG. Standard library only,
because it is started by its path. Arguments: folder of the rig, then what ippeveprinter appends, the document's file.

The fault is a file `fault` in the rig's folder: state reasons with commas between them (media-empty, cover-open, …)
and, as second word, `abort` where the engine is to give the card up, or `2` where it begins only before the second
side. A reason that ends in -low is said and not waited
for. The fault script is a file `script`, used up by the next job: a line `side reason seconds` raises a reason before
that side and cures it after so long, as a person would.
"""

from __future__ import annotations

import os
import re
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

POLL_S = 0.02
_IMAGE = re.compile(rb"/Width (\d+) /Height (\d+) [^>]*/Length (\d+) >>\nstream\n")


def sides(document: bytes) -> Iterator[tuple[str, bytes]]:
    """(suffix, image file) of every side of a document: PNG and JPEG are one, our PDF has a page each."""
    if not document.startswith(b"%PDF"):
        yield ("png" if document.startswith(b"\x89PNG") else "jpg"), document
        return
    for found in _IMAGE.finditer(document):
        width, height, length = (int(number) for number in found.groups())
        samples = zlib.decompress(document[found.end() : found.end() + length])
        rows = b"".join(b"\0" + samples[row * width * 3 : (row + 1) * width * 3] for row in range(height))
        yield "png", _png(width, height, rows)


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def tell(line: str) -> None:
    """One line of ippeveprinter's protocol for print commands."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def wait_while_faulty(fault: Path, side: int) -> bool:
    """Wait for a person to clear the fault; False where the job is given up."""
    raised, printer = "", os.getppid()
    while fault.exists():
        if os.getppid() != printer:
            return False  # the printer lost its power, and its engine with it
        words = fault.read_text().split()
        if words[1:] == ["2"] and side < 2:
            return True
        if words and words[0] != raised:
            if raised:
                tell(f"STATE: -{raised}")
            raised = words[0]
            tell(f"STATE: +{raised}")
        if raised and all(reason.endswith("-low") for reason in raised.split(",")):
            return True
        if words[1:] == ["abort"]:
            time.sleep(0.4)  # long enough for whoever polls to see why
            return False
        time.sleep(POLL_S)
    if raised:
        tell(f"STATE: -{raised}")
    return True


def scripted(folder: Path) -> dict[int, list[tuple[str, float]]]:
    """The faults that the script sets for this job, by side; the script is gone afterwards."""
    try:
        lines = (folder / "script").read_text().splitlines()
    except FileNotFoundError:
        return {}
    (folder / "script").unlink()
    faults: dict[int, list[tuple[str, float]]] = {}
    for line in lines:
        side, reason, seconds = line.split()
        faults.setdefault(int(side), []).append((reason, float(seconds)))
    return faults


def main() -> int:
    """Print one document; 0 where every side came out."""
    folder, document = Path(sys.argv[1]), Path(sys.argv[-1]).read_bytes()
    stacker = folder / "stacker"
    stacker.mkdir(exist_ok=True)
    card = 1 + max((int(path.name[:4]) for path in stacker.glob("[0-9]*")), default=0)
    script = scripted(folder)
    for number, (suffix, image) in enumerate(sides(document), 1):
        for reason, seconds in script.get(number, []):
            tell(f"STATE: +{reason}")
            time.sleep(seconds)
            tell(f"STATE: -{reason}")
        if not wait_while_faulty(folder / "fault", number):
            tell("ERROR: The engine gave the card up.")
            return 1
        time.sleep(float(os.environ.get("REKAM_SIDE_S", "0.1")))
        scratch = stacker / f".{number}.part"
        scratch.write_bytes(image)
        scratch.rename(stacker / f"{card:04d}-{number}.{suffix}")
        tell(f"ATTR: job-impressions-completed={number}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
