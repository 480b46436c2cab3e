"""Store pruned initializers sparsely where that is smaller, and dense again.

The form is ONNX's own ``sparse_initializer`` with sorted linear indices. These stand in
``int64_data``, which protobuf packs as varints: 1 to 4 bytes each in place of 8. onnxruntime
reads it; many other tools do not, so this is the last step before a file is written.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from onnx import ModelProto, SparseTensorProto, TensorProto

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.sparse import make_dense
from onnx_lobs.graph.files.tensors import copy_header, raw_size, read_tensor, write_tensor

SPARSE_HEADER = 64  # bytes, at most, by which names, dims and field tags exceed the dense form's
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
    """Whether an initializer of the main graph may be stored sparsely; see `encode_sparse`."""
    is_input = any(value.name == tensor.name for value in proto.graph.input)
    return not is_input and tensor.data_type in _SPARSE_TYPES


def encoded_bytes(proto: ModelProto, names: Collection[str], folder: Path | None = None) -> int:
    """Return the bytes of a model and its external data, stored as :func:`encode_sparse` would.

    Not modified.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    encode_sparse(copy, names, folder)
    return int(copy.ByteSize()) + external_bytes(copy)


def decode_sparse(proto: ModelProto, folder: Path | None = None) -> list[str]:
    """Store every sparse initializer densely, in place: the inverse of :func:`encode_sparse`.

    Parameters
    ----------
    proto
        Changed in place, in subgraphs too.
    folder
        Folder of the model file; needed for external data only.

    Returns
    -------
    list of str
        Names of the initializers that became dense; they stand last.

    Raises
    ------
    ModelError
        As :func:`~onnx_lobs.graph.files.sparse.densify`.
    """
    return make_dense(proto, folder)
