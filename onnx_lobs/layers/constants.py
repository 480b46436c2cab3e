"""Finds NaN and infinity among the numbers that a model itself holds, and names tensor and node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.model import Model, is_float
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.layers.operators import OPERATORS

SHOWN = 3


def check_weights(model: Model, layers: Sequence[Layer]) -> None:
    """Check that the weights of layers are numbers.

    Raises
    ------
    ModelError
        When a weight holds NaN or infinity.

    Notes
    -----
    Cost: every weight is read once.
    """
    for layer in layers:
        tensor = model.constant(model.scopes[layer.scope], layer.weight)
        assert tensor is not None
        _check(model.value(tensor), "weight", layer.weight, layer)


def with_finite_biases(model: Model, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the layers, without the slots of biases that hold -inf.

    It rules a class out: what is added to it, or taken off, has no meaning.

    Raises
    ------
    ModelError
        When a bias holds NaN or +inf.
    """
    return tuple(
        replace(layer, uses=tuple(_with_finite_bias(model, layer, use) for use in layer.uses))
        for layer in layers
    )


def _with_finite_bias(model: Model, layer: Layer, use: Use) -> Use:
    slot = use.bias
    if slot is None or slot.source is None:
        return use
    tensor = model.constant(model.scopes[slot.scope], slot.source)
    assert tensor is not None
    values = model.value(tensor)
    masks = np.isneginf(values.astype(np.float64))
    _check(values[~masks], "bias", slot.source, layer)
    return replace(use, bias=None) if masks.any() else use


def _check(values: Array, word: str, name: str, layer: Layer) -> None:
    bad = _odd(values)
    if bad.any():
        raise ModelError(
            f"{word} {name!r} of {layer.name!r} holds {_words(values, bad)}; repair it, or "
            f"leave the layer as it is with --exclude {layer.name!r}"
        )


def odd_constants(model: Model) -> list[str]:
    """Return in words which constants that nodes read hold NaN, or weights infinity, the first few.

    Cost: every floating constant is read once.
    """
    found = []
    for tensor, node in _read_constants(model):
        values = model.value(tensor)
        bad = _odd(values)
        if node.op_type not in OPERATORS:  # infinity masks what attention may not see
            bad = np.isnan(values)
        if bad.any():
            where = node.name or node.output[0]
            words = f"{tensor.name!r}, which {node.op_type} {where!r} reads, holds"
            found.append(f"{words} {_words(values, bad)}")
        if len(found) == SHOWN:
            break
    return found


def _read_constants(model: Model) -> Iterator[tuple[onnx.TensorProto, onnx.NodeProto]]:
    for scope in model.scopes:
        for name, tensor in scope.initializers.items():
            readers = scope.readers.get(name)
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
            if readers and is_float(dtype):
                yield tensor, readers[0][1]


def _odd(values: Array) -> Array:
    found: Array = ~np.isfinite(values.astype(np.float64))
    return found


def _words(values: Array, bad: Array) -> str:
    n_nan = int(np.isnan(values.astype(np.float64)).sum())
    what = "NaN" if n_nan else "infinity"
    return f"{what} ({int(bad.sum()):,} of {values.size:,} values)"
