"""Weights computed from constants are folded where that makes layers, and refused with reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from build_onnx import (
    Array,
    branch,
    constant,
    initializer,
    model,
    normal,
    run,
    tensor,
    value,
)
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_lobs.graph.files.load import LoadedModel, load_model
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.model import Model
from onnx_lobs.layers import fold_choice
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.fold import Folding, fold_weights
from onnx_lobs.layers.refusal import RefusalKind

NODE = helper.make_node
MATRIX = normal(1, 6, 4)


def product(
    nodes: list[NodeProto], weights: Mapping[str, Array], *, opset: int = 18, **options: Any
) -> ModelProto:
    """The model y = x @ v, with nodes that compute v."""
    last = NODE("MatMul", ["x", "v"], ["y"], name="product")
    inputs = [value("x", [2, 6])]
    return model([*nodes, last], inputs, ["y"], weights, opset=opset, **options)


def split() -> ModelProto:
    """The model y = (x @ a) + (x @ b), whose weights are two parts of one matrix."""
    nodes = [
        NODE("Split", ["w"], ["v", "u"], axis=1, num_outputs=2),
        NODE("MatMul", ["x", "v"], ["p"], name="product"),
        NODE("MatMul", ["x", "u"], ["q"]),
        NODE("Add", ["p", "q"], ["y"]),
    ]
    return model(nodes, [value("x", [2, 6])], ["y"], {"w": normal(1, 6, 8)}, opset=18)


def weight_norm(gain: str, direction: str, out: str, axes: str = "axes") -> list[NodeProto]:
    """The nodes that PyTorch exports for a normalised weight."""
    return [
        NODE("ReduceL2", [direction, axes], [f"{out}_norm"], keepdims=1),
        NODE("Div", [gain, f"{out}_norm"], [f"{out}_scale"]),
        NODE("Mul", [direction, f"{out}_scale"], [out]),
    ]


def sparse_constant(name: str) -> NodeProto:
    values = tensor("", normal(1, 5))
    indices = tensor("", np.array([0, 3, 9, 14, 20]))
    sparse = helper.make_sparse_tensor(values, indices, [6, 4])
    return NODE("Constant", [], [name], sparse_value=sparse)


INT = np.int64
COMPUTED: dict[str, tuple[list[NodeProto], dict[str, Array]]] = {
    "weight normalisation": (
        weight_norm("g", "w", "v"),
        {"g": normal(2, 1, 4), "w": MATRIX, "axes": np.array([0], INT)},
    ),
    "Slice": (
        [NODE("Slice", ["w", "b", "e"], ["v"])],
        {"w": normal(1, 9, 4), "b": np.array([2], INT), "e": np.array([8], INT)},
    ),
    "Concat": ([NODE("Concat", ["w", "u"], ["v"], axis=0)], {"w": MATRIX[:2], "u": MATRIX[2:]}),
    "Sqrt and Add": (
        [NODE("Sqrt", ["w"], ["s"]), NODE("Add", ["s", "w"], ["v"])], {"w": np.abs(MATRIX)},
    ),
    "Gather": (
        [NODE("Gather", ["w", "i"], ["v"])],
        {"w": normal(1, 9, 4), "i": np.array([8, 0, 1, 5, 5, 2], INT)},
    ),
    "Expand": ([NODE("Expand", ["w", "n"], ["v"])], {"w": MATRIX[:1], "n": np.array([6, 4], INT)}),
    "Where": (
        [NODE("Where", ["c", "w", "u"], ["v"])],
        {"c": MATRIX > 0, "w": MATRIX, "u": normal(3, 6, 4)},
    ),
    "ConstantOfShape": (
        [
            NODE("ConstantOfShape", ["n"], ["f"], value=tensor("", np.float32([0.5]))),
            NODE("Sub", ["w", "f"], ["v"]),
        ],
        {"w": MATRIX, "n": np.array([6, 4], INT)},
    ),
    "Cast from float64": (
        [NODE("Exp", ["w"], ["d"]), NODE("Cast", ["d"], ["v"], to=TensorProto.FLOAT)],
        {"w": MATRIX.astype(np.float64)},
    ),
    "Cast from int64": (
        [NODE("Cast", ["w"], ["f"], to=TensorProto.FLOAT), NODE("Mul", ["f", "s"], ["v"])],
        {"w": np.arange(24, dtype=INT).reshape(6, 4), "s": normal(1, 1)},
    ),
    "low-rank update": (
        [NODE("MatMul", ["a", "b"], ["m"], name="inner"), NODE("Add", ["w", "m"], ["v"])],
        {"a": normal(2, 6, 2), "b": normal(3, 2, 4), "w": MATRIX},
    ),
    "Constant nodes": (
        [
            constant("w", MATRIX), NODE("Constant", [], ["s"], value_float=0.3),
            NODE("Mul", ["w", "s"], ["v"]),
        ], {},
    ),
    "Constant node of numbers": (
        [NODE("Constant", [], ["w"], value_floats=[0.1] * 24),
         NODE("Constant", [], ["n"], value_ints=[6, 4]), NODE("Reshape", ["w", "n"], ["v"])], {},
    ),
    "sparse Constant node": ([sparse_constant("w"), NODE("Mul", ["w", "w"], ["v"])], {}),
    "Reshape by a computed shape": (
        [NODE("Shape", ["u"], ["n"]), NODE("Reshape", ["w", "n"], ["v"])],
        {"u": np.zeros((6, 4), np.float32), "w": MATRIX.ravel()},
    ),
    "Reshape of what is computed by what is computed": (
        [NODE("Neg", ["w"], ["a"]), NODE("Shape", ["u"], ["n"]),
         NODE("Reshape", ["a", "n"], ["v"])],
        {"u": np.zeros((6, 4), np.float32), "w": MATRIX.ravel()},
    ),
    "reversible steps behind": (
        [NODE("Neg", ["w"], ["n"]), NODE("Transpose", ["n"], ["v"])], {"w": MATRIX.T.copy()},
    ),
}  # fmt: skip


def loaded_from(proto: ModelProto) -> LoadedModel:
    return load_model(proto)


def folded(proto: ModelProto) -> tuple[ModelProto, Folding]:
    loaded = load_model(proto)
    found = fold_weights(loaded)
    onnx.checker.check_model(loaded.proto, full_check=True)
    return loaded.proto, found


def in_original(proto: ModelProto, name: str, elem_type: int = TensorProto.FLOAT) -> Array:
    """What onnxruntime computes for a value of the main graph."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.append(value(name, None, elem_type))
    feeds = {i.name: np.ones([d.dim_value for d in i.type.tensor_type.shape.dim], np.float32)
             for i in proto.graph.input}  # fmt: skip
    return run(copy, **feeds)[name]


@pytest.mark.parametrize("kind", COMPUTED)
def test_a_computed_weight_becomes_a_layer_with_the_same_bits(kind: str) -> None:
    nodes, weights = COMPUTED[kind]
    proto = product(nodes, weights)
    after, found = folded(proto)
    layers, skips = find_layers(Model(after, None), refused=found.refused)
    assert [layer.name for layer in layers] == ["product"]
    assert skips == ()
    (name,) = found.weights
    stored = next(t for t in after.graph.initializer if t.name == name)
    expected = in_original(proto, name, stored.data_type)
    assert initializer(after, name).tobytes() == expected.tobytes()
    x = normal(7, 2, 6)
    assert np.array_equal(run(after, x=x)["y"], run(proto, x=x)["y"])


STEPS_BEHIND = {  # what is left, and what is folded
    "reversible steps behind": (["Transpose", "MatMul"], "n"),
    "Cast from float64": (["Cast", "MatMul"], "d"),
    "Constant node of numbers": (["Constant", "Reshape", "MatMul"], "w"),
}


@pytest.mark.parametrize("kind", [k for k in COMPUTED if k not in STEPS_BEHIND])
def test_nothing_is_left_of_what_only_computed_the_weight(kind: str) -> None:
    nodes, weights = COMPUTED[kind]
    after, _ = folded(product(nodes, weights))
    assert [node.op_type for node in after.graph.node] == ["MatMul"]
    assert [t.name for t in after.graph.initializer] == ["v"]


@pytest.mark.parametrize("kind", STEPS_BEHIND)
def test_steps_that_can_be_undone_stay_and_what_lies_before_them_is_folded(kind: str) -> None:
    nodes, weights = COMPUTED[kind]
    after, found = folded(product(nodes, weights))
    left, name = STEPS_BEHIND[kind]
    assert found.weights == (name,)
    assert [node.op_type for node in after.graph.node] == left


def test_parts_of_one_matrix_are_folded_together() -> None:
    proto = split()
    after, found = folded(proto)
    assert set(found.weights) == {"v", "u"}
    assert {t.name for t in after.graph.initializer} == {"v", "u"}
    for name in found.weights:
        assert initializer(after, name).tobytes() == in_original(proto, name).tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_types_are_computed_in_their_type(dtype: str) -> None:
    nodes, weights = COMPUTED["weight normalisation"]
    weights = {k: w if k == "axes" else w.astype(dtype) for k, w in weights.items()}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    last = NODE("MatMul", ["x", "v"], ["y"], name="product")
    out = value("y", None, kind)
    proto = model([*nodes, last], [value("x", [2, 6], kind)], [out], weights, opset=18)
    after, _ = folded(proto)
    copy = ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.append(value("v", None, kind))
    assert initializer(after, "v").dtype == dtype
    expected = run(copy, x=np.ones((2, 6), dtype))["v"]
    assert initializer(after, "v").tobytes() == expected.tobytes()


def test_bfloat16_is_computed_in_float32_and_rounded_once() -> None:
    nodes, weights = COMPUTED["weight normalisation"]
    narrow = {k: w if k == "axes" else w.astype(ml_dtypes.bfloat16) for k, w in weights.items()}
    kind = TensorProto.BFLOAT16
    last = NODE("MatMul", ["x", "v"], ["y"], name="product")
    proto = model(
        [*nodes, last], [value("x", [2, 6], kind)], [value("y", None, kind)], narrow, opset=18
    )
    after, found = folded(proto)
    assert found.weights == ("v",)
    stored = next(t for t in after.graph.initializer if t.name == "v")
    assert stored.data_type == kind
    wide = product(
        nodes, {k: w if k == "axes" else w.astype(np.float32) for k, w in narrow.items()}
    )
    expected = in_original(wide, "v").astype(ml_dtypes.bfloat16)
    assert stored.raw_data == expected.tobytes()


def test_moving_bfloat16_needs_no_rounding() -> None:
    kind = TensorProto.BFLOAT16
    stored = normal(1, 9, 4, dtype=ml_dtypes.bfloat16)
    nodes = [
        NODE("Slice", ["w", "b", "e"], ["v"]),
        NODE("MatMul", ["x", "v"], ["y"], name="product"),
    ]
    weights = {"w": stored, "b": np.array([2], INT), "e": np.array([8], INT)}
    proto = model(nodes, [value("x", [2, 6], kind)], [value("y", None, kind)], weights)
    after, found = folded(proto)
    assert found.weights == ("v",)
    assert after.graph.initializer[0].raw_data == stored[2:8].tobytes()


def test_a_weight_that_two_nodes_read_stays_one_layer() -> None:
    nodes = [
        *weight_norm("g", "w", "v"),
        NODE("MatMul", ["x", "v"], ["h"]),
        NODE("MatMul", ["h", "v"], ["y"]),
    ]
    weights = {"g": normal(2, 1, 6), "w": normal(1, 6, 6), "axes": np.array([0], INT)}
    after, _ = folded(model(nodes, [value("x", [2, 6])], ["y"], weights, opset=18))
    (layer,), _ = find_layers(Model(after, None))
    assert len(layer.uses) == 2


def test_a_shared_argument_stays_while_something_reads_it() -> None:
    nodes = [
        *weight_norm("g", "w", "v"),
        NODE("MatMul", ["x", "v"], ["h"]),
        NODE("ReduceSum", ["h", "axes"], ["y"]),
    ]
    weights = {"g": normal(2, 1, 4), "w": MATRIX, "axes": np.array([0], INT)}
    after, _ = folded(model(nodes, [value("x", [2, 6])], ["y"], weights, opset=18))
    assert {t.name for t in after.graph.initializer} == {"axes", "v"}


def test_ir_version_3_lists_the_new_initializer_as_input_and_the_old_ones_no_more() -> None:
    nodes, weights = COMPUTED["Sqrt and Add"]
    proto = product(nodes, weights, opset=8, ir_version=3)
    after, found = folded(proto)
    assert found.weights == ("v",)
    assert [i.name for i in after.graph.input] == ["x", "v"]
    x = normal(7, 2, 6)
    assert np.array_equal(run(after, x=x)["y"], run(proto, x=x)["y"])


def inside_branches() -> ModelProto:
    """Both branches slice a constant of the main graph; values in them have the same names."""

    def part(begin: str, end: str) -> list[NodeProto]:
        return [
            NODE("Slice", ["outer", begin, end], ["v"]),
            NODE("MatMul", ["x", "v"], ["t"], name=f"in {begin}"),
        ]

    nodes = [
        NODE("Neg", ["w"], ["outer"]),
        NODE(
            "If", ["c"], ["y"],
            then_branch=branch(part("zero", "six"), "t"),
            else_branch=branch(part("six", "twelve"), "t"),
        ),
    ]  # fmt: skip
    weights = {"w": normal(1, 12, 4)}
    weights |= {k: np.array([n], INT) for k, n in {"zero": 0, "six": 6, "twelve": 12}.items()}
    inputs = [value("x", [2, 6]), value("c", [], TensorProto.BOOL)]
    return model(nodes, inputs, [value("y", [2, 4])], weights)


def test_weights_computed_in_branches_are_stored_in_them() -> None:
    proto = inside_branches()
    after, found = folded(proto)
    layers, _ = find_layers(Model(after, None))
    assert {layer.name for layer in layers} == {"in zero", "in six"}
    assert [node.op_type for node in after.graph.node] == ["If"]
    assert len(after.graph.initializer) == 0
    assert found.weights == ("v", "v")
    x = normal(7, 2, 6)
    for choice in (True, False):
        feeds = {"x": x, "c": np.array(choice)}
        assert np.array_equal(run(after, **feeds)["y"], run(proto, **feeds)["y"])


def with_loop(opset: int) -> ModelProto:
    body = helper.make_graph(
        [NODE("MatMul", ["h", "v"], ["t"], name="product"), NODE("Identity", ["c"], ["k"])], "b",
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("h", [2, 4])],
        [value("k", [], TensorProto.BOOL), value("t", [2, 4])],
    )  # fmt: skip
    nodes = [NODE("Neg", ["w"], ["v"]), NODE("Loop", ["n", "", "x"], ["y"], body=body)]
    weights = {"w": normal(1, 4, 4), "n": np.array(3)}
    return model(nodes, [value("x", [2, 4])], [value("y", [2, 4])], weights, opset=opset)


def quantised(behind: list[NodeProto], source: str) -> ModelProto:
    weights = {
        "w": np.ones((6, 4), np.int8), "s": np.float32(0.1).reshape(()), "f": normal(1, 1)
    }  # fmt: skip
    first = NODE("DequantizeLinear", ["w", "s"], [source])
    return product([first, *behind], weights)


def unknown_domain() -> ModelProto:
    function = helper.make_function(
        "own", "Double", ["a"], ["b"], [NODE("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    nodes = [NODE("Double", ["w"], ["v"], domain="own")]
    return product(nodes, {"w": MATRIX}, domains=["own"], functions=[function])


def overridable() -> ModelProto:
    nodes = [NODE("Neg", ["w"], ["v"]), NODE("MatMul", ["x", "v"], ["y"], name="product")]
    inputs = [value("x", [2, 6]), value("w", [6, 4])]
    return model(nodes, inputs, ["y"], {"w": MATRIX})


def read_elsewhere() -> ModelProto:
    nodes = [
        NODE("Neg", ["w"], ["v"]),
        NODE("MatMul", ["x", "v"], ["p"], name="product"),
        NODE("Add", ["p", "v"], ["y"], name="stranger"),
    ]
    return model(nodes, [value("x", [4, 4])], ["y"], {"w": normal(1, 4, 4)})


def in_an_output() -> ModelProto:
    nodes = [NODE("Neg", ["w"], ["v"]), NODE("MatMul", ["x", "v"], ["y"], name="product")]
    return model(nodes, [value("x", [2, 6])], ["y", value("v", [6, 4])], {"w": MATRIX})


def of_conditions() -> ModelProto:
    same = branch([NODE("Identity", ["w"], ["a"])], "a")
    other = branch([NODE("Neg", ["w"], ["b"])], "b")
    node = NODE("If", ["c"], ["v"], then_branch=same, else_branch=other)
    return product([node], {"w": MATRIX, "c": np.array(False)})


REFUSED: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "random numbers": (
        lambda: product([NODE("RandomNormal", [], ["v"], shape=[6, 4])], {}),
        "both operands are dynamic",
    ),
    "random numbers of a constant's shape": (
        lambda: product([NODE("RandomNormalLike", ["w"], ["v"])], {"w": MATRIX}),
        "both operands are dynamic",
    ),
    "another domain": (unknown_domain, "both operands are dynamic"),
    "an input with a default": (overridable, "computed from constants by Neg"),
    "dequantised": (
        lambda: quantised([], "v"), "quantised, made by DequantizeLinear: prune the float model",
    ),
    "dequantised and moved": (
        lambda: quantised([NODE("Identity", ["q"], ["v"])], "q"),
        "quantised, made by DequantizeLinear: prune the float model",
    ),
    "dequantised and scaled": (
        lambda: quantised([NODE("Mul", ["q", "f"], ["v"])], "q"),
        "quantised, computed from what DequantizeLinear makes: prune the",
    ),
    "narrow integers": (
        lambda: product(
            [NODE("Cast", ["w"], ["f"], to=TensorProto.FLOAT), NODE("Mul", ["f", "s"], ["v"])],
            {"w": np.ones((6, 4), np.int8), "s": normal(1, 1)},
        ),
        "its weight is quantised, computed from int8: prune the float model",
    ),
    "an old loop": (lambda: with_loop(12), "inside a Loop"),
    "read elsewhere": (read_elsewhere, "also read by Add 'stranger'"),
    "an output": (in_an_output, "also read by the graph's outputs"),
    "an If": (of_conditions, "computed from constants by If; fold constants first"),
    "an integer weight": (
        lambda: product(
            [NODE("Sin", ["w"], ["f"]), NODE("Cast", ["f"], ["i"], to=TensorProto.INT32),
             NODE("Cast", ["i"], ["v"], to=TensorProto.FLOAT)], {"w": MATRIX},
        ),
        "its weight is int32; only floating weights are pruned",
    ),
    "what onnxruntime cannot compute": (
        lambda: product(
            [NODE("Gather", ["w", "i"], ["v"])], {"w": MATRIX, "i": np.full(6, 99, INT)}
        ),
        "by Gather, and onnxruntime cannot compute them",
    ),
}  # fmt: skip


def test_a_computed_weight_of_a_product_in_a_loop_is_folded() -> None:
    loaded = load_model(with_loop(17))
    assert fold_weights(loaded).weights == ("v",)
    (layer,), skips = find_layers(Model(loaded.proto, None))
    assert (layer.name, skips) == ("product", ())


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_folded_stays_as_it_is_with_its_reason(kind: str) -> None:
    proto = REFUSED[kind][0]()
    loaded = load_model(proto)
    before = loaded.proto.SerializeToString(deterministic=True)
    found = fold_weights(loaded)
    assert found.weights == ()
    assert found.notes == []
    assert loaded.proto.SerializeToString(deterministic=True) == before
    layers, skips = find_layers(Model(loaded.proto, None), refused=found.refused)
    assert layers == ()
    (skip,) = skips
    assert REFUSED[kind][1] in skip.reason
    is_quantised = "quantised" in REFUSED[kind][1]
    assert (skip.refusal.kind is RefusalKind.QUANTISED) == is_quantised


def shared(size: int) -> ModelProto:
    """A matrix of float32 that an Add reads, and of which a layer reads one half."""
    nodes = [
        NODE("Slice", ["w", "b", "e"], ["v"]),
        NODE("MatMul", ["x", "v"], ["p"], name="product"),
        NODE("ReduceSum", ["w"], ["t"], keepdims=0),
        NODE("Add", ["p", "t"], ["y"]),
    ]
    weights = {
        "w": normal(1, 2 * size, 512), "b": np.array([0], INT), "e": np.array([size], INT)
    }  # fmt: skip
    return model(nodes, [value("x", [2, size])], ["y"], weights, opset=18)


def test_a_part_of_a_large_matrix_that_others_read_would_be_stored_twice_and_is_refused() -> None:
    proto = shared(520)
    loaded = load_model(proto)
    found = fold_weights(loaded)
    assert found.weights == ()
    _, (skip,) = find_layers(Model(loaded.proto, None), refused=found.refused)
    assert f"{520 * 512 * 4 - 2 * 8:,} bytes larger, more than the 1,048,576 allowed" in skip.reason
    assert "other nodes read what it is computed from; fold constants first" in skip.reason
    assert skip.refusal.kind is RefusalKind.COMPUTED
    assert skip.refusal.maker == "Slice"


def test_a_weight_far_larger_than_its_sources_is_refused() -> None:
    nodes = [
        NODE("Expand", ["w", "n"], ["v"]),
        NODE("MatMul", ["x", "v"], ["y"], name="product"),
    ]
    weights = {"w": normal(1, 1, 512), "n": np.array([600, 512], INT)}
    loaded = load_model(model(nodes, [value("x", [2, 600])], ["y"], weights))
    found = fold_weights(loaded)
    assert found.weights == ()
    assert "because it is computed from smaller constants; fold" in found.refused[0, "y"].reason


def test_a_small_part_is_folded_although_others_read_the_matrix() -> None:
    after, found = folded(shared(500))
    assert found.weights == ("v",)
    assert {t.name for t in after.graph.initializer} == {"w", "v"}


def test_growth_is_counted_over_all_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: list[NodeProto] = []
    for i, (source, out) in enumerate([("x", "p"), ("p", "q"), ("q", "y")]):
        nodes += [
            NODE("Expand", [f"w{i}", "n"], [f"v{i}"]),
            NODE("MatMul", [source, f"v{i}"], [out]),
        ]
    weights = {f"w{i}": normal(i, 1, 8) for i in range(3)} | {"n": np.array([8, 8], INT)}
    proto = model(nodes, [value("x", [2, 8])], ["y"], weights)
    one = 8 * 8 * 4 - 8 * 4
    monkeypatch.setattr(fold_choice, "ALLOWANCE", 2 * one)
    loaded = load_model(proto)
    assert fold_weights(loaded).weights == ("v0", "v1")


def test_a_node_that_stays_for_another_output_gives_the_folded_one_a_new_name() -> None:
    nodes = [
        NODE("Split", ["w"], ["v", "u"], axis=1, num_outputs=2),
        NODE("MatMul", ["x", "v"], ["p"], name="product"),
        NODE("ReduceSum", ["u"], ["t"], keepdims=0),
        NODE("Add", ["p", "t"], ["y"]),
    ]
    proto = model(
        nodes, [value("x", [2, 6])], ["y"], {"w": normal(1, 6, 8), "v_unread": np.ones(1)}, opset=18
    )
    after, found = folded(proto)
    assert found.weights == ("v",)
    assert after.graph.node[0].output == ["v_unread_", "u"]
    x = normal(7, 2, 6)
    assert np.array_equal(run(after, x=x)["y"], run(proto, x=x)["y"])


def test_what_no_message_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, weights = COMPUTED["Concat"]
    monkeypatch.setattr(fold_choice, "MOST_INSIDE", 10)
    found = fold_weights(load_model(product(nodes, weights)))
    assert "fold constants first, into external data" in found.refused[0, "y"].reason


def everything() -> ModelProto:
    """A model with something in every field that folding does not concern."""
    nodes, weights = COMPUTED["weight normalisation"]
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [NODE("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    nodes = [
        NODE("Twice", ["x"], ["d"], domain="own", name="call", doc_string="a call"),
        *nodes,
        NODE("MatMul", ["d", "v"], ["p"], name="product", doc_string="a product"),
        NODE("Mul", ["p", "spare"], ["y"]),
    ]
    proto = model(
        nodes, [value("x", [2, 6])], ["y"], weights | {"spare": normal(4, 1), "unused": MATRIX},
        opset=18, domains=["own", "somebody.else"], functions=[function],
        value_info=[value("p", [2, 4]), value("v_scale", [1, 4]), value("v", [6, 4])],
    )  # fmt: skip
    proto.producer_name, proto.producer_version = "a producer", "1.2"
    proto.domain, proto.model_version, proto.doc_string = "org", 7, "a model"
    proto.graph.doc_string = "a graph"
    helper.set_model_props(proto, {"author": "somebody"})
    training = proto.training_info.add()
    training.update_binding.add(key="spare", value="spare")
    proto.graph.quantization_annotation.add(tensor_name="d")
    return proto


def test_everything_else_stays_byte_for_byte() -> None:
    proto = everything()
    after, _ = folded(proto)
    expected = ModelProto()
    expected.CopyFrom(proto)
    graph = expected.graph
    del graph.node[1:4]
    for entries in (graph.initializer, graph.value_info):
        for entry in [e for e in entries if e.name in ("g", "w", "axes", "v_scale")]:
            entries.remove(entry)
    stored = next(t for t in after.graph.initializer if t.name == "v")
    graph.initializer.append(stored)
    assert after.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )


def test_what_training_updates_is_kept() -> None:
    nodes, weights = COMPUTED["weight normalisation"]
    proto = product(nodes, weights)
    proto.training_info.add().update_binding.add(key="w", value="w")
    after, found = folded(proto)
    assert found.weights == ("v",)
    assert {t.name for t in after.graph.initializer} == {"w", "v"}


def external(folder: Path, size: int = 64) -> Path:
    """A model whose weight is normalised; both of its sources lie in an external file."""
    nodes = [*weight_norm("g", "w", "v"), NODE("MatMul", ["x", "v"], ["h"], name="product")]
    nodes.append(NODE("MatMul", ["h", "u"], ["y"], name="plain"))
    weights = {
        "g": normal(2, 1, size), "w": normal(1, size, size), "axes": np.array([0], INT),
        "u": normal(3, size, size),
    }  # fmt: skip
    proto = model(nodes, [value("x", [2, size])], ["y"], weights, opset=18)
    onnx.save(
        proto, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=64
    )
    return folder / "m.onnx"


def test_external_weights_stay_external(tmp_path: Path) -> None:
    path = external(tmp_path)
    loaded = load_model(path)
    found = fold_weights(loaded)
    assert found.weights == ("v",)
    output = tmp_path / "out.onnx"
    save_model(loaded.proto, output, folder=loaded.folder, overwrite=False)
    stored = {t.name: t for t in onnx.load(output, load_external_data=False).graph.initializer}
    assert set(stored) == {"v", "u"}
    assert all(t.data_location == TensorProto.EXTERNAL for t in stored.values())
    assert output.stat().st_size < path.stat().st_size
    assert (tmp_path / "out.onnx.data").stat().st_size <= (tmp_path / "m.data").stat().st_size
    x = normal(7, 2, 64)
    before, after = (
        onnxruntime.InferenceSession(str(p), providers=["CPUExecutionProvider"]).run(None, {"x": x})
        for p in (path, output)
    )
    assert np.array_equal(before[0], after[0])


def test_a_sparse_initializer_among_the_sources_keeps_its_values() -> None:
    proto = product([NODE("Mul", ["w", "s"], ["v"])], {"s": normal(1, 4), "w": MATRIX})
    del proto.graph.initializer[1]
    values, indices = tensor("w", normal(1, 5)), tensor("", np.array([0, 3, 9, 14, 20]))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [6, 4]))
    after, found = folded(proto)
    assert found.weights == ("v",)
    expected = np.zeros(24, np.float32)
    expected[[0, 3, 9, 14, 20]] = normal(1, 5)
    assert np.array_equal(initializer(after, "v"), expected.reshape(6, 4) * normal(1, 4))


def test_the_note_names_some_of_the_weights() -> None:
    assert "1 weight was computed" in Folding(("v",)).notes[0]
    (note,) = Folding(tuple("abcde")).notes
    assert note.startswith("5 weights were computed from constants")
    assert note.endswith("stored folded: 'a', 'b', 'c' and 2 more")
