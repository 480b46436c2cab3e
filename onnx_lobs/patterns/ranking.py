"""Picks exact counts of the lowest scores, ties included."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import BoolArray, IntArray, RealArray

_MOST_COMBINATIONS = 1_000_000  # bounds the memory of the search over ragged block counts


def keep_highest(rows: RealArray, n_prune: int) -> BoolArray:
    """Return the mask (rows, size) with the `n_prune` lowest of each row False."""
    size = rows.shape[1]
    if n_prune <= 0 or n_prune >= size:
        return np.full(rows.shape, n_prune <= 0)
    threshold = np.partition(rows, n_prune - 1, axis=1)[:, n_prune - 1]
    mask: BoolArray = rows > threshold[:, None]
    short = size - n_prune - mask.sum(axis=1)  # as many of those at the threshold stay
    for row in np.flatnonzero(short):
        mask[row, np.flatnonzero(rows[row] == threshold[row])[-short[row] :]] = True
    return mask


def keep_highest_short(rows: RealArray, n_prune: int) -> BoolArray:
    """Do what :func:`keep_highest` does for short rows: by comparison, the earlier wins a tie."""
    size = rows.shape[1]
    if size > 16:  # size² passes over the array cost more than a partition of each row
        return keep_highest(rows, n_prune)
    columns = [np.ascontiguousarray(rows[:, i]) for i in range(size)]
    rank = [np.zeros(len(rows), dtype=np.int8) for _ in columns]
    for i in range(size):
        for j in range(i):
            lower = columns[j] <= columns[i]
            rank[i] += lower
            rank[j] += ~lower
    return np.stack([r >= n_prune for r in rank], axis=1)


def combinations(sizes: IntArray, counts: IntArray, centre: IntArray, target: float) -> IntArray:
    """Return candidate numbers of blocks of each size, (candidates, sizes), near `centre`.

    The number of the largest size (the last) follows from the others, as close to `target`
    zeros as it gets.
    """
    reach = int(sizes[-1])
    if sizes.size > 2:
        reach = min(reach, int(_MOST_COMBINATIONS ** (1 / (sizes.size - 1))) // 2)
    ranges = [
        np.arange(max(0, c - reach), min(n, c + reach) + 1)
        for c, n in zip(centre[:-1], counts[:-1], strict=True)
    ]
    small = np.stack([axis.ravel() for axis in np.meshgrid(*ranges)], axis=1) if ranges else None
    rest = small @ sizes[:-1] if small is not None else np.zeros(1, dtype=np.int64)
    large = np.clip(np.rint((target - rest) / sizes[-1]).astype(np.int64), 0, counts[-1])
    return large[:, None] if small is None else np.concatenate([small, large[:, None]], axis=1)
