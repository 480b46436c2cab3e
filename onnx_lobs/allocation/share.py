"""Shares a budget of zeros between layers so that the sum of their losses is least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray


@dataclass(frozen=True)
class Loss:
    """What the zeros of one layer cost, and what each of them saves.

    Parameters
    ----------
    n_zero
        (points,) ascending from 0.
    loss
        (points,) in any unit that adds up over layers.
    price
        What one zero saves of the budget.
    """

    n_zero: FloatArray
    loss: FloatArray
    price: float = 1.0


def share(losses: Sequence[Loss], saving: float) -> FloatArray:
    """Return the zeros of every layer, real numbers, that save `saving` at the least loss.

    Minimises ``sum loss_l(k_l)`` subject to ``sum price_l k_l = saving``, over the lower convex
    hulls of the curves: the segments of all hulls are taken in the order of their slope, which
    is what a Lagrange multiplier gives. Only one layer can end inside a segment, so the result
    is off the optimum of the curves themselves by less than that segment's loss.

    Parameters
    ----------
    losses
        One curve a layer. Not modified.
    saving
        Of the budget; more than all zeros save gives all zeros.

    Notes
    -----
    Cost: a sort of all points. Shoham and Gersho 1988 for the multiplier.
    """
    hulls = [_lower_hull(loss.n_zero, loss.loss) for loss in losses]
    layer = np.concatenate([np.full(len(x) - 1, i) for i, (x, _) in enumerate(hulls)])
    step = np.concatenate([np.diff(x) for x, _ in hulls])
    rise = np.concatenate([np.diff(y) for _, y in hulls])
    prices = np.array([loss.price for loss in losses])
    saved = step * prices[layer]
    order = np.argsort(rise / saved, kind="stable")
    before = np.cumsum(saved[order]) - saved[order]
    taken = np.clip((saving - before) / saved[order], 0.0, 1.0) * step[order]
    zeros = np.bincount(layer[order], weights=taken, minlength=len(losses))
    return zeros.astype(np.float64)


def rescale(
    kept: FloatArray, low: FloatArray, high: FloatArray, prices: FloatArray, left: float
) -> FloatArray:
    """Return weights kept per layer, proportional to `kept` within limits, that cost `left`.

    Parameters
    ----------
    kept
        (layers,) >= 0. Not modified.
    low, high
        (layers,) 0 <= low <= high: a layer keeps no fewer and no more; the others share the rest.
    prices
        (layers,) cost of one weight, > 0.
    left
        What the kept weights cost together: between ``low @ prices`` and ``high @ prices``, else
        the nearer of these.

    Notes
    -----
    The cost of ``clip(t kept, low, high)`` grows with t along straight lines, between the t at
    which a layer meets one of its limits. Cost: layers².
    """
    moves = kept > 0
    if not moves.any():
        return np.array(low)
    corners = np.concatenate([[0.0], low[moves] / kept[moves], high[moves] / kept[moves]])
    corners.sort()
    costs = np.clip(corners[:, None] * kept, low, high) @ prices
    at = int(np.clip(np.searchsorted(costs, left), 1, corners.size - 1))
    rise = costs[at] - costs[at - 1]
    part = np.clip((left - costs[at - 1]) / rise, 0.0, 1.0) if rise > 0 else 1.0
    factor = corners[at - 1] + part * (corners[at] - corners[at - 1])
    return np.asarray(np.clip(factor * kept, low, high))


def _lower_hull(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the corners of the lower convex hull of a curve (monotone chain, Andrew 1979)."""
    kept: list[int] = []
    for i in range(len(x)):
        while len(kept) >= 2 and _is_above(x, y, kept[-2], kept[-1], i):
            kept.pop()
        kept.append(i)
    return x[kept], y[kept]


def _is_above(x: FloatArray, y: FloatArray, first: int, middle: int, last: int) -> bool:
    """Return whether the middle point lies on or above the line through the other two."""
    rise = (y[middle] - y[first]) * (x[last] - x[first])
    return bool(rise >= (y[last] - y[first]) * (x[middle] - x[first]))
