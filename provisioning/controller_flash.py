"""Put the firmware onto a controller board by cable: `rekam-provision flash-controller`, on mpremote's own transport.

Order: the file `service` is written and the board restarted, so that no watchdog bites in between; then root, first
slot, board name and key are written and each file is compared by its SHA-256; the slot state is forgotten; `service`
goes last, and the restart starts the new firmware. Interrupted anywhere, the board waits in service; running the
command again finishes it. Events that the board keeps for its host stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.errors import DeviceError
from provisioning.firmware_image import BOARDS, KEY_BYTES, Image, key_file

SERVICE_FILE = "service"
KEY_NAME = "device.key"
BAUD = 115200
READ_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 3.0
RETURN_TIMEOUT_S = 15.0
RETURN_POLL_S = 0.2
BOARD_OF_PLATFORM = {"rp2": "board_rp2", "esp32": "board_esp32"}
BLOCK_BYTES = 512
MODE_KEY = 0o600


@dataclass(frozen=True, slots=True)
class Flashed:
    """What was done. board: its module's name; files, size: written and verified."""

    board: str
    files: int
    size: int
    has_key: bool


def flash_controller(
    port: str, image: Image, *, board: str = "", key: bytes = b"", progress: Callable[[str], None] = lambda _what: None
) -> Flashed:
    """Write `image` to the board whose REPL is at `port`.

    board: board_rp2 or board_esp32, or a module of one's own; "" asks the board what it is. key: the board's HMAC key;
    b"" leaves what is there. Raises DeviceError.
    """
    progress("service mode")
    with _repl(port) as repl:
        board = board or _board_of(repl)
        repl.fs_writefile(SERVICE_FILE, b"1")
        _restart(repl)
    with _returned(port) as repl:
        files = _files(image, board, key)
        _make_folders(repl)
        for name, content in files.items():
            progress(name)
            repl.fs_writefile(name, content, BLOCK_BYTES)
            if repl.fs_hashfile(name, "sha256") != hashlib.sha256(content).digest():
                raise DeviceError(f"The board keeps {name} damaged.", next_step="Flash again; then replace the board.")
        _remove_others(repl, files)
        has_key = bool(repl.fs_exists(KEY_NAME))
        repl.fs_rmfile(SERVICE_FILE)
        progress("restart")
        _restart(repl)
    return Flashed(board, len(files), sum(map(len, files.values())), has_key)


def read_or_make_key(path: Path, *, make: bool) -> bytes:
    """The key in a file that only its owner can read; a new one where `make` says so. Raises DeviceError."""
    try:
        if make:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE_KEY)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
        key = path.read_bytes()
    except FileExistsError:
        raise DeviceError(f"{path} exists.", next_step="Leave out --new-key to use it, or name another file.") from None
    except OSError as error:
        raise DeviceError(f"{path} cannot be used: {error.strerror}.", next_step="Make one with --new-key.") from None
    key_file(key)  # its length
    return key


def _files(image: Image, board: str, key: bytes) -> dict[str, bytes]:
    if board + ".mpy" not in image.modules:
        raise DeviceError(
            f"The image has no board {board!r}.", next_step=f"Name one of {', '.join(BOARDS)} with --board."
        )
    files = {f"a/firmware/{name}": code for name, code in image.modules.items()}
    files |= image.root
    files["board.txt"] = board.encode("ascii") + b"\n"
    if key:
        files[KEY_NAME] = key_file(key)
    return files


def _board_of(repl: Any) -> str:
    platform = repl.eval("__import__('sys').platform")
    if platform not in BOARD_OF_PLATFORM:
        raise DeviceError(f"The board says that it is {platform!r}.", next_step="Name the board with --board.")
    return BOARD_OF_PLATFORM[platform]


def _make_folders(repl: Any) -> None:
    for folder in ("a", "a/firmware"):
        if not repl.fs_exists(folder):
            repl.fs_mkdir(folder)


def _remove_others(repl: Any, files: dict[str, bytes]) -> None:
    """Forget the other slot, the slot state, and modules that this release has not."""
    for entry in repl.fs_listdir("a/firmware"):
        if f"a/firmware/{entry.name}" not in files:
            repl.fs_rmfile(f"a/firmware/{entry.name}")
    if repl.fs_exists("b/firmware"):
        for entry in repl.fs_listdir("b/firmware"):
            repl.fs_rmfile(f"b/firmware/{entry.name}")
    if repl.fs_exists("slots.dat"):
        repl.fs_rmfile("slots.dat")


def _restart(repl: Any) -> None:
    repl.exec_raw_no_follow("import machine\nmachine.reset()")


@contextmanager
def _repl(port: str) -> Iterator[Any]:
    """The board's raw REPL; every failure of cable or board is a DeviceError."""
    import serial
    from mpremote.transport import TransportError
    from mpremote.transport_serial import SerialTransport

    transport = None
    try:
        with contextlib.redirect_stdout(None):
            transport = SerialTransport(port, baudrate=BAUD, timeout=READ_TIMEOUT_S)
            transport.enter_raw_repl(soft_reset=False, timeout_overall=ANSWER_TIMEOUT_S)
        yield transport
    except (TransportError, serial.SerialException, OSError, ValueError, SyntaxError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise DeviceError(
            f"The board on {port} cannot be flashed: {said[-1][:200]}.",
            next_step="Check that MicroPython 1.29 is on it and nothing else holds the port; then run this again.",
        ) from None
    finally:
        if transport is not None:
            with contextlib.suppress(OSError, serial.SerialException):
                transport.close()


@contextmanager
def _returned(port: str) -> Iterator[Any]:
    """The REPL after a restart: a USB port goes and comes back meanwhile."""
    deadline_s = time.monotonic() + RETURN_TIMEOUT_S
    while True:
        time.sleep(RETURN_POLL_S)
        try:
            with _repl(port) as probe:
                there = probe.fs_exists(SERVICE_FILE)
        except DeviceError:
            there = False
            if time.monotonic() > deadline_s:
                raise
        if there:
            break
    with _repl(port) as repl:
        yield repl
