"""Stages give the values of the whole network, also those that are made again, not stored."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from build_onnx import Array, model, normal, run, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.calibration import network_runner as module
from onnx_lobs.calibration.network_runner import NetworkRunner
from onnx_lobs.graph.files.tensors import write_tensor
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.stages import Stage, stage_of
from onnx_lobs.layers.fan_in import inputs_per_output
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store

NODE = helper.make_node
CPU = "CPUExecutionProvider"
BATCHES = 3
ROUNDING = 2e-6  # of the largest value: a stage may sum in another order than the network


def expanding(times: int = 6) -> ModelProto:
    """An inverted residual block, with `times` as many channels inside, and a layer behind it."""
    wide = 4 * times
    nodes = [
        NODE("Conv", ["x", "w0"], ["a"], name="before"),
        NODE("Conv", ["a", "w1"], ["b"], name="expand"),
        NODE("Relu", ["b"], ["c"]),
        NODE("Conv", ["c", "w2"], ["d"], name="depthwise", group=wide, pads=[1, 1, 1, 1]),
        NODE("Relu", ["d"], ["e"]),
        NODE("Conv", ["e", "w3"], ["f"], name="project"),
        NODE("Add", ["f", "a"], ["g"]),
        NODE("Conv", ["g", "w4"], ["y"], name="behind"),
    ]
    shapes = (4, 3, 1, 1), (wide, 4, 1, 1), (wide, 1, 3, 3), (4, wide, 1, 1), (5, 4, 3, 3)
    weights = {f"w{i}": normal(i, *shape) for i, shape in enumerate(shapes)}
    return model(nodes, [value("x", [None, 3, 9, 8])], ["y", "a", "c", "e", "g"], weights)


STOPS = {1: {"a"}, 3: {"c"}, 5: {"e"}, 7: {"g"}}


def images() -> list[dict[str, Array]]:
    return [{"x": normal(10 + i, 2, 3, 9, 8)} for i in range(BATCHES)]


@pytest.mark.parametrize("times", [1, 6])
def test_live_values_are_those_of_the_whole_network(times: int) -> None:
    proto, batches = expanding(times), images()
    store = Store(sys.maxsize, Scratch())
    made = NetworkRunner(Model(proto, None), STOPS, batches, CPU, store)
    for top, (name,) in STOPS.items():
        made.advance(top)
        for index, feeds in enumerate(batches):
            expected = run(proto, **feeds)[name]
            room = ROUNDING * np.abs(expected).max()
            np.testing.assert_allclose(made.values(index)[name], expected, rtol=0, atol=room)
        is_unstored = name not in made.stored[0]
        assert is_unstored == (name == "c")
        live = {"c": {"a", "c"}, "e": {"a", "e"}}.get(name, {name}) - (
            {name} if is_unstored else set()
        )
        assert set(made.stored[0]) == live
        assert {*made.values(1)} == live | {name}
    made.close()
    assert store.in_memory == 0


def test_a_stage_that_is_not_stored_runs_with_the_weights_of_its_time() -> None:
    proto = expanding()
    network = Model(proto, None)
    made = NetworkRunner(network, STOPS, images(), CPU, Store(sys.maxsize, Scratch()))
    before = run(proto, **images()[1])
    made.advance(1)
    tensor = network.scopes[0].initializers["w1"]
    write_tensor(tensor, np.zeros((24, 4, 1, 1), np.float32))
    made.advance(3)
    assert not made.values(1)["c"].any()
    made.advance(5)
    assert not made.values(1)["e"].any()
    assert before["e"].any()


@pytest.mark.parametrize(("name", "limit"), [("CHEAP", 3), ("LARGE", 7)])
def test_stages_that_cost_much_or_give_little_are_stored(
    name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = expanding()
    proto.graph.node[6].input[1] = "f"  # no residual: the stage's input is freed
    for is_stored in (False, True):
        if is_stored:
            monkeypatch.setattr(module, name, limit)
        store = Store(sys.maxsize, Scratch())
        made = NetworkRunner(Model(proto, None), STOPS, images(), CPU, store)
        made.advance(1)
        made.advance(3)
        assert ("c" in made.stored[0]) == is_stored


PRODUCTS: dict[str, tuple[Any, list[int], dict[str, Array], float]] = {
    "pointwise": (NODE("Conv", ["x", "w"], ["y"]), [2, 4, 5, 5], {"w": normal(1, 8, 4, 1, 1)}, 4),
    "3x3": (NODE("Conv", ["x", "w"], ["y"]), [2, 4, 5, 5], {"w": normal(1, 8, 4, 3, 3)}, 36),
    "MatMul": (NODE("MatMul", ["x", "w"], ["y"]), [2, 4], {"w": normal(1, 4, 9)}, 4),
    "narrowing": (NODE("MatMul", ["x", "w"], ["y"]), [2, 9], {"w": normal(1, 9, 4)}, 9),
    "left": (NODE("MatMul", ["w", "x"], ["y"]), [9, 2], {"w": normal(1, 4, 9)}, 9),
    "Gemm": (NODE("Gemm", ["x", "w"], ["y"], transB=1), [2, 9], {"w": normal(1, 4, 9)}, 9),
    "left Gemm": (NODE("Gemm", ["w", "x"], ["y"], transA=1), [9, 2], {"w": normal(1, 9, 4)}, 9),
    "transposed": (
        NODE("ConvTranspose", ["x", "w"], ["y"]),
        [2, 4, 5, 5],
        {"w": normal(1, 4, 8, 3, 3)},
        36,
    ),
    "both dynamic": (NODE("MatMul", ["x", "x"], ["y"]), [4, 4], {}, np.inf),
    "Softmax": (NODE("Softmax", ["x"], ["y"]), [4, 4], {}, np.inf),
    "Clip": (NODE("Clip", ["x"], ["y"]), [4, 4], {}, 0),
}


@pytest.mark.parametrize("kind", PRODUCTS)
def test_inputs_per_output(kind: str) -> None:
    node, shape, weights, expected = PRODUCTS[kind]
    proto = model([node], [value("x", shape, TensorProto.FLOAT)], ["y"], weights)
    stage: Stage = stage_of(Model(proto, None), 0)
    assert inputs_per_output(Model(proto, None), stage) == expected
