"""What holds for every method on any layer that hypothesis can think of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.patterns import NM, Block, Pattern, Unstructured
from onnx_lobs.solvers import METHODS, Problem, error, refit_mask, solve
from onnx_lobs.solvers.joint.linking import damped_gain

SAME = 1e-9  # the same float64 sums in another order, over the energy
SINGULAR = 1e-6  # of the energy: float32 costs over Hessians of rank 1 to d - 1

PATTERNS: list[Pattern] = [
    Unstructured(),
    Unstructured(True),
    NM(2, 4),
    NM(1, 3),
    NM(4, 8),
    Block(4, 1),
    Block(1, 4),
    Block(2, 2),
]


@st.composite
def problems(draw) -> Problem:
    """Draw a layer: shape, rank, dead inputs, scales, target, pattern, share of zeros, damping."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kernel_size = draw(st.sampled_from([1, 1, 2, 3]))
    groups, rows = draw(st.integers(1, 3)), draw(st.integers(0, 7))
    d = kernel_size * draw(st.integers(1, 14))
    samples = draw(st.integers(1, 60))
    x = rng.standard_normal((groups, samples, d)) @ (np.eye(d) + draw(st.sampled_from([0, 0.5])))
    x *= 10.0 ** rng.uniform(-1, 1, d) * 10.0 ** draw(st.integers(-6, 6))
    x[:, :, rng.random(d) < draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))] = 0.0
    weight = rng.standard_normal((groups, rows, d)) * 10.0 ** draw(st.integers(-6, 6))
    weight[rng.random(weight.shape) < draw(st.sampled_from([0.0, 0.0, 0.5, 1.0]))] = 0.0
    hessian = 2 / samples * x.swapaxes(1, 2) @ x
    pattern = draw(st.sampled_from(PATTERNS))
    n_prune = pattern.closest(weight.shape, draw(st.floats(0, 1)), kernel_size)
    cross = 0.9 * weight @ hessian if draw(st.booleans()) else None
    damp = draw(st.sampled_from([1e-3, 1e-3, 1e-1, 1e-5]))
    return Problem(
        weight, hessian, n_prune, cross, pattern, kernel_size, damp=damp, mean=x.mean(axis=1)
    )


def able(method: str, problem: Problem) -> Problem:
    """Return the problem, unstructured if the method cannot do its pattern."""
    if METHODS[method].takes(problem.pattern):
        return problem
    plain = Unstructured()
    return dataclasses.replace(problem, pattern=plain)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@given(problem=problems())
def test_any_layer_keeps_the_contract(method, problem):
    problem = able(method, problem)
    solution = solve(problem, method)
    assert np.count_nonzero(~solution.mask) == problem.n_prune
    assert problem.pattern.obeys(solution.mask, problem.kernel_size)
    assert (solution.weight[~solution.mask] == 0).all()
    assert np.isfinite(solution.weight).all()
    assert solution.error >= -SAME * problem.energy
    assert solution.error == pytest.approx(
        error(problem, solution.weight), rel=SAME, abs=SAME * problem.energy
    )


@pytest.mark.slow
@pytest.mark.parametrize("effort", ["default", "best"])
@given(problem=problems())
def test_joint_is_no_worse_than_magnitude_with_the_refit(effort, problem):
    """The damped error counts: it is what both minimise."""
    joint = solve(problem, effort=effort)
    plain = solve(problem, "magnitude", refit=True)
    gains = [damped_gain(problem, refit_mask(problem, s.mask)) for s in (joint, plain)]
    assert gains[0] >= gains[1] - SINGULAR * problem.energy
