"""The refit against brute force: an independent solve of each row's normal equations."""

from __future__ import annotations

import numpy as np
import pytest

import onnx_lobs.solvers.refit as module
from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.patterns import Block
from onnx_lobs.solvers import Problem, error
from onnx_lobs.solvers.refit import refit, refit_nearly, refit_scaled
from onnx_lobs.solvers.scaled import Scaled
from onnx_lobs.solvers.solution import Selection, conclude

EXACT = 1e-8  # float64 solves of condition below 1e5, relative to weights of order 1


def make(groups=1, rows=5, d=12, samples=60, damp=1e-3, cross=False, seed=0) -> Problem:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((groups, samples, d)) @ rng.standard_normal((d, d))
    weight = rng.standard_normal((groups, rows, d))
    h = 2 / samples * x.swapaxes(1, 2) @ x
    y = weight @ h + rng.standard_normal((groups, rows, d)) if cross else None
    return Problem(weight, h, 0, cross=y, damp=damp)


def brute(problem: Problem, mask: np.ndarray) -> np.ndarray:
    """Minimise the damped objective by least squares on a square root of the Hessian."""
    result = np.zeros(problem.shape)
    for g, row in np.ndindex(problem.shape[:2]):
        h, w = problem.hessian[g], problem.weight[g, row]
        strength = problem.damp * np.diagonal(h).mean()
        y = h @ w if problem.cross is None else problem.cross[g, row]
        s = np.flatnonzero(mask[g, row])
        a = h[np.ix_(s, s)] + strength * np.eye(s.size)
        result[g, row, s] = np.linalg.lstsq(a, y[s] + strength * w[s], rcond=None)[0]
    return result


@pytest.mark.slow
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("groups", "rows", "d"), [(1, 5, 12), (7, 1, 9), (1, 3, 130), (2, 4, 70)])
def test_refit_equals_brute_force(groups, rows, d, kept, cross):
    problem = make(groups, rows, d, samples=4 * d, cross=cross)
    mask = np.random.default_rng(1).random(problem.shape) < kept
    values = refit(problem, mask)
    assert np.allclose(values, brute(problem, mask), rtol=EXACT, atol=EXACT)
    assert (values[~mask] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("d", [8, 120])
@pytest.mark.parametrize("kept", [0.2, 0.8])
def test_rows_that_share_a_support_get_the_same_as_alone(d: int, kept: float):
    problem = make(rows=12, d=d, samples=4 * d)
    shared = np.random.default_rng(2).random((1, 1, d)) < kept
    mask = np.broadcast_to(shared, problem.shape).copy()
    mask[0, 5] = ~mask[0, 5]
    assert np.allclose(refit(problem, mask), brute(problem, mask), rtol=EXACT, atol=EXACT)


def test_full_mask_gives_the_weight_back():
    problem = make()
    values = refit(problem, np.ones(problem.shape, bool))
    assert np.allclose(values, problem.weight, rtol=EXACT, atol=EXACT)


def test_full_mask_with_cross_gives_the_unconstrained_optimum():
    problem = make(cross=True, damp=0.0)
    values = refit(problem, np.ones(problem.shape, bool))
    assert np.allclose(values @ problem.hessian, problem.cross, rtol=EXACT, atol=EXACT)
    assert error(problem, values) == pytest.approx(0.0, abs=EXACT * problem.energy)


def test_cross_error_is_the_mean_squared_distance_to_the_target():
    rng = np.random.default_rng(6)
    dense, pruned = rng.standard_normal((2, 50, 6))
    weight = rng.standard_normal((3, 6))
    target = dense @ weight.T
    problem = Problem.from_matrix(
        weight,
        2 / 50 * pruned.T @ pruned,
        0,
        cross=2 / 50 * target.T @ pruned,
        target_energy=float((target**2).sum() / 50),
    )
    value = rng.standard_normal((3, 6))
    expected = ((pruned @ value.T - target) ** 2).sum() / 50
    assert error(problem, value[None]) == pytest.approx(expected, rel=EXACT)


def test_error_without_cross_is_the_mean_squared_change():
    rng = np.random.default_rng(7)
    x, weight, value = (
        rng.standard_normal((50, 6)),
        rng.standard_normal((3, 6)),
        rng.standard_normal((3, 6)),
    )
    problem = Problem.from_matrix(weight, 2 / 50 * x.T @ x, 0)
    expected = ((x @ (value - weight).T) ** 2).sum() / 50
    assert error(problem, value[None]) == pytest.approx(expected, rel=EXACT)
    assert problem.energy == pytest.approx(((x @ weight.T) ** 2).sum() / 50, rel=EXACT)


def test_no_damping_with_full_rank_equals_brute_force_on_both_sides():
    problem = make(damp=0.0, d=30, samples=300)
    for kept in (0.3, 0.8):
        mask = np.random.default_rng(8).random(problem.shape) < kept
        assert np.allclose(refit(problem, mask), brute(problem, mask), rtol=EXACT, atol=EXACT)


def test_weights_kept_on_a_dead_input_keep_their_value():
    problem = make(d=6)
    hessian = problem.hessian.copy()
    hessian[0, 2, :] = hessian[0, :, 2] = 0.0
    dead = Problem(problem.weight, hessian, 0)
    values = refit(dead, np.ones(dead.shape, bool))
    assert np.allclose(values[:, :, 2], problem.weight[:, :, 2], rtol=EXACT)


def test_refit_never_raises_the_error_of_a_block_mask():
    problem = make(rows=8, d=16, samples=100)
    pattern = Block(4, 1)
    mask = pattern.select(np.square(problem.weight), 64)
    refitted = conclude(problem, Selection(mask), refit(problem, mask))
    bare = conclude(problem, Selection(mask), problem.weight)
    assert refitted.error < bare.error


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("groups", "rows", "d"), [(1, 5, 12), (7, 1, 9), (1, 3, 130), (2, 4, 70)])
def test_the_refit_for_choices_is_nearly_the_exact_one(groups, rows, d, kept):
    problem = make(groups, rows, d, samples=4 * d, cross=True)
    mask = np.random.default_rng(1).random(problem.shape) < kept
    scaled = Scaled(problem)
    found = refit_scaled(scaled, mask)
    assert found.dtype == np.float32
    exact = refit(problem, mask) * scaled.scale[:, None, :]
    # the condition of these scaled matrices is below 1e4, that of float32 numbers 6e-8
    assert np.allclose(found, exact, rtol=0, atol=1e-3 * np.abs(exact).max())
    assert (found[~mask] == 0).all()
    # and its damped error, which is flat there, is that of the exact one to the square
    values = np.stack([found, exact]).astype(np.float64) / scaled.scale[:, None, :]
    damped = [_damped_error(problem, value) for value in values]
    assert damped[0] == pytest.approx(damped[1], rel=1e-5)


def test_the_refit_for_choices_leaves_dead_inputs_at_zero():
    problem = make()
    hessian = problem.hessian.copy()
    hessian[:, 3] = hessian[:, :, 3] = 0.0
    dead = Problem(problem.weight, hessian, 0)
    kept = np.ones(dead.shape, dtype=bool)
    kept[0, 0, 3] = False
    found = refit_scaled(Scaled(dead), kept)
    assert (found[:, :, 3] == 0).all()
    assert np.array_equal(refit_nearly(Scaled(dead), kept)[:, :, 3], (dead.weight * kept)[:, :, 3])
    live = np.arange(12) != 3
    exact = (dead.weight * Scaled(dead).scale[:, None, :])[:, :, live]
    assert np.allclose(found[:, :, live], exact, rtol=0, atol=1e-3 * np.abs(exact).max())


def alike(damp: float) -> Problem:
    """Columns that are all nearly the same: the worst there is for float32."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((400, 1)) + 1e-5 * rng.standard_normal((400, 30))
    return Problem(rng.standard_normal((1, 4, 30)), (2 / 400 * x.T @ x)[None], 0, damp=damp)


@pytest.mark.parametrize(("damp", "dtype"), [(4e-6, np.float64), (1e-4, np.float32)])
def test_the_refit_for_choices_is_near_on_columns_that_are_alike(damp, dtype):
    problem = alike(damp)
    scaled = Scaled(problem)
    assert scaled.dtype == dtype
    mask = np.random.default_rng(4).random(problem.shape) < 0.4
    damped = [_damped_error(problem, f) for f in (refit_nearly(scaled, mask), refit(problem, mask))]
    # with the lesser damping float32 would be 19 % off
    assert damped[0] == pytest.approx(damped[1], rel=1e-3)


@pytest.mark.parametrize("fails", ["raises", "not finite"])
def test_the_refit_for_choices_is_exact_where_float32_fails(fails, monkeypatch):
    problem = make(rows=4)
    mask = np.random.default_rng(4).random(problem.shape) < 0.5
    exact = refit(problem, mask)
    real, calls = module._fit, []

    def fit(system, *args, **options):
        calls.append(system.matrix.dtype)
        if system.matrix.dtype == np.float32:
            if fails == "raises":
                raise NotPositiveDefiniteError("in float32")
            return np.full(mask.shape, np.nan, np.float32)
        return real(system, *args, **options)

    monkeypatch.setattr(module, "_fit", fit)
    found = refit_nearly(Scaled(problem), mask)
    assert calls == [np.float32, np.float64]
    assert np.allclose(found, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("d", [8, 60])  # solved in batches, and one by one
def test_a_singular_hessian_is_a_named_error(d: int):
    problem = Problem(np.ones((1, 2, d)), np.ones((1, d, d)), 0, damp=1e-3)
    mask = np.ones(problem.shape, dtype=bool)
    system = module._System(np.ones((1, d, d)), problem.target, lambda: problem.inverse,
                            lambda: problem.target)  # fmt: skip
    with pytest.raises(NotPositiveDefiniteError, match=r"singular.*raise damp"):
        module._fit(system, mask, problem.batching, either_side=False)


def _damped_error(problem: Problem, weight: np.ndarray) -> float:
    pull = problem.damped.strength[:, None, :] * np.square(weight - problem.weight)
    return error(problem, weight) + 0.5 * float(pull.sum())
