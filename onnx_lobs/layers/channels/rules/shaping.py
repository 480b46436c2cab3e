"""Couples indices across operators that reorder axes, or make one of several and several of one.

Where axes merge, one of them keeps its indices apart, the *carrier*, and each takes along the run
of merged indices that it stands for; the others have to stay. Where one axis is split, likewise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from onnx_lobs.layers.channels.node_view import NodeEdit, NodeView

WHOLE = "makes one axis of it and others, and these go as wholes"


def join_transpose(view: NodeView) -> None:
    """Join axes with the places that a Transpose moves them to."""
    rank = len(view.shape(view.output))
    order = view.attributes.get("perm", list(range(rank))[::-1])
    for place, axis in enumerate(order):
        view.join_axes(view.input(0), axis, view.output, place)


def aligned(
    before: tuple[int, ...], after: tuple[int, ...]
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the axes of two shapes that hold the same numbers, in blocks as small as can be.

    Axes of size 1 are left out.

    >>> list(aligned((2, 12, 5), (2, 3, 4, 5)))
    [([0], [0]), ([1], [1, 2]), ([2], [3])]
    """
    ones = [axis for axis, size in enumerate(before) if size != 1]
    others = [axis for axis, size in enumerate(after) if size != 1]
    while ones and others:
        one, other = [ones.pop(0)], [others.pop(0)]
        while (sizes := _sizes(before, one, after, other))[0] != sizes[1]:
            shorter, rest = (one, ones) if sizes[0] < sizes[1] else (other, others)
            shorter.append(rest.pop(0))
        yield one, other


def _sizes(
    before: tuple[int, ...], one: list[int], after: tuple[int, ...], other: list[int]
) -> tuple[int, int]:
    return math.prod(before[a] for a in one), math.prod(after[a] for a in other)


def join_reshape(view: NodeView) -> None:
    """Join what a Reshape, Flatten, Squeeze or Unsqueeze leaves apart, merges or splits."""
    x, y = view.input(0), view.output
    before, after = view.shape(x), view.shape(y)
    if 0 in before:
        return
    is_open = view.node.op_type == "Reshape" and new_sizes(view) is None
    given = _given_sizes(view) if is_open else []
    for one, other in aligned(before, after):
        if is_open and any(given[axis] is None for axis in other):
            continue
        if len(one) == len(other) == 1:
            view.join_axes(x, one[0], y, other[0])
        elif len(one) == 1:
            _join_merged(view, y, other, x, one[0])
        elif len(other) == 1:
            _join_merged(view, x, one, y, other[0])


def _join_merged(view: NodeView, apart: str, axes: list[int], merged: str, axis: int) -> None:
    """Join one of the axes that a tensor has apart with its runs in an axis of another tensor."""
    carrier = view.carriers.get(view.output, 1 if _is_shuffle(view, axes) else 0) % len(axes)
    sizes = [view.shape(apart)[a] for a in axes]
    places = np.moveaxis(np.arange(math.prod(sizes)).reshape(sizes), carrier, 0)
    runs = view.ids(merged, axis)[places.reshape(sizes[carrier], -1)]
    view.join(view.ids(apart, axes[carrier])[:, None], runs)
    for other in axes[:carrier] + axes[carrier + 1 :]:
        view.pin_axis(apart, other, WHOLE)


def _is_shuffle(view: NodeView, axes: list[int]) -> bool:
    """Whether a Reshape splits channels in two axes that are exchanged and merged again."""
    if len(axes) != 2 or len(view.shape(view.output)) <= len(view.shape(view.input(0))):
        return False
    turn = _only_reader(view, view.output, "Transpose")
    if turn is None or _only_reader(view, turn[0], "Reshape") is None:
        return False
    order = turn[1]
    return [order.index(axes[1]), order.index(axes[0])] == axes


def _only_reader(view: NodeView, name: str, op: str) -> tuple[str, list[int]] | None:
    """Return the output and order of the one node that reads a value, if it is of that kind."""
    readers = view.observed.model.main.readers.get(name, [])
    if len(readers) != 1 or readers[0][1].op_type != op:
        return None
    node = readers[0][1]
    order = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
    return node.output[0], order


def new_sizes(view: NodeView, edit: NodeEdit | None = None) -> list[int] | None:
    """Return sizes that a Reshape may be given as a constant, before or after an edit.

    A size that varies is 0, which copies the input's, or -1; None where that takes more than one.
    A constant shape keeps its own 0 and -1. Of a shape that nothing infers, a size is taken to be
    the same for all data where the first axis of the input, that of samples, has no part in it.
    """
    x, y = view.input(0), view.output
    before, after = view.shape(x), view.shape(y)
    given, inferred = view.known(view.input(1)), view.observed.inferred.get(y)
    if inferred is not None and len(inferred) != len(after):
        inferred = None

    def is_fixed(axis: int) -> bool:
        return inferred is not None and inferred[axis] is not None

    of_samples = {axis for one, other in aligned(before, after) if 0 in one for axis in other}
    sizes = []
    for axis in range(len(after)):
        size = after[axis] if edit is None else edit.size(y, axis)
        is_copied = axis < len(before) and before[: axis + 1] == after[: axis + 1]
        if given is not None:
            sizes.append(size if given[axis] > 0 else int(given[axis]))
        elif is_fixed(axis) or (inferred is None and axis not in of_samples and not is_copied):
            sizes.append(size)
        else:
            sizes.append(0 if is_copied and not view.attributes.get("allowzero", 0) else -1)
    return sizes if sizes.count(-1) <= 1 else None


def _given_sizes(view: NodeView) -> list[int | None]:
    """Return the sizes that a Reshape is given by constants, whatever the data; None for others.

    Its shape may be put together of constants and of sizes that are read.
    """
    known = view.known(view.input(1))
    if known is not None:
        return [int(size) for size in known]
    observed = view.observed
    parts = observed.model.main.producers.get(view.input(1))
    if parts is None or parts.op_type != "Concat":
        return [None] * len(view.shape(view.output))
    sizes: list[int | None] = []
    for name in parts.input:
        part = view.known(name)
        count = view.shape(name)[0]
        sizes += [None] * count if part is None else [int(size) for size in part]
    return sizes


def edit_reshape(edit: NodeEdit) -> None:
    """Give a Reshape the sizes that its output has afterwards."""
    view = edit.view
    if not edit.changes(view.output) and not edit.changes(view.input(0)):
        return
    sizes = new_sizes(view, edit)
    if sizes is not None:
        edit.set_input(1, np.asarray(sizes))
        return
    given = _given_sizes(view)
    new = {axis: edit.size(view.output, axis) for axis, size in enumerate(given) if size}
    changed = {axis: size for axis, size in new.items() if 0 < (given[axis] or 0) != size}
    if changed:
        edit.replace_some(1, changed)
