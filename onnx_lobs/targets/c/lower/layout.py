"""Lowers what only moves or renames elements: Reshape, Transpose, Slice, Pad, Concat ..."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.grid import ByteGrid
from onnx_lobs.targets.c.lower.context import Lowering, node_attributes, refusal, scalar
from onnx_lobs.targets.c.lower.taken import append_taken, lower_neighbours
from onnx_lobs.targets.c.program import Value
from onnx_lobs.targets.c.steps.move import Move, Part
from onnx_lobs.targets.c.steps.strides import broadcast_strides, strides_of


def lower_transpose(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a permutation of axes."""
    x = made.value(node.input[0])
    order = node_attributes(node, {"perm": range(len(x.shape))[::-1]})["perm"]
    _taken(made, node, [strides_of(x.shape)[axis] for axis in order])


def permuted(made: Lowering, node: onnx.NodeProto, x: Value, order: Sequence[int]) -> Value:
    """Append a permutation in front of a node, and return what it gives."""
    shape = tuple(x.shape[axis] for axis in order)
    y = Value(f"{x.name} for {node.output[0]}", shape, x.grid)
    reads = tuple(strides_of(x.shape)[axis] for axis in order)
    made.add(Move((x,), y, (Part(shape, reads, strides_of(shape)),)))
    return y


def lower_slice(made: Lowering, node: onnx.NodeProto) -> None:
    """Append the elements of a Slice, of any steps."""
    x = made.shape(node.input[0])
    if len(node.input) > 1:
        starts, ends = (made.constant(node, i, "a bound") for i in (1, 2))
        axes, steps = (made.optional(node, i, "a bound") for i in (3, 4))
    else:
        given = node_attributes(node, {"axes": None})
        starts, ends = (np.asarray(given[k]) for k in ("starts", "ends"))
        axes, steps = (None if given["axes"] is None else np.asarray(given["axes"])), None
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    reads, first = list(strides_of(x)), 0
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        taken = range(x[axis])[int(start) : _end(int(end), int(step), x[axis]) : int(step)]
        first += reads[axis] * taken.start
        reads[axis] *= taken.step
    _taken(made, node, reads, first)


def _end(end: int, step: int, size: int) -> int | None:
    """Return the end of a Python slice; ONNX writes a far negative one for all, going down."""
    return None if step < 0 and end < -size else end


def lower_split(made: Lowering, node: onnx.NodeProto) -> None:
    """Append one move for each part of a Split."""
    x = made.shape(node.input[0])
    axis = int(node_attributes(node, {"axis": 0})["axis"]) % len(x)
    at = 0
    for number, name in enumerate(node.output):
        if name:
            _taken(made, node, strides_of(x), at * strides_of(x)[axis], output=number)
            at += made.shape(name)[axis]


def lower_expand(made: Lowering, node: onnx.NodeProto) -> None:
    """Append the repetition of an Expand."""
    shape = made.shape(node.output[0])
    _taken(made, node, broadcast_strides(made.shape(node.input[0]), shape))


def lower_gather(made: Lowering, node: onnx.NodeProto) -> None:
    """Append the elements of a Gather with constant indices."""
    if made.is_constant(node.input[0]):
        raise refusal(node, "it looks up a table by computed indices")
    x = made.shape(node.input[0])
    indices = np.asarray(made.constant(node, 1, "the indices"))
    axis = int(node_attributes(node, {"axis": 0})["axis"]) % len(x)
    places = indices.reshape(-1) % x[axis]
    step = int(places[1] - places[0]) if places.size > 1 else 1
    if indices.ndim > 1 or np.any(np.diff(places) != step):
        append_taken(made, node, {axis: places})
        return
    own = list(strides_of(x))
    first = int(places[0]) * own[axis]
    own[axis : axis + 1] = [own[axis] * step] * indices.ndim
    _taken(made, node, own, first)


def lower_depth_to_space(made: Lowering, node: onnx.NodeProto) -> None:
    """Append the interleaving of channels into planes, or its inverse."""
    given = node_attributes(node, {"mode": "DCR"})
    block, x = int(given["blocksize"]), made.value(node.input[0])
    n, c, h, w = x.shape
    if node.op_type == "SpaceToDepth":
        split = (n, c, h // block, block, w // block, block)
        order = (0, 3, 5, 1, 2, 4) if given["mode"] == "DCR" else (0, 1, 3, 5, 2, 4)
    elif given["mode"] == "DCR":
        split, order = (n, block, block, c // block**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, c // block**2, block, block, h, w), (0, 1, 4, 2, 5, 3)
    own = strides_of(split)
    sizes = tuple(split[axis] for axis in order)
    reads = tuple(own[axis] for axis in order)
    made.share_grid(node.output[0], node.input[0])
    y = made.value(node.output[0])
    made.add(Move((x,), y, (Part(sizes, reads, strides_of(sizes)),)))


def lower_pad(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a Pad; negative pads cut."""
    given = node_attributes(node, {"mode": "constant", "value": 0.0})
    if given["mode"] != "constant":
        lower_neighbours(made, node)
        return
    x, y = made.shape(node.input[0]), made.shape(node.output[0])
    pads = made.constant(node, 1, "the pads") if len(node.input) > 1 else np.array(given["pads"])
    fill = made.optional(node, 2, "the value")
    value = given["value"] if fill is None else scalar(fill)
    axes = made.optional(node, 3, "the axes")
    axes = np.arange(len(x)) if axes is None else axes % len(x)
    front = np.zeros(len(x), np.int64)
    front[axes] = pads[: len(axes)]
    made.share_grid(node.output[0], node.input[0])
    output = made.value(node.output[0])
    if output.grid is not None:
        if abs(value) > output.grid.scale * output.grid.highest:
            raise refusal(node, f"its value {value:g} is beyond the range of what it pads")
        value = float(output.grid.quantise(np.array(value)))
    first, last = np.maximum(-front, 0), np.minimum(x, np.array(y) - front)
    own, new = strides_of(x), strides_of(y)
    part = Part(
        tuple(int(n) for n in last - first),
        own,
        new,
        int(first @ np.array(own)),
        int((first + front) @ np.array(new)),
    )
    made.add(Move((made.value(node.input[0]),), output, (part,), value))


def lower_concat(made: Lowering, node: onnx.NodeProto) -> None:
    """Append all inputs one behind the other, each brought to the output's grid."""
    y = made.value(node.output[0])
    axis = int(node_attributes(node, {"axis": 0})["axis"]) % len(y.shape)
    inputs, parts, at = [], [], 0
    for name in node.input:
        if made.is_constant(name):
            raise refusal(node, f"its input {name!r} is constant")
        x = made.value(name)
        start = at * strides_of(y.shape)[axis]
        inputs.append(x)
        reads, writes = strides_of(x.shape), strides_of(y.shape)
        parts.append(Part(x.shape, reads, writes, 0, start, regrid(x.grid, y.grid)))
        at += x.shape[axis]
    made.add(Move(tuple(inputs), y, tuple(parts)))


def copy_to_output(made: Lowering, name: str, source: str, shape: tuple[int, ...]) -> Value:
    """Append a copy of a value under a name of its own, for an output that no step makes."""
    x = made.value(source)
    y = Value(name, shape, x.grid)
    made.add(Move((x,), y, (Part((x.size,), (1,), (1,)),)))
    return y


def regrid(source: ByteGrid | None, target: ByteGrid | None) -> Array | None:
    """Return the table that brings bytes from one grid to another; None where they are one."""
    if source is None or target is None or source == target:
        return None
    raw = np.arange(256, dtype=np.uint8).view(source.dtype)
    return target.quantise(source.dequantise(raw))


def _taken(
    made: Lowering,
    node: onnx.NodeProto,
    reads: Sequence[int],
    first: int = 0,
    *,
    output: int = 0,
) -> None:
    """Append the elements of the input at given strides, in order, on the input's grid."""
    name = node.output[output]
    made.share_grid(name, node.input[0])
    y = made.value(name)
    part = Part(y.shape, tuple(reads), strides_of(y.shape), first)
    made.add(Move((made.value(node.input[0]),), y, (part,)))
