"""Computes what a network costs without some of its channels: products of the sizes of axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class ChannelCosts:
    """Costs that are proportional to the sizes of several axes each, as multiplications are.

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
    """

    base: FloatArray
    part: IntArray
    sizes: FloatArray
    taken: FloatArray

    def left(self, counts: IntArray) -> float:
        """Return what is left of the costs when so many channels of each group are gone."""
        share = np.maximum(1 - (self.taken @ counts) / self.sizes, 0.0)
        by_part = np.ones(self.base.size)
        np.multiply.at(by_part, self.part, share)
        return float(self.base @ by_part)

    def slopes(self, counts: IntArray) -> FloatArray:
        """Return (groups,) what one channel more of each group saves, to first order.

        Of an axis of which nothing is left, infinity is taken to be nothing.
        """
        share = np.maximum(1 - (self.taken @ counts) / self.sizes, 0.0)
        by_part = np.ones(self.base.size)
        np.multiply.at(by_part, self.part, share)
        each = (self.base * by_part)[self.part] / self.sizes
        relative = np.divide(each, share, out=np.zeros_like(each), where=share > 0)
        return np.asarray(relative @ self.taken)

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
