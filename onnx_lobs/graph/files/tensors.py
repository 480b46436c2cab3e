"""TensorProto to array and back.

Element types that NumPy lacks (bf16, fp8, int4 ...) become the types of ml_dtypes. All of it
works on the protobuf messages alone, so it is the same from onnx 1.16 on.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto as Tensor

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.location import external_path, external_ref, is_external

# NumPy or ml_dtypes name of the element types, by ONNX number from 1. Numbers, not ONNX names:
# onnx 1.16 does not know the last ones.
# fmt: off
_ELEMENTS = dict(enumerate((
    "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "str", "bool", "float16",
    "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8_e4m3fn",
    "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "uint4", "int4", "float4_e2m1fn",
    "float8_e8m0fnu", "uint2", "int2", "float6_e2m3fn", "float6_e3m2fn",
), start=1))
# fmt: on
_NARROW = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2, 27: 6, 28: 6}  # bits, where less than a byte
_BYTES = "utf-8", "surrogateescape"  # so that texts of any bytes come back as they were
_SIX_BITS = 6  # the one width whose typed field is not packed
_MOST_AXES = 32  # of an array in NumPy before 2
# Typed field -> type of its entries, and the element types kept in it; all others: int32_data.
_FIELDS: dict[str, tuple[str, tuple[int, ...]]] = {
    "float_data": ("<f4", (1, 14)),
    "double_data": ("<f8", (11, 15)),
    "int64_data": ("<i8", (7,)),
    "uint64_data": ("<u8", (12, 13)),
    "string_data": ("O", (8,)),
    "int32_data": ("<i4", ()),
}


def raw_size(tensor: Tensor) -> int:
    """Return the bytes that the values take as raw data, from dims and element type alone.

    Raises
    ------
    ModelError
        The element type has no raw form (strings) or is unknown.
    """
    bits: int = _NARROW.get(tensor.data_type, 8 * _element(tensor).itemsize)
    return -(-n_elements(tensor) * bits // 8)


def n_elements(tensor: Tensor) -> int:
    """Return the number of elements that the dims ask for.

    Raises
    ------
    ModelError
        A size is negative, or there are more axes than an array has.
    """
    if len(tensor.dims) > _MOST_AXES:
        raise ModelError(
            f"tensor {tensor.name!r} has {len(tensor.dims)} axes, at most {_MOST_AXES} can be "
            "read; export the model again"
        )
    if any(size < 0 for size in tensor.dims):
        raise ModelError(
            f"tensor {tensor.name!r} has the shape {list(tensor.dims)}, with sizes below 0; export "
            "the model again"
        )
    return math.prod(tensor.dims)


def array_type(elem_type: int) -> np.dtype[Any] | None:
    """Return the type of arrays that hold an ONNX element type; None for one that is unknown.

    Texts are objects.
    """
    name = _ELEMENTS.get(elem_type, "")
    if name == "str":
        return np.dtype(object)
    known = name in np.sctypeDict or hasattr(ml_dtypes, name)
    dtype: np.dtype[Any] | None = np.dtype(getattr(ml_dtypes, name, name)) if known else None
    return dtype


def _element(tensor: Tensor) -> np.dtype[Any]:
    """Return the little-endian array type of the elements."""
    name = _ELEMENTS.get(tensor.data_type, "unknown")
    dtype = array_type(tensor.data_type)
    if dtype is None or dtype.kind == "O":
        raise ModelError(
            f"tensor {tensor.name!r} has element type {tensor.data_type} ({name}), which has no "
            "raw form here; convert it to a numeric type, or install a newer ml_dtypes"
        )
    return dtype if hasattr(ml_dtypes, name) else dtype.newbyteorder("<")


def read_tensor(tensor: Tensor, folder: Path | None) -> Array:
    """Return the values of a tensor as a dense array.

    Parameters
    ----------
    tensor
        Any TensorProto. Not modified.
    folder
        Folder of the model file; needed for external data only.

    Returns
    -------
    ndarray
        Of the tensor's dims; read only. External data are mapped, not read: pages come in
        as they are touched.

    Raises
    ------
    ModelError
        Unknown element type; bytes that do not match dims; a bad external location.
    OSError
        The external file cannot be opened.

    Notes
    -----
    One copy of the raw data; none for external data that is aligned to its element size.
    Elements narrower than a byte take one byte each, and eight while they are unpacked.
    """
    if tensor.data_type == Tensor.STRING:
        array: Array = np.array([t.decode(*_BYTES) for t in tensor.string_data], object)
    else:
        array = _values(tensor, folder)
    if array.size != n_elements(tensor):
        raise ModelError(
            f"tensor {tensor.name!r} holds {array.size} values, its shape "
            f"{list(tensor.dims)} needs {n_elements(tensor)}; export the model again"
        )
    array = array.reshape(tuple(tensor.dims))
    array.flags.writeable = False
    return array


def _values(tensor: Tensor, folder: Path | None) -> Array:
    """Return the flat values, from whichever place holds them."""
    dtype = _element(tensor)
    if is_external(tensor):
        raw = _map(tensor, folder)
    elif tensor.HasField("raw_data"):
        raw = np.frombuffer(tensor.raw_data, dtype=np.uint8)
    else:
        return _typed_values(tensor, dtype)
    if raw.size != raw_size(tensor):
        raise ModelError(
            f"tensor {tensor.name!r} holds {raw.size} bytes, its shape {list(tensor.dims)} of "
            f"{dtype} needs {raw_size(tensor)}; export the model again"
        )
    if tensor.data_type in _NARROW:
        return _unpack(raw, math.prod(tensor.dims), _NARROW[tensor.data_type]).view(dtype)
    return np.require(raw.view(dtype), requirements="A")


def _map(tensor: Tensor, folder: Path | None) -> Array:
    path = external_path(tensor, folder)
    ref = external_ref(tensor)
    size = raw_size(tensor)
    if ref is None or size == 0:  # an empty range cannot be mapped
        return np.empty(0, dtype=np.uint8)
    end = ref.offset + size
    if end > path.stat().st_size:
        raise ModelError(
            f"tensor {tensor.name!r} ends at byte {end} of {path}, which has "
            f"{path.stat().st_size}; the data file is cut short or belongs to another model"
        )
    return np.asarray(np.memmap(path, dtype=np.uint8, mode="r", offset=ref.offset, shape=(size,)))


def _typed_values(tensor: Tensor, dtype: np.dtype[Any]) -> Array:
    """Return the flat values from float_data, int32_data and the like."""
    kinds = (name for name, (_, types) in _FIELDS.items() if tensor.data_type in types)
    field = next(kinds, "int32_data")
    entries = np.array(getattr(tensor, field), dtype=_FIELDS[field][0])
    if dtype.kind == "c":
        return entries.view(dtype)
    if not hasattr(ml_dtypes, dtype.name) and dtype != np.float16:
        return entries.astype(dtype)
    # Bit patterns, one per entry; 2- and 4-bit ones are packed to bytes first, 6-bit ones not.
    pattern: Array = entries.astype(f"<u{dtype.itemsize}")
    bits = _NARROW.get(tensor.data_type, 8)
    if bits < _SIX_BITS:
        pattern = _unpack(pattern, math.prod(tensor.dims), bits)
    elif bits == _SIX_BITS:
        pattern = pattern & 0x3F
    return pattern.view(dtype)


def _unpack(raw: Array, count: int, bits: int) -> Array:
    """Spread elements of less than a byte, lowest bits first, to one byte each."""
    count = min(count, raw.size * 8 // bits)
    spread = np.unpackbits(raw, bitorder="little", count=count * bits).reshape(-1, bits)
    return np.packbits(spread, axis=1, bitorder="little").reshape(-1)


def _pack(array: Array, bits: int) -> Array:
    """Undo :func:`_unpack`."""
    spread = np.unpackbits(array.reshape(-1, 1).view(np.uint8), axis=1, bitorder="little")
    return np.packbits(spread[:, :bits], bitorder="little")


def write_tensor(tensor: Tensor, array: Array) -> None:
    """Put new values into a tensor, in place, as raw data.

    Name, doc string, dims and metadata stay. A tensor that was external keeps its entries
    under ``data_location`` DEFAULT; they then say in which file the values belong, and
    :func:`onnx_lobs.graph.files.save.save_model` puts them there.

    Parameters
    ----------
    tensor
        Changed in place.
    array
        Of the tensor's shape and element type, as :func:`read_tensor` gives it. Not modified.

    Raises
    ------
    ModelError
        Shape or element type differ from the tensor's.
    """
    is_text = tensor.data_type == Tensor.STRING
    dtype = np.dtype(object) if is_text else _element(tensor)
    if array.shape != tuple(tensor.dims) or array.dtype != dtype:
        raise ModelError(
            f"tensor {tensor.name!r} is {dtype}{list(tensor.dims)} and cannot take "
            f"{array.dtype}{list(array.shape)}; convert the array first"
        )
    for field in (*_FIELDS, "raw_data", "data_location"):
        tensor.ClearField(field)
    if is_text:
        tensor.string_data.extend(str(text).encode(*_BYTES) for text in array.reshape(-1))
    elif tensor.data_type in _NARROW:
        tensor.raw_data = _pack(np.ascontiguousarray(array), _NARROW[tensor.data_type]).tobytes()
    else:
        tensor.raw_data = array.astype(dtype, copy=False).tobytes()


def copy_header(source: Tensor, target: Tensor) -> None:
    """Copy all but dims and values: name, type, doc string, metadata, external entries."""
    target.name = source.name
    target.data_type = source.data_type
    if source.doc_string:
        target.doc_string = source.doc_string
    target.metadata_props.extend(source.metadata_props)
    target.external_data.extend(source.external_data)
