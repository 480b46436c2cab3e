"""The gradient of a weight is what a change of each of its numbers does to the outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import initializer, normal, one_node, run
from onnx import ModelProto, numpy_helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import Model
from onnx_lobs.layers import weight_gradient as module
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.weight_gradient import can_sum, weight_gradient

SUMS = 2e-5  # of the largest: float32 sums of up to 200 terms, in two orders
CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "pixels": ("Conv", (6, 4, 1, 1), (3, 4, 5, 4), {}),
    "pixels of groups": ("Conv", (6, 2, 1, 1), (3, 4, 5, 4), {"group": 2}),
    "every other pixel": ("Conv", (6, 4, 1, 1), (3, 4, 5, 4), {"strides": [2, 2]}),
    "pixels and a border": ("Conv", (6, 4, 1, 1), (3, 4, 5, 4), {"pads": [1, 0, 0, 1]}),
    "one channel a group": ("Conv", (4, 1, 3, 2), (3, 4, 6, 5), {"group": 4, "pads": [1, 1, 0, 0]}),
    "one channel a group, steps": (
        "Conv", (4, 1, 3), (3, 4, 9), {"group": 4, "strides": [2], "dilations": [2]},
    ),
    "two filters of one channel": ("Conv", (8, 1, 3), (3, 4, 9), {"group": 4}),
    "windows": ("Conv", (6, 2, 3, 2), (3, 4, 6, 5), {"group": 2, "pads": [1, 0, 2, 1]}),
    "backwards": ("ConvTranspose", (4, 3, 3, 2), (3, 4, 4, 3), {"strides": [2, 1]}),
    "backwards, one channel a group": (
        "ConvTranspose", (4, 1, 3, 2), (3, 4, 4, 3), {"group": 4, "strides": [2, 1]},
    ),
    "backwards, pixels": ("ConvTranspose", (4, 3, 1, 1), (3, 4, 4, 3), {"group": 2}),
    "outputs first": ("Gemm", (5, 4), (7, 4), {"transB": 1}),
    "inputs first": ("Gemm", (4, 5), (7, 4), {"alpha": 0.5}),
    "a product": ("MatMul", (4, 5), (2, 3, 4), {}),
}  # fmt: skip


def with_weight(proto: ModelProto, weight: Array) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(proto)
    copy.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight.astype(np.float32), "w"))
    return copy


@pytest.mark.parametrize("most_bytes", [1, module.MOST_BYTES])
@pytest.mark.parametrize("case", CASES)
def test_it_is_what_each_number_adds_to_the_outputs(
    case: str, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", most_bytes)
    op, shape, size, attributes = CASES[case]
    proto, x = (
        one_node(op, {"w": normal(1, *shape)}, rank=len(size), **attributes),
        normal(2, *size),
    )
    y = run(proto, x=x)["y"]
    slope = normal(3, *y.shape)
    ((layer,), _) = find_layers(Model(proto, None), LayerFilter(depthwise=True))
    assert can_sum(layer)
    (use,) = layer.uses
    found = weight_gradient(layer, use, x, slope)
    # outputs are linear in the weight: those of each unit weight tell
    expected = np.empty(shape)
    for place in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[place] = 1
        out = run(with_weight(proto, unit), x=x)["y"]
        expected[place] = (slope.astype(np.float64) * out).sum()
    assert found.shape == initializer(proto, "w").shape
    assert np.abs(found - expected).max() <= SUMS * np.abs(expected).max()
