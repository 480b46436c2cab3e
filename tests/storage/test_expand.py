"""What was packed is made dense again, to the bit, and nothing else changes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from build_onnx import branch, constant, initializer, model, normal, run, value
from onnx import ModelProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.walk import iter_graphs
from onnx_lobs.storage.expand import expand_weights
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.storage.int8 import Scales, dequantised
from onnx_lobs.storage.values import VALUES, WeightValues, encode_values

RNG = np.random.default_rng(1)
SCALES = Scales(RNG.uniform(1e-3, 1e-2, 65).astype(np.float32), 1)


def weight(sparsity: float) -> Array:
    codes = RNG.integers(-127, 128, (64, 65)).astype(np.int8)
    codes[RNG.random(codes.shape) < sparsity] = 0
    return dequantised(codes, SCALES, np.dtype(np.float32))


def example() -> ModelProto:
    """A weight in the main graph, and one in a branch that reads it too."""
    then = branch([helper.make_node("MatMul", ["x", "v"], ["b"])], "b", v=weight(0.9))
    other = branch([helper.make_node("MatMul", ["x", "w"], ["b"])], "b")
    nodes = [
        constant("yes", np.array(True)),
        helper.make_node("MatMul", ["x", "w"], ["one"]),
        helper.make_node("If", ["yes"], ["two"], then_branch=then, else_branch=other),
        helper.make_node("Sum", ["one", "two"], ["y"]),
    ]
    return model(nodes, [value("x", [None, 64])], ["y"], {"w": weight(0.7)}, opset=13)


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("form", FORMATS)
def test_every_form_comes_back_to_the_bit(form: str, kind: str) -> None:
    proto = example()
    if kind == "fp16":
        for graph in iter_graphs(proto):
            for tensor in graph.initializer:
                array = onnx.numpy_helper.to_array(tensor)
                tensor.raw_data = array.astype(np.float16).astype(np.float32).tobytes()
    wanted, dense = run(proto, x=normal(2, 3, 64))["y"], initializer(proto, "w")
    index = 1 if proto.graph.node[2].attribute[0].g.initializer else 2
    weights = [WeightValues(0, "w", SCALES), WeightValues(index, "v", SCALES)]
    held = encode_values(proto, weights, VALUES[kind])
    FORMATS[form].encode(proto, held, None)
    loaded = load_model(proto.SerializeToString())
    found = expand_weights(loaded, to_float=True)
    if form == "packed":
        assert len(found.unpacked) == 2
    assert len(found.widened) == (0 if kind == "fp32" else 2)
    assert [n.op_type for n in loaded.proto.graph.node] == ["Constant", "MatMul", "If", "Sum"]
    assert [t.name for t in loaded.proto.graph.initializer] == ["w"]
    assert initializer(loaded.proto, "w").tobytes() == dense.tobytes()
    onnx.checker.check_model(loaded.proto, full_check=True)
    assert run(loaded.proto, x=normal(2, 3, 64))["y"].tobytes() == wanted.tobytes()


def test_int8_stays_unless_floats_are_asked_for() -> None:
    proto = example()
    held = encode_values(proto, [WeightValues(0, "w", SCALES)], VALUES["int8"])
    dense_int8 = initializer(proto, held[0])
    FORMATS["packed"].encode(proto, held, None)
    loaded = load_model(proto.SerializeToString())
    found = expand_weights(loaded, to_float=False)
    assert (found.unpacked, found.widened) == ((held[0],), ())
    assert initializer(loaded.proto, held[0]).tobytes() == dense_int8.tobytes()


def test_a_model_that_holds_nothing_packed_is_left_alone() -> None:
    loaded = load_model(example())
    before = loaded.proto.SerializeToString()
    found = expand_weights(loaded, to_float=True)
    assert not found.unpacked
    assert not found.widened
    assert loaded.proto.SerializeToString() == before


def test_nodes_of_our_name_that_read_inputs_are_left_alone() -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["z"]),
        helper.make_node("Reshape", ["z", "s"], ["y"], name="onnx_lobs restores w"),
    ]
    proto = model(nodes, [value("x", [None, 4])], ["y"], {"s": np.array([-1, 2])})
    loaded = load_model(proto)
    assert not expand_weights(loaded, to_float=True).unpacked
    assert [node.op_type for node in loaded.proto.graph.node] == ["Identity", "Reshape"]
