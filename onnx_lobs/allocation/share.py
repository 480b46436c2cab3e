"""A budget of zeros shared between layers so that the sum of their losses is least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Loss:
    """What the zeros of one layer cost, and what each of them saves.

    Parameters
    ----------
    n_zero
        (points,) ascending from 0.
    loss
        (points,) in any unit that adds up over layers.
    unit
        What one zero saves of the budget.
    """

    n_zero: Array
    loss: Array
    unit: float = 1.0


def share(losses: Sequence[Loss], saving: float) -> Array:
    """Return the zeros of every layer, real numbers, that save `saving` at the least loss.

    Minimises ``sum loss_l(k_l)`` subject to ``sum unit_l k_l = saving``, over the lower convex
    hulls of the curves: the segments of all hulls are taken in the order of their slope, which
    is what a Lagrange multiplier gives. Only one layer can end inside a segment, so the result
    is off the optimum of the curves themselves by less than that segment's loss.

    Parameters
    ----------
    losses
        One curve a layer. Not modified.
    saving
        In the unit of the budget; more than all zeros save gives all zeros.

    Notes
    -----
    Cost: a sort of all points. Shoham and Gersho 1988 for the multiplier.
    """
    hulls = [_lower_hull(loss.n_zero, loss.loss) for loss in losses]
    layer = np.concatenate([np.full(len(x) - 1, i) for i, (x, _) in enumerate(hulls)])
    step = np.concatenate([np.diff(x) for x, _ in hulls])
    rise = np.concatenate([np.diff(y) for _, y in hulls])
    units = np.array([loss.unit for loss in losses])
    saved = step * units[layer]
    order = np.argsort(rise / saved, kind="stable")
    before = np.cumsum(saved[order]) - saved[order]
    taken = np.clip((saving - before) / saved[order], 0.0, 1.0) * step[order]
    zeros = np.bincount(layer[order], weights=taken, minlength=len(losses))
    return zeros.astype(np.float64)


def rescale(kept: Array, sizes: Array, units: Array, left: float) -> Array:
    """Return weights kept per layer, proportional to `kept`, that cost `left` together.

    Parameters
    ----------
    kept
        (layers,) > 0 for at least one layer. Not modified.
    sizes
        (layers,): a layer keeps no more than that, and the others then more.
    units
        (layers,) cost of one weight.
    left
        What the kept weights cost; at most ``sizes @ units``.
    """
    full = np.zeros(len(kept), dtype=bool)
    while True:
        rest = left - float(sizes[full] @ units[full])
        share = float(kept[~full] @ units[~full])
        factor = max(rest, 0.0) / share if share > 0 else 0.0
        over = ~full & (kept * factor > sizes)
        if not over.any():
            return np.where(full, sizes, kept * factor)
        full |= over


def _lower_hull(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the corners of the lower convex hull of a curve (monotone chain, Andrew 1979)."""
    kept: list[int] = []
    for i in range(len(x)):
        while len(kept) >= 2 and _is_above(x, y, kept[-2], kept[-1], i):
            kept.pop()
        kept.append(i)
    return x[kept], y[kept]


def _is_above(x: Array, y: Array, first: int, middle: int, last: int) -> bool:
    """Whether the middle point lies on or above the line through the other two."""
    rise = (y[middle] - y[first]) * (x[last] - x[first])
    return bool(rise >= (y[last] - y[first]) * (x[middle] - x[first]))
