"""Tells what a model takes in a storage format: before it is pruned, about, and as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from onnx import ModelProto, TensorProto

from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.tensors import raw_size
from onnx_lobs.graph.files.walk import iter_graphs
from onnx_lobs.storage.dense import dense_bytes
from onnx_lobs.storage.formats import StorageFormat
from onnx_lobs.storage.unpacking import BYTE_BITS
from onnx_lobs.storage.values import VALUES, Precision

SCALE_BYTES = 4  # float32


def expected_bytes(
    proto: ModelProto,
    names: Collection[str],
    storage: StorageFormat,
    values: Precision = VALUES["fp32"],
    tables: Collection[str] = (),
) -> Callable[[float], float]:
    """Return the bytes of model and external data as a function of the sparsity.

    Parameters
    ----------
    proto
        The model before it is pruned. Not modified.
    names
        Weights that are pruned: each is taken to have that share of zeros, evenly spread. Other
        names are ignored.
    storage, values
        How they will be stored.
    tables
        Matrices whose rows will be stored in these values too, with a scale each.
    """
    bits = storage.table_bits
    saved = sum(_saved(t, values, bits(t)) for t in _weights(proto) if t.name in set(tables))
    anywhere = storage.anywhere or values.element is not None
    tensors = list(_weights(proto) if anywhere else proto.graph.initializer)
    tensors = [tensor for tensor in tensors if tensor.name in set(names)]
    rest = proto.ByteSize() + external_bytes(proto) - dense_bytes(proto, tensors)(0.0).sum() - saved
    bytes_at = storage.bytes_at(proto, [values.stand_in(tensor) for tensor in tensors])
    return lambda sparsity: float(rest + bytes_at(sparsity).sum())


def _saved(table: TensorProto, values: Precision, bits: int) -> int:
    """Return the bytes that a table of rows with scales takes less than it does now."""
    scales = int(table.dims[0]) * SCALE_BYTES
    return raw_size(table) - raw_size(values.stand_in(table)) * bits // BYTE_BITS - scales


def _weights(proto: ModelProto) -> Iterator[TensorProto]:
    """Yield the stored constants of all graphs; of Constant nodes without values, renamed."""
    for graph in iter_graphs(proto):
        yield from graph.initializer
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                tensor = node.attribute[0].t
                yield TensorProto(name=node.output[0], dims=tensor.dims, data_type=tensor.data_type)


def encoded_bytes(
    proto: ModelProto, names: Collection[str], storage: StorageFormat, folder: Path | None = None
) -> int:
    """Return the bytes of a model and its external data, stored as the format would.

    Parameters
    ----------
    proto
        Not modified.
    names
        Initializers that may be stored anew; other names are ignored.
    storage
        How it is stored.
    folder
        Folder of the model file; needed for external data only.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    storage.encode(copy, names, folder)
    return int(copy.ByteSize()) + external_bytes(copy)
