"""Layers that no output depends on are named, and take none of the zeros of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import branch, model, normal, value
from onnx import ModelProto, TensorProto, helper

import onnx_lobs
from onnx_lobs.errors import UnsupportedOpError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.refusal import RefusalKind

NODE = helper.make_node
X = value("x", ["n", 6])
W = {name: normal(i, 6, 6) for i, name in enumerate(("w1", "w2", "w3"))}


def chain(output: str = "b") -> ModelProto:
    """Three products in a row; the last of them that counts is the one that makes `output`."""
    nodes = [
        NODE("MatMul", ["x", "w1"], ["a"], name="first"),
        NODE("MatMul", ["a", "w2"], ["b"], name="second"),
        NODE("MatMul", ["b", "w3"], ["c"], name="third"),
    ]
    return model(nodes, [X], [output], W)


def dead(proto: ModelProto) -> set[str]:
    layers, skips = find_layers(Model(proto, None))
    found = {skip.node for skip in skips if skip.refusal.kind is RefusalKind.DEAD}
    assert found.isdisjoint(layer.name for layer in layers)
    return found


@pytest.mark.parametrize(
    ("output", "names"), [("a", {"second", "third"}), ("b", {"third"}), ("c", set())]
)
def test_what_stands_behind_all_outputs_is_dead(output: str, names: set[str]) -> None:
    assert dead(chain(output)) == names


def conditional(inner: str, output: str) -> ModelProto:
    """An If with a product and a spare one in each branch, and another product beside it."""

    def arm(weight: str) -> Any:
        nodes = [
            NODE("MatMul", ["a", weight], [f"used_{weight}"], name=f"used {weight}"),
            NODE("MatMul", ["a", weight + "s"], [f"spare_{weight}"], name=f"spare {weight}"),
        ]
        return branch(nodes, f"{inner}_{weight}")

    nodes = [
        NODE("MatMul", ["x", "w1"], ["a"], name="first"),
        NODE("ReduceSum", ["x"], ["s"], keepdims=0),
        NODE("Greater", ["s", "zero"], ["is_positive"]),
        NODE("If", ["is_positive"], ["y"], then_branch=arm("w2"), else_branch=arm("w3")),
        NODE("MatMul", ["x", "w4"], ["beside"], name="beside"),
    ]
    weights = {**W, "w2s": W["w2"] + 1, "w3s": W["w3"] + 1, "w4": W["w1"] + 1,
               "zero": np.asarray(np.float32(0))}  # fmt: skip
    return model(nodes, [X], [output], weights)


@pytest.mark.parametrize(
    ("inner", "output", "names"),
    [
        ("used", "y", {"spare w2", "spare w3", "beside"}),
        ("spare", "y", {"used w2", "used w3", "beside"}),
        ("used", "beside", {"first", "used w2", "used w3", "spare w2", "spare w3"}),
    ],
)
def test_branches_are_alive_as_far_as_their_outputs_are(
    inner: str, output: str, names: set[str]
) -> None:
    assert dead(conditional(inner, output)) == names


def test_a_tied_weight_is_alive_where_one_use_is() -> None:
    proto = chain("a")
    proto.graph.node[1].input[1] = "w1"
    assert dead(proto) == {"third"}


def test_a_loop_that_counts_keeps_all_that_it_hands_on_alive() -> None:
    body = helper.make_graph(
        [
            NODE("Identity", ["go"], ["again"]),
            NODE("MatMul", ["state", "w1"], ["next"], name="looped"),
        ],
        "body",
        [
            value("i", [], TensorProto.INT64),
            value("go", [], TensorProto.BOOL),
            value("state", [None, 6]),
        ],
        [value("again", [], TensorProto.BOOL), value("next", [None, 6])],
    )
    nodes = [NODE("Loop", ["times", "", "x"], ["y"], body=body)]
    proto = model(
        nodes, [X], [value("y", ["n", 6])], {"w1": W["w1"], "times": np.asarray(np.int64(3))}
    )
    assert dead(proto) == set()


def test_dead_layers_leave_the_zeros_to_those_that_count() -> None:
    proto = chain("b")
    report = onnx_lobs.prune(proto, normal(9, 200, 6), sparsity=0.5, min_weights=0).report
    assert {layer.name for layer in report.layers} == {"first", "second"}
    assert (report.totals.zeros, report.totals.weights) == (36, 72)
    assert ["no output" in skip.reason for skip in report.skipped] == [True]


def test_a_dead_layer_that_is_named_is_refused() -> None:
    with pytest.raises(UnsupportedOpError, match="'third' was included by name, but: no output"):
        find_layers(Model(chain("b"), None), LayerFilter(include=("third",)))
