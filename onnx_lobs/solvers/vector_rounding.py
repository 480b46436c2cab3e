"""Rounds vectors that are looked up, not multiplied: each to multiples of a scale of its own.

There are no inputs whose moments could say which change matters, so that the squared change of the
vector itself counts. Of few fractions of the scale that just holds its largest number the one with
the least change is taken, then the optimum of the scale for these multiples, if that is better yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.solvers.rounding import FRACTIONS, MOST_LEVEL, as_float32

ROWS_AT_ONCE = 4096  # some 100 MB of work for vectors of 512 numbers


@dataclass(frozen=True)
class RoundedVectors:
    """Vectors (n, d) that are multiples of their scales, (n,) float32, and their relative change.

    ``change`` is the squared change of all numbers over their sum of squares.
    """

    vectors: Array
    scales: NDArray[np.float32]
    change: float


def round_vectors(vectors: Array, most: int = MOST_LEVEL) -> RoundedVectors:
    """Return vectors as whole numbers and a scale for each can hold them.

    Parameters
    ----------
    vectors
        (n, d), of a floating type. Not modified.
    most
        The largest whole number; the least is its negative.

    Returns
    -------
    RoundedVectors
        In that type: products of whole numbers and float32 scales, as float32 rounds them. No
        vector changes by more than plain rounding with its largest number at `most` changes it.

    Notes
    -----
    Cost: 17 passes over the vectors. Memory: them once more, and some of ROWS_AT_ONCE of them.
    """
    result = np.empty_like(vectors)
    scales = np.empty(len(vectors), np.float32)
    moved = energy = 0.0
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        wanted = vectors[some].astype(np.float64)
        found, scales[some] = _round(wanted, most)
        result[some] = found.astype(vectors.dtype)
        moved += float(((result[some].astype(np.float64) - wanted) ** 2).sum())
        energy += float((wanted**2).sum())
    return RoundedVectors(result, scales, moved / energy if energy else 0.0)


def _round(wanted: FloatArray, most: int) -> tuple[FloatArray, NDArray[np.float32]]:
    """Return the best multiples of each row, and their scales."""
    largest = np.abs(wanted).max(axis=1, initial=0.0, keepdims=True)
    best, scales, least = wanted, np.ones_like(largest), np.full_like(largest, np.inf)
    for fraction in (*FRACTIONS, None):
        if fraction is None:  # the optimum for the multiples that were best
            steps = best / scales
            square = (steps**2).sum(axis=1, keepdims=True)
            ideal = (steps * wanted).sum(axis=1, keepdims=True) / np.where(square > 0, square, 1.0)
            tried = np.where(ideal > 0, ideal, scales)
        else:
            tried = np.where(largest > 0, fraction * largest / most, 1.0)
        tried = as_float32(tried)
        levels = np.clip(np.rint(wanted / tried), -most, most)
        rounded = as_float32(levels * tried)
        error = ((rounded - wanted) ** 2).sum(axis=1, keepdims=True)
        better = error < least
        best, scales = np.where(better, rounded, best), np.where(better, tried, scales)
        least = np.minimum(error, least)
    return best, scales[:, 0].astype(np.float32)
