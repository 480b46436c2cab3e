"""Zeros at the least sum of losses: against brute force, and at a given cost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.allocation.share import Loss, rescale, share

EXACT = 1e-9  # sums of a few float64


def convex(seed: int, points: int) -> np.ndarray:
    steps = np.sort(np.random.default_rng(seed).random(points - 1))
    return np.concatenate([[0.0], np.cumsum(steps)])


@pytest.mark.parametrize("seed", range(20))
def test_shares_of_convex_curves_are_the_best_of_all(seed: int) -> None:
    n = np.arange(6.0)
    curves = [convex(seed * 3 + i, 6) for i in range(3)]
    for total in range(16):
        found = share([Loss(n, curve) for curve in curves], total)
        assert found.sum() == pytest.approx(min(total, 15), abs=EXACT)
        value = sum(np.interp(k, n, curve) for k, curve in zip(found, curves, strict=True))
        best = min(
            sum(curve[k] for k, curve in zip(ks, curves, strict=True))
            for ks in itertools.product(range(6), repeat=3)
            if sum(ks) == total
        )
        assert value == pytest.approx(best, abs=EXACT)


def test_points_above_the_lower_hull_are_passed_over() -> None:
    bump = Loss(np.array([0.0, 1.0, 2.0]), np.array([0.0, 5.0, 1.0]))
    line = Loss(np.array([0.0, 2.0]), np.array([0.0, 1.5]))
    np.testing.assert_allclose(share([bump, line], 2.0), [2.0, 0.0], atol=EXACT)


def test_a_layer_whose_weights_save_more_gives_its_own_first() -> None:
    n, loss = np.array([0.0, 10.0]), np.array([0.0, 1.0])
    np.testing.assert_allclose(
        share([Loss(n, loss, price=1.0), Loss(n, loss, price=5.0)], 30.0), [0.0, 6.0], atol=EXACT
    )


LAYER = st.tuples(
    st.integers(1, 50), st.floats(0.1, 10), st.floats(0.01, 1), st.floats(0, 1), st.floats(0, 1)
)


@given(st.lists(LAYER, min_size=1), st.floats(0, 1))
def test_what_is_kept_costs_what_it_may_within_the_limits_of_all_layers(
    layers: list[tuple[int, float, float, float, float]], part: float
) -> None:
    sizes, units, kept, one, other = (np.array(c, dtype=float) for c in zip(*layers, strict=True))
    low, high = np.minimum(one, other) * sizes, np.maximum(one, other) * sizes
    left = float(low @ units) * (1 - part) + float(high @ units) * part
    found = rescale(kept * sizes, low, high, units, left)
    assert (found <= high).all()
    assert (found >= low).all()
    assert found @ units == pytest.approx(left, rel=EXACT, abs=EXACT)


@pytest.mark.parametrize(("left", "expected"), [(1.0, [2.0, 1.0]), (99.0, [5.0, 8.0])])
def test_what_the_limits_do_not_allow_is_met_as_far_as_they_do(
    left: float, expected: list[float]
) -> None:
    found = rescale(np.ones(2), np.array([2.0, 1.0]), np.array([5.0, 8.0]), np.ones(2), left)
    np.testing.assert_array_equal(found, expected)


def test_layers_that_are_not_full_keep_their_proportion() -> None:
    high = np.array([10.0, 10.0, 20.0])
    found = rescale(np.array([1.0, 2.0, 50.0]), np.zeros(3), high, np.ones(3), 26.0)
    np.testing.assert_allclose(found, [2.0, 4.0, 20.0], atol=EXACT)
