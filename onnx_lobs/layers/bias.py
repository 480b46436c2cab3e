"""Finds where the correction of a layer's mean goes: its bias, a new one, or the next Add."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, Scope, first_output
from onnx_lobs.layers.bias_slot import BiasOrder, BiasSlot
from onnx_lobs.layers.chain import Chain, Root, trace


def find_input_bias(
    model: Model,
    scope: Scope,
    node: onnx.NodeProto,
    shape: tuple[int, ...],
    factor: float = 1.0,
    place_of: int = 2,
    order: BiasOrder | None = None,
) -> BiasSlot | None:
    """Return the slot of the bias that a node has as an input: the third of a Conv or Gemm.

    A node without one gets a slot for a new bias. None where the present bias is not a
    constant, or `factor`, by which the node multiplies it, is 0.
    """
    if factor == 0:
        return None
    has_bias = len(node.input) > place_of and node.input[place_of] != ""
    if not has_bias:
        name = _new_name(model, node)
        output = first_output(node)
        return BiasSlot(scope.index, output, place_of, name, None, Chain(), factor, shape, order)
    return _slot(model, scope, node, place_of, factor, shape, order)


def find_add(
    model: Model,
    scope: Scope,
    node: onnx.NodeProto,
    shape: tuple[int, ...],
    order: BiasOrder | None = None,
) -> BiasSlot | None:
    """Return the slot of the constant that an Add, alone, puts on a product's output."""
    output = node.output[0]
    readers = scope.readers.get(output, [])
    if len(readers) != 1 or scope.is_output(output):
        return None
    home, add = readers[0]
    if home is not scope or add.op_type != "Add" or add.domain not in DEFAULT_DOMAINS:
        return None
    position = 1 if add.input[0] == output else 0
    slot = _slot(model, scope, add, position, 1.0, shape, order)
    if slot is None or len(shape) <= 1:
        return slot
    # a correction of several axes is safe only where the sum has them for certain
    root = trace(model, scope, add.input[position])
    return slot if isinstance(root, Root) and len(root.shape) >= len(shape) else None


def _slot(
    model: Model,
    scope: Scope,
    node: onnx.NodeProto,
    position: int,
    factor: float,
    shape: tuple[int, ...],
    order: BiasOrder | None = None,
) -> BiasSlot | None:
    source = node.input[position]
    root = trace(model, scope, source)
    if not isinstance(root, Root) or not _fits(root.shape, shape):
        return None
    home = model.scopes[root.scope]
    alone = (
        root.name == source
        and home is scope
        and len(home.readers.get(source, [])) == 1
        and not home.is_output(source)
        and holds(root.shape, shape)
    )
    name = source if alone else _new_name(model, node)
    output = first_output(node)
    return BiasSlot(
        scope.index, output, position, name, root.name, root.chain, factor, shape, order
    )


def holds(old: tuple[int, ...], correction: tuple[int, ...]) -> bool:
    """Return whether old + correction has the shape of the old constant, of any number of axes."""
    pairs = zip(reversed(old), reversed(correction), strict=False)
    return len(correction) <= len(old) and all(new in (1, size) for size, new in pairs)


def _fits(old: tuple[int, ...], correction: tuple[int, ...]) -> bool:
    """Return whether old + correction still broadcasts into the output without changing its shape.

    Right-aligned sizes are equal or 1; where the old constant has more axes, they are the
    output's own.
    """
    pairs = zip(reversed(old), reversed(correction), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


def _new_name(model: Model, node: onnx.NodeProto) -> str:
    taken = {name for scope in model.scopes for name in scope.producers}
    taken |= {name for scope in model.scopes for name in (*scope.initializers, *scope.inputs)}
    name = f"{first_output(node)}_bias"
    while name in taken:
        name += "_"
    return name


def bias_values(model: Model, slot: BiasSlot, dtype: np.dtype[Any]) -> Array:
    """Return the bias as the node sees it now: zeros where there is none yet.

    Its shape has room for a correction of shape ``slot.shape``.
    """
    if slot.source is None:
        return np.zeros(slot.shape, dtype)
    scope = model.scopes[slot.scope]
    tensor = model.constant(scope, slot.source)
    assert tensor is not None
    seen = slot.chain.apply(model.value(tensor))
    wide: Array = np.broadcast_to(seen, np.broadcast_shapes(seen.shape, slot.shape)).copy()
    return wide
