"""Every constant that a node multiplies by is found, whatever the node and however it is stored."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from build_onnx import Array, model, normal, value
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers
from onnx_lobs.run.file_weights import count_weights

X = value("x", [4, 6])


def made(
    nodes: list[NodeProto], weights: dict[str, Array], opset: int = 21, domain: str = "other"
) -> ModelProto:
    """Return a model that is not checked, since operators of other domains have no schema."""
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [X], [value("y", ["a", "b"])], tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(domain, 1)]
    return helper.make_model(graph, opset_imports=opsets)


def node(op: str, inputs: list[str], domain: str = "", **attributes: object) -> NodeProto:
    return helper.make_node(op, inputs, ["y"], domain=domain, name="n", **attributes)


def whole(*shape: int) -> Array:
    return np.random.default_rng(0).integers(-3, 4, shape).astype(np.int8)


ONE = np.ones((), np.float32)
CASES: dict[str, tuple[ModelProto, str, int]] = {
    "another domain": (
        made([node("Own", ["x", "w"], "other")], {"w": normal(1, 6, 5)}),
        "unsupported operator", 30,
    ),
    "an attribute": (
        made(
            [node("LinearRegressor", ["x"], "ai.onnx.ml", coefficients=[0.5] * 18)], {},
            domain="ai.onnx.ml",
        ),
        "unsupported operator", 18,
    ),
    "packed bits": (
        made(
            [node("MatMulNBits", ["x", "w", "s"], "com.microsoft", K=6, N=5, bits=4)],
            {"w": np.ones((5, 1, 3), np.uint8), "s": normal(1, 5)}, domain="com.microsoft",
        ),
        "quantised weight", 30,
    ),
    "an integer operator": (
        made([node("ConvInteger", ["x", "w"])], {"w": whole(5, 6, 3)}), "quantised weight", 90,
    ),
    "a deformed convolution": (
        made([node("DeformConv", ["x", "w", "x"])], {"w": normal(1, 5, 6, 3)}),
        "unsupported operator", 90,
    ),
    "a weight that is dequantised": (
        made(
            [
                helper.make_node("DequantizeLinear", ["q", "one"], ["w"]),
                node("MatMul", ["x", "w"]),
            ],
            {"q": whole(6, 5), "one": ONE},
        ),
        "quantised weight", 30,
    ),
    "a weight computed from constants": (
        made(
            [helper.make_node("Mul", ["v", "g"], ["w"]), node("MatMul", ["x", "w"])],
            {"v": normal(1, 6, 5), "g": normal(2, 1, 5)},
        ),
        "weight computed from constants", 30,
    ),
    "a product of three": (
        made(
            [node("Einsum", ["x", "v", "w"], equation="ni,ij,jk->nk")],
            {"v": normal(1, 6, 5), "w": normal(2, 5, 7)},
        ),
        "unsupported operator", 65,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_weights_of_a_node_that_is_left_are_counted(name: str) -> None:
    proto, kind, count = CASES[name]
    index = Model(proto, None)
    layers, skips = find_layers(index)
    found = count_weights(index, layers, skips)
    assert (found.weights, found.taken, found.skipped) == (count, 0, {kind: count})
    assert [sum(w.size for w in skip.held) for skip in skips] == [count]


def test_the_weights_within_a_function_that_stays_are_counted() -> None:
    """It is left where its inputs say so; here it is asked of the model before it is inlined."""
    constant = helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(
        normal(1, 6, 5), "w"))  # fmt: skip
    inner = helper.make_function(
        "other", "Inner", ["a"], ["c"], [constant, helper.make_node("MatMul", ["a", "w"], ["c"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    outer = helper.make_function(
        "other", "Outer", ["a"], ["c"], [helper.make_node("Inner", ["a"], ["c"], domain="other")],
        [helper.make_opsetid("other", 1)],
    )  # fmt: skip
    proto = made([node("Outer", ["x"], "other")], {}, opset=17)
    proto.functions.extend([inner, outer])
    index = Model(proto, None)
    layers, skips = find_layers(index)
    assert count_weights(index, layers, skips).skipped == {"function": 30}


def test_a_dynamic_product_holds_nothing_and_is_counted_as_such() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    index = Model(model(nodes, [X], ["y"]), None)
    layers, skips = find_layers(index)
    found = count_weights(index, layers, skips)
    assert (found.weights, found.products, found.skipped) == (0, 1, {})


def test_a_table_is_apart_and_a_tied_one_is_a_weight() -> None:
    ids = value("i", ["n"], TensorProto.INT64)
    nodes = [
        helper.make_node("Gather", ["free", "i"], ["a"]),
        helper.make_node("Gather", ["tied", "i"], ["b"]),
        helper.make_node("Transpose", ["tied"], ["t"]),
        helper.make_node("MatMul", ["b", "t"], ["c"]),
        helper.make_node("Identity", ["a"], ["d"]),
    ]
    weights = {"free": normal(1, 9, 4), "tied": normal(2, 7, 4)}
    index = Model(model(nodes, [ids], ["c", "d"], weights), None)
    layers, skips = find_layers(index)
    found = count_weights(index, layers, skips)
    assert (found.tables, found.weights) == (36, 28)


def test_a_constant_that_two_nodes_are_left_with_counts_once() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Add", ["b", "w"], ["y"]),
    ]
    index = Model(model(nodes, [value("x", [6, 6])], ["y"], {"w": normal(1, 6, 6)}), None)
    layers, skips = find_layers(index)
    found = count_weights(index, layers, skips)
    assert [sum(w.size for w in skip.held) for skip in skips] == [36, 36]
    assert (found.weights, found.skipped) == (36, {"weight read elsewhere": 36})
