"""Stores weights as float16 behind a Cast, where they have just such values."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from onnx import GraphProto, TensorProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.tensors import copy_header, read_tensor, write_tensor
from onnx_lobs.storage.stored_weights import RESTORES, FreshNames, Restoring, put_in_place

WIDER = frozenset((TensorProto.FLOAT, TensorProto.DOUBLE))


def to_half(values: Array) -> Array | None:
    """Return values in float16, or None if that changes one."""
    with np.errstate(over="ignore"):
        half: Array = values.astype(np.float16)
    return half if np.array_equal(half.astype(values.dtype), values) else None


def encode_half(
    graph: GraphProto, wanted: Collection[str], names: FreshNames, folder: Path | None = None
) -> dict[str, str]:
    """Store initializers of a graph as float16, in place, those that are wider and can be.

    Parameters and result as of :func:`~onnx_lobs.storage.int8.encode_int8`.
    """
    inputs = {value.name for value in graph.input}
    made: dict[str, Restoring] = {}
    for tensor in graph.initializer:
        is_wanted = tensor.name in wanted and tensor.name not in inputs
        if not is_wanted or tensor.data_type not in WIDER:
            continue
        half = to_half(read_tensor(tensor, folder))
        if half is not None:
            made[tensor.name] = _restoring(tensor, half, names.prefix())
    put_in_place(graph, made)
    return {name: one.constants[0].name for name, one in made.items()}


def _restoring(tensor: TensorProto, half: Array, prefix: str) -> Restoring:
    held = TensorProto(dims=half.shape)
    copy_header(tensor, held)
    held.name, held.data_type = prefix + "half", TensorProto.FLOAT16
    write_tensor(held, half)
    node = helper.make_node(
        "Cast", [held.name], [tensor.name], name=RESTORES + tensor.name, to=tensor.data_type
    )
    return Restoring([held], [node])
