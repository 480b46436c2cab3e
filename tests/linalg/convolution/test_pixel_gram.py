"""A depthwise convolution's Gram from its pixels is that of its windows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from build_onnx import normal

from onnx_lobs.linalg.accumulator import TargetObservations
from onnx_lobs.linalg.convolution.geometry import Unfold, n_positions
from onnx_lobs.linalg.convolution.pixel_gram import TOGETHER, PixelSums
from onnx_lobs.linalg.convolution.pixel_targets import PixelTargets
from onnx_lobs.linalg.convolution.unfold import unfold

ROUNDING = 2e-6  # of the largest entry: float32 products of means of 3, taken off
SPATIAL = {1: (9,), 2: (6, 5), 3: (5, 4, 5)}
CASES = list(itertools.product([1, 2, 3], [1, 2], [1, 2], [0, 1, 2], [False, True]))


def geometry_of(nd: int, stride: int, dilation: int, pad: int, *, is_transposed: bool) -> Unfold:
    kernel, ones = (3, 2, 2)[:nd], (1,) * nd
    steps = (stride,) * nd
    return Unfold(
        kernel, ones if is_transposed else steps, (dilation,) * nd, (pad,) * (2 * nd),
        steps if is_transposed else ones, flip=is_transposed,
    )  # fmt: skip


@pytest.mark.parametrize(("nd", "stride", "dilation", "pad", "is_transposed"), CASES)
def test_it_equals_the_product_of_all_windows(
    nd: int, stride: int, dilation: int, pad: int, is_transposed: bool
) -> None:
    geometry = geometry_of(nd, stride, dilation, pad, is_transposed=is_transposed)
    channels = 6
    x = 3 + normal(nd, 5, channels, *SPATIAL[nd])
    sums = PixelSums(geometry, channels, SPATIAL[nd], channels)
    sums.add(x[:2])
    sums.add(x[2:])
    inputs = sums.result().inputs
    matrix, total, count = inputs.matrix, inputs.total, inputs.count
    windows = unfold(x.astype(np.float64), geometry, channels)
    expected = windows.swapaxes(1, 2) @ windows
    assert count == n_positions(x.shape, geometry) == windows.shape[1]
    assert np.abs(matrix - expected).max() <= ROUNDING * np.abs(expected).max()
    np.testing.assert_allclose(total, windows.sum(axis=1), rtol=0, atol=ROUNDING * total.max())


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("nd", "stride", "dilation", "pad", "is_transposed"), CASES)
def test_targets_at_all_outputs_add_up_to_their_products_with_all_windows(
    nd: int, stride: int, dilation: int, pad: int, is_transposed: bool, rows: int
) -> None:
    geometry = geometry_of(nd, stride, dilation, pad, is_transposed=is_transposed)
    channels = 6
    x = 3 + normal(nd, 5, channels, *SPATIAL[nd])
    each = n_positions((1, *x.shape[1:]), geometry)
    y = 2 + normal(9, channels, 5 * each, rows)
    sums = PixelTargets(geometry, channels, SPATIAL[nd], channels, rows)
    sums.add(x[:2], TargetObservations(y[:, : 2 * each], is_output=True))
    sums.add(x[2:], TargetObservations(y[:, 2 * each :], is_output=True))
    moments = sums.result()
    own, found = moments.inputs, moments.targets
    assert found is not None
    alone = PixelSums(geometry, channels, SPATIAL[nd], channels)
    alone.add(x)
    inputs = alone.result().inputs
    assert own.count == inputs.count
    for one, other in ((own.matrix, inputs.matrix), (own.total, inputs.total)):
        np.testing.assert_allclose(one, other, rtol=0, atol=ROUNDING * np.max(other))
    wide = y.astype(np.float64)
    cross = wide.swapaxes(1, 2) @ unfold(x.astype(np.float64), geometry, channels)
    for got, expected in (
        (found.cross, cross),
        (found.total, wide.sum(axis=1)),
        (found.energy, np.square(wide).sum(axis=1)),
    ):
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= ROUNDING * np.abs(expected).max()


@pytest.mark.parametrize("spatial", [(5, 8), (8, 5)])
def test_many_samples_in_batches_of_any_size_and_type(
    spatial: tuple[int, int],
) -> None:
    geometry = Unfold((3, 2), (1, 2), (1, 1), (1, 0, 1, 0), (1, 1))
    x = 3 + normal(4, 2 * TOGETHER + 9, 3, *spatial)
    each = n_positions((1, *x.shape[1:]), geometry)
    y = 2 + normal(9, 3, len(x) * each, 2)
    sums = PixelTargets(geometry, 3, spatial, 3, 2)
    parts = (TOGETHER + 3, TOGETHER + 4, 2 * TOGETHER)
    kinds = (np.float32, np.float64, np.float16, np.float32)
    begin, wide_x, wide_y = 0, [], []
    for end, kind in zip((*parts, len(x)), kinds, strict=True):
        batch, target = x[begin:end].astype(kind), y[:, begin * each : end * each].astype(kind)
        sums.add(batch, TargetObservations(target, is_output=True))
        wide_x.append(batch.astype(np.float64))
        wide_y.append(target.astype(np.float64))
        begin = end
    moments = sums.result()
    inputs, found = moments.inputs, moments.targets
    assert found is not None
    windows = unfold(np.concatenate(wide_x), geometry, 3)
    targets = np.concatenate(wide_y, axis=1)
    assert inputs.count == windows.shape[1]
    for got, expected in (
        (inputs.matrix, windows.swapaxes(1, 2) @ windows),
        (inputs.total, windows.sum(axis=1)),
        (found.cross, targets.swapaxes(1, 2) @ windows),
        (found.total, targets.sum(axis=1)),
        (found.energy, np.square(targets).sum(axis=1)),
    ):
        assert np.abs(got - expected).max() <= ROUNDING * np.abs(expected).max()


def test_channels_that_share_a_group_are_refused() -> None:
    with pytest.raises(ValueError, match="4 channels in 2 groups: not depthwise"):
        PixelSums(Unfold((3,), (1,), (1,), (0, 0), (1,)), 2, (9,), 4)
