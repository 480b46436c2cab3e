"""Changes large symmetric matrices in place, band by band, without a copy of d x d numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnx_lobs.arrays import Array, FloatArray

BAND = 256  # rows


def bands(size: int) -> Iterator[slice]:
    """Yield slices that cut an axis into bands, so that work on one stays in the cache."""
    for begin in range(0, size, BAND):
        yield slice(begin, min(begin + BAND, size))


def mirror_lower(matrix: Array) -> None:
    """Copy the lower triangles of matrices (..., d, d) to their upper ones, in place."""
    for rows in bands(matrix.shape[-1]):
        own = matrix[..., rows, rows]
        matrix[..., rows, rows] = np.tril(own) + np.tril(own, -1).swapaxes(-1, -2)
        for columns in bands(rows.start):
            matrix[..., columns, rows] = matrix[..., rows, columns].swapaxes(-1, -2)


def add_lower(sums: FloatArray, part: Array, *, is_first: bool = False) -> None:
    """Add, or copy if `is_first`, lower triangles of matrices (..., d, d) to others', in place.

    What is above the diagonals of `sums` is undefined afterwards.
    """
    for rows in bands(sums.shape[-1]):
        if is_first:
            sums[..., rows, : rows.stop] = part[..., rows, : rows.stop]
        else:
            sums[..., rows, : rows.stop] += part[..., rows, : rows.stop]


def is_symmetric(matrix: FloatArray, tolerance: float) -> tuple[bool, float]:
    """Return whether one (d, d) matrix equals its transpose to `tolerance`, and by how much not."""
    worst = 0.0
    for rows in bands(len(matrix)):
        apart = matrix[rows, : rows.stop] - matrix[: rows.stop, rows].T
        worst = max(worst, float(np.abs(apart, out=apart).max(initial=0.0)))
    return worst <= tolerance, worst


def symmetrise(matrix: FloatArray) -> None:
    """Replace one (d, d) matrix by the mean of it and its transpose, in place."""
    for rows in bands(len(matrix)):
        mean = 0.5 * (matrix[rows, : rows.stop] + matrix[: rows.stop, rows].T)
        matrix[rows, : rows.stop] = mean
        matrix[: rows.stop, rows] = mean.T
