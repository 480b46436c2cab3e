"""A weight is followed back through reversible nodes, and rewritten through them exactly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from build_onnx import Array, constant, model, normal, run, value
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.chain import Root, Stop, trace
from onnx_lobs.layers.refusal import RefusalKind

NODE = helper.make_node
INT = np.int64


def chained(
    nodes: list[NodeProto],
    stored: Array,
    opset: int = 17,
    shape: list[str] | None = None,
    **more: Array,
) -> ModelProto:
    """A model whose output v is what `nodes` make of w."""
    elem_type = helper.np_dtype_to_tensor_dtype(stored.dtype)
    for node in nodes:
        elem_type = next((a.i for a in node.attribute if a.name == "to"), elem_type)
    sink = NODE("Identity", ["x"], ["y"])
    weights = {"w": stored, **more}
    outputs = [value("y", [1]), value("v", shape, elem_type)]
    return model([*nodes, sink], [value("x", [1])], outputs, weights, opset=opset)


CHAINS: dict[str, tuple[tuple[int, ...], list[NodeProto], dict[str, Array], int]] = {
    "none": ((3, 4), [NODE("Identity", ["w"], ["v"])], {}, 17),
    "transpose": ((3, 4, 5), [NODE("Transpose", ["w"], ["v"], perm=[2, 0, 1])], {}, 17),
    "transpose, no perm": ((3, 4, 5), [NODE("Transpose", ["w"], ["v"])], {}, 17),
    "reshape": ((3, 4), [NODE("Reshape", ["w", "n"], ["v"])], {"n": np.array([0, 2, -1])}, 17),
    "reshape, allowzero": (
        (3, 4), [NODE("Reshape", ["w", "n"], ["v"], allowzero=1)], {"n": np.array([2, 6])}, 17,
    ),
    "flatten": ((3, 4, 5), [NODE("Flatten", ["w"], ["v"])], {}, 17),
    "flatten, axis 0": ((3, 4, 5), [NODE("Flatten", ["w"], ["v"], axis=0)], {}, 17),
    "flatten, axis -1": ((3, 4, 5), [NODE("Flatten", ["w"], ["v"], axis=-1)], {}, 17),
    "squeeze all": ((1, 4, 1), [NODE("Squeeze", ["w"], ["v"])], {}, 17),
    "squeeze, opset 11": ((1, 4, 1), [NODE("Squeeze", ["w"], ["v"], axes=[2])], {}, 11),
    "squeeze, opset 17": (
        (1, 4, 1), [NODE("Squeeze", ["w", "n"], ["v"])], {"n": np.array([-1])}, 17,
    ),
    "unsqueeze, opset 11": ((3, 4), [NODE("Unsqueeze", ["w"], ["v"], axes=[0, 3])], {}, 11),
    "unsqueeze, opset 17": (
        (3, 4), [NODE("Unsqueeze", ["w", "n"], ["v"])], {"n": np.array([1, -1])}, 17,
    ),
    "argument in a Constant": (
        (3, 4),
        [constant("n", np.array([4, 3])), NODE("Reshape", ["w", "n"], ["v"])], {}, 17,
    ),
    "argument in value_ints": (
        (3, 4),
        [NODE("Constant", [], ["n"], value_ints=[6, 2]), NODE("Reshape", ["w", "n"], ["v"])],
        {}, 17,
    ),
    "all of them": (
        (4, 6, 1),
        [
            NODE("Identity", ["w"], ["a"]),
            NODE("Squeeze", ["a"], ["b"]),
            NODE("Transpose", ["b"], ["c"]),
            NODE("Reshape", ["c", "n"], ["d"]),
            NODE("Transpose", ["d"], ["e"], perm=[1, 2, 0]),
            NODE("Flatten", ["e"], ["v"], axis=2),
        ],
        {"n": np.array([2, 3, 4])}, 17,
    ),
}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
def test_chain_does_what_onnxruntime_does_and_back(chain: str) -> None:
    shape, nodes, more, opset = CHAINS[chain]
    stored = normal(1, *shape)
    proto = chained(nodes, stored, opset, **more)
    index = Model(proto, None)
    root = trace(index, index.main, "v")
    assert isinstance(root, Root)
    seen = run(proto, x=np.zeros(1, np.float32))["v"]
    assert np.array_equal(root.chain.apply(stored), seen)
    assert root.shape == seen.shape
    assert np.array_equal(root.chain.invert(seen), stored)
    numbers = np.arange(stored.size).reshape(shape)
    assert np.array_equal(stored.ravel()[root.chain.move(numbers)], seen)


def test_cast_rounds_forward_and_leaves_rounding_of_the_way_back_to_the_end() -> None:
    stored = normal(1, 3, 4)
    nodes = [NODE("Cast", ["w"], ["v"], to=TensorProto.FLOAT16)]
    index = Model(chained(nodes, stored), None)
    root = trace(index, index.main, "v")
    assert isinstance(root, Root)
    assert np.array_equal(root.chain.apply(stored), stored.astype(np.float16))
    assert root.chain.invert(stored) is stored
    assert root.chain.dtype(np.dtype(np.float32)) == np.float16
    assert np.array_equal(root.chain.move(np.arange(3)), np.arange(3))


@pytest.mark.parametrize(
    ("nodes", "kind", "reason"),
    [
        ([NODE("Neg", ["w"], ["v"])], RefusalKind.DYNAMIC, "dynamic: made by Neg"),
        ([NODE("Cast", ["w"], ["v"], to=TensorProto.INT32)], RefusalKind.UNSUITED, "cast to int32"),
        (
            [NODE("Constant", [], ["v"], value_floats=[1.0, 2.0])],
            RefusalKind.UNSUITED,
            "without a dense tensor",
        ),
        (
            [constant("n", np.array([0.5])), NODE("Reshape", ["w", "n"], ["v"])],
            RefusalKind.UNSUITED,
            "argument is not constant",
        ),
        (
            [NODE("Shape", ["x"], ["n"]), NODE("Reshape", ["w", "n"], ["v"])],
            RefusalKind.UNSUITED,
            "Reshape whose argument is not constant",
        ),
    ],
)
def test_what_is_not_reversible_ends_the_trace_with_a_reason(
    nodes: list[NodeProto], kind: RefusalKind, reason: str
) -> None:
    index = Model(chained(nodes, normal(1, 1), shape=["n"]), None)
    found = trace(index, index.main, "v")
    assert isinstance(found, Stop)
    assert found.refusal.kind is kind
    assert reason in found.refusal.reason
    assert (found.name, found.refusal.maker) == ("v", nodes[-1].op_type)


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([NODE("Cast", ["w"], ["v"], to=999)], "unknown element type 999"),
        ([NODE("Transpose", ["w"], ["v"], perm=[7])], "Transpose that does"),
        (
            [NODE("Transpose", ["w"], ["v"], perm=[0, 0])],
            "Transpose that does",
        ),
        (
            [constant("n", np.array([2**62, 8])), NODE("Reshape", ["w", "n"], ["v"])],
            "of shape [1], passes through a Reshape that does not fit it",
        ),
        (
            [constant("n", np.array([0, 0, -1])), NODE("Reshape", ["w", "n"], ["v"])],
            "Reshape that does not fit",
        ),
        (
            [constant("n", np.array([-3])), NODE("Squeeze", ["w", "n"], ["v"])],
            "Squeeze that does not fit",
        ),
        (
            [constant("n", np.array([0, 0])), NODE("Unsqueeze", ["w", "n"], ["v"])],
            "Unsqueeze that does not fit",
        ),
    ],
)
def test_steps_that_do_not_fit_what_they_are_given_end_the_trace_for_good(
    nodes: list[NodeProto], reason: str
) -> None:
    index = Model(chained(nodes, normal(1, 1), shape=["n"]), None)
    found = trace(index, index.main, "v")
    assert isinstance(found, Stop)
    assert found.refusal.kind is RefusalKind.UNSUITED
    assert reason in found.refusal.reason
    assert not found.may_be_computed


@pytest.mark.parametrize(
    ("name", "reason"),
    [("x", "an input of the graph"), ("nothing", "'nothing' is defined nowhere")],
)
def test_names_without_a_producer_are_told_apart(name: str, reason: str) -> None:
    index = Model(chained([NODE("Identity", ["w"], ["v"])], normal(1, 2)), None)
    found = trace(index, index.main, name)
    assert isinstance(found, Stop)
    assert found.refusal.kind is RefusalKind.DYNAMIC
    assert reason in found.refusal.reason
    assert not found.may_be_computed


@pytest.mark.parametrize("op", ["Identity", "Transpose", "Cast"])
def test_chains_of_thousands_of_nodes_are_followed(op: str) -> None:
    n = 3000
    options = {"to": TensorProto.FLOAT} if op == "Cast" else {}
    names = ["w", *(f"v{i}" for i in range(n - 1)), "v"]
    nodes = [NODE(op, [a], [b], **options) for a, b in pairwise(names)]
    index = Model(chained(nodes, normal(1, 2, 3)), None)
    root = trace(index, index.main, "v")
    assert isinstance(root, Root)
    assert root.name == "w"
    assert root.shape == (2, 3)
    assert len(root.chain.steps) == (0 if op == "Identity" else n)
