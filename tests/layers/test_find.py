"""Which nodes become layers, which are skipped and why, and what the options choose."""

from __future__ import annotations

import time
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import pytest
from build_onnx import Array, branch, constant, model, normal, one_node, value
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_lobs.errors import ConfigError, UnsupportedOpError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import SQUARES_HELD, LayerFilter, find_layers, matcher
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.layers.refusal import RefusalKind

NODE = helper.make_node
W = normal(1, 4, 4)


def find(
    proto: ModelProto, selection: LayerFilter | None = None
) -> tuple[tuple[Layer, ...], tuple[Skip, ...]]:
    return find_layers(Model(proto, None), selection)


def square(
    nodes: Sequence[NodeProto], outputs: Sequence[str] = ("y",), **more: Array
) -> ModelProto:
    """A model on x (5, 4) whose weight is w (4, 4)."""
    return model(nodes, [value("x", [5, 4])], list(outputs), {"w": W, **more})


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_every_floating_type_is_taken(dtype: type) -> None:
    elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = one_node("MatMul", {"w": W.astype(dtype)}, elem_type=elem_type)
    (layer,), skips = find(proto)
    assert layer.dtype == dtype
    assert skips == ()


def test_weights_are_found_wherever_they_are_stored() -> None:
    nodes = [
        constant("c", W),
        NODE("MatMul", ["x", "c"], ["p"], name="constant"),
        NODE("Transpose", ["w"], ["t"]),
        NODE("MatMul", ["p", "t"], ["y"], name="initializer"),
    ]
    layers, skips = find(square(nodes))
    assert [layer.name for layer in layers] == ["constant", "initializer"]
    assert [layer.weight for layer in layers] == ["c", "w"]
    assert skips == ()


def test_initializers_listed_as_inputs_are_weights() -> None:
    nodes = [NODE("MatMul", ["x", "w"], ["y"])]
    old = model(nodes, [value("x", [5, 4])], ["y"], {"w": W}, ir_version=3)
    new = model(nodes, [value("x", [5, 4]), value("w", [4, 4])], ["y"], {"w": W})
    assert len(find(old)[0]) == 1
    assert len(find(new)[0]) == 1


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("layers[0].fc", "layers[0].fc", True),
        ("layers[0].fc", "layers0.fc", True),  # a class of characters, as ever
        ("layers[*].fc", "layers[0].fc", True),
        ("layers[?].fc", "layers[12].fc", False),
        ("what?*", "what?*", True),
        ("[ab", "[ab", True),
        ("*.fc", "layers[0].fc", True),
        ("layers[0].fc", "layers[1].fc", False),
    ],
)
def test_names_with_the_signs_of_a_glob_match_themselves(
    pattern: str, name: str, is_match: bool
) -> None:
    assert matcher(pattern)(name) is is_match


def in_branches(
    then: Sequence[NodeProto], other: Sequence[NodeProto], **inner: Array
) -> ModelProto:
    node = NODE(
        "If", ["c"], ["y"], name="if",
        then_branch=branch(then, "t", **inner), else_branch=branch(other, "e"),
    )  # fmt: skip
    inputs = [value("x", [5, 4]), value("c", [], TensorProto.BOOL)]
    return model([node], inputs, [value("y", [5, 4])], {"w": W})


def test_branches_of_an_if_hold_layers_and_share_outer_weights() -> None:
    proto = in_branches(
        [NODE("MatMul", ["x", "v"], ["s"], name="own"), NODE("MatMul", ["s", "w"], ["t"])],
        [NODE("MatMul", ["x", "w"], ["e"], name="outer")],
        v=normal(2, 4, 4),
    )
    layers, skips = find(proto)
    by_name = {layer.weight: layer for layer in layers}
    assert skips == ()
    assert (by_name["v"].scope, by_name["w"].scope) == (2, 0)
    assert sorted(use.scope for use in by_name["w"].uses) == [1, 2]


def test_nested_branches_hold_layers() -> None:
    inner = NODE(
        "If", ["c"], ["t"],
        then_branch=branch([NODE("MatMul", ["x", "w"], ["a"], name="deep")], "a"),
        else_branch=branch([NODE("Identity", ["x"], ["b"])], "b"),
    )  # fmt: skip
    (layer,), _ = find(in_branches([inner], [NODE("Identity", ["x"], ["e"])]))
    assert layer.uses[0].node == "deep"
    assert layer.uses[0].top == 0


def test_tied_weight_is_one_layer_with_every_use() -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="one"),
        NODE("Identity", ["w"], ["v"]),
        NODE("MatMul", ["a", "v"], ["y"], name="two"),
    ]
    (layer,), skips = find(square(nodes))
    assert [use.node for use in layer.uses] == ["one", "two"]
    assert layer.names == ("one", "w", "one", "two")
    assert skips == ()


def test_tied_weight_across_operators_is_one_layer() -> None:
    nodes = [
        NODE("Gemm", ["x", "w"], ["a"], transB=1),
        NODE("Transpose", ["w"], ["v"]),
        NODE("MatMul", ["a", "v"], ["y"]),
    ]
    (layer,), _ = find(square(nodes))
    assert [use.op for use in layer.uses] == ["Gemm", "MatMul"]


STRANGERS: dict[str, tuple[ModelProto, str, int]] = {
    "other orientation": (
        square([NODE("MatMul", ["x", "w"], ["a"]), NODE("Gemm", ["a", "w"], ["y"], transB=1)]),
        "tied between nodes that orient it differently",
        2,
    ),
    "read by Gather": (
        square(
            [
                NODE("Gather", ["w", "i"], ["a"]),
                NODE("MatMul", ["x", "w"], ["m"]),
                NODE("Add", ["m", "a"], ["y"]),
            ],
            i=np.array([0]),
        ),
        "also read by Gather 'a'",
        1,
    ),
    "read through a transpose": (
        square(
            [
                NODE("Transpose", ["w"], ["v"]),
                NODE("Relu", ["v"], ["r"], name="act"),
                NODE("MatMul", ["x", "w"], ["a"]),
                NODE("MatMul", ["a", "r"], ["y"]),
            ]
        ),
        "also read by Relu 'act'",
        2,
    ),
    "graph output": (
        square([NODE("MatMul", ["x", "w"], ["y"])], ("y", "w")),
        "also read by the graph's outputs",
        1,
    ),
    "graph output through an identity": (
        square([NODE("MatMul", ["x", "w"], ["y"]), NODE("Identity", ["w"], ["z"])], ("y", "z")),
        "also read by the graph's outputs",
        1,
    ),
    "read in a branch": (
        in_branches(
            [NODE("MatMul", ["x", "w"], ["t"])],
            [NODE("ReduceMax", ["w"], ["m"]), NODE("Add", ["x", "m"], ["e"])],
        ),
        "also read by ReduceMax 'm'",
        1,
    ),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_weight_with_a_reader_that_is_no_layer_is_skipped(kind: str) -> None:
    proto, reason, n_skips = STRANGERS[kind]
    layers, skips = find(proto)
    assert layers == ()
    assert len(skips) == n_skips
    assert any(reason in skip.reason for skip in skips)


def two_convs() -> ModelProto:
    """An ordinary Conv, a depthwise one and a small MatMul."""
    nodes = [
        NODE("Conv", ["x", "w"], ["a"], name="body/conv"),
        NODE("Conv", ["a", "d"], ["b"], name="body/depthwise", group=4),
        NODE("MatMul", ["b", "m"], ["y"], name="head"),
    ]
    weights = {"w": normal(1, 4, 4, 3), "d": normal(2, 4, 1, 3), "m": normal(3, 5, 2)}
    return model(nodes, [value("x", [1, 4, 9])], ["y"], weights)


def chosen(**fields: object) -> tuple[list[str], dict[str, str]]:
    layers, skips = find(two_convs(), LayerFilter(**fields))  # type: ignore[arg-type]
    return [layer.name for layer in layers], {skip.node: skip.reason for skip in skips}


def test_depthwise_is_left_dense_by_default() -> None:
    names, reasons = chosen()
    assert names == ["body/conv", "head"]
    assert reasons == {
        "body/depthwise": "depthwise: left dense unless zeros are measured or it is included"
    }


@pytest.mark.parametrize("pattern", ["body/depthwise", "*wise", "re:^body/d", "d"])
def test_include_takes_what_it_names_and_nothing_else(pattern: str) -> None:
    names, reasons = chosen(include=(pattern,), min_weights=10_000, op_types=("Gemm",))
    assert names == ["body/depthwise"]
    assert set(reasons.values()) == {"not included by name"}


def test_a_layer_with_a_sparsity_of_its_own_is_taken_unless_it_is_excluded() -> None:
    own = ("body/depthwise", "head", "body*")
    assert chosen(own=own, min_weights=11)[0] == ["body/conv", "body/depthwise", "head"]
    assert chosen(own=own[:1], include=("head",))[0] == ["body/depthwise", "head"]
    assert chosen(own=own, exclude=("*depthwise",))[0] == ["body/conv", "head"]


@pytest.mark.parametrize("pattern", ["body/*", "re:body"])
def test_exclude_wins_over_include(pattern: str) -> None:
    names, reasons = chosen(include=("*",), exclude=(pattern,))
    assert names == ["head"]
    assert reasons["body/conv"] == "excluded by name"


def test_op_types_choose_operators() -> None:
    names, reasons = chosen(op_types=("MatMul",))
    assert names == ["head"]
    assert reasons["body/conv"] == "Conv is not among the operators asked for"


def test_small_layers_are_left_dense() -> None:
    names, reasons = chosen(min_weights=11)
    assert names == ["body/conv"]
    assert reasons["head"] == "10 weights, fewer than 11"


@pytest.mark.parametrize(
    ("fields", "node", "kind"),
    [
        ({}, "body/depthwise", RefusalKind.DEPTHWISE),
        ({"include": ("head",)}, "body/conv", RefusalKind.NOT_INCLUDED),
        ({"exclude": ("head",)}, "head", RefusalKind.EXCLUDED),
        ({"op_types": ("Conv",)}, "head", RefusalKind.OPERATOR),
        ({"min_weights": 11}, "head", RefusalKind.SMALL),
    ],
)
def test_what_the_options_leave_has_a_kind(
    fields: dict[str, object], node: str, kind: RefusalKind
) -> None:
    _, skips = find(two_convs(), LayerFilter(**fields))  # type: ignore[arg-type]
    assert {skip.node: skip.refusal.kind for skip in skips}[node] is kind


@pytest.mark.parametrize("field", ["include", "exclude"])
@pytest.mark.parametrize("pattern", ["nothing", "re:^nothing$", "BODY/*"])
def test_pattern_that_matches_nothing_is_an_error(field: str, pattern: str) -> None:
    with pytest.raises(ConfigError, match="matches no node and no weight; there are: body/conv"):
        chosen(**{field: (pattern,)})


def test_bad_regular_expression_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"'re:\[' is not a regular expression"):
        matcher("re:[")


def test_node_that_is_named_but_cannot_be_pruned_is_an_error() -> None:
    proto = square([NODE("Relu", ["w"], ["r"]), NODE("MatMul", ["x", "r"], ["y"], name="head")])
    with pytest.raises(UnsupportedOpError, match=r"'head' was included by name, but: .* by Relu"):
        find(proto, LayerFilter(include=("head",)))


def test_glob_over_a_node_that_cannot_be_pruned_only_skips_it() -> None:
    nodes = [
        NODE("Relu", ["w"], ["r"]),
        NODE("MatMul", ["x", "r"], ["a"], name="head1"),
        NODE("MatMul", ["a", "v"], ["y"], name="head2"),
    ]
    (layer,), (skip,) = find(square(nodes, v=W), LayerFilter(include=("head*",)))
    assert (layer.name, skip.node) == ("head2", "head1")


def test_layers_come_in_the_order_in_which_they_run() -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="b"),
        NODE("MatMul", ["a", "v"], ["y"], name="a"),
    ]
    assert [layer.name for layer in find(square(nodes, v=W))[0]] == ["b", "a"]


def test_nodes_without_names_are_called_by_weight_and_output() -> None:
    (layer,), _ = find(square([NODE("MatMul", ["x", "w"], ["y"])]))
    assert (layer.name, layer.uses[0].node) == ("w", "MatMul_y")


def test_layer_whose_second_moments_do_not_fit_is_left_with_that_reason() -> None:
    wide = normal(2, 4, 300)
    nodes = [NODE("MatMul", ["x", "w"], ["a"]), NODE("MatMul", ["a", "v"], ["b"])]
    nodes += [NODE("MatMul", ["b", "u"], ["y"], name="wide")]
    proto = square(nodes, v=wide, u=normal(3, 300, 2))
    most = SQUARES_HELD * 8 * 299**2
    layers, (skip,) = find(proto, LayerFilter(free_bytes=most))
    assert [layer.weight for layer in layers] == ["w", "v"]
    assert (skip.node, skip.refusal.kind) == ("wide", RefusalKind.TOO_WIDE)
    assert "its 300 inputs need 0.0 GiB of second moments" in skip.reason
    assert len(find(proto, LayerFilter(free_bytes=SQUARES_HELD * 8 * 300**2))[0]) == 3
    assert len(find(proto)[0]) == 3


def test_finding_layers_takes_time_that_grows_with_their_number() -> None:
    n = 2000
    steps = [NODE("MatMul", [f"x{i}", "w"], [f"x{i + 1}"], name=f"n{i}") for i in range(n)]
    index = Model(model(steps, [value("x0", [5, 4])], [f"x{n}"], {"w": W}), None)
    started = time.process_time()
    (layer,), skips = find_layers(index)
    assert len(layer.uses) == n
    assert skips == ()
    assert time.process_time() - started < 2.0  # 0.1 s; by the square it was 5 s
