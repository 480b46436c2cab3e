"""Sparse storage is exact, smaller where it is chosen, and read by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.files.sparse import densify, make_dense
from onnx_lobs.graph.files.tensors import read_tensor, write_tensor
from onnx_lobs.storage.sparse import (
    SPARSE_HEADER,
    dense_size,
    encode_sparse,
    sparse_size,
    to_sparse,
    varint_size,
)

TYPES = {  # with their ONNX numbers: onnx 1.16 does not connect the last two
    np.float32: TensorProto.FLOAT,
    np.float16: TensorProto.FLOAT16,
    np.float64: TensorProto.DOUBLE,
    np.int8: TensorProto.INT8,
    np.uint8: TensorProto.UINT8,
    np.int16: TensorProto.INT16,
    np.uint16: TensorProto.UINT16,
    np.int32: TensorProto.INT32,
    ml_dtypes.bfloat16: TensorProto.BFLOAT16,
    ml_dtypes.float8_e4m3fn: TensorProto.FLOAT8E4M3FN,
}
RNG = np.random.default_rng(0)
SHAPE = (64, 64)
X = RNG.standard_normal((2, 64)).astype(np.float32)


def sparse_array(sparsity: float, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    dense = RNG.standard_normal(shape)
    return np.where(RNG.random(shape) < sparsity, 0, dense).astype(np.float32)


def make_model(**weights: np.ndarray) -> ModelProto:
    """y = sum of x @ w over all weights, each used twice."""
    nodes = [
        helper.make_node("MatMul", ["x", name], [f"{name}{use}"])
        for name in weights
        for use in "01"
    ]
    nodes.append(helper.make_node("Sum", [node.output[0] for node in nodes], ["y"]))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64]) for name in "xy"]
    graph = helper.make_graph(
        nodes,
        "g",
        values[:1],
        values[1:],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
        value_info=[helper.make_tensor_value_info(n.output[0], 1, ["n", 64]) for n in nodes[:-1]],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(source: bytes | Path, x: np.ndarray = X) -> np.ndarray:
    source = str(source) if isinstance(source, Path) else source
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def to_tensor(array: np.ndarray, data_type: int) -> TensorProto:
    tensor = TensorProto(name="name", data_type=data_type, dims=array.shape)
    write_tensor(tensor, array)
    return tensor


def bits(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(f"u{array.itemsize}")


@settings(max_examples=200, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(list(TYPES)))
def test_round_trip_is_exact_but_for_negative_zero(data: st.DataObject, dtype: type) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6))
    patterns = hnp.arrays(f"u{np.dtype(dtype).itemsize}", shape)
    array = data.draw(patterns).view(dtype)
    back = densify(to_sparse(to_tensor(array, TYPES[dtype]), array))
    assert back.name == "name"
    with np.errstate(invalid="ignore"):  # a signalling NaN says so when it is compared
        expected = np.where(array == 0, np.zeros((), dtype), array)
    np.testing.assert_array_equal(bits(read_tensor(back, None)), bits(expected))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**62), unique=True))
def test_size_of_varints_is_what_protobuf_writes(numbers: list[int]) -> None:
    indices = np.array(sorted(numbers), dtype=np.int64)
    tensor = TensorProto(int64_data=indices.tolist())
    overhead = 0 if not numbers else 1 + len_of_varint(varint_size(indices))
    assert tensor.ByteSize() == varint_size(indices) + overhead


def len_of_varint(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 1.0])
def test_predicted_size_bounds_the_stored_size(sparsity: float, dtype: type) -> None:
    array = (100 * sparse_array(sparsity)).astype(dtype)
    dense = to_tensor(array, TYPES[dtype])
    assert dense_size(dense) == len(dense.raw_data)
    stored = ModelProto()
    stored.graph.sparse_initializer.append(to_sparse(dense, array))
    empty = ModelProto()
    empty.graph.initializer.append(dense)
    around = empty.ByteSize() - dense_size(dense)
    actual = stored.ByteSize() - around
    assert sparse_size(array) - SPARSE_HEADER <= actual <= sparse_size(array)


def test_indices_are_sorted_int64_varints() -> None:
    array = np.array([[0, 3], [5, 0]], np.float32)
    sparse = to_sparse(numpy_helper.from_array(array, "w"), array)
    assert list(sparse.indices.int64_data) == [1, 2]
    assert sparse.indices.data_type == TensorProto.INT64
    assert not sparse.indices.HasField("raw_data")
    assert list(sparse.dims) == [2, 2]


def test_name_doc_string_and_metadata_survive_the_round_trip() -> None:
    array = sparse_array(0.9)
    tensor = numpy_helper.from_array(array, "w")
    tensor.doc_string = "doc"
    tensor.metadata_props.add(key="k", value="v")
    assert densify(to_sparse(tensor, array)) == tensor


def test_array_of_another_type_is_refused() -> None:
    array = sparse_array(0.9)
    with pytest.raises(ModelError, match=r"'w' is float32.* cannot take float64"):
        to_sparse(numpy_helper.from_array(array, "w"), array.astype(np.float64))


@pytest.mark.parametrize("sparsity", [0.6, 0.9, 1.0])
def test_encoded_model_runs_the_same_and_is_smaller(tmp_path: Path, sparsity: float) -> None:
    model = make_model(w=sparse_array(sparsity), v=sparse_array(sparsity))
    before = model.SerializeToString()
    assert encode_sparse(model, ["w", "v", "absent"]) == ["w", "v"]
    after = model.SerializeToString()
    assert len(after) < len(before)
    assert not model.graph.initializer
    assert len(model.graph.value_info) == 4
    onnx.checker.check_model(model)
    save_model(model, tmp_path / "m.onnx", folder=None, overwrite=False)
    np.testing.assert_array_equal(run(tmp_path / "m.onnx"), run(before))
    np.testing.assert_array_equal(run(after), run(before))


def test_decoding_undoes_encoding() -> None:
    model = make_model(w=sparse_array(0.9), v=sparse_array(0.9))
    before = {tensor.name: tensor.raw_data for tensor in model.graph.initializer}
    moved = encode_sparse(model, {"w", "v"})
    assert sorted(make_dense(model)) == sorted(moved)
    assert {tensor.name: tensor.raw_data for tensor in model.graph.initializer} == before
    assert not model.graph.sparse_initializer


@pytest.mark.parametrize(("sparsity", "moves"), [(0.25, False), (0.4, True)])
def test_only_what_is_past_break_even_moves(sparsity: float, moves: bool) -> None:
    # 64 x 64 float32: 4 + about 2 bytes per nonzero against 4 bytes per weight, so 1/3.
    model = make_model(w=sparse_array(sparsity))
    assert encode_sparse(model, ["w"]) == (["w"] if moves else [])
    assert len(model.graph.initializer) == (0 if moves else 1)


def test_only_named_weights_move() -> None:
    model = make_model(w=sparse_array(0.9), v=sparse_array(0.9))
    assert encode_sparse(model, ["v"]) == ["v"]
    assert [tensor.name for tensor in model.graph.initializer] == ["w"]


def test_weight_that_is_a_graph_input_stays_dense() -> None:
    model = make_model(w=sparse_array(0.9))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, SHAPE))
    assert encode_sparse(model, ["w"]) == []


@pytest.mark.parametrize(
    ("dtype", "data_type"),
    [
        (np.bool_, TensorProto.BOOL),
        (np.complex64, TensorProto.COMPLEX64),
        (ml_dtypes.int4, TensorProto.INT4),
    ],
)
def test_types_that_onnxruntime_does_not_read_sparse_stay_dense(
    dtype: type, data_type: int
) -> None:
    model = ModelProto()
    model.graph.initializer.append(to_tensor(np.zeros(SHAPE, dtype), data_type))
    assert encode_sparse(model, ["name"]) == []


def test_weights_in_constants_and_subgraphs_stay_dense() -> None:
    array = sparse_array(0.9)
    out = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["x", "u"], ["b"])],
        "g",
        [],
        [out],
        [numpy_helper.from_array(array, "u")],
    )
    model = make_model(w=array)
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(array, "k")),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("MatMul", ["x", "k"], ["xk"]),
        helper.make_node("If", ["c"], ["s"], then_branch=branch, else_branch=branch),
    ]
    nodes += list(model.graph.node)
    nodes[-1].input.extend(["xk", "s"])
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    before = model.SerializeToString()
    assert encode_sparse(model, ["k", "u", "w"]) == ["w"]
    assert not model.graph.node[3].attribute[0].g.sparse_initializer
    np.testing.assert_array_equal(run(model.SerializeToString()), run(before))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.int32])
def test_onnxruntime_reads_other_element_types(dtype: type) -> None:
    """The weight is cast to float in the graph, so one input serves all types."""
    model = make_model(w=sparse_array(0.9))
    array = (10 * sparse_array(0.9)).astype(dtype)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "stored"))
    cast = helper.make_node("Cast", ["stored"], ["w"], to=TensorProto.FLOAT)
    nodes = [cast, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    before = model.SerializeToString()
    assert encode_sparse(model, ["stored"]) == ["stored"]
    np.testing.assert_array_equal(run(model.SerializeToString()), run(before))


@pytest.mark.parametrize("rewritten", [True, False])
def test_external_weight_stays_external_when_encoded(tmp_path: Path, rewritten: bool) -> None:
    onnx.save_model(
        make_model(w=sparse_array(0.9), v=sparse_array(0.0)),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    expected = run(tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    if rewritten:
        tensor = loaded.proto.graph.initializer[0]
        write_tensor(tensor, read_tensor(tensor, tmp_path))
    assert encode_sparse(loaded.proto, ["w"], None if rewritten else tmp_path) == ["w"]
    save_model(loaded.proto, tmp_path / "n.onnx", folder=tmp_path, overwrite=False)
    np.testing.assert_array_equal(run(tmp_path / "n.onnx"), expected)
    again = load_model(tmp_path / "n.onnx")
    assert [tensor.name for tensor in again.proto.graph.initializer] == ["v", "w"]
    save_model(again.proto, tmp_path / "o.onnx", folder=tmp_path, overwrite=False)
    np.testing.assert_array_equal(run(tmp_path / "o.onnx"), expected)


def test_external_weight_without_its_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save_model(
        make_model(w=sparse_array(0.9)), path, save_as_external_data=True, size_threshold=0
    )
    with pytest.raises(ModelError, match=r"pass the path of the model file"):
        encode_sparse(load_model(path).proto, ["w"])
