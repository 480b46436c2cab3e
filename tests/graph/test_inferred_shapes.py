"""Shapes of values: what is not known is left out, whatever onnx says of the model."""

from __future__ import annotations

import onnx
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs.graph.inferred_shapes import infer_shapes


def test_an_open_batch_counts_as_one_sample() -> None:
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", ["n", 4])],
        ["y"],
        {"w": normal(1, 4, 3)},
    )
    shapes, samples = infer_shapes(proto)
    assert (shapes["y"], samples) == ((1, 3), 1)


def test_functions_that_call_each_other_in_a_circle_have_no_shapes() -> None:
    call = helper.make_node("Rec", ["a"], ["b"], domain="own")
    function = helper.make_function(
        "own", "Rec", ["a"], ["b"], [call], [helper.make_opsetid("own", 1)]
    )
    graph = helper.make_graph(
        [helper.make_node("Rec", ["x"], ["y"], domain="own")],
        "g",
        [value("x", [2, 4])],
        [value("y", [2, 4])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    proto: onnx.ModelProto = helper.make_model(graph, functions=[function], opset_imports=opsets)
    assert infer_shapes(proto) == ({}, 2)
