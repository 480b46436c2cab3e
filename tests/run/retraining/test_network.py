"""Losses and gradients of a network in training are the differences of its loss."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import run
from retrained_networks import X, network, pruned

from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.layers.find import find_layers
from onnx_lobs.run.retraining.aims import Aim
from onnx_lobs.run.retraining.network import TrainedNetwork
from onnx_lobs.run.retraining.parameters import find_small, find_weights

CPU = "CPUExecutionProvider"
STEP, ROUGH = 1e-2, 2e-2  # float32 differences of a loss with corners, of what moves most
FEEDS = {"x": X[:16]}


def trained(*, transposed: bool = False) -> tuple[TrainedNetwork, dict[str, np.ndarray]]:
    """Return a network whose every tensor moves, and its values."""
    proto, _ = to_executable(pruned(network(transposed=transposed)), None, CPU)
    model = Model(proto, None)
    layers, _ = find_layers(model)
    moved = (*find_weights(model, layers), *find_small(model, layers))
    made = TrainedNetwork(model, [Aim("y", "distance", None, "y", 2.0)], moved, CPU)
    return made, {tensor.name: tensor.start for tensor in moved}


def test_weights_biases_and_normalisations_are_found() -> None:
    made, _ = trained()
    assert [t.name for t in made.tensors] == ["w1", "w2", "w3", "b1", "s", "t", "b2", "b3"]


@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_are_the_differences_of_the_loss(transposed: bool) -> None:
    made, values = trained(transposed=transposed)
    target = run(network(transposed=transposed), **FEEDS)["y"]
    loss, gradients = made.step(FEEDS, [target], values)
    assert loss == pytest.approx(made.loss(FEEDS, [target], values))
    for tensor in made.tensors:
        direction = gradients[tensor.name] / np.abs(gradients[tensor.name]).max()
        ends = [
            made.loss(
                FEEDS, [target], {**values, tensor.name: tensor.start + sign * STEP * direction}
            )
            for sign in (1, -1)
        ]
        slope = float((gradients[tensor.name] * direction).sum())
        assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(slope, rel=ROUGH)


def test_the_loss_is_half_the_weighted_squared_distance_of_a_sample() -> None:
    made, values = trained()
    y, target = (run(p, **FEEDS)["y"] for p in (pruned(network()), network()))
    expected = 2.0 * 0.5 * ((y - target) ** 2).sum() / 16
    assert made.loss(FEEDS, [target], values) == pytest.approx(expected, rel=1e-4)


def test_zeros_have_no_gradient() -> None:
    made, values = trained()
    _, gradients = made.step(FEEDS, [run(network(), **FEEDS)["y"]], values)
    for name in ("w1", "w2", "w3"):
        assert not gradients[name][values[name] == 0].any()
        assert gradients[name][values[name] != 0].all()


def test_a_batch_of_another_shape_is_taken_too() -> None:
    made, values = trained()
    few = {"x": X[:3]}
    assert made.loss(few, [run(network(), **few)["y"]], values) > 0
