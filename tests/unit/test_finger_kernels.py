"""The extractor's fast loops beside the plain sums they stand for: a lane that slips would only cost accuracy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from contract.errors import RemoteError
from contract.finger_minutiae import FingerView, Minutia, MinutiaeRecord, encode_record
from edge.matcher_lite import FingerTemplate, extract
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_geometry import settle
from edge.matcher_lite.finger_input import unframe
from edge.matcher_lite.finger_quality_evidence import Stages
from edge.matcher_lite.finger_quality_sums import Texture, level_counts, moments, spread, texture
from edge.matcher_lite.finger_spectrum import enhance
from edge.matcher_lite.finger_warm import ridge_pattern

Plane = NDArray[np.float32]


def plainly_enhanced(plane: Plane) -> NDArray[np.float64]:
    """`enhance` by whole Fourier transforms, block by block, for a plane that is finger throughout.

    Waves along the axes count half: they are one, where a slanted one shares its power with its mirror.
    """
    step, side = p.BLOCK_STEP, p.BLOCK
    rows, columns = (-(-size // step) + 1 for size in plane.shape)
    below, right = rows * step - plane.shape[0], columns * step - plane.shape[1]
    padded = cv2.copyMakeBorder(plane, step, below, step, right, cv2.BORDER_REFLECT).astype(np.float64)
    window = np.sin(np.pi * (np.arange(side) + 0.5) / side)
    window = np.outer(window, window)
    corners = [(row * step, column * step) for row in range(rows) for column in range(columns)]
    waves = np.array([np.fft.fft2(padded[y : y + side, x : x + side] * window) for y, x in corners])
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(side, 1 / side), np.fft.fftfreq(side, 1 / side)))
    band = (radius >= side / p.PERIOD_MAX) & (radius <= side / p.PERIOD_MIN)
    band = band * np.where(np.arange(side) == 0, 0.5, 1.0) * np.where(np.arange(side) == 0, 0.5, 1.0)[:, None]
    power = (np.abs(waves) ** 2 * band).reshape(rows, columns, side, side)
    power = np.pad(power, ((1, 1), (1, 1), (0, 0), (0, 0)))
    pooled = sum(power[r : r + rows, c : c + columns] for r in range(3) for c in range(3))
    gain = np.sqrt(pooled / np.maximum(pooled.max((2, 3), keepdims=True), 1e-12)).reshape(waves.shape)
    gain *= band.astype(bool)
    output = np.zeros_like(padded)
    for (y, x), block in zip(corners, np.fft.ifft2(waves * gain).real, strict=True):
        output[y : y + side, x : x + side] += block * window
    return output[step : step + plane.shape[0], step : step + plane.shape[1]]


@pytest.mark.parametrize("shape", [(100, 97), (61, 250), (24, 25)])
def test_the_spectrum_filters_every_block_as_a_plain_transform_does(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(enhance(plane, np.ones(shape, np.uint8)), plainly_enhanced(plane), atol=2e-5)


def test_empty_glass_beside_the_finger_stays_empty() -> None:
    plane = np.random.default_rng(6).standard_normal((120, 400)).astype(np.float32)
    finger = np.zeros(plane.shape, np.uint8)
    finger[:, :150] = 1
    made = enhance(plane, finger)
    assert not made[:, 150 + p.BLOCK :].any()
    np.testing.assert_allclose(made[:, :100], enhance(plane[:, :250], finger[:, :250])[:, :100], atol=1e-6)


@pytest.fixture(scope="module")
def stages() -> Stages:
    seen: dict[str, object] = {}
    extract(ridge_pattern(4), observe=seen.__setitem__)
    known = seen["stages"]
    assert isinstance(known, Stages)
    return known


def test_sums_over_the_finger_are_what_numpy_says(stages: Stages) -> None:
    region = stages.region
    finger = (region.finger > 0) & (region.plane != 0.0)
    counts = level_counts(region.grey, region.plane, region.finger)
    assert np.array_equal(counts, np.bincount(region.grey[finger], minlength=256))
    values = region.plane[::2, ::2][finger[::2, ::2]].astype(np.float64)
    light = region.interior
    expected = [values.size, *((values**power).sum() for power in range(1, 5))]
    expected += [
        region.deviation[::2, ::2][finger[::2, ::2]].astype(np.float64).sum(),
        (light[::2, ::2][finger[::2, ::2]] == 0).sum(),
    ]
    np.testing.assert_allclose(moments(region.plane, region.deviation, light, region.finger), expected, rtol=1e-9)
    inside = np.random.default_rng(7).random(stages.trust.shape) > 0.3
    chosen = stages.trust[inside]
    levels, (count, total, squares) = spread(stages.trust, inside)
    assert np.array_equal(levels, np.bincount((chosen * np.float32(255.0)).astype(np.uint8), minlength=256))
    np.testing.assert_allclose((count, total, squares), (chosen.size, chosen.sum(), (chosen**2).sum()), rtol=1e-5)


def test_texture_is_summed_where_the_finger_is(stages: Stages) -> None:
    region, half = stages.region, stages.theta.shape
    inside = np.random.default_rng(8).random(half) > 0.5
    inside[-1], inside[:, -1] = False, False
    plane = np.random.default_rng(9).standard_normal(half).astype(np.float32)
    soft = np.zeros_like(region.plane)
    direction = np.cos(stages.theta), np.sin(stages.theta)
    sums = texture(inside, plane, *direction, region.plane, soft, region.deviation, stages.ridges)
    y, x = (2 * part + 1 for part in np.nonzero(inside[1:-1:2, 1:-1:2]))
    c, s = np.cos(2.0 * stages.theta[y, x]), np.sin(2.0 * stages.theta[y, x])
    gx, gy = plane[y, x + 1] - plane[y, x - 1], plane[y + 1, x] - plane[y - 1, x]
    along = (gx * direction[0][y, x] + gy * direction[1][y, x]) ** 2
    level = region.deviation[2 * y, 2 * x]
    for name, values in {
        Texture.COUNT: np.ones(y.size), Texture.ALONG: along, Texture.C: c, Texture.CS: c * s,
        Texture.ACROSS: gx**2 + gy**2 - along, Texture.LEVEL_S: level * s,
        Texture.NOISE: region.plane[2 * y, 2 * x] ** 2, Texture.RIDGES: stages.ridges[2 * y, 2 * x] ** 2,
        Texture.TURN: np.cos(2.0 * (stages.theta[y, x] - stages.theta[y, x + 1])),
    }.items():  # fmt: skip
        assert sums[name] == pytest.approx(float(np.sum(values, dtype=np.float64)), rel=1e-4, abs=1e-2), name


def test_a_margin_is_cut_at_its_step_and_a_plain_or_busy_edge_is_not() -> None:
    picture = ridge_pattern(2)[60:300, 60:240]
    framed = cv2.copyMakeBorder(picture, 17, 9, 30, 0, cv2.BORDER_CONSTANT, value=(0,))
    window = unframe(framed)
    assert (window.left, window.top) == (31, 18)  # the step itself goes too: it may be a resampled mixture
    assert window.grey.shape == (picture.shape[0] - 2, picture.shape[1] - 1)
    assert unframe(picture).grey.shape == picture.shape
    glass = cv2.copyMakeBorder(ridge_pattern(2), 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=(250,))
    assert unframe(glass).grey.shape == glass.shape


def test_places_and_directions_are_rounded_to_what_a_template_stores() -> None:
    x, y = np.array([0.03125, 0.09375, 4095.96]), np.array([0.0, 1.53125, 12.0])
    angle = np.array([-1e-9, 2 * np.pi, 7.0])
    geometry, turn, inside = settle(x, y, angle)
    assert inside
    assert list(geometry[0]) == [0.0, 0.125, np.float32(4095.9375)]  # halves go to the even step, as numpy rounds
    assert list(geometry[1]) == [0.0, -1.5, -12.0]
    np.testing.assert_allclose(np.exp(1j * turn), np.exp(1j * angle), atol=1e-4)
    assert ((turn >= 0) & (turn < 2 * np.pi)).all()


@pytest.mark.parametrize(("x", "y"), [(-0.1, 5.0), (5.0, -0.1), (4096.0, 5.0), (np.nan, 5.0), (5.0, np.inf)])
def test_a_place_outside_of_any_finger_is_not_inside(x: float, y: float) -> None:
    *_, inside = settle(np.array([3.0, x]), np.array([3.0, y]), np.zeros(2))
    assert not inside


def test_a_record_of_others_is_read_as_its_bytes_say_and_refused_beyond_a_finger() -> None:
    view = FingerView(minutiae=(Minutia(2, 1, 2, 192, 100), Minutia(0, 300, 400, 255, 101), Minutia(1, 0, 0, 0, 254)))
    made = FingerTemplate.from_iso(encode_record(MinutiaeRecord(500, 500, 197, 197, (view,))))
    scale = 500 / (197 * 2.54)
    np.testing.assert_allclose(made.x, np.array([1, 300, 0]) * scale, atol=0.04)
    np.testing.assert_allclose(made.y, np.array([2, 400, 0]) * scale, atol=0.04)
    np.testing.assert_allclose(made.angle, np.array([192, 255, 0]) * (2 * np.pi / 256), atol=1e-4)
    assert (list(made.kind), list(made.minutia_quality)) == ([2, 0, 1], [100, 0, 0])
    far = MinutiaeRecord(500, 500, 20, 20, (FingerView(minutiae=(Minutia(1, 5000, 1, 0),)),))
    with pytest.raises(RemoteError, match="outside"):
        FingerTemplate.from_iso(encode_record(far))
