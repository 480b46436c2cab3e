"""The zeros of quantised weights: values equal to what stands for 0, in every form of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from build_onnx import Array, value
from onnx import ModelProto, helper

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers
from onnx_lobs.run.file_weights import count_weights

RNG = np.random.default_rng(7)
VALUES = RNG.integers(-2, 3, (6, 8)).astype(np.int8)
PER_ROW = RNG.integers(-2, 3, 6).astype(np.int8)
PER_COLUMN = RNG.integers(-2, 3, 8).astype(np.int8)
BLOCKS = RNG.integers(-2, 3, (3, 8)).astype(np.int8)  # of two rows


def dequantised(zero_point: Array | None, axis: int = 1, block: int = 0) -> ModelProto:
    scale = np.ones((), np.float32) if zero_point is None else np.ones(zero_point.shape, np.float32)
    weights = {"q": VALUES, "s": scale} | ({} if zero_point is None else {"z": zero_point})
    options = {"axis": axis} | ({"block_size": block} if block else {})
    nodes = [
        helper.make_node("DequantizeLinear", list(weights), ["w"], **options),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    return made(nodes, weights)


def made(nodes: list[onnx.NodeProto], weights: dict[str, Array]) -> ModelProto:
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [value("x", ["n", 6])], [value("y", ["n", 8])], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def integer(zero_point: Array | None) -> ModelProto:
    weights = {"q": VALUES} | ({} if zero_point is None else {"z": zero_point})
    inputs = ["x", "q", *([] if zero_point is None else ["", "z"])]
    return made([helper.make_node("MatMulInteger", inputs, ["y"])], weights)


def counted(proto: ModelProto) -> tuple[int, int | None]:
    index = Model(proto, None)
    layers, skips = find_layers(index)
    found = count_weights(index, layers, skips, zeros=True)
    return found.quantised, found.quantised_zeros


@pytest.mark.parametrize(
    ("proto", "zeros"),
    [
        (dequantised(None), VALUES == 0),
        (dequantised(np.int8(1)[...]), VALUES == 1),
        (dequantised(PER_COLUMN), VALUES == PER_COLUMN),
        (dequantised(PER_COLUMN, axis=-1), VALUES == PER_COLUMN),
        (dequantised(PER_ROW, axis=0), PER_ROW[:, None] == VALUES),
        (dequantised(BLOCKS, axis=0, block=2), BLOCKS.repeat(2, 0) == VALUES),
        (integer(None), VALUES == 0),
        (integer(np.int8(-1)[...]), VALUES == -1),
        (integer(PER_COLUMN), VALUES == PER_COLUMN),
    ],
    ids=[
        "none", "one", "by column", "by last axis", "by row", "by block", "integer",
        "integer, one", "integer, by column",
    ],
)  # fmt: skip
def test_quantised_zeros_are_values_at_the_zero_point(proto: ModelProto, zeros: Array) -> None:
    assert counted(proto) == (VALUES.size, int(zeros.sum()))


def test_zeros_are_not_read_where_nobody_asks() -> None:
    index = Model(integer(None), None)
    layers, skips = find_layers(index)
    assert count_weights(index, layers, skips).quantised_zeros is None
