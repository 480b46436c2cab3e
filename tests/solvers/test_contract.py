"""What every method promises, over patterns, dtypes and awkward Hessians."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest
from pairwise import pairwise

from onnx_lobs.errors import ConfigError, InfeasibleError, NotPositiveDefiniteError, SolverError
from onnx_lobs.patterns import NM, Block, Pattern, Unstructured
from onnx_lobs.solvers import METHODS, Problem, Status, error, refit_mask, solve

SAME = 1e-9  # the same float64 sums in another order
ROUNDING = 1e-9  # of the energy: differences of float64 sums over singular Hessians
SCALED = 1e-6  # ADMM runs in float32; its support is the same, the refit float64

PATTERNS = [Unstructured(), Unstructured(True), NM(2, 4), NM(1, 3), Block(4, 1), Block(2, 2)]
CASES = [
    "plain",
    "dead",
    "rank",
    "groups",
    "kernel_size",
    "one column",
    "no rows",
    "all dead",
    "cross",
]

DTYPES = ["float32", "float64"]
SPARSITIES = [0.3, 0.5, 0.8]  # neither nothing nor everything, which ask little of a method

SAME_AS_OBD = ["joint", "exact-obs", "lobs", "lobs-iterative", "sparsegpt", "iht", "obd"]

every_method = pytest.mark.parametrize("method", list(METHODS))


def every_pair(names, patterns, *values):
    """Run a test on few (method, pattern, *values) in which any two values meet if they can."""
    able = [(m.name, p) for m in METHODS.values() for p in patterns if m.takes(p)]
    rows = pairwise([(*able_one, *rest) for able_one, *rest in product(able, *values)])
    return pytest.mark.parametrize(("method", "pattern", *names), rows, ids=str)


def make(case: str, dtype=np.float64, pattern: Pattern | None = None, sparsity=0.5) -> Problem:
    rng = np.random.default_rng(11)
    groups = 3 if case == "groups" else 1
    kernel_size = 2 if case == "kernel_size" else 1
    rows = 0 if case == "no rows" else 6
    d = 1 if case == "one column" else 10
    samples = 4 if case == "rank" else 80
    x = rng.standard_normal((groups, samples, d)) @ (np.eye(d) + 0.3)
    if case == "dead":
        x[:, :, [1, 4]] = 0.0
    if case == "all dead":
        x[:] = 0.0
    weight = rng.standard_normal((groups, rows, d)).astype(dtype)
    hessian = 2 / samples * x.swapaxes(1, 2) @ x
    cross = (weight.astype(np.float64) * 0.9) @ hessian if case == "cross" else None
    pattern = pattern or Unstructured()
    n_prune = pattern.closest(weight.shape, sparsity, kernel_size)
    mean = x.mean(axis=1)
    return Problem(
        weight, hessian, n_prune, cross=cross, pattern=pattern, kernel_size=kernel_size, mean=mean
    )


@every_pair(
    ("dtype", "refit", "case", "sparsity"), PATTERNS, DTYPES, [True, False], CASES, SPARSITIES
)
def test_solution_keeps_the_contract(method, pattern, dtype, refit, case, sparsity):
    problem = make(case, dtype, pattern, sparsity)
    given = [a.copy() for a in (problem.weight, problem.hessian)]
    solution = solve(problem, method, refit=refit)
    assert np.count_nonzero(~solution.mask) == problem.n_prune
    assert pattern.obeys(solution.mask, problem.kernel_size)
    assert (solution.weight[~solution.mask] == 0).all()
    assert solution.weight.dtype == np.float64
    assert np.isfinite(solution.weight).all()
    assert np.array_equal(given[0], problem.weight)
    assert np.array_equal(given[1], problem.hessian)
    assert solution.error == pytest.approx(error(problem, solution.weight), rel=SAME)
    assert solution.error >= -ROUNDING * max(problem.energy, 1.0)
    assert solution.status in Status


@every_method
def test_error_is_what_the_change_costs(method):
    problem = make("plain")
    solution = solve(problem, method)
    change = (solution.weight - problem.weight)[0]
    expected = 0.5 * np.trace(change @ problem.hessian[0] @ change.T)
    assert solution.error == pytest.approx(expected, rel=SAME)
    energy = 0.5 * np.trace(problem.weight[0] @ problem.hessian[0] @ problem.weight[0].T)
    assert solution.relative_error == pytest.approx(expected / energy, rel=SAME)


@every_pair(
    ("case",),
    [Unstructured(), Unstructured(True), Block(2, 2)],
    ["plain", "dead", "one column", "all dead"],
)
def test_prune_none_changes_nothing_and_prune_all_costs_the_energy(method, pattern, case):
    none = solve(make(case, pattern=pattern, sparsity=0.0), method)
    every = make(case, pattern=pattern, sparsity=1.0)
    assert none.mask.all()
    assert none.relative_error == pytest.approx(0.0, abs=ROUNDING)
    solution = solve(every, method)
    assert not solution.weight.any()
    assert solution.error == pytest.approx(every.energy, rel=SAME)


@every_method
def test_refit_on_its_own_mask_is_never_worse(method):
    problem = make("plain")
    bare = solve(problem, method, refit=False)
    refitted = solve(problem, method, refit=True)
    assert refitted.error <= bare.error * (1 + SAME)
    assert np.array_equal(refitted.weight, refit_mask(problem, refitted.mask))


@every_method
@pytest.mark.parametrize("factor", [2.0**-10, 2.0**10])
def test_scaling_the_weight_scales_the_error_squared(method, factor):
    problem = make("plain")
    scaled = dataclasses.replace(problem, weight=factor * problem.weight)
    expected = factor**2 * solve(problem, method).error
    assert solve(scaled, method).error == pytest.approx(expected, rel=SCALED)


@every_method
@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_scaling_the_hessian_scales_the_error(method, factor):
    if method == "lobs":
        pytest.skip("the released method's damping is absolute")
    problem = make("plain")
    scaled = dataclasses.replace(problem, hessian=factor * problem.hessian)
    expected = factor * solve(problem, method).error
    assert solve(scaled, method).error == pytest.approx(expected, rel=SCALED)


@pytest.mark.parametrize("method", SAME_AS_OBD)
def test_diagonal_hessian_reduces_to_obd(method):
    rng = np.random.default_rng(12)
    weight, diagonal = rng.standard_normal((5, 9)), rng.random(9) + 0.1
    problem = Problem.from_matrix(weight, np.diag(diagonal), 20)
    saliency = weight**2 * diagonal
    expected = saliency >= np.sort(saliency, axis=None)[20]
    solution = solve(problem, method)
    assert np.array_equal(solution.mask[0], expected)
    assert np.allclose(solution.weight[0], weight * expected)


@pytest.mark.parametrize("method", [name for name, m in METHODS.items() if m.needs_hessian])
def test_weights_on_dead_inputs_go_first(method):
    problem = make("dead")
    solution = solve(problem, method)
    assert not solution.mask[:, :, [1, 4]].any()


@every_method
def test_single_precision_cannot_change_the_zeros_of_a_second_run(method):
    problem = make("plain", np.float32)
    first, second = solve(problem, method), solve(problem, method)
    assert np.array_equal(first.weight, second.weight)
    assert np.array_equal(first.mask, second.mask)


def test_singular_hessian_without_damping_is_damped_and_says_so():
    rank = make("rank")
    problem = Problem(rank.weight, rank.hessian, rank.n_prune, damp=0.0)
    solution = solve(problem, "joint")
    assert solution.status is Status.DAMPED
    assert "calibration samples" in solution.status.remedy
    assert solution.info["damp"] > 0


@every_method
def test_indefinite_hessian_is_refused(method):
    mean = np.ones((1, 2))
    problem = Problem.from_matrix(np.ones((2, 2)), [[1.0, 2.0], [2.0, 1.0]], 2, mean=mean)
    with pytest.raises(NotPositiveDefiniteError, match="indefinite"):
        solve(problem, method)


@every_method
def test_nan_in_the_hessian_is_refused(method):
    mean = np.ones((1, 2))
    problem = Problem.from_matrix(np.ones((2, 2)), [[1.0, np.nan], [np.nan, 1.0]], 2, mean=mean)
    with pytest.raises(NotPositiveDefiniteError, match="NaN"):
        solve(problem, method)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"weight": np.full((1, 2, 3), np.nan)}, SolverError, "weight holds NaN"),
        ({"cross": np.full((1, 2, 3), np.inf)}, SolverError, "cross holds NaN"),
        ({"weight": np.ones((2, 3))}, SolverError, r"weight has shape \(2, 3\)"),
        ({"weight": np.ones((1, 2, 0))}, SolverError, r"columns >= 1"),
        ({"hessian": np.eye(3)}, SolverError, r"must be \(1, 3, 3\)"),
        ({"cross": np.ones((1, 1, 3))}, SolverError, "cross has shape"),
        ({"n_prune": 7}, InfeasibleError, "between 0 and 6"),
        ({"n_prune": -1}, InfeasibleError, "between 0 and 6"),
        ({"kernel_size": 2}, InfeasibleError, "2 kernel position do not divide 3 columns"),
        ({"damp": -1.0}, SolverError, "damp is -1.0"),
        ({"damp": float("nan")}, SolverError, "damp is nan"),
        ({"mean": np.ones((1, 2))}, SolverError, r"mean has shape \(1, 2\); it must be \(1, 3\)"),
    ],
)
def test_problem_that_makes_no_sense_is_refused(changes, kind, message):
    sound = {"weight": np.ones((1, 2, 3)), "hessian": np.eye(3)[None], "n_prune": 2}
    with pytest.raises(kind, match=message):
        Problem(**{**sound, **changes})


def test_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="'magic' is unknown; choose one of joint"):
        solve(make("plain"), "magic")


def test_method_that_cannot_do_the_pattern_names_those_that_can():
    with pytest.raises(ConfigError, match="'sparsegpt' cannot do pattern 2x2; choose one of joint"):
        solve(make("plain", pattern=Block(2, 2)), "sparsegpt")


def test_apoz_without_a_mean_says_what_to_pass():
    problem = dataclasses.replace(make("plain"), mean=None)
    with pytest.raises(ConfigError, match="needs the mean input"):
        solve(problem, "apoz")


def test_unknown_effort_is_refused():
    with pytest.raises(ConfigError, match="'extreme' is unknown; choose one of fast"):
        solve(make("plain"), effort="extreme")
