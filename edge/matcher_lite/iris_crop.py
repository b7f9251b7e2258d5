"""Iris images as ISO/IEC 19794-6 exchanges them: uncropped, VGA, cropped, cropped and masked.

Cropped keeps 0.6 iris radii to each side and 0.2 above and below, which is what a comparator needs around an iris;
masked also flattens lids and sclera, so that the image compresses to a few kilobytes without losing iris.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.errors import RemoteError
from contract.image_formats import decode_image, encode_image
from contract.iris_image import IrisCircle, IrisImage, IrisImageFormat, IrisImageKind
from contract.sample import IrisPosition
from edge.matcher_lite.iris_contour import Contour
from edge.matcher_lite.iris_segment import Segmentation, segment

MARGIN_SIDES = 0.6
MARGIN_VERTICAL = 0.2
VGA_PX = (640, 480)

_MASK_BLUR_PX = 3.0
_Picture = NDArray[np.uint8]


def iris_image(
    pixels: _Picture,
    position: IrisPosition,
    kind: IrisImageKind = IrisImageKind.UNCROPPED,
    image_format: IrisImageFormat = IrisImageFormat.PNG,
    *,
    max_bytes: int | None = None,
) -> IrisImage:
    """The eye in `pixels` (H, W) as an image for a record, with centre and diameter where an iris was found.

    RemoteError where a cropped kind is asked for and no iris is found. `max_bytes` bounds JPEG 2000.
    """
    if kind is IrisImageKind.VGA:
        pixels = _vga(pixels)
    found = segment(pixels)
    if found is None and kind in {IrisImageKind.CROPPED, IrisImageKind.CROPPED_AND_MASKED}:
        raise RemoteError("No iris was found to crop to.", next_step="Send the image uncropped.")
    x, y, radius = _circle(found) if found is not None else (0.0, 0.0, 0.0)
    if found is not None and kind is IrisImageKind.CROPPED_AND_MASKED:
        pixels = _masked(pixels, found)
    if found is not None and kind in {IrisImageKind.CROPPED, IrisImageKind.CROPPED_AND_MASKED}:
        pixels, left, top = _cropped(pixels, x, y, radius)
        x, y = x - left, y - top
    octets = pixels.tobytes()
    if image_format.image_format is not None:
        budget = max_bytes if image_format is IrisImageFormat.JPEG2000 else None
        octets = encode_image(pixels, image_format.image_format, max_bytes=budget)
    return IrisImage(
        position=position,
        kind=kind,
        image_format=image_format,
        width_px=pixels.shape[1],
        height_px=pixels.shape[0],
        image=octets,
        circle=_bounds(x, y, radius),
    )


def iris_pixels(image: IrisImage) -> _Picture:
    """The pixels (H, W) of a record's image; RemoteError where they cannot be had."""
    if image.image_format is not IrisImageFormat.RAW:
        return decode_image(image.image)
    if image.bit_depth != 8 or len(image.image) != image.width_px * image.height_px:
        raise RemoteError("The iris image's samples are not of eight bits.", next_step="Send PNG or JPEG 2000.")
    return np.frombuffer(image.image, dtype=np.uint8).reshape(image.height_px, image.width_px).copy()


def _circle(found: Segmentation) -> tuple[float, float, float]:
    """Centre and radius of the limbus in pixels of the original."""
    return found.limbus.x / found.scale, found.limbus.y / found.scale, found.limbus.radius / found.scale


def _bounds(x: float, y: float, radius: float) -> IrisCircle:
    """The circle as the record's bounds, one pixel to each side of the estimate."""
    if radius <= 0.0:
        return IrisCircle()
    centre_x, centre_y, diameter = (min(max(round(value), 1), 65_534) for value in (x, y, 2.0 * radius))
    return IrisCircle(centre_x - 1, centre_x + 1, centre_y - 1, centre_y + 1, diameter - 1, diameter + 1)


def _vga(pixels: _Picture) -> _Picture:
    """The image scaled into 640 by 480, what is missing filled with the border's own samples."""
    height, width = pixels.shape
    scale = min(VGA_PX[0] / width, VGA_PX[1] / height)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    left, top = (VGA_PX[0] - size[0]) // 2, (VGA_PX[1] - size[1]) // 2
    right, bottom = VGA_PX[0] - size[0] - left, VGA_PX[1] - size[1] - top
    return np.asarray(cv2.copyMakeBorder(scaled, top, bottom, left, right, cv2.BORDER_REPLICATE), dtype=np.uint8)


def _cropped(pixels: _Picture, x: float, y: float, radius: float) -> tuple[_Picture, int, int]:
    """The crop and its place; where the margin lies outside the image it ends at the border."""
    height, width = pixels.shape
    left = max(round(x - (1.0 + MARGIN_SIDES) * radius), 0)
    right = min(round(x + (1.0 + MARGIN_SIDES) * radius) + 1, width)
    top = max(round(y - (1.0 + MARGIN_VERTICAL) * radius), 0)
    bottom = min(round(y + (1.0 + MARGIN_VERTICAL) * radius) + 1, height)
    return np.ascontiguousarray(pixels[top:bottom, left:right]), left, top


def _masked(pixels: _Picture, found: Segmentation) -> _Picture:
    """Everything beyond the limbus as one even grey, blended over a few pixels so that no edge is added."""
    inside = np.zeros(pixels.shape, dtype=np.uint8)
    cv2.fillPoly(inside, [_outline(found.limbus, found.scale)], 255)
    share = cv2.GaussianBlur(inside, (0, 0), _MASK_BLUR_PX).astype(np.float32) / 255.0
    level = found.limbus.level_beyond(found.image)
    blended = pixels * share + level * (1.0 - share) + 0.5
    return np.asarray(np.clip(blended, 0, 255), dtype=np.uint8)


def _outline(contour: Contour, scale: float) -> NDArray[np.int32]:
    x, y = contour.points(360)
    grown = 1.06  # a margin beyond the limbus, or a comparator could not find it again
    x, y = contour.x + grown * (x - contour.x), contour.y + grown * (y - contour.y)
    return np.stack([x / scale, y / scale], axis=1).round().astype(np.int32)
