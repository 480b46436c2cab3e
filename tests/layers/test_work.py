"""Multiplications of layers, against the products that onnxruntime sums up."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import model, run, value
from onnx import helper

from onnx_lobs.graph.inferred_shapes import infer_shapes
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.work import multiplications, share_of_observations

SIZE = (5, 6)


def counted(op: str, shape: tuple[int, ...], **about: object) -> tuple[int | None, float, float]:
    """Return the multiplications that are told, as a share too, and those of onnxruntime.

    Of ones only, an output is the number of products that it sums up.
    """
    nodes = [helper.make_node(op, ["x", "w"], ["y"], **about)]
    weight = {"w": np.ones(shape, np.float32)}
    proto = model(nodes, [value("x", [2, 4, *SIZE])], ["y"], weight, opset=17)
    (layer,), _ = find_layers(Model(proto, None), LayerFilter(min_weights=0))
    shapes, samples = infer_shapes(proto)
    products = float(run(proto, x=np.ones((2, 4, *SIZE), np.float32))["y"].sum()) / 2
    return multiplications(layer, shapes, samples), share_of_observations(layer), products


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (1, 2), (2, 3)])
def test_each_input_of_a_transposed_convolution_meets_each_weight_once(
    groups: int, stride: int
) -> None:
    shape = (4, 6 // groups, 3, 2)
    count, share, products = counted("ConvTranspose", shape, group=groups, strides=[stride] * 2)
    assert count == products
    assert share == 1 / stride**2


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (1, 2), (2, 3)])
def test_a_convolution_meets_its_weights_at_each_output(groups: int, stride: int) -> None:
    shape = (6, 4 // groups, 3, 2)
    count, share, products = counted("Conv", shape, group=groups, strides=[stride] * 2)
    assert count == products
    assert share == 1
