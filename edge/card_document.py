"""What is sent to the card printer: a face as PNG or JPEG, or both faces as one PDF of two pages, pixel for pixel.

The PDF (ISO 32000-1) has one page of the card's size for each face and its pixels under FlateDecode, so that nothing
between station and ribbon compresses a second time.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.image_formats import ImageFormat, decode_image, encode_image

CARD_WIDTH_PT = 85.60 / 25.4 * 72  # ISO/IEC 7810 ID-1
CARD_HEIGHT_PT = 53.98 / 25.4 * 72
FACE_PIXELS_MAX = 4_000_000
JPEG_BYTES_MAX = 4 << 20


def as_pdf(faces: Sequence[bytes]) -> bytes:
    """The faces (PNG) as one document, a page each. Raises RemoteError for what is no image."""
    pages = [decode_image(face, max_pixels=FACE_PIXELS_MAX, colour=True) for face in faces]
    kids = " ".join(f"{3 * index + 3} 0 R" for index in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
    ]
    for index, pixels in enumerate(pages):
        objects += _page(pixels, 3 * index + 3)
    body, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    trailer = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n"
    return body + f"{trailer}<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n".encode()


def as_jpeg(face: bytes) -> bytes:
    """A face (PNG) as JPEG at 300 dpi, for printers that take nothing else."""
    pixels = decode_image(face, max_pixels=FACE_PIXELS_MAX, colour=True)
    return encode_image(pixels, ImageFormat.JPEG, max_bytes=JPEG_BYTES_MAX, ppi=300)


def _page(pixels: NDArray[np.uint8], number: int) -> list[bytes]:
    """The three objects of one page: page, drawing, image."""
    height, width, _ = pixels.shape
    box = f"[0 0 {CARD_WIDTH_PT:.3f} {CARD_HEIGHT_PT:.3f}]"
    drawing = f"q {CARD_WIDTH_PT:.3f} 0 0 {CARD_HEIGHT_PT:.3f} 0 0 cm /Face Do Q".encode()
    samples = zlib.compress(pixels.tobytes(), 6)
    page = (
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents {number + 1} 0 R "
        f"/Resources << /XObject << /Face {number + 2} 0 R >> >> >>"
    )
    image = (
        f"<< /Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceRGB "
        f"/BitsPerComponent 8 /Filter /FlateDecode /Length {len(samples)} >>"
    )
    return [
        page.encode(),
        f"<< /Length {len(drawing)} >>\nstream\n".encode() + drawing + b"\nendstream",
        image.encode() + b"\nstream\n" + samples + b"\nendstream",
    ]
