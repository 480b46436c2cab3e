"""Couples channels in normalisations, and pins what statistics and reductions run over."""

from __future__ import annotations

from onnx_lobs.layers.channels.node_view import NodeEdit, NodeView
from onnx_lobs.layers.channels.rules.elementwise import join_broadcast

OVER = "computes statistics over it"


def join_batch_norm(view: NodeView) -> None:
    """Join the parameters of a BatchNormalization with its channels; all other axes are alike."""
    join_broadcast(view, view.input(0), view.output)
    for name in view.node.input[1:]:
        view.join_axes(name, 0, view.output, 1)


def join_instance_norm(view: NodeView) -> None:
    """Join the parameters of an InstanceNormalization with its channels.

    Each has statistics of its own, so that none depends on another.
    """
    for axis in (0, 1):
        view.join_axes(view.input(0), axis, view.output, axis)
    for name in view.node.input[1:]:
        view.join_axes(name, 0, view.output, 1)


def join_group_norm(view: NodeView) -> None:
    """Join the channels of every group of a GroupNormalization: groups go as wholes."""
    x, y, groups = view.input(0), view.output, int(view.attributes["num_groups"])
    view.join_axes(x, 0, y, 0)
    view.join_axes(x, 1, y, 1)
    by_group = view.ids(y, 1).reshape(groups, -1)
    view.join(by_group, by_group[:, :1])
    for name in view.node.input[1:]:
        ids = view.ids(name, 0)
        per_group = ids.size == groups and by_group.shape[1] > 1
        view.join(ids, by_group[:, 0] if per_group else by_group.ravel())


def edit_group_norm(edit: NodeEdit) -> None:
    """Put the new number of groups into a GroupNormalization."""
    view, groups = edit.view, int(edit.view.attributes["num_groups"])
    channels = view.shape(view.output)[1]
    edit.set_attribute("num_groups", edit.size(view.output, 1) * groups // channels)


def join_layer_norm(view: NodeView) -> None:
    """Join the axes in front of those that a LayerNormalization takes its statistics over."""
    rank = len(view.shape(view.input(0)))
    first = int(view.attributes.get("axis", -1)) % rank
    for axis in range(first):
        view.join_axes(view.input(0), axis, view.output, axis)
    view.pin_rest(OVER)


def join_softmax(view: NodeView) -> None:
    """Join all axes but those that a Softmax sums over: all from its axis on before opset 13."""
    rank = len(view.shape(view.input(0)))
    axis = int(view.attributes.get("axis", -1 if view.opset >= 13 else 1)) % rank
    for other in range(rank):
        if other != axis and (view.opset >= 13 or other < axis):
            view.join_axes(view.input(0), other, view.output, other)
    view.pin_rest("sums over it")


def join_reduction(view: NodeView) -> None:
    """Join the axes that a reduction leaves, as they stand in its output."""
    x, y = view.input(0), view.output
    rank, axes = len(view.shape(x)), view.attributes.get("axes")
    if axes is None and view.input(1):
        axes = view.known(view.input(1))
        if axes is None:
            return
    is_none = axes is None or len(axes) == 0
    if is_none and view.attributes.get("noop_with_empty_axes", 0):
        join_broadcast(view, x, y)
        return
    reduced = {int(axis) % rank for axis in ([] if axes is None else axes)} or set(range(rank))
    left = [axis for axis in range(rank) if axis not in reduced]
    keeps = int(view.attributes.get("keepdims", 1))
    for place, axis in enumerate(left):
        view.join_axes(x, axis, y, axis if keeps else place)
    view.pin_rest("reduces it")
