"""The tridiagonal form and its shifts, against eigenvectors and dense solves."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg.tridiagonal import tridiagonalise

ROUNDING = 1e-10  # float64 on matrices of condition below 1e4
SINGLE = 1e-5  # the same in float32, of numbers near 1


def gram(d: int, groups: int = 2, samples: int = 60) -> np.ndarray:
    x = np.random.default_rng(d).standard_normal((groups, samples, d)) + 0.5
    return x.swapaxes(1, 2) @ x / samples


@pytest.mark.parametrize("d", [1, 2, 3, 40, 90])
def test_the_form_is_the_matrix_in_an_orthogonal_basis(d: int) -> None:
    h = gram(d)
    kept = h.copy()
    form = tridiagonalise(h)
    assert np.array_equal(h, kept)
    inner = form.transposed @ h @ form.transposed.swapaxes(1, 2)
    for group, one in enumerate(inner):
        beside = form.beside[group, : d - 1]
        expected = np.diag(form.diagonal[group]) + np.diag(beside, 1) + np.diag(beside, -1)
        assert np.allclose(one, expected, atol=ROUNDING)
    square = form.transposed @ form.transposed.swapaxes(1, 2)
    assert np.allclose(square, np.eye(d), atol=ROUNDING)


@pytest.mark.parametrize("d", [1, 2, 3, 40, 90])
@pytest.mark.parametrize("shift", [0.02, 3.0])
def test_a_shifted_form_solves_as_eigenvectors_and_dense_solves_do(d: int, shift: float) -> None:
    """90 inputs of 60 samples: the matrix alone has no inverse."""
    h, right = gram(d), np.random.default_rng(1).standard_normal((2, 5, d))
    kept = right.copy()
    form = tridiagonalise(h)
    found = form.shifted(shift).solve(right @ form.transposed.swapaxes(1, 2)) @ form.transposed
    values, vectors = np.linalg.eigh(h)
    by_vectors = (right @ vectors / (values + shift)[:, None]) @ vectors.swapaxes(1, 2)
    dense = np.linalg.solve(h + shift * np.eye(d), right.swapaxes(1, 2)).swapaxes(1, 2)
    assert np.allclose(found, by_vectors, atol=ROUNDING)
    assert np.allclose(found, dense, atol=ROUNDING)
    assert np.array_equal(right, kept)


def test_the_basis_is_stored_in_the_type_asked_for() -> None:
    h = gram(40)
    form = tridiagonalise(h.astype(np.float32))
    assert form.transposed.dtype == np.float32
    assert form.diagonal.dtype == np.float64
    assert np.allclose(form.transposed, tridiagonalise(h).transposed, atol=100 * SINGLE)


def test_a_shift_that_leaves_a_negative_direction_is_an_error() -> None:
    form = tridiagonalise(gram(5) - 3 * np.eye(5))
    with pytest.raises(NotPositiveDefiniteError, match=r"penalty 0\.1 has a negative direction"):
        form.shifted(0.1)
