"""Finds NaN and infinity among the numbers that a model itself holds, and names tensor and node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.model import Model, is_float
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.operators import OPERATORS

SHOWN = 3


def check_constants(model: Model, layers: Sequence[Layer]) -> None:
    """Check that the weights and biases of layers are numbers.

    A bias may hold -inf, which rules a class out.

    Raises
    ------
    ModelError
        When a weight holds NaN or infinity, or a bias NaN or +inf.

    Notes
    -----
    Cost: every weight is read once.
    """
    for layer in layers:
        home = model.scopes[layer.scope]
        _check(model, home.initializers.get(layer.weight), layer, "weight")
        for use in layer.uses:
            node = model.scopes[use.scope].producers.get(use.output)
            names = [] if node is None else node.input[2:]
            for name in names:
                _check(model, model.constant(model.scopes[use.scope], name), layer, "bias")


def _check(model: Model, tensor: onnx.TensorProto | None, layer: Layer, word: str) -> None:
    if tensor is None:
        return
    values = model.value(tensor)
    bad = _odd(values)
    if word == "bias":
        bad &= ~np.isneginf(values.astype(np.float64))
    if bad.any():
        raise ModelError(
            f"{word} {tensor.name!r} of {layer.name!r} holds {_words(values, bad)}; repair it, or "
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
