"""The axis of a stored weight on which every output has a place of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import model, normal, one_node, value
from onnx import helper

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.output_axis import output_axis


def only_layer(proto: Any) -> Layer:
    (layer,), _ = find_layers(Model(proto, None), LayerFilter(depthwise=True))
    return layer


CASES = [
    ("MatMul", (6, 4), {}, 1),
    ("Gemm", (6, 4), {}, 1),
    ("Gemm", (4, 6), {"transB": 1}, 0),
    ("Conv", (8, 3, 2, 2), {}, 0),
    ("Conv", (8, 2, 2, 2), {"group": 4}, 0),
    ("Conv", (8, 1, 3, 3), {"group": 8}, 0),
    ("ConvTranspose", (4, 6, 2, 2), {}, 1),
    ("ConvTranspose", (4, 6, 2, 2), {"group": 2}, 1),
    ("MatMul", (2, 6, 4), {}, 2),
]


@pytest.mark.parametrize(("op", "shape", "attributes", "axis"), CASES)
def test_it_is_the_axis_of_the_outputs(
    op: str, shape: tuple[int, ...], attributes: dict[str, int], axis: int
) -> None:
    rank = 4 if len(shape) == 4 else len(shape)
    layer = only_layer(one_node(op, {"w": normal(0, *shape)}, rank=rank, **attributes))
    found = output_axis(layer, shape, 13)
    assert (found.axis, found.count) == (axis, shape[axis])
    # each row of the layer's matrix holds one place of that axis
    places = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    matrix = layer.matrix(np.broadcast_to(places, shape).astype(np.float32))
    np.testing.assert_array_equal(matrix, np.broadcast_to(found.of_row[:, :, None], matrix.shape))


def test_behind_a_transpose_it_is_the_axis_that_is_stored() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    proto = model(nodes, [value("x", [None, 6])], ["y"], {"w": normal(0, 4, 6)})
    assert output_axis(only_layer(proto), (4, 6), 13).axis == 0


def test_before_operator_set_13_there_is_one_scale() -> None:
    layer = only_layer(one_node("MatMul", {"w": normal(0, 6, 4)}))
    found = output_axis(layer, (6, 4), 12)
    assert (found.axis, found.count, found.of_row.any()) == (None, 1, False)


def test_a_vector_has_one_scale() -> None:
    layer = only_layer(one_node("MatMul", {"w": normal(0, 6)}))
    assert output_axis(layer, (6,), 13).axis is None
