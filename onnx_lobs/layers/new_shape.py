"""Works out the shape that a Reshape and its kin give to a weight."""

from __future__ import annotations

import math
from typing import cast

import onnx

from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, Scope, attributes


def new_shape(
    model: Model,
    scope: Scope,
    node: onnx.NodeProto,
    shape: tuple[int, ...],
    values: dict[str, object],
) -> tuple[int, ...] | None:
    """Return the shape that a node gives to a tensor of `shape`, None where it has no such axes.

    Parameters
    ----------
    node
        A Reshape, Flatten, Squeeze or Unsqueeze of `scope` whose argument is constant.
    values
        Its attributes.
    """
    if node.op_type == "Flatten":
        axis = cast(int, values.get("axis", 1))
        axis = axis + len(shape) if axis < 0 else axis
        return math.prod(shape[:axis]), math.prod(shape[axis:])
    numbers = constant_integers(model, scope, node, values)
    if numbers is None:
        return tuple(size for size in shape if size != 1)
    if node.op_type == "Reshape":
        if not values.get("allowzero", 0):
            numbers = [shape[i] if n == 0 and i < len(shape) else n for i, n in enumerate(numbers)]
        known = math.prod(n for n in numbers if n != -1)
        return tuple(math.prod(shape) // max(known, 1) if n == -1 else n for n in numbers)
    rank = len(shape) + (len(numbers) if node.op_type == "Unsqueeze" else 0)
    axes = {axis + rank if axis < 0 else axis for axis in numbers}
    if not axes <= set(range(rank)) or len(axes) < len(numbers):
        return None
    if node.op_type == "Squeeze":
        return tuple(size for i, size in enumerate(shape) if i not in axes)
    sizes = iter(shape)
    return tuple(1 if i in axes else next(sizes) for i in range(rank))


def constant_integers(
    model: Model, scope: Scope, node: onnx.NodeProto, values: dict[str, object]
) -> list[int] | None:
    """Return the shape or axes argument of `node`: an attribute in old opsets, else an input."""
    for key in ("shape", "axes"):
        if key in values:
            return [int(n) for n in cast("list[int]", values[key])]
    if len(node.input) < 2 or not node.input[1]:
        return None
    tensor = model.constant(scope, node.input[1])
    if tensor is not None:
        numbers = model.value(tensor).ravel()
        return [int(n) for n in numbers] if numbers.dtype.kind in "iu" else None
    home = scope.find(node.input[1])
    maker = None if home is None else home.producers.get(node.input[1])
    if maker is None or maker.op_type != "Constant" or maker.domain not in DEFAULT_DOMAINS:
        return None
    written = attributes(maker)
    if "value_int" in written:
        return [cast(int, written["value_int"])]
    if "value_ints" in written:
        return [int(n) for n in cast("list[int]", written["value_ints"])]
    return None
