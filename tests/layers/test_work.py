"""Multiplications of layers, against a count of the products that a loop makes."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs.graph.inferred_shapes import infer_shapes
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.work import multiplications, share_of_observations

SIZE = (5, 6)


def convolution(op: str, shape: tuple[int, ...], **about: object) -> tuple[int | None, float]:
    nodes = [helper.make_node(op, ["x", "w"], ["y"], **about)]
    proto = model(nodes, [value("x", [2, 4, *SIZE])], ["y"], {"w": normal(1, *shape)}, opset=17)
    (layer,), _ = find_layers(Model(proto, None), LayerFilter(min_weights=0))
    shapes, samples = infer_shapes(proto)
    return multiplications(layer, shapes, samples), share_of_observations(layer)


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (1, 2), (2, 3)])
def test_each_input_of_a_transposed_convolution_meets_each_weight_once(
    groups: int, stride: int
) -> None:
    shape = (4, 6 // groups, 3, 2)
    count, share = convolution("ConvTranspose", shape, group=groups, strides=[stride] * 2)
    pairs = 0  # of an input and a weight, as the definition of the operator sums them
    for channel in range(4):
        pairs += np.prod(SIZE) * normal(1, *shape)[channel].size
    assert count == pairs
    assert share == 1 / stride**2


def test_a_convolution_meets_its_weights_at_each_output() -> None:
    count, share = convolution("Conv", (6, 4, 3, 2), strides=[2, 2])
    assert count == 6 * 4 * 3 * 2 * (2 * 3)
    assert share == 1
