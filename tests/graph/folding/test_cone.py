"""The constant part of a model is told from the rest, and can be cut out."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import branch, constant, model, normal, run, value
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_lobs.graph.folding.cone import ConstantPart, label
from onnx_lobs.graph.model import Model

NODE = helper.make_node


def mixed() -> ModelProto:
    """A constant part (a, b, k, and i inside a branch), random numbers, and what needs x."""
    then = branch([NODE("Neg", ["b"], ["i"]), NODE("Add", ["i", "x"], ["t"])], "t")
    other = branch([NODE("Abs", ["x"], ["e"])], "e")
    nodes = [
        constant("k", np.float32([2])),
        NODE("Mul", ["w", "k"], ["a"]),
        NODE("Abs", ["a"], ["b"]),
        NODE("RandomNormalLike", ["w"], ["r"]),
        NODE("Add", ["r", "a"], ["s"]),
        NODE("Add", ["s", "x"], ["d"]),
        NODE("If", ["c"], ["f"], then_branch=then, else_branch=other),
        NODE("Add", ["d", "f"], ["y"]),
    ]
    inputs = [value("x", [3]), value("c", [], TensorProto.BOOL)]
    return model(nodes, inputs, ["y"], {"w": normal(1, 3)})


def test_only_what_needs_constants_alone_is_in_the_part() -> None:
    part = ConstantPart(Model(mixed(), None))
    assert set(part.makers) == {(0, "k"), (0, "a"), (0, "b"), (2, "i")}  # the else branch is 1


def test_a_cone_holds_what_its_values_are_computed_from_and_no_more() -> None:
    part = ConstantPart(Model(mixed(), None))
    cone = part.cone([(0, "a")])
    assert [part.nodes[number][1].op_type for number in cone.nodes] == ["Constant", "Mul"]
    assert set(cone.constants) == {(0, "w"), (0, "k")}


@pytest.mark.parametrize("ir_version", [3, 8])
def test_what_is_cut_out_computes_the_same(ir_version: int) -> None:
    nodes = [
        NODE("Mul", ["w", "w"], ["a"]), NODE("Abs", ["a"], ["b"]), NODE("Add", ["x", "b"], ["y"]),
    ]  # fmt: skip
    stored = normal(1, 3)
    proto = model(nodes, [value("x", [3])], ["y"], {"w": stored}, opset=8, ir_version=ir_version)
    part = ConstantPart(Model(proto, None))
    wanted = [(0, "b"), (0, "a")]
    found = run(part.extract(wanted))
    assert list(found) == [label(v) for v in wanted]
    assert np.array_equal(found["0/b"], stored**2)


def test_values_of_one_name_in_two_branches_are_told_apart() -> None:
    def part_of(op: str) -> list[NodeProto]:
        return [NODE(op, ["w"], ["i"]), NODE("Add", ["i", "x"], ["t"])]

    node = NODE(
        "If", ["c"], ["y"], then_branch=branch(part_of("Neg"), "t"),
        else_branch=branch(part_of("Abs"), "t"),
    )  # fmt: skip
    inputs = [value("x", [3]), value("c", [], TensorProto.BOOL)]
    proto = model([node], inputs, [value("y", [3])], {"w": np.float32([-1, 2, -3])})
    part = ConstantPart(Model(proto, None))
    found = run(part.extract([(1, "i"), (2, "i")]))
    assert {tuple(array) for array in found.values()} == {(1, -2, 3), (1, 2, 3)}
