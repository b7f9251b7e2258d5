"""The firmware replaced over the link: only what the holder of this board's key sent, whole, and never an older one.

    update_begin {bytes, version, SHA-256, HMAC}   HMAC-SHA256 under the device key over `bytes | version | SHA-256`
    update_block {offset, bytes} …                 in order; a block that came already is taken again
    update_end                                     hashed from flash, unpacked into the other slot, started next

The running slot is never touched, so an interruption at any moment leaves a board that starts. MicroPython has no
public-key signatures: the unit verifies the release's signature before it begins, the board verifies the unit.
Loaded when an update begins, for its memory's sake; the restart that follows frees it.
"""

import os
import struct
from hashlib import sha256

from firmware.dictionary import BAD_IMAGE, FLASH_FAILED, NO_KEY, NOT_GENUINE, OK, OUT_OF_ORDER, TOO_OLD
from firmware.flash import BLOCK_BYTES, KEY_FILE, empty_folder, exists, read_whole, remove
from firmware.slots import NAMES, Slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

KEY_BYTES = 32
PART_FILE = "update.part"
IMAGE_BYTES_MAX = 192 * 1024
FILES_MAX = 40
MAGIC = b"RKFW"


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104 with SHA-256. key: at most 64 bytes."""
    padded = key + bytes(64 - len(key))
    inner = sha256(bytes([byte ^ 0x36 for byte in padded]) + message).digest()
    outer: bytes = sha256(bytes([byte ^ 0x5C for byte in padded]) + inner).digest()
    return outer


def same(one: bytes, other: bytes) -> bool:
    """Whether two digests are equal, in a time that does not tell where they differ."""
    difference = len(one) ^ len(other)
    for left, right in zip(one, other):  # noqa: B905 - MicroPython's zip takes no strict
        difference |= left ^ right
    return difference == 0


class Update:
    """One update at a time."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._length = 0
        self._version = 0
        self._digest = b""
        self._written = 0

    @property
    def written(self) -> int:
        """How many bytes have come; the next block's offset."""
        return self._written

    def begin(self, length: int, version: int, digest: bytes, mac: bytes) -> int:
        """Check who sends and what; returns a result word."""
        self._length = 0
        key = read_whole(KEY_FILE, KEY_BYTES)
        if key is None:
            return NO_KEY
        if not same(hmac_sha256(key, struct.pack("<II", length, version) + digest), mac):
            return NOT_GENUINE
        if version < self._slots.floor:
            return TOO_OLD
        if not 0 < length <= IMAGE_BYTES_MAX:
            return BAD_IMAGE
        try:
            with open(PART_FILE, "wb"):
                pass
        except OSError:
            return FLASH_FAILED
        self._length, self._version, self._digest, self._written = length, version, digest, 0
        return OK

    def block(self, offset: int, data: bytes) -> int:
        """Take the next bytes; returns a result word."""
        if not self._length or offset > self._written or offset + len(data) > self._length:
            return OUT_OF_ORDER
        fresh = data[self._written - offset :]
        try:
            with open(PART_FILE, "ab") as file:
                file.write(fresh)
        except OSError:
            self._length = 0
            return FLASH_FAILED
        self._written += len(fresh)
        return OK

    def end(self, feed: "Callable[[], None]") -> int:
        """Verify all of it, unpack it, make it the slot that starts next; returns a result word.

        feed: called again and again meanwhile, for the watchdog.
        """
        if not self._length or self._written != self._length:
            return OUT_OF_ORDER
        self._length = 0
        try:
            if not same(_hashed(PART_FILE, feed), self._digest):
                return BAD_IMAGE
            self._slots.give_up_other()
            if not self._unpack(feed):
                return BAD_IMAGE
            self._slots.install(self._version)
            remove(PART_FILE)
        except OSError:
            self._slots.load()  # what flash says counts: nobody shall confirm a switch that was not written
            return FLASH_FAILED
        return OK

    def _unpack(self, feed: "Callable[[], None]") -> bool:
        folder = NAMES[1 - self._slots.active]
        if not exists(folder):
            os.mkdir(folder)
        empty_folder(folder + "/firmware")
        with open(PART_FILE, "rb") as image:
            head = image.read(9)
            if len(head) < 9 or head[:4] != MAGIC or head[8] > FILES_MAX:
                return False
            if struct.unpack("<I", head[4:8])[0] != self._version:
                return False
            for _ in range(head[8]):
                feed()
                if not _unpack_file(image, folder + "/firmware/"):
                    return False
            return not image.read(1)


def _unpack_file(image: "BinaryIO", folder: str) -> bool:
    """Copy one file out of the image: name length u8 | length u32 | name | content."""
    head = image.read(5)
    if len(head) < 5:
        return False
    length = struct.unpack("<I", head[1:])[0]
    name = image.read(head[0])
    if not _is_module_name(name):
        return False
    with open(folder + name.decode(), "wb") as file:
        while length > 0:
            piece = image.read(min(BLOCK_BYTES, length))
            if not piece:
                return False
            file.write(piece)
            length -= len(piece)
    return True


def _is_module_name(name: bytes) -> bool:
    """Whether a name stays in its folder: small letters, digits and underscores before .mpy."""
    if not name.endswith(b".mpy") or len(name) < 5:
        return False
    return all(97 <= letter <= 122 or 48 <= letter <= 57 or letter == 95 for letter in name[:-4])


def _hashed(path: str, feed: "Callable[[], None]") -> bytes:
    hashing = sha256()
    with open(path, "rb") as file:
        block = file.read(BLOCK_BYTES)
        while block:
            hashing.update(block)
            feed()
            block = file.read(BLOCK_BYTES)
    digest: bytes = hashing.digest()
    return digest
