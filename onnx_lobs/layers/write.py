"""Puts solved matrices and biases back into a model, in place, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.errors import SolverError
from onnx_lobs.graph.files.tensors import write_tensor
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.bias import bias_values
from onnx_lobs.layers.bias_slot import BiasSlot
from onnx_lobs.layers.chain import Root, trace
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.layers.state_taps import is_recurrent, twin_name


def round_weight(layer: Layer, matrix: FloatArray, values: str = "fp32") -> Array:
    """Return the tensor to store for a solved matrix; of `values` fp16, those that float16 has.

    Beyond its range they stay as they are.

    Raises
    ------
    SolverError
        When a value does not fit the stored type.
    """
    stored = layer.chain.invert(layer.layout.from_matrix(matrix))
    if values == "fp16" and np.abs(stored).max(initial=0.0) <= np.finfo(np.float16).max:
        stored = stored.astype(np.float16).astype(np.float64)
    return _rounded(stored, layer.dtype)


def write_weight(model: Model, layer: Layer, stored: Array) -> None:
    """Write a layer's tensor, in the type that this copy of the model stores it in."""
    tensor = model.constant(model.scopes[layer.scope], layer.weight)
    assert tensor is not None
    model.write(tensor, stored.astype(_dtype(tensor), copy=False))


def add_biases(model: Model, layers: Sequence[Layer]) -> None:
    """Give every use that has a slot, but no constant of its own there, a bias of that name.

    The values do not change what the model computes. `model`'s index is stale afterwards.
    """
    for layer in layers:
        for use in layer.uses:
            slot = use.bias
            if slot is None or slot.in_place:
                continue
            if slot.name not in model.scopes[slot.scope].initializers:  # weights may share one
                dtype = _weight_dtype(model, layer)
                _attach(model, slot, bias_values(model, slot, dtype).astype(dtype))


def write_bias(model: Model, use: Use, layer: Layer, change: FloatArray) -> None:
    """Add `change` (groups, rows) to the bias of a use; makes the bias if it is not there.

    In a model whose slot already holds its own constant, that constant changes in place.

    Raises
    ------
    SolverError
        When a value does not fit the stored type.
    """
    slot = use.bias
    assert slot is not None
    scope = model.scopes[slot.scope]
    correction = slot.arranged(change) / slot.factor
    own = model.constant(scope, slot.name)
    if own is not None:
        old = model.value(own)
        new = _rounded(old.astype(np.float64) + correction, old.dtype)
        write_tensor(own, new.reshape(old.shape))
        return
    dtype = _weight_dtype(model, layer)
    old = bias_values(model, slot, dtype)
    _attach(model, slot, _rounded(old.astype(np.float64) + correction, dtype))


def _rounded(values: FloatArray, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        stored: Array = values.astype(dtype)
    if not np.isfinite(stored.astype(np.float64)).all():
        raise SolverError(
            f"a solved weight or bias ({np.abs(values).max():.3g}) does not fit {dtype.name}; "
            "use more damping (--damp 1e-2) or exclude the layer"
        )
    return stored


def _attach(model: Model, slot: BiasSlot, values: Array) -> None:
    """Add an initializer and make the slot's node read it."""
    scope = model.scopes[slot.scope]
    tensor = scope.graph.initializer.add()
    tensor.name = slot.name
    tensor.dims.extend(values.shape)
    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    write_tensor(tensor, values)
    scope.initializers[slot.name] = tensor
    node = scope.producers[slot.node]
    twin = scope.producers.get(twin_name(node)) if is_recurrent(node) else None
    for reader in (node,) if twin is None else (node, twin):
        while len(reader.input) <= slot.position:
            reader.input.append("")
        reader.input[slot.position] = slot.name
    if model.proto.ir_version < 4 and scope.parent is None:
        scope.graph.input.append(
            onnx.helper.make_tensor_value_info(slot.name, tensor.data_type, values.shape)
        )
        scope.inputs.add(slot.name)


def _weight_dtype(model: Model, layer: Layer) -> np.dtype[Any]:
    """Return the type of the tensor that the layer's nodes see in this copy of the model.

    It is looked up: a copy that runs in float32 has other Casts on the way than the file.
    """
    use = layer.uses[0]
    scope = model.scopes[use.scope if use.home is None else use.home]
    for name in scope.producers[use.output].input:
        root = trace(model, scope, name) if name else ""
        if isinstance(root, Root) and (root.scope, root.name) == (layer.scope, layer.weight):
            return root.chain.dtype(_dtype(root.tensor))
    raise AssertionError(f"{use.node!r} does not read {layer.weight!r}")


def _dtype(tensor: onnx.TensorProto) -> np.dtype[Any]:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
