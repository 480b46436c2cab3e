"""The network and data that tests of budgets share."""

from __future__ import annotations

import numpy as np
from build_onnx import Array, model, normal, value
from onnx import ModelProto, helper

NODE = helper.make_node


def chain(wide: bool = False) -> ModelProto:
    """Three Gemms; of the first one's weights only four in each row matter much."""
    hidden, inner = (120, 60) if wide else (12, 10)
    nodes = [
        NODE("Gemm", ["x", "w1", "b1"], ["h"], name="first", transB=1),
        NODE("Relu", ["h"], ["r"]),
        NODE("Gemm", ["r", "w2", "b2"], ["g"], name="second", transB=1),
        NODE("Relu", ["g"], ["s"]),
        NODE("Gemm", ["s", "w3", "b3"], ["y"], name="third", transB=1),
    ]
    matters = np.where(np.arange(24) < 4, 1, 0.01).astype(np.float32)
    weights = {
        "w1": normal(1, hidden, 24) * matters, "b1": normal(2, hidden),
        "w2": normal(3, inner, hidden), "b2": normal(4, inner),
        "w3": normal(5, 10, inner), "b3": normal(6, 10),
    }  # fmt: skip
    return model(nodes, [value("x", ["n", 24])], ["y"], weights)


def data(n: int = 320, seed: int = 0) -> dict[str, Array]:
    """Return inputs of :func:`chain`."""
    return {"x": normal(seed, n, 24)}
