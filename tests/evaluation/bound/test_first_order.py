"""The first-order prediction, against derivatives by hand and differences of whole networks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from bound_networks import Batches, bounds_of, error_of, node, perturbed
from build_onnx import initializer, model, normal, value
from onnx import helper

from onnx_lobs.evaluation.bound import network
from onnx_lobs.evaluation.bound.network import WHOLE
from onnx_lobs.graph.model import Model

WEIGHTS = {
    "w1": normal(1, 6, 8) / 2, "b1": normal(2, 8), "w2": normal(3, 8, 8) / 3, "b2": normal(4, 8),
    "w3": normal(5, 8, 5),
}  # fmt: skip
OWN = {"fc1": ("w1", "b1"), "fc2": ("w2", "b2"), "fc3": ("w3",)}
LAYERS = {"h": "fc1", "p2": "fc2", "y": "fc3"}
BATCHES: Batches = [{"x": normal(i, 20, 6)} for i in range(2)]
TINY = 1e-3  # of the weights: float32 still shows it
CURVATURE = 0.01  # relative, of a change of TINY, in float32
ROUNDING = 1e-4  # float32 changes of a part of values of 1, squared


def chain(op: str) -> onnx.ModelProto:
    """Three layers, the second with a bias behind it and a shortcut around it."""
    nodes = [
        node("Gemm", "x", "w1", "b1", "h"),
        node(op, "h", "z1"),
        node("MatMul", "z1", "w2", "p2"),
        node("Add", "p2", "b2", "a2"),
        node(op, "a2", "z2"),
        node("Add", "z2", "z1", "sum"),
        node("MatMul", "sum", "w3", "y"),
        node("ArgMax", "y", "best", axis=1),
    ]
    outputs = [value("y", [None, 5]), value("best", [None, 1], onnx.TensorProto.INT64)]
    return model(nodes, [value("x", [None, 6])], outputs, WEIGHTS)


def changed(size: float, *names: str, op: str = "Tanh") -> onnx.ModelProto:
    return perturbed(chain(op), size, names=names or tuple(WEIGHTS))


def predict(dense: onnx.ModelProto, pruned: onnx.ModelProto) -> dict[str, float]:
    return bounds_of(dense, pruned, BATCHES, **LAYERS)[1]


@pytest.mark.parametrize("layer", OWN)
@pytest.mark.parametrize("op", ["Tanh", "Sigmoid", "Identity"])
def test_a_layers_prediction_is_the_error_of_changing_it_alone_a_little(
    op: str, layer: str
) -> None:
    dense, pruned = chain(op), changed(TINY, op=op)
    alone = onnx.ModelProto()
    alone.CopyFrom(dense)
    for tensor, new in zip(alone.graph.initializer, pruned.graph.initializer, strict=True):
        if tensor.name in OWN[layer]:
            tensor.CopyFrom(new)
    expected = error_of(dense, alone, BATCHES, "y")
    found = predict(dense, pruned)
    assert set(found) == {WHOLE, *OWN}
    assert found[layer] == pytest.approx(expected, rel=CURVATURE)
    assert predict(dense, alone) == pytest.approx({WHOLE: expected, layer: expected}, rel=CURVATURE)


@pytest.mark.parametrize(
    ("op", "size", "tolerance"), [("Tanh", TINY, CURVATURE), ("Identity", 1.0, ROUNDING)]
)
def test_predictions_are_the_derivatives_times_the_errors_on_the_pruned_networks_inputs(
    op: str, size: float, tolerance: float
) -> None:
    f = np.tanh if op == "Tanh" else np.array
    dense, pruned = chain(op), changed(size, op=op)
    w1, b1, w2, b2, w3 = (initializer(dense, n).astype("f8") for n in WEIGHTS)
    d1, c1, d2, c2, d3 = (initializer(pruned, n).astype("f8") for n in WEIGHTS)
    x = np.concatenate([feeds["x"] for feeds in BATCHES]).astype("f8")
    z1, pruned_z1 = f(x @ w1 + b1), f(x @ d1 + c1)
    z2, pruned_z2 = f(z1 @ w2 + b2), f(pruned_z1 @ d2 + c2)
    slope1, slope2 = (1 - z**2 if op == "Tanh" else 1.0 for z in (z1, z2))
    first = slope1 * (x @ (d1 - w1) + c1 - b1)
    moves = [
        (first + slope2 * (first @ w2)) @ w3,
        (slope2 * (pruned_z1 @ (d2 - w2) + c2 - b2)) @ w3,
        (pruned_z2 + pruned_z1) @ (d3 - w3),
    ]
    energy = np.square((z2 + z1) @ w3).sum()
    expected = {
        layer: np.square(move).sum() / energy for layer, move in zip(OWN, moves, strict=True)
    }
    expected[WHOLE] = np.square(sum(moves)).sum() / energy
    assert predict(dense, pruned) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("op", ["Tanh", "Relu", "Softmax"])
def test_the_networks_prediction_is_the_error_of_a_small_change(op: str) -> None:
    dense, pruned = chain(op), changed(TINY, op=op)
    expected = error_of(dense, pruned, BATCHES, "y")
    assert predict(dense, pruned)[WHOLE] == pytest.approx(expected, rel=CURVATURE)


def test_layers_that_move_different_outputs_sum_to_the_networks_error() -> None:
    nodes = [
        node("Gemm", "x", "w1", "b1", "h"),
        node("Tanh", "h", "y1"),
        node("Gemm", "x", "w2", "b2", "a2"),
        node("Sigmoid", "a2", "y2"),
    ]
    weights = WEIGHTS | {"w2": normal(3, 6, 8)}
    outputs = [value("y1", [None, 8]), value("y2", [None, 8])]
    dense = model(nodes, [value("x", [None, 6])], outputs, weights)
    pruned = perturbed(dense, TINY)
    found = predict(dense, pruned)
    expected = error_of(dense, pruned, BATCHES, "y1", "y2")
    assert found[WHOLE] == pytest.approx(expected, rel=CURVATURE)
    assert sum(found.values()) - found[WHOLE] == pytest.approx(expected, rel=CURVATURE)


def test_prediction_of_a_linear_network_is_exact_however_large_the_change() -> None:
    dense, pruned = chain("Identity"), changed(1.0, op="Identity")
    expected = error_of(dense, pruned, BATCHES, "y")
    assert expected > 0.3
    assert predict(dense, pruned)[WHOLE] == pytest.approx(expected, rel=ROUNDING)


def test_what_corrects_a_layer_behind_it_belongs_to_it() -> None:
    nodes = [
        node("Conv", "x", "w1", "a"),
        node("Mul", "a", "two", "scaled"),
        node("BatchNormalization", "scaled", "s", "b1", "m", "v", "n"),
        node("Relu", "n", "r"),
        node("BatchNormalization", "r", "s", "b2", "m", "v", "y"),
    ]
    weights = {"w1": normal(1, 4, 3, 3, 3), "v": normal(2, 4) ** 2 + 1}
    weights["two"] = np.full((1, 4, 1, 1), 2, np.float32)
    weights |= {name: normal(i, 4) for i, name in enumerate(("s", "m", "b1", "b2"))}
    dense = model(nodes, [value("x", [None, 3, 6, 6])], [value("y", [None] * 4)], weights)
    batches = [{"x": normal(3, 5, 3, 6, 6)}]
    pruned = perturbed(dense, TINY)
    found = bounds_of(dense, pruned, batches, a="conv")[1]
    assert set(found) == {WHOLE, "conv", "BatchNormalization_y"}
    alone = perturbed(dense, TINY)
    alone.graph.initializer[-1].CopyFrom(dense.graph.initializer[-1])
    assert alone.graph.initializer[-1].name == "b2"
    assert found["conv"] == pytest.approx(error_of(dense, alone, batches, "y"), rel=CURVATURE)


def test_constants_that_nodes_make_and_several_readers_are_followed() -> None:
    nodes = [
        helper.make_node("Split", ["w"], ["w4", "rest"], axis=0, num_outputs=2),
        node("Transpose", "w4", "turned", perm=[1, 0]),
        node("Gather", "w4", "i", "embedded"),
        node("MatMul", "embedded", "turned", "y"),
    ]
    weights = {"w": normal(1, 10, 6), "i": np.array([0, 3, 3])}
    dense = model(nodes, [value("x", [None, 6])], [value("y", [3, 5])], weights, opset=18)
    dense.graph.node[2].input[1] = "x"
    dense.graph.input[0].CopyFrom(value("x", [None], onnx.TensorProto.INT64))
    del dense.graph.initializer[1]
    pruned, batches = perturbed(dense, TINY), [{"x": np.array([0, 3, 3])}]
    records, found = bounds_of(dense, pruned, batches, turned="tied", w4="tied")
    expected = error_of(dense, pruned, batches, "y")
    assert found == pytest.approx({WHOLE: expected, "tied": expected}, rel=CURVATURE)
    assert records["y"].bound is not None
    assert records["y"].bound > expected


@pytest.mark.parametrize("most", [0, 1, 60, 10_000])
def test_single_layers_are_predicted_on_few_samples(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(network, "MOST_RUNS", most)
    dense, pruned = chain("Tanh"), changed(0.02)
    found = predict(dense, pruned)
    used = BATCHES[: {0: 0, 1: 1, 60: 1}.get(most, 2)]
    layers = bounds_of(dense, pruned, used, **LAYERS)[1] if used else {}
    monkeypatch.setattr(network, "MOST_RUNS", 10_000)
    whole = predict(dense, pruned)[WHOLE]
    assert found == layers | {WHOLE: whole}


def test_what_is_masked_by_infinity_is_left_out() -> None:
    weights = {"w1": normal(1, 6, 3), "mask": np.array([0, 0, np.inf], np.float32)}
    nodes = [node("MatMul", "x", "w1", "h"), node("Sub", "h", "mask", "y")]
    inputs = [value("x", [None, 6])]
    dense, pruned = (
        model(nodes, inputs, ["y"], weights | {"w1": part * weights["w1"]})
        for part in (np.float32(1), np.float32(0.9))
    )
    assert predict(dense, pruned)[WHOLE] == pytest.approx(0.01, rel=ROUNDING)


def test_other_types_are_predicted() -> None:
    nodes = [
        node("Cast", "x", "wide", to=onnx.TensorProto.DOUBLE),
        node("MatMul", "wide", "w1", "h"),
        helper.make_node("TopK", ["h", "k"], ["y", "places"], axis=1),
    ]
    weights = {"w1": WEIGHTS["w1"].astype("f8"), "k": np.array([4])}
    outputs = [value("y", [None, 4], onnx.TensorProto.DOUBLE)]
    dense = model(nodes, [value("x", [None, 6])], outputs, weights)
    pruned = perturbed(dense, 1e-5, names=("w1",))
    expected = error_of(dense, pruned, BATCHES, "y")
    assert predict(dense, pruned) == pytest.approx(
        {WHOLE: expected, "fc1": expected}, rel=CURVATURE
    )


def test_there_is_no_prediction_where_no_output_has_a_norm() -> None:
    dense, pruned = chain("Relu"), changed(0.1, op="Relu")
    del dense.graph.output[0], pruned.graph.output[0]
    assert predict(dense, pruned) == {}


def test_every_batch_is_told() -> None:
    told: list[int] = []
    dense, pruned = (Model(proto, None) for proto in (chain("Relu"), changed(0.1, op="Relu")))
    network.bound_network(
        dense, pruned, {}, BATCHES, provider="CPUExecutionProvider", tick=told.append
    )
    assert told == [1, 1]
