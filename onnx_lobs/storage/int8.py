"""Stores weights as int8 with a scale for each output, behind a DequantizeLinear; tables by rows.

Only weights that have just such values are stored so: then nothing that the model computes changes.
A run brings them there, see :mod:`onnx_lobs.solvers.rounding`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.tensors import array_type, copy_header, read_tensor, write_tensor
from onnx_lobs.storage.int8_rows import encode_rows
from onnx_lobs.storage.row_tables import is_read_by_rows
from onnx_lobs.storage.stored_weights import RESTORES, FreshNames, Restoring, put_in_place

LEAST_OPSET = 10  # the first with DequantizeLinear
MOST = 127  # symmetric: -128 is not used


@dataclass(frozen=True)
class Scales:
    """The scales of a weight: (n,) float32 along an axis of the stored tensor, or one without."""

    values: Array
    axis: int | None

    def along(self, ndim: int) -> Array:
        """Return the scales in the shape in which a tensor of `ndim` axes multiplies them."""
        if self.axis is None:
            return self.values.reshape(())
        return self.values.reshape([-1 if axis == self.axis else 1 for axis in range(ndim)])


def dequantised(codes: Array, scales: Scales, dtype: np.dtype[Any]) -> Array:
    """Return what the nodes make of int8 numbers, to the bit: a product in float32, then a cast."""
    product = codes.astype(np.float32) * scales.along(codes.ndim).astype(np.float32)
    result: Array = product.astype(dtype)
    return result


def to_codes(values: Array, scales: Scales) -> Array | None:
    """Return the int8 numbers that :func:`dequantised` makes `values` of, or None if none does.

    -0.0 comes back as 0.0.
    """
    wide = values.astype(np.float64) / scales.along(values.ndim).astype(np.float64)
    codes = np.clip(np.rint(wide), -MOST, MOST).astype(np.int8)
    same = np.array_equal(dequantised(codes, scales, values.dtype), values)
    return codes if same else None


def encode_int8(
    graph: GraphProto,
    scales: Mapping[str, Scales | None],
    names: FreshNames,
    folder: Path | None = None,
) -> dict[str, str]:
    """Store initializers of a graph as int8, in place, those that have such values.

    Parameters
    ----------
    graph
        Changed in place.
    scales
        By the name of the initializer; those with None stay as they are.
    names
        Gives the names of what is new.
    folder
        Folder of the model file; needed for external data only.

    Returns
    -------
    dict
        The names of the int8 tensors by those of the weights.
    """
    inputs = {value.name for value in graph.input}
    stored: dict[str, str] = {}
    made: dict[str, Restoring] = {}
    tables: list[tuple[TensorProto, Array, Array]] = []
    for tensor in graph.initializer:
        own = scales.get(tensor.name)
        if own is None or tensor.name in inputs:
            continue
        codes = to_codes(read_tensor(tensor, folder), own)
        if codes is None:
            continue
        if own.axis == 0 and is_read_by_rows(graph, tensor.name):
            tables.append((tensor, codes, own.values))
        else:
            made[tensor.name] = _restoring(tensor, codes, own, names)
            stored[tensor.name] = made[tensor.name].constants[0].name
    put_in_place(graph, made)
    for tensor, codes, values in tables:
        name = tensor.name
        stored[name] = encode_rows(graph, tensor, codes, values, names)
    return stored


def _restoring(tensor: TensorProto, codes: Array, scales: Scales, names: FreshNames) -> Restoring:
    """Return the int8 tensor, its scales, and the nodes that make the weight of them."""
    prefix = names.prefix()
    held = TensorProto(dims=codes.shape)
    copy_header(tensor, held)
    held.name, held.data_type = prefix + "int8", TensorProto.INT8
    write_tensor(held, codes)
    values = scales.values.reshape(() if scales.axis is None else -1).astype(np.float32)
    scale = helper.make_tensor(
        prefix + "scale", TensorProto.FLOAT, values.shape, values.tobytes(), raw=True
    )
    return Restoring([held, scale], _nodes(tensor, held.name, scale.name, scales.axis, prefix))


def _nodes(
    tensor: TensorProto, held: str, scale: str, axis: int | None, prefix: str
) -> list[NodeProto]:
    options: dict[str, Any] = {} if axis is None else {"axis": axis}
    is_float32 = array_type(tensor.data_type) == np.float32
    output = tensor.name if is_float32 else prefix + "float"
    name = RESTORES + output
    nodes = [helper.make_node("DequantizeLinear", [held, scale], [output], name=name, **options)]
    if not is_float32:  # before operator set 19 it makes float32 only
        name = RESTORES + tensor.name
        nodes.append(
            helper.make_node("Cast", [output], [tensor.name], name=name, to=tensor.data_type)
        )
    return nodes
