"""Damping, Cholesky and inverse of batched Gram matrices."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg import factor
from onnx_lobs.linalg.factor import (
    check_gram,
    cholesky,
    damp_gram,
    dead_inputs,
    inverse,
)

ROUNDING = 1e-10  # float64 on matrices of condition below 1e4


def gram(groups: int = 2, d: int = 6, samples: int = 40) -> np.ndarray:
    x = np.random.default_rng(3).standard_normal((groups, samples, d))
    return 2 / samples * x.swapaxes(1, 2) @ x


def test_factor_and_inverse_reproduce_the_matrix():
    h = gram()
    lower = cholesky(h)
    assert np.allclose(lower @ lower.swapaxes(1, 2), h, atol=ROUNDING)
    assert np.allclose(inverse(lower) @ h, np.eye(6), atol=ROUNDING)


def test_damping_is_a_fraction_of_the_mean_diagonal_of_live_inputs():
    h = gram()
    h[1, 2, :] = h[1, :, 2] = 0.0
    damped = damp_gram(h, 0.1)
    live = np.delete(np.diagonal(h[1]), 2)
    assert damped.dead.tolist() == [[False] * 6, [False, False, True, False, False, False]]
    assert damped.strength[1, 0] == pytest.approx(0.1 * live.mean())
    assert damped.matrix[1, 0, 0] == pytest.approx(h[1, 0, 0] + 0.1 * live.mean())
    assert damped.matrix[1, 2].tolist() == [0, 0, live.mean(), 0, 0, 0]
    assert damped.raised == 0


def test_input_that_centring_left_with_rounding_is_dead():
    x = np.random.default_rng(4).standard_normal((100, 3))
    x[:, 1] += 5.0
    x[:, 2] = 0.1
    h = 2 / 100 * (x.T @ x) - 2 * np.outer(x.mean(0), x.mean(0))
    assert dead_inputs(h[None]).tolist() == [[False, False, True]]


def test_singular_gram_is_raised_and_says_so():
    x = np.random.default_rng(5).standard_normal((3, 8))
    damped = damp_gram(np.stack([x.T @ x, np.eye(8)]), 0.0)
    assert 0 < damped.raised <= 1e-8
    assert (damped.strength[0] > 0).all()
    assert (damped.strength[1] == 0).all()
    white = damped.whiten(damped.matrix)
    assert np.allclose(white.swapaxes(1, 2) @ white, damped.matrix, atol=ROUNDING)


def test_dead_inputs_only_still_factor():
    damped = damp_gram(np.zeros((1, 3, 3)), 0.0)
    assert damped.dead.all()
    assert np.array_equal(damped.matrix[0], np.eye(3))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gram_with_nan_or_infinity_is_refused(bad: float):
    h = gram()
    h[0, 1, 1] = bad
    with pytest.raises(NotPositiveDefiniteError, match="NaN or infinity"):
        damp_gram(h, 1e-3)


def test_asymmetric_gram_is_refused():
    h = gram()
    h[0, 1, 2] += 1.0
    with pytest.raises(NotPositiveDefiniteError, match="not symmetric"):
        check_gram(h)


def test_negative_diagonal_is_refused():
    with pytest.raises(NotPositiveDefiniteError, match=r"diagonal entry -1 < 0"):
        check_gram(np.diag([1.0, -1.0])[None])


def test_indefinite_gram_is_refused():
    with pytest.raises(NotPositiveDefiniteError, match="stays indefinite"):
        damp_gram(np.array([[[1.0, 2.0], [2.0, 1.0]]]), 1e-3)


def test_plain_cholesky_adds_nothing():
    with pytest.raises(NotPositiveDefiniteError, match="negative curvature"):
        cholesky(np.array([[[1.0, 2.0], [2.0, 1.0]]]))
    with pytest.raises(NotPositiveDefiniteError, match="singular to working precision"):
        cholesky(np.array([[[1.0, 1.0], [1.0, 1.0 + 4e-16]]]))


def test_inputs_are_not_modified():
    h = gram()
    before = h.copy()
    damp_gram(h, 1e-2)
    inverse(cholesky(h))
    assert np.array_equal(h, before)


def test_large_and_small_factors_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(3).standard_normal((2, 60, 20))
    matrix = x.swapaxes(1, 2) @ x
    plain = factor.cholesky(matrix)
    monkeypatch.setattr(factor, "LARGE", 1)
    assert np.allclose(factor.cholesky(matrix), plain, rtol=1e-12)  # a dozen roundings
    assert np.allclose(factor.inverse(plain) @ matrix, np.eye(20), atol=ROUNDING)
    with pytest.raises(NotPositiveDefiniteError, match="negative curvature"):
        factor.cholesky(-matrix)


@pytest.mark.slow
@pytest.mark.parametrize("d", [6, 600])  # NumPy's factor, and LAPACK's in place
def test_inverse_takes_the_place_of_the_factor_which_is_made_again(d: int) -> None:
    x = np.random.default_rng(8).standard_normal((2, 2 * d, d))
    right = np.random.default_rng(7).standard_normal((2, d, 3))
    damped = damp_gram(x.swapaxes(1, 2) @ x, 1e-2)
    before = damped.whiten(right)
    exact = np.linalg.inv(damped.matrix)
    tracemalloc.start()
    try:
        found = damped.inverse
        made = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert made < exact.nbytes / 2 or d == 6  # of so little the interpreter's own takes more
    # the condition of such a matrix is about 1e2
    assert np.allclose(found, exact, rtol=0, atol=1e-11 * np.abs(exact).max())
    assert np.array_equal(damped.whiten(right), before)
    assert damped.inverse is found


def test_whitened_values_have_the_squares_that_the_inverse_gives() -> None:
    damped = damp_gram(gram(), 1e-2)
    right = np.random.default_rng(7).standard_normal(
        (len(damped.matrix), damped.matrix.shape[1], 3)
    )
    white = damped.whiten(right)
    assert np.allclose(
        np.square(white).sum(axis=1), (right * (damped.inverse @ right)).sum(axis=1), rtol=1e-9
    )  # the condition of the matrix times a rounding


def test_an_inverse_that_was_taken_is_made_anew() -> None:
    x = np.random.default_rng(9).standard_normal((2, 12, 6))
    damped = damp_gram(x.swapaxes(1, 2) @ x, 1e-2)
    expected = damped.inverse.copy()
    taken = damped.take_inverse()
    taken[:] = np.nan
    assert np.array_equal(damped.inverse, expected)
    damped.forget_factor()
    assert np.array_equal(damped.inverse, expected)
