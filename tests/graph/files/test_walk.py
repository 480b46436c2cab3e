"""Every graph and tensor of a model is found, wherever it is nested."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnx_lobs.graph.files.sparse import make_dense
from onnx_lobs.graph.files.walk import iter_graphs, iter_tensors


def nested_model() -> onnx.ModelProto:
    """Weights in the main graph, two depths of subgraphs, a function, and its defaults."""

    def weight(name: str) -> onnx.TensorProto:
        return numpy_helper.from_array(np.ones(2, np.float32), name)

    def sparse(name: str) -> onnx.SparseTensorProto:
        return helper.make_sparse_tensor(weight(name), helper.make_tensor("i", 7, [2], [0, 1]), [4])

    def graph(name: str, nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
        return helper.make_graph(nodes, name, [], [], [weight(name)])

    inner = helper.make_node("If", ["c"], ["b"], then_branch=graph("g2", []))
    outer = helper.make_node("If", ["c"], ["a"], then_branch=graph("g1", [inner]))
    many = helper.make_node(
        "Many", [], ["m"], domain="d", bodies=[graph("g3", []), graph("g4", [])]
    )
    constants = [
        helper.make_node("Constant", [], ["k"], value=weight("k")),
        helper.make_node("Constant", [], ["s"], sparse_value=sparse("s")),
        helper.make_node("Many", [], ["n"], domain="d", ts=[weight("t")], ss=[sparse("q")]),
    ]
    function = helper.make_function(
        "d",
        "F",
        [],
        ["f"],
        [helper.make_node("If", ["c"], ["f"], then_branch=graph("g5", []))],
        [helper.make_opsetid("", 17)],
        attribute_protos=[helper.make_attribute("default", weight("p"))],
    )
    main = graph("main", [outer, many, *constants])
    main.sparse_initializer.append(sparse("r"))
    main.node[0].attribute[0].g.sparse_initializer.append(sparse("u"))
    return helper.make_model(main, functions=[function])


def test_every_graph_is_found() -> None:
    names = [graph.name for graph in iter_graphs(nested_model())]
    assert names == ["main", "g1", "g2", "g3", "g4", "g5"]


def test_every_tensor_is_found_once() -> None:
    names = [tensor.name for tensor in iter_tensors(nested_model())]
    sparse = {"r", "u", "s", "q"}
    expected = {"main", "g1", "g2", "g3", "g4", "g5", "k", "t", "p", *sparse}
    assert sorted(name for name in names if name != "i") == sorted(expected)
    assert names.count("i") == len(sparse)


def test_every_sparse_initializer_becomes_dense() -> None:
    model = nested_model()
    assert make_dense(model) == ["r", "u"]
    assert [tensor.name for tensor in model.graph.initializer] == ["main", "r"]
    assert not any(graph.sparse_initializer for graph in iter_graphs(model))
    assert make_dense(model) == []
