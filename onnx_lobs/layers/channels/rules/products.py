"""Couples the axes of matrix products, whichever operand is the weight."""

from __future__ import annotations

import math

from onnx_lobs.arrays import IntArray
from onnx_lobs.layers.channels.node_view import NodeView
from onnx_lobs.layers.channels.rules.elementwise import join_broadcast


def join_matmul(view: NodeView) -> None:
    """Join what a MatMul sums over, its rows and columns, and the axes in front of them."""
    a, b, y = view.input(0), view.input(1), view.output
    rank_a, rank_b = len(view.shape(a)), len(view.shape(b))
    summed = view.ids(a, -1)
    view.join(summed, view.ids(b, -2 if rank_b > 1 else 0))
    # the axes in front, which broadcast; those of the output lack what a vector lacks
    if rank_a > 1 and rank_b > 1:
        view.join_axes(a, -2, y, -2)
        join_broadcast(view, a, y, leave=2)
        join_broadcast(view, b, y, leave=2)
    elif rank_a > 1:
        for axis in range(rank_a - 1):
            view.join_axes(a, axis, y, axis)
    elif rank_b > 1:
        for axis in range(rank_b - 2):
            view.join_axes(b, axis, y, axis)
    if rank_b > 1:
        view.join_axes(b, -1, y, -1)
    view.read(summed[None])
    _count(view, summed)


def join_gemm(view: NodeView) -> None:
    """Join what a Gemm sums over, its rows and columns, and what it adds."""
    a, b, y = view.input(0), view.input(1), view.output
    turned_a, turned_b = (int(view.attributes.get(name, 0)) for name in ("transA", "transB"))
    summed = view.ids(a, 0 if turned_a else 1)
    view.join(summed, view.ids(b, 1 if turned_b else 0))
    view.join_axes(a, 1 if turned_a else 0, y, 0)
    view.join_axes(b, 0 if turned_b else 1, y, 1)
    if view.input(2):
        join_broadcast(view, view.input(2), y)
    view.read(summed[None])
    _count(view, summed)


def _count(view: NodeView, summed: IntArray) -> None:
    shape = view.shape(view.output)
    axes = [view.ids(view.output, axis) for axis in range(len(shape)) if shape[axis] > 1]
    view.count(math.prod(shape) * summed.size, *axes, summed)
