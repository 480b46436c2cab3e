"""Couples indices across operators that put tensors together, cut them and take parts of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.layers.channels.node_view import NodeEdit, NodeView


def join_concat(view: NodeView) -> None:
    """Join each input's indices with their places in a Concat's output."""
    y = view.output
    rank = len(view.shape(y))
    axis, first = int(view.attributes["axis"]) % rank, 0
    for name in view.node.input:
        _join_others(view, name, y, axis)
        size = view.shape(name)[axis]
        view.join(view.ids(name, axis), view.ids(y, axis)[first : first + size])
        first += size


def join_split(view: NodeView) -> None:
    """Join each output's indices with their places in a Split's input."""
    x, first = view.input(0), 0
    axis = int(view.attributes.get("axis", 0)) % len(view.shape(x))
    for name in view.node.output:
        _join_others(view, x, name, axis)
        size = view.shape(name)[axis]
        view.join(view.ids(name, axis), view.ids(x, axis)[first : first + size])
        first += size


def edit_split(edit: NodeEdit) -> None:
    """Give a Split the sizes of its parts afterwards."""
    view = edit.view
    axis = int(view.attributes.get("axis", 0)) % len(view.shape(view.input(0)))
    if edit.kept_of(view.input(0), axis) is None:
        return
    sizes = [edit.size(name, axis) for name in view.node.output]
    if view.opset >= 13:
        edit.set_input(1, np.asarray(sizes))
        edit.set_attribute("num_outputs", None)
    else:
        edit.set_attribute("split", sizes)


def _join_others(view: NodeView, one: str, other: str, axis: int) -> None:
    for each in range(len(view.shape(one))):
        if each != axis:
            view.join_axes(one, each, other, each)


def join_slice(view: NodeView) -> None:
    """Join the indices that a Slice takes with their places; with unknown bounds none."""
    cuts = _cuts(view)
    if cuts is None:
        return
    x, y = view.input(0), view.output
    for axis, size in enumerate(view.shape(x)):
        if axis not in cuts:
            view.join_axes(x, axis, y, axis)
            continue
        places = np.arange(size)[cuts[axis]]
        view.join(view.ids(x, axis)[places], view.ids(y, axis))
        if cuts[axis].step not in (None, 1):
            view.pin_axis(x, axis, "takes every so-manieth of it")


def edit_slice(edit: NodeEdit) -> None:
    """Give a Slice the bounds of what it takes afterwards."""
    cuts, view = _cuts(edit.view), edit.view
    if cuts is None or not edit.changes(view.input(0)):
        return
    bounds = list(_moved(edit, cuts))
    starts, ends = [[pair[end] for pair in bounds] for end in (0, 1)]
    if view.opset < 10:
        edit.set_attribute("starts", starts)
        edit.set_attribute("ends", ends)
        edit.set_attribute("axes", list(cuts))
        return
    steps = [cut.step or 1 for cut in cuts.values()]
    for position, values in enumerate((starts, ends, list(cuts), steps), start=1):
        edit.set_input(position, np.asarray(values))


def _moved(edit: NodeEdit, cuts: dict[int, slice]) -> Iterator[tuple[int, int]]:
    """Yield first and end of each cut afterwards."""
    x = edit.view.input(0)
    for axis, cut in cuts.items():
        kept, size = edit.kept_of(x, axis), edit.view.shape(x)[axis]
        if kept is None:
            yield cut.start, cut.stop
        else:
            first, end, _ = cut.indices(size)
            yield int((kept < first).sum()), int((kept < end).sum())


def _cuts(view: NodeView) -> dict[int, slice] | None:
    """Return what a Slice takes of each axis that it cuts; None if that is not known."""
    if view.opset < 10:
        parts = [view.attributes.get(name) for name in ("starts", "ends", "axes")]
    else:
        parts = [view.known(view.input(position)) for position in (1, 2, 3)]
        if view.input(3) and parts[2] is None:
            return None
    starts, ends, axes = parts
    steps = view.known(view.input(4)) if view.opset >= 10 else None
    if starts is None or ends is None or (view.opset >= 10 and view.input(4) and steps is None):
        return None
    rank = len(view.shape(view.input(0)))
    each = range(len(starts)) if axes is None else axes
    by = [1] * len(starts) if steps is None else steps
    bounds = zip(each, starts, ends, by, strict=True)
    return {int(a) % rank: _slice(int(s), int(e), int(step)) for a, s, e, step in bounds}


def _slice(start: int, end: int, step: int) -> slice:
    """Return ONNX's bounds as Python's, where a backward cut to the front has no end."""
    return slice(start, None if step < 0 and end < -(1 << 30) else end, step)


def join_gather(view: NodeView) -> None:
    """Join the indices that a Gather takes, where they are constant, with their places."""
    x, y = view.input(0), view.output
    axis = int(view.attributes.get("axis", 0)) % len(view.shape(x))
    wanted = len(view.shape(view.input(1)))
    for each in range(len(view.shape(x))):
        if each != axis:
            view.join_axes(x, each, y, each if each < axis else each + wanted - 1)
    chosen = _chosen(view, axis)
    if chosen is not None and chosen.ndim == 1:
        view.join(view.ids(x, axis)[chosen], view.ids(y, axis))
    else:
        view.pin_axis(x, axis, "takes single places of it")
    view.pin_rest("takes what they say")


def edit_gather(edit: NodeEdit) -> None:
    """Number the indices that a Gather takes as they stand afterwards."""
    view = edit.view
    axis = int(view.attributes.get("axis", 0)) % len(view.shape(view.input(0)))
    kept, chosen = edit.kept_of(view.input(0), axis), _chosen(view, axis)
    if kept is None or chosen is None:
        return
    left = chosen[np.isin(chosen, kept)]
    edit.set_input(1, np.searchsorted(kept, left))


def _chosen(view: NodeView, axis: int) -> IntArray | None:
    found = view.known(view.input(1))
    return None if found is None else np.asarray(found, np.int64) % view.shape(view.input(0))[axis]


def join_shape(view: NodeView) -> None:
    """Pin the axes of a Shape's input whose sizes somebody reads."""
    read = sizes_read(view)
    for axis in range(len(view.shape(view.input(0)))):
        if axis in read:
            view.pin_axis(view.input(0), axis, "reads its size")
        else:
            view.ids(view.input(0), axis)


def sizes_read(view: NodeView) -> set[int]:
    """Return the axes of a Shape's input whose sizes somebody reads."""
    rank = len(view.shape(view.input(0)))
    first = range(rank)[slice(view.attributes.get("start", 0), view.attributes.get("end"))]
    if view.output in view.observed.model.main.outputs:
        return set(first)
    read: set[int] = set()
    for _, reader in view.observed.model.main.readers.get(view.output, []):
        part = NodeView(reader, view.observed, view.labels)
        read |= {first[place] for place in _places_read(part, len(first))}
    return read


def _places_read(reader: NodeView, count: int) -> set[int]:
    """Return which of so many sizes a reader takes: those of a constant Gather or Slice, or all.

    Behind a Cast, those that its readers take.
    """
    observed = reader.observed
    if reader.node.op_type == "Cast" and reader.output not in observed.model.main.outputs:
        nodes = [node for _, node in observed.model.main.readers.get(reader.output, [])]
        views = [NodeView(node, observed, reader.labels) for node in nodes]
        return set().union(*(_places_read(view, count) for view in views))
    if reader.node.op_type == "Gather":
        chosen = reader.known(reader.input(1))
        return set(range(count)) if chosen is None else {int(i) % count for i in np.ravel(chosen)}
    if reader.node.op_type == "Slice":
        cuts = _cuts(reader)
        return set(range(count)[cuts[0]]) if cuts and 0 in cuts else set(range(count))
    return set(range(count))


def join_expand(view: NodeView) -> None:
    """Join the axes that an Expand leaves, where its shape is constant and 1 there."""
    sizes, x, y = view.known(view.input(1)), view.input(0), view.output
    if sizes is None:
        return
    shape = view.shape(x)
    for axis in range(-len(shape), 0):
        if -axis > len(sizes) or sizes[axis] == 1:
            view.join_axes(x, axis, y, axis)


def join_filled(view: NodeView) -> None:
    """Let go what a ConstantOfShape of constant sizes fills: all its numbers are one."""
    if view.known(view.input(0)) is not None:
        for axis in range(len(view.shape(view.output))):
            view.ids(view.output, axis)


def edit_filled(edit: NodeEdit) -> None:
    """Give a ConstantOfShape the sizes that are left."""
    if edit.changes(edit.view.output):
        rank = len(edit.view.shape(edit.view.output))
        edit.set_input(0, np.asarray([edit.size(edit.view.output, axis) for axis in range(rank)]))


def join_tile(view: NodeView) -> None:
    """Join the axes that a Tile repeats once."""
    repeats = view.known(view.input(1))
    if repeats is not None:
        for axis, times in enumerate(repeats):
            if times == 1:
                view.join_axes(view.input(0), axis, view.output, axis)
