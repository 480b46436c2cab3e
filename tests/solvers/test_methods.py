"""Single methods against their definitions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from onnx_lobs.errors import NotPositiveDefiniteError, SolverError
from onnx_lobs.patterns import NM, Block, Unstructured
from onnx_lobs.solvers import METHODS, Problem, Selection, methods, refit_mask, select, solve
from onnx_lobs.solvers.iht import CLOSE, MARGIN, SMALL, largest_eigenvalue
from onnx_lobs.solvers.lobs_iterative import part_counts
from onnx_lobs.solvers.sparsegpt import _upper

EXACT = 1e-9
SCORES = ["apoz", "correlation", "magnitude", "obd", "random", "wanda"]
NAMES = [*SCORES, "exact-obs", "iht", "joint", "lobs", "lobs-iterative", "net-trim", "sparsegpt"]


def make(rows=16, d=40, pattern=None, sparsity=0.6, kernel_size=1, seed=0) -> Problem:
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.standard_normal((400, 10)) @ rng.standard_normal((10, d)), 0)
    x += 0.3 * rng.standard_normal(x.shape)
    weight = rng.standard_normal((1, rows, d))
    pattern = pattern or Unstructured()
    zeros = pattern.closest(weight.shape, sparsity, kernel_size)
    hessian = (2 / 400 * x.T @ x)[None]
    return Problem(
        weight, hessian, zeros, pattern=pattern, kernel_size=kernel_size, mean=x.mean(0)[None]
    )


def test_table_holds_every_method():
    assert sorted(METHODS) == sorted(NAMES)
    assert next(iter(METHODS)) == "joint"


@pytest.mark.parametrize("method", ["sparsegpt", "iht", "lobs-iterative"])
def test_methods_that_see_the_hessian_beat_magnitude_with_refit(method):
    problem = make()
    assert solve(problem, method).error < solve(problem, "magnitude").error


def test_net_trim_with_refit_beats_bare_magnitude():
    problem = make()
    bare = solve(problem, "magnitude", refit=False).error
    assert 2 * solve(problem, "net-trim").error < bare


def test_sparsegpt_equals_its_definition():
    problem = make(rows=5, d=12)
    upper = np.linalg.cholesky(np.linalg.inv(problem.damped.matrix[0])).T
    weight = problem.weight[0].copy()
    scores = np.square(weight / np.diagonal(upper))
    mask = np.ones(scores.shape, dtype=bool)
    mask.flat[np.argsort(scores, axis=None)[: problem.n_prune]] = False
    for j in range(12):
        error = np.where(mask[:, j], 0.0, weight[:, j]) / upper[j, j]
        weight[:, j:] -= error[:, None] * upper[j, j:]
    bare = solve(problem, "sparsegpt", refit=False)
    assert np.array_equal(bare.mask[0], mask)
    assert np.allclose(bare.weight[0], weight * mask, rtol=EXACT, atol=EXACT)


def test_sparsegpt_shares_zeros_among_panels_exactly():
    problem = make(rows=4, d=300, sparsity=0.37)
    mask = solve(problem, "sparsegpt").mask
    assert np.count_nonzero(~mask) == problem.n_prune
    for start in (0, 128):
        assert (~mask[:, :, start : start + 128]).mean() == pytest.approx(0.37, abs=0.01)


def test_wanda_prunes_rows_alike_give_or_take_one():
    counts = (~solve(make(sparsity=0.33), "wanda").mask).sum(axis=2)
    assert counts.max() - counts.min() <= 1


def test_correlation_is_pearsons_for_a_centred_hessian():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 6)) @ rng.standard_normal((6, 6))
    x -= x.mean(0)
    weight = rng.standard_normal((3, 6))
    problem = Problem.from_matrix(weight, 2 / 200 * x.T @ x, 9)
    expected = np.abs(np.corrcoef(x.T, (x @ weight.T).T)[6:, :6])
    kept = solve(problem, "correlation").mask[0]
    assert expected[kept].min() >= expected[~kept].max()


def test_apoz_keeps_the_largest_mean_contributions():
    problem = make()
    scores = np.abs(problem.weight * problem.mean[:, None, :])
    kept = solve(problem, "apoz").mask
    assert scores[kept].min() >= scores[~kept].max()


def test_random_follows_the_seed():
    weight, hessian = np.ones((4, 8)), np.eye(8)
    masks = [
        solve(Problem.from_matrix(weight, hessian, 16, seed=s), "random").mask for s in (1, 1, 2)
    ]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_iterative_lobs_prunes_in_eight_parts_up_to_the_count():
    problem = make()
    counts = part_counts(problem)
    assert len(counts) == 8
    assert counts == sorted(counts)
    assert counts[-1] == problem.n_prune
    assert part_counts(make(pattern=NM(2, 4))) == [320]


def test_net_trim_finds_the_lasso_support():
    """On an orthogonal Hessian the l1 solution keeps the largest |w|, whatever its diagonal."""
    weight = np.array([[4.0, 1.0, 3.0, 2.0]])
    solution = solve(Problem.from_matrix(weight, np.eye(4), 2, damp=0.0), "net-trim")
    assert solution.mask[0, 0].tolist() == [True, False, True, False]


@pytest.mark.parametrize("method", ["joint", "exact-obs"])
def test_methods_that_are_a_fit_have_no_bare_form(method):
    problem = make(pattern=Block(2, 2))
    solution = solve(problem, method, refit=False)
    assert np.array_equal(solution.weight != 0, solution.mask)
    np.testing.assert_allclose(
        solution.weight, refit_mask(problem, solution.mask), rtol=EXACT, atol=EXACT
    )


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 17, SMALL, SMALL + 1, 300])
@pytest.mark.parametrize("rank", [1, 2, 400])
def test_the_step_of_iht_is_never_too_long(d, rank):
    rng = np.random.default_rng(d + rank)
    half = rng.standard_normal((4, d, rank))
    matrix = (half @ half.swapaxes(1, 2)).astype(np.float32)
    largest = np.linalg.eigvalsh(matrix.astype(np.float64))[:, -1]
    found = largest_eigenvalue(matrix)
    assert found == pytest.approx(largest, rel=CLOSE)
    assert (MARGIN * found >= largest).all()


@pytest.mark.parametrize("d", [2, 200])
def test_iht_converges_where_the_rows_of_the_hessian_sum_to_nothing(d):
    """Their absolute sums are orthogonal to its only eigenvector, (1, -1, 1, -1, …)."""
    signs = (-1.0) ** np.arange(d)
    weight = np.linspace(1, 2, d)[None, None]
    problem = Problem(weight, np.outer(signs, signs)[None], 0, damp=1e-3)
    solution = solve(problem, "iht")
    assert solution.error <= EXACT * problem.energy


def test_sparsegpts_factor_is_that_of_the_inverse_in_its_order_or_a_named_error() -> None:
    x = np.random.default_rng(8).standard_normal((2, 30, 9))
    inverse = np.linalg.inv(x.swapaxes(1, 2) @ x)
    order = np.arange(9).reshape(-1, 3).T.ravel()
    upper = np.triu(_upper(inverse, order))
    turned = inverse[:, order][:, :, order]
    assert np.allclose(upper.swapaxes(1, 2) @ upper, turned, rtol=0, atol=1e-14)  # entries of 0.1
    with pytest.raises(NotPositiveDefiniteError, match="singular at pivot 1; raise damp"):
        _upper(-inverse, order)


@pytest.mark.parametrize("seed", range(4))
def test_sparsegpts_factor_in_place_of_the_inverse_is_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 60, 40))
    inverse = np.linalg.inv(x.swapaxes(1, 2) @ x)
    order = rng.permutation(40) if seed else np.arange(40)
    expected, given = _upper(inverse, order), inverse.copy()
    found = _upper(given, order, overwrite=True)
    assert np.shares_memory(found, given)
    assert np.array_equal(np.triu(found), np.triu(expected))


@pytest.mark.parametrize("name", METHODS)
def test_select_gives_the_zeros_and_figures_of_the_solution(name: str) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((60, 12))
    problem = Problem(
        rng.standard_normal((1, 5, 12)), (2 / 60 * x.T @ x)[None], 30, mean=x.mean(axis=0)[None]
    )
    found, solution = select(problem, name), solve(problem, name)
    assert np.array_equal(found.mask, solution.mask)
    assert (found.status, dict(found.info)) == (solution.status, dict(solution.info))


@pytest.mark.parametrize("door", [solve, select])
def test_another_number_of_zeros_than_was_asked_for_is_an_error(door, monkeypatch) -> None:
    def too_many(problem: Problem) -> Selection:
        return Selection(np.zeros(problem.shape, dtype=np.bool_))

    broken = dataclasses.replace(METHODS["magnitude"], function=too_many)
    monkeypatch.setattr(methods, "METHODS", {**METHODS, "magnitude": broken})
    problem = Problem.from_matrix(np.ones((2, 8)), np.eye(8), 8)
    with pytest.raises(SolverError, match="magnitude found 16 zeros where 8 were asked for"):
        door(problem, "magnitude")
