"""Two networks run side by side, and only what can differ runs twice."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from build_onnx import Array, model, normal, run, value
from onnx import ModelProto, helper

from onnx_lobs.calibration import lazy_stage
from onnx_lobs.graph.files.tensors import write_tensor
from onnx_lobs.graph.model import Model
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Overlay, Store
from onnx_lobs.run.correction.pair_runner import PairRunner

NODE = helper.make_node
CPU = "CPUExecutionProvider"
STOPS = {2: {"a"}, 4: {"c"}, 6: {"s"}}
ROUNDING = 2e-6  # of the largest value: a stage may sum in another order than the network


def network() -> ModelProto:
    """Two branches from one input, only the second of which has the weight that changes."""
    nodes = [
        NODE("MatMul", ["x", "v"], ["h"]),
        NODE("Relu", ["h"], ["a"]),
        NODE("MatMul", ["a", "w"], ["b"]),
        NODE("Relu", ["b"], ["c"]),
        NODE("MatMul", ["c", "u"], ["d"]),
        NODE("Add", ["d", "a"], ["s"]),
        NODE("Relu", ["s"], ["y"]),
    ]
    weights = {name: normal(i, 6, 6) for i, name in enumerate("vwu")}
    return model(nodes, [value("x", [None, 6])], ["y", "a", "c", "s"], weights)


def halved(proto: ModelProto, name: str) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(proto)
    network = Model(copy, None)
    tensor = network.scopes[0].initializers[name]
    write_tensor(tensor, 0.5 * network.value(tensor))
    return copy


def batches() -> list[dict[str, Array]]:
    return [{"x": normal(10 + i, 7, 6)} for i in range(3)]


def test_both_have_the_values_of_the_whole_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    make = lazy_stage.stage_session

    def counted(*args: object) -> object:
        made.append(args[0])
        return make(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(lazy_stage, "stage_session", counted)
    whole, other = network(), halved(network(), "w")
    dense, pruned = Model(whole, None), Model(other, None)
    store = Store(sys.maxsize, Scratch())
    runner = PairRunner(dense, pruned, STOPS, batches(), CPU, store)
    runner.mark_changed([(0, "w")])
    for top, (name,) in STOPS.items():
        runner.advance(top)
        assert (name in runner.differing) == (name != "a")
        for index, feeds in enumerate(batches()):
            of_dense = runner.of_dense[index]
            both = Overlay(runner.of_pruned[index], of_dense)
            for values, proto in ((of_dense, whole), (both, other)):
                expected = run(proto, **feeds)[name]
                room = ROUNDING * np.abs(expected).max()
                np.testing.assert_allclose(values[name], expected, rtol=0, atol=room)
    assert [model is pruned for model in made] == [False, True, False, True, False]
    assert sum(model is dense for model in made) == len(STOPS)
    runner.close()
    assert store.in_memory == 0


def test_what_has_not_changed_runs_once() -> None:
    dense = Model(network(), None)
    runner = PairRunner(dense, dense, STOPS, batches(), CPU, Store(sys.maxsize, Scratch()))
    for top in STOPS:
        runner.advance(top)
    assert not runner.differing
    assert not any(len(values) for values in runner.of_pruned)
