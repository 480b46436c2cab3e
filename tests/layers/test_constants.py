"""NaN and infinity among a model's own numbers: found when they are read, and named."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.constants import check_weights, odd_constants, with_finite_biases
from onnx_lobs.layers.find import LayerFilter, find_layers


def network(**changed: float) -> Model:
    weights = {"w": normal(0, 4, 4), "b": normal(1, 4), "v": normal(2, 4, 4), "m": normal(3, 1)}
    for name, bad in changed.items():
        weights[name].reshape(-1)[0] = bad
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="first"),
        helper.make_node("Add", ["h", "m"], ["a"], name="mask"),
        helper.make_node("MatMul", ["a", "v"], ["y"], name="second"),
    ]
    return Model(model(nodes, [value("x", [2, 4])], ["y"], weights), None)


def check(index: Model, **options: tuple[str, ...]) -> list[bool]:
    """Return which layers have a bias that may change."""
    layers = find_layers(index, LayerFilter(min_weights=0, **options))[0]
    check_weights(index, layers)
    return [layer.uses[0].bias is not None for layer in with_finite_biases(index, layers)]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"w": np.nan}, r"weight 'w' of 'first' holds NaN \(1 of 16 values\); repair .*--exclude"),
        ({"v": -np.inf}, r"weight 'v' of 'second' holds infinity \(1 of 16"),
        ({"b": np.nan}, r"bias 'b' of 'first' holds NaN"),
        ({"b": np.inf}, r"bias 'b' of 'first' holds infinity \(1 of 4 values\)"),
    ],
)
def test_weights_and_biases_that_are_no_numbers_are_named(
    changed: dict[str, float], words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        check(network(**changed))


def test_a_bias_that_rules_a_class_out_and_layers_left_as_they_are_pass() -> None:
    assert check(network()) == [True, False]
    assert check(network(b=-np.inf)) == [False, False]
    assert check(network(w=np.nan), exclude=("first",)) == [False]


def test_constants_that_poison_a_network_are_told_and_masks_are_not() -> None:
    assert odd_constants(network(m=-np.inf)) == []
    assert odd_constants(network(m=np.nan)) == [
        "'m', which Add 'mask' reads, holds NaN (1 of 1 values)"
    ]
    (weight,) = odd_constants(network(v=np.inf))
    assert weight == "'v', which MatMul 'second' reads, holds infinity (1 of 16 values)"
