"""Lowers what takes whole slices along axes, in any order: Resize to neighbours, Pad by copies.

Which slices is asked of onnxruntime, on a tensor of places: no rule of rounding is written twice.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from onnx_lobs.arrays import Array, IntArray
from onnx_lobs.targets.c.lower.context import Lowering, node_attributes, refusal
from onnx_lobs.targets.c.lower.evaluate import run_nodes
from onnx_lobs.targets.c.program import Value
from onnx_lobs.targets.c.steps.move import Move, Part
from onnx_lobs.targets.c.steps.strides import strides_of
from onnx_lobs.targets.c.steps.take import Take

_MOST_PLACES = 2**24  # whole numbers that float32 tells apart


def lower_resize(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a Resize to nearest neighbours."""
    mode = node_attributes(node, {"mode": "nearest"})["mode"]
    if mode != "nearest":
        raise refusal(node, f"the mode {mode}; only nearest is written")
    lower_neighbours(made, node)


def lower_neighbours(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a node whose outputs are elements of its first input, slice by slice."""
    x, y = made.shape(node.input[0]), made.shape(node.output[0])
    places = _places(made, node)
    factors = [many // few if many % few == 0 else 0 for few, many in zip(x, y, strict=True)]
    if all(
        factor and np.array_equal(places[axis], np.repeat(np.arange(x[axis]), factor))
        for axis, factor in enumerate(factors)
    ):
        _append_repeated(made, node, factors)
        return
    moved = {axis: p for axis, p in enumerate(places) if not np.array_equal(p, np.arange(x[axis]))}
    append_taken(made, node, moved)


def append_taken(made: Lowering, node: onnx.NodeProto, places: Mapping[int, IntArray]) -> None:
    """Append one step for each axis; those that leave the least go first."""
    source, output = made.value(node.input[0]), node.output[0]
    made.share_grid(output, node.input[0])
    order = sorted(places, key=lambda axis: places[axis].size / source.shape[axis])
    for number, axis in enumerate(order, 1):
        shape = (*source.shape[:axis], places[axis].size, *source.shape[axis + 1 :])
        name = f"{output} (axis {axis})"
        target = Value(name, shape, source.grid) if number < len(order) else made.value(output)
        made.add(Take((source,), target, axis, places[axis]))
        source = target


def _append_repeated(made: Lowering, node: onnx.NodeProto, factors: list[int]) -> None:
    """Append the repetition of every element, in one step without a table."""
    x = made.shape(node.input[0])
    sizes, reads = [], []
    for axis, (size, factor) in enumerate(zip(x, factors, strict=True)):
        sizes += [size, factor]
        reads += [strides_of(x)[axis], 0]
    made.share_grid(node.output[0], node.input[0])
    part = Part(tuple(sizes), tuple(reads), strides_of(sizes))
    made.add(Move((made.value(node.input[0]),), made.value(node.output[0]), (part,)))


def _places(made: Lowering, node: onnx.NodeProto) -> list[IntArray]:
    """Return the slices that make the output, by axis."""
    x = made.shape(node.input[0])
    constants: dict[str, Array] = {}
    for place, name in enumerate(node.input[1:], 1):
        if name:
            constants[name] = made.constant(node, place, "an input")
    size = int(np.prod(x, dtype=np.int64))
    if size > _MOST_PLACES:
        raise refusal(node, f"its input has {size:,} elements, at most {_MOST_PLACES:,} are told")
    numbers = np.arange(size, dtype=np.float32).reshape(x)
    found = run_nodes(made.network, (node,), node.input[0], numbers, constants)
    index = np.unravel_index(np.clip(found, 0, size - 1).astype(np.int64), x)
    places: list[IntArray] = [
        np.moveaxis(index[axis], axis, -1).reshape(-1, found.shape[axis])[0]
        for axis in range(len(x))
    ]
    if not np.array_equal(numbers[np.ix_(*places)], found):
        raise refusal(node, "its elements are no whole slices of its input")
    return places
