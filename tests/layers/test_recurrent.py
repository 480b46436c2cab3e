"""The weights of recurrent nodes are layers on the inputs and states that NumPy computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import Array, branch, model, normal, run, value
from onnx import ModelProto, TensorProto, helper

import onnx_lobs
from onnx_lobs.calibration.independent import tap_values
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.state_taps import GATES, add_state_taps

CPU = "CPUExecutionProvider"
SUMS = 1e-5  # absolute, on states of magnitude 1 in float32
ERRORS = 1e-5  # absolute, on errors of .01 to 1
STEPS, BATCH, INPUTS, HIDDEN = 7, 5, 6, 4
DIRECTIONS = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}


def weights(
    op: str, direction: str = "forward", *, bias: bool = True, seed: int = 1
) -> dict[str, Array]:
    ways, rows = len(DIRECTIONS[direction]), GATES[op] * HIDDEN
    made = {
        "w": normal(seed, ways, rows, INPUTS) / 2,
        "r": normal(seed + 1, ways, rows, HIDDEN) / 2,
    }
    return made | ({"b": normal(seed + 2, ways, 2 * rows) / 2} if bias else {})


def network(
    op: str,
    direction: str = "forward",
    *,
    bias: bool = True,
    lengths: bool = False,
    first: bool = False,
    outputs: tuple[str, ...] = ("y",),
    opset: int = 17,
    **attributes: Any,
) -> ModelProto:
    tensors = weights(op, direction, bias=bias)
    ways = len(DIRECTIONS[direction])
    names = ["x", "w", "r", "b" if bias else "", "n" if lengths else "", "h" if first else ""]
    inputs = [value("x", [None, None, INPUTS])]
    inputs += [value("n", [None], TensorProto.INT32)] if lengths else []
    inputs += [value("h", [ways, None, HIDDEN])] if first else []
    while not names[-1]:
        del names[-1]
    node = helper.make_node(
        op, names, list(outputs), name="node", hidden_size=HIDDEN, direction=direction, **attributes
    )
    shown = [value(name, [None] * (4 if name == "y" else 3)) for name in outputs if name]
    return model([node], inputs, shown, tensors, opset=opset)


def feeds_of(proto: ModelProto, seed: int = 9) -> dict[str, Array]:
    ways = proto.graph.initializer[0].dims[0]
    made = {"x": normal(seed, STEPS, BATCH, INPUTS) + np.float32(0.3)}
    names = {info.name for info in proto.graph.input}
    if "n" in names:
        made["n"] = np.array([7, 3, 1, 6, 7], np.int32)
    if "h" in names:
        made["h"] = normal(seed + 1, ways, BATCH, HIDDEN)
    return made


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def step(op: str, x: Array, h: Array, c: Array, w: list[Array], resets: bool) -> tuple[Array, ...]:
    """One step as ONNX defines it; the state, the cell, and what the candidate's R reads."""
    a, b = x @ w[0].T + w[2][: len(w[0])], h @ w[1].T + w[2][len(w[0]) :]
    if op == "RNN":
        return np.tanh(a + b), c, h
    if op == "LSTM":
        i, o, f, g = np.split(a + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c, h
    (az, ar, ah), (bz, br, bh) = np.split(a, 3, axis=1), np.split(b, 3, axis=1)
    z, r = sigmoid(az + bz), sigmoid(ar + br)
    if resets:
        bh = (r * h) @ w[1][2 * HIDDEN :].T + w[2][5 * HIDDEN :]
    g = np.tanh(ah + (bh if resets else r * bh))
    return (1 - z) * g + z * h, c, r * h


def observed(
    op: str, proto: ModelProto, feeds: dict[str, Array], direction: str, resets: bool
) -> tuple[list[Array], list[list[Array]]]:
    """Return the inputs, and per direction what the matrices of R read, step by step."""
    stored = {
        t.name: onnx.numpy_helper.to_array(t).astype(np.float64) for t in proto.graph.initializer
    }
    x, lengths = feeds["x"].astype(np.float64), feeds.get("n", np.full(BATCH, STEPS))
    inputs = [x[t, s] for s in range(BATCH) for t in range(lengths[s])]
    found = []
    for way, is_reverse in enumerate(DIRECTIONS[direction]):
        w = [stored["w"][way], stored["r"][way]]
        w.append(stored["b"][way] if "b" in stored else np.zeros(2 * len(w[0])))
        kinds: list[list[Array]] = [[], []]
        for s in range(BATCH):
            h = feeds["h"][way, s : s + 1] if "h" in feeds else np.zeros((1, HIDDEN))
            c = np.zeros((1, HIDDEN))
            order = range(lengths[s])
            for t in reversed(order) if is_reverse else order:
                before = h
                h, c, reset = step(op, x[t, s : s + 1], h, c, w, resets)
                kinds[0].append(before[0])
                kinds[1].append(reset[0])
        found.append(kinds)
    return inputs, found


def sorted_rows(rows: Any) -> Array:
    array = np.asarray(rows, np.float64)
    return array[np.lexsort(np.round(array, 4).T)]


OPS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {"linear_before_reset": 1}),
    "GRU, reset first": ("GRU", {"linear_before_reset": 0}),
}
FORMS = {
    "plain": {}, "lengths": {"lengths": True}, "first state": {"first": True},
    "both": {"lengths": True, "first": True}, "no bias": {"bias": False},
    "last state only": {"outputs": ("", "y_h")}, "last state, clipped":
    {"outputs": ("", "y_h"), "clip": 50.0},
}  # fmt: skip


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", OPS)
def test_taps_are_the_inputs_and_states_that_numpy_computes(
    kind: str, form: str, direction: str
) -> None:
    op, attributes = OPS[kind]
    if kind == "GRU, reset first" and "clip" in FORMS[form]:
        return  # refused: see below
    proto = network(op, direction, **FORMS[form], **attributes)
    feeds = feeds_of(proto)
    executable, _ = to_executable(proto, None, CPU)
    add_state_taps(executable, None)
    dense = Model(executable, None)
    layers, skips = find_layers(dense)
    assert skips == ()
    assert [layer.name for layer in layers] == ["node.W", "node.R"]
    input_of = tap_values(dense, find_shared_inputs(layers), feeds, CPU)
    resets = kind == "GRU, reset first"
    inputs, states = observed(op, proto, feeds, direction, resets)
    (inner, recurrent) = (layer.uses[0] for layer in layers)
    found = inner.observations(input_of(inner))
    assert found.shape == (1, len(inputs), INPUTS)
    assert np.abs(sorted_rows(found[0]) - sorted_rows(inputs)).max() < SUMS
    found = recurrent.observations(input_of(recurrent))
    per_way = [(0, 0, 1) if resets else (0,)] * len(states)
    wanted = [way[k] for way, ks in zip(states, per_way, strict=True) for k in ks]
    assert found.shape == (len(wanted), len(inputs), HIDDEN)
    assert recurrent.n_observations(input_of(recurrent).shape) == len(inputs)
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(sorted_rows(one) - sorted_rows(other)).max() < 10 * SUMS
    assert np.array_equal(
        run(executable, **feeds)["y_h" if "last" in form else "y"],
        run(proto, **feeds)["y_h" if "last" in form else "y"],
    )


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(
    ("direction", "lengths", "bias"),
    [("forward", False, True), ("reverse", True, True), ("bidirectional", True, False),
     ("bidirectional", False, True)],
)  # fmt: skip
def test_the_error_of_input_weights_is_measured_where_states_do_nothing(
    direction: str, lengths: bool, bias: bool, sequential: bool
) -> None:
    """With the identity for an activation and R = 0 the outputs are W x + b."""
    proto = network(
        "RNN", direction, lengths=lengths, bias=bias,
        activations=["Affine"] * len(DIRECTIONS[direction]),
        activation_alpha=[1.0] * len(DIRECTIONS[direction]),
        activation_beta=[0.0] * len(DIRECTIONS[direction]),
    )  # fmt: skip
    stored = next(t for t in proto.graph.initializer if t.name == "r")
    stored.CopyFrom(onnx.numpy_helper.from_array(np.zeros(stored.dims, np.float32), "r"))
    batches = [feeds_of(proto, seed) for seed in range(6)]
    result = onnx_lobs.prune(
        proto, batches, sparsity=0.5, min_weights=0, sequential=sequential, include=("node",),
        layer_sparsity={"r": 0.0},
    )  # fmt: skip
    onnx.checker.check_model(result.model)
    record = next(r for r in result.report.layers if r.name == "node.W")
    counted = np.ones((STEPS, BATCH), bool)
    if lengths:
        counted = np.arange(STEPS)[:, None] < batches[0]["n"]
    pairs = [(run(proto, **feeds)["y"], run(result.model, **feeds)["y"]) for feeds in batches]
    before, after = (
        np.concatenate([y.transpose(0, 2, 1, 3)[counted] for y in side]).astype(np.float64)
        for side in zip(*pairs, strict=True)
    )
    biases = run(proto, **{**batches[0], "x": 0 * batches[0]["x"]})["y"][0, :, 0]
    centre = before.mean(axis=0)
    measured = ((after - before) ** 2).sum() / ((before - centre) ** 2).sum()
    assert biases.any() == bias
    assert record.error == pytest.approx(measured, abs=ERRORS)
    assert 0.01 < record.error < 1


def stored_in(proto: ModelProto) -> dict[str, Array]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}


def with_tensors(proto: ModelProto, **tensors: Array) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if tensor.name in tensors:
            tensor.CopyFrom(onnx.numpy_helper.from_array(tensors[tensor.name], tensor.name))
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(
    ("kind", "direction", "form"),
    [("RNN", "forward", "plain"), ("LSTM", "bidirectional", "lengths"), ("GRU", "reverse", "both"),
     ("GRU, reset first", "bidirectional", "plain"), ("GRU, reset first", "reverse", "lengths"),
     ("LSTM", "forward", "last state only")],
)  # fmt: skip
def test_the_error_of_state_weights_is_that_on_the_states_of_the_pruned_inputs(
    kind: str, direction: str, form: str, sequential: bool
) -> None:
    op, attributes = OPS[kind]
    resets = kind == "GRU, reset first"
    proto = network(op, direction, **FORMS[form], **attributes)
    batches = [feeds_of(proto, seed) for seed in range(6)]
    result = onnx_lobs.prune(
        proto, batches, sparsity=0.5, min_weights=0, sequential=sequential, allocation="uniform"
    )
    onnx.checker.check_model(result.model)
    old, new = stored_in(proto), stored_in(result.model)
    half = GATES[op] * HIDDEN
    pruned = proto
    if sequential:  # the states that W leaves, with its part of the bias
        bias = np.concatenate([new["b"][:, :half], old["b"][:, half:]], axis=1)
        pruned = with_tensors(proto, w=new["w"], b=bias)

    def products(states: list[list[Array]], tensors: dict[str, Array]) -> Array:
        kinds = [[way[0], way[0], way[1]] if resets else [way[0]] for way in states]
        found = []
        for way, read in enumerate(kinds):
            gates = np.split(tensors["r"][way].astype(np.float64), len(read))
            parts = [np.asarray(h) @ gate.T for h, gate in zip(read, gates, strict=True)]
            found.append(np.concatenate(parts, axis=1) + tensors["b"][way, half:])
        return np.stack(found)

    dense = [observed(op, proto, f, direction, resets)[1] for f in batches]
    seen = [observed(op, pruned, f, direction, resets)[1] for f in batches] if sequential else dense
    before = np.concatenate([products(states, old) for states in dense], axis=1)
    after = np.concatenate([products(states, new) for states in seen], axis=1)
    centred = before - before.mean(axis=1, keepdims=True)
    record = next(r for r in result.report.layers if r.name == "node.R")
    measured = ((after - before) ** 2).sum() / (centred**2).sum()
    assert record.error == pytest.approx(measured, abs=10 * ERRORS)
    assert 0.005 < record.error < 1
    assert record.zeros == record.weights // 2


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
def test_what_is_written_is_the_network_without_its_twins(sequential: bool) -> None:
    proto = network("LSTM", "bidirectional", bias=False)
    data = [feeds_of(proto, seed) for seed in range(4)]
    result = onnx_lobs.prune(proto, data, sparsity=0.5, sequential=sequential)
    assert [node.op_type for node in result.model.graph.node] == ["LSTM"]
    assert {record.name for record in result.report.layers} == {"node.W", "node.R"}
    new = stored_in(result.model)
    assert set(new) == {"w", "r", "y_bias"}
    assert sum(int((new[name] == 0).sum()) for name in "wr") == sum(new[n].size for n in "wr") // 2
    # both halves of the new bias are the corrections of W and of R
    assert new["y_bias"].shape == (2, 8 * HIDDEN)
    assert all(half.any() for half in np.split(new["y_bias"], 2, axis=1))


@pytest.mark.slow
def test_recurrent_layers_inside_a_branch_are_pruned() -> None:
    tensors = weights("GRU")
    then = branch(
        [helper.make_node("GRU", ["h", "w", "r", "b"], ["t"], name="inner", hidden_size=HIDDEN)],
        "t", **tensors,
    )  # fmt: skip
    other = branch(
        [helper.make_node("GRU", ["h", "w2", "r2"], ["e"], name="other", hidden_size=HIDDEN)], "e",
        w2=tensors["w"], r2=tensors["r"],
    )  # fmt: skip
    nodes = [
        helper.make_node("Tanh", ["x"], ["h"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other),
    ]
    inputs = [value("x", [None, None, INPUTS]), value("yes", [], TensorProto.BOOL)]
    proto = model(nodes, inputs, [value("y", [None] * 4)])
    data = [
        {"x": normal(seed, STEPS, BATCH, INPUTS), "yes": np.array(seed % 2 == 0)}
        for seed in range(6)
    ]
    result = onnx_lobs.prune(proto, data, sparsity=0.5, min_weights=0, allocation="uniform")
    names = {record.name for record in result.report.layers}
    assert names == {"inner.W", "inner.R", "other.W", "other.R"}
    assert all(0 < record.error < 1 for record in result.report.layers)
    onnx.checker.check_model(result.model)
    after = run(result.model, **data[0])["y"]
    assert np.abs(after - run(proto, **data[0])["y"]).max() > 0


REFUSED = {
    "layout 1": ({"op": "LSTM", "layout": 1}, "its layout 1 is one that onnxruntime does not run"),
    "old opset": ({"op": "LSTM", "opset": 10}, "opset 10 is below 11"),
    "clipped reset": (
        {"op": "GRU", "clip": 1.0}, "its reset gate is no plain sigmoid",
    ),
    "another gate": (
        {"op": "GRU", "activations": ["HardSigmoid", "Tanh"]}, "its reset gate is no plain sigmoid",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_states_that_cannot_be_shown_are_a_reason(kind: str) -> None:
    options, reason = REFUSED[kind]
    layers, skips = find_layers(Model(network(**options), None))
    assert [layer.name for layer in layers] == ([] if kind == "layout 1" else ["node.W"])
    assert reason in skips[-1].reason


def test_recurrent_weights_inside_a_loop_or_computed_are_skipped_one_by_one() -> None:
    node = helper.make_node("LSTM", ["x", "v", "r"], ["y"], name="node", hidden_size=HIDDEN)
    nodes = [helper.make_node("Mul", ["w", "w"], ["v"]), node]
    tensors = weights("LSTM", bias=False)
    proto = model(nodes, [value("x", [None, None, INPUTS])], [value("y", [None] * 4)], tensors)
    (layer,), (skip,) = find_layers(Model(proto, None))
    assert layer.name == "node.R"
    assert "its weight is computed from constants by Mul" in skip.reason


@pytest.mark.slow
def test_recurrent_weights_that_are_computed_are_folded_and_pruned() -> None:
    """PyTorch's exporter puts the gates in ONNX's order by Slices, and both directions together."""
    tensors = weights("LSTM", bias=False)
    pieces = {f"{name}{k}": part for name in "wr"
              for k, part in enumerate(np.split(tensors[name], 4, axis=1))}  # fmt: skip
    order = [0, 3, 1, 2]
    nodes = [
        helper.make_node("Concat", [f"{name}{k}" for k in order], [name], axis=1) for name in "wr"
    ]
    nodes.append(
        helper.make_node("LSTM", ["x", "w", "r"], ["", "y"], name="node", hidden_size=HIDDEN)
    )
    proto = model(nodes, [value("x", [None, None, INPUTS])], [value("y", [None] * 3)], pieces)
    data = [{"x": normal(seed, STEPS, BATCH, INPUTS)} for seed in range(4)]
    result = onnx_lobs.prune(proto, data, sparsity=0.5)
    assert {record.name for record in result.report.layers} == {"node.W", "node.R"}
    assert [node.op_type for node in result.model.graph.node] == ["LSTM"]
    assert sum(record.zeros for record in result.report.layers) == (16 * INPUTS + 16 * HIDDEN) // 2
