"""The number of samples says which weights may move."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.run.retraining.moving import ALL, AUTO, BIASES, OBSERVED, chosen_move, moving_weights
from onnx_lobs.run.retraining.parameters import MovingTensor


def weight(name: str, kept: int) -> MovingTensor:
    """Return a weight of which so many values are kept."""
    return MovingTensor(name, np.ones(1000, np.float32), np.arange(1000) < kept)


WEIGHTS = (weight("wide", 900), weight("narrow", 100))


@pytest.mark.parametrize(
    ("samples", "move"),
    [(100, BIASES), (511, BIASES), (512, OBSERVED), (999, OBSERVED), (1000, ALL)],
)
def test_few_samples_move_biases_and_many_move_all(samples: int, move: str) -> None:
    assert chosen_move(AUTO, WEIGHTS, samples) == move


@pytest.mark.parametrize("move", [BIASES, OBSERVED, ALL])
def test_what_was_asked_for_is_done(move: str) -> None:
    assert chosen_move(move, WEIGHTS, 1) == move


def test_layers_move_that_have_ten_observations_for_each_weight() -> None:
    moved = moving_weights(OBSERVED, WEIGHTS, 100, {"wide": 89, "narrow": 10})
    assert [w.name for w in moved] == ["narrow"]
    assert moving_weights(BIASES, WEIGHTS, 100, {}) == ()
    assert moving_weights(ALL, WEIGHTS, 100, {}) == WEIGHTS
