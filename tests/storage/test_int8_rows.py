"""Tables are looked up as int8 rows: the same bits come out, and they come back as they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import constant, initializer, model, normal, run, tensor, value
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.model import Model
from onnx_lobs.storage.expand import expand_weights
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.storage.int8 import Scales, dequantised
from onnx_lobs.storage.row_tables import find_row_tables
from onnx_lobs.storage.sizes import expected_bytes
from onnx_lobs.storage.values import VALUES, WeightValues, encode_values

RNG = np.random.default_rng(0)
SHAPE = 200, 24
SCALES = Scales(RNG.uniform(1e-3, 1e-2, SHAPE[0]).astype(np.float32), 0)
IDS = np.array([[3, 199, 0], [7, 7, -1]])


def table(dtype: Any = np.float32) -> Array:
    return dequantised(RNG.integers(-127, 128, SHAPE).astype(np.int8), SCALES, np.dtype(dtype))


def network(
    stored: Array, more: Sequence[NodeProto] = (), outputs: Sequence[str] = ("y", "z")
) -> ModelProto:
    """Two nodes look up rows of a table, one of them at constant places."""
    nodes = [
        constant("where", np.array([5, 6])),
        helper.make_node("Gather", ["t", "i"], ["y"], name="first"),
        helper.make_node("Gather", ["t", "where"], ["z"], axis=-2),
        *more,
    ]
    kind = helper.np_dtype_to_tensor_dtype(stored.dtype)
    shown = [value(name, None, kind) for name in outputs]
    inputs = [value("i", [None, None], TensorProto.INT64)]
    return model(nodes, inputs, shown, {"t": stored}, opset=13)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_are_the_same_bits_and_the_table_comes_back(dtype: Any, form: str) -> None:
    stored = table(dtype)
    proto = network(stored)
    wanted, before = run(proto, i=IDS), len(proto.SerializeToString())
    (held,) = encode_values(proto, [WeightValues(0, "t", SCALES)], VALUES["int8"])
    FORMATS[form].encode(proto, [], None)
    onnx.checker.check_model(proto, full_check=True)
    assert initializer(proto, held).dtype == np.int8
    assert len(proto.SerializeToString()) < (0.6 if dtype == np.float32 else 0.9) * before
    found = run(proto, i=IDS)
    for name, array in wanted.items():
        assert found[name].tobytes() == array.tobytes()
    loaded = load_model(proto.SerializeToString())
    assert expand_weights(loaded, to_float=True).widened == ("t",)
    assert [t.name for t in loaded.proto.graph.initializer] == ["t"]
    assert [n.op_type for n in loaded.proto.graph.node] == ["Constant", "Gather", "Gather"]
    assert loaded.proto.graph.node[1].name == "first"
    assert initializer(loaded.proto, "t").tobytes() == stored.tobytes()
    np.testing.assert_array_equal(run(loaded.proto, i=IDS)["y"], wanted["y"])


def test_rows_stay_int8_unless_floats_are_asked_for() -> None:
    proto = network(table())
    encode_values(proto, [WeightValues(0, "t", SCALES)], VALUES["int8"])
    loaded = load_model(proto.SerializeToString())
    before = loaded.proto.SerializeToString()
    assert not expand_weights(loaded, to_float=False).widened
    assert loaded.proto.SerializeToString() == before


def test_rows_that_somebody_changed_are_left_alone() -> None:
    proto = network(table())
    encode_values(proto, [WeightValues(0, "t", SCALES)], VALUES["int8"])
    for node in proto.graph.node:
        if node.op_type == "Cast":
            node.op_type = "Neg"
            del node.attribute[:]
    loaded = load_model(proto.SerializeToString())
    assert not expand_weights(loaded, to_float=True).widened


OTHER = {
    "a product": helper.make_node("Gemm", ["z", "t"], ["o"], transB=1),
    "columns": helper.make_node("Gather", ["t", "where"], ["o"], axis=1),
    "all of it": helper.make_node("Identity", ["t"], ["o"]),
}


@pytest.mark.parametrize("other", OTHER)
def test_a_table_that_is_read_otherwise_is_none(other: str) -> None:
    stored = table()
    assert find_row_tables(Model(network(stored), None), ()) == ("t",)
    proto = network(stored, [OTHER[other]], ["y", "z", "o"])
    assert find_row_tables(Model(proto, None), ()) == ()


def test_layers_small_and_given_tables_and_outputs_are_none() -> None:
    stored = table()
    assert find_row_tables(Model(network(stored), None), {"t"}) == ()
    assert find_row_tables(Model(network(stored[:100]), None), ()) == ()
    assert find_row_tables(Model(network(stored.astype(np.float64)), None), ()) == ()
    given = network(stored)
    given.graph.input.append(value("t", list(SHAPE)))
    assert find_row_tables(Model(given, None), ()) == ()
    shown = network(stored, outputs=["y", "z", "t"])
    assert find_row_tables(Model(shown, None), ()) == ()


@pytest.mark.parametrize(("form", "most"), [("dense", 127), ("packed", 63)])
def test_sizes_are_foreseen_with_tables(form: str, most: int) -> None:
    storage = FORMATS[form]
    assert 2 ** (storage.table_bits(tensor("t", normal(1, 4, 4))) - 1) - 1 == most
    proto = network(normal(1, 4000, 64))
    expected = expected_bytes(proto, (), storage, VALUES["int8"], ("t",))(0.0)
    scales = Scales(np.full(4000, 0.05, np.float32), 0)
    codes = RNG.integers(-most, most + 1, (4000, 64)).astype(np.int8)
    stored = network(dequantised(codes, scales, np.dtype(np.float32)))
    held = encode_values(stored, [WeightValues(0, "t", scales)], VALUES["int8"])
    storage.encode(stored, held, None)
    assert stored.ByteSize() == pytest.approx(expected, rel=0.01)
