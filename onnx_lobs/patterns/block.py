"""Prunes blocks of weights, so that a kernel reads and multiplies whole ones only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray, RealArray
from onnx_lobs.errors import ConfigError, InfeasibleError
from onnx_lobs.patterns.base import Pattern, Shape
from onnx_lobs.patterns.pieces import check_fraction, check_range, count_channels, piece_lengths
from onnx_lobs.patterns.ranking import combinations, keep_highest


@dataclass(frozen=True)
class Block(Pattern):
    """Zeros in blocks of `rows` consecutive outputs x `columns` input channels at one position.

    Blocks start at multiples of `rows` and `columns` within a group; those at a ragged edge are
    smaller. A block's score is the sum of its weights' scores.
    """

    rows: int
    columns: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise ConfigError(f"pattern {self} must have at least one row and one column")

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    @property
    def shares_rows(self) -> bool:
        return True

    @property
    def tile(self) -> tuple[int, int]:
        return self.rows, self.columns

    def _sizes(self, shape: Shape, kernel_size: int) -> IntArray:
        """Return the weights in each block, (groups, block rows, block columns, kernel_size)."""
        high = piece_lengths(shape[1], self.rows)
        wide = piece_lengths(count_channels(shape[2], kernel_size), self.columns)
        sizes = np.outer(high, wide)[None, :, :, None]
        return np.broadcast_to(sizes, (shape[0], high.size, wide.size, kernel_size))

    def closest(self, shape: Shape, sparsity: float, kernel_size: int = 1) -> int:
        sizes, counts = np.unique(self._sizes(shape, kernel_size), return_counts=True)
        target = check_fraction(sparsity) * float(sizes @ counts)
        if not sizes.size:
            return 0
        centre = np.rint(sparsity * counts).astype(np.int64)
        numbers = combinations(sizes, counts, centre, target)
        totals = numbers @ sizes
        return int(totals[np.argmin(np.abs(totals - target))])

    def sum_blocks(self, scores: RealArray, kernel_size: int = 1) -> FloatArray:
        """Return the sum over each block, (groups, block rows, block columns, kernel_size)."""
        groups, rows, columns = scores.shape
        channels = count_channels(columns, kernel_size)
        high, wide = -(-rows // self.rows), -(-channels // self.columns)
        padded = np.zeros((groups, high * self.rows, wide * self.columns, kernel_size))
        padded[:, :rows, :channels] = scores.reshape(groups, rows, channels, kernel_size)
        shape = (groups, high, self.rows, wide, self.columns, kernel_size)
        summed: FloatArray = padded.reshape(shape).sum(axis=(2, 4))
        return summed

    def select(self, scores: RealArray, n_prune: int, kernel_size: int = 1) -> BoolArray:
        groups, rows, columns = scores.shape
        check_range(n_prune, scores.size)
        if scores.size == 0:
            return np.ones(scores.shape, dtype=np.bool_)
        block_scores = self.sum_blocks(scores, kernel_size)
        sizes = self._sizes((groups, rows, columns), kernel_size)
        kept = self._select_blocks(block_scores.ravel(), sizes.ravel(), n_prune)
        wide = kept.reshape(block_scores.shape).repeat(self.rows, 1).repeat(self.columns, 2)
        channels = columns // kernel_size
        return np.ascontiguousarray(wide[:, :rows, :channels]).reshape(scores.shape)

    def _select_blocks(self, scores: FloatArray, sizes: IntArray, n_prune: int) -> BoolArray:
        """Choose how many blocks of each size to prune, then the lowest of each size.

        Exact for one size. With ragged edges, the numbers near the greedy ones whose sizes
        sum to `n_prune` are tried, and the lowest total score wins.
        """
        if sizes.min() == sizes.max() and n_prune % sizes[0] == 0:
            return np.asarray(keep_highest(scores[None], n_prune // int(sizes[0]))[0])
        kinds, kind, counts = np.unique(sizes, return_inverse=True, return_counts=True)
        order = np.argsort(scores / sizes, kind="stable")
        taken = np.cumsum(sizes[order]) <= n_prune
        greedy = np.bincount(kind[order[taken]], minlength=kinds.size)
        share = np.rint(n_prune / sizes.sum() * counts).astype(np.int64)
        ranked = [order[kind[order] == i] for i in range(kinds.size)]
        for centre in (greedy, share):
            numbers = combinations(kinds, counts, centre, n_prune)
            numbers = numbers[numbers @ kinds == n_prune]
            if not len(numbers):
                continue
            prefix = [np.append(0.0, np.cumsum(scores[r])) for r in ranked]
            total = sum(p[numbers[:, i]] for i, p in enumerate(prefix))
            best = numbers[np.argmin(total)]
            kept = np.ones(scores.size, dtype=np.bool_)
            for indices, number in zip(ranked, best, strict=True):
                kept[indices[:number]] = False
            return kept
        raise InfeasibleError(
            f"pattern {self} cannot hold exactly {n_prune} zeros; take the count from closest()"
        )

    def n_present(self, zeros: BoolArray, kernel_size: int = 1) -> int:
        groups, rows, columns = zeros.shape
        kept = self.sum_blocks((~zeros).astype(np.float64), kernel_size)
        return int(self._sizes((groups, rows, columns), kernel_size)[kept == 0].sum())

    def obeys(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        groups, rows, columns = mask.shape
        kept = self.sum_blocks(mask.astype(np.float64), kernel_size)
        return bool(
            ((kept == 0) | (kept == self._sizes((groups, rows, columns), kernel_size))).all()
        )
