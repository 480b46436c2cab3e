"""Sparsity patterns: which sets of zeros are allowed, and the choice of one from scores.

A weight is ``(groups, rows, columns)``. A column is an (input channel, kernel position) pair with
the position running fastest, so ``columns = channels * kernel_size``. Masks are True where a weight
is **kept**. RealArray say what removing a weight costs: the lowest go first. Counts are exact, ties
included.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray, RealArray
from onnx_lobs.errors import ConfigError, InfeasibleError
from onnx_lobs.patterns.ranking import combinations, keep_highest, keep_highest_short

Shape = tuple[int, int, int]


class Pattern(ABC):
    """What the three patterns have in common."""

    @abstractmethod
    def closest(self, shape: Shape, sparsity: float, kernel_size: int = 1) -> int:
        """Return the feasible number of zeros closest to ``sparsity * weights``.

        Parameters
        ----------
        shape
            (groups, rows, columns) of the weight.
        sparsity
            Fraction of zeros in [0, 1]. N:M has one count only and ignores it.
        kernel_size
            Product of the kernel's sizes; it must divide ``columns``.
        """

    @abstractmethod
    def select(self, scores: RealArray, n_prune: int, kernel_size: int = 1) -> BoolArray:
        """Return the mask (True = kept) with exactly `n_prune` zeros of the lowest total score.

        Parameters
        ----------
        scores
            (groups, rows, columns), finite; lowest pruned first. Not modified.
        n_prune
            Zeros over the whole array; a value from :meth:`closest` is always feasible.
        kernel_size
            Product of the kernel's sizes.

        Raises
        ------
        InfeasibleError
            When the pattern cannot hold `n_prune` zeros.

        Notes
        -----
        O(weights) time: partition by index, so equal scores never overshoot.
        """

    @abstractmethod
    def obeys(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        """Return whether the zeros of `mask` (groups, rows, columns) form this pattern."""


@dataclass(frozen=True)
class Unstructured(Pattern):
    """Zeros anywhere; with `equal_rows`, the same number in every row.

    >>> Unstructured().select(np.array([[[3.0, 1.0], [2.0, 2.0]]]), 2).sum()
    np.int64(2)
    """

    equal_rows: bool = False

    def __str__(self) -> str:
        return "unstructured"

    def closest(self, shape: Shape, sparsity: float, kernel_size: int = 1) -> int:
        groups, rows, columns = shape
        units = groups * rows if self.equal_rows else 1
        size = groups * rows * columns // max(units, 1)
        return units * int(_check_fraction(sparsity) * size + 0.5)

    def select(self, scores: RealArray, n_prune: int, kernel_size: int = 1) -> BoolArray:
        _check_range(n_prune, scores.size)
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

    def obeys(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        return not self.equal_rows or np.unique(mask.sum(axis=-1)).size <= 1


@dataclass(frozen=True)
class NM(Pattern):
    """Exactly `keep` weights kept of every `of` consecutive input channels at one kernel position.

    Channels that `of` does not divide leave a short last group of r < `of` channels, of which
    ``ceil(keep * r / of)`` are kept. Rows and kernel positions are independent.
    """

    keep: int
    of: int

    @property
    def sparsity(self) -> float:
        """The share of zeros, which is the pattern's own."""
        return 1 - self.keep / self.of

    def __post_init__(self) -> None:
        if not 1 <= self.keep < self.of:
            raise ConfigError(f"pattern {self} must keep at least 1 and fewer than {self.of}")

    def __str__(self) -> str:
        return f"{self.keep}:{self.of}"

    def _zeros(self, size: int) -> int:
        return size - -(-self.keep * size // self.of)

    def units(self, columns: int, kernel_size: int = 1) -> tuple[IntArray, IntArray]:
        """Return the group of M that each column is in, (columns,), and each group's zeros.

        >>> NM(1, 2).units(6, kernel_size=2)
        (array([0, 1, 0, 1, 2, 3]), array([1, 1, 0, 0]))
        """
        channels = _channels(columns, kernel_size)
        channel, position = np.divmod(np.arange(columns, dtype=np.int64), kernel_size)
        sizes = _edges(channels, self.of).repeat(kernel_size)
        return channel // self.of * kernel_size + position, sizes - -(-self.keep * sizes // self.of)

    def closest(self, shape: Shape, sparsity: float, kernel_size: int = 1) -> int:
        groups, rows, columns = shape
        full, short = divmod(_channels(columns, kernel_size), self.of)
        return groups * rows * kernel_size * (full * self._zeros(self.of) + self._zeros(short))

    def select(self, scores: RealArray, n_prune: int, kernel_size: int = 1) -> BoolArray:
        groups, rows, columns = scores.shape
        only = self.closest((groups, rows, columns), 0.0, kernel_size)
        if n_prune != only:
            raise InfeasibleError(
                f"pattern {self} has exactly {only} zeros in {scores.shape}, not {n_prune}; "
                "take the count from closest()"
            )
        by_position = scores.reshape(groups, rows, columns // kernel_size, kernel_size).swapaxes(
            2, 3
        )
        mask = np.empty(by_position.shape, dtype=np.bool_)
        channels = by_position.shape[-1]
        split = channels - channels % self.of
        for part, size in ((slice(0, split), self.of), (slice(split, None), channels - split)):
            if size and (units := by_position[..., part].reshape(-1, size)).size:
                kept = keep_highest_short(units, self._zeros(size))
                mask[..., part] = kept.reshape(mask[..., part].shape)
        return np.ascontiguousarray(mask.swapaxes(2, 3)).reshape(scores.shape)

    def obeys(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        groups, rows, columns = mask.shape
        kept = mask.reshape(groups, rows, _channels(columns, kernel_size), kernel_size)
        starts = range(0, kept.shape[2], self.of)
        units = [kept[:, :, start : start + self.of] for start in starts]
        return all(
            bool((u.sum(axis=2) == u.shape[2] - self._zeros(u.shape[2])).all()) for u in units
        )


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

    def _sizes(self, shape: Shape, kernel_size: int) -> IntArray:
        """Return the weights in each block, (groups, block rows, block columns, kernel_size)."""
        high = _edges(shape[1], self.rows)
        wide = _edges(_channels(shape[2], kernel_size), self.columns)
        sizes = np.outer(high, wide)[None, :, :, None]
        return np.broadcast_to(sizes, (shape[0], high.size, wide.size, kernel_size))

    def closest(self, shape: Shape, sparsity: float, kernel_size: int = 1) -> int:
        sizes, counts = np.unique(self._sizes(shape, kernel_size), return_counts=True)
        target = _check_fraction(sparsity) * float(sizes @ counts)
        if not sizes.size:
            return 0
        centre = np.rint(sparsity * counts).astype(np.int64)
        numbers = combinations(sizes, counts, centre, target)
        totals = numbers @ sizes
        return int(totals[np.argmin(np.abs(totals - target))])

    def sum_blocks(self, scores: RealArray, kernel_size: int = 1) -> FloatArray:
        """Return the sum over each block, (groups, block rows, block columns, kernel_size)."""
        groups, rows, columns = scores.shape
        channels = _channels(columns, kernel_size)
        high, wide = -(-rows // self.rows), -(-channels // self.columns)
        padded = np.zeros((groups, high * self.rows, wide * self.columns, kernel_size))
        padded[:, :rows, :channels] = scores.reshape(groups, rows, channels, kernel_size)
        shape = (groups, high, self.rows, wide, self.columns, kernel_size)
        summed: FloatArray = padded.reshape(shape).sum(axis=(2, 4))
        return summed

    def select(self, scores: RealArray, n_prune: int, kernel_size: int = 1) -> BoolArray:
        groups, rows, columns = scores.shape
        _check_range(n_prune, scores.size)
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

    def obeys(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        groups, rows, columns = mask.shape
        kept = self.sum_blocks(mask.astype(np.float64), kernel_size)
        return bool(
            ((kept == 0) | (kept == self._sizes((groups, rows, columns), kernel_size))).all()
        )


def parse_pattern(text: str) -> Pattern:
    """Return the pattern that `text` names: ``unstructured``, ``N:M`` or ``RxC``.

    Raises
    ------
    ConfigError
        When the text is none of the three, or the numbers make no pattern.

    >>> parse_pattern("2:4"), parse_pattern("4x1")
    (NM(keep=2, of=4), Block(rows=4, columns=1))
    """
    if text.strip().lower() == "unstructured":
        return Unstructured()
    found = re.fullmatch(r"\s*(\d{1,4})([:x])(\d{1,4})\s*", text, flags=re.ASCII)
    if not found:
        raise ConfigError(
            f"pattern {text!r} is unknown; write unstructured, N:M such as 2:4, or RxC such as 4x1"
        )
    first, second = int(found[1]), int(found[3])
    return NM(first, second) if found[2] == ":" else Block(first, second)


def _check_fraction(sparsity: float) -> float:
    if not 0 <= sparsity <= 1:
        raise InfeasibleError(f"sparsity is {sparsity}; it must be between 0 and 1")
    return sparsity


def _check_range(n_prune: int, size: int) -> None:
    if not 0 <= n_prune <= size:
        raise InfeasibleError(f"n_prune is {n_prune}; it must be between 0 and {size}")


def _channels(columns: int, kernel_size: int) -> int:
    if kernel_size < 1 or columns % kernel_size:
        raise InfeasibleError(f"{kernel_size} kernel position do not divide {columns} columns")
    return columns // kernel_size


def _edges(length: int, step: int) -> IntArray:
    """Return the lengths of the pieces when `length` is cut every `step`."""
    starts = np.arange(0, length, step, dtype=np.int64)
    return np.minimum(starts + step, length) - starts
