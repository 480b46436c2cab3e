"""Stores pruned initializers sparsely where that is smaller.

The form is ONNX's own ``sparse_initializer`` with sorted linear indices. These stand in
``int64_data``, which protobuf packs as varints: 1 to 4 bytes each in place of 8. onnxruntime
reads it; many other tools do not, so this is the last step before a file is written.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, SparseTensorProto, TensorProto

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.graph.files.tensors import copy_header, raw_size, read_tensor, write_tensor
from onnx_lobs.storage.dense import BytesAt

SPARSE_HEADER = 64  # bytes, at most, by which names, dims and field tags exceed the dense form's
SAMPLED = 1 << 12  # indices of a tensor that tell what its index takes in the mean
# Element types whose sparse form onnxruntime loads, measured: float, uint8, int8, uint16, int16,
# int32, float16, double, bfloat16, float8e4m3fn. int4 fails to load.
_SPARSE_TYPES = frozenset((1, 2, 3, 4, 5, 6, 10, 11, 16, 17))


def varint_size(indices: Array) -> int:
    """Return the bytes of non-negative indices as packed protobuf varints.

    Parameters
    ----------
    indices
        int64, sorted. Not modified.

    Notes
    -----
    Cost: a few binary searches. A varint holds 7 bits per byte.

    Examples
    --------
    >>> varint_size(np.array([0, 127, 128, 20000]))
    7
    """
    steps = 2 ** (7 * np.arange(1, 9, dtype=np.int64))
    return int(indices.size + (indices.size - np.searchsorted(indices, steps)).sum())


def dense_size(tensor: TensorProto) -> int:
    """Return the bytes of a tensor's values stored dense, as raw data.

    Raises
    ------
    ModelError
        The element type has no raw form.
    """
    return raw_size(tensor)


def sparse_size(array: Array) -> int:
    """Return the bytes of an array stored as a sparse initializer: an upper bound.

    Parameters
    ----------
    array
        Any shape, of an element type of at least a byte. Not modified.

    Returns
    -------
    int
        Bytes of nonzero values, varint indices and at most `SPARSE_HEADER` around them; to
        be compared with :func:`dense_size`. The true size is no larger, and smaller by no
        more than `SPARSE_HEADER`.

    Notes
    -----
    Time and memory: the indices of the nonzeros, 8 bytes each.
    """
    indices = np.flatnonzero(array)
    return int(indices.size * array.itemsize) + varint_size(indices) + SPARSE_HEADER


def to_sparse(tensor: TensorProto, array: Array) -> SparseTensorProto:
    """Return a tensor's values in sparse form.

    Parameters
    ----------
    tensor
        Gives name, element type, doc string and metadata. Not modified.
    array
        The values, with the tensor's shape and element type. Not modified.

    Returns
    -------
    SparseTensorProto
        Nonzeros as raw data; their linear indices, sorted, in ``int64_data``. -0.0 counts as
        zero and comes back as +0.0; all other values come back bit for bit.

    Raises
    ------
    ModelError
        The array has another element type than the tensor.
    """
    indices = np.flatnonzero(array)
    sparse = SparseTensorProto(dims=tensor.dims)
    copy_header(tensor, sparse.values)
    sparse.values.dims.append(indices.size)
    write_tensor(sparse.values, array.reshape(-1)[indices])
    sparse.indices.data_type = TensorProto.INT64
    sparse.indices.dims.append(indices.size)
    sparse.indices.int64_data.extend(indices.tolist())
    return sparse


def encode_sparse(
    proto: ModelProto, names: Collection[str], folder: Path | None = None
) -> list[str]:
    """Store initializers of the main graph sparsely where that is smaller, in place.

    Left dense are: what is past no break-even, weights in Constant nodes and subgraphs, weights
    that are graph inputs too (onnxruntime would take them as overridable), and element types
    that onnxruntime cannot read sparse.

    Parameters
    ----------
    proto
        Changed in place. ``value_info`` stays: shape inference does not see sparse weights.
    names
        Initializers to look at; other names are ignored.
    folder
        Folder of the model file; needed for external data only.

    Returns
    -------
    list of str
        Names of the initializers moved to ``sparse_initializer``.

    Raises
    ------
    ModelError, OSError
        As :func:`~onnx_lobs.graph.files.tensors.read_tensor`.

    Notes
    -----
    Time and memory: one initializer at a time, dense, and 16 bytes per nonzero.
    """
    graph = proto.graph
    moved = []
    for position in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[position]
        if tensor.name not in names or not is_storable(proto, tensor):
            continue
        array = read_tensor(tensor, folder)
        if sparse_size(array) < dense_size(tensor):
            graph.sparse_initializer.append(to_sparse(tensor, array))
            moved.append(tensor.name)
            del graph.initializer[position]
    return moved[::-1]


def is_storable(proto: ModelProto, tensor: TensorProto) -> bool:
    """Return whether `encode_sparse` may store an initializer of the main graph sparsely."""
    is_input = any(value.name == tensor.name for value in proto.graph.input)
    return not is_input and tensor.data_type in _SPARSE_TYPES


def sparse_bytes(proto: ModelProto, tensors: Sequence[TensorProto]) -> BytesAt:
    """Return the bytes of tensors, (tensors,), as a function of the share of zeros.

    Zeros are taken to be evenly spread, and each tensor to be stored in whichever form is smaller,
    as :func:`encode_sparse` does.

    Parameters
    ----------
    proto
        The model that has them. Not modified.
    tensors
        Initializers of its main graph. Not modified.
    """
    sizes = np.array([int(np.prod(tensor.dims)) for tensor in tensors], dtype=np.float64)
    dense = np.array([dense_size(tensor) for tensor in tensors], dtype=np.float64)
    entry = dense / np.maximum(sizes, 1) + [_index_bytes(int(size)) for size in sizes]
    storable = np.array([is_storable(proto, tensor) for tensor in tensors], dtype=np.bool_)

    def bytes_at(sparsity: float) -> FloatArray:
        sparse = (1 - sparsity) * sizes * entry + SPARSE_HEADER
        return np.where(storable, np.minimum(dense, sparse), dense)

    return bytes_at


def _index_bytes(size: int) -> float:
    """Return what an index of a tensor of `size` values takes in the mean."""
    some = np.arange(0, size, max(1, size // SAMPLED), dtype=np.int64)
    return varint_size(some) / max(some.size, 1)


def sparse_price(itemsize: int) -> float:
    """Return the bytes that a kept weight takes: its value, and an index of at least one."""
    return itemsize + 1.0
