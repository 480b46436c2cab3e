"""The walk back adds up ways, stops where it must and says so, and leaves outputs as they are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from build_onnx import branch, model, normal, run, value
from finite_differences import check_gradients, extended
from onnx import TensorProto, helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.derivatives.reverse import gradient_writer
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session

NODE = helper.make_node
X = normal(1, 2, 3, dtype=np.float64)


def small(nodes: list[onnx.NodeProto], opset: int = 17, **weights: np.ndarray) -> onnx.ModelProto:
    """Return a float64 model of x (2, 3) that gives y."""
    inputs = [value("x", [2, 3], TensorProto.DOUBLE)]
    return model(nodes, inputs, [value("y", None, TensorProto.DOUBLE)], weights, opset=opset)


def test_gradients_of_several_readers_are_added() -> None:
    nodes = [
        NODE("Tanh", ["x"], ["a"]),
        NODE("Mul", ["a", "x"], ["b"]),
        NODE("Add", ["a", "a"], ["c"]),
        NODE("Sub", ["b", "c"], ["y"]),
    ]
    check_gradients(small(nodes), {"x": X}, ["x"])


def test_values_inside_and_constants_get_gradients_too() -> None:
    nodes = [NODE("Mul", ["x", "s"], ["a"]), NODE("Exp", ["a"], ["y"])]
    proto = small(nodes, s=np.array([1.0, 2.0, 0.5]))
    made, found, shares = extended(proto, {"x": X}, ["a", "s"])
    got = Session(made.proto).run({"x": X})
    np.testing.assert_allclose(got[found.names["a"]], shares["y"] * got["y"])
    np.testing.assert_allclose(got[found.names["s"]], (shares["y"] * got["y"] * X).sum(0))


def test_what_the_model_gives_stays() -> None:
    proto = small([NODE("Exp", ["x"], ["a"]), NODE("Softmax", ["a"], ["y"])])
    made, _, _ = extended(proto, {"x": X}, ["x"])
    np.testing.assert_array_equal(Session(made.proto).run({"x": X})["y"], run(proto, x=X)["y"])


def test_an_operator_without_a_rule_stops_the_gradient_and_is_named() -> None:
    nodes = [
        NODE("CumSum", ["x", "axis"], ["a"], name="sums"),
        NODE("Add", ["a", "x"], ["y"]),
    ]
    made, found, shares = extended(small(nodes, axis=np.array(1)), {"x": X}, ["x"])
    assert [(s.node, s.op) for s in found.stopped] == [("sums", "CumSum")]
    assert "no rule" in str(found.stopped[0])
    # the way around it is still there
    np.testing.assert_array_equal(Session(made.proto).run({"x": X})[found.names["x"]], shares["y"])


def test_a_branch_stops_the_gradient() -> None:
    out = value("t", [2, 3], TensorProto.DOUBLE)
    then, other = (branch([NODE("Exp", ["x"], ["t"])], "t") for _ in range(2))
    for graph in (then, other):
        graph.output[0].CopyFrom(out)
    nodes = [NODE("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    _, found, _ = extended(small(nodes, c=np.array(True)), {"x": X}, ["x"])
    assert [stop.op for stop in found.stopped] == ["If"]
    assert not found.names


def test_axes_that_depend_on_data_stop_the_gradient() -> None:
    nodes = [
        NODE("ReduceMax", ["x"], ["m"], keepdims=0),
        NODE("Cast", ["m"], ["i"], to=TensorProto.INT64),
        NODE("Unsqueeze", ["i", "zero"], ["start"]),
        NODE("Sub", ["start", "start"], ["begin"]),
        NODE("Slice", ["x", "begin", "end"], ["y"]),
    ]
    proto = small(nodes, zero=np.array([0]), end=np.array([1]))
    _, found, _ = extended(proto, {"x": X}, ["x"])
    assert "computed from data" in found.stopped[0].reason


def test_shapes_that_the_graph_computes_are_followed() -> None:
    nodes = [
        NODE("Shape", ["x"], ["s"]),
        NODE("Slice", ["s", "zero", "one"], ["n"]),
        NODE("Concat", ["n", "rest"], ["to"], axis=0),
        NODE("Reshape", ["x", "to"], ["y"]),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "rest": np.array([-1, 1])}
    check_gradients(small(nodes, **constants), {"x": X}, ["x"])


def test_old_opsets_are_refused_with_the_remedy() -> None:
    proto = model([NODE("Relu", ["x"], ["y"])], [value("x", [1])], ["y"], opset=9)
    with pytest.raises(ModelError, match=r"opset 11 at least, the model has 9; convert"):
        gradient_writer(Model(proto, None))


def test_names_never_clash() -> None:
    nodes = [NODE("Exp", ["x"], ["gradient__0"]), NODE("Exp", ["gradient__0"], ["y"])]
    check_gradients(small(nodes), {"x": X / 4}, ["x"])
