"""Sums without windows laid out are those with them, for every geometry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from onnx_lobs.arrays import Array
from onnx_lobs.linalg.convolution.geometry import Unfold, output_sizes, resolve
from onnx_lobs.linalg.convolution.kernel_sums import sum_pixels, sum_places
from onnx_lobs.linalg.convolution.unfold import pixels_as_observations, unfold

SUMS = 1e-5  # of the largest sum: float32, up to 150 terms, in two orders
SIZE, KERNEL = (9, 7, 6), (3, 2, 3)


def draw(rng: np.random.Generator, *shape: int) -> Array:
    return rng.normal(size=shape).astype(np.float32)


def by_windows(x: Array, y: Array, geometry: Unfold, groups: int) -> Array:
    """Return the sums by the matrices of all windows."""
    flat: Array = pixels_as_observations(y, groups).swapaxes(1, 2) @ unfold(x, geometry, groups)
    return flat


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize(
    ("stride", "dilation", "upsample", "flip"),
    [
        (stride, dilation, upsample, flip)
        for stride, dilation, upsample in itertools.product((1, 2, 3), (1, 2), (1, 2))
        for flip in (False, True)
        if stride == 1 or upsample == 1
    ],
)
def test_places_of_a_depthwise_kernel(
    nd: int, stride: int, dilation: int, upsample: int, flip: bool
) -> None:
    rng = np.random.default_rng(nd)
    for pads in ((0,) * 2 * nd, (1, 2, 0, 3, 1, 0)[: 2 * nd]):
        geometry = Unfold(
            KERNEL[:nd], (stride,) * nd, (dilation,) * nd, pads, (upsample,) * nd, flip
        )
        x = draw(rng, 3, 4, *SIZE[:nd])
        y = draw(rng, 3, 4, *output_sizes(x.shape[2:], resolve(geometry, x.shape[2:])))
        expected = by_windows(x, y, geometry, 4)
        found = sum_places(x, y, geometry)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= SUMS * np.abs(expected).max()


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("nd", [1, 2, 3])
def test_pixels_of_a_pointwise_kernel(nd: int, groups: int) -> None:
    rng = np.random.default_rng(nd)
    ones = (1,) * nd
    geometry = Unfold(ones, ones, ones, (0,) * 2 * nd, ones)
    x, y = draw(rng, 3, 8, *SIZE[:nd]), draw(rng, 3, 4, *SIZE[:nd])
    expected, found = by_windows(x, y, geometry, groups), sum_pixels(x, y, groups)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= SUMS * np.abs(expected).max()


def test_half_precision_is_summed_in_single() -> None:
    x = np.ones((1, 1, 4096), np.float16)  # 2049 is not a number of half precision
    found = sum_places(x, x, Unfold((1,), (1,), (1,), (0, 0), (1,)))
    assert found.dtype == np.float32
    assert found.ravel().tolist() == [4096.0]
