"""Couples heads, and what values are made of, in the Attention operator."""

from __future__ import annotations

from onnx_lobs.layers.channels.node_view import NodeEdit, NodeView


def join_attention(view: NodeView) -> None:
    """Join heads of queries, keys, values and outputs, and the axis of values with the output's.

    Only of tensors of four axes, (samples, heads, length, depth), with as many heads in each, and
    without a cache. What queries and keys have in common stays: they are multiplied.
    """
    q, k, v, y = (*(view.input(place) for place in range(3)), view.output)
    if any(len(view.shape(name)) != 4 for name in (q, k, v)):
        return
    heads = {view.shape(name)[1] for name in (q, k, v)}
    if len(heads) > 1 or any(view.input(place) for place in (4, 5)):
        return
    mask = view.input(3)
    if mask and len(view.shape(mask)) == 4 and view.shape(mask)[1] > 1:
        view.join_axes(mask, 1, y, 1)
    for name in (q, k, v):
        for axis in (0, 1):
            view.join_axes(name, axis, y, axis)
    view.join_axes(v, 3, y, 3)
    view.join_axes(q, 2, y, 2)


def edit_attention(edit: NodeEdit) -> None:
    """Keep the scale, which by default follows the dimensions of queries."""
    view = edit.view
    if edit.kept_of(view.input(0), -1) is not None and "scale" not in view.attributes:
        edit.set_attribute("scale", view.shape(view.input(0))[-1] ** -0.5)
