"""Holds where the correction of the mean output of a use goes, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.layers.chain import Chain


@dataclass(frozen=True)
class BiasOrder:
    """Says how a correction by groups and rows is put into the order of a bias.

    It is seen with the shape `view`, its axes are permuted to `axes`, and zeros are put before and
    behind it on the last one: `room`.
    """

    view: tuple[int, ...]
    axes: tuple[int, ...]
    room: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class BiasSlot:
    """Where the correction of the mean output of one use goes.

    Parameters
    ----------
    scope, node
        Index of the scope and first output of the node whose input holds the bias: the
        Conv or Gemm itself, or the Add behind a MatMul.
    position
        Index of that input.
    name
        Initializer that will hold the new values: the present one where nobody else reads
        it, else a new one.
    source
        Name of the present constant, or None where there is no bias yet.
    chain
        From the source tensor to the values that the node sees.
    factor
        What the node multiplies the bias by (Gemm's beta).
    shape
        Shape in which a correction (groups * rows values) is added to the bias.
    order
        How it is put into the order that the bias has; None where that is its own.
    """

    scope: int
    node: str
    position: int
    name: str
    source: str | None
    chain: Chain
    factor: float
    shape: tuple[int, ...]
    order: BiasOrder | None = None

    def arranged(self, change: FloatArray) -> FloatArray:
        """Return a correction (groups, rows) in the shape in which it is added to the bias."""
        if self.order is not None:
            change = change.reshape(self.order.view).transpose(self.order.axes)
            change = np.pad(change, [(0, 0)] * (change.ndim - 1) + [self.order.room])
        return change.reshape(self.shape)

    @property
    def in_place(self) -> bool:
        """Whether the present constant itself takes the new values."""
        return self.name == self.source
