"""Net-Trim with samples: the published program before a ReLU."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from onnx_lobs.errors import SolverError
from onnx_lobs.patterns.pattern import Unstructured
from onnx_lobs.solvers import Problem, solve
from onnx_lobs.solvers.net_trim_relu import _Program

FEASIBLE = 0.05  # of the outputs' norm, after a bounded number of ADMM steps


def relu_layer(groups=1) -> Problem:
    rng = np.random.default_rng(8)
    x = np.abs(rng.standard_normal((groups, 300, 20)))
    weight = rng.standard_normal((groups, 6, 20))
    hessian = 2 / 300 * x.swapaxes(1, 2) @ x
    return Problem(weight, hessian, weight.size // 2, samples=x)


def relu_error(problem: Problem, weight: np.ndarray) -> float:
    x = problem.samples
    wanted, found = (np.maximum(x @ w.swapaxes(1, 2), 0) for w in (problem.weight, weight))
    return float(np.square(found - wanted).sum())


@pytest.mark.parametrize("groups", [1, 3])
def test_its_support_serves_the_relu_output_better_than_one_without_samples(groups):
    """Refitted: bare, both are shrunk by the l1 norm, the program with samples more so."""
    problem = relu_layer(groups)
    with_relu = solve(problem, "net-trim")
    without = solve(dataclasses.replace(problem, samples=None), "net-trim")
    assert np.count_nonzero(~with_relu.mask) == problem.n_prune
    assert Unstructured().obeys(with_relu.mask, 1)
    assert relu_error(problem, with_relu.weight) < relu_error(problem, without.weight)


def test_the_constraints_are_met():
    problem = relu_layer()
    program = _Program(problem, problem.samples)
    eps = 0.2 * float(np.linalg.norm(program.goal[program.active]))
    for _ in range(20):
        program.run(eps)
    reached = program.x @ program.kept.swapaxes(1, 2)
    miss = np.linalg.norm((reached - program.goal)[program.active])
    above = np.linalg.norm(np.maximum(reached[~program.active], 0))
    assert miss <= eps * (1 + FEASIBLE)
    assert above <= FEASIBLE * np.linalg.norm(program.goal)


def test_samples_of_another_shape_are_refused():
    with pytest.raises(SolverError, match=r"samples has shape \(1, 5, 3\); it must be \(1, n, 2\)"):
        Problem(np.ones((1, 2, 2)), np.eye(2)[None], 1, samples=np.ones((1, 5, 3)))
