"""Connects coupled channels with layers: which of a layer's columns a channel is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from onnx_lobs.arrays import IntArray
from onnx_lobs.graph.model import Model, first_output
from onnx_lobs.layers.channels.axes import ReadAxis
from onnx_lobs.layers.channels.coupling import Coupling
from onnx_lobs.layers.layer import Layer

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")
NOT_TAKEN = "its weight is not among those that are pruned"
IN_BRANCH = "its weight is used inside a branch too"


def refit_reasons(
    model: Model, layers: Sequence[Layer], skipped: Mapping[str, str]
) -> dict[str, str]:
    """Return, by the first output of a product with a weight, why it cannot be refitted.

    Empty where it can be. Products of two computed values are not named. `skipped` holds the
    reasons of nodes that are no layers, by their label.
    """
    found: dict[str, str] = {}
    for node in model.main.graph.node:
        if node.op_type in PRODUCTS:
            weights = [n for n in node.input[:2] if (0, n) in model.computed]
            if weights:
                found[node.output[0]] = skipped.get(_label(node), NOT_TAKEN)
    for layer in layers:
        is_inside = any(use.scope or use.home is not None for use in layer.uses)
        for use in layer.uses:
            found[use.output] = IN_BRANCH if is_inside else ""
    return found


def column_channels(
    coupling: Coupling, layer: Layer, read: ReadAxis | None = None
) -> IntArray | None:
    """Return the class of the channel that each column is, (groups, columns); None: not known.

    `read` is what a use of the layer sums over; None: the first one's.
    """
    read = coupling.reads.get(layer.uses[0].output) if read is None else read
    if read is None:
        return None
    layout, classes = layer.layout, coupling.of(read.ids)
    by_group = np.broadcast_to(classes, (layout.groups, classes.shape[1]))
    columns = np.repeat(by_group, layer.kernel_size, axis=1)
    return columns if columns.shape[1] == layout.columns else None


def _label(node: onnx.NodeProto) -> str:
    """Return what skips call a node."""
    return node.name or f"{node.op_type}_{first_output(node)}"
