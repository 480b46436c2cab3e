"""Couples channels with the scales and zero points that they are quantised by."""

from __future__ import annotations

from onnx_lobs.layers.channels.node_view import NodeView


def join_quantised(view: NodeView) -> None:
    """Join all axes, and scales and zero points of single channels with theirs.

    Scales of blocks have as many axes as the tensor; the axis that is cut in blocks stays.
    """
    x, y = view.input(0), view.output
    shape = view.shape(x)
    axis = int(view.attributes.get("axis", 1))
    for name in filter(None, view.node.input[1:]):
        sizes = view.shape(name)
        if len(sizes) == 1 < len(shape) and sizes[0] == shape[axis % len(shape)]:
            view.join_axes(name, 0, x, axis)
        elif len(sizes) == len(shape) > 1:
            for each in range(len(shape)):
                if sizes[each] == shape[each]:
                    view.join_axes(name, each, x, each)
                elif sizes[each] > 1:
                    view.pin_axis(x, each, "quantises it in blocks")
        elif len(sizes) == len(shape) == 1 and sizes == shape:
            view.join_axes(name, 0, x, 0)
    for each in range(len(shape)):
        view.join_axes(x, each, y, each)
