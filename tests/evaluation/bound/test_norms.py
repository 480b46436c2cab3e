"""Norms are never below the singular values of the whole operator, and not far above."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import normal

from onnx_lobs.evaluation.bound import norms
from onnx_lobs.evaluation.bound.norms import conv_norm, matrix_norm, window_overlap
from onnx_lobs.linalg.convolution.geometry import Unfold
from onnx_lobs.linalg.convolution.unfold import unfold

ROUNDING = 1 + 1e-9  # of float64 eigenvalues
SLACK = 1.25  # the grid between its points, and the borders that the bound does not know
STRIDED = 1.7  # the outputs that strides leave out, which the symbol does not know


def operator(weight: np.ndarray[Any, Any], shape: tuple[int, ...], geometry: Unfold) -> Any:
    """The matrix of a convolution with weight (groups, outputs, inputs, *kernel)."""
    groups, outputs = weight.shape[:2]
    matrix = weight.reshape(groups, outputs, -1)
    basis = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    columns = unfold(basis, geometry, groups)
    out = columns @ matrix.transpose(0, 2, 1)
    return np.moveaxis(out, 0, 1).reshape(len(basis), -1)


GEOMETRIES = [
    ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    ((3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
    ((5, 3), (1, 2), (1, 1), (2, 0, 1, 1)),
    ((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)),
    ((2, 4), (1, 1), (1, 1), (1, 0, 0, 2)),
    ((3, 3), (1, 1), (2, 2), (2, 2, 2, 2)),
    ((3, 3), (2, 2), (2, 1), (2, 2, 2, 2)),
    ((3, 3), (3, 2), (2, 3), (3, 3, 3, 3)),
    ((1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    ((1, 1), (2, 2), (1, 1), (0, 0, 0, 0)),
]


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("kernel", "strides", "dilations", "pads"), GEOMETRIES)
def test_norm_of_a_convolution_is_close_above_its_largest_singular_value(
    groups: int,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
) -> None:
    weight = normal(3, groups, 8 // groups, 4 // groups, *kernel, dtype=np.float64)
    geometry = Unfold(kernel, strides, dilations, pads, (1, 1))
    true = np.linalg.norm(operator(weight, (4, 11, 12), geometry), 2)
    bound = conv_norm(weight, strides, dilations)
    assert true <= bound * ROUNDING
    assert bound <= (SLACK if strides == (1, 1) else STRIDED) * true


def test_norm_of_a_smooth_kernel_is_its_sum() -> None:
    weight = np.ones((1, 1, 1, 3, 3))
    assert conv_norm(weight, (1, 1), (1, 1)) == pytest.approx(9)  # the constant input


def test_norm_holds_where_the_symbol_is_largest_between_the_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(norms, "GRIDS", (3,))  # w = 0 and 2 pi / 3, where the symbol is 1 and 2
    weight = np.array([1.0, -1, 1]).reshape(1, 1, 1, 3)
    true = np.linalg.norm(operator(weight, (1, 60), Unfold((3,), (1,), (1,), (1, 1), (1,))), 2)
    assert true > 2.9
    assert true <= conv_norm(weight, (1,), (1,))


@pytest.mark.parametrize("nd", [1, 3])
def test_norm_of_convolutions_in_other_dimensions(nd: int) -> None:
    weight = normal(5, 1, 3, 2, *(3,) * nd, dtype=np.float64)
    geometry = Unfold((3,) * nd, (1,) * nd, (1,) * nd, (1,) * 2 * nd, (1,) * nd)
    true = np.linalg.norm(operator(weight, (2, *(6,) * nd), geometry), 2)
    assert true <= conv_norm(weight, (1,) * nd, (1,) * nd) * ROUNDING <= 1.7 * true


def test_norm_without_time_for_the_symbol_still_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "MOST_WORK", 0)
    weight = normal(3, 1, 8, 4, 3, 3, dtype=np.float64)
    geometry = Unfold((3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (1, 1))
    true = np.linalg.norm(operator(weight, (4, 9, 9), geometry), 2)
    quick = conv_norm(weight, (1, 1), (1, 1))
    assert true <= quick
    assert quick == pytest.approx(3 * np.linalg.norm(weight.reshape(8, -1), 2))


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (3, 5, 9), (1, 7), (7, 1), (0, 3)])
def test_norm_of_matrices_is_the_largest_singular_value(shape: tuple[int, ...]) -> None:
    matrices = normal(1, *shape, dtype=np.float64)
    true = 0.0 if 0 in shape else np.linalg.norm(matrices.reshape(-1, *shape[-2:]), 2, (1, 2)).max()
    assert matrix_norm(matrices) == pytest.approx(true)


def test_norm_of_a_large_matrix_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "MOST_ROWS", 4)
    flat, peaked = normal(1, 6, 9, dtype=np.float64), np.ones((6, 9))
    assert np.linalg.norm(flat, 2) <= matrix_norm(flat) <= np.linalg.norm(flat)
    assert matrix_norm(peaked) == pytest.approx(np.linalg.norm(peaked, 2))


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_overlap_is_counted(kernel: int, stride: int, dilation: int) -> None:
    hits = np.zeros(200, int)
    for start in range(0, 150, stride):
        hits[start : start + dilation * kernel : dilation] += 1
    assert window_overlap((kernel,), (stride,), (dilation,)) == hits.max()
