"""Whole numbers of seven bits come back from seven bytes for eight of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from build_onnx import model, run, tensor, value
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.storage.expand import expand_weights
from onnx_lobs.storage.narrow import LEAST, MOST, pack_narrow
from onnx_lobs.storage.packed import encode_packed
from onnx_lobs.storage.unpacking import SharedConstants

ROOM = 700  # bytes of names, nodes and dims beside the numbers


def codes(*shape: int) -> Array:
    return np.random.default_rng(0).integers(LEAST, MOST + 1, shape, dtype=np.int8)


def table(rows: int, columns: int, stored: Array | None = None) -> ModelProto:
    """A model that looks up rows of int8 numbers."""
    nodes = [helper.make_node("Gather", ["t", "i"], ["y"])]
    weights = {"t": codes(rows, columns) if stored is None else stored}
    outputs = [value("y", None, TensorProto.INT8)]
    return model(nodes, [value("i", [None], TensorProto.INT64)], outputs, weights, opset=11)


@pytest.mark.parametrize("shape", [(1,), (7,), (8, 16), (3, 5, 9), (1, 1)])
@pytest.mark.parametrize("opset", [11, 13, 21])
def test_every_number_of_seven_bits_comes_back(shape: tuple[int, ...], opset: int) -> None:
    every = np.resize(np.arange(LEAST, MOST + 1, dtype=np.int8), shape)
    shared = SharedConstants(ModelProto())
    made = pack_narrow(tensor("w", every), every, shared)
    assert made is not None
    out = [value("w", list(shape), TensorProto.INT8)]
    graph = helper.make_graph(made.nodes, "g", [], out, [*made.constants, *shared.made.values()])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(proto, full_check=True)
    np.testing.assert_array_equal(run(proto)["w"], every)
    np.testing.assert_array_equal(ReferenceEvaluator(proto).run(None, {})[0], every)


@pytest.mark.parametrize("beyond", [LEAST - 1, MOST + 1])
def test_numbers_of_eight_bits_are_refused(beyond: int) -> None:
    some = codes(64)
    some[5] = beyond
    assert pack_narrow(tensor("w", some), some, SharedConstants(ModelProto())) is None
    assert encode_packed(table(40, 64, np.tile(some, (40, 1))), ["t"]) == []


@pytest.mark.parametrize("stored", [np.ones(9, np.uint8), np.ones(9, np.float32)])
def test_other_types_are_refused(stored: Array) -> None:
    assert pack_narrow(tensor("w", stored), stored, SharedConstants(ModelProto())) is None


def test_a_table_without_zeros_gets_an_eighth_smaller_and_comes_back() -> None:
    proto = table(301, 33)
    before, wanted = proto.ByteSize(), run(proto, i=np.arange(301))["y"]
    assert encode_packed(proto, ["t"]) == ["t"]
    saved = before - proto.ByteSize()
    assert 0 < wanted.size / 8 - saved < ROOM
    np.testing.assert_array_equal(run(proto, i=np.arange(301))["y"], wanted)
    loaded = load_model(proto.SerializeToString())
    assert expand_weights(loaded, to_float=False).unpacked == ("t",)
    assert [node.op_type for node in loaded.proto.graph.node] == ["Gather"]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(_only(loaded.proto)), wanted)


def _only(proto: ModelProto) -> TensorProto:
    (found,) = proto.graph.initializer
    return found


def test_onnxruntime_unpacks_it_when_it_loads_it(tmp_path: Path) -> None:
    proto = table(301, 33)
    encode_packed(proto, ["t"])
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "o.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(proto.SerializeToString(), options)
    (node,) = onnx.load(tmp_path / "o.onnx").graph.node
    assert node.op_type == "Gather"


def test_zeros_are_packed_as_zeros() -> None:
    stored = codes(128, 64)
    stored[np.random.default_rng(1).random(stored.shape) < 0.7] = 0
    proto = table(128, 64, stored)
    assert encode_packed(proto, ["t"]) == ["t"]
    assert "Floor" not in {node.op_type for node in proto.graph.node}
