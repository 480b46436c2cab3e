"""First-order prediction of the output error, against derivatives by hand and the true error."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import Array, initializer, model, normal, run, value
from onnx import helper

from onnx_lobs.evaluation.linear import predict_linearly
from onnx_lobs.graph.model import Model

CPU = "CPUExecutionProvider"
CURVATURE = 0.01  # of tanh over a tenth of a small way


def network(op: str, last: str = "w2") -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node(op, ["h"], ["z"]),
        helper.make_node("MatMul", ["z", last], ["y"]),
        helper.make_node("ArgMax", ["y"], ["best"], axis=1),
    ]
    weights = {"w1": normal(1, 6, 8), "b1": normal(2, 8), "w2": normal(3, 8, 5)}
    outputs = [value("y", [None, 5]), value("best", [None, 1], onnx.TensorProto.INT64)]
    return model(nodes, [value("x", [None, 6])], outputs, weights)


def changed(proto: onnx.ModelProto, size: float, *names: str) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if tensor.name in names:
            old = onnx.numpy_helper.to_array(tensor)
            new = (old + size * normal(9, *old.shape)).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(new, tensor.name))
    return copy


BATCHES: list[dict[str, Array]] = [{"x": normal(i, 20, 6)} for i in range(2)]
ALL = ("w1", "b1", "w2")


def predict(dense: onnx.ModelProto, pruned: onnx.ModelProto, **options: Any) -> Any:
    options = {"step": 0.1, **options}  # CURVATURE is that of a small step
    return predict_linearly(
        Model(dense, None), Model(pruned, None), BATCHES, provider=CPU, **options
    )


def errors(dense: onnx.ModelProto, pruned: onnx.ModelProto) -> float:
    pairs = [(run(dense, **f)["y"].astype("f8"), run(pruned, **f)["y"]) for f in BATCHES]
    change = sum(float(np.square(b - a).sum()) for a, b in pairs)
    return change / sum(float(np.square(a).sum()) for a, _ in pairs)


def test_prediction_is_the_derivative_along_the_change() -> None:
    dense = network("Tanh")
    pruned = changed(dense, 0.01, *ALL)
    w1, b1, w2 = (initializer(dense, n).astype("f8") for n in ALL)
    d1, c1, d2 = (initializer(pruned, n).astype("f8") for n in ALL)
    x = np.concatenate([feeds["x"] for feeds in BATCHES]).astype("f8")
    z = np.tanh(x @ w1 + b1)
    first = ((1 - z**2) * (x @ (d1 - w1) + c1 - b1)) @ w2
    second = z @ (d2 - w2)
    energy = np.square(z @ w2).sum()
    found = predict(dense, pruned, layers={"first": ["w1", "b1"], "last": ["w2"], "none": ["v"]})
    assert found.error == pytest.approx(np.square(first + second).sum() / energy, rel=CURVATURE)
    assert found.layers["first"] == pytest.approx(np.square(first).sum() / energy, rel=CURVATURE)
    assert found.layers["last"] == pytest.approx(np.square(second).sum() / energy, rel=CURVATURE)
    assert found.layers["none"] == 0
    assert found.independent == found.layers["first"] + found.layers["last"]


def test_prediction_is_close_to_the_error_of_a_small_change() -> None:
    dense = network("Tanh")
    pruned = changed(dense, 0.02, *ALL)
    assert predict(dense, pruned).error == pytest.approx(errors(dense, pruned), rel=0.1)


def test_a_full_step_is_the_error_itself() -> None:
    dense = network("Relu")
    pruned = changed(dense, 0.5, *ALL)
    assert predict(dense, pruned, step=1.0).error == pytest.approx(errors(dense, pruned), rel=1e-4)


def test_prediction_of_equal_models_is_zero() -> None:
    dense = network("Relu")
    assert predict(dense, dense).error == 0


def test_there_is_no_prediction_where_no_output_has_a_norm() -> None:
    dense = network("Relu")
    del dense.graph.output[0]
    assert predict(dense, changed(dense, 0.1, "w2")).error is None


def test_every_batch_is_told() -> None:
    dense = network("Relu")
    told: list[int] = []
    predict(dense, changed(dense, 0.1, "w2"), tick=told.append)
    assert told == [1, 1]
