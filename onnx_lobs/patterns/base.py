"""Defines what a pattern of zeros answers for itself, so that nobody asks which one it is.

A weight is ``(groups, rows, columns)``. A column is an (input channel, kernel position) pair with
the position running fastest, so ``columns = channels * kernel_size``. Masks are True where a weight
is **kept**. Scores say what removing a weight costs: the lowest go first. Counts are exact, ties
included.

Two of the answers are needed: which counts of zeros are possible (:meth:`Pattern.closest`), and
which zeros of a count have the lowest scores (:meth:`Pattern.select`). Every method that chooses by
scores works with these. The others tell what a method may do beyond that, and their defaults
promise nothing: whether rows may exchange zeros, which weights go together, and how many zeros a
window of columns gives up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from onnx_lobs.arrays import BoolArray, IntArray, RealArray

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Quota:
    """Windows of columns, each of which gives up a fixed number of weights in every row.

    Parameters
    ----------
    window
        (columns,) int64: the window that each column is in. Where rows have candidates of their
        own, (rows, columns).
    zeros
        (windows,) int64: the weights that each window gives up.
    """

    window: IntArray
    zeros: IntArray


class Pattern(ABC):
    """What every pattern answers."""

    @abstractmethod
    def closest(self, shape: Shape, sparsity: float, kernel_size: int = 1) -> int:
        """Return the feasible number of zeros closest to ``sparsity * weights``.

        Parameters
        ----------
        shape
            (groups, rows, columns) of the weight.
        sparsity
            Fraction of zeros in [0, 1]. A pattern with a sparsity of its own ignores it.
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

    def n_present(self, zeros: BoolArray, kernel_size: int = 1) -> int:
        """Return the most zeros of this pattern that a weight has already.

        Parameters
        ----------
        zeros
            (groups, rows, columns), True where the weight is zero. Not modified.
        kernel_size
            Product of the kernel's sizes.

        Returns
        -------
        int
            A feasible number, of zeros that need no weight to change. The default says none.
        """
        return 0

    def allows(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        """Return whether hardware for this pattern takes `mask`, which may have further zeros."""
        return self.obeys(mask, kernel_size)

    @property
    def own_sparsity(self) -> float | None:
        """The one share of zeros that it has in every layer; None: any may be asked for."""
        return None

    @property
    def is_free(self) -> bool:
        """Whether each weight of a row may be zero, whatever the others of the row are."""
        return False

    @property
    def shares_rows(self) -> bool:
        """Whether a row may have more zeros and another one fewer."""
        return False

    @property
    def tile(self) -> tuple[int, int] | None:
        """Rows and input channels, at one kernel position, that are zero together.

        (1, 1) where single weights go, within their quota if there is one; None where zeros go
        together in another way: such a pattern is chosen by scores alone, and nothing is
        eliminated exactly.
        """
        return None

    def quota(self, columns: int, kernel_size: int = 1) -> Quota | None:
        """Return how many zeros each window of columns gives up in every row; None: no windows."""
        return None
