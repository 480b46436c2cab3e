"""Tensors come out of a model and go back bit for bit, in every element type and place."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from build_onnx import external
from onnx import TensorProto, helper, numpy_helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.location import ExternalRef, external_ref
from onnx_lobs.graph.files.sparse import densify
from onnx_lobs.graph.files.tensors import raw_size, read_tensor, write_tensor

NAMES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
    27: "float6_e2m3fn",
    28: "float6_e3m2fn",
}
DTYPES = {  # those that the installed ml_dtypes has
    number: np.dtype(getattr(ml_dtypes, name, name))
    for number, name in NAMES.items()
    if hasattr(ml_dtypes, name) or name in np.sctypeDict
}
# Those that the installed onnx gives the same type: 1.16 reads bf16 as float32, for example.
SHARED = [
    number
    for number in TensorProto.DataType.values()
    if number in DTYPES and helper.tensor_dtype_to_np_dtype(number) == DTYPES[number]
]
NO_ZERO = 24
SHAPE = (3, 5)  # 15 elements: no whole number of bytes for any element narrower than a byte


def values(data_type: int) -> np.ndarray:
    """Small values, zero among them, that every element type can hold."""
    if data_type == NO_ZERO:  # powers of two only
        return np.full(SHAPE, 2.0, np.float32).astype(DTYPES[data_type])
    return np.resize(np.array([0, 1, 1, 0, 1], np.float32), SHAPE).astype(DTYPES[data_type])


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_every_element_type_of_onnx_is_known() -> None:
    assert set(TensorProto.DataType.values()) <= {0, TensorProto.STRING, *NAMES}


@pytest.mark.parametrize("data_type", SHARED)
def test_raw_values_are_read_as_onnx_reads_them(data_type: int) -> None:
    tensor = numpy_helper.from_array(values(data_type), "w")
    assert same_bits(read_tensor(tensor, None), numpy_helper.to_array(tensor))
    assert raw_size(tensor) == len(tensor.raw_data)


@pytest.mark.parametrize("data_type", SHARED)
def test_typed_values_made_by_onnx_are_read(data_type: int) -> None:
    array = values(data_type)
    tensor = helper.make_tensor("w", data_type, SHAPE, array.reshape(-1))
    assert not tensor.HasField("raw_data")
    assert same_bits(read_tensor(tensor, None), array)


@pytest.mark.parametrize("data_type", [*DTYPES, TensorProto.STRING])
def test_written_values_are_read_back(data_type: int) -> None:
    if data_type == TensorProto.STRING:
        array = np.array([["a", "ü"]], dtype=object)
    else:
        array = values(data_type)
    tensor = TensorProto(name="w", data_type=data_type, dims=array.shape)
    write_tensor(tensor, array)
    assert (read_tensor(tensor, None) == array).all()
    if data_type in (*SHARED, TensorProto.STRING):
        assert (numpy_helper.to_array(tensor) == array).all()


def test_large_unsigned_values_keep_every_bit() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.UINT64, dims=[2])
    tensor.uint64_data.extend([1, 2**64 - 1])
    assert read_tensor(tensor, None).tolist() == [1, 2**64 - 1]


def test_negative_int4_keeps_its_sign() -> None:
    array = np.array([-8, 7, -1], dtype=ml_dtypes.int4)
    tensor = TensorProto(name="w", data_type=TensorProto.INT4, dims=[3])
    write_tensor(tensor, array)
    assert read_tensor(tensor, None).astype(int).tolist() == [-8, 7, -1]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)])
def test_scalars_and_empty_tensors_keep_their_shape(shape: tuple[int, ...]) -> None:
    tensor = numpy_helper.from_array(np.zeros(shape, np.float32), "w")
    assert read_tensor(tensor, None).shape == shape


def test_arrays_are_read_only() -> None:
    array = read_tensor(helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0]), None)
    with pytest.raises(ValueError, match=r"read-only"):
        array[0] = 3


@pytest.mark.parametrize("offset", [0, 3, 64])
def test_external_data_are_mapped_and_not_read(tmp_path: Path, offset: int) -> None:
    array = np.arange(15, dtype=np.float32).reshape(SHAPE)
    (tmp_path / "w.data").write_bytes(bytes(offset) + array.tobytes() + b"tail")
    got = read_tensor(external(array, offset=offset), tmp_path)
    assert same_bits(got, array)
    assert not got.flags.writeable
    if offset != 3:  # an unaligned range has to be copied
        base = got
        while base.base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)


def test_empty_external_tensor_needs_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "w.data").touch()
    assert read_tensor(external(np.zeros((0, 2), np.float32)), tmp_path).shape == (0, 2)


def test_written_external_tensor_remembers_its_file(tmp_path: Path) -> None:
    array = np.arange(4, dtype=np.float32)
    tensor = external(array, offset=64, length=16)
    tensor.doc_string = "doc"
    tensor.metadata_props.add(key="k", value="v")
    write_tensor(tensor, array)
    assert tensor.data_location == TensorProto.DEFAULT
    assert external_ref(tensor) == ExternalRef("w.data", 64, 16)
    assert (tensor.name, tensor.doc_string, tensor.metadata_props[0].value) == ("w", "doc", "v")
    assert same_bits(read_tensor(tensor, None), array)


def test_written_tensor_holds_no_typed_values() -> None:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    write_tensor(tensor, np.array([3, 4], np.float32))
    assert not tensor.float_data
    assert read_tensor(tensor, None).tolist() == [3, 4]


@pytest.mark.parametrize("array", [np.zeros(3, np.float32), np.zeros(2, np.float64)])
def test_values_of_another_shape_or_type_are_refused(array: np.ndarray) -> None:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    with pytest.raises(ModelError, match=r"'w' is float32.* cannot take"):
        write_tensor(tensor, array)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (TensorProto(name="w", dims=[2], data_type=1, raw_data=b"123"), "holds 3 bytes"),
        (TensorProto(name="w", dims=[2], data_type=1, float_data=[1]), "holds 1 values"),
        (TensorProto(name="w", dims=[3], data_type=22, int32_data=[1]), "holds 2 values"),
        (TensorProto(name="w", dims=[2]), r"element type 0 \(unknown\)"),
        (external(np.zeros(2, np.float32)), "pass the path of the model file"),
    ],
)
def test_tensor_that_contradicts_itself_is_refused(tensor: TensorProto, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_tensor(tensor, None)


def test_data_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.data").write_bytes(bytes(7))
    with pytest.raises(ModelError, match=r"'w' ends at byte 8 of .*w\.data, which has 7"):
        read_tensor(external(np.zeros(2, np.float32)), tmp_path)


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("coordinates", [True, False])
@pytest.mark.parametrize("data_type", [n for n in SHARED if n != NO_ZERO])
def test_dense_form_of_a_sparse_tensor(data_type: int, coordinates: bool, raw: bool) -> None:
    array = values(data_type)
    at = np.array([1, 2, 9])
    expected = np.zeros(SHAPE, array.dtype)
    expected.reshape(-1)[at] = array.reshape(-1)[at]
    index = np.stack(np.unravel_index(at, SHAPE), axis=1) if coordinates else at
    taken = array.reshape(-1)[at]
    if raw:
        parts = numpy_helper.from_array(taken, "w"), numpy_helper.from_array(index)
    else:
        parts = (
            helper.make_tensor("w", data_type, [3], taken),
            helper.make_tensor("", TensorProto.INT64, index.shape, index.reshape(-1)),
        )
    dense = densify(helper.make_sparse_tensor(*parts, SHAPE))
    assert dense.name == "w"
    assert same_bits(numpy_helper.to_array(dense), expected)


@pytest.mark.skipif(NO_ZERO not in DTYPES, reason="the installed ml_dtypes has no float8_e8m0fnu")
def test_element_type_without_zero_has_no_sparse_form() -> None:
    value = TensorProto(name="w", data_type=NO_ZERO, dims=[1], raw_data=b"\x80")
    index = numpy_helper.from_array(np.array([0]))
    with pytest.raises(ModelError, match=r"'w' is float8_e8m0fnu, a type that has no zero"):
        densify(helper.make_sparse_tensor(value, index, [4]))


def test_dense_form_of_sparse_strings() -> None:
    text = helper.make_tensor("s", TensorProto.STRING, [1], [b"a"])
    dense = densify(helper.make_sparse_tensor(text, numpy_helper.from_array(np.array([1])), [2]))
    assert list(dense.string_data) == [b"", b"a"]


def test_dense_form_belongs_in_the_file_of_its_values(tmp_path: Path) -> None:
    array = np.array([1, 2], np.float32)
    (tmp_path / "w.data").write_bytes(array.tobytes())
    index = numpy_helper.from_array(np.array([0, 3]))
    dense = densify(helper.make_sparse_tensor(external(array), index, [2, 2]), tmp_path)
    assert external_ref(dense) == ExternalRef("w.data", 0, None)
    assert read_tensor(dense, None).tolist() == [[1, 0], [0, 2]]


@pytest.mark.parametrize("index", [[0], [0, 6], [-1, 0], [[0, 0], [0, 3]], [[0, 1, 2], [0, 0, 0]]])
def test_sparse_indices_that_do_not_fit_are_refused(index: list[object]) -> None:
    value = numpy_helper.from_array(np.ones(2, np.float32), "w")
    sparse = helper.make_sparse_tensor(value, numpy_helper.from_array(np.array(index)), [2, 3])
    with pytest.raises(ModelError, match=r"sparse tensor 'w'.* has 2 values"):
        densify(sparse)
