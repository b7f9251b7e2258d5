"""An iris template: 256 bytes of code, 256 bytes of mask, and what produced them.

A template made from an image also holds its code at every rotation, which makes it a probe of full accuracy. Bytes
hold the upright code alone: that is all a reference needs. A probe read from bytes is turned by whole columns
(5.6 degrees), which finds the same eye but with less margin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from contract.errors import RemoteError
from contract.sample import IrisPosition
from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_kernel import Words

MAGIC: Final = b"RKIR"
HEADER_BYTES: Final = 10
CODE_BYTES: Final = p.CODE_BITS // 8
TEMPLATE_BYTES: Final = HEADER_BYTES + 2 * CODE_BYTES

_USABLE = 1


@dataclass(frozen=True, slots=True, eq=False)
class IrisTemplate:
    """One eye's code.

    code, mask: (CODE_WORDS,) uint64; a set mask bit is a bit that deserves trust. quality: 0 to 100, which predicts
    how well the template will compare. usable: False where there is no iris to compare; it then matches nothing.
    advice: what the person could do for a better image, empty where nothing. rotations: codes and masks of shape
    (2·ROTATIONS + 1, CODE_WORDS) where the template was made from an image.
    """

    position: IrisPosition
    quality: int
    usable: bool
    advice: str
    code: Words
    mask: Words
    rotations: tuple[Words, Words] | None = field(default=None, repr=False)

    @property
    def stamp(self) -> tuple[str, int]:
        """Extractor and version; templates of different stamps are never compared."""
        return p.EXTRACTOR, p.VERSION

    @property
    def trusted_bits(self) -> int:
        """How many bits the mask keeps."""
        return int(np.bitwise_count(self.mask).sum())

    def to_bytes(self) -> bytes:
        """Header and upright code, TEMPLATE_BYTES long."""
        return b"".join(
            (
                MAGIC,
                p.VERSION.to_bytes(2, "big"),
                bytes((self.position, self.quality, _USABLE if self.usable else 0, 0)),
                self.code.astype("<u8").tobytes(),
                self.mask.astype("<u8").tobytes(),
            )
        )

    @classmethod
    def from_bytes(cls, octets: bytes) -> IrisTemplate:
        """Read a template; RemoteError for anything but a template of this extractor and version."""
        if len(octets) != TEMPLATE_BYTES or octets[:4] != MAGIC:
            raise RemoteError(f"{len(octets)} bytes are no iris template.")
        version = int.from_bytes(octets[4:6], "big")
        if version != p.VERSION:
            raise RemoteError(
                f"The iris template is of version {version}, this comparator's is {p.VERSION}.",
                next_step="Extract the template again from its image.",
            )
        position, quality, flags, reserved = octets[6:10]
        if position > IrisPosition.LEFT or quality > 100 or flags > _USABLE or reserved:
            raise RemoteError("The iris template's header is damaged.")
        words = np.frombuffer(octets, dtype="<u8", offset=HEADER_BYTES).astype(np.uint64)
        return cls(
            position=IrisPosition(position),
            quality=quality,
            usable=bool(flags & _USABLE),
            advice="",
            code=words[: p.CODE_WORDS].copy(),
            mask=words[p.CODE_WORDS :].copy(),
        )


def unusable(position: IrisPosition, advice: str) -> IrisTemplate:
    """The template of an image without a usable iris: it matches nothing, and says what to do."""
    nothing = np.zeros(p.CODE_WORDS, dtype=np.uint64)
    return IrisTemplate(position, 0, False, advice, nothing, nothing.copy())


def probe_rotations(template: IrisTemplate) -> tuple[Words, Words]:
    """Codes and masks of the template at every rotation that it knows, shape (rotations, CODE_WORDS)."""
    if template.rotations is not None:
        return template.rotations
    columns = int(p.ROTATIONS * p.CODE_COLUMNS / p.FINE_COLUMNS)
    return _turned(template.code, columns), _turned(template.mask, columns)


def _turned(words: Words, columns: int) -> Words:
    """`words` turned by −columns … +columns whole code columns."""
    shape = (len(p.WAVELENGTHS), p.CODE_ROWS, p.CODE_COLUMNS, 2)
    bits = np.unpackbits(words.view(np.uint8), bitorder="little").reshape(shape)
    turned = [np.roll(bits, -shift, axis=2).reshape(-1) for shift in range(-columns, columns + 1)]
    return np.packbits(np.stack(turned), axis=1, bitorder="little").view(np.uint64)
