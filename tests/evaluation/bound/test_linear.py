"""First-order prediction of the output error, against derivatives by hand and the true error."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import Array, initializer, model, normal, run, value
from onnx import helper

from onnx_lobs.evaluation.bound.linear import predict_linearly
from onnx_lobs.graph.model import Model

CPU = "CPUExecutionProvider"
CURVATURE = 0.01  # of tanh over a tenth of a small way
ROUNDING = 1e-4  # float32 changes of a tenth of values of 1, squared


def network(op: str) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node(op, ["h"], ["z"]),
        helper.make_node("MatMul", ["z", "w2"], ["y"]),
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


def predict(dense: onnx.ModelProto, pruned: onnx.ModelProto, **options: Any) -> float | None:
    options = {"step": 0.1, **options}  # CURVATURE is that of a small step
    return predict_linearly(
        Model(dense, None), Model(pruned, None), BATCHES, provider=CPU, **options
    )


def errors(dense: onnx.ModelProto, pruned: onnx.ModelProto) -> float:
    pairs = [(run(dense, **f)["y"].astype("f8"), run(pruned, **f)["y"]) for f in BATCHES]
    change = sum(float(np.square(b - a).sum()) for a, b in pairs)
    return change / sum(float(np.square(a).sum()) for a, _ in pairs)


def test_prediction_is_the_derivative_times_the_errors_on_the_pruned_networks_inputs() -> None:
    dense = network("Tanh")
    pruned = changed(dense, 0.01, *ALL)
    w1, b1, w2 = (initializer(dense, n).astype("f8") for n in ALL)
    d1, c1, d2 = (initializer(pruned, n).astype("f8") for n in ALL)
    x = np.concatenate([feeds["x"] for feeds in BATCHES]).astype("f8")
    z, pruned_z = np.tanh(x @ w1 + b1), np.tanh(x @ d1 + c1)
    first = ((1 - z**2) * (x @ (d1 - w1) + c1 - b1)) @ w2
    second = pruned_z @ (d2 - w2)
    expected = np.square(first + second).sum() / np.square(z @ w2).sum()
    assert predict(dense, pruned) == pytest.approx(expected, rel=CURVATURE)


def test_prediction_is_close_to_the_error_of_a_small_change() -> None:
    dense = network("Tanh")
    pruned = changed(dense, 0.02, *ALL)
    assert predict(dense, pruned) == pytest.approx(errors(dense, pruned), rel=0.1)


@pytest.mark.parametrize("step", [0.1, 0.5])
def test_prediction_of_a_linear_network_is_exact_however_large_the_change(step: float) -> None:
    dense = network("Identity")
    pruned = changed(dense, 1.0, *ALL)
    expected = errors(dense, pruned)
    assert expected > 0.5
    assert predict(dense, pruned, step=step) == pytest.approx(expected, rel=ROUNDING)


def test_a_full_step_is_the_error_itself() -> None:
    dense = network("Relu")
    pruned = changed(dense, 0.5, *ALL)
    assert predict(dense, pruned, step=1.0) == pytest.approx(errors(dense, pruned), rel=ROUNDING)


def test_constants_that_nodes_make_are_followed() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
    ]
    weights = {"w": normal(1, 5, 6)}
    dense = model(nodes, [value("x", [None, 6])], [value("y", [None, 5])], weights)
    pruned = changed(dense, 0.3, "w")
    assert predict(dense, pruned) == pytest.approx(errors(dense, pruned), rel=ROUNDING)


def test_layers_of_several_outputs_and_other_types() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=onnx.TensorProto.DOUBLE),
        helper.make_node("MatMul", ["wide", "w"], ["h"]),
        helper.make_node("Split", ["h"], ["a", "b"], axis=1),
        helper.make_node("Add", ["b", "bias"], ["c"]),
        helper.make_node("TopK", ["c", "k"], ["most", "places"], axis=1),
        helper.make_node("LayerNormalization", ["a", "scale"], ["y", "mean"], axis=1),
    ]
    weights = {
        "w": normal(1, 6, 8).astype("f8"),
        "bias": normal(2, 4).astype("f8"),
        "k": np.array([4]),
    }
    kind = onnx.TensorProto.DOUBLE
    shapes = {"y": [None, 4], "most": [None, 4], "mean": [None, 1]}
    kinds = {"mean": onnx.TensorProto.FLOAT}
    outputs = [value(n, shape, kinds.get(n, kind)) for n, shape in shapes.items()]
    weights["scale"] = normal(3, 4).astype("f8")
    dense = model(nodes, [value("x", [None, 6])], outputs, weights)
    pruned = onnx.ModelProto()
    pruned.CopyFrom(dense)
    for tensor in pruned.graph.initializer:
        if tensor.name in ("w", "bias", "scale"):
            old = onnx.numpy_helper.to_array(tensor)
            new = old + 1e-3 * normal(9, *old.shape)
            tensor.CopyFrom(onnx.numpy_helper.from_array(new, tensor.name))
    before, after = (
        [np.concatenate([run(m, **f)[n] for f in BATCHES]) for n in shapes] for m in (dense, pruned)
    )
    expected = sum(np.square(b - a).sum() for a, b in zip(before, after, strict=True))
    expected /= sum(np.square(a).sum() for a in before)
    assert predict(dense, pruned) == pytest.approx(expected, rel=CURVATURE)


def test_there_is_no_prediction_of_layers_inside_branches() -> None:
    branches = [
        helper.make_graph(
            [helper.make_node("MatMul", ["z", name], [f"{name}_y"])], name, [],
            [value(f"{name}_y", [None, 5])],
        )
        for name in ("w2", "w3")
    ]  # fmt: skip
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["z"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    weights = {n: initializer(network("Relu"), n) for n in ALL}
    weights |= {"w3": normal(4, 8, 5), "yes": np.array(True)}
    dense = model(nodes, [value("x", [None, 6])], [value("y", [None, 5])], weights)
    assert predict(dense, changed(dense, 0.1, "w2")) is None
    expected = errors(dense, changed(dense, 0.1, "w1"))
    assert predict(dense, changed(dense, 0.1, "w1")) == pytest.approx(expected, rel=ROUNDING)


def test_prediction_of_equal_models_is_zero() -> None:
    dense = network("Relu")
    assert predict(dense, dense) == 0


def test_there_is_no_prediction_where_no_output_has_a_norm() -> None:
    dense = network("Relu")
    del dense.graph.output[0]
    assert predict(dense, changed(dense, 0.1, "w2")) is None


def test_every_batch_is_told() -> None:
    dense = network("Relu")
    told: list[int] = []
    predict(dense, changed(dense, 0.1, "w2"), tick=told.append)
    assert told == [1, 1]


def test_what_is_masked_by_infinity_is_left_out() -> None:
    mask = np.array([0, 0, np.inf], np.float32)
    weights = {"w1": normal(1, 6, 3), "mask": mask}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Sub", ["h", "mask"], ["y"]),
    ]
    dense = model(nodes, [value("x", [None, 6])], ["y"], weights)
    pruned = model(nodes, [value("x", [None, 6])], ["y"], weights | {"w1": 0.9 * weights["w1"]})
    found = predict_linearly(
        Model(dense, None), Model(pruned, None), [{"x": normal(2, 5, 6)}], provider=CPU
    )
    assert found == pytest.approx(0.01, rel=1e-4)  # float32
