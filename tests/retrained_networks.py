"""A small network, a pruned copy, and data, for tests of retraining."""

from __future__ import annotations

import numpy as np
import onnx
from build_onnx import model, normal, value
from onnx import helper
from onnx import numpy_helper as nh

from onnx_lobs.arrays import Array

NODE = helper.make_node
N = 640
X = normal(1, N, 2, 8, 8)


def network(*, softmax: bool = False, transposed: bool = False) -> onnx.ModelProto:
    """Return convolution, normalisation, pooling and a product: every kind of tensor that moves."""
    out = "z" if softmax else "y"
    weight = normal(4, 8, 5) / 2
    nodes = [
        NODE("Conv", ["x", "w1", "b1"], ["c"], name="conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        NODE("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"]),
        NODE("Relu", ["n"], ["r"]),
        NODE("Conv", ["r", "w2", "b2"], ["d"], name="wide", group=2),
        NODE("Relu", ["d"], ["e"]),
        NODE("GlobalAveragePool", ["e"], ["p"]),
        NODE("Flatten", ["p"], ["f"]),
        *([NODE("Transpose", ["w3t"], ["w3"], perm=[1, 0])] if transposed else []),
        NODE("MatMul", ["f", "w3"], ["u"], name="last"),
        NODE("Add", ["u", "b3"], [out]),
        *([NODE("Softmax", ["z"], ["y"])] if softmax else []),
    ]
    weights = {
        "w1": normal(2, 4, 2, 3, 3) / 3,
        "b1": normal(5, 4) / 3,
        "s": np.abs(normal(6, 4)) + 0.5,
        "t": normal(7, 4) / 2,
        "m": normal(8, 4) / 9,
        "v": np.abs(normal(9, 4)) + 0.5,
        "w2": normal(3, 8, 2, 2, 2) / 2,
        "b2": normal(10, 8) / 9,
        **({"w3t": weight.T.copy()} if transposed else {"w3": weight}),
        "b3": normal(11, 5) / 9,
    }
    return model(nodes, [value("x", ["n", 2, 8, 8])], ["y"], weights)


def pruned(proto: onnx.ModelProto, share: float = 0.5) -> onnx.ModelProto:
    """Return a copy in which the smallest numbers of every weight are zero."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if tensor.name.startswith("w"):
            values = nh.to_array(tensor).copy()
            values[np.abs(values) < np.quantile(np.abs(values), share)] = 0
            tensor.CopyFrom(nh.from_array(values, tensor.name))
    return copy


def tensors(proto: onnx.ModelProto) -> dict[str, Array]:
    """Return the initializers by name."""
    return {tensor.name: nh.to_array(tensor) for tensor in proto.graph.initializer}
