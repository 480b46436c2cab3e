"""Whatever holds weights and is not taken is listed, with a reason that is true of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import Array, branch, model, normal, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers


def foreign(
    op: str, domain: str, weights: dict[str, Array], opset: int = 17, **attributes: Any
) -> ModelProto:
    node = helper.make_node(op, ["x", *weights], ["y"], name="node", domain=domain, **attributes)
    domains = [domain] if domain else []
    inputs = [value("x", [None] * 3)]
    return model([node], inputs, [value("y", [None] * 3)], weights, domains=domains, opset=opset)


def reasons(proto: ModelProto) -> list[tuple[str, str]]:
    layers, skips = find_layers(Model(proto, None))
    assert layers == ()
    return [(skip.node, skip.reason) for skip in skips]


LISTED = {
    "convolution for one CPU": (
        foreign("Conv", "com.microsoft.nchwc", {"w": normal(1, 8, 4, 3)}),
        "an operator of com.microsoft.nchwc, made by onnxruntime's optimiser; prune the model "
        "before it is optimised",
    ),
    "convolution for other devices": (
        foreign("Conv", "com.ms.internal.nhwc", {"w": normal(1, 8, 4, 3)}),
        "an operator of com.ms.internal.nhwc, made by onnxruntime's optimiser; prune the model "
        "before it is optimised",
    ),
    "fused product": (
        foreign("TransposeMatMul", "com.microsoft", {"w": normal(1, 8, 8)}),
        "an operator of com.microsoft, made by onnxruntime's optimiser; prune the model before it "
        "is optimised",
    ),
    "fused attention": (
        foreign("Attention", "com.microsoft", {"w": normal(1, 8, 24), "b": normal(2, 24)}),
        "an operator of com.microsoft, made by onnxruntime's optimiser; prune the model before it "
        "is optimised",
    ),
    "packed numbers": (
        foreign("MatMulNBits", "com.microsoft", {"w": np.ones((8, 2, 16), np.uint8)}),
        "quantised: prune the float model, then quantise it",
    ),
    "somebody's own": (
        foreign("Gated", "my.layers", {"w": normal(1, 8, 8)}),
        "an operator of my.layers: what it does with its weights is not known",
    ),
    "weights in attributes": (
        foreign("LinearRegressor", "ai.onnx.ml", {}, coefficients=[1.0, 2.0, 3.0]),
        "an operator of ai.onnx.ml: its weights are attributes, not tensors",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LISTED)
def test_weights_of_other_domains_are_listed(kind: str) -> None:
    proto, reason = LISTED[kind]
    assert reasons(proto) == [("node", reason)]


def test_weights_of_other_domains_inside_a_branch_and_behind_a_cast_are_listed() -> None:
    nodes = [
        helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["h", "v"], ["t"], name="inner", domain="com.microsoft.nchwc"),
    ]
    then = branch(nodes, "t", w=normal(1, 8, 4, 3, dtype=np.float16))
    other = branch([helper.make_node("Identity", ["h"], ["e"])], "e")
    proto = model(
        [helper.make_node("Relu", ["x"], ["h"]),
         helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
        [value("x", [1, 4, 9]), value("c", [], TensorProto.BOOL)], [value("y", [None] * 3)],
        domains=["com.microsoft.nchwc"],
    )  # fmt: skip
    ((node, reason),) = reasons(proto)
    assert node == "inner"
    assert "prune the model before it is optimised" in reason


SILENT = {
    "no constant": foreign("Conv", "com.microsoft.nchwc", {}),
    "vectors": foreign("SkipLayerNormalization", "com.microsoft", {"w": normal(1, 8)}),
    "one row": foreign("FastGelu", "com.microsoft", {"w": normal(1, 1, 8)}),
    "a shape": foreign("Gated", "my.layers", {"w": np.array([[1, 2], [3, 4]])}),
    "a table": foreign("EmbedLayerNormalization", "com.microsoft", {"w": normal(1, 50, 8)}),
    "no coefficients": foreign("Scaler", "ai.onnx.ml", {}, offset=[1.0], scale=[2.0]),
}


@pytest.mark.parametrize("kind", SILENT)
def test_nodes_of_other_domains_without_weights_are_not_listed(kind: str) -> None:
    assert reasons(SILENT[kind]) == []


def test_attention_of_the_standard_has_no_weights() -> None:
    node = helper.make_node("Attention", ["x", "x", "x"], ["y"], q_num_heads=2, kv_num_heads=2)
    proto = model([node], [value("x", [1, 4, 8])], [value("y", [1, 4, 8])], opset=23, ir_version=11)
    assert reasons(proto) == []


@pytest.mark.parametrize("place", ["function", "branch"])
def test_a_function_whose_weights_lie_deeper_is_listed(place: str) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    product = helper.make_node("MatMul", ["a", "b"], ["c"])
    functions = []
    if place == "function":
        functions = [helper.make_function("own", "Inner", ["a", "b"], ["c"], [product], opsets)]
        node = helper.make_node("Inner", ["a", "b"], ["c"], domain="own")
    else:
        then, other = branch([product], "c"), branch([helper.make_node("Relu", ["a"], ["c"])], "c")
        node = helper.make_node("If", ["yes"], ["c"], then_branch=then, else_branch=other)
    inputs = ["a", "b", *(["yes"] if place == "branch" else [])]
    functions.append(helper.make_function("own", "Outer", inputs, ["c"], [node], opsets))
    call = helper.make_node("Outer", ["x", "w", *inputs[2:]], ["y"], domain="own", name="call")
    proto = model(
        [call], [value("x", [5, 5])], [value("y", [5, 5])],
        {"w": normal(1, 5, 5), "yes": np.array(True)}, domains=["own"], functions=functions,
    )  # fmt: skip
    ((name, reason),) = reasons(proto)
    assert name == "call"
    assert "a function of the model" in reason
