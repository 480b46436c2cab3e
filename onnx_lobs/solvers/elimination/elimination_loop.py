"""Does the steps of one bundle's elimination between two downdates, as a loop to be compiled.

It is what :mod:`onnx_lobs.solvers.elimination.elimination` does for many bundles in lockstep, for
one bundle: what a step reads, U above all, stays in the cache that belongs to the core.
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import IndexArray, RealArray
from onnx_lobs.linalg.compiled import compiled


@compiled
def advance(
    inverse: RealArray,
    weight: RealArray,
    diagonal: RealArray,
    settled: RealArray,
    held: RealArray,
    column: IndexArray,
    window: IndexArray,
    left: IndexArray,
    order: IndexArray,
    cost: RealArray,
    tiny: float,
) -> None:
    """Eliminate one candidate after the other, as many as `order` has places.

    Parameters
    ----------
    inverse
        G (n, n), of which the lower triangle is read.
    weight, diagonal, settled
        w (rows, n), the diagonal of ``G - UᵀU`` (n,), and infinity for those gone, else zero
        (n,). Changed in place.
    held
        U (steps, n). Written.
    column
        (n,) which original candidate each one is.
    window, left
        The window of each candidate (n,), and how many may still go from each window, changed in
        place; of size zero: no limit.
    order, cost
        (steps,) what went and at which cost. Written.
    tiny
        The least that a diagonal may become.
    """
    rows, n = weight.shape
    scores = np.empty(n, diagonal.dtype)
    for step in range(order.size):
        # what the removal of each candidate costs, twice
        for j in range(n):
            energy = weight[0, j] * weight[0, j]
            for row in range(1, rows):
                energy += weight[row, j] * weight[row, j]
            scores[j] = energy / diagonal[j] + settled[j]
        # the cheapest; of equal ones the first
        least = scores[0]
        for j in range(n):
            least = min(least, scores[j])
        pivot = 0
        while pivot < n - 1 and scores[pivot] != least:
            pivot += 1
        order[step] = column[pivot]
        cost[step] = 0.5 * scores[pivot]
        settled[pivot] = np.inf
        # its row of G as it is now: G's own, less what U holds, four rows of U at a time
        new = held[step]
        if not scores[pivot] < np.inf:
            new[:] = 0
            continue
        for j in range(pivot):
            new[j] = inverse[pivot, j]
        for j in range(pivot, n):
            new[j] = inverse[j, pivot]
        k = 0
        while k + 4 <= step:
            a, b = held[k, pivot], held[k + 1, pivot]
            c, d = held[k + 2, pivot], held[k + 3, pivot]
            for j in range(n):
                new[j] -= (
                    a * held[k, j] + b * held[k + 1, j] + c * held[k + 2, j] + d * held[k + 3, j]
                )
            k += 4
        while k < step:
            a = held[k, pivot]
            for j in range(n):
                new[j] -= a * held[k, j]
            k += 1
        # scaled it is the next row of U; w and the diagonal follow
        root = 1 / np.sqrt(max(diagonal[pivot], tiny))
        for j in range(n):
            new[j] *= root
            diagonal[j] = max(diagonal[j] - new[j] * new[j], tiny)
        for row in range(rows):
            share = weight[row, pivot] * root
            for j in range(n):
                weight[row, j] -= new[j] * share
        # once a window has given up its zeros, the rest of it stays
        if left.size:
            own = window[pivot]
            left[own] -= 1
            if left[own] == 0:
                for j in range(n):
                    if window[j] == own:
                        settled[j] = np.inf
