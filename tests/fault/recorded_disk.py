"""Power cuts from a recording: every system call that writes, and what a disk may hold after a cut between any two.

The recording is what the kernel was asked by the real process (strace), SQLite's writes included, not what our code
believes it asked. The model is POSIX's pessimistic one: bytes are safe once their file was synced, names (creation,
rename, removal) once their folder was synced, in the order they were made; whatever else was written may be there,
be missing, or be torn at a sector of 512 bytes. SQLite's `-shm` index is shared memory and is never trusted after a
crash, so it is left out.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import DeviceError

SECTOR_BYTES = 512
RANDOM_SURVIVORS = 4
MARK = "marks"
_CALLS = (
    "openat,open,creat,write,pwrite64,pwritev,writev,ftruncate,truncate,fsync,fdatasync,"
    "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,fallocate,sendfile,copy_file_range"
)
_LINE = re.compile(r"^\d+\s+(\w+)\((.*)\)\s+=\s+(-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded call on the watched folder, or a mark of the workload (name `mark`, its text in `data`)."""

    name: str
    path: str
    data: bytes = b""
    offset: int = 0
    target: str = ""


def record(argv: Sequence[str], folder: Path, log: Path) -> list[Call]:
    """Run `argv` under strace and return its calls on `folder`. The workload writes its marks to a file called MARK."""
    if shutil.which("strace") is None:
        raise DeviceError("strace is not installed.", next_step="Install it: apt install strace.")
    command = ["strace", "-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={_CALLS}", "-o", str(log), *argv]
    # Whoever runs the tests without syncs (eatmydata does it by LD_PRELOAD) must not take them from the recorded disk.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise DeviceError(f"The workload failed: {done.stderr[-1500:]}", next_step="Run it without strace.")
    with log.open(encoding="ascii") as lines:
        return list(_parse(lines, str(folder)))


def _parse(lines: Iterable[str], folder: str) -> Iterator[Call]:
    prefix = folder + "/"
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            if "unfinished" in line and _hex(folder) in line:
                raise DeviceError("The recording has interleaved calls; the workload must use one thread.")
            continue
        name, arguments, result = match[1], match[2], int(match[3])
        if result < 0:
            continue
        paths = [_plain(text).decode() for text in _TEXT.findall(arguments)] if name not in _BY_DESCRIPTOR else []
        descriptor = _DESCRIPTOR.match(arguments)
        own = _plain(descriptor[1]).decode() if descriptor and name in _BY_DESCRIPTOR else (paths or [""])[0]
        if own.endswith("/" + MARK) and name == "write":
            yield Call("mark", own, _plain(_TEXT.findall(arguments)[0]))
        elif own == folder or any(path.startswith(prefix) and not path.endswith("-shm") for path in (own, *paths)):
            yield _call(name, arguments, own, paths)


_BY_DESCRIPTOR = {"write", "pwrite64", "pwritev", "writev", "ftruncate", "fsync", "fdatasync", "fallocate"}


def _call(name: str, arguments: str, own: str, paths: list[str]) -> Call:
    if name == "pwrite64":
        return Call("write", own, _plain(_TEXT.findall(arguments)[0]), int(arguments.rsplit(",", 1)[1]))
    if name in ("ftruncate", "truncate"):
        return Call("truncate", own, offset=int(arguments.rsplit(",", 1)[1]))
    if name in ("fsync", "fdatasync"):
        return Call("sync", own)
    if name in ("rename", "renameat", "renameat2"):
        return Call("rename", own, target=paths[1])
    if name in ("unlink", "unlinkat", "rmdir"):
        return Call("unlink", own)
    if name in ("mkdir", "mkdirat"):
        return Call("mkdir", own)
    if name in ("open", "openat", "creat"):
        return Call("create" if "O_CREAT" in arguments else "open", own, b"trunc" if "O_TRUNC" in arguments else b"")
    raise DeviceError(f"The model does not know the call {name} on {own}.", next_step="Teach it tests/fault's disk.")


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _hex(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


@dataclass(slots=True)
class _File:
    """A file's bytes: what is safe, and what was written since the last sync."""

    safe: bytes = b""
    writes: list[Call] = field(default_factory=list)


Names = dict[str, int | None]  # path → file number, None for a folder
Survivor = dict[str, bytes]  # relative path → content, of every file that can be reached


@dataclass
class DiskModel:
    """The watched folder as the process sees it (`names`) and as a cut would leave it (`safe_names`, `_File.safe`)."""

    root: Path
    names: Names = field(default_factory=dict)
    safe_names: Names = field(default_factory=dict)
    files: list[_File] = field(default_factory=list)
    unsafe: list[tuple[Call, int | None]] = field(default_factory=list)

    @staticmethod
    def of(folder: Path) -> DiskModel:
        """A folder, all of which was safe before the recording began."""
        model = DiskModel(folder)
        for path in sorted(folder.rglob("*")):
            if path.name.endswith("-shm"):
                continue
            number = None
            if path.is_file():
                number = len(model.files)
                model.files.append(_File(safe=path.read_bytes()))
            model.names[str(path)] = model.safe_names[str(path)] = number
        return model

    def apply(self, call: Call) -> bool:
        """Take one call; returns whether a cut after it may leave something new."""
        if call.name == "create" and call.path not in self.names:
            self.files.append(_File())
            self._name(call, len(self.files) - 1)
        elif call.name == "mkdir":
            self._name(call, None)
        elif call.name in ("unlink", "rename"):
            self._name(call, self.names[call.path])
        elif call.name in ("write", "truncate"):
            self._file(call.path).writes.append(call)
        elif call.name == "sync":
            self._sync(call.path)
        if call.name in ("create", "open") and call.data == b"trunc" and self.names.get(call.path) is not None:
            self._file(call.path).writes.append(Call("truncate", call.path))
        return call.name not in ("open", "mark")

    def survivors(self, rng: random.Random) -> Iterator[Survivor]:
        """What a cut now may leave: the corners, and some disks in between with torn writes."""
        all_names = len(self.unsafe)
        yield self._survivor(0, lambda _file: [])
        yield self._survivor(all_names, lambda _file: [])
        yield self._survivor(all_names, lambda file: file.writes)
        yield self._survivor(0, lambda file: file.writes)
        for _ in range(RANDOM_SURVIVORS):
            yield self._survivor(rng.randint(0, all_names), lambda file: _torn(file.writes, rng))

    def _file(self, path: str) -> _File:
        number = self.names[path]
        if number is None:
            raise DeviceError(f"{path} is a folder in the recording.")
        return self.files[number]

    def _name(self, call: Call, number: int | None) -> None:
        _rename(self.names, call, number)
        self.unsafe.append((call, number))

    def _sync(self, path: str) -> None:
        number = self.names.get(path)
        if number is not None:
            file = self.files[number]
            file.safe, file.writes = _written(file.safe, file.writes), []
            return
        kept = []
        for call, number in self.unsafe:
            if (call.target or call.path).rpartition("/")[0] == path:
                _rename(self.safe_names, call, number)
            else:
                kept.append((call, number))
        self.unsafe = kept

    def _survivor(self, name_count: int, writes_of: Callable[[_File], list[Call]]) -> Survivor:
        names = dict(self.safe_names)
        for call, number in self.unsafe[:name_count]:
            _rename(names, call, number)
        contents: Survivor = {}
        for path, number in names.items():
            if number is not None and self._is_reachable(path, names):
                file = self.files[number]
                contents[path[len(self._root) + 1 :]] = _written(file.safe, writes_of(file))
        return contents

    @property
    def _root(self) -> str:
        return str(self.root)

    def _is_reachable(self, path: str, names: Names) -> bool:
        """Whether every folder between the root and `path` has its name."""
        parent = path.rpartition("/")[0]
        while parent != self._root:
            if parent not in names:
                return False
            parent = parent.rpartition("/")[0]
        return True


def _rename(names: Names, call: Call, number: int | None) -> None:
    if call.name in ("create", "mkdir"):
        names[call.path] = number
    elif call.name == "unlink":
        names.pop(call.path, None)
    else:
        names.pop(call.path, None)
        names[call.target] = number


def _written(content: bytes, writes: Sequence[Call]) -> bytes:
    if not writes:
        return content
    grown = bytearray(content)
    for write in writes:
        if write.name == "truncate":
            grown = grown[: write.offset] + bytes(max(0, write.offset - len(grown)))
        else:
            end = write.offset + len(write.data)
            grown.extend(bytes(max(0, end - len(grown))))
            grown[write.offset : end] = write.data
    return bytes(grown)


def _torn(writes: Sequence[Call], rng: random.Random) -> list[Call]:
    """Any of the writes, one of them only up to a sector."""
    chosen = [write for write in writes if rng.random() < 0.5]
    if chosen and rng.random() < 0.7:
        place = rng.randrange(len(chosen))
        sectors = len(chosen[place].data) // SECTOR_BYTES
        kept = rng.randint(0, sectors) * SECTOR_BYTES
        torn = chosen[place]
        chosen[place] = Call(torn.name, torn.path, torn.data[:kept], torn.offset)
    return chosen
