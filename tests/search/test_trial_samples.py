"""Samples that fit and samples that score: never the same where there are two batches."""

from __future__ import annotations

import numpy as np
import pytest
from budget_networks import chain, data

from onnx_lobs.data.batches import Batches
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.log import Log
from onnx_lobs.run.setup import open_run
from onnx_lobs.run.slots import layer_key
from onnx_lobs.search import trial_samples
from onnx_lobs.search.trial_samples import (
    FINAL_SCORED,
    LEAST_SCORED,
    MOST_SCORED,
    forward_flops,
    samples_scored,
    split,
    split_finally,
    trial_flops,
)


def batches(n: int = 320, size: int = 16) -> Batches:
    x = data(n)["x"]
    sizes = tuple(len(x[i : i + size]) for i in range(0, n, size))
    return Batches(lambda i: {"x": x[size * i : size * (i + 1)]}, sizes, "made up")


def share_none(fit: Batches, held: Batches) -> bool:
    first, second = (np.concatenate([feeds["x"] for feeds in part]) for part in (fit, held))
    return not (first[:, None] == second[None]).all(axis=2).any()


def test_samples_that_score_are_not_those_that_fit() -> None:
    fit, held = split(batches(), 64, 64)
    assert fit.n_samples == held.n_samples == 64
    assert share_none(fit, held)


def test_few_samples_fit_and_more_score_within_half_of_the_data() -> None:
    fit, held = split(batches(), 16, 96)
    assert fit.n_samples == 16
    assert held.n_samples == 96
    assert share_none(fit, held)
    fit, held = split(batches(), 10 * batches().n_samples, 10 * batches().n_samples)
    assert fit.n_samples == held.n_samples == batches().n_samples // 2


def test_one_batch_both_fits_and_scores() -> None:
    one = batches(size=512)
    assert split(one, 64, 64) == split_finally(one) == (one, one)


def test_where_a_forward_pass_is_cheap_half_of_the_data_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = PruneConfig(sparsity=0.5, min_weights=8)
    setup, _ = open_run(chain(), data(), None, config, Log())
    one = dict.fromkeys(map(layer_key, setup.layers), 1.0)
    weights = sum(layer.size for layer in setup.layers)
    assert forward_flops(setup, one) == 2 * weights  # a observation a sample
    assert samples_scored(setup, one, 16) == 160  # of 320
    monkeypatch.setattr(trial_samples, "SCORED_FLOPS", 100 * 2.0 * weights)
    assert samples_scored(setup, one, 16) == 100
    monkeypatch.setattr(trial_samples, "SCORED_FLOPS", 2.0 * weights)
    counts = [samples_scored(setup, one, n) for n in (16, 100, 1000)]
    assert counts == [LEAST_SCORED, 100, MOST_SCORED]
    # Grams of 16 samples, one factor of each layer, SparseGPT, and 100 passes
    d = np.array([layer.layout.columns for layer in setup.layers], dtype=float)
    sizes = np.array([layer.size for layer in setup.layers])
    expected = (16 * d**2 + d**3 + 2 * sizes * d + 100 * 2 * sizes).sum()
    assert trial_flops(setup, one, 16, 100) == expected


@pytest.mark.parametrize(("n", "scored"), [(2, 1), (3, 1), (5, 1), (6, 2), (20, 5), (23, 6)])
def test_finalists_are_fitted_to_most_of_the_data(n: int, scored: int) -> None:
    fit, held = split_finally(batches(16 * n))
    assert (len(fit), len(held)) == (n - scored, scored)
    assert abs(scored - FINAL_SCORED * n) <= 0.5
    assert share_none(fit, held)
