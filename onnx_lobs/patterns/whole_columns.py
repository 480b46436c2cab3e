"""Lets zeros stand in whole columns that were chosen before: those of channels that go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, RealArray
from onnx_lobs.errors import InfeasibleError
from onnx_lobs.patterns.base import Pattern, Shape


@dataclass(frozen=True, eq=False)
class WholeColumns(Pattern):
    """Zeros in given columns, in every row: scores have no say.

    Parameters
    ----------
    kept
        (groups, columns), True where the column stays.
    """

    kept: BoolArray

    def __str__(self) -> str:
        return "channels"

    def n_zeros(self, rows: int) -> int:
        """Return the zeros of a weight with so many rows."""
        return rows * int((~self.kept).sum())

    def closest(self, shape: Shape, sparsity: float, kernel_size: int = 1) -> int:
        return self.n_zeros(shape[1])

    def select(self, scores: RealArray, n_prune: int, kernel_size: int = 1) -> BoolArray:
        groups, rows, columns = scores.shape
        if self.kept.shape != (groups, columns) or n_prune != self.n_zeros(rows):
            raise InfeasibleError(
                f"{n_prune} zeros of a weight {scores.shape} are not those of the "
                f"{(~self.kept).sum()} columns that go; ask for {self.n_zeros(rows)}"
            )
        return np.repeat(self.kept[:, None, :], rows, axis=1)

    def obeys(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        return bool((mask == self.kept[:, None, :]).all())
