"""The whole network comes nearer to the dense outputs, zeros fixed, on samples held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, run, value
from onnx import helper
from retrained_networks import X, network, pruned

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.final_activation import common_finals
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.run.blocks import whole
from onnx_lobs.run.blocks.steps import take_steps
from onnx_lobs.run.blocks.whole import refit_whole
from onnx_lobs.run.retraining.opened import OpenedNetworks
from onnx_lobs.run.retraining.parameters import write_values
from onnx_lobs.run.retraining.training import TrainingSet

CPU = "CPUExecutionProvider"
SIZE, MOST_KEPT = 32, 1 << 20


def opened(dense: onnx.ModelProto, other: onnx.ModelProto) -> OpenedNetworks:
    one, two = (Model(to_executable(proto, None, CPU)[0], None) for proto in (dense, other))
    return OpenedNetworks(two, one, common_finals(one, two), CPU, ())


def batches(x: Array, size: int = SIZE) -> Batches:
    return Batches(
        lambda i: {"x": x[i * size : (i + 1) * size]}, (size,) * (len(x) // size), "numbers"
    )


def test_outputs_come_nearer_on_held_out_samples_and_zeros_stay() -> None:
    both = opened(network(), pruned(network()))
    before = onnx.ModelProto()
    before.CopyFrom(both.pruned.proto)
    values = refit_whole(both, batches(X[: 10 * SIZE]), 0, MOST_KEPT)
    assert {"w1", "b3"} <= set(values)
    write_values(both.pruned, values)
    held = X[9 * SIZE : 10 * SIZE]  # the last of ten batches
    target = run(network(), x=held)["y"]
    errors = [np.square(run(p, x=held)["y"] - target).sum() for p in (before, both.pruned.proto)]
    assert errors[1] < (1 - whole.LEAST_GAIN) * errors[0]
    for tensor in before.graph.initializer:
        if tensor.name in values:
            old = onnx.numpy_helper.to_array(tensor)
            if tensor.name.startswith("w"):
                np.testing.assert_array_equal(values[tensor.name] == 0, old == 0)


def test_a_network_that_gains_nothing_stays() -> None:
    both = opened(network(), network())
    assert refit_whole(both, batches(X[: 10 * SIZE]), 0, MOST_KEPT) == {}


@pytest.mark.parametrize("fixed", [False, True])
def test_a_graph_that_fixes_its_samples_gets_whole_batches(
    fixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = np.array([SIZE if fixed else -1, 6])
    nodes = [
        helper.make_node("Reshape", ["x", "form"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    weights = {"form": form, "w": normal(0, 6, 4), "b": normal(1, 4)}
    dense = model(nodes, [value("x", ["n", 2, 3])], ["y"], weights)
    sizes = []

    def stepped(network: Any, fitted: TrainingSet, *rest: Any) -> Any:
        sizes.append(fitted.batches.sizes[0])
        return take_steps(network, fitted, *rest)

    monkeypatch.setattr(whole, "take_steps", stepped)
    some = batches(normal(2, 10 * SIZE, 2, 3))
    refit_whole(opened(dense, pruned(dense)), some, 0, MOST_KEPT)
    assert sizes == [SIZE if fixed else whole.SAMPLES]
