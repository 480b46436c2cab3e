"""Weights handed to onnxruntime in place, not inside the serialised model.

A session on a model in memory otherwise makes three more copies of every weight: in the message
that it may change, in the string, and in what onnxruntime parses from it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import outer_names

LEAST = 1 << 16  # bytes: copies of less cost next to nothing
NOWHERE = "lent"  # a name of a file that is never opened


def lend_weights(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Return a copy of a model without its large float32 weights, and these by name.

    Parameters
    ----------
    model
        Not modified. Weights inside subgraphs, and those whose bytes are not stored as they are
        in memory, stay in the copy.

    Returns
    -------
    ModelProto and dict
        In the copy each lent weight is described as external data, as
        ``SessionOptions.add_external_initializers`` wants it; weights that nothing reads are not
        in it.
    """
    copy = onnx.ModelProto()
    _copy_fields(model, copy, without="graph")
    _copy_fields(model.graph, copy.graph, without="initializer")
    return copy, lend(model.graph.initializer, copy.graph, _used(model))


def lend(
    tensors: Iterable[TensorProto], graph: onnx.GraphProto, used: Container[str]
) -> dict[str, Array]:
    """Add weights to the initializers of `graph`, and return by name those that are only lent.

    Those that are not `used` are left out: onnxruntime refuses to be lent them.
    """
    lent: dict[str, Array] = {}
    for tensor in tensors:
        if tensor.name not in used:
            continue
        values = _stored(tensor)
        if values is None:
            graph.initializer.append(tensor)
            continue
        lent[tensor.name] = values
        placeholder = graph.initializer.add(
            name=tensor.name, data_type=tensor.data_type, data_location=TensorProto.EXTERNAL
        )
        placeholder.dims.extend(tensor.dims)
        placeholder.external_data.add(key="location", value=NOWHERE)
        placeholder.external_data.add(key="length", value=str(values.nbytes))
    return lent


def _used(model: onnx.ModelProto) -> set[str]:
    """Return the names that nodes read, inside their subgraphs too, and of inputs and outputs."""
    names = {value.name for value in (*model.graph.input, *model.graph.output)}
    return names.union(*map(outer_names, model.graph.node))


def _stored(tensor: TensorProto) -> Array | None:
    """Return a tensor's values if it is to be lent; what is not valid is left to onnxruntime."""
    size = 4 * int(np.prod(tensor.dims, dtype=np.int64))
    is_inside = tensor.data_location != TensorProto.EXTERNAL and tensor.HasField("raw_data")
    if tensor.data_type != TensorProto.FLOAT or size < LEAST or not is_inside:
        return None
    stored = tensor.raw_data
    if len(stored) != size:
        return None
    return np.frombuffer(stored, dtype="<f4").reshape(tuple(tensor.dims))


def _copy_fields(source: Any, target: Any, *, without: str) -> None:
    """Copy all fields that are set but one.

    Text that is not UTF-8 (a doc string, say) only describes; what runs can do with an escaped
    form of it.
    """
    for field, value in source.ListFields():
        if field.name == without:
            continue
        own = getattr(target, field.name)
        if isinstance(own, str) and isinstance(value, bytes):
            setattr(target, field.name, value.decode("utf-8", "backslashreplace"))
        elif isinstance(value, str | bytes | int | float):
            setattr(target, field.name, value)
        elif isinstance(value, Iterable):
            own.extend(value)
        else:
            own.CopyFrom(value)
