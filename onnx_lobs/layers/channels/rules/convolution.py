"""Couples channels in convolutions and in what works on images channel by channel."""

from __future__ import annotations

import math

import numpy as np

from onnx_lobs.layers.channels.node_view import NodeEdit, NodeView

SPACE = "moves along it"


def join_conv(view: NodeView) -> None:
    """Join the channels of a Conv with its weight (outputs, inputs / groups, ...) and bias.

    A depthwise one ties its outputs to its inputs. In other groups, the same channels of every one
    go, so that they stay equal.
    """
    x, weight, y = view.input(0), view.input(1), view.output
    groups = int(view.attributes.get("group", 1))
    channels, outputs = view.ids(x, 1), view.ids(y, 1)
    multiplications = math.prod(view.shape(y)) * math.prod(view.shape(weight)[1:])
    view.join(view.ids(weight, 0), outputs)
    _join_bias(view)
    _join_samples(view)
    if view.shape(weight)[1] == 1 and groups > 1:
        view.join(channels[:, None], outputs.reshape(groups, -1))
        view.ids(weight, 1)
        view.count(multiplications, outputs)
        return
    by_group = channels.reshape(groups, -1)
    view.join(by_group, view.ids(weight, 1))
    view.join(outputs.reshape(groups, -1), outputs[: outputs.size // groups])
    view.read(by_group)
    view.count(multiplications, outputs, channels)


def join_transposed(view: NodeView) -> None:
    """Join the channels of a ConvTranspose, whose weight is (inputs, outputs / groups, ...)."""
    x, weight, y = view.input(0), view.input(1), view.output
    groups = int(view.attributes.get("group", 1))
    channels, outputs = view.ids(x, 1), view.ids(y, 1)
    by_group, of_groups = channels.reshape(groups, -1), outputs.reshape(groups, -1)
    multiplications = math.prod(view.shape(x)) * math.prod(view.shape(weight)[1:])
    view.join(view.ids(weight, 0), channels)
    _join_bias(view)
    _join_samples(view)
    if groups > 1 and groups == channels.size:
        view.join(channels[:, None], of_groups)
        view.ids(weight, 1)
        if of_groups.shape[1] > 1:
            view.pin_axis(weight, 1, "has several outputs for each input")
        view.count(multiplications, channels)
        return
    view.join(by_group, by_group[0])
    view.join(of_groups, view.ids(weight, 1))
    view.read(by_group)
    view.count(multiplications, outputs, channels)


def _join_bias(view: NodeView) -> None:
    if view.input(2):
        view.join_axes(view.input(2), 0, view.output, 1)


def _join_samples(view: NodeView) -> None:
    if view.shape(view.input(0))[0] == view.shape(view.output)[0]:
        view.join_axes(view.input(0), 0, view.output, 0)


def edit_conv(edit: NodeEdit) -> None:
    """Put the new number of groups into a convolution whose groups are channels."""
    x, weight = edit.view.input(0), edit.view.input(1)
    groups = int(edit.view.attributes.get("group", 1))
    if groups > 1 and groups == edit.view.shape(x)[1] and edit.changes(weight):
        edit.set_attribute("group", edit.size(x, 1))


def join_images(view: NodeView) -> None:
    """Join samples and channels of what treats every channel alike; the others are pinned."""
    for output in filter(None, view.node.output):
        for axis in (0, 1):
            if view.shape(view.input(0))[axis] == view.shape(output)[axis]:
                view.join_axes(view.input(0), axis, output, axis)


def edit_resize(edit: NodeEdit) -> None:
    """Put the new number of channels among the sizes of a Resize."""
    view, position = edit.view, 3
    sizes = view.known(view.input(position))
    if (
        sizes is not None
        and edit.changes(view.output)
        and sizes.size == len(view.shape(view.output))
    ):
        edit.set_input(position, np.asarray(_sizes(edit)))


def _sizes(edit: NodeEdit) -> list[int]:
    rank = len(edit.view.shape(edit.view.output))
    return [edit.size(edit.view.output, axis) for axis in range(rank)]


def join_pad(view: NodeView) -> None:
    """Join the axes of a Pad that get nothing."""
    pads = view.attributes.get("pads", view.known(view.input(1)))
    if pads is None or view.input(3):
        return
    rank = len(view.shape(view.input(0)))
    for axis in range(rank):
        if pads[axis] == 0 and pads[rank + axis] == 0:
            view.join_axes(view.input(0), axis, view.output, axis)


def join_depth_to_space(view: NodeView) -> None:
    """Join the channels that become one pixel: block² of each output channel."""
    x, y = view.input(0), view.output
    block = int(view.attributes["blocksize"])
    channels, outputs = view.ids(x, 1), view.ids(y, 1)
    if view.attributes.get("mode", "DCR") == "CRD":
        view.join(channels.reshape(outputs.size, -1), outputs[:, None])
    else:
        view.join(channels.reshape(block * block, -1), outputs)
    _join_samples(view)


def join_space_to_depth(view: NodeView) -> None:
    """Join the channels that one channel's pixels become."""
    channels, outputs = view.ids(view.input(0), 1), view.ids(view.output, 1)
    view.join(outputs.reshape(-1, channels.size), channels)
    _join_samples(view)
