"""python-tuf's fetcher over the unit's line: metadata into memory, targets into a part file that outlives a cut.

Runs in a thread of its own, since the TUF client blocks; each read is done on the loop by update_channel. A target is
bounded by the length that its metadata states: what is longer is refused when it is announced, before it is taken. A
part is synced every megabyte and goes on where it stopped; the TUF client checks the whole, and a part that turns out
rotten is thrown away.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from tuf.api import exceptions
from tuf.ngclient import FetcherInterface

from contract.errors import RemoteError
from contract.updates import FileRole
from edge.update_channel import FileChannel, Span

METADATA_URL, TARGETS_URL = "rekam:metadata/", "rekam:target/"
SYNC_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
ABSENT = 404
Progress = Callable[[int], None]
# name of a role's file or of a target, bytes from, at most → what there is of it, None where there is no such file
Read = Callable[[FileRole, str, int, int], Span | None]


class Stopped(BaseException):
    """The agent ends, or the job was taken back: whoever waits for bytes lets go."""


class LineReader:
    """Reads on the loop for a thread. `stop` lets the thread go."""

    def __init__(self, files: FileChannel, loop: asyncio.AbstractEventLoop) -> None:
        self._files, self._loop = files, loop
        self._stopped = False
        self._reading: asyncio.Task[Span | None] | None = None

    def __call__(self, role: FileRole, name: str, offset: int, length_max: int) -> Span | None:
        """Called in the thread; blocks. Raises RemoteError, and Stopped once `stop` was called."""
        reading = asyncio.run_coroutine_threadsafe(self._read(role, name, offset, length_max), self._loop)
        try:
            return reading.result()
        except BaseException:
            if self._stopped:
                raise Stopped from None
            raise

    def stop(self) -> None:
        """Called on the loop: no further byte is read."""
        self._stopped = True
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, role: FileRole, name: str, offset: int, length_max: int) -> Span | None:
        if self._stopped:
            raise Stopped
        self._reading = asyncio.ensure_future(self._files.read(role, name, offset, length_max))
        try:
            return await self._reading
        finally:
            self._reading = None


class RepositoryFetcher(FetcherInterface):
    """Fetches by `read`. last_name: of the file that was fetched last, for saying what was wrong with it."""

    def __init__(self, read: Read, parts: Path) -> None:
        """parts: folder of targets that are under way."""
        self._read = read
        self._parts = parts
        self.progress: Progress = lambda _more: None
        self.last_name = ""

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """See FetcherInterface; the file is the part itself, so that a target is written once."""
        role, name = _place(url)
        self.last_name = name
        if role is FileRole.METADATA:
            with super().download_file(url, max_length) as memory:
                yield memory
            return
        self._parts.mkdir(parents=True, exist_ok=True)
        part = self._parts / name
        with part.open("a+b") as file:
            self._fill(file, name, max_length)
            file.seek(0)
            try:
                yield file
            except exceptions.RepositoryError:
                part.unlink(missing_ok=True)  # rotten: it is begun anew
                raise

    def bytes_here(self, name: str) -> int:
        """How much of a target is on the disk from an earlier time."""
        try:
            return (self._parts / name).stat().st_size
        except OSError:
            return 0

    def forget(self, keep: frozenset[str] = frozenset()) -> None:
        """Remove the parts of what is not wanted any more."""
        for part in self._parts.glob("*"):
            if part.name not in keep:
                part.unlink(missing_ok=True)

    def _fill(self, file: IO[bytes], name: str, length_max: int) -> None:
        """Bring a target to its end, or to one byte more than it may have. Raises DownloadError."""
        done = file.seek(0, io.SEEK_END)
        unsynced = 0
        while done <= length_max:
            # One byte more than allowed is asked for, so that endless data shows at once.
            span = self._ask(FileRole.TARGET, name, done, min(READ_BYTES, length_max + 1 - done))
            if span.total > length_max:
                (self._parts / name).unlink(missing_ok=True)
                raise exceptions.DownloadLengthMismatchError(
                    f"{name} is announced with {span.total} bytes, and {length_max} are allowed."
                )
            file.write(span.data)
            done += len(span.data)
            unsynced += len(span.data)
            self.progress(len(span.data))
            if unsynced >= SYNC_BYTES or done >= span.total:
                file.flush()
                os.fsync(file.fileno())
                unsynced = 0
            if done >= span.total:
                return
            if not span.data:
                raise exceptions.DownloadError(f"Nothing came of {name} at {done}.")

    def _ask(self, role: FileRole, name: str, offset: int, length: int) -> Span:
        try:
            span = self._read(role, name, offset, length)
        except RemoteError as error:
            raise exceptions.DownloadError(error.message) from None
        if span is None:
            raise exceptions.DownloadHTTPError(f"The hub has no file {name}.", ABSENT)
        return span

    def _fetch(self, url: str) -> Iterator[bytes]:
        """A file from its beginning; whoever asked counts. Raises DownloadError."""
        role, name = _place(url)
        done, span = 0, self._ask(role, name, 0, READ_BYTES)
        yield span.data
        while (done := done + len(span.data)) < span.total and span.data:
            span = self._ask(role, name, done, READ_BYTES)
            yield span.data


def _place(url: str) -> tuple[FileRole, str]:
    for start, role in ((METADATA_URL, FileRole.METADATA), (TARGETS_URL, FileRole.TARGET)):
        if url.startswith(start):
            return role, unquote(url.removeprefix(start))
    raise exceptions.DownloadError(f"{url} is no file of the repository.")
