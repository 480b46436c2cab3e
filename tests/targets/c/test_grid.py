"""8-bit grids and whole factors: nearest values, halves up, as wide as they have to be."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import normal
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.errors import DataError
from onnx_lobs.targets.c.grid import SUM_LIMIT, ByteGrid, factors_of, grid_of, quantise_rows

SIXTEEN_BITS = 2.0**-16  # of a factor


def test_what_is_never_negative_takes_all_steps() -> None:
    assert grid_of("x", 0.0, 5.1) == ByteGrid(5.1 / 255, False)
    assert grid_of("x", -5.1, 1.0) == ByteGrid(5.1 / 127, True)


@pytest.mark.parametrize("ends", [(0.0, 0.0), (-np.inf, 1.0), (0.0, np.nan)])
def test_a_range_that_no_grid_holds_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="'x' on the calibration data reach from"):
        grid_of("x", *ends)


@given(st.floats(1e-9, 2.0**14), st.integers(-SUM_LIMIT, SUM_LIMIT))
def test_a_factor_is_right_to_sixteen_bits(real: float, total: int) -> None:
    grid = ByteGrid(1.0, True)
    got = int(factors_of("x", np.array([real])).apply(np.array([total]), grid)[0])
    exact = total * real
    slack = 0.5 + 1.0 / 2 + abs(exact) * SIXTEEN_BITS  # rounding, the cut to 32 bits, the factor
    wanted = np.clip(exact, -127, 127)
    assert abs(got - wanted) <= slack


def test_a_factor_that_is_too_large_is_refused() -> None:
    with pytest.raises(DataError, match="scales sums by 40000"):
        factors_of("x", np.array([40000.0]))


@pytest.mark.parametrize("seed", range(5))
def test_rows_round_to_the_nearest(seed: int) -> None:
    weight = normal(seed, 6, 50).astype(np.float64)
    integers, scales = quantise_rows(weight)
    assert np.abs(integers * scales[:, None] - weight).max() <= scales.max() / 2 * (1 + 1e-9)
    assert np.abs(integers).max(axis=1).tolist() == [127] * 6


@pytest.mark.parametrize("most", [1, 3, 90, 127])
def test_a_row_that_is_on_a_grid_keeps_it(most: int) -> None:
    rng = np.random.default_rng(most)
    wanted = rng.integers(-most, most + 1, (4, 60)).astype(np.int8)
    wanted[:, 0] = most
    wanted[:, 1] = 1  # no coarser grid holds it
    weight = (wanted * np.array([[0.013], [1.7], [3e-5], [12.0]])).astype(np.float32)
    integers, _ = quantise_rows(weight)
    assert np.array_equal(integers, wanted)


def test_zeros_stay_zero() -> None:
    weight = normal(1, 3, 40) * (normal(2, 3, 40) > 0)
    weight[1] = 0.0
    integers, scales = quantise_rows(weight)
    assert not integers[weight == 0.0].any()
    assert scales[1] == 0.0 < scales[0]
