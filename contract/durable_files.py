"""Small files that survive a power cut whole: written beside their place, made durable, renamed, name made durable.

`observe` is told before and after each write, so that a test can cut the power at every one of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

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
        path, draft = self.path(name), self.path(f".{name}.draft")
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            self._sync()
        except OSError as error:
            raise _unusable(error) from None
        self._observe(name, True)

    def remove(self, name: str) -> None:
        """Remove a file that may be there."""
        self._observe(f"-{name}", False)
        try:
            self.path(name).unlink(missing_ok=True)
            self._sync()
        except OSError as error:
            raise _unusable(error) from None
        self._observe(f"-{name}", True)

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unusable(error: OSError) -> Refusal:
    return Refusal(Problem.STORE_UNUSABLE, f"({error.strerror})")
