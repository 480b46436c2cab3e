"""Dimensions of queries and keys go with the least change of their products."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from onnx_lobs.arrays import FloatArray
from onnx_lobs.solvers.channels.query_key import logit_bases

EXACT = 1e-9  # relative: float64, some hundred terms
SEARCHED = 1e-6  # relative: where L-BFGS stops
HEADS, DEPTH = 2, 4


def drawn(n: int, seed: int = 0, depth: int = DEPTH) -> tuple[FloatArray, FloatArray]:
    """Queries and keys (heads, n, depth) of unlike spread, with means."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((2, HEADS, depth, depth)) * np.geomspace(1, 0.1, depth)
    found = rng.standard_normal((2, HEADS, n, depth)) @ mix + rng.standard_normal(depth)
    return found[0], found[1]


def moments(x: FloatArray) -> FloatArray:
    return np.swapaxes(x, -1, -2) @ x / x.shape[-2]


@pytest.mark.parametrize("kept", range(1, DEPTH + 1))
def test_the_loss_that_is_told_is_that_of_all_products(kept: int) -> None:
    q, k = drawn(30)
    bases = logit_bases(moments(q), moments(k))
    before = q @ np.swapaxes(k, -1, -2)
    after = (q @ bases.query[..., :kept]) @ np.swapaxes(k @ bases.key[..., :kept], -1, -2)
    lost = np.square(after - before).sum() / np.square(before).sum()
    assert bases.loss[DEPTH - kept] == pytest.approx(lost, rel=EXACT, abs=EXACT)
    told = bases.lost_share(moments(q), moments(k), kept)
    assert told == pytest.approx(lost, rel=EXACT, abs=EXACT)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_no_search_finds_better_bases(kept: int) -> None:
    q, k = (x[:1] for x in drawn(20, seed=1))
    bases = logit_bases(moments(q), moments(k))
    before = q[0] @ k[0].T

    def loss(flat: FloatArray) -> float:
        one, other = flat.reshape(2, DEPTH, kept)
        return float(np.square(q[0] @ one @ other.T @ k[0].T - before).sum())

    rng = np.random.default_rng(2)
    starts = [rng.standard_normal(2 * DEPTH * kept) for _ in range(2)]
    options = {"maxiter": 500, "ftol": 1e-13}
    found = min(minimize(loss, x, method="L-BFGS-B", options=options).fun for x in starts)
    own = float(bases.loss[DEPTH - kept] * np.square(before).sum())
    assert own <= found * (1 + SEARCHED)
    assert own == pytest.approx(found, rel=1e-3)  # and the search comes as far


def test_dimensions_that_no_data_reach_cost_nothing() -> None:
    q, k = drawn(30, seed=3)
    flat = np.eye(DEPTH)[:, :2] @ np.eye(DEPTH)[:2]
    bases = logit_bases(moments(q @ flat), moments(k))
    assert bases.loss[DEPTH - 2] == pytest.approx(0, abs=EXACT)
    after = (q @ flat @ bases.query[..., :2]) @ np.swapaxes(k @ bases.key[..., :2], -1, -2)
    np.testing.assert_allclose(after, q @ flat @ np.swapaxes(k, -1, -2), rtol=0, atol=1e-7)
    assert not bases.query[..., 2:].any()


def test_all_dimensions_change_nothing_for_any_data() -> None:
    bases = logit_bases(*(moments(x) for x in drawn(30)))
    whole = bases.query @ np.swapaxes(bases.key, -1, -2)
    np.testing.assert_allclose(whole, np.broadcast_to(np.eye(DEPTH), whole.shape), atol=1e-7)


def test_moments_without_energy_lose_nothing() -> None:
    bases = logit_bases(np.zeros((1, 3, 3)), np.zeros((1, 3, 3)))
    assert not bases.loss.any()
    assert bases.lost_share(np.zeros((1, 3, 3)), np.zeros((1, 3, 3)), 1) == 0
