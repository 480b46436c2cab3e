"""From sparse tensors to dense ones: what is read as sparse_initializer is worked on densely."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from onnx import ModelProto, SparseTensorProto
from onnx import TensorProto as Tensor

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.tensors import (
    copy_header,
    n_elements,
    raw_size,
    read_tensor,
    write_tensor,
)
from onnx_lobs.graph.files.walk import iter_graphs

_NO_ZERO = 24  # float8_e8m0: powers of two only
# A file of a few bytes can ask for any amount of memory. So much is given to any tensor, and to one
# that holds values so many times their bytes; beyond it sparse weights would not be sparse.
_FREE_BYTES = 1 << 28
_MOST_DENSE = 10_000


def densify(sparse: SparseTensorProto, folder: Path | None = None) -> Tensor:
    """Return a sparse tensor in dense form, under the name of its values.

    Parameters
    ----------
    sparse
        With linear (nnz) or coordinate (nnz, rank) indices, raw or typed. Not modified.
    folder
        Folder of the model file; needed for external data only.

    Returns
    -------
    TensorProto
        Raw data. Values that lay in an external file belong there still.

    Raises
    ------
    ModelError
        Indices out of range, or not one per value; an element type without zero; a dense form
        out of all proportion to the values.
    """
    dims = tuple(sparse.dims)
    _check_size(sparse)
    values = read_tensor(sparse.values, folder)
    indices = read_tensor(sparse.indices, folder)
    shape = dims if indices.ndim == 2 else (math.prod(dims),)
    columns = indices.reshape(-1, len(shape))
    inside = ((columns >= 0) & (columns < np.array(shape, dtype=np.int64))).all()
    if len(columns) != values.size or columns.size != indices.size or not inside:
        raise ModelError(
            f"sparse tensor {sparse.values.name!r} of shape {list(dims)} has {values.size} values "
            f"and indices {list(indices.shape)}, some without partner or out of range; "
            "export the model again"
        )
    dense: Array = np.full(shape, "" if values.dtype == object else 0, dtype=values.dtype)
    if sparse.values.data_type == _NO_ZERO:
        raise ModelError(
            f"sparse tensor {sparse.values.name!r} is {values.dtype}, a type that has no zero; "
            "store it dense"
        )
    dense[tuple(columns.T)] = values.reshape(-1)
    tensor = Tensor(dims=dims)
    copy_header(sparse.values, tensor)
    write_tensor(tensor, dense.reshape(dims))
    return tensor


def _check_size(sparse: SparseTensorProto) -> None:
    """Refuse dims that ask for memory which no values stand for."""
    dense = Tensor(name=sparse.values.name, data_type=sparse.values.data_type, dims=sparse.dims)
    if sparse.values.data_type == Tensor.STRING:
        n_bytes, stored = n_elements(dense), n_elements(sparse.values)
    else:
        n_bytes, stored = raw_size(dense), raw_size(sparse.values)
    limit = _FREE_BYTES + _MOST_DENSE * stored
    if n_bytes > limit:
        raise ModelError(
            f"sparse tensor {sparse.values.name!r} of shape {list(sparse.dims)} would take "
            f"{n_bytes} bytes when dense, and its {stored} bytes of values stand for at most "
            f"{limit}; export the model again"
        )


def make_dense(proto: ModelProto, folder: Path | None = None) -> list[str]:
    """Turn every sparse initializer of every graph into a dense one, in place.

    Returns
    -------
    list of str
        Their names. They stand behind the initializers that were dense before.

    Raises
    ------
    ModelError
        As :func:`densify`.
    """
    names = []
    for graph in iter_graphs(proto):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(densify(sparse, folder))
            names.append(sparse.values.name)
        graph.ClearField("sparse_initializer")
    return names
