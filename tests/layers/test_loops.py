"""Products inside a Loop or Scan are layers on what they read in all steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import (
    Array,
    branch,
    constant,
    graph,
    initializer,
    model,
    normal,
    run,
    tensor,
    value,
)
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

import onnx_lobs
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers

NODE = helper.make_node
BOOL, INT = TensorProto.BOOL, TensorProto.INT64
ERRORS = 1e-5  # absolute, on errors of .01 to 1 that float32 sums round
STEPS, BATCH, INPUTS, HIDDEN = 6, 5, 7, 4


def body(
    nodes: list[NodeProto],
    states: list[tuple[str, str]],
    scans: list[str],
    weights: dict[str, Array] | None = None,
    sequence: str | None = None,
) -> GraphProto:
    """The body of a Loop, or of a Scan over one `sequence`; states as (input, output)."""
    inputs = [value(name, None) for name, _ in states]
    outputs: list[ValueInfoProto | str] = [value(name, None) for _, name in states]
    outputs += [value(name, None) for name in scans]
    if sequence is None:
        inputs = [value("i", [], INT), value("go", [], BOOL), *inputs]
        outputs.insert(0, value("on", [], BOOL))
        nodes = [*nodes, NODE("Identity", ["go"], ["on"])]
    else:
        inputs.append(value(sequence, None))
    return graph(nodes, inputs, outputs, weights)


CELL = [
    NODE("MatMul", ["x_t", "w"], ["a"], name="input"),
    NODE("Add", ["a", "b"], ["p"]),
    NODE("MatMul", ["h", "r"], ["q"], name="state"),
    NODE("Add", ["p", "q"], ["s"]),
    NODE("Tanh", ["s"], ["h_t"]),
    NODE("Identity", ["h_t"], ["y_t"]),
]


def cell_weights() -> dict[str, Array]:
    return {
        "w": normal(1, INPUTS, HIDDEN) / 2, "r": normal(2, HIDDEN, HIDDEN) / 2,
        "b": normal(3, HIDDEN) / 2,
    }  # fmt: skip


def recurrent(kind: str) -> ModelProto:
    """h_t = tanh(x_t W + b + h R); the weights lie outside, inside, or are handed on."""
    weights = cell_weights()
    outer = weights if kind != "inside" else {}
    inner = weights if kind == "inside" else {}
    zeros = np.zeros((BATCH, HIDDEN), np.float32)
    if kind == "scan":
        node = NODE(
            "Scan", ["h0", "x"], ["last", "y"], num_scan_inputs=1, name="loop",
            body=body(CELL, [("h", "h_t")], ["y_t"], sequence="x_t"),
        )  # fmt: skip
        more: dict[str, Array] = {}
    else:
        take = NODE("Gather", ["x", "i"], ["x_t"])
        states, nodes = [("h", "h_t")], [take, *CELL]
        names = ["n", "", "h0"]
        if kind == "handed on":
            nodes = [take]
            for node in CELL:
                copy = NodeProto.FromString(node.SerializeToString())
                copy.input[:] = [f"{i}_in" if i in weights else i for i in node.input]
                nodes.append(copy)
            for name in weights:
                states.append((f"{name}_in", f"{name}_out"))
                nodes.append(NODE("Identity", [f"{name}_in"], [f"{name}_out"]))
                names.append(name)
        outputs = ["last", *(f"{name}_unread" for name in names[3:]), "y"]
        node = NODE("Loop", names, outputs, body=body(nodes, states, ["y_t"], inner), name="loop")
        more = {"n": np.array(STEPS)}
    return model(
        [node], [value("x", [STEPS, BATCH, INPUTS])], [value("y", [None] * 3)],
        {**outer, "h0": zeros, **more},
    )  # fmt: skip


def states_of(x: Array, w: dict[str, Array]) -> tuple[Array, Array]:
    """The inputs and the states before each step, as rows."""
    h, found = np.zeros((BATCH, HIDDEN)), []
    for x_t in x.astype(np.float64):
        found.append(h)
        h = np.tanh(x_t @ w["w"] + w["b"] + h @ w["r"])
    return x.reshape(-1, INPUTS).astype(np.float64), np.concatenate(found)


def stored(proto: ModelProto, name: str) -> Array:
    """A tensor of that name in the main graph or in a body."""
    for scope in Model(proto, None).scopes:
        if name in scope.initializers:
            return onnx.numpy_helper.to_array(scope.initializers[name])
    raise KeyError(name)


def relative(change: Array, before: Array) -> float:
    return float((change**2).sum() / ((before - before.mean(axis=0)) ** 2).sum())


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("kind", ["outside", "inside", "handed on", "scan"])
def test_errors_are_those_on_the_inputs_of_all_steps(kind: str, sequential: bool) -> None:
    proto = recurrent(kind)
    batches = [{"x": normal(seed, STEPS, BATCH, INPUTS) + np.float32(0.3)} for seed in range(5)]
    result = onnx_lobs.prune(
        proto, batches, sparsity=0.4, min_weights=0, sequential=sequential, allocation="uniform"
    )
    onnx.checker.check_model(result.model)
    assert [node.name for node in result.model.graph.node] == ["loop"]
    assert {record.name for record in result.report.layers} == {"input", "state"}
    old = cell_weights()
    pairs = [states_of(feeds["x"], old) for feeds in batches]
    for record, name, place in zip(result.report.layers, "wr", (0, 1), strict=True):
        rows = np.concatenate([pair[place] for pair in pairs])
        new = stored(result.model, name)
        assert (new == 0).sum() == record.zeros > 0
        change = rows @ (new - old[name])
        before = rows @ old[name]
        if name == "w" and kind != "handed on":  # the Add behind it takes the mean
            bias = next(t for t in _all_tensors(result.model) if t.shape == (HIDDEN,)
                        and not np.array_equal(t, old["b"]))  # fmt: skip
            change = change + (bias - old["b"])
            measured = relative(change, before)
        elif name == "w":
            measured = relative(change + _new_bias(result.model, old["b"]), before)
        else:
            measured = float((change**2).sum() / (before**2).sum())
        assert record.error == pytest.approx(measured, abs=ERRORS)
        assert 0.001 < record.error < 1
    after = run(result.model, **batches[0])["y"]
    assert np.isfinite(after).all()
    assert np.abs(after - run(proto, **batches[0])["y"]).max() > 0


def _all_tensors(proto: ModelProto) -> list[Array]:
    scopes = Model(proto, None).scopes
    return [onnx.numpy_helper.to_array(t) for s in scopes for t in s.initializers.values()]


def _new_bias(proto: ModelProto, old: Array) -> Array | float:
    changed = [t for t in _all_tensors(proto) if t.shape == old.shape]
    return next((t - old for t in changed if not np.array_equal(t, old)), 0.0)


def growing() -> ModelProto:
    """A body whose state grows by a row a step, and a product that reads all of it."""
    nodes = [
        NODE("MatMul", ["h", "w"], ["m"], name="all"),
        NODE("ReduceMean", ["m"], ["row"], axes=[0], keepdims=1),
        NODE("Tanh", ["row"], ["new"]),
        NODE("Concat", ["h", "new"], ["h_t"], axis=0),
    ]
    node = NODE("Loop", ["n", "", "x"], ["y"], body=body(nodes, [("h", "h_t")], []))
    return model(
        [node], [value("x", [None, 8])], [value("y", [None, 8])],
        {"w": normal(1, 8, 8), "n": np.array(4)},
    )  # fmt: skip


@pytest.mark.parametrize("sequential", [False, True])
def test_states_that_grow_from_step_to_step_are_all_seen(sequential: bool) -> None:
    proto = growing()
    batches = [{"x": normal(seed, 9, 8)} for seed in range(6)]
    result = onnx_lobs.prune(proto, batches, sparsity=0.5, min_weights=0, sequential=sequential)
    (record,) = result.report.layers
    w, rows = normal(1, 8, 8).astype(np.float64), []
    for feeds in batches:
        h = feeds["x"].astype(np.float64)
        for _ in range(4):
            rows.append(h)
            h = np.concatenate([h, np.tanh((h @ w).mean(axis=0, keepdims=True))])
    x = np.concatenate(rows)
    change = x @ (initializer(result.model, "w") - w)
    assert len(x) == 6 * (9 + 10 + 11 + 12)
    assert record.error == pytest.approx((change**2).sum() / ((x @ w) ** 2).sum(), abs=ERRORS)


def test_a_loop_that_makes_no_step_is_one_that_the_data_never_reach() -> None:
    proto = growing()
    next(t for t in proto.graph.initializer if t.name == "n").CopyFrom(tensor("n", np.array(0)))
    proto.graph.node.append(NODE("MatMul", ["y", "v"], ["z"], name="head"))
    proto.graph.initializer.append(tensor("v", normal(4, 8, 8)))
    proto.graph.output.append(value("z", [None, 8]))
    result = onnx_lobs.prune(proto, {"x": normal(2, 30, 8)}, sparsity=0.5)
    assert [record.name for record in result.report.layers] == ["head"]
    (skip,) = result.report.skipped
    assert (skip.node, skip.kind) == ("all", "never reached")


def in_branch() -> ModelProto:
    """A loop inside a branch of an If."""
    inner = NODE("Loop", ["n", "", "g"], ["t"], body=body(
        [NODE("MatMul", ["h", "w"], ["m"], name="inner"), NODE("Tanh", ["m"], ["h_t"])],
        [("h", "h_t")], [],
    ))  # fmt: skip
    then = branch([inner], "t", w=normal(1, 8, 8), n=np.array(3))
    other = branch([NODE("Identity", ["g"], ["e"])], "e")
    nodes = [
        constant("yes", np.array(True)), NODE("Relu", ["x"], ["g"]),
        NODE("If", ["yes"], ["y"], then_branch=then, else_branch=other),
    ]  # fmt: skip
    return model(nodes, [value("x", [None, 8])], [value("y", [None, 8])])


@pytest.mark.parametrize("sequential", [False, True])
def test_a_loop_inside_a_branch_is_read_too(sequential: bool) -> None:
    proto = in_branch()
    result = onnx_lobs.prune(
        proto, {"x": normal(2, 50, 8)}, sparsity=0.5, min_weights=0, sequential=sequential
    )
    (record,) = result.report.layers
    assert (record.name, record.zeros) == ("inner", 32)
    assert 0 < record.error < 1
    onnx.checker.check_model(result.model)


def refused(nodes: list[NodeProto], weights: dict[str, Array], **options: Any) -> ModelProto:
    node = NODE("Loop", ["n", "", "x"], ["y"], body=body(nodes, [("h", "h_t")], [], weights))
    rank = options.pop("rank", 2)
    return model(
        [node], [value("x", [None] * rank)], [value("y", [None] * rank)], {"n": np.array(3)},
        **options,
    )  # fmt: skip


def two_loops() -> ModelProto:
    inner = NODE("Loop", ["k", "", "h"], ["h_t"], body=graph(
        [NODE("MatMul", ["g", "w"], ["g_t"], name="node"), NODE("Identity", ["c"], ["d"])],
        [value("j", [], INT), value("c", [], BOOL), value("g", None)],
        [value("d", [], BOOL), value("g_t", None)], {"w": normal(1, 8, 8)},
    ))  # fmt: skip
    return refused([inner], {"k": np.array(2)})


def branch_in_loop() -> ModelProto:
    then = branch([NODE("MatMul", ["h", "w"], ["t"], name="node")], "t", w=normal(1, 8, 8))
    other = branch([NODE("Identity", ["h"], ["e"])], "e")
    node = NODE("If", ["go"], ["h_t"], then_branch=then, else_branch=other)
    return refused([node], {})


MATMUL = [NODE("MatMul", ["h", "w"], ["h_t"], name="node")]
REFUSED: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "convolution": (
        lambda: refused(
            [NODE("Conv", ["h", "w"], ["h_t"], name="node", pads=[1, 1])],
            {"w": normal(1, 8, 8, 3)}, rank=3,
        ),
        "inside a Loop, where convolutions are not shown step by step",
    ),
    "two loops": (two_loops, "inside a Loop, which is inside another one"),
    "branch": (branch_in_loop, "inside a Loop, in a branch that not every step takes"),
    "old": (
        lambda: refused(MATMUL, {"w": normal(1, 8, 8)}, opset=12),
        "inside a Loop, whose steps cannot be shown: opset 12 is below 13",
    ),
    "stack": (
        lambda: refused(MATMUL, {"w": normal(1, 3, 8, 8)}, rank=3),
        "inside a Loop, and its inputs are no rows of a matrix",
    ),
    "recurrent": (
        lambda: refused(
            [NODE("RNN", ["h", "w", "r"], ["s"], name="node", hidden_size=8),
             NODE("Squeeze", ["s", "one"], ["h_t"])],
            {"w": normal(1, 1, 8, 8), "r": normal(2, 1, 8, 8), "one": np.array([1])}, rank=3,
        ),
        "inside a Loop, and its inputs are no rows of a matrix",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_shown_is_skipped_with_its_reason(kind: str) -> None:
    make, reason = REFUSED[kind]
    layers, skips = find_layers(Model(make(), None))
    assert layers == ()
    assert {skip.reason for skip in skips} == {reason}


@pytest.mark.parametrize("how", ["read behind", "output"])
def test_a_weight_that_is_read_behind_its_loop_stays(how: str) -> None:
    proto = recurrent("handed on")
    if how == "read behind":
        proto.graph.node.append(NODE("Relu", ["w_unread"], ["z"]))
    proto.graph.output.append(value("z" if how == "read behind" else "w_unread", [INPUTS, HIDDEN]))
    layers, skips = find_layers(Model(proto, None))
    assert [layer.name for layer in layers] == ["state"]
    (skip,) = skips
    assert "also read by what reads it behind Loop 'loop'" in skip.reason


def test_a_weight_that_a_loop_changes_is_no_constant() -> None:
    nodes = [NODE("MatMul", ["h", "v"], ["h_t"], name="node"), NODE("Mul", ["v", "v"], ["v_t"])]
    node = NODE(
        "Loop", ["n", "", "x", "w"], ["y", "z"],
        body=body(nodes, [("h", "h_t"), ("v", "v_t")], []),
    )  # fmt: skip
    weights = {"w": normal(1, 8, 8), "n": np.array(3)}
    proto = model([node], [value("x", [None, 8])], [value("y", [None, 8])], weights)
    layers, (skip,) = find_layers(Model(proto, None))
    assert layers == ()
    assert skip.reason == "both operands are dynamic: it has no weights"
