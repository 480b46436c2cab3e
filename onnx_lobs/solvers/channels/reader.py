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

LATER = 32  # columns whose downdates are put off, to be done as one product


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
    """A layer from which channels go one after the other: WᵀW and H⁻¹ of what is left.

    Parameters
    ----------
    reader
        The layer. Not modified.
    n
        Channels in all.

    Notes
    -----
    Removing the columns P subtracts ``RᵀF`` from H⁻¹ and ``FᵀT + TᵀF`` from S = WᵀW, where R are
    the rows P of H⁻¹, ``F = (R_P)⁻¹ R`` and ``T = S_P - 1/2 S_PP F``. What the losses need of
    that is done at once, the rest for many channels together, as products of matrices. Memory:
    two (d, d) matrices.
    """

    def __init__(self, reader: ChannelReader, n: int) -> None:
        self.scale, self._n = reader.scale, n
        self._squares, self._inverse = reader.weight.T @ reader.weight, reader.inverse.copy()
        self._channels = reader.channels.copy()
        self._order()
        blocks = self._columns[:, :, None], self._columns[:, None, :]
        self._square_blocks, self._inverse_blocks = self._squares[blocks], self._inverse[blocks]
        self._forget()

    def _order(self) -> None:
        """Find the columns of every channel: (channels, columns of each), for those with any."""
        order = np.argsort(self._channels, kind="stable")
        owners = self._channels[order]
        self._present, counts = np.unique(owners[owners >= 0], return_counts=True)
        width = int(counts[0]) if counts.size else 0
        self._columns = order[owners >= 0].reshape(self._present.size, width)

    def _forget(self) -> None:
        """Make room for what is to be subtracted."""
        d, width = self._channels.size, self._columns.shape[1]
        shape = max(LATER, width), d
        self._later, self._n_later = [np.empty(shape) for _ in range(3)], 0

    def losses(self) -> FloatArray:
        """Return (n,) what each channel costs now; 0 for those that are gone or not read."""
        result = np.zeros(self._n)
        if self._columns.shape[1] == 1:
            result[self._present] = self._square_blocks[:, 0, 0] / self._inverse_blocks[:, 0, 0]
        elif self._present.size:
            solved = np.linalg.solve(self._inverse_blocks, self._square_blocks)
            result[self._present] = np.einsum("cii->c", solved)
        return self.scale * result

    def remove(self, channel: int) -> None:
        """Take a channel away: the other weights make up for it."""
        place = int(np.searchsorted(self._present, channel))
        if place == self._present.size or self._present[place] != channel:
            return
        at = self._columns[place]
        if self._n_later + at.size > len(self._later[0]):
            self._catch_up()
            at = self._columns[place]
        # rows of both matrices as they are by now
        r, f, t = (each[: self._n_later] for each in self._later)
        rows = self._inverse[at] - r[:, at].T @ f
        squares = self._squares[at] - f[:, at].T @ t - t[:, at].T @ f
        factor = np.linalg.solve(rows[:, at], rows)
        target = squares - 0.5 * squares[:, at] @ factor
        for each, new in zip(self._later, (rows, factor, target), strict=True):
            each[self._n_later : self._n_later + at.size] = new
        self._n_later += at.size
        # only the channels that are left are looked at
        left = np.arange(self._present.size) != place
        self._present, self._columns = self._present[left], self._columns[left]
        r, f, t = (new[:, self._columns].transpose(1, 2, 0) for new in (rows, factor, target))
        cross = f @ t.swapaxes(1, 2)
        self._square_blocks = self._square_blocks[left] - cross - cross.swapaxes(1, 2)
        self._inverse_blocks = self._inverse_blocks[left] - r @ f.swapaxes(1, 2)
        self._channels[at] = -2

    def _catch_up(self) -> None:
        """Subtract what was put off, and leave out the columns that are gone."""
        r, f, t = (each[: self._n_later] for each in self._later)
        left = np.flatnonzero(self._channels != -2)
        r, f, t = (each[:, left] for each in (r, f, t))
        cross = f.T @ t
        self._squares = self._squares[np.ix_(left, left)] - cross - cross.T
        self._inverse = self._inverse[np.ix_(left, left)] - r.T @ f
        self._channels = self._channels[left]
        self._order()
        self._forget()


def without_columns(weight: FloatArray, inverse: FloatArray, gone: IntArray) -> FloatArray:
    """Return W (rows, d) with zeros in the columns `gone`, and all others refitted.

    `inverse` is H⁻¹ (d, d). Neither is modified. Cost: p³ and rows d p flops for p columns.
    """
    factor = np.linalg.solve(inverse[np.ix_(gone, gone)], inverse[gone])
    new = np.asarray(weight - weight[:, gone] @ factor)
    new[:, gone] = 0.0
    return new
