"""Checks what a pattern is asked for, and cuts lengths into the pieces it is made of."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.errors import InfeasibleError


def check_fraction(sparsity: float) -> float:
    """Return `sparsity`, or raise InfeasibleError unless it is in [0, 1]."""
    if not 0 <= sparsity <= 1:
        raise InfeasibleError(f"sparsity is {sparsity}; it must be between 0 and 1")
    return sparsity


def check_range(n_prune: int, size: int) -> None:
    """Raise InfeasibleError unless `n_prune` of `size` weights can be zero."""
    if not 0 <= n_prune <= size:
        raise InfeasibleError(f"n_prune is {n_prune}; it must be between 0 and {size}")


def count_channels(columns: int, kernel_size: int) -> int:
    """Return the input channels of so many columns.

    Raises
    ------
    InfeasibleError
        When `kernel_size` does not divide the columns.
    """
    if kernel_size < 1 or columns % kernel_size:
        raise InfeasibleError(f"{kernel_size} kernel position do not divide {columns} columns")
    return columns // kernel_size


def piece_lengths(length: int, step: int) -> IntArray:
    """Return the lengths of the pieces when `length` is cut every `step`.

    >>> piece_lengths(10, 4)
    array([4, 4, 2])
    """
    starts = np.arange(0, length, step, dtype=np.int64)
    return np.minimum(starts + step, length) - starts
