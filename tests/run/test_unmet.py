"""Models that have zeros already: these count, stay, and are told of."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import Array, initializer, model, normal, value
from onnx import ModelProto, helper

import onnx_lobs

SIZES = {"w1": (24, 40), "w2": (40, 32), "w3": (32, 16)}
DATA = normal(9, 300, 24) @ normal(8, 24, 24)
ASKED = [
    ("uniform", {}), ("erk", {}), ("global", {}), ("auto", {}),
    ("uniform", {"pattern": "4x1"}), ("uniform", {"pattern": "2:4"}),
    ("auto", {"pattern": "1x4"}), ("uniform", {"method": "magnitude"}),
    ("uniform", {"method": "sparsegpt"}), ("global", {"budget": "macs"}),
]  # fmt: skip


def network(**zeros: float) -> ModelProto:
    """Three layers with biases; of each a share of the weights, the smallest, is zero."""
    weights = {}
    for seed, (name, shape) in enumerate(SIZES.items()):
        weight = normal(seed, *shape)
        order = np.argsort(np.abs(weight), axis=None)
        weight.reshape(-1)[order[: round(zeros.get(name, 0.0) * weight.size)]] = 0
        weights |= {name: weight, f"b{name}": normal(seed + 50, shape[1])}
    nodes = []
    for i, name in enumerate(SIZES):
        nodes.append(
            helper.make_node("Gemm", [f"h{i}", name, f"b{name}"], [f"z{i + 1}"], name=name)
        )
        nodes.append(helper.make_node("Relu", [f"z{i + 1}"], [f"h{i + 1}"]))
    return model(nodes[:-1], [value("h0", ["n", 24])], ["z3"], weights)


def pruned(proto: ModelProto, **options: Any) -> onnx_lobs.PruneResult:
    return onnx_lobs.prune(proto, DATA, min_weights=0, effort="fast", **options)


def weights_of(proto: ModelProto) -> dict[str, Array]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


@pytest.mark.slow
@pytest.mark.parametrize(("allocation", "options"), ASKED)
def test_a_model_pruned_once_more_as_before_is_the_same(
    allocation: str, options: dict[str, Any]
) -> None:
    wanted = {} if options.get("pattern") == "2:4" else {"sparsity": 0.5}
    once = pruned(network(), allocation=allocation, **wanted, **options)
    again = pruned(once.model, allocation=allocation, **wanted, **options)
    before, after = weights_of(once.model), weights_of(again.model)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert again.report.totals.zeros == once.report.totals.zeros
    assert again.report.output.error == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["joint", "sparsegpt", "wanda", "magnitude", "exact-obs"])
@pytest.mark.parametrize("allocation", ["uniform", "erk", "global", "auto"])
def test_the_total_is_exact_and_zeros_stay_on_a_model_with_a_sparse_layer(
    method: str, allocation: str
) -> None:
    """Its first layer has more zeros than any rule would give it at this sparsity."""
    dense = network(w1=0.9, w2=0.2)
    done = pruned(dense, sparsity=0.6, method=method, allocation=allocation)
    sizes = sum(rows * columns for rows, columns in SIZES.values())
    assert done.report.totals.zeros == round(0.6 * sizes)
    assert np.array_equal(initializer(done.model, "w1"), initializer(dense, "w1"))
    assert not initializer(done.model, "w2")[initializer(dense, "w2") == 0].any()
    assert done.report.warnings == ()


def test_more_zeros_than_asked_for_are_left_and_told() -> None:
    dense = network(w1=0.7, w2=0.6, w3=0.5)
    done = pruned(dense, sparsity=0.5)
    before, after = weights_of(dense), weights_of(done.model)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert done.report.warnings == (
        "the model has 61.6 % zeros already, more than the 50 % that was asked for: its weights "
        "stay as they are",
    )
    assert {layer.status for layer in done.report.layers} == {"already sparse"}
    (told,) = pruned(dense).report.warnings
    assert "more than the 50 % that is the default" in told


def test_a_target_begins_with_what_the_model_has() -> None:
    dense = network(w1=0.7, w2=0.6, w3=0.5)
    report = pruned(dense, max_output_error=0.0, allocation="uniform").report
    assert report.target is not None
    assert report.target.is_met
    assert report.target.sparsity == pytest.approx(report.totals.sparsity, abs=1e-9)
    assert report.totals.zeros == sum(int((w == 0).sum()) for w in weights_of(dense).values())
    assert report.warnings == ()


def test_zeros_among_biases_are_told() -> None:
    """A layer of 3 inputs, whose bias is as small a part of the outputs as its weights."""
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"])]
    weights = {"w": normal(1, 3, 64), "b": 1e-3 * normal(2, 64)}
    proto = model(nodes, [value("x", ["n", 3])], ["y"], weights)
    options: dict[str, Any] = {"method": "lobs", "sparsity": 0.5, "min_weights": 0}
    report = onnx_lobs.prune(proto, normal(3, 200, 3), **options).report
    assert report.totals.zeros < 0.5 * report.totals.weights
    assert [t for t in report.warnings if "method lobs has zeros among the biases" in t]


def test_blocks_that_do_not_fit_are_told_and_a_layer_sparsity_is_not() -> None:
    """Blocks of 64 outputs: each layer has one row of them, so that many columns go at once."""
    one = {"pattern": "64x8", "allocation": "uniform", "method": "magnitude"}
    (told,) = pruned(network(), sparsity=0.45, **one).report.warnings
    assert "not the 45 % that was asked for: pattern 64x8 has zeros in pieces" in told
    given = {"layer_sparsity": {"w1": 0.9}, "allocation": "uniform", "method": "magnitude"}
    assert pruned(network(), sparsity=0.5, **given).report.warnings == ()
