"""A function in another operator set than its model is put into the model's, or it is said why."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from build_onnx import constant, model, normal, run, value
from onnx import FunctionProto, ModelProto, NodeProto, helper, inliner

from onnx_lobs.graph.function_versions import match_versions

NODE = helper.make_node
OTHER = ("com.microsoft", 2)


def called(
    nodes: list[NodeProto],
    function_opset: int,
    opset: int,
    imports: tuple[tuple[str, int], ...] = (),
) -> ModelProto:
    opsets = [helper.make_opsetid("", function_opset), *(helper.make_opsetid(*i) for i in imports)]
    function = helper.make_function("own", "F", ["a"], ["c"], nodes, opsets)
    call = NODE("F", ["x"], ["y"], domain="own")
    proto = model([NODE("Identity", ["x"], ["y"])], [value("x", [4, 4])], ["y"], opset=opset)
    del proto.graph.node[:]
    proto.graph.node.append(call)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.functions.append(function)
    return proto


def axes(n: int) -> NodeProto:
    return constant("n", np.array([n], np.int64))


SAME = {
    "newer": ([NODE("MatMul", ["a", "a"], ["b"]), NODE("Relu", ["b"], ["c"])], 14, 17),
    "older": ([NODE("MatMul", ["a", "a"], ["b"]), NODE("Relu", ["b"], ["c"])], 17, 14),
    "with a constant": ([axes(1), NODE("ReduceSum", ["a", "n"], ["c"])], 14, 17),
}


@pytest.mark.parametrize("kind", SAME)
def test_a_function_computes_the_same_in_the_model_s_operator_set(kind: str) -> None:
    nodes, before, after = SAME[kind]
    x = normal(1, 4, 4)
    proto = called(nodes, before, after)
    expected = run(proto, x=x)["y"]
    assert match_versions(proto, proto.functions[0]) is None
    assert [(o.domain, o.version) for o in proto.functions[0].opset_import] == [("", after)]
    inlined = inliner.inline_local_functions(proto)
    assert not any(node.domain for node in inlined.graph.node)
    onnx.checker.check_model(inlined)
    assert np.array_equal(run(inlined, x=x)["y"], expected)


def function_of(proto: ModelProto) -> FunctionProto:
    return proto.functions[0]


def test_versions_of_domains_that_a_function_does_not_use_are_dropped() -> None:
    proto = called([NODE("Relu", ["a"], ["c"])], 17, 17, imports=(("own", 23), ("else", 5)))
    assert match_versions(proto, function_of(proto)) is None
    assert [(o.domain, o.version) for o in function_of(proto).opset_import] == [("", 17)]


def test_functions_that_call_each_other_take_the_model_s_version_of_their_domain() -> None:
    proto = called([NODE("F", ["a"], ["c"], domain="own")], 17, 17, imports=(("own", 23),))
    assert match_versions(proto, function_of(proto)) is None
    assert [(o.domain, o.version) for o in function_of(proto).opset_import] == [("own", 1)]


REFUSED = {
    "other operators": (
        called([NODE("ReduceSum", ["a"], ["c"], axes=[1])], 11, 17),
        "its operators are of opset 11, the model's of 17, which differ",
    ),
    "operators that the model lacks": (
        called([NODE("Gelu", ["a"], ["c"])], 20, 17),
        "its operators are of opset 20, the model's of 17, which differ",
    ),
    "operators that are not known yet": (
        called([NODE("Relu", ["a"], ["c"])], 999, 17),
        "its operators are of opset 999, the model's of 17, which differ",
    ),
    "another domain": (
        called([NODE("Gelu", ["a"], ["c"], domain="com.microsoft")], 17, 17, (OTHER,)),
        "it uses version 2 of com.microsoft, the model 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_function_with_other_operators_stays_as_it_is(kind: str) -> None:
    proto, reason = REFUSED[kind]
    if kind == "another domain":
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    before = function_of(proto).SerializeToString(deterministic=True)
    assert match_versions(proto, function_of(proto)) == reason
    assert function_of(proto).SerializeToString(deterministic=True) == before
