"""The Gram from moved images equals that of the unfolded windows, for every geometry."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from build_onnx import Array, normal

from onnx_lobs.linalg.convolution import costs as conv_costs
from onnx_lobs.linalg.convolution.costs import WholeSums, cheapest
from onnx_lobs.linalg.convolution.geometry import Unfold, n_positions
from onnx_lobs.linalg.convolution.offset_gram import ConvSums, is_supported
from onnx_lobs.linalg.convolution.pixel_gram import PixelSums
from onnx_lobs.linalg.convolution.unfold import unfold
from onnx_lobs.linalg.gram import Gram

EXACT = 1e-12  # of the largest entry: float64 sums of some 1,000 terms, in two orders
SINGLE = 2e-6  # of the largest entry: float32 products of some 1,000 pixels
CENTRED = 1e-5  # of the variances, when the mean is 1,000 times the deviation
KERNELS = [(1, 1), (3, 3), (5, 5), (1, 3), (3, 1)]
PADS = [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 3), (7, 6, 8, 0), (-1, 0, 0, -2)]
SIZES = [(7, 8), (11, 3), (4, 1)]


def conv(
    kernel: tuple[int, ...],
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
    dilations: tuple[int, ...] | None = None,
    **more: Any,
) -> Unfold:
    ones = (1,) * len(kernel)
    pads = pads or (0,) * (2 * len(kernel))
    return Unfold(kernel, strides or ones, dilations or ones, pads, ones, **more)


def conv_gram(x: Array, geometry: Unfold, groups: int) -> tuple[Array, Array, int]:
    """Return what ConvSums make of one batch: matrix, total and count."""
    sums = ConvSums(geometry, groups, x.shape[2:], x.shape[1])
    sums.add(x)
    inputs = sums.result().inputs
    return inputs.matrix, inputs.total, inputs.count


def expected_of(x: Array, geometry: Unfold, groups: int) -> tuple[Array, Array, int]:
    windows = unfold(x.astype(np.float64), geometry, groups)
    matrix = windows.transpose(0, 2, 1) @ windows
    return matrix, windows.sum(axis=1), windows.shape[1]


def check(x: Array, geometry: Unfold, groups: int, tolerance: float = EXACT) -> None:
    matrix, total, count = conv_gram(x, geometry, groups)
    expected = expected_of(x, geometry, groups)
    assert count == expected[2]
    for found, wanted in zip((matrix, total), expected[:2], strict=True):
        assert found.shape == wanted.shape
        assert found.dtype == np.float64
        assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def fits(geometry: Unfold, spatial: tuple[int, ...]) -> bool:
    return n_positions((1, 1, *spatial), geometry) > 0


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 1)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (3, 3)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_conv_equals_unfolding(
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], groups: int
) -> None:
    """Odd sizes, images smaller than the kernel, pads larger than it, unequal and negative."""
    cases = 0
    for pads, spatial in itertools.product(PADS, SIZES):
        geometry = conv(kernel, pads, strides, dilations)
        if fits(geometry, spatial):
            check(normal(1, 3, 4, *spatial, dtype=np.float64) + 0.5, geometry, groups)
            cases += 1
    assert cases >= 5


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("upsample", [(1, 1), (2, 3)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_transposed_conv_equals_unfolding(
    kernel: tuple[int, int], upsample: tuple[int, int], groups: int
) -> None:
    cases = 0
    for dilations, pads, spatial in itertools.product([(1, 1), (2, 1)], PADS, SIZES):
        geometry = Unfold(kernel, (1, 1), dilations, pads, upsample, flip=True)
        if fits(geometry, spatial):
            check(normal(1, 3, 4, *spatial, dtype=np.float64) + 0.5, geometry, groups)
            cases += 1
    assert cases >= 10


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("geometry", "spatial"),
    [
        (conv((4,), (2, 1)), (9,)),
        (conv((3,), (1, 1), (2,), (3,)), (10,)),
        (conv((3, 2, 3), (1, 0, 1, 0, 2, 1)), (4, 5, 3)),
        (conv((2, 3, 2), None, (2, 1, 2)), (5, 5, 4)),
        (Unfold((2, 3, 2), (1, 1, 1), (1, 1, 1), (1, 2, 0, 1, 2, 1), (2, 1, 2), True), (3, 4, 2)),
    ],
)
def test_one_and_three_dimensions_equal_unfolding(
    geometry: Unfold, spatial: tuple[int, ...], groups: int
) -> None:
    check(normal(1, 3, 4, *spatial, dtype=np.float64) + 0.5, geometry, groups)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(
    ("kernel", "stride", "size"), list(itertools.product((2, 3), (1, 2), (6, 7)))
)
def test_same_pads_follow_the_size(kernel: int, stride: int, size: int, auto_pad: str) -> None:
    geometry = conv((kernel,), None, (stride,), auto_pad=auto_pad)
    check(normal(1, 3, 4, size, dtype=np.float64), geometry, 2)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 16])
def test_samples_in_several_parts_add_up(groups: int) -> None:
    """About 10 MiB of image, past what is multiplied at once."""
    check(normal(1, 20, 16, 90, 90) + 0.5, conv((3, 3), (1, 1, 1, 1)), groups, SINGLE)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_low_precision_is_multiplied_in_float32(dtype: Any) -> None:
    check((normal(1, 5, 6, 9, 8) + 0.5).astype(dtype), conv((3, 3), (1, 1, 1, 1)), 1, SINGLE)


def test_large_means_cost_no_precision() -> None:
    x, geometry = normal(1, 8, 4, 12, 12) + 1000, conv((3, 3))
    wide = x.astype(np.float64) - x.mean(axis=(0, 2, 3), dtype=np.float64)[:, None, None]
    expected = expected_of(wide, geometry, 1)
    gram = Gram(1, 36)
    gram.matrix, gram.total, gram.count = conv_gram(x, geometry, 1)
    scatter = expected[0] - expected[1][:, :, None] * expected[1][:, None] / expected[2]
    assert np.abs(gram.scatter(True) - scatter).max() <= CENTRED * scatter.max()


def test_the_gram_is_symmetric_and_that_of_an_empty_output_zero() -> None:
    matrix, _, _ = conv_gram(normal(1, 3, 4, 6, 5), conv((3, 3), (1, 1, 1, 1), (2, 1)), 2)
    np.testing.assert_allclose(matrix, matrix.swapaxes(1, 2), rtol=EXACT, atol=EXACT * 100)
    matrix, total, count = conv_gram(np.zeros((0, 4, 6, 5), np.float32), conv((3, 3)), 2)
    assert matrix.shape == (2, 18, 18)
    assert not matrix.any()
    assert not total.any()
    assert count == 0


def test_nan_shows() -> None:
    x = normal(1, 3, 4, 6, 5)
    x[1, 2, 3, 3] = np.nan
    assert np.isnan(conv_gram(x, conv((3, 3), (1, 1, 1, 1)), 1)[0]).any()


def test_the_input_is_left_alone() -> None:
    x = normal(1, 3, 4, 6, 5)
    before = x.copy()
    conv_gram(x, conv((3, 3), (1, 1, 1, 1)), 1)
    assert np.array_equal(x, before)


def test_a_stride_over_inserted_zeros_is_refused() -> None:
    geometry = Unfold((3,), (2,), (1,), (0, 0), (2,))
    assert is_supported(conv((3, 3), None, (2, 2)))
    assert not is_supported(geometry)
    assert cheapest((8, 16, 30), geometry, 1) is None
    with pytest.raises(ValueError, match="not both; use unfold"):
        conv_gram(normal(1, 2, 2, 9), geometry, 1)


@pytest.mark.parametrize(
    ("shape", "kernel", "strides"),
    [
        ((4, 1, 43844), (256,), (1,)),
        ((2, 1, 22050), (2048,), (512,)),
        ((2, 3, 1, 9000), (1, 400), (1, 160)),
    ],
)
def test_windows_of_a_fourier_transform_are_unfolded(
    shape: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """The others would take minutes to plan, and the products of all pixels gigabytes."""
    pads = (0,) * 2 * len(kernel)
    assert cheapest(shape, conv(kernel, pads, strides), shape[1]) is None


@pytest.mark.parametrize(
    ("limit", "shape", "geometry"),
    [
        ("MOST_PIXELS", (8, 8, 46, 46), conv((9, 9), (4,) * 4)),
        ("MOST_LISTED", (64, 8, 1, 1000), conv((1, 60), (0,) * 4)),
    ],
)
def test_sums_by_pixels_are_left_where_they_take_much_memory_or_preparation(
    monkeypatch: pytest.MonkeyPatch, limit: str, shape: tuple[int, ...], geometry: Unfold
) -> None:
    """By their products alone they would be the cheapest."""
    forecast = cheapest.__wrapped__  # without what it keeps
    assert forecast(shape, geometry, 8) is not PixelSums
    monkeypatch.setattr(conv_costs, limit, 1 << 40)
    assert forecast(shape, geometry, 8) is PixelSums


@pytest.mark.parametrize(
    ("shape", "kernel", "groups", "n_observations", "way"),
    [
        ((32, 16, 56, 56), 3, 1, None, ConvSums),
        ((32, 128, 14, 14), 3, 1, None, ConvSums),
        ((32, 96, 56, 56), 3, 96, None, ConvSums),
        ((32, 96, 56, 56), 3, 96, 1000, None),
        ((32, 64, 56, 56), 3, 1, 2000, None),
        ((2, 128, 7, 7), 5, 128, None, PixelSums),
        ((9, 1152, 7, 7), 5, 1152, 293, PixelSums),
        ((7, 672, 14, 14), 5, 672, None, PixelSums),
        ((6, 240, 12, 80), 5, 240, None, ConvSums),
        ((4, 16, 5, 5), 5, 1, None, None),
    ],
)
def test_the_forecast_agrees_with_measurements_on_the_extremes(
    shape: tuple[int, ...],
    kernel: int,
    groups: int,
    n_observations: int | None,
    way: WholeSums | None,
) -> None:
    """Measured: unfolding over it 6.7, 2.6, 15.9, 0.37, 0.25.

    ConvSums over PixelSums: 10, 3, 0.4. Unfolding over PixelSums, the first of these: of one batch
    0.75, of 4 1.3, of 32 5.
    """
    geometry = conv((kernel, kernel), (kernel // 2,) * 4)
    assert cheapest(shape, geometry, groups, n_observations) is way
