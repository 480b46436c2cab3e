"""The index knows which scope defines a name, who makes it, who reads it, what is constant."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from build_onnx import branch, constant, model, normal, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.graph.model import Model, attributes, free_names, is_float, outer_names

NODE = helper.make_node
W = normal(1, 4, 4)


def nested() -> ModelProto:
    """An If in an If, whose inner branch reads w and h from the main graph and v from its own."""
    deep = branch([NODE("MatMul", ["h", "w"], ["d"]), NODE("MatMul", ["d", "v"], ["t"])], "t", v=W)
    plain = branch([NODE("Identity", ["h"], ["e"])], "e")
    inner = NODE("If", ["c"], ["i"], then_branch=deep, else_branch=plain)
    nodes = [
        constant("k", W),
        NODE("MatMul", ["x", "k"], ["h"]),
        NODE(
            "If", ["c"], ["y"],
            then_branch=branch([inner], "i"), else_branch=branch([NODE("Neg", ["h"], ["n"])], "n"),
        ),
    ]  # fmt: skip
    inputs = [value("x", [4, 4]), value("c", [], TensorProto.BOOL)]
    return model(nodes, inputs, [value("y", [4, 4])], {"w": W})


def test_scopes_are_numbered_depth_first() -> None:
    index = Model(nested(), None)
    owners = [None if s.parent is None else s.parent.index for s in index.scopes]
    assert owners == [None, 0, 0, 2, 2]
    assert [s.index for s in index.scopes] == [0, 1, 2, 3, 4]
    assert index.main is index.scopes[0]


def test_names_are_found_from_the_innermost_scope_outward() -> None:
    index = Model(nested(), None)
    deep = next(s for s in index.scopes if "v" in s.initializers)
    assert deep.find("v") is deep
    assert deep.find("w") is index.main
    assert deep.find("h") is index.main
    assert deep.find("x") is index.main
    assert index.main.find("v") is None


def test_readers_include_those_in_subgraphs() -> None:
    index = Model(nested(), None)
    assert [node.op_type for _, node in index.main.readers["w"]] == ["MatMul"]
    assert sorted(node.op_type for _, node in index.main.readers["h"]) == [
        "Identity", "MatMul", "Neg",
    ]  # fmt: skip


def test_constants_are_initializers_and_constant_nodes() -> None:
    index = Model(nested(), None)
    for name in ("w", "k"):
        tensor = index.constant(index.scopes[-1], name)
        assert tensor is not None
        assert np.array_equal(index.value(tensor), W)
    assert index.constant(index.main, "h") is None
    assert index.constant(index.main, "x") is None
    assert index.constant(index.main, "nothing") is None


@pytest.mark.parametrize("ir_version", [3, 8])
def test_initializer_that_is_an_input_too_is_constant(ir_version: int) -> None:
    inputs = [value("x", [4, 4])] + ([value("w", [4, 4])] if ir_version > 3 else [])
    nodes = [NODE("MatMul", ["x", "w"], ["y"])]
    index = Model(model(nodes, inputs, ["y"], {"w": W}, ir_version=ir_version), None)
    assert index.constant(index.main, "w") is not None


def test_outer_names_are_what_a_node_reads_from_outside() -> None:
    node = nested().graph.node[2]
    assert outer_names(node) == {"c", "h", "w"}


def test_free_names_include_outputs_that_are_not_made_inside() -> None:
    graph = branch([NODE("Relu", ["a"], ["b"])], "outer")
    assert free_names(graph) == {"a", "outer"}


def test_attributes_are_python_values() -> None:
    node = NODE("Conv", ["x", "w"], ["y"], auto_pad="VALID", group=2, strides=[1, 2])
    found = attributes(node)
    assert found["auto_pad"] == "VALID"
    assert found["group"] == 2
    assert list(found["strides"]) == [1, 2]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float16, True), (np.float32, True), (np.float64, True), (ml_dtypes.bfloat16, True),
        (ml_dtypes.float8_e4m3fn, False), (np.int8, False), (np.complex64, False),
    ],
)  # fmt: skip
def test_floats_of_16_bits_and_more_are_floats(dtype: type, expected: bool) -> None:
    assert is_float(np.dtype(dtype)) is expected


def test_opset_is_that_of_the_default_domain_or_0() -> None:
    proto = nested()
    assert Model(proto, None).opset == 17
    del proto.opset_import[:]
    assert Model(proto, None).opset == 0
