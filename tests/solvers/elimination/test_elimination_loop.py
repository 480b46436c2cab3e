"""The loop of one unit against the lockstep of many, and against itself not compiled."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.linalg import compiled
from onnx_lobs.patterns import Quota
from onnx_lobs.solvers.elimination.elimination import eliminate
from onnx_lobs.solvers.elimination.elimination_loop import advance

needs_numba = pytest.mark.skipif(not compiled.is_available(), reason="Numba is not installed")
ROUNDING = {"float32": 2e-4, "float64": 1e-6}  # of a cost: of condition about 1e3; kept as float32


def make(dtype, n, rows=1, units=3, seed=0):
    """Return G, w and which candidates are real, the last unit with some padding."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((units, 3 * n, n)) @ (np.eye(n) + 0.3 / n)
    inverse = np.linalg.inv(x.swapaxes(1, 2) @ x / n + 0.01 * np.eye(n))
    real = np.ones((units, n), dtype=bool)
    real[-1, n // 2 :: 7] = False
    inverse *= real[:, :, None] & real[:, None, :]
    inverse[:, np.arange(n), np.arange(n)] += ~real
    weight = rng.standard_normal((units, rows, n)) * real[:, None]
    return inverse.astype(dtype), weight.astype(dtype), real


@pytest.mark.slow
@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("n", [5, 31, 300])
def test_units_apart_do_what_units_in_lockstep_do(dtype, rows, limited, n):
    quota = Quota(np.arange(n) // 4, np.full(-(-n // 4), 2)) if limited else None
    inverse, weight, real = make(dtype, n, rows)
    apart = eliminate(inverse.copy(), weight.copy(), n, real, quota)
    with compiled.without():
        together = eliminate(inverse.copy(), weight.copy(), n, real, quota)
    done = np.isfinite(together.cost)
    assert np.array_equal(np.isfinite(apart.cost), done)
    assert done[0].sum() == (2 * (n // 4) + min(2, n % 4) if limited else n)
    # an order may differ where two costs are equal up to rounding; sums up to any step may not
    sums = [np.where(done, t.cost, 0).cumsum(axis=1, dtype=np.float64) for t in (apart, together)]
    np.testing.assert_allclose(*sums, rtol=ROUNDING[dtype])
    assert (apart.order == together.order)[done].mean() > 0.99


@pytest.mark.parametrize("limited", [False, True])
def test_the_plain_loop_removes_what_is_cheapest(limited):
    n, steps = 9, 6
    inverse, weight, _ = make("float64", n, rows=2, units=1)
    group = np.arange(n) // 3 if limited else np.zeros(0, dtype=np.int64)
    left = np.full(3, 2) if limited else np.zeros(0, dtype=np.int64)
    order, cost = np.zeros(steps, dtype=np.int64), np.zeros(steps)
    w, g = weight[0].copy(), inverse[0].copy()
    advance.__wrapped__(
        *(inverse[0], weight[0], np.diagonal(inverse[0]).copy(), np.zeros(n), np.empty((steps, n))),
        *(np.arange(n), group, left, order, cost, 1e-300),
    )
    gone: list[int] = []
    for step in range(steps):
        costs = np.square(w).sum(axis=0) / np.diagonal(g)
        costs[gone] = np.inf
        if limited:
            taken = np.bincount(np.array(gone, dtype=int) // 3, minlength=3)
            costs[taken[np.arange(n) // 3] >= 2] = np.inf
        pivot = int(costs.argmin())
        assert order[step] == pivot
        assert cost[step] == pytest.approx(costs[pivot] / 2, rel=1e-10)
        column = g[pivot].copy()
        w = w - w[:, [pivot]] / column[pivot] * column
        g = g - np.outer(column, column) / column[pivot]
        g[pivot, pivot] = 1.0
        gone.append(pivot)


def test_the_plain_loop_goes_on_when_nothing_is_left():
    inverse, weight, _ = make("float64", 4, units=1)
    nothing = np.zeros(0, dtype=np.int64)
    settled = np.array([0.0, np.inf, np.inf, np.inf])
    order, cost = np.zeros(2, dtype=np.int64), np.zeros(2)
    held = np.full((2, 4), np.nan)
    advance.__wrapped__(
        *(inverse[0], weight[0], np.diagonal(inverse[0]).copy(), settled, held, np.arange(4)),
        *(nothing, nothing, order, cost, 1e-300),
    )
    assert order[0] == 0
    assert np.isfinite(cost[0])
    assert np.isinf(cost[1])
    assert not held[1].any()
