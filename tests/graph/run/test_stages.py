"""Stages run one after another give every live value that the whole model gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pytest
from build_onnx import Array, branch, constant, model, normal, run, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.stages import cut, is_touched, stage_of, stage_session

NODE = helper.make_node
CPU = "CPUExecutionProvider"
SUMS = 1e-5  # float32, fused differently in pieces than in the whole


def network() -> ModelProto:
    """Residual, two inputs, a branch node, a transposed weight, a value used far behind."""
    then = branch([NODE("MatMul", ["s", "w"], ["t"]), NODE("Add", ["t", "far"], ["tt"])], "tt")
    other = branch([NODE("Neg", ["s"], ["e"])], "e")
    nodes = [
        NODE("Transpose", ["w"], ["wt"]),  # 0
        NODE("Relu", ["z"], ["far"]),  # 1: needed by 5 and 8
        NODE("MatMul", ["x", "w"], ["a"]),  # 2
        NODE("Relu", ["a"], ["b"]),  # 3
        NODE("Add", ["b", "x"], ["s"]),  # 4
        NODE("If", ["c"], ["i"], then_branch=then, else_branch=other),  # 5
        NODE("Abs", ["z"], ["unused"]),  # 6: no stage needs it
        NODE("MatMul", ["i", "wt"], ["m"]),  # 7
        NODE("Mul", ["m", "far"], ["p"]),  # 8
        NODE("MatMul", ["p", "wt"], ["y"]),  # 9
    ]
    inputs = [value("x", [5, 4]), value("z", [5, 4]), value("c", [], TensorProto.BOOL)]
    outputs = [value(name, [5, 4]) for name in ("y", "a", "b", "s", "i", "m", "p", "far")]
    return model(nodes, inputs, outputs, {"w": normal(1, 4, 4)})


def feeds(c: bool = True) -> dict[str, Array]:
    return {"x": normal(2, 5, 4), "z": normal(3, 5, 4), "c": np.array(c)}


INSIDE = [False, False, True, False]  # the stage with branches
STOPS: list[Mapping[int, Collection[str]]] = [
    {9: {"p"}},
    {2: {"x"}, 9: {"p"}},
    {2: {"x"}, 5: {"s", "c", "far"}, 7: {"i"}, 9: {"p"}},
    {3: {"a"}, 4: {"b", "x"}, 8: {"m"}},
]


@pytest.mark.parametrize("c", [True, False])
@pytest.mark.parametrize("stops", STOPS)
def test_stages_compose_to_the_whole_model(stops: Mapping[int, Collection[str]], c: bool) -> None:
    proto = network()
    index = Model(proto, None)
    expected = {**feeds(c), **run(proto, **feeds(c))}
    values = feeds(c)
    for stop, stage in zip(sorted(stops), cut(index, stops), strict=True):
        if stage.nodes:
            values |= stage_session(index, stage, values, CPU).run(values)
        values = {name: array for name, array in values.items() if name in stage.live}
        assert set(stops[stop]) <= set(values)
        for name, array in values.items():
            np.testing.assert_allclose(array, expected[name], atol=SUMS * 100, rtol=SUMS)


def test_no_node_runs_twice_but_those_that_make_constants() -> None:
    stages = cut(Model(network(), None), STOPS[2])
    counts: dict[int, int] = {}
    for stage in stages:
        for node in stage.nodes:
            counts[node] = counts.get(node, 0) + 1
    assert {node for node, count in counts.items() if count > 1} <= {0}
    assert 6 not in counts
    assert all("wt" not in stage.live for stage in stages)


def test_values_pass_through_stages_that_do_not_use_them() -> None:
    first, second, third, last = cut(Model(network(), None), STOPS[2])
    assert "x" in first.live
    assert "far" in first.live
    assert "far" in second.live
    assert "far" in third.live
    assert "far" not in last.live


@pytest.mark.parametrize(
    ("changed", "touched"),
    [({(0, "w")}, [False, True, True, True]), (set(), [False] * 4), ({(1, "v")}, INSIDE)],
)
def test_touched_stages_are_those_that_read_a_changed_weight(
    changed: set[tuple[int, str]], touched: list[bool]
) -> None:
    """Also through a node that makes a constant of it, and inside a branch."""
    index = Model(network(), None)
    stages = cut(index, STOPS[2])
    found = [is_touched(index, stage, changed) for stage in stages]
    assert found == touched


def test_stage_of_one_node_brings_the_constants_it_needs() -> None:
    index = Model(network(), None)
    assert stage_of(index, 9).nodes == (0, 9)
    assert stage_of(index, 9).inputs == ("p",)
    assert stage_of(index, 5).inputs == ("c", "far", "s")


def test_random_values_are_made_once_and_carried() -> None:
    nodes = [
        NODE("RandomNormal", [], ["r"], shape=[5, 4]),
        NODE("Add", ["x", "r"], ["a"]),
        NODE("Relu", ["a"], ["b"]),
        NODE("Add", ["b", "r"], ["y"]),
        NODE("Relu", ["y"], ["q"]),
    ]
    index = Model(model(nodes, [value("x", [5, 4])], ["q"]), None)
    first, second = cut(index, {2: {"a"}, 4: {"y"}})
    assert "r" in first.outputs
    assert 0 not in second.nodes


def test_constants_without_a_tensor_are_remade_in_each_stage() -> None:
    nodes = [
        NODE("Constant", [], ["k"], value_float=2.0),
        NODE("Mul", ["x", "k"], ["a"]),
        NODE("Mul", ["a", "k"], ["b"]),
        NODE("Relu", ["b"], ["y"]),
    ]
    index = Model(model(nodes, [value("x", [5, 4])], ["y"]), None)
    assert [stage.nodes for stage in cut(index, {2: {"a"}, 3: {"b"}})] == [(0, 1), (0, 2)]


def test_stage_that_begins_with_a_sequence_is_refused_with_the_remedy() -> None:
    nodes = [
        constant("n", np.array(0)),
        NODE("SplitToSequence", ["x"], ["s"], keepdims=0),
        NODE("SequenceAt", ["s", "n"], ["a"]),
        NODE("Relu", ["a"], ["y"]),
    ]
    index = Model(model(nodes, [value("x", [5, 4])], [value("y", [4])]), None)
    first, second = cut(index, {2: {"s"}, 3: {"a"}})
    values = stage_session(index, first, {"x": normal(1, 5, 4)}, CPU).run({"x": normal(1, 5, 4)})
    with pytest.raises(ModelError, match=r"'s' is a list, not a tensor.*--independent"):
        stage_session(index, second, values, CPU)


def test_large_weights_of_a_stage_are_lent_not_copied() -> None:
    weights = {"w": normal(1, 200, 200), "b": normal(2, 200)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["y"]),
    ]
    proto = model(nodes, [value("x", [None, 200])], ["y"], weights)
    index, feeds = Model(proto, None), {"x": normal(3, 5, 200)}
    (stage,) = cut(index, {2: {"y"}})
    session = stage_session(index, stage, feeds, CPU)
    assert list(session._lent) == ["w"]
    assert np.array_equal(session.run(feeds)["y"], run(proto, **feeds)["y"])
