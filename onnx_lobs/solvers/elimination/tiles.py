"""Cuts a layer into bundles, rows that share one support, and blocks, columns that go as one.

Where single weights go, a bundle is a row, and every column is a block. Where tiles of R x C go, a
bundle is R rows, whose columns go C at a time, see :class:`Tiles`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, BoolArray, IntArray
from onnx_lobs.solvers.problem import Problem


@dataclass(frozen=True)
class Tiles:
    """How a layer (groups, rows, d) is cut into bundles and blocks of columns.

    Attributes
    ----------
    shape
        (groups, rows, d).
    height, width
        Rows of a bundle and columns of a block; no more than the layer has.
    columns
        (blocks, width): the columns of each block; 0 where a block at the edge is short.
    real
        (blocks, width): which of them exist.
    """

    shape: tuple[int, int, int]
    height: int
    width: int
    columns: IntArray
    real: BoolArray

    @classmethod
    def of(cls, problem: Problem) -> Tiles:
        """Return the tiles of a problem's pattern, which must have some."""
        _, rows, d = problem.shape
        assert problem.pattern.tile is not None
        high, wide = problem.pattern.tile
        high = max(1, min(high, rows))
        wide = max(1, min(wide, d // problem.kernel_size))
        return cls(problem.shape, high, wide, *block_columns(d, problem.kernel_size, wide))

    @property
    def group(self) -> IntArray:
        """The group of the layer that each bundle is in."""
        groups, rows, _ = self.shape
        return np.repeat(np.arange(groups), -(-rows // self.height))

    @property
    def heights(self) -> IntArray:
        """The rows of each bundle, fewer at the edge."""
        groups, rows, _ = self.shape
        starts = np.arange(0, rows, self.height)
        return np.tile(np.minimum(rows - starts, self.height), groups)

    @property
    def movable(self) -> BoolArray:
        """(d,): columns of blocks of full width; others have no equals to change places with."""
        result = np.zeros(self.shape[2], dtype=np.bool_)
        result[self.columns[self.real.all(axis=1)]] = True
        return result

    def gather(self, values: Array) -> Array:
        """Return (groups * rows, d) as (bundles, height, d), zero where a row is missing."""
        groups, rows, d = self.shape
        high = -(-rows // self.height)
        if high * self.height == rows:
            return values.reshape(groups * high, self.height, d)
        wide = np.zeros((groups, high * self.height, d), dtype=values.dtype)
        wide[:, :rows] = values.reshape(self.shape)
        return wide.reshape(groups * high, self.height, d)

    def spread(self, values: Array) -> Array:
        """Return (bundles, d) as (groups * rows, d), the same for all rows of a bundle."""
        groups, rows, d = self.shape
        wide = values.reshape(groups, -1, d).repeat(self.height, axis=1)
        return np.ascontiguousarray(wide[:, :rows]).reshape(-1, d)


def block_columns(columns: int, kernel_size: int, width: int) -> tuple[IntArray, BoolArray]:
    """Return the columns of each block, (blocks, width), and which of them exist.

    Blocks run along the channels at one position; the last one of a position may be short.
    """
    channels = columns // kernel_size
    starts = np.arange(0, channels, width)
    channel = starts[:, None] + np.arange(width)
    real = (channel < channels).repeat(kernel_size, axis=0)
    wide = channel[:, None, :] * kernel_size + np.arange(kernel_size)[:, None]
    blocks = wide.reshape(-1, width)
    return np.where(real, blocks, 0), real
