"""Latencies are those of the networks: one that computes less takes less."""

from __future__ import annotations

from build_onnx import model, normal, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.graph.run.latency import latencies


def convolution(rows: int) -> ModelProto:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    weights = {"w": normal(1, rows, 16, 3, 3)}
    return model([node], [value("x", ["n", 16, 32, 32])], ["y"], weights)


def test_a_network_that_computes_a_sixteenth_takes_less() -> None:
    found = latencies(convolution(256), convolution(16), {"x": normal(2, 2, 16, 32, 32)})
    assert found is not None
    before, after = found
    assert after < before / 2


def test_models_that_are_not_in_one_piece_are_not_timed() -> None:
    proto = convolution(2)
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert latencies(proto, convolution(2), {"x": normal(2, 1, 16, 8, 8)}) is None
