"""The mean correction finds its place: the bias there is, a copy of a shared one, or a new one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from build_onnx import Array, constant, initializer, model, normal, one_node, run, value
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.bias import holds
from onnx_lobs.layers.bias_slot import BiasSlot
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.write import add_biases, write_bias

NODE = helper.make_node
CHANGE = np.arange(1.0, 4.0)  # added to the three outputs of every layer here
SUMS = 1e-5  # of numbers of order one to ten, in float32
X = normal(1, 5, 4)
W = normal(2, 4, 3)


def layer_of(proto: ModelProto) -> tuple[Layer, BiasSlot | None]:
    layers, _ = find_layers(Model(proto, None))
    (layer,) = layers
    return layer, layer.uses[0].bias


def shift(proto: ModelProto) -> tuple[Array, ModelProto]:
    """Return how the output moves when CHANGE is written to the bias, in both copies' ways."""
    layer, _ = layer_of(proto)
    before = run(proto, x=X)["y"]
    result, prepared = onnx.ModelProto(), onnx.ModelProto()
    result.CopyFrom(proto)
    prepared.CopyFrom(proto)
    write_bias(Model(result, None), layer.uses[0], layer, CHANGE.reshape(1, -1))
    add_biases(Model(prepared, None), [layer])
    np.testing.assert_array_equal(run(prepared, x=X)["y"], before)
    write_bias(Model(prepared, None), layer.uses[0], layer, CHANGE.reshape(1, -1))
    onnx.checker.check_model(result)
    after = run(result, x=X)["y"]
    np.testing.assert_array_equal(run(prepared, x=X)["y"], after)
    return after - before, result


def gemm(bias: Array | None, **attributes: float) -> ModelProto:
    weights = {"w": W} if bias is None else {"w": W, "c": bias}
    return one_node("Gemm", weights, ["x", *weights], **attributes)


@pytest.mark.parametrize("shape", [None, (), (1,), (3,), (1, 3), (5, 1), (1, 1), (5, 3)])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_gemm_corrects_a_bias_of_every_shape(shape: tuple[int, ...] | None, beta: float) -> None:
    moved, _ = shift(gemm(None if shape is None else normal(3, *shape), beta=beta, alpha=2.0))
    np.testing.assert_allclose(moved, np.broadcast_to(CHANGE, (5, 3)), atol=SUMS)


@pytest.mark.parametrize("shape", [None, (), (5,), (3, 1), (3, 5)])
def test_gemm_with_the_weight_on_the_left_corrects_its_rows(shape: tuple[int, ...] | None) -> None:
    weights = {"w": W} if shape is None else {"w": W, "c": normal(3, *shape)}
    names = ["w", "x", *list(weights)[1:]]
    moved, _ = shift(one_node("Gemm", weights, names, transA=1, transB=1))
    np.testing.assert_allclose(moved, np.broadcast_to(CHANGE[:, None], (3, 5)), atol=SUMS)


@pytest.mark.parametrize("bias", [None, normal(3, 3)])
def test_gemm_that_ignores_its_bias_has_no_slot(bias: Array | None) -> None:
    assert layer_of(gemm(bias, beta=0.0))[1] is None


def test_own_bias_changes_in_place() -> None:
    bias = normal(3, 3)
    _, result = shift(gemm(bias))
    assert len(result.graph.initializer) == 2
    np.testing.assert_allclose(initializer(result, "c"), bias + CHANGE, atol=SUMS)


def with_bias(nodes: list[NodeProto], weights: dict[str, Array], outputs: str = "y") -> ModelProto:
    gemm_node = NODE("Gemm", ["x", "w", "b"], ["y"])
    return model([*nodes, gemm_node], [value("x", [5, 4])], list(outputs), {"w": W, **weights})


SHARED: dict[str, ModelProto] = {
    "read by another node": model(
        [
            NODE("Gemm", ["x", "w", "b"], ["p"]),
            NODE("Mul", ["p", "b"], ["y"]),
        ],
        [value("x", [5, 4])],
        ["y"],
        {"w": W, "b": np.ones(3, np.float32)},
    ),
    "behind identity": with_bias([NODE("Identity", ["c"], ["b"])], {"c": normal(3, 3)}),
    "behind cast": with_bias(
        [NODE("Cast", ["c"], ["b"], to=TensorProto.FLOAT)], {"c": normal(3, 3, dtype=np.float64)}
    ),
    "behind reshape": with_bias(
        [NODE("Reshape", ["c", "n"], ["b"])], {"c": normal(3, 3, 1), "n": np.array([-1])}
    ),
    "an output of the graph": with_bias([], {"b": normal(3, 3)}, "yb"),
}


@pytest.mark.parametrize("kind", SHARED)
def test_shared_bias_stays_and_the_node_gets_its_own(kind: str) -> None:
    moved, result = shift(SHARED[kind])
    np.testing.assert_allclose(moved, np.broadcast_to(CHANGE, (5, 3)), atol=SUMS)
    for old in SHARED[kind].graph.initializer:
        assert np.array_equal(initializer(result, old.name), initializer(SHARED[kind], old.name))
    assert len(result.graph.initializer) == len(SHARED[kind].graph.initializer) + 1


def test_bias_in_a_constant_node_changes_there() -> None:
    moved, result = shift(with_bias([constant("b", normal(3, 3))], {}))
    np.testing.assert_allclose(moved, np.broadcast_to(CHANGE, (5, 3)), atol=SUMS)
    assert len(result.graph.initializer) == 1


def test_dynamic_bias_is_left_alone() -> None:
    proto = with_bias([NODE("ReduceMean", ["x"], ["b"], keepdims=1)], {})
    assert layer_of(proto)[1] is None


def test_bias_that_is_listed_as_an_input_changes_in_place() -> None:
    nodes = [NODE("Gemm", ["x", "w", "b"], ["y"])]
    inputs = [value("x", [5, 4]), value("b", [3])]
    proto = model(nodes, inputs, ["y"], {"w": W, "b": normal(3, 3)})
    moved, result = shift(proto)
    np.testing.assert_allclose(moved, np.broadcast_to(CHANGE, (5, 3)), atol=SUMS)
    assert [i.name for i in result.graph.input] == ["x", "b"]


def test_new_bias_of_an_old_model_is_listed_as_an_input() -> None:
    proto = model(
        [NODE("Gemm", ["x", "w"], ["y"])], [value("x", [5, 4])], ["y"], {"w": W}, ir_version=3
    )
    moved, result = shift(proto)
    np.testing.assert_allclose(moved, np.broadcast_to(CHANGE, (5, 3)), atol=SUMS)
    assert [i.name for i in result.graph.input] == ["x", "w", "y_bias"]


def test_new_bias_takes_a_name_that_is_free() -> None:
    nodes = [NODE("Gemm", ["x", "w"], ["y"]), NODE("Identity", ["x"], ["y_bias"])]
    proto = model(nodes, [value("x", [5, 4])], ["y", "y_bias"], {"w": W})
    assert layer_of(proto)[1] == layer_of(proto)[1]
    _, result = shift(proto)
    assert [t.name for t in result.graph.initializer] == ["w", "y_bias_"]


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("has_bias", [False, True])
def test_convolution_corrects_its_channels(op: str, has_bias: bool) -> None:
    weights = {"w": normal(2, *((3, 4, 2) if op == "Conv" else (4, 3, 2)))}
    if has_bias:
        weights["b"] = normal(3, 3)
    proto = one_node(op, weights, ["x", *weights], rank=3)
    layer, slot = layer_of(proto)
    assert slot is not None
    assert slot.in_place is has_bias
    x = normal(4, 2, 4, 6)
    before = run(proto, x=x)["y"]
    write_bias(Model(proto, None), layer.uses[0], layer, CHANGE.reshape(1, 3))
    moved = run(proto, x=x)["y"] - before
    np.testing.assert_allclose(moved, np.broadcast_to(CHANGE[:, None], moved.shape), atol=SUMS)


def matmul(bias: Array, pair: tuple[str, str] = ("p", "b"), outputs: str = "y") -> ModelProto:
    nodes = [NODE("MatMul", ["x", "w"], ["p"]), NODE("Add", list(pair), ["y"])]
    return model(nodes, [value("x", [5, 4])], list(outputs), {"w": W, "b": bias})


@pytest.mark.parametrize("pair", [("p", "b"), ("b", "p")])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3), (5, 1), (5, 3), (2, 1, 3)])
def test_matmul_corrects_the_constant_of_the_add_behind_it(
    shape: tuple[int, ...], pair: tuple[str, str]
) -> None:
    proto = matmul(normal(3, *shape), pair)
    moved, _ = shift(proto)
    np.testing.assert_allclose(moved, np.broadcast_to(CHANGE, moved.shape), atol=SUMS)


@pytest.mark.parametrize(
    "proto",
    [
        matmul(normal(3, 3), outputs="yp"),
        one_node("MatMul", {"w": W}),
        model(
            [
                NODE("MatMul", ["x", "w"], ["p"]),
                NODE("Add", ["p", "b"], ["q"]),
                NODE("Mul", ["p", "q"], ["y"]),
            ],
            [value("x", [5, 4])], ["y"], {"w": W, "b": normal(3, 3)},
        ),
        model(
            [NODE("MatMul", ["x", "w"], ["p"]), NODE("Add", ["p", "p"], ["y"])],
            [value("x", [5, 4])], ["y"], {"w": W},
        ),
        model(
            [NODE("MatMul", ["x", "w"], ["p"]), NODE("Add", ["p", "z"], ["y"])],
            [value("x", [5, 4]), value("z", [5, 3])], ["y"], {"w": W},
        ),
        model(
            [NODE("MatMul", ["x", "w"], ["p"]), NODE("Sub", ["p", "b"], ["y"])],
            [value("x", [5, 4])], ["y"], {"w": W, "b": normal(3, 3)},
        ),
    ],
    ids=["graph output", "no add", "read twice", "added to itself", "dynamic", "no add but sub"],
)  # fmt: skip
def test_matmul_without_an_add_of_its_own_has_no_slot(proto: ModelProto) -> None:
    assert layer_of(proto)[1] is None


def test_two_nodes_that_share_a_bias_are_corrected_apart() -> None:
    nodes = [
        NODE("Gemm", ["x", "w", "b"], ["y"]),
        NODE("Gemm", ["x", "v", "b"], ["z"]),
    ]
    weights = {"w": W, "v": normal(4, 4, 3), "b": normal(3, 3)}
    proto = model(nodes, [value("x", [5, 4])], ["y", "z"], weights)
    before = run(proto, x=X)
    first, second = find_layers(Model(proto, None))[0]
    write_bias(Model(proto, None), first.uses[0], first, CHANGE.reshape(1, 3))
    write_bias(Model(proto, None), second.uses[0], second, -CHANGE.reshape(1, 3))
    after = run(proto, x=X)
    np.testing.assert_allclose(after["y"] - before["y"], np.broadcast_to(CHANGE, (5, 3)), atol=SUMS)
    np.testing.assert_allclose(
        after["z"] - before["z"], np.broadcast_to(-CHANGE, (5, 3)), atol=SUMS
    )


def test_batched_weight_corrects_each_matrix_of_its_stack() -> None:
    nodes = [NODE("MatMul", ["x", "w"], ["p"]), NODE("Add", ["p", "b"], ["y"])]
    weights = {"w": normal(2, 2, 4, 3), "b": normal(3, 1, 1, 3)}
    proto = model(nodes, [value("x", [5, 4])], ["y"], weights)
    layer, _ = layer_of(proto)
    change = np.arange(6.0).reshape(2, 3)
    before = run(proto, x=X)["y"]
    write_bias(Model(proto, None), layer.uses[0], layer, change)
    moved = run(proto, x=X)["y"] - before
    np.testing.assert_allclose(moved, np.broadcast_to(change[:, None], moved.shape), atol=SUMS)


@pytest.mark.parametrize("old", [(3,), (1, 3), (2, 1, 3), (1,), (5, 3), ()])
@pytest.mark.parametrize("new", [(3,), (1, 3), (1,), (2, 3), ()])
def test_what_a_constant_holds_is_told_without_arrays(
    old: tuple[int, ...], new: tuple[int, ...]
) -> None:
    try:
        wanted = np.broadcast_shapes(old, new) == old
    except ValueError:
        wanted = False
    assert holds(old, new) is wanted


def test_a_constant_may_have_more_axes_than_an_array() -> None:
    assert holds((1,) * 70 + (3,), (3,))
