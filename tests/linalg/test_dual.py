"""The inverse through the dual, n samples on d > n inputs, equals the direct one."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg.factor import cholesky, dual_inverse, inverse, thin_factor

SAME = 1e-9  # of the largest entry, at a condition of 1e3 to 1e5


@pytest.mark.parametrize(("n", "d"), [(1, 1), (3, 20), (20, 60), (60, 60), (0, 4)])
@pytest.mark.parametrize("strength", [1e-2, 10.0])
def test_dual_inverse_equals_the_direct_one(n, d, strength):
    factor = np.random.default_rng(1).standard_normal((n, d))
    direct = inverse(cholesky((factor.T @ factor + strength * np.eye(d))[None]))[0]
    found = dual_inverse(factor, strength)
    assert np.abs(found - direct).max() <= SAME * np.abs(direct).max()
    assert np.array_equal(found, found.T)


@pytest.mark.parametrize(("n", "d"), [(1, 5), (7, 30), (30, 30)])
def test_thin_factor_has_the_rank_and_gives_the_gram_back(n, d):
    x = np.random.default_rng(2).standard_normal((n, d))
    gram = x.T @ x
    before = gram.copy()
    factor = thin_factor(gram)
    assert factor.shape == (n, d)
    assert np.abs(factor.T @ factor - gram).max() <= SAME * np.abs(gram).max()
    assert np.array_equal(gram, before)


def test_thin_factor_of_nothing_is_empty():
    assert thin_factor(np.zeros((3, 3))).shape[1] == 3


def test_dual_inverse_without_damping_is_refused_where_the_dual_is_singular():
    with pytest.raises(NotPositiveDefiniteError, match="raise damp"):
        dual_inverse(np.ones((2, 3)), 0.0)
