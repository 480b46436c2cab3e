"""The public function on arrays, and error curves."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.errors import ConfigError, InfeasibleError, NotPositiveDefiniteError, SolverError
from onnx_lobs.pattern import NM, Block
from onnx_lobs.solvers import Problem, error, error_curve, prune_layer, solve

CURVE = 1e-3  # relative: costs are recorded in float32
BLOCKS = 0.1  # relative: removals that got cheaper count at their highest
SAMPLED = 0.3  # relative: a quarter of random rows


def arrays(rows=24, d=32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((200, d)) @ (np.eye(d) + 0.2)
    return rng.standard_normal((rows, d)), 2 / 200 * x.T @ x


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "4x1", Block(1, 4)])
def test_matrix_in_matrix_out(dtype, pattern):
    weight, hessian = arrays()
    solution = prune_layer(weight.astype(dtype), hessian, sparsity=0.5, pattern=pattern)
    assert solution.weight.shape == solution.mask.shape == (24, 32)
    assert solution.weight.dtype == np.float64
    assert np.count_nonzero(solution.weight == 0) == 384


@pytest.mark.parametrize(
    ("pattern", "share"), [("unstructured", 0.5), ("4x1", 0.5), ("1:4", 0.75), ("2:8", 0.75)]
)
def test_without_a_sparsity_half_of_the_weights_go_or_what_the_pattern_says(pattern, share):
    weight, hessian = arrays()
    left = prune_layer(weight, hessian, pattern=pattern)
    assert np.count_nonzero(left.weight == 0) == share * weight.size
    same = prune_layer(weight, hessian, pattern=pattern, sparsity=share)
    np.testing.assert_array_equal(left.weight, same.weight)


def test_groups_in_groups_out():
    weight, hessian = arrays()
    solution = prune_layer(weight[:, None], np.stack([hessian] * 24), sparsity=0.9)
    assert solution.weight.shape == (24, 1, 32)


def test_cross_and_mean_are_passed_on():
    weight, hessian = arrays()
    aimed = prune_layer(weight, hessian, sparsity=0.5, cross=2 * weight @ hessian)
    assert np.abs(aimed.weight).sum() > 1.5 * np.abs(prune_layer(
        weight, hessian, sparsity=0.5).weight).sum()  # fmt: skip
    assert prune_layer(weight, hessian, sparsity=0.5, method="apoz", mean=np.ones(32)).mask.any()


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"weight": np.ones(3)}, SolverError, "weight has 1 dimensions"),
        ({"sparsity": 1.5}, InfeasibleError, "between 0 and 1"),
        ({"pattern": "2:4:8"}, ConfigError, "is unknown"),
        ({"pattern": "1:4"}, ConfigError, "1:4 has 0.75 zeros, not 0.5; leave out"),
        ({"hessian": np.eye(3)}, SolverError, "hessian has shape"),
        ({"hessian": -np.eye(32)}, NotPositiveDefiniteError, "diagonal entry -1"),
        ({"weight": np.full((2, 32), np.nan)}, SolverError, "weight holds NaN"),
    ],
)
def test_bad_input_is_refused_by_name(changes, kind, message):
    weight, hessian = arrays()
    sound = {"weight": weight, "hessian": hessian, "sparsity": 0.5}
    with pytest.raises(kind, match=message):
        prune_layer(**{**sound, **changes})


@pytest.mark.parametrize("shape", [(0, 4), (3, 1)])
def test_no_rows_or_one_column_have_a_result(shape):
    solution = prune_layer(np.ones(shape), np.eye(shape[1]), sparsity=0.5)
    assert solution.weight.shape == shape


@pytest.mark.parametrize("cross", [False, True])
def test_curve_is_the_error_of_exact_obs_at_every_count(cross):
    weight, hessian = arrays()
    aim = 1.1 * weight @ hessian if cross else None
    problem = Problem.from_matrix(weight, hessian, 0, cross=aim, damp=1e-8)
    curve = error_curve(problem, points=9)
    assert curve.n_zero.tolist() == [96 * i for i in range(9)]
    assert (np.diff(curve.error) >= 0).all()
    for n_zero, expected in zip(curve.n_zero[1:], curve.error[1:], strict=True):
        one = Problem.from_matrix(weight, hessian, int(n_zero), cross=aim, damp=1e-8)
        assert solve(one, "exact-obs").error == pytest.approx(expected, rel=CURVE)


def test_curve_of_some_rows_stands_for_all():
    weight, hessian = arrays(rows=64)
    problem = Problem.from_matrix(weight, hessian, 0)
    full, part = error_curve(problem), error_curve(problem, most_rows=16)
    assert np.array_equal(full.n_zero, part.n_zero)
    assert part.error[30:] == pytest.approx(full.error[30:], rel=SAMPLED)
    assert error_curve(problem, most_rows=64).error == pytest.approx(full.error)


def test_curve_of_blocks_ends_at_the_energy():
    weight, hessian = arrays()
    problem = Problem.from_matrix(weight, hessian, 0, pattern=Block(4, 1), damp=1e-6)
    curve = error_curve(problem)
    assert curve.error[-1] == pytest.approx(error(problem, 0 * problem.weight), rel=BLOCKS)


@pytest.mark.parametrize(
    ("pattern", "points", "message"), [(NM(2, 4), 5, "one count"), (Block(1, 4), 1, "1 points")]
)
def test_curve_that_cannot_be_is_refused(pattern, points, message):
    weight, hessian = arrays()
    with pytest.raises(ConfigError, match=message):
        error_curve(Problem.from_matrix(weight, hessian, 0, pattern=pattern), points=points)
