"""Two places for the firmware, and which of them starts: the newer one on trial, the older one when it fails.

The board starts with the file main.py in the flash's root, which calls `choose` of its own copy of this module before
anything of a slot is loaded. A start counts as failed until the firmware says `confirm`; after FAILED_BOOTS_MAX failed
starts in a row the other slot takes over, if it holds one. A confirmed version is the floor: none older is taken.
"""

import os
import struct
from binascii import crc32

FILE = "slots.dat"
LAYOUT = "<4sBBBBBIII"
MAGIC = b"RKS1"
NAMES = ("a", "b")
FAILED_BOOTS_MAX = 3
# Flags
FELL_BACK_FLAG = 1
WANTED_FLAG = 2  # the restart was asked for
FAULT_FLAG = 4  # the firmware ended with an exception
UPDATED_FLAG = 8


class Slots:
    """The state in flash.

    active: the slot that starts; other: whether the other slot holds firmware; trial: the active one has never been
    confirmed; failed: starts since it was; flags: what the host has not been told yet; boots: since the board was
    made; version, floor: of the active slot, and the lowest that may be installed.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.active = self.other = self.trial = self.failed = self.flags = 0
        self.boots = self.version = self.floor = 0

    def load(self) -> None:
        """Read the state; a missing or damaged one is the first slot, unless only the second holds firmware."""
        try:
            with open(FILE, "rb") as file:
                data = file.read(64)
            content = data[:-4]
            if struct.unpack("<I", data[-4:])[0] != crc32(content):
                raise ValueError
            magic, active, self.other, self.trial, self.failed, self.flags, self.boots, self.version, self.floor = (
                struct.unpack(LAYOUT, content)
            )
            if magic != MAGIC:
                raise ValueError
            self.active = active & 1
        except (OSError, ValueError):
            self._forget()
            held = [int(_holds_firmware(name)) for name in NAMES]
            self.active = int(not held[0] and bool(held[1]))
            self.other = held[1 - self.active]

    def save(self) -> None:
        """Write the state, whole or not at all. Raises OSError."""
        content = struct.pack(
            LAYOUT, MAGIC, self.active, self.other, self.trial, min(self.failed, 255), self.flags,
            self.boots, self.version, self.floor,
        )  # fmt: skip
        with open(FILE + ".new", "wb") as file:
            file.write(content + struct.pack("<I", crc32(content)))
        os.rename(FILE + ".new", FILE)

    def choose(self) -> str:
        """Count a start and say from which folder: called once, before anything of a slot is loaded."""
        self.boots = (self.boots + 1) & 0xFFFFFFFF
        self.failed += 1
        if self.failed > FAILED_BOOTS_MAX and self.other:
            self.active, self.other = 1 - self.active, 0
            self.trial, self.failed, self.version = 0, 1, 0
            self.flags |= FELL_BACK_FLAG
        try:
            self.save()
        except OSError:
            pass  # a full flash must not keep the board from starting
        return NAMES[self.active]

    def confirm(self, version: int) -> None:
        """The firmware works: further starts are not failed ones."""
        if not self.failed and not self.trial and self.version == version:
            return
        self.failed = self.trial = 0
        self.version = version
        self.floor = max(self.floor, version)
        self.save()

    def clear(self, flags: int) -> None:
        """Forget flags that have been reported."""
        if self.flags & flags:
            self.flags &= ~flags
            self.save()

    def mark_fault(self) -> None:
        """The firmware ended with an exception: tell the host after the restart."""
        self.mark(FAULT_FLAG)

    def mark(self, flags: int) -> None:
        """Remember flags across a restart."""
        self.flags |= flags
        self.save()

    def give_up_other(self) -> None:
        """The other slot is about to be written: it holds nothing to fall back to."""
        self.other = 0
        self.save()

    def install(self, version: int) -> None:
        """The other slot has been written and checked: it starts next, on trial."""
        self.active, self.other = 1 - self.active, 1
        self.trial, self.failed, self.version = 1, 0, version
        self.flags |= UPDATED_FLAG | WANTED_FLAG
        self.save()


def _holds_firmware(name: str) -> bool:
    try:
        return bool(os.listdir(name + "/firmware"))
    except OSError:
        return False
