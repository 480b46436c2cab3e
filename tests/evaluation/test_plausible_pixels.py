"""Networks are most at home with inputs of the moments and the kind that they were trained on."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs.evaluation.plausible_pixels import (
    KeptMoments,
    fit_to_moments,
    informed,
    kept_moments,
)
from onnx_lobs.graph.model import Model

LN2 = float(np.log(2))
NO_CLASS = 1e-6  # what logits 20 apart leave to the other class


def kept(mean: float = 0.0, variance: float = 1.0) -> KeptMoments:
    return KeptMoments("x", np.array([mean]), np.array([variance]))


def seen(mean: float, deviation: float) -> np.ndarray:
    """Values of one channel with exactly these moments."""
    return np.array([mean - deviation, mean + deviation]).reshape(2, 1, 1, 1)


def test_the_fit_is_the_divergence_of_two_normal_distributions() -> None:
    assert fit_to_moments([kept()], {"x": [seen(0, 1)]}) == pytest.approx(0)
    expected = -0.5 * (np.log(4 / 9) + (9 + 25) / 4 - 1)  # of N(5, 9) from N(0, 4)
    assert fit_to_moments([kept(0, 4)], {"x": [seen(5, 3)]}) == pytest.approx(expected)


def test_batches_count_together() -> None:
    parts = [seen(0, 1)[:1], seen(0, 1)[1:]]
    assert fit_to_moments([kept()], {"x": parts}) == pytest.approx(0)


def test_what_normalisations_have_kept_is_found() -> None:
    nodes = [
        helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"]),
        helper.make_node("BatchNormalization", ["y", "s", "b", "m", "v"], ["z"]),
    ]
    weights = {"s": normal(1, 2), "b": normal(2, 2), "m": normal(3, 2), "v": normal(4, 2) ** 2}
    shape = ["N", 2, 4, 4]
    proto = model(nodes, [value("x", shape)], [value("z", shape)], weights)
    found = kept_moments(Model(proto, None))
    assert [one.value for one in found] == ["x", "y"]
    np.testing.assert_allclose(found[0].mean, weights["m"], rtol=1e-7)
    np.testing.assert_allclose(found[1].variance, weights["v"], rtol=1e-7)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([[20, 0], [0, 20]], LN2),  # sure, and of another class each time
        ([[20, 0], [20, 0]], 0),  # sure of one class
        ([[0, 0], [0, 0]], 0),  # unsure
        ([[1, 0], [0, 1]], LN2),  # probabilities
        ([[[20, 0], [0, 20]]], LN2),  # a sequence of two
    ],
)
def test_a_sample_tells_most_where_the_network_is_sure_of_different_classes(
    scores: list[object], expected: float
) -> None:
    assert informed([{"y": np.array(scores, np.float32)}]) == pytest.approx(expected, abs=NO_CLASS)


def test_batches_are_looked_at_together_and_maps_by_their_channels() -> None:
    one, other = np.zeros((1, 2, 3, 3), np.float32), np.zeros((1, 2, 3, 3), np.float32)
    one[:, 0], other[:, 1] = 20, 20
    assert informed([{"y": one}, {"y": other}]) == pytest.approx(LN2, abs=NO_CLASS)


@pytest.mark.parametrize(
    "output", [np.zeros((2, 1), np.float32), np.zeros(3, np.float32), np.zeros((2, 3), np.int64),
               np.full((2, 3), np.nan, np.float32)]
)  # fmt: skip
def test_outputs_that_choose_nothing_tell_nothing(output: np.ndarray) -> None:
    assert informed([{"y": output}]) is None
