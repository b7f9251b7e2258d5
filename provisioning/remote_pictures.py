"""Pictures of a unit's self-test at the technician: in the terminal, two pixels a character, and as PNG files.

They come sealed to this tool, but from a machine that may have been taken over: they are decoded through the one door
for images, which bounds them first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.style import Style
from rich.text import Text

from contract.errors import DeviceError, RekamError, RemoteError
from contract.image_formats import ImageFormat, decode_image, encode_image, image_format
from contract.unit_command import TriedDevice

COLUMNS_MAX, ROWS_MAX = 72, 36
PIXELS_MAX = 1024 * 1024
UPPER_HALF = "▀"


def picture_in_blocks(jpeg: bytes, columns: int) -> Text | None:
    """The picture as half blocks, or None where it is none. columns: of the terminal."""
    try:
        pixels = _decoded(jpeg)
    except RekamError:
        return None
    height, width = pixels.shape[:2]
    scale = min(min(columns, COLUMNS_MAX) / width, 2 * ROWS_MAX / height)
    across, down = max(1, round(width * scale)), max(2, 2 * round(height * scale / 2))
    shown = pixels[np.arange(down) * height // down][:, np.arange(across) * width // across]
    text = Text()
    for upper, lower in zip(shown[::2], shown[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append(UPPER_HALF, Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        text.append("\n")
    return text


def make_picture_folder(folder: Path) -> Path:
    """The folder for pictures, its owner's alone where it is new. Raises DeviceError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(
            f"{folder} cannot be made: {error.strerror}.", next_step="Name a folder that you may write to."
        ) from None
    return folder


def keep_pictures(unit: str, rows: Sequence[TriedDevice], folder: Path) -> list[Path]:
    """Every picture as PNG, readable for its owner only; what is no picture is left out. Raises DeviceError."""
    saved = []
    for row in rows:
        for number, jpeg in enumerate(row.pictures, 1):
            path = folder / f"{unit}-{row.kind}-{number}.png"
            try:
                png = encode_image(_decoded(jpeg), ImageFormat.PNG)
            except RekamError:
                continue
            try:
                path.unlink(missing_ok=True)
                path.touch(mode=0o600)
                path.write_bytes(png)
            except OSError as error:
                raise DeviceError(f"{path} cannot be written: {error.strerror}.", next_step="Make room.") from None
            saved.append(path)
    return saved


def _decoded(jpeg: bytes) -> NDArray[np.uint8]:
    """RGB pixels, shape (H, W, 3). Raises RemoteError."""
    if image_format(jpeg) is not ImageFormat.JPEG:
        raise RemoteError("The picture is no JPEG.")
    return decode_image(jpeg, max_pixels=PIXELS_MAX, colour=True)
