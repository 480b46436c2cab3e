"""States what a layer that reads channels loses without some of them.

A channel has columns in every layer that reads it. With W (rows, d) the layer's weight, H (d, d)
its damped Hessian and P the columns of some channels, the least error without them, all other
weights refitted, is ``1/2 tr(W_P ((H⁻¹)_PP)⁻¹ W_Pᵀ)``: Optimal Brain Surgeon for columns in place
of weights. It is counted relative to the energy of the layer's outputs, so that layers add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class ChannelReader:
    """One layer, or one group of a convolution, that reads the channels of one coupled group.

    Parameters
    ----------
    weight
        W (rows, d). Not modified.
    inverse
        H⁻¹ (d, d), damped. Not modified.
    energy
        Half the mean square of the layer's outputs, over all its groups: what errors are relative
        to.
    channels
        (d,) the channel that a column belongs to, in 0 .. n - 1; -1 for columns of others.
    """

    weight: FloatArray
    inverse: FloatArray
    energy: float
    channels: IntArray

    @property
    def scale(self) -> float:
        """What turns squares into errors relative to the energy."""
        return 0.5 / max(self.energy, float(np.finfo(np.float64).tiny))


class ReaderState:
    """A layer from which channels go one after the other: its weights, and H⁻¹ of what is left.

    Parameters
    ----------
    reader
        The layer. Not modified.
    n
        Channels in all.

    Notes
    -----
    Memory: copies of W and H⁻¹.
    """

    def __init__(self, reader: ChannelReader, n: int) -> None:
        self.scale = reader.scale
        self.weight, self.inverse = reader.weight.copy(), reader.inverse.copy()
        self.channels = reader.channels.copy()
        self._n, self._gone = n, 0
        self._order()

    def _order(self) -> None:
        """Find the columns of every channel: (channels, columns of each), for those with any."""
        order = np.argsort(self.channels, kind="stable")
        owners = self.channels[order]
        self.order = order[owners >= 0]
        self.present, counts = np.unique(owners[owners >= 0], return_counts=True)
        self.width = int(counts[0]) if counts.size else 0

    @property
    def columns(self) -> IntArray:
        """(present channels, columns of each)."""
        return np.asarray(self.order.reshape(self.present.size, self.width), np.int64)

    def losses(self) -> FloatArray:
        """Return (n,) what each channel costs now; 0 for those that are gone or not read."""
        result = np.zeros(self._n)
        if self.present.size == 0:
            return result
        columns = self.columns
        if self.width == 1:
            at = columns[:, 0]
            squares = np.einsum("rc,rc->c", self.weight[:, at], self.weight[:, at])
            result[self.present] = squares / self.inverse[at, at]
        else:
            blocks = self.inverse[columns[:, :, None], columns[:, None, :]]
            parts = self.weight.T[columns]  # (channels, width, rows)
            squares = parts @ parts.swapaxes(1, 2)
            result[self.present] = np.einsum("cii->c", np.linalg.solve(blocks, squares))
        return self.scale * result

    def remove(self, channel: int) -> None:
        """Take a channel away: the other weights make up for it."""
        place = int(np.searchsorted(self.present, channel))
        if place == self.present.size or self.present[place] != channel:
            return
        at = self.columns[place]
        rows = self.inverse[at]
        factor = np.linalg.solve(rows[:, at], rows)
        self.weight -= self.weight[:, at] @ factor
        self.inverse -= rows.T @ factor
        self.channels[at] = -2
        self._gone += at.size
        keep = np.arange(self.present.size) != place
        self.order = self.columns[keep].ravel()
        self.present = self.present[keep]
        if 8 * self._gone > self.channels.size:
            self._compact()

    def _compact(self) -> None:
        """Leave out the columns that are gone: what follows costs less."""
        left = np.flatnonzero(self.channels != -2)
        self.weight, self.channels = self.weight[:, left], self.channels[left]
        self.inverse = self.inverse[np.ix_(left, left)]
        self._gone = 0
        self._order()


def without_columns(weight: FloatArray, inverse: FloatArray, gone: IntArray) -> FloatArray:
    """Return W (rows, d) with zeros in the columns `gone`, and all others refitted.

    `inverse` is H⁻¹ (d, d). Neither is modified. Cost: p³ and rows d p flops for p columns.
    """
    factor = np.linalg.solve(inverse[np.ix_(gone, gone)], inverse[gone])
    new = np.asarray(weight - weight[:, gone] @ factor)
    new[:, gone] = 0.0
    return new
