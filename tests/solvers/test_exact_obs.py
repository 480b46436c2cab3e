"""Exact elimination against brute force: every removal tried, every remainder solved anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.patterns import NM, Block, Unstructured
from onnx_lobs.solvers import Problem, solve
from onnx_lobs.solvers.elimination.elimination import eliminate
from onnx_lobs.solvers.elimination.tiles import block_columns
from onnx_lobs.solvers.exact_obs import elimination_costs
from onnx_lobs.solvers.scaled import Scaled

SAME = 2e-4  # of a cost: float32 against float64 on Hessians of condition about 1e3
DOUBLE = 1e-6  # of the largest cost: float64, recorded as float32

pytestmark = pytest.mark.usefixtures("loops")


def make(rows=4, d=12, kernel_size=1, pattern=None, cross=True, seed=0, groups=1) -> Problem:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((groups, 5 * d, d)) @ (np.eye(d) + 0.3)
    hessian = 2 / (5 * d) * x.swapaxes(1, 2) @ x
    weight = rng.standard_normal((groups, rows, d))
    aim = weight @ hessian + 0.1 * rng.standard_normal(weight.shape) if cross else None
    return Problem(
        weight,
        hessian,
        0,
        cross=aim,
        pattern=pattern or Unstructured(),
        kernel_size=kernel_size,
        damp=1e-2,
    )


def damped_optimum(problem: Problem, group: int, rows: np.ndarray, kept: np.ndarray) -> float:
    """Return the least damped objective, up to a constant, of rows that share a support."""
    columns = np.flatnonzero(kept)
    if not columns.size:
        return 0.0
    matrix = problem.damped.matrix[group][np.ix_(columns, columns)]
    right = problem.target[group][np.ix_(rows, columns)]
    return -0.5 * float(np.trace(right @ np.linalg.solve(matrix, right.T)))


def brute_costs(problem: Problem, group, rows, units, allowed=None) -> dict[int, float]:
    """Remove the cheapest unit of columns again and again; return the monotone cost of each."""
    kept = np.ones(problem.shape[2], dtype=bool)
    now, highest, costs = damped_optimum(problem, group, rows, kept), 0.0, {}
    left = dict(enumerate(units))
    counts: dict[int, int] = {}
    while left:
        trials = {}
        for unit, columns in left.items():
            if allowed is not None and counts.get(allowed[0][unit], 0) >= allowed[1]:
                continue
            without = kept.copy()
            without[columns] = False
            trials[unit] = damped_optimum(problem, group, rows, without)
        if not trials:
            break
        unit = min(trials, key=lambda u: trials[u])
        if allowed is not None:
            counts[allowed[0][unit]] = counts.get(allowed[0][unit], 0) + 1
        highest = max(highest, trials[unit] - now)
        costs[unit], now = highest, trials[unit]
        kept[left.pop(unit)] = False
    return costs


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("cross", [False, True])
def test_every_removal_is_the_cheapest_one_left(groups, cross):
    problem = make(groups=groups, cross=cross)
    scores = elimination_costs(problem, Scaled(problem))
    for group, row in np.ndindex(problem.shape[:2]):
        expected = brute_costs(problem, group, np.array([row]), [[c] for c in range(12)])
        for column, cost in expected.items():
            assert scores[group, row, column] == pytest.approx(cost, rel=SAME)


@pytest.mark.parametrize(("pattern", "kernel_size", "d"), [(NM(2, 4), 1, 12), (NM(1, 3), 2, 12)])
def test_windows_give_no_more_than_their_zeros(pattern, kernel_size, d):
    problem = make(d=d, kernel_size=kernel_size, pattern=pattern)
    quota = pattern.quota(d, kernel_size)
    scores = elimination_costs(problem, Scaled(problem))
    for row in range(problem.shape[1]):
        expected = brute_costs(
            problem,
            0,
            np.array([row]),
            [[c] for c in range(d)],
            (quota.window, int(quota.zeros[0])),
        )
        for column, cost in expected.items():
            assert scores[0, row, column] == pytest.approx(cost, rel=SAME)
        others = np.setdiff1d(np.arange(d), list(expected))
        assert (scores[0, row, others] > max(expected.values())).all()


@pytest.mark.parametrize(
    ("pattern", "kernel_size", "d"),
    [(Block(4, 1), 1, 12), (Block(2, 3), 1, 13), (Block(1, 4), 2, 14), (Block(2, 2), 2, 12)],
    ids=str,
)
def test_blocks_go_as_one_the_cheapest_first(pattern, kernel_size, d):
    problem = make(rows=6, d=d, kernel_size=kernel_size, pattern=pattern)
    scores = elimination_costs(problem, Scaled(problem))[0]
    blocks, real = block_columns(d, kernel_size, pattern.columns)
    units = [block[exists] for block, exists in zip(blocks, real, strict=True)]
    for first in range(0, 6, pattern.rows):
        rows = np.arange(first, min(6, first + pattern.rows))
        for block, cost in brute_costs(problem, 0, rows, units).items():
            shared = cost / (rows.size * units[block].size)
            assert scores[np.ix_(rows, units[block])] == pytest.approx(shared, rel=SAME)


@pytest.mark.slow
@given(
    units=st.integers(1, 4),
    rows=st.integers(1, 3),
    n=st.integers(1, 90),
    seed=st.integers(0, 99),
)
def test_blocked_downdates_equal_plain_ones(units, rows, n, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((units, 3 * n + 2, n))
    inverse = np.linalg.inv(x.swapaxes(1, 2) @ x / n + 0.01 * np.eye(n))
    weight = rng.standard_normal((units, rows, n))
    real = rng.random((units, n)) < 0.8
    inverse *= real[:, :, None] & real[:, None, :]
    inverse[:, np.arange(n), np.arange(n)] += ~real
    trace = eliminate(inverse.copy(), weight * real[:, None], n, real)
    for unit in range(units):
        g, w, alive = inverse[unit].copy(), weight[unit] * real[unit], real[unit].copy()
        for step in range(int(alive.sum())):
            costs = np.where(alive, (w**2).sum(0) / np.diagonal(g), np.inf)
            pivot = int(costs.argmin())
            limit = DOUBLE * max(1.0, costs[pivot])
            assert trace.cost[unit, step] == pytest.approx(costs[pivot] / 2, abs=limit)
            assert trace.order[unit, step] == pivot
            alive[pivot] = False
            column = g[pivot].copy()
            w = w - w[:, [pivot]] / column[pivot] * column
            g -= np.outer(column, column) / column[pivot]
            g[pivot, pivot] = 1.0
        assert np.isinf(trace.cost[unit, int(real[unit].sum()) :]).all()


def test_float32_finds_the_zeros_of_float64():
    single = make(rows=8, d=90)
    scores = elimination_costs(single, Scaled(single))
    double = Scaled(single)
    double.__dict__["dtype"] = np.float64
    exact = elimination_costs(single, double)
    for count in (100, 360, 650):
        same = Unstructured().select(scores, count) == Unstructured().select(exact, count)
        assert same.mean() >= 0.995


def test_row_budgets_follow_the_cheapest_removals_of_all_rows():
    problem = make(rows=3, d=10, cross=False)
    weight = problem.weight * np.array([0.01, 1.0, 1.0])[:, None]
    found = solve(Problem(weight, problem.hessian, 10), "exact-obs")
    assert not found.mask[0, 0].any()
    assert found.mask[0, 1:].all()
