"""Small files that survive a power cut whole: written beside their place, made durable, renamed, name made durable.

`observe` is told before and after each write, so that a test can cut the power at every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from contract.channel_disk import sync_names, write_whole
from contract.commissioning_problems import Problem, Refusal

FILE_BYTES_MAX = 512 * 1024
Observer = Callable[[str, bool], None]


def unobserved(_name: str, _done: bool) -> None:
    """Nobody watches."""


class DurableFolder:
    """A folder of such files, its owner's alone. Raises Refusal (STORE_UNUSABLE) where the disk fails."""

    def __init__(self, folder: Path, observe: Observer = unobserved) -> None:
        self.folder = folder
        self._observe = observe
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unusable(error) from None

    def path(self, name: str) -> Path:
        """Where a file lies."""
        return self.folder / name

    def read(self, name: str) -> bytes | None:
        """A file's bytes, or None where there is none."""
        try:
            with self.path(name).open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(error) from None
        return content if len(content) <= FILE_BYTES_MAX else None

    def write(self, name: str, content: bytes) -> None:
        """Write a file: whole, durable, or not at all."""
        self._observe(name, False)
        try:
            write_whole(self.path(name), content)
        except OSError as error:
            raise _unusable(error) from None
        self._observe(name, True)

    def remove(self, name: str) -> None:
        """Remove a file that may be there."""
        self._observe(f"-{name}", False)
        try:
            self.path(name).unlink(missing_ok=True)
            sync_names(self.folder)
        except OSError as error:
            raise _unusable(error) from None
        self._observe(f"-{name}", True)


def _unusable(error: OSError) -> Refusal:
    return Refusal(Problem.STORE_UNUSABLE, f"({error.strerror})")
