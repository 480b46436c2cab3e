"""Quick prunings have the zeros that are asked for, and losses rise with them."""

from __future__ import annotations

import numpy as np
import pytest
from layer_tasks import COLUMNS, ROWS, inputs, split, task_of

from onnx_lobs.patterns import NM, Block, Pattern, Unstructured
from onnx_lobs.solvers.layerwise import (
    ErrorMeter,
    loss_curve,
    solve_layer,
    solve_quickly,
)

DAMPING = 0.01  # what it adds to an error; measured: .0015
WEIGHT = np.random.default_rng(1).standard_normal((1, ROWS, COLUMNS))


@pytest.mark.parametrize("pattern", [Unstructured(), NM(2, 4), Block(2, 1)], ids=str)
def test_quick_prunings_have_their_zeros_and_errors_behind_those_of_the_method(
    pattern: Pattern,
) -> None:
    n_prune = pattern.closest(WEIGHT.shape, 0.5)
    errors = np.zeros(3)
    for seed in range(2, 5):  # of one draw the order is chance
        task = task_of([split(inputs(seed))], WEIGHT, True, pattern=pattern, n_prune=n_prune)
        meter = ErrorMeter(task)
        found = solve_layer(task), solve_quickly(task, refit=True), solve_quickly(task)
        for outcome in found:
            assert int((outcome.weight == 0).sum()) == n_prune
            assert pattern.obeys(outcome.weight != 0)
        errors += [meter.relative_error(each.weight, each.bias_change) for each in found]
    assert (np.diff(errors) > 0).all()


def test_losses_rise_with_the_zeros_from_none_to_all() -> None:
    task = task_of([split(inputs(2))], WEIGHT, True)
    curve = loss_curve(task, np.linspace(0, 1, 9), ROWS)
    assert curve[0] == 0
    assert (np.diff(curve) > 0).all()
    assert 1 <= curve[-1] < 1 + DAMPING
