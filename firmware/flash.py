"""Files in flash that are whole or absent: a temporary file takes the name, and a checksum tells damage."""

import os
import struct
from binascii import crc32

BLOCK_BYTES = 256
KEY_FILE = "device.key"  # the board's own HMAC key, as write_whole writes it


def exists(path: str) -> bool:
    """Whether there is a file or folder."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def remove(path: str) -> None:
    """Remove a file; nothing where there is none."""
    try:
        os.remove(path)
    except OSError:
        return


def read_whole(path: str, bytes_max: int) -> bytes | None:
    """The content that `write_whole` wrote, or None where it is missing or damaged."""
    try:
        with open(path, "rb") as file:
            data: bytes = file.read(bytes_max + 5)
    except OSError:
        return None
    if len(data) < 4 or struct.unpack("<I", data[-4:])[0] != crc32(data[:-4]):
        return None
    return data[:-4]


def write_whole(path: str, content: bytes) -> None:
    """Replace a file by `content` with its checksum behind it. Raises OSError, and the old file stands."""
    with open(path + ".new", "wb") as file:
        file.write(content + struct.pack("<I", crc32(content)))
    os.rename(path + ".new", path)


def empty_folder(path: str) -> None:
    """Make the folder, or remove every file in it. Raises OSError."""
    try:
        os.mkdir(path)
    except OSError:
        for name in os.listdir(path):
            os.remove(path + "/" + name)
