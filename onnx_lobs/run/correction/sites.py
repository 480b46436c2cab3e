"""Finds where statistics can be corrected: surviving normalisations, and layers with a bias."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, Scope, attributes, outer_names
from onnx_lobs.layers.bias_slot import BiasSlot
from onnx_lobs.layers.layer import Layer, Use

LAST_WITHOUT_FLAG = 13  # from the next operator set on, training is an attribute


@dataclass(frozen=True)
class Site:
    """A value of the main graph whose mean and variance per channel can be corrected.

    Parameters
    ----------
    label
        The node, for messages.
    stop
        Index of the top-level node before which the value is read.
    value
        Its name.
    axis
        The axis of the channels.
    channels
        Their number.
    """

    label: str
    stop: int
    value: str
    axis: int
    channels: int

    def observations(self, x: Array) -> Array:
        """Return a value as observations (channels, n)."""
        moved = np.moveaxis(x, self.axis if x.ndim > 1 else 0, 0)
        return moved.reshape(self.channels, -1)

    def along(self, numbers: Array, ndim: int) -> Array:
        """Return one number per channel in the shape in which a value of `ndim` axes takes it."""
        shape = [1] * ndim
        shape[self.axis] = self.channels
        return numbers.reshape(shape)


@dataclass(frozen=True)
class NormSite(Site):
    """A BatchNormalization, whose input is looked at: `mean` and `variance` name its tensors."""

    mean: str
    variance: str
    epsilon: float


@dataclass(frozen=True)
class LayerSite(Site):
    """A pruned layer's output with its bias. Without `has_gain` only its mean is corrected."""

    layer: Layer
    use: Use
    slot: BiasSlot
    has_gain: bool


def find_sites(model: Model, layers: Sequence[Layer]) -> tuple[tuple[Site, ...], list[str]]:
    """Return the sites behind pruned layers, in the order in which the graph runs.

    Parameters
    ----------
    model
        The pruned network's execution copy, in which every bias slot has a constant.
    layers
        The layers whose weights changed.

    Returns
    -------
    sites, notes
        And, for each normalisation behind a pruned layer that cannot be corrected, why not. A
        layer that only a corrected normalisation reads is no site: its moments are corrected
        there.
    """
    affected = _affected(model, layers)
    norms: list[NormSite] = []
    notes: list[str] = []
    for scope in model.scopes:
        for index, node in enumerate(scope.graph.node):
            if node.op_type != "BatchNormalization" or node.domain not in DEFAULT_DOMAINS:
                continue
            if not _is_behind(scope, node, affected):
                continue
            found = _norm(model, scope, node, index)
            if isinstance(found, NormSite):
                norms.append(found)
            elif found:
                label = node.name or node.output[0]
                notes.append(f"the statistics of {label!r} were left as they are: {found}")
    own = list(_layer_sites(model, layers, {norm.value for norm in norms}))
    # a layer comes before the normalisation that reads the same value
    return tuple(sorted([*own, *norms], key=lambda site: site.stop)), notes


def _affected(model: Model, layers: Sequence[Layer]) -> set[str]:
    """Return every value of the main graph that a changed weight can reach."""
    names = {layer.weight for layer in layers if layer.scope == 0}
    outputs = {model.main.graph.node[u.top].output[0] for layer in layers for u in layer.uses}
    for node in model.main.graph.node:
        if outer_names(node) & names or outputs & set(node.output):
            names.update(name for name in node.output if name)
    return names


def _is_behind(scope: Scope, node: onnx.NodeProto, affected: Collection[str]) -> bool:
    """Whether pruning can change what a node reads; in a subgraph, what its owner gives."""
    if scope.parent is None:
        return node.input[0] in affected
    while scope.parent is not None and scope.owner is not None:
        node, scope = scope.owner, scope.parent
    return any(name in affected for name in node.output)


def _norm(model: Model, scope: Scope, node: onnx.NodeProto, index: int) -> NormSite | str:
    """Return the site of a BatchNormalization, or why it is none."""
    values = attributes(node)
    trains = any(node.output[1:]) and model.opset <= LAST_WITHOUT_FLAG
    if trains or values.get("training_mode", 0):
        return "it runs in training mode and computes them anew"
    if scope.parent is not None:
        return "it is inside a subgraph"
    if not values.get("spatial", 1):
        return "it has statistics for every position (spatial=0)"
    sizes = []
    for name in node.input[3:5]:
        tensor = model.constant(scope, name)
        if tensor is None:
            return f"{name!r} is not a constant"
        if len(scope.readers[name]) > 1 or scope.is_output(name):
            return f"{name!r} is used elsewhere too"
        sizes.append(tuple(tensor.dims))
    return NormSite(
        node.name or node.output[0], index, node.input[0], 1, int(np.prod(sizes[0])),
        node.input[3], node.input[4], cast(float, values.get("epsilon", 1e-5)),
    )  # fmt: skip


def _layer_sites(
    model: Model, layers: Sequence[Layer], covered: Collection[str]
) -> Iterator[LayerSite]:
    """Yield the layers' outputs that no corrected normalisation alone reads."""
    index = {name: i for i, node in enumerate(model.main.graph.node) for name in node.output}
    for layer in layers:
        for use in layer.uses:
            slot = use.bias
            if use.scope or use.home is not None or layer.scope or slot is None or slot.scope:
                continue
            node = model.main.graph.node[index[slot.node]]
            axis, channels = _axis(use, slot.shape)
            value = node.output[0]
            alone = len(model.main.readers.get(value, ())) == 1 and not model.main.is_output(value)
            if channels != layer.layout.groups * layer.layout.rows or (alone and value in covered):
                continue
            tensor = model.constant(model.main, slot.name)
            assert tensor is not None
            has_gain = len(layer.uses) == 1 and int(np.prod(tensor.dims)) == channels
            yield LayerSite(
                layer.name, index[value] + 1, value, axis, channels, layer, use, slot, has_gain
            )


def _axis(use: Use, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the axis of the outputs' channels and their number, 0 where there are several."""
    if use.unfold is not None:
        return 1, int(np.prod(shape))
    wide = [i - len(shape) for i, size in enumerate(shape) if size > 1]
    return (wide[0], shape[wide[0]]) if len(wide) == 1 else (-1, 0)
