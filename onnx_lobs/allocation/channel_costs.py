"""Computes what a network costs without some of its channels: products over the axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class ChannelCosts:
    """Costs that follow the sizes of several axes each: in proportion, as multiplications, or not.

    Parameters
    ----------
    base
        (parts,) what each part costs before.
    part
        (factors,) the part that a factor belongs to; ascending.
    sizes
        (factors,) the size of its axis before.
    taken
        (factors, groups) by how much a channel of a group makes the axis smaller.
    curves
        (factors, points) what is left of a part when shares 0 .. 1, evenly spaced, are left of the
        axis alone; ascending. None: those shares themselves.
    """

    base: FloatArray
    part: IntArray
    sizes: FloatArray
    taken: FloatArray
    curves: FloatArray | None = None

    def left(self, counts: IntArray) -> float:
        """Return what is left of the costs when so many channels of each group are gone."""
        return float(self.each_left(counts[None])[0])

    def each_left(self, counts: IntArray) -> FloatArray:
        """Return (choices,) what is left for each of several `counts` (choices, groups)."""
        by_part = np.ones((self.base.size, len(counts)))
        np.multiply.at(by_part, self.part, self._relative(counts))
        return np.asarray(self.base @ by_part)

    def _relative(self, counts: IntArray) -> FloatArray:
        """Return (factors, choices) what each factor leaves of its part."""
        share = np.maximum(1 - (self.taken @ counts.T) / self.sizes[:, None], 0.0)
        if self.curves is None:
            return np.asarray(share)
        steps = self.curves.shape[1] - 1
        low = np.minimum((share * steps).astype(np.int64), steps - 1)
        more, rows = share * steps - low, np.arange(len(share))[:, None]
        return np.asarray((1 - more) * self.curves[rows, low] + more * self.curves[rows, low + 1])

    @property
    def total(self) -> float:
        """What all parts cost that some group has a share in."""
        has_share = np.zeros(self.base.size, bool)
        has_share[self.part[self.taken.any(axis=1)]] = True
        return float(self.base[has_share].sum())

    @property
    def fixed(self) -> float:
        """What the other parts cost."""
        return float(self.base.sum()) - self.total
