"""Leaves pruned initializers dense, as every tool reads them: zeros take what other values do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto

from onnx_lobs.arrays import FloatArray
from onnx_lobs.graph.files.tensors import raw_size

BytesAt = Callable[[float], FloatArray]


def keep_dense(proto: ModelProto, names: Collection[str], folder: Path | None = None) -> list[str]:
    """Store nothing anew."""
    return []


def dense_bytes(proto: ModelProto, tensors: Sequence[TensorProto]) -> BytesAt:
    """Return the bytes of tensors, (tensors,), as a function of the share of zeros: no matter."""
    sizes = np.array([raw_size(tensor) for tensor in tensors], dtype=np.float64)
    return lambda sparsity: sizes
