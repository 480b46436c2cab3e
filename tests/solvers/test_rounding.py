"""Rounding by second-order error: against all roundings, and against plain rounding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from onnx_lobs.arrays import FloatArray, IntArray
from onnx_lobs.solvers import rounding
from onnx_lobs.solvers.rounding import round_rows

ROUNDING_ERROR = 1e-9  # of the error: sums of some hundred float64 products
ALMOST = 1e-5  # of an error: its weights are rounded to float32, 6e-8 of values some times it
SINGLE = 2.0**-23  # of a value: products are rounded to float32


def problem(
    seed: int, groups: int, rows: int, columns: int, sparsity: float = 0.5
) -> tuple[FloatArray, FloatArray]:
    """Weights with zeros, and the second moments of inputs that have much in common."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((columns, columns)) + 0.3 * np.eye(columns)
    inputs = rng.standard_normal((groups, 4 * columns, columns)) @ mixing + 0.5
    hessian = inputs.swapaxes(1, 2) @ inputs / columns
    hessian += 1e-2 * np.trace(hessian[0]) / columns * np.eye(columns)
    weight = rng.standard_normal((groups, rows, columns))
    weight[rng.random(weight.shape) < sparsity] = 0
    return weight, hessian


def own_scales(weight: FloatArray) -> IntArray:
    """A scale for each row."""
    return np.arange(weight.shape[0] * weight.shape[1]).reshape(weight.shape[:2])


def errors(rounded: FloatArray, weight: FloatArray, hessian: FloatArray) -> FloatArray:
    """The second-order error of each row, from its definition."""
    change = rounded - weight
    return np.einsum("gri,gij,grj->gr", change, hessian, change)


def plain(weight: FloatArray, most: int) -> FloatArray:
    """Each row to the nearest multiples of the scale that just holds its largest weight."""
    scale = np.float32(np.abs(weight).max(axis=2, keepdims=True) / most).astype(np.float64)
    scale[scale == 0] = 1
    return np.rint(weight / scale) * scale


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("seed", range(10))
def test_no_rounding_of_all_is_better_and_most_often_none_is_as_good(seed: int, most: int) -> None:
    weight, hessian = problem(seed, 1, 6, 5, 0.2)
    found = round_rows(weight, hessian, own_scales(weight), most=most)
    got = errors(found.weight, weight, hessian)[0]
    levels = np.array(list(itertools.product(range(-most, most + 1), repeat=5)), np.float64)
    best = np.empty(6)
    for row in range(6):
        allowed = levels[(levels[:, weight[0, row] == 0] == 0).all(axis=1)]
        every = errors(allowed[None] * float(found.scales[row]), weight[:, row, None], hessian)
        best[row] = every.min()
    assert (got >= best * (1 - ALMOST)).all()
    assert np.isclose(got, best, rtol=ALMOST).mean() >= 0.5


@pytest.mark.parametrize("most", [127, 7])
@pytest.mark.parametrize("shape", [(1, 8, 30), (6, 1, 9), (2, 5, 12)])
def test_no_row_is_worse_than_plain_rounding_and_all_are_better(
    shape: tuple[int, int, int], most: int
) -> None:
    weight, hessian = problem(1, *shape)
    found = round_rows(weight, hessian, own_scales(weight), most=most)
    got = errors(found.weight, weight, hessian)
    by_nearest = errors(plain(weight, most), weight, hessian)
    assert (got <= by_nearest * (1 + ROUNDING_ERROR)).all()
    assert got.sum() < 0.8 * by_nearest.sum()


def test_zeros_stay_and_weights_are_multiples_of_float32_scales() -> None:
    weight, hessian = problem(2, 2, 6, 20, 0.7)
    weight[0, 3] = 0
    found = round_rows(weight, hessian, own_scales(weight))
    assert found.scales.dtype == np.float32
    assert (found.weight[weight == 0] == 0).all()
    scales = found.scales.reshape(2, 6, 1)
    steps = np.rint(found.weight / scales)
    assert np.abs(steps).max() <= 127
    np.testing.assert_array_equal(steps.astype(np.float32) * scales, found.weight)


def test_rows_that_share_a_scale_get_one_that_holds_all_of_them() -> None:
    weight, hessian = problem(3, 3, 4, 10)
    shared = np.tile(np.arange(4), (3, 1))
    found = round_rows(weight, hessian, shared)
    assert found.scales.shape == (4,)
    steps = found.weight / found.scales[shared][:, :, None]
    np.testing.assert_allclose(steps, np.rint(steps), atol=127 * SINGLE)


def test_with_inputs_that_have_nothing_in_common_the_nearest_multiples_are_best() -> None:
    weight, _ = problem(4, 1, 5, 12)
    found = round_rows(weight, np.eye(12)[None], own_scales(weight))
    each = found.scales.astype(np.float64)[None, :, None]
    nearest = np.clip(np.rint(weight / each), -127, 127) * each
    np.testing.assert_allclose(found.weight, nearest, rtol=2 * SINGLE)


def test_no_single_weight_can_move_to_a_lower_error() -> None:
    weight, hessian = problem(5, 1, 4, 10)
    found = round_rows(weight, hessian, own_scales(weight), most=7)
    before = errors(found.weight, weight, hessian)
    for column, step in itertools.product(range(10), (-1, 1)):
        moved = found.weight.copy()
        moved[:, :, column] += step * found.scales
        moved[weight == 0] = 0
        beyond = np.abs(moved[:, :, column]) > 7.5 * found.scales
        after = errors(moved, weight, hessian)
        assert (beyond | (after >= before * (1 - ALMOST))).all()


def test_large_layers_skip_the_factors_and_stay_no_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "OWN_FACTORS", 0.0)
    weight, hessian = problem(6, 1, 8, 24)
    found = round_rows(weight, hessian, own_scales(weight))
    got = errors(found.weight, weight, hessian)
    assert (got <= errors(plain(weight, 127), weight, hessian) * (1 + ROUNDING_ERROR)).all()


def test_nothing_given_is_modified_and_the_same_comes_out_twice() -> None:
    weight, hessian = problem(7, 1, 5, 10)
    copies = weight.copy(), hessian.copy()
    first, second = (round_rows(weight, hessian, own_scales(weight)) for _ in range(2))
    np.testing.assert_array_equal(weight, copies[0])
    np.testing.assert_array_equal(hessian, copies[1])
    np.testing.assert_array_equal(first.weight, second.weight)


def test_a_weight_of_zeros_only_keeps_them() -> None:
    _, hessian = problem(8, 1, 2, 6)
    zeros = np.zeros((1, 2, 6))
    found = round_rows(zeros, hessian, own_scales(zeros))
    assert not found.weight.any()
    assert (found.scales == 1).all()
