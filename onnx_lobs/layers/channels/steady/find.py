"""Finds, node by node, which values of a model are the same for any data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from onnx_lobs.graph.model import DEFAULT_DOMAINS, subgraphs
from onnx_lobs.layers.channels.axes import AxisLabels
from onnx_lobs.layers.channels.node_view import NodeView
from onnx_lobs.layers.channels.observed import Observed
from onnx_lobs.layers.channels.steady.products import column_values, output_values, row_values
from onnx_lobs.layers.channels.steady.rules import STEADY_RULES, Known, SteadyNode
from onnx_lobs.layers.channels.steady.value import SteadyValue, steady, whole
from onnx_lobs.layers.layer import Layer, Use

MOST_NUMBERS = 1 << 22  # of a constant that a rule is given: biases and tables, no weights


def steady_values(observed: Observed, layers: Sequence[Layer]) -> Mapping[str, SteadyValue]:
    """Return what is the same for any data, by the name of the value, where anything is.

    Parameters
    ----------
    observed
        The shapes of the model.
    layers
        Its products with weights; what is none of them depends on the data.

    Notes
    -----
    Cost: one run of every node behind a filter that gives the same for any data, on one or two
    samples at the most.
    """
    found: dict[str, SteadyValue] = {}
    uses = {use.output: (layer, use) for layer in layers for use in main_uses(layer)}
    labels = AxisLabels(observed.shapes)  # nothing is said to it
    for node in observed.model.main.graph.node:
        names = [*filter(None, (*node.input, *node.output))]
        is_plain = node.domain in DEFAULT_DOMAINS and not any(True for _ in subgraphs(node))
        if not is_plain or any(name not in observed.shapes for name in names):
            continue
        view = NodeView(node, observed, labels)
        if node.output[0] in uses:
            results: Sequence[Known] = [_product(view, *uses[node.output[0]], found)]
        elif node.op_type in STEADY_RULES and _is_asked(observed, node, found):
            given = [_given(observed, name, found) for name in node.input]
            results = STEADY_RULES[node.op_type](SteadyNode(view, given))
        else:
            continue
        for name, value in zip(node.output, results, strict=False):
            if name and value is not None:
                found[name] = value
    return found


def _is_asked(observed: Observed, node: onnx.NodeProto, found: Mapping[str, SteadyValue]) -> bool:
    """Whether a node's rule may know something: a BatchNormalization may scale by zero."""
    is_computed = (0, node.output[0]) in observed.model.computed
    is_first = node.op_type == "BatchNormalization"
    return is_first or is_computed or any(name in found for name in node.input)


def main_uses(layer: Layer) -> list[Use]:
    """Return the uses of a layer in the main graph, where channels are looked for."""
    is_inside = layer.scope != 0
    return [] if is_inside else [u for u in layer.uses if u.scope == 0 and u.home is None]


def _given(observed: Observed, name: str, found: Mapping[str, SteadyValue]) -> Known:
    """Return what is known of an input."""
    if name in found or not name:
        return found.get(name)
    if int(np.prod(observed.shapes[name])) > MOST_NUMBERS:
        return None
    values = observed.known(name)
    return None if values is None else whole(values)


def _product(view: NodeView, layer: Layer, use: Use, found: Mapping[str, SteadyValue]) -> Known:
    """Return what is known of a product's output: of filters of zeros, their biases."""
    observed = view.observed
    tensor = observed.model.constant(observed.model.main, layer.weight)
    assert tensor is not None
    stored = observed.model.value(tensor)
    columns = column_values(layer, use, found.get(use.input), view.shape(use.input))
    rows = row_values(layer.matrix(stored), columns)
    is_right = view.input(0) == use.input
    rank = len(view.shape(view.output))
    outputs = output_values(use, rows, rank, is_right=is_right)
    if outputs is None:
        return None
    if view.input(2):  # the bias of a Conv or Gemm
        bias = view.known(view.input(2))
        if bias is None:
            return None
        if use.unfold is not None:
            bias = bias.reshape([-1 if axis == 1 else 1 for axis in range(rank)])
        outputs = outputs + float(view.attributes.get("beta", 1.0)) * bias
    return steady(np.nan_to_num(outputs).astype(stored.dtype), ~np.isnan(outputs))
