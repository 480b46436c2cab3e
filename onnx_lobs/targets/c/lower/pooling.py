"""Lowers pooling and means."""

from __future__ import annotations

import numpy as np
import onnx

from onnx_lobs.targets.c.grid import ByteGrid, factors_of
from onnx_lobs.targets.c.lower.context import Lowering, node_attributes, refusal, window_sizes
from onnx_lobs.targets.c.lower.layout import permuted
from onnx_lobs.targets.c.lower.views import lower_view
from onnx_lobs.targets.c.program import Value
from onnx_lobs.targets.c.steps.move import Move, Part
from onnx_lobs.targets.c.steps.pool import Mean, Pool
from onnx_lobs.targets.c.steps.softmax import PROBABILITY_STEPS, Softmax
from onnx_lobs.targets.c.steps.strides import strides_of
from onnx_lobs.targets.c.steps.window import Window


def lower_pool(made: Lowering, node: onnx.NodeProto) -> None:
    """Append the largest elements or the means under a sliding window."""
    x, y = made.shape(node.input[0]), made.shape(node.output[0])
    given = node_attributes(node, {"count_include_pad": 0, "ceil_mode": 0})
    kernel = given["kernel_shape"]
    if len(node.output) > 1 and node.output[1]:
        raise refusal(node, "its indices are read")
    sizes = window_sizes(node, kernel, x[2:], y[2:])
    lift = (1,) * (2 - len(kernel))
    parts = (x[2:], y[2:], kernel, sizes["strides"], sizes["dilations"])
    flat = [size for part in parts for size in (*lift, *part)]
    window = Window(*flat, *(0,) * (2 - len(kernel)), *sizes["pads"])
    is_mean = node.op_type == "AveragePool"
    counts_pads = bool(given["count_include_pad"])
    if is_mean and counts_pads and given["ceil_mode"]:
        raise refusal(node, "ceil_mode beside count_include_pad")
    made.share_grid(node.output[0], node.input[0])
    source, output = made.value(node.input[0]), made.value(node.output[0])
    made.add(Pool((source,), output, window, is_mean, counts_pads))


def lower_global(made: Lowering, node: onnx.NodeProto) -> None:
    """Append the mean or the largest element of whole planes."""
    x = made.value(node.input[0])
    if node.op_type == "GlobalMaxPool":
        made.share_grid(node.output[0], node.input[0])
        plane = int(np.prod(x.shape[2:], dtype=np.int64))
        window = Window(1, plane, 1, 1, 1, plane)
        made.add(Pool((x,), made.value(node.output[0]), window))
        return
    _mean(made, node, x, int(np.prod(x.shape[2:], dtype=np.int64)))


def lower_reduce_mean(made: Lowering, node: onnx.NodeProto) -> None:
    """Append the mean over axes; others than the last are moved there."""
    x = made.value(node.input[0])
    given = node_attributes(node, {"axes": None, "noop_with_empty_axes": 0})
    axes = made.optional(node, 1, "the axes") if len(node.input) > 1 else given["axes"]
    if axes is None or len(axes) == 0:
        axes = [] if given["noop_with_empty_axes"] else range(len(x.shape))
    over = sorted({int(axis) % len(x.shape) for axis in axes})
    if not over:
        lower_view(made, node)
        return
    order = [axis for axis in range(len(x.shape)) if axis not in over] + over
    if order != sorted(order):
        x = permuted(made, node, x, order)
    _mean(made, node, x, int(np.prod([made.shape(node.input[0])[axis] for axis in over])))


def _mean(made: Lowering, node: onnx.NodeProto, x: Value, length: int) -> None:
    y = made.value(node.output[0])
    factors = None
    if x.grid is not None and y.grid is not None:
        real = x.grid.scale / (length * y.grid.scale)
        factors = factors_of(node.name or y.name, np.array([real]))
    made.add(Mean((x,), y, length, factors))


def lower_softmax(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a softmax; an axis that is not the last is moved there and back."""
    x = made.value(node.input[0])
    is_old = made.network.opset < 13  # the axes from `axis` on count as one
    axis = int(node_attributes(node, {"axis": 1 if is_old else -1})["axis"]) % len(x.shape)
    if x.grid is not None:
        made.grids[node.output[0]] = ByteGrid(1 / PROBABILITY_STEPS, False)
    y = made.value(node.output[0])
    if is_old:
        _softmax(made, x, y, int(np.prod(x.shape[axis:], dtype=np.int64)))
        return
    order = [*(i for i in range(len(x.shape)) if i != axis), axis]
    if order == sorted(order) or x.shape[axis] == x.size:
        _softmax(made, x, y, x.shape[axis])
        return
    moved = permuted(made, node, x, order)
    made_there = Value(f"{y.name} (moved)", moved.shape, y.grid)
    _softmax(made, moved, made_there, x.shape[axis])
    reads = [strides_of(moved.shape)[order.index(i)] for i in range(len(order))]
    made.add(Move((made_there,), y, (Part(y.shape, tuple(reads), strides_of(y.shape)),)))


def _softmax(made: Lowering, x: Value, y: Value, n: int) -> None:
    """Append a softmax over every n elements that follow each other."""
    rows = (x.size // n, n)
    made.add(Softmax((Value(x.name, rows, x.grid),), Value(y.name, rows, y.grid)))
