"""Each operator becomes a Use whose columns, times the weight's matrices, are its output."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from build_onnx import Array, branch, model, normal, one_node, run, value
from onnx import ModelProto, TensorProto, helper, numpy_helper

import onnx_lobs
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.bias import find_add
from onnx_lobs.layers.chain import Root, trace
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.layer import Layer, Skip, Use
from onnx_lobs.layers.layout import matmul_layout
from onnx_lobs.layers.operators import OPERATORS, Operator
from onnx_lobs.layers.place import Match, NodePlace
from onnx_lobs.layers.refusal import Refusal, RefusalKind

SUMS = 2e-5  # of the largest output: float32 sums of up to 100 terms


def only_layer(proto: ModelProto) -> Layer:
    layers, skips = find_layers(Model(proto, None))
    assert skips == ()
    (layer,) = layers
    return layer


def only_skip(proto: ModelProto) -> Skip:
    layers, skips = find_layers(Model(proto, None))
    assert layers == ()
    (skip,) = skips
    return skip


def only_reason(proto: ModelProto) -> str:
    return only_skip(proto).reason


def product(layer: Layer, weight: Array, x: Array) -> Array:
    """Return observations @ matrices, (groups, n, rows)."""
    (use,) = layer.uses
    observations = use.observations(x)
    assert observations.shape[1] == use.n_observations(x.shape)
    return np.asarray(observations @ layer.matrix(weight).transpose(0, 2, 1))


def assert_same(found: Array, expected: Array) -> None:
    assert found.size == expected.size
    worst = np.abs(found.reshape(expected.shape) - expected).max()
    assert worst <= SUMS * np.abs(expected).max()


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("flags", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gemm_takes_flags_alpha_and_either_side(flags: tuple[int, int], left: bool) -> None:
    a = normal(1, *((6, 5) if flags[0] else (5, 6)))
    b = normal(2, *((7, 6) if flags[1] else (6, 7)))
    x, w = (b, a) if left else (a, b)
    names = ["w", "x"] if left else ["x", "w"]
    proto = one_node("Gemm", {"w": w}, names, transA=flags[0], transB=flags[1], alpha=-1.5)
    found = product(only_layer(proto), w, x)[0]
    assert_same(found.T if left else found, run(proto, x=x)["y"])


@pytest.mark.parametrize(
    ("weight", "x"),
    [
        ((6, 7), (5, 6)), ((6, 7), (2, 3, 5, 6)), ((6, 7), (6,)), ((6,), (5, 6)), ((6,), (6,)),
        ((1, 6, 7), (5, 6)), ((3, 6, 7), (3, 5, 6)), ((3, 6, 7), (5, 6)), ((3, 6, 7), (6,)),
        ((3, 6, 7), (1, 5, 6)), ((2, 3, 6, 7), (2, 3, 5, 6)),
    ],
)  # fmt: skip
def test_matmul_takes_a_constant_on_the_right(weight: tuple[int, ...], x: tuple[int, ...]) -> None:
    w, data = normal(1, *weight), normal(2, *x)
    proto = one_node("MatMul", {"w": w}, rank=len(x))
    assert_same(product(only_layer(proto), w, data), run(proto, x=data)["y"])


@pytest.mark.parametrize(
    ("weight", "x"),
    [
        ((7, 6), (6, 5)), ((7, 6), (2, 3, 6, 5)), ((7, 6), (6,)), ((6,), (6, 5)),
        ((6,), (3, 6, 5)), ((3, 7, 6), (3, 6, 5)), ((3, 7, 6), (6, 5)), ((3, 7, 6), (6,)),
    ],
)  # fmt: skip
def test_matmul_takes_a_constant_on_the_left(weight: tuple[int, ...], x: tuple[int, ...]) -> None:
    w, data = normal(1, *weight), normal(2, *x)
    proto = one_node("MatMul", {"w": w}, ["w", "x"], rank=len(x))
    layer = only_layer(proto)
    found = product(layer, w, data)  # (groups, n, rows)
    expected = run(proto, x=data)["y"]
    if len(weight) > 1 and len(x) > 1:
        expected = expected.swapaxes(-1, -2)  # samples last in the graph
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("weight", "x", "groups"),
    [
        ((2, 1, 6, 7), (3, 5, 6), 2), ((1, 3, 6, 7), (2, 1, 5, 6), 3), ((3, 6, 7), (2, 3, 5, 6), 3),
        ((3, 6, 7), (2, 1, 5, 6), 3),
    ],
)  # fmt: skip
def test_batched_weight_broadcasts_both_ways(
    weight: tuple[int, ...], x: tuple[int, ...], groups: int
) -> None:
    """Axes of the weight are groups, all others samples, whatever their order in the output."""
    w, data = normal(1, *weight), normal(2, *x)
    layer = only_layer(one_node("MatMul", {"w": w}, rank=len(x)))
    expected = data @ w
    lead = np.broadcast_shapes(x[:-2], weight[:-2])
    full = (1,) * (len(lead) - len(weight) + 2) + weight[:-2]
    axes = [i for i, size in enumerate(full) if size > 1]
    order = [*axes, *(i for i in range(expected.ndim) if i not in axes)]
    assert layer.layout.groups == groups
    assert_same(product(layer, w, data), expected.transpose(order))


def use_of(proto: ModelProto) -> Use:
    return only_layer(proto).uses[0]


NOT_PRUNED: dict[str, tuple[ModelProto, str]] = {
    "two dynamic operands": (
        model(
            [helper.make_node("MatMul", ["x", "z"], ["y"])],
            [value("x", [5, 5]), value("z", [5, 5])],
            ["y"],
        ),
        "both operands are dynamic",
    ),
    "two constant operands": (
        model(
            [
                helper.make_node("MatMul", ["v", "w"], ["p"]),
                helper.make_node("Add", ["x", "p"], ["y"]),
            ],
            [value("x", [5, 5])],
            ["y"],
            {"v": normal(1, 5, 5), "w": normal(2, 5, 5)},
        ),
        "both operands are constant",
    ),
    "conv of a constant": (
        model(
            [
                helper.make_node("Conv", ["v", "w"], ["p"]),
                helper.make_node("Add", ["x", "p"], ["y"]),
            ],
            [value("x", [1, 4, 3])],
            ["y"],
            {"v": normal(1, 1, 4, 5), "w": normal(2, 4, 4, 3)},
        ),
        "both operands are constant",
    ),
    "conv weight computed from constants": (
        model(
            [
                helper.make_node("Mul", ["w", "w"], ["v"]),
                helper.make_node("Conv", ["x", "v"], ["y"]),
            ],
            [value("x", [1, 4, 9])],
            ["y"],
            {"w": normal(1, 4, 4, 3)},
        ),
        "computed from constants by Mul; fold constants first",
    ),
    "integer weight behind a cast and a scale": (
        model(
            [
                helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT),
                helper.make_node("Mul", ["f", "s"], ["v"]),
                helper.make_node("MatMul", ["x", "v"], ["y"]),
            ],
            [value("x", [5, 5])],
            ["y"],
            {"w": np.ones((5, 5), np.int8), "s": normal(1, 1)},
        ),
        "computed from constants by Mul; fold constants first",
    ),
    "dynamic conv weight": (
        model(
            [
                helper.make_node("Mul", ["w", "s"], ["v"]),
                helper.make_node("Conv", ["x", "v"], ["y"]),
            ],
            [value("x", [1, 4, 9]), value("s", [1])],
            ["y"],
            {"w": normal(1, 4, 4, 3)},
        ),
        "dynamic: made by Mul",
    ),
    "weight that is an input": (
        model(
            [helper.make_node("Conv", ["x", "w"], ["y"])],
            [value("x", [1, 4, 9]), value("w", [4, 4, 3])],
            ["y"],
        ),
        "an input of the graph",
    ),
    "gemm without effect": (
        one_node("Gemm", {"w": normal(1, 5, 5)}, alpha=0.0),
        "alpha is 0",
    ),
    "integer weight behind a cast": (
        model(
            [
                helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
                helper.make_node("MatMul", ["x", "v"], ["y"]),
            ],
            [value("x", [5, 5])],
            ["y"],
            {"w": np.ones((5, 5), np.int8)},
        ),
        "its weight is int8",
    ),
    "integer product": (
        model(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            [value("x", [5, 5], TensorProto.INT32)],
            [value("y", [5, 5], TensorProto.INT32)],
            {"w": np.ones((5, 5), np.int32)},
        ),
        "its weight is int32",
    ),
    "weight cast to integer and back": (
        model(
            [
                helper.make_node("Cast", ["w"], ["i"], to=TensorProto.INT32),
                helper.make_node("Cast", ["i"], ["v"], to=TensorProto.FLOAT),
                helper.make_node("MatMul", ["x", "v"], ["y"]),
            ],
            [value("x", [5, 5])],
            ["y"],
            {"w": normal(1, 5, 5)},
        ),
        "cast to int32",
    ),
    "quantised weight": (
        model(
            [
                helper.make_node("DequantizeLinear", ["w", "s"], ["v"]),
                helper.make_node("MatMul", ["x", "v"], ["y"]),
            ],
            [value("x", [5, 5])],
            ["y"],
            {"w": np.ones((5, 5), np.int8), "s": np.float32(0.1).reshape(())},
        ),
        "quantised, made by DequantizeLinear: prune the float model, then quantise it",
    ),
    "integer operator": (
        model(
            [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
            [value("x", [5, 5], TensorProto.UINT8)],
            [value("y", [5, 5], TensorProto.INT32)],
            {"w": np.ones((5, 5), np.int8)},
        ),
        "quantised: prune the float model, then quantise it",
    ),
    "empty weight": (
        one_node("MatMul", {"w": np.zeros((5, 0), np.float32)}),
        "its weight is empty",
    ),
    "reshape by a computed shape": (
        model(
            [
                helper.make_node("Shape", ["x"], ["n"]),
                helper.make_node("Reshape", ["w", "n"], ["v"]),
                helper.make_node("Conv", ["x", "v"], ["y"]),
            ],
            [value("x", [1, 1, 5])],
            [value("y", [1, 1, 1])],
            {"w": normal(1, 5)},
        ),
        "Reshape whose argument is not constant",
    ),
}


@pytest.mark.parametrize("kind", NOT_PRUNED)
def test_what_is_not_pruned_is_skipped_with_its_reason(kind: str) -> None:
    proto, reason = NOT_PRUNED[kind]
    assert reason in only_reason(proto)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("two dynamic operands", RefusalKind.NO_WEIGHT),
        ("two constant operands", RefusalKind.BOTH_CONSTANT),
        ("conv of a constant", RefusalKind.BOTH_CONSTANT),
        ("conv weight computed from constants", RefusalKind.COMPUTED),
        ("dynamic conv weight", RefusalKind.DYNAMIC),
        ("weight that is an input", RefusalKind.DYNAMIC),
        ("gemm without effect", RefusalKind.NO_EFFECT),
        ("integer product", RefusalKind.NOT_FLOATING),
        ("weight cast to integer and back", RefusalKind.UNSUITED),
        ("quantised weight", RefusalKind.QUANTISED),
        ("integer operator", RefusalKind.QUANTISED),
        ("empty weight", RefusalKind.EMPTY),
        ("reshape by a computed shape", RefusalKind.UNSUITED),
    ],
)
def test_what_is_not_pruned_has_a_kind_that_programs_can_read(name: str, kind: RefusalKind) -> None:
    assert only_skip(NOT_PRUNED[name][0]).refusal.kind is kind


def test_a_call_of_a_function_that_multiplies_is_skipped() -> None:
    function = helper.make_function(
        "own", "Linear", ["a", "b"], ["c"],
        [helper.make_node("MatMul", ["a", "b"], ["c"])], [helper.make_opsetid("", 17)],
    )  # fmt: skip
    node = helper.make_node("Linear", ["x", "w"], ["y"], domain="own")
    proto = model(
        [node], [value("x", [5, 5])], [value("y", [5, 5])], {"w": normal(1, 5, 5)},
        domains=["own"], functions=[function],
    )  # fmt: skip
    assert "inline it first" in only_reason(proto)


def test_an_operator_of_that_name_in_another_domain_is_no_layer() -> None:
    function = helper.make_function(
        "own", "Conv", ["a", "b"], ["c"],
        [helper.make_node("Add", ["a", "b"], ["c"])], [helper.make_opsetid("", 17)],
    )  # fmt: skip
    proto = model(
        [helper.make_node("Conv", ["x", "w"], ["y"], domain="own")],
        [value("x", [5, 5])], [value("y", [5, 5])], {"w": normal(1, 5, 5)},
        domains=["own"], functions=[function],
    )  # fmt: skip
    assert find_layers(Model(proto, None)) == ((), ())


def test_layer_inside_a_branch_knows_its_scope_and_its_top_level_node() -> None:
    then = branch([helper.make_node("MatMul", ["h", "w"], ["t"])], "t", w=normal(1, 5, 5))
    other = branch([helper.make_node("Identity", ["h"], ["e"])], "e")
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    inputs = [value("x", [5, 5]), value("c", [], TensorProto.BOOL)]
    use = use_of(model(nodes, inputs, [value("y", [5, 5])]))
    assert (use.scope, use.top, use.input) == (2, 1, "h")  # the else branch is scope 1


@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Conv", "ConvTranspose"])
@pytest.mark.parametrize("source", ["made", "default"])
def test_data_that_no_sample_changes_make_no_layer(op: str, source: str) -> None:
    shape = (6, 12) if op in ("MatMul", "Gemm") else (2, 6, 5)
    weight = normal(1, 12, 7) if len(shape) == 2 else normal(1, 6, 6, 3)
    nodes = [
        helper.make_node("Sin", ["position"], ["s"]),
        helper.make_node(op, ["s", "w"], ["a"], name="fixed"),
        helper.make_node("Mul", ["a", "x"], ["y"]),
    ]
    weights = {"position": normal(2, *shape), "w": weight}
    inputs = [value("x", [])]
    inputs += [value("position", list(shape))] if source == "default" else []
    proto = model(nodes, inputs, ["y"], weights)
    assert only_reason(proto) == "both operands are constant"


def read_einsum(place: NodePlace) -> Match | Refusal:
    """Take the Einsum that is a product of x with a matrix from the right."""
    root = trace(place.model, place.scope, place.node.input[1])
    if place.attribute("equation", "") != "ni,io->no" or not isinstance(root, Root):
        return Refusal(RefusalKind.UNSUPPORTED, "another Einsum")
    node, layout = place.node, matmul_layout(root.shape, rows_first=False)
    use = Use(
        node=place.label, op="Einsum", scope=place.scope.index, output=node.output[0],
        top=place.top, input=node.input[0], groups=1,
        bias=find_add(place.model, place.scope, node, (layout.rows,)),
    )  # fmt: skip
    return Match(use, root, layout)


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("gram", ["numpy", "graph"])
def test_an_operator_that_is_added_is_pruned_as_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch, sequential: bool, gram: str
) -> None:
    if sequential and gram == "graph":
        gram = "auto"  # the graph computes no Grams there
    added = Operator(read_einsum, lambda node, place, shape: shape[0])
    monkeypatch.setitem(cast("dict[str, Operator]", OPERATORS), "Einsum", added)
    weights = {"w": normal(1, 12, 8), "b": normal(2, 8), "v": normal(3, 8, 5)}
    networks = {
        op: model(
            [helper.make_node(op, ["x", "w"], ["h"], name="first", **attributes),
             helper.make_node("Add", ["h", "b"], ["i"]),
             helper.make_node("Relu", ["i"], ["j"]),
             helper.make_node("MatMul", ["j", "v"], ["y"], name="second")],
            [value("x", [None, 12], TensorProto.FLOAT)], ["y"], weights,
        )
        for op, attributes in (("MatMul", {}), ("Einsum", {"equation": "ni,io->no"}))
    }  # fmt: skip
    found = {
        op: onnx_lobs.prune(
            proto, {"x": normal(4, 100, 12)}, sparsity=0.5, min_weights=0, sequential=sequential,
            gram=gram, include=("first", "second"),
        )
        for op, proto in networks.items()
    }  # fmt: skip
    assert [layer.op for layer in found["Einsum"].report.layers] == ["Einsum", "MatMul"]
    stored = [
        {t.name: numpy_helper.to_array(t) for t in found[op].model.graph.initializer}
        for op in networks
    ]
    for name in weights:
        assert np.array_equal(stored[0][name] == 0, stored[1][name] == 0)
        assert np.abs(stored[0][name] - stored[1][name]).max() <= SUMS
