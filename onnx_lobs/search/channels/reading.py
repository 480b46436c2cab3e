"""Holds a layer that reads channels, as it is on the dense network's inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray
from onnx_lobs.layers.channels.coupling import CoupledGroup
from onnx_lobs.layers.layer import Layer
from onnx_lobs.solvers.channels.reader import ChannelReader, without_columns


@dataclass(frozen=True, eq=False)
class ReadingLayer:
    """A layer that reads channels, as it is on the dense network.

    Parameters
    ----------
    layer
        The layer.
    channels
        (groups, columns) the class that a column belongs to.
    weight, inverse
        Its matrices (groups, rows, columns), and the inverses of their damped Hessians.
    energy
        Half the mean square of its outputs, about their mean where a bias absorbs that.
    mean
        Mean input (groups, columns).
    held
        Sum of x xᵀ (groups, columns, columns) over what was held out, about `mean`; None: nothing.
    held_energy
        Sum of squares of its outputs over that.
    """

    layer: Layer
    channels: IntArray
    weight: FloatArray
    inverse: FloatArray
    energy: float
    mean: FloatArray
    held: FloatArray | None = None
    held_energy: float = 0.0

    def readers(self, group: CoupledGroup) -> list[ChannelReader]:
        """Return what the choice of a group's channels sees of it: nothing if it reads none."""
        ordered = np.asarray(group.channels, np.int64)
        place = np.searchsorted(ordered, self.channels)
        is_own = ordered[np.minimum(place, ordered.size - 1)] == self.channels
        if not is_own.any():
            return []
        return [
            ChannelReader(weight, inverse, self.energy, np.where(own, at, -1))
            for weight, inverse, own, at in zip(
                self.weight, self.inverse, is_own, place, strict=True
            )
        ]

    def without(self, gone: BoolArray) -> FloatArray:
        """Return its matrices without some columns (groups, columns), all others refitted."""
        parts = zip(self.weight, self.inverse, gone, strict=True)
        return np.stack([without_columns(w, g, np.flatnonzero(at)) for w, g, at in parts])

    def held_loss(self, gone: BoolArray) -> float:
        """Return the relative error of that on what was held out; 0 where that says nothing."""
        assert self.held is not None
        if self.held_energy <= 0:
            return 0.0
        change = self.without(gone) - self.weight
        return float(np.vdot(change @ self.held, change)) / self.held_energy

    def gone(self, classes: IntArray) -> BoolArray:
        """Return which columns (groups, columns) belong to some classes."""
        return np.isin(self.channels, classes)
