"""Packed weights come back bit for bit in onnxruntime, from wherever they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from build_onnx import branch, constant, model, normal, one_node, run, tensor, value
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx.version_converter import convert_version

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.storage.bitmask import bitmask_size, pack_bitmask
from onnx_lobs.storage.gap8 import WIDEST, bridged, gap8_size, pack_gap8
from onnx_lobs.storage.packed import (
    LARGEST_FOLDED,
    PACKED_HEADER,
    PACKED_TYPES,
    encode_packed,
    packed_bytes,
    packing_notes,
    packing_trouble,
    tensor_trouble,
)
from onnx_lobs.storage.unpacking import SharedConstants

PACKINGS = [pack_bitmask, pack_gap8]
TYPES = (np.float32, np.float16, np.float64, np.int8, np.uint8, np.int16, np.uint16, np.int32)
LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
)
X = normal(9, 3, 64)


def sparse_array(
    sparsity: float, shape: tuple[int, ...] = (64, 65), dtype: Any = np.float32
) -> Array:
    rng = np.random.default_rng(0)
    found = (50 * rng.standard_normal(shape)).astype(dtype)
    found[rng.random(shape) < sparsity] = 0
    return found


def unpacked(array: Array, packing: Any, level: Any, opset: int) -> Array:
    """What onnxruntime makes of a packed array."""
    stored, shared = tensor("w", array), SharedConstants(ModelProto())
    made = packing(stored, array, shared)
    out = [value("w", list(array.shape), stored.data_type)]
    constants = [*made.constants, *shared.made.values()]
    graph = helper.make_graph(made.nodes, "g", [], out, constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    (found,) = session.run(None, {})
    return found


def as_bytes(array: Array) -> bytes:
    return np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("level", LEVELS, ids=["plain", "optimised"])
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_comes_back_to_the_bit(dtype: Any, packing: Any, level: Any) -> None:
    for sparsity, opset in ((0.5, 13), (0.99, 11), (1.0, 17), (0.0, 21)):
        array = sparse_array(sparsity, dtype=dtype)
        found = unpacked(array, packing, level, opset)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert as_bytes(found) == as_bytes(array)


def test_the_types_are_those_that_are_tested() -> None:
    assert {helper.np_dtype_to_tensor_dtype(np.dtype(dtype)) for dtype in TYPES} == PACKED_TYPES


@pytest.mark.parametrize("packing", PACKINGS)
def test_negative_zero_and_nan_come_back(packing: Any) -> None:
    array = np.array([0.0, -0.0, np.nan, -np.inf, 1e-45, 0.0, 0.0, 3.0, 0.0], np.float32)
    assert as_bytes(unpacked(array, packing, LEVELS[1], 13)) == as_bytes(array)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.int64, st.integers(0, 30), elements=st.integers(0, 5000), unique=True))
def test_bridges_leave_no_gap_that_a_byte_does_not_hold(positions: Array) -> None:
    positions = np.sort(positions)
    found = bridged(positions)
    gaps = np.diff(found, prepend=0)
    assert gaps[0] >= 0
    assert (gaps[1:] > 0).all()
    assert gaps.max() <= WIDEST
    assert set(positions) <= set(found) or not positions.size
    assert found[-1] == (positions[-1] if positions.size else 0)
    needed = sum(max(gap - 1, 0) // WIDEST for gap in np.diff(positions, prepend=0))
    assert found.size == max(positions.size + needed, 1)


@pytest.mark.parametrize(
    ("sparsity", "op"), [(0.01, None), (0.5, "Mul"), (0.95, "ScatterElements")]
)
def test_the_smallest_form_is_taken(sparsity: float, op: str | None) -> None:
    proto = one_node("MatMul", {"w": sparse_array(sparsity, (256, 256))})
    before = proto.ByteSize()
    names = encode_packed(proto, ["w"])
    assert names == ([] if op is None else ["w"])
    ops = {node.op_type for node in proto.graph.node}
    assert ops & {"Mul", "ScatterElements"} == ({op} if op else set())
    assert (proto.ByteSize() < before) == (op is not None)


def test_the_table_of_bits_must_pay_for_itself() -> None:
    proto = one_node("MatMul", {"w": sparse_array(0.5, (64, 64))})
    assert encode_packed(proto, ["w"]) == ["w"]
    assert {node.op_type for node in proto.graph.node} >= {"ScatterElements"}
    assert not any(list(t.dims) == [256, 8] for t in proto.graph.initializer)


def shared_weights() -> ModelProto:
    """Weights that are shared, in a branch, in a Constant node, behind a Transpose."""
    then = branch([helper.make_node("MatMul", ["x", "inner"], ["b"])], "b", inner=sparse_array(0.9))
    other = branch([helper.make_node("MatMul", ["x", "w"], ["b"])], "b")
    nodes = [
        constant("k", sparse_array(0.7)),
        constant("yes", np.array(True)),
        helper.make_node("MatMul", ["x", "w"], ["one"]),
        helper.make_node("MatMul", ["x", "k"], ["two"]),
        helper.make_node("Transpose", ["t"], ["tt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "tt"], ["three"]),
        helper.make_node("If", ["yes"], ["four"], then_branch=then, else_branch=other),
        helper.make_node("Sum", ["one", "two", "three", "four"], ["y"]),
    ]
    weights = {"w": sparse_array(0.5), "t": sparse_array(0.95, (65, 64))}
    return model(nodes, [value("x", [None, 64])], ["y"], weights, opset=13)


def test_weights_of_all_kinds_are_packed_and_the_outputs_are_the_same_bits() -> None:
    proto = shared_weights()
    before = proto.ByteSize()
    wanted = run(proto, x=X)["y"]
    assert set(encode_packed(proto, ["w", "k", "t", "inner"])) == {"w", "k", "t", "inner"}
    onnx.checker.check_model(proto, full_check=True)
    assert proto.ByteSize() < 0.6 * before
    assert as_bytes(run(proto, x=X)["y"]) == as_bytes(wanted)
    assert [o.name for o in onnx.shape_inference.infer_shapes(proto).graph.value_info]


def test_only_named_weights_are_packed() -> None:
    proto = shared_weights()
    assert encode_packed(proto, ["t"]) == ["t"]


def test_names_of_the_model_are_left_alone() -> None:
    weight = sparse_array(0.9)
    nodes = [
        helper.make_node("Identity", ["x"], ["u0.values"]),
        helper.make_node("MatMul", ["u0.values", "unpack.axis"], ["y"]),
    ]
    proto = model(nodes, [value("x", [None, 64])], ["y"], {"unpack.axis": weight}, opset=13)
    wanted = run(proto, x=X)["y"]
    assert encode_packed(proto, ["unpack.axis"])
    onnx.checker.check_model(proto)
    assert as_bytes(run(proto, x=X)["y"]) == as_bytes(wanted)


def test_a_weight_that_is_an_input_too_stays_dense_and_is_named() -> None:
    proto = one_node("MatMul", {"w": sparse_array(0.9)})
    proto.graph.input.append(value("w", [64, 65]))
    assert encode_packed(proto, ["w"]) == []
    assert packing_notes(proto, ["w"]) == ["weight 'w' was left dense: it is an input too"]


@pytest.mark.parametrize(
    ("opset", "ir_version", "why"), [(10, 8, "imports operator set 10"), (13, 3, "IR version 3")]
)
def test_old_models_are_not_packed_and_told_why(opset: int, ir_version: int, why: str) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    proto = model(
        nodes, [value("x", [None, 64])], ["y"], {"w": sparse_array(0.9)},
        opset=opset, ir_version=ir_version,
    )  # fmt: skip
    before = proto.SerializeToString()
    assert encode_packed(proto, ["w"]) == []
    assert proto.SerializeToString() == before
    assert why in str(packing_trouble(proto))
    assert why in packing_notes(proto, ["w"])[0]


def test_what_onnxruntime_would_unpack_at_every_run_stays_dense() -> None:
    header = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[LARGEST_FOLDED // 4])
    assert "more than the 1,073,741,824 bytes" in str(tensor_trouble(header))
    header.dims[0] -= 1
    assert tensor_trouble(header) is None
    bytes_ = TensorProto(name="w", data_type=TensorProto.INT8, dims=[LARGEST_FOLDED // 4])
    assert tensor_trouble(bytes_) is not None  # whose positions take four each
    narrow = TensorProto(name="w", data_type=TensorProto.BFLOAT16, dims=[4])
    assert "cannot unpack bfloat16" in str(tensor_trouble(narrow))


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.8, 0.9, 0.97, 0.999])
def test_sizes_are_foreseen(sparsity: float) -> None:
    array = sparse_array(sparsity, (512, 512))
    proto = one_node("MatMul", {"w": array})
    (expected,) = packed_bytes(proto, proto.graph.initializer)(sparsity)
    rest = proto.ByteSize() - array.nbytes
    encode_packed(proto, ["w"])
    table = sum(t.ByteSize() for t in proto.graph.initializer if list(t.dims) == [256, 8])
    assert abs(proto.ByteSize() - rest - table - expected) <= 0.02 * expected + PACKED_HEADER


def test_formulas_of_the_forms_cross_near_seven_eighths() -> None:
    assert bitmask_size(8000, 2000, 4) < gap8_size(8000, 2000, 4)
    assert bitmask_size(8000, 400, 4) > gap8_size(8000, 400, 4)


def test_external_weights_stay_external(tmp_path: Path) -> None:
    proto = one_node("MatMul", {"w": sparse_array(0.9, (64, 640))})
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    loaded = load_model(tmp_path / "m.onnx")
    assert encode_packed(loaded.proto, ["w"], loaded.folder) == ["w"]
    save_model(loaded.proto, tmp_path / "o.onnx", folder=loaded.folder, overwrite=False)
    assert (tmp_path / "o.onnx.data").stat().st_size < 0.2 * (64 * 640 * 4)
    sessions = [onnxruntime.InferenceSession(str(tmp_path / name)) for name in ("m.onnx", "o.onnx")]
    one, other = (session.run(None, {"x": X})[0] for session in sessions)
    assert as_bytes(one) == as_bytes(other)


def test_the_reference_evaluator_and_the_version_converter_read_it() -> None:
    proto = one_node("MatMul", {"w": sparse_array(0.9)})
    wanted = run(proto, x=X)["y"]
    encode_packed(proto, ["w"])
    (found,) = ReferenceEvaluator(proto).run(None, {"x": X})
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert convert_version(proto, 18).opset_import[0].version == 18
