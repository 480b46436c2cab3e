"""Tells what a model takes in a storage format: before it is pruned, about, and as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from onnx import ModelProto

from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.storage.dense import dense_bytes
from onnx_lobs.storage.formats import StorageFormat


def expected_bytes(
    proto: ModelProto, names: Collection[str], storage: StorageFormat
) -> Callable[[float], float]:
    """Return the bytes of model and external data as a function of the sparsity.

    Parameters
    ----------
    proto
        The model before it is pruned. Not modified.
    names
        Initializers of its main graph that are pruned: each is taken to have that share of zeros,
        evenly spread. Other names are ignored.
    storage
        How it will be stored.
    """
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name in set(names)]
    rest = proto.ByteSize() + external_bytes(proto) - dense_bytes(proto, tensors)(0.0).sum()
    bytes_at = storage.bytes_at(proto, tensors)
    return lambda sparsity: float(rest + bytes_at(sparsity).sum())


def encoded_bytes(
    proto: ModelProto, names: Collection[str], storage: StorageFormat, folder: Path | None = None
) -> int:
    """Return the bytes of a model and its external data, stored as the format would.

    Parameters
    ----------
    proto
        Not modified.
    names
        Initializers of its main graph that may be stored anew; other names are ignored.
    storage
        How it is stored.
    folder
        Folder of the model file; needed for external data only.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    storage.encode(copy, names, folder)
    return int(copy.ByteSize()) + external_bytes(copy)
