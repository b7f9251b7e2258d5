"""The one door for images: WSQ, JPEG 2000, JPEG, PNG, TIFF and BMP to pixels and back.

Bytes are looked at before a decoder sees them: only these six formats, a size that was promised before a pixel is
made, and any decoder's complaint becomes a RemoteError. The NIST WSQ decoder reads outside its buffers on damaged
files, so it runs in a short-lived process of its own and can take nothing down with it.
"""

from __future__ import annotations

import io
import math
import subprocess
import sys
import warnings
from enum import StrEnum

import _wsq  # type: ignore[import-not-found]  # an extension module without stubs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import RekamError, RemoteError

IMAGE_BYTES_MAX = 64 << 20
IMAGE_PIXELS_MAX = 25_000_000
WSQ_DECODE_TIMEOUT_S = 10.0
WSQ_BITS_PER_PIXEL = 0.75  # about 15:1, the rate that the FBI's specification asks for

_WSQ_MEMORY_BYTES = 1 << 30
_WSQ_DECODER = f"""
import resource, sys
import _wsq
resource.setrlimit(resource.RLIMIT_AS, ({_WSQ_MEMORY_BYTES},) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
pixels, width, height, _ = _wsq.decompress(sys.stdin.buffer.read())
sys.stdout.buffer.write(b"%d %d\\n" % (width, height) + pixels)
"""
_JPEG2000_RATES = (1, 2, 4, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 300, 400)
_JPEG_QUALITIES = (95, 90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 25, 20, 15, 10, 5)


class ImageFormat(StrEnum):
    """The formats that are read and written."""

    WSQ = "wsq"
    JPEG2000 = "jpeg2000"
    JPEG = "jpeg"
    PNG = "png"
    TIFF = "tiff"
    BMP = "bmp"


_PILLOW_NAMES = {
    ImageFormat.JPEG2000: "JPEG2000",
    ImageFormat.JPEG: "JPEG",
    ImageFormat.PNG: "PNG",
    ImageFormat.TIFF: "TIFF",
    ImageFormat.BMP: "BMP",
}
_MAGICS = (
    (b"\xff\xa0", ImageFormat.WSQ),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", ImageFormat.JPEG2000),
    (b"\xff\x4f\xff\x51", ImageFormat.JPEG2000),
    (b"\xff\xd8\xff", ImageFormat.JPEG),
    (b"\x89PNG\r\n\x1a\n", ImageFormat.PNG),
    (b"II*\x00", ImageFormat.TIFF),
    (b"MM\x00*", ImageFormat.TIFF),
    (b"BM", ImageFormat.BMP),
)


def image_format(octets: bytes) -> ImageFormat:
    """The format by the file's first bytes; RemoteError for any other."""
    for magic, found in _MAGICS:
        if octets.startswith(magic):
            return found
    raise RemoteError(
        "These bytes are no image of a known format.",
        next_step="Send WSQ, JPEG 2000, JPEG, PNG, TIFF or BMP.",
    )


def decode_image(octets: bytes, *, max_pixels: int = IMAGE_PIXELS_MAX, colour: bool = False) -> NDArray[np.uint8]:
    """Pixels of the first image in `octets`: shape (H, W), or (H, W, 3) in RGB order where `colour` is set.

    Sixteen-bit samples are scaled to eight, transparency is laid on white. RemoteError for anything that is not a
    whole image of at most `max_pixels`.
    """
    if not 0 < len(octets) <= IMAGE_BYTES_MAX:
        raise RemoteError(f"The image has {len(octets)} bytes; 1 to {IMAGE_BYTES_MAX} are accepted.")
    octets = bytes(octets)
    found = image_format(octets)
    if found is ImageFormat.WSQ:
        grey = _decode_wsq(octets, max_pixels)
        return np.repeat(grey[:, :, None], 3, axis=2) if colour else grey
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is bounded below, and odd metadata is no concern here
            with Image.open(io.BytesIO(octets), formats=(_PILLOW_NAMES[found],)) as image:
                _check_size(image.width, image.height, max_pixels)
                image.load()
                return _pixels(image, colour=colour)
    except RemoteError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers stumble over
        raise RemoteError(f"The {found} image cannot be decoded ({type(error).__name__}).") from error


def encode_image(
    pixels: NDArray[np.uint8], image_format: ImageFormat, *, max_bytes: int | None = None, ppi: int | None = None
) -> bytes:
    """`pixels`, shape (H, W) or (H, W, 3) RGB, as a file.

    Without `max_bytes` JPEG 2000 is lossless and JPEG has quality 95; with it, the best rate that fits is taken.
    WSQ is greyscale at 0.75 bits a pixel and says 500 ppi. `ppi` is noted in PNG, JPEG, TIFF and BMP.
    """
    pixels = np.ascontiguousarray(pixels, dtype=np.uint8)
    if pixels.ndim not in {2, 3} or 0 in pixels.shape or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise RekamError(f"Pixels of shape {pixels.shape} are no image.", next_step="Give (H, W) or (H, W, 3).")
    if image_format is ImageFormat.WSQ:
        if pixels.ndim != 2:
            raise RekamError("WSQ holds greyscale only.", next_step="Give pixels of shape (H, W).")
        candidates: list[dict[str, object]] = [{}]
    elif image_format is ImageFormat.JPEG2000:
        candidates = [{"irreversible": False}]
        if max_bytes is not None:
            candidates += [
                {"irreversible": True, "quality_mode": "rates", "quality_layers": [rate]} for rate in _JPEG2000_RATES
            ]
    elif image_format is ImageFormat.JPEG:
        candidates = [{"quality": quality, "optimize": True} for quality in _JPEG_QUALITIES]
    else:
        candidates = [{"optimize": True}] if image_format is ImageFormat.PNG else [{}]
    return _first_that_fits(pixels, image_format, candidates, max_bytes, ppi)


def _first_that_fits(
    pixels: NDArray[np.uint8],
    image_format: ImageFormat,
    candidates: list[dict[str, object]],
    max_bytes: int | None,
    ppi: int | None,
) -> bytes:
    """Binary search over candidates that are ordered from the largest to the smallest file."""
    limit = math.inf if max_bytes is None else max_bytes
    best: bytes | None = None
    low, high = 0, len(candidates) if max_bytes is not None else 1
    while low < high:
        middle = (low + high) // 2
        octets = _encode_once(pixels, image_format, candidates[middle], ppi)
        if len(octets) <= limit:
            best, high = octets, middle
        else:
            low = middle + 1
    if best is None:
        raise RekamError(
            f"No {image_format} of this image fits into {max_bytes} bytes.", next_step="Scale the image down first."
        )
    return best


def _encode_once(
    pixels: NDArray[np.uint8], image_format: ImageFormat, options: dict[str, object], ppi: int | None
) -> bytes:
    if image_format is ImageFormat.WSQ:
        rows, columns = pixels.shape
        return bytes(_wsq.compress(pixels.tobytes(), rows, columns, WSQ_BITS_PER_PIXEL))
    file = io.BytesIO()
    if ppi is not None and image_format is not ImageFormat.JPEG2000:
        options = {**options, "dpi": (ppi, ppi)}
    Image.fromarray(pixels).save(file, _PILLOW_NAMES[image_format], **options)
    return file.getvalue()


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1 or width * height > max_pixels:
        raise RemoteError(
            f"The image has {width} by {height} pixels; up to {max_pixels} pixels are accepted.",
            next_step="Send the image at the resolution of the capture device.",
        )


def _pixels(image: Image.Image, *, colour: bool) -> NDArray[np.uint8]:
    """Eight-bit samples of a loaded image."""
    if image.mode in {"I;16", "I;16B", "I;16L", "I", "F"}:
        wide = np.asarray(image).astype(np.float64)
        top = 65535.0 if image.mode != "F" or wide.max(initial=0.0) > 1.0 else 1.0
        grey = (np.clip(np.nan_to_num(wide / top), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2) if colour else grey
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return np.array(image.convert("RGB" if colour else "L"), dtype=np.uint8)


def _decode_wsq(octets: bytes, max_pixels: int) -> NDArray[np.uint8]:
    width, height = wsq_size(octets)
    _check_size(width, height, max_pixels)
    try:
        done = subprocess.run(  # a fixed program, and the image goes in through a pipe
            [sys.executable, "-I", "-c", _WSQ_DECODER],
            input=octets,
            capture_output=True,
            timeout=WSQ_DECODE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RemoteError(f"The WSQ image was not decoded within {WSQ_DECODE_TIMEOUT_S} s.") from error
    head, _, samples = done.stdout.partition(b"\n")
    if done.returncode or head != b"%d %d" % (width, height) or len(samples) != width * height:
        raise RemoteError("The WSQ image is damaged.")
    return np.frombuffer(samples, dtype=np.uint8).reshape(height, width).copy()


def wsq_size(octets: bytes) -> tuple[int, int]:
    """Width and height from a WSQ file's frame header; RemoteError where the marker chain breaks before it."""
    offset = 2
    while offset + 10 <= len(octets):
        marker, length = octets[offset : offset + 2], int.from_bytes(octets[offset + 2 : offset + 4], "big")
        if marker == b"\xff\xa2":
            height = int.from_bytes(octets[offset + 6 : offset + 8], "big")
            return int.from_bytes(octets[offset + 8 : offset + 10], "big"), height
        if marker not in {b"\xff\xa4", b"\xff\xa5", b"\xff\xa6", b"\xff\xa8"} or length < 2:
            break
        offset += 2 + length
    raise RemoteError("The WSQ image has no frame header.")
