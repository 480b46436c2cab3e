"""Finds channels that can go without any loss, and moves what they give into biases.

Such a channel has zeros in the weights of all that read it, or is the same number for any data, as
the output of a filter of zeros is. A layer that reads that number gives a constant, which its bias
takes, unless zeros at the border of a picture stand in some places of the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.axes import ReadAxis
from onnx_lobs.layers.channels.columns import column_channels
from onnx_lobs.layers.channels.coupling import Coupling
from onnx_lobs.layers.channels.steady.find import main_uses, steady_values
from onnx_lobs.layers.channels.steady.products import column_values
from onnx_lobs.layers.channels.steady.value import SteadyValue
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.layers.write import write_bias


@dataclass(frozen=True, eq=False)
class ReadConstant:
    """What one use of a layer reads of channels that may go.

    Parameters
    ----------
    layer, use
        The layer, and one of its uses.
    channels
        (groups, columns) the class that a column belongs to.
    weight
        (groups, rows, columns).
    values
        (groups, columns) what is read there; NaN where that depends on the data.
    """

    layer: Layer
    use: Use
    channels: IntArray
    weight: FloatArray
    values: FloatArray

    @property
    def is_live(self) -> BoolArray:
        """(groups, columns) whether some weight there is not zero."""
        return np.asarray((self.weight != 0).any(axis=1))

    def blocked(self) -> IntArray:
        """Return the classes that this use needs: it reads data, or has no bias to change."""
        needs = np.isnan(self.values)
        if self.use.bias is None:
            needs |= self.values != 0
        return np.unique(self.channels[self.is_live & needs])

    def constant(self, gone: IntArray) -> FloatArray:
        """Return (groups, rows) what it gives of some classes that it does not need."""
        taken = np.isin(self.channels, gone) & self.is_live
        values = np.where(taken, self.values, 0.0)
        return np.asarray(np.einsum("grc,gc->gr", self.weight, values))


@dataclass(frozen=True, eq=False)
class EmptyChannels:
    """Channels of a model that can go without loss, and what reads a constant from them."""

    gone: IntArray
    reads: tuple[ReadConstant, ...]


def find_empty(coupling: Coupling, layers: Sequence[Layer]) -> EmptyChannels:
    """Return the channels that can go without loss; of each group one stays in any case.

    Parameters
    ----------
    coupling
        What goes together, with no regard to what can be refitted.
    layers
        All products with weights that can be written.

    Notes
    -----
    Cost: that of :func:`~onnx_lobs.layers.channels.steady.find.steady_values`, and a pass over all
    weights.
    """
    found = steady_values(coupling.observed, layers)
    by_output = {use.output: (layer, use) for layer in layers for use in main_uses(layer)}
    blocked, reads = [np.zeros(0, np.int64)], []
    for read in coupling.reads.values():
        if read.output in by_output:
            layer, use = by_output[read.output]
            one = _read(coupling, read, layer, use, found.get(use.input))
            if one is not None:
                reads.append(one)
                blocked.append(one.blocked())
                continue
        blocked.append(coupling.of(read.ids).ravel())
    needed = np.concatenate(blocked)
    gone = []
    for group in coupling.groups:
        empty = np.setdiff1d(np.asarray(group.channels, np.int64), needed)
        gone.append(empty[1:] if empty.size == len(group.channels) else empty)
    classes = np.concatenate([np.zeros(0, np.int64), *gone])
    return EmptyChannels(classes, tuple(reads))


def _read(
    coupling: Coupling, read: ReadAxis, layer: Layer, use: Use, x: SteadyValue | None
) -> ReadConstant | None:
    """Return what a use reads; None where it is not known which column is which channel."""
    channels = column_channels(coupling, layer, read)
    if channels is None:
        return None
    observed = coupling.observed
    tensor = observed.model.constant(observed.model.main, layer.weight)
    assert tensor is not None
    weight = layer.matrix(observed.model.value(tensor))
    values = column_values(layer, use, x, observed.shapes[use.input])
    return ReadConstant(layer, use, channels, weight, values)


def fold_constants(model: Model, empty: EmptyChannels) -> None:
    """Put what layers read of channels that go into their biases, in place.

    The model's index is stale afterwards where a layer had no bias.

    Raises
    ------
    SolverError
        When a value does not fit the stored type.
    """
    for read in empty.reads:
        change = read.constant(empty.gone)
        if change.any():
            write_bias(model, read.use, read.layer, change)
