"""Lets zeros stand anywhere, or anywhere with the same number in every row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, RealArray
from onnx_lobs.errors import InfeasibleError
from onnx_lobs.patterns.base import Pattern, Shape
from onnx_lobs.patterns.pieces import check_fraction, check_range
from onnx_lobs.patterns.ranking import keep_highest


@dataclass(frozen=True)
class Unstructured(Pattern):
    """Zeros anywhere; with `equal_rows`, the same number in every row.

    >>> Unstructured().select(np.array([[[3.0, 1.0], [2.0, 2.0]]]), 2).sum()
    np.int64(2)
    """

    equal_rows: bool = False

    def __str__(self) -> str:
        return "unstructured"

    @property
    def is_free(self) -> bool:
        return True

    @property
    def shares_rows(self) -> bool:
        return not self.equal_rows

    @property
    def tile(self) -> tuple[int, int]:
        return 1, 1

    def closest(self, shape: Shape, sparsity: float, kernel_size: int = 1) -> int:
        groups, rows, columns = shape
        parts = groups * rows if self.equal_rows else 1  # with as many zeros each
        size = groups * rows * columns // max(parts, 1)
        return parts * int(check_fraction(sparsity) * size + 0.5)

    def select(self, scores: RealArray, n_prune: int, kernel_size: int = 1) -> BoolArray:
        check_range(n_prune, scores.size)
        if not self.equal_rows or scores.size == 0:
            return keep_highest(scores.reshape(1, -1), n_prune).reshape(scores.shape)
        rows = scores.reshape(-1, scores.shape[-1])
        per_row, rest = divmod(n_prune, len(rows))
        if rest:
            raise InfeasibleError(
                f"{n_prune} zeros cannot be shared equally by {len(rows)} rows; "
                f"take {n_prune - rest} or drop equal_rows"
            )
        return keep_highest(rows, per_row).reshape(scores.shape)

    def n_present(self, zeros: BoolArray, kernel_size: int = 1) -> int:
        if not self.equal_rows:
            return int(np.count_nonzero(zeros))
        by_row = np.count_nonzero(zeros, axis=-1)
        return int(np.min(by_row, initial=zeros.shape[-1])) * int(np.size(by_row))

    def obeys(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        return not self.equal_rows or np.unique(mask.sum(axis=-1)).size <= 1
