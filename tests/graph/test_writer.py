"""What is appended to a graph has new names and the form of its opset."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from build_onnx import branch, constant, model, normal, run, tensor, value
from onnx import helper

from onnx_lobs.graph.writer import Writer


def test_names_in_subgraphs_and_of_sparse_initializers_are_taken() -> None:
    then = branch([helper.make_node("Neg", ["x"], ["gram__0"], name="gram__1")], "gram__0")
    other = branch([helper.make_node("Abs", ["x"], ["gram__2"])], "gram__2")
    nodes = [
        constant("gram__3", np.array(True)),
        helper.make_node("If", ["gram__3"], ["y"], then_branch=then, else_branch=other),
    ]
    graph = model(nodes, [value("x", [4])], [value("y", [4])], {"gram__4": normal(1, 2)}).graph
    sparse = graph.sparse_initializer.add()
    sparse.values.CopyFrom(tensor("gram__5", normal(1, 1)))
    writer = Writer(graph, 17)
    assert [writer.node("Neg", ["x"]), writer.integers(1)] == ["gram__6", "gram__7"]


@pytest.mark.parametrize("opset", [7, 12, 13, 17, 18])
def test_axes_have_the_form_of_the_opset(opset: int) -> None:
    proto = model([helper.make_node("Neg", ["x"], ["h"])], [value("x", [3, 4])], ["h"],
                  opset=opset)  # fmt: skip
    del proto.graph.output[:]
    writer = Writer(proto.graph, opset)
    made = {
        writer.unsqueeze("h", 1): lambda h: h[:, None],
        writer.reduce("ReduceSum", "h", 1): lambda h: h.sum(axis=1, keepdims=True),
        writer.reduce("ReduceMax", "h", 0, 1): lambda h: h.max(axis=(0, 1), keepdims=True),
        writer.reduce("ReduceL1", "h"): lambda h: np.abs(h).sum(keepdims=True),
        writer.reduce("ReduceMean", "h", 0): lambda h: h.mean(axis=0, keepdims=True),
        writer.reshape("h", (2, -1)): lambda h: h.reshape(2, -1),
    }
    x = normal(1, 3, 4)
    for name, of in made.items():
        writer.show(name, onnx.TensorProto.FLOAT, list(of(x).shape))
    onnx.checker.check_model(proto, full_check=True)
    found = run(proto, x=x)
    for name, of in made.items():
        np.testing.assert_allclose(found[name], of(-x), rtol=1e-6)  # float32 sums of four
