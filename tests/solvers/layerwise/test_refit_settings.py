"""What was held out chooses the mixture of targets that is best on it."""

from __future__ import annotations

import numpy as np
import pytest
from layer_tasks import COLUMNS, ROWS, inputs, moments_of, split, task_of

from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments
from onnx_lobs.solvers.layerwise import solve_layer


def test_a_clean_dense_target_is_followed_and_a_noisy_one_is_shrunk() -> None:
    rng = np.random.default_rng(14)
    weight = rng.standard_normal((1, ROWS, COLUMNS))
    x = inputs(15)
    shift = np.eye(COLUMNS) + 0.2 * rng.standard_normal((COLUMNS, COLUMNS))
    clean = task_of([split(x, (x @ shift) @ weight.transpose(0, 2, 1))], weight, True)
    few = inputs(16, samples=30)
    noise = few + 30 * rng.standard_normal(few.shape)
    noisy = task_of([split(few, noise @ weight.transpose(0, 2, 1))], weight, True)
    follow, shrink = solve_layer(clean).target, solve_layer(noisy).target
    assert follow is not None
    assert shrink is not None
    assert follow > 0.95
    assert shrink < 0.5


def test_the_mixture_is_the_best_of_a_fine_grid_on_the_held_out_part() -> None:
    rng = np.random.default_rng(17)
    weight = rng.standard_normal((1, ROWS, COLUMNS))
    x = inputs(18, samples=120)
    y = (x + 4 * rng.standard_normal(x.shape)) @ weight.transpose(0, 2, 1)
    outcome = solve_layer(task_of([split(x, y)], weight, False, damp=1e-3))
    assert outcome.held_error is not None
    mask = outcome.weight != 0
    fit, held = slice(0, 108), slice(108, 120)
    lam = 1e-3 * np.trace(x[0, fit].T @ x[0, fit]) / COLUMNS
    best = np.inf
    for mix in np.linspace(0, 1, 401):
        aim = mix * y[0, fit] + (1 - mix) * x[0, fit] @ weight[0].T
        value = np.zeros((ROWS, COLUMNS))
        for row in range(ROWS):
            on = mask[0, row]
            gram = x[0, fit].T @ x[0, fit] + lam * np.eye(COLUMNS)
            right = x[0, fit].T @ aim[:, row] + lam * weight[0, row]
            value[row, on] = np.linalg.solve(gram[np.ix_(on, on)], right[on])
        out = x[0, held] @ value.T
        best = min(best, np.square(out - y[0, held]).sum() / np.square(y[0, held]).sum())
    # the grid's spacing of 1/400 costs at most a second-order term
    assert outcome.held_error == pytest.approx(best, rel=1e-4)


def test_nothing_held_out_gives_no_held_error() -> None:
    weight = np.random.default_rng(19).standard_normal((1, ROWS, COLUMNS))
    x = inputs(20)
    empty = Moments(Gram(1, COLUMNS))
    assert solve_layer(task_of([(moments_of(x), empty)], weight, True)).held_error is None
