"""A value that a loop hands on unchanged is told from one that it computes anew."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_lobs.graph.carried import carried_from
from onnx_lobs.graph.model import Model

STEP = [helper.make_node("MatMul", ["h", "v"], ["t"], name="inner")]
HANDED_ON = {
    "as it is": ([], "v", "w"),
    "by Identity": ([helper.make_node("Identity", ["v"], ["u"])], "u", "w"),
    "by two": (
        [helper.make_node("Identity", ["v"], ["r"]), helper.make_node("Identity", ["r"], ["u"])],
        "u",
        "w",
    ),
    "changed": ([helper.make_node("Neg", ["v"], ["u"])], "u", None),
    "swapped": ([helper.make_node("Identity", ["h"], ["u"])], "u", None),
}


def loop(nodes: list[NodeProto], given: str) -> ModelProto:
    scalars = [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL)]
    body = helper.make_graph(
        [*STEP, *nodes, helper.make_node("Identity", ["c"], ["k"])], "b",
        [*scalars, value("h", [4, 4]), value("v", [4, 4])],
        [value("k", [], TensorProto.BOOL), value("t", [4, 4]), value(given, [4, 4])],
    )  # fmt: skip
    node = helper.make_node("Loop", ["n", "", "x", "w"], ["y", "z"], body=body)
    weights = {"w": normal(1, 4, 4), "n": np.array(3)}
    return model([node], [value("x", [4, 4])], [value("y", [4, 4])], weights)


def scan(nodes: list[NodeProto], given: str) -> ModelProto:
    body = helper.make_graph(
        [*STEP, *nodes, helper.make_node("Add", ["t", "s"], ["a"])], "b",
        [value("h", [4, 4]), value("v", [4, 4]), value("s", [4, 4])],
        [value("a", [4, 4]), value(given, [4, 4])],
    )  # fmt: skip
    node = helper.make_node("Scan", ["x", "w", "q"], ["y", "z"], body=body, num_scan_inputs=1)
    weights = {"w": normal(1, 4, 4), "q": normal(2, 3, 4, 4)}
    return model([node], [value("x", [4, 4])], [value("y", [4, 4])], weights)


@pytest.mark.parametrize("make", [loop, scan])
@pytest.mark.parametrize("how", HANDED_ON)
def test_a_weight_is_followed_out_of_a_loop_that_hands_it_on(how: str, make: type) -> None:
    nodes, given, outer = HANDED_ON[how]
    body = Model(make(nodes, given), None).scopes[1]
    assert carried_from(body, "v") == outer


def test_states_counters_and_cut_sequences_are_not_handed_on() -> None:
    body = Model(loop(*HANDED_ON["by Identity"][:2]), None).scopes[1]
    assert [carried_from(body, name) for name in ("h", "i", "c", "t", "nothing")] == [None] * 5
    body = Model(scan(*HANDED_ON["by Identity"][:2]), None).scopes[1]
    assert [carried_from(body, name) for name in ("h", "s")] == [None] * 2


def test_what_is_no_body_of_a_loop_hands_nothing_on() -> None:
    then = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "t", [], [value("t")])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["e"])], "e", [], [value("e")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    inputs = [value("x", [2]), value("c", [], TensorProto.BOOL)]
    built = Model(model([node], inputs, [value("y", [2])]), None)
    assert [carried_from(scope, "x") for scope in built.scopes] == [None] * 3
