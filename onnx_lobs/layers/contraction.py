"""Lays out the observations of a product whose axes stand in any order, as an Einsum's do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array


@dataclass(frozen=True)
class Contraction:
    """Says what each axis of an activation is to a layer problem.

    Axes are counted from the front up to ``open_axes`` and from the back behind it. Those that are
    in none of the tuples are observations.

    Parameters
    ----------
    count
        Number of axes that have a name.
    open_axes
        Place among those where axes of any number stand (``...``), which are observations; None
        where there are none.
    groups, columns
        Axes that the weight has too: those that the output keeps, and those that are summed up;
        in the weight's order.
    summed
        Axes that are summed up before the weight is applied, which has them not.
    group_sizes, column_sizes
        The weight's sizes; an activation of size 1 there is repeated.
    """

    count: int
    open_axes: int | None
    groups: tuple[int, ...]
    columns: tuple[int, ...]
    summed: tuple[int, ...]
    group_sizes: tuple[int, ...]
    column_sizes: tuple[int, ...]

    def observations(self, x: Array) -> Array:
        """Return an activation as (groups, observations, columns)."""
        groups, columns, summed = (self._find(x.ndim, a) for a in self._named)
        other = [a for a in range(x.ndim) if a not in (*groups, *columns, *summed)]
        moved = x.transpose(*summed, *groups, *other, *columns)
        if summed:  # in float32 at least: half precision would round the sums
            wide = np.result_type(x.dtype, np.float32)
            moved = moved.sum(axis=tuple(range(len(summed))), dtype=wide)
        seen = moved.shape[len(groups) : len(groups) + len(other)]
        wanted = (*self.group_sizes, *seen, *self.column_sizes)
        if moved.shape != wanted:
            moved = np.ascontiguousarray(np.broadcast_to(moved, wanted))
        n_groups, n_columns = math.prod(self.group_sizes), math.prod(self.column_sizes)
        laid: Array = moved.reshape(n_groups, math.prod(seen), n_columns)
        return laid

    def n_observations(self, shape: tuple[int, ...]) -> int:
        """Return how many observations an activation of `shape` gives."""
        taken = {a for axes in self._named for a in self._find(len(shape), axes)}
        return math.prod(size for a, size in enumerate(shape) if a not in taken)

    @property
    def _named(self) -> tuple[tuple[int, ...], ...]:
        return self.groups, self.columns, self.summed

    def _find(self, ndim: int, axes: tuple[int, ...]) -> list[int]:
        """Return the axes of an activation with `ndim` of them that have these places."""
        first = self.count if self.open_axes is None else self.open_axes
        return [a if a < first else a + ndim - self.count for a in axes]
