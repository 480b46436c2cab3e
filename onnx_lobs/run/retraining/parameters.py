"""Finds what of a network may move: weights that are not zero, biases, scales, normalisations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnx_lobs.arrays import Array, BoolArray
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, is_float, outer_names
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.weight_gradient import can_sum

HELD_BY = {
    "Conv": (2,), "ConvTranspose": (2,), "Gemm": (2,), "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2), "InstanceNormalization": (1, 2), "Add": (0, 1), "Mul": (0, 1),
}  # fmt: skip
"""operator: its inputs that hold biases or scales, where these are vectors of constants"""


@dataclass(frozen=True, eq=False)
class MovingTensor:
    """A stored tensor whose values move.

    Parameters
    ----------
    name
        Of the initializer in the main graph.
    start
        Its values before, in float32.
    kept
        True where a value may move: all of a bias, the weights that are not zero.
    layer
        Whose weight it is; None: a bias or a scale.
    """

    name: str
    start: Array
    kept: BoolArray
    layer: Layer | None = None

    @property
    def n_kept(self) -> int:
        """How many values move."""
        return int(self.kept.sum())


def find_weights(model: Model, layers: Sequence[Layer]) -> tuple[MovingTensor, ...]:
    """Return the weights of layers whose gradients can be summed up; zeros are kept zero.

    Parameters
    ----------
    model
        Execution copy of the pruned network. Not modified.
    layers
        Its layers.
    """
    found = []
    for layer in layers:
        tensor = model.main.initializers.get(layer.weight) if layer.scope == 0 else None
        if tensor is not None and can_sum(layer):
            values = model.value(tensor).astype(np.float32)
            found.append(MovingTensor(layer.weight, values, values != 0, layer))
    return tuple(found)


def find_small(model: Model, layers: Sequence[Layer]) -> tuple[MovingTensor, ...]:
    """Return biases, scales and parameters of normalisations: vectors of constants, in order.

    Not what a branch reads, is a model's output or is a layer's weight, and not single numbers:
    these belong to a function written out, as the halves and thirds of a HardSwish.
    """
    taken = {layer.weight for layer in layers}
    inner = {
        name
        for node in model.main.graph.node
        for name in outer_names(node)
        if name not in node.input
    }
    found: dict[str, MovingTensor] = {}
    for name in _vectors(model):
        tensor = model.main.initializers[name]
        if name not in (*taken, *inner, *found) and not model.main.is_output(name):
            values = model.value(tensor).astype(np.float32)
            found[name] = MovingTensor(name, values, np.ones(values.shape, bool))
    return tuple(found.values())


def write_values(model: Model, values: Mapping[str, Array]) -> None:
    """Put values into stored tensors of the main graph, in the types that these have there."""
    for name, value in values.items():
        stored = model.constant(model.main, name)
        assert stored is not None
        model.write(stored, value.astype(_dtype(stored)))


def _vectors(model: Model) -> Iterator[str]:
    """Yield the constants with one axis longer than 1 where biases and scales stand."""
    for node in model.main.graph.node:
        places = HELD_BY.get(node.op_type, ()) if node.domain in DEFAULT_DOMAINS else ()
        for place in places:
            name = node.input[place] if place < len(node.input) else ""
            tensor = model.main.initializers.get(name)
            if tensor is not None and _is_vector(tensor):
                yield name


def _is_vector(tensor: onnx.TensorProto) -> bool:
    return is_float(_dtype(tensor)) and sum(size > 1 for size in tensor.dims) == 1


def _dtype(tensor: onnx.TensorProto) -> np.dtype[Any]:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
