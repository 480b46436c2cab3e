"""What a model's file takes with sparse storage, about, before anything is pruned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.run.workspace import Workspace
from onnx_lobs.storage.sparse import SPARSE_HEADER, dense_size, is_storable, varint_size

SAMPLED = 1 << 12  # indices of a tensor that tell what its index takes in the mean


def expected_bytes(work: Workspace) -> Callable[[float], float]:
    """Return the bytes of model and external data as a function of the sparsity.

    Every layer that may be stored sparsely is taken to have that share of zeros, evenly spread, and
    to be stored in whichever form is smaller, as :func:`onnx_lobs.storage.sparse.encode_sparse`
    does.
    """
    proto = work.result.proto
    wanted = {layer.weight for layer in work.layers if layer.scope == 0}
    tensors = [t for t in proto.graph.initializer if t.name in wanted and is_storable(proto, t)]
    sizes = np.array([int(np.prod(tensor.dims)) for tensor in tensors], dtype=np.float64)
    dense = np.array([dense_size(tensor) for tensor in tensors], dtype=np.float64)
    entry = dense / np.maximum(sizes, 1) + [_index_bytes(int(size)) for size in sizes]
    rest = proto.ByteSize() + external_bytes(proto) - dense.sum()

    def expected(sparsity: float) -> float:
        sparse = (1 - sparsity) * sizes * entry + SPARSE_HEADER
        return float(rest + np.minimum(dense, sparse).sum())

    return expected


def _index_bytes(size: int) -> float:
    """Return what an index of a tensor of `size` values takes in the mean."""
    some = np.arange(0, size, max(1, size // SAMPLED), dtype=np.int64)
    return varint_size(some) / max(some.size, 1)
