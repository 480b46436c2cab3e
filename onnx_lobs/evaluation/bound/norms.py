"""Bounds the spectral norms of matrices and convolutions from above, up to float64's rounding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from onnx_lobs.arrays import Array

MOST_ROWS = 4096  # of the Gram whose eigenvalues are computed: 30 s in LAPACK
MOST_WORK = 4e10  # multiplications for the eigenvalues of a convolution's symbol: some seconds
GRIDS = (16, 12, 8, 6)  # points per unit of degree; the first that costs no more than MOST_WORK


def matrix_norm(matrices: Array) -> float:
    """Return an upper bound of the largest spectral norm in a stack (..., rows, columns).

    The norm itself, from the eigenvalues of the smaller Gram, at a cost of rows² columns; above
    MOST_ROWS rows the Frobenius norm.
    """
    if matrices.size == 0:
        return 0.0
    stack = matrices.reshape(-1, *matrices.shape[-2:])
    if min(stack.shape[1:]) > MOST_ROWS:
        return float(np.linalg.norm(stack, axis=(1, 2)).max())
    if stack.shape[1] > stack.shape[2]:
        stack = stack.swapaxes(1, 2)
    largest = max(np.linalg.eigvalsh(matrix @ matrix.conj().T)[-1] for matrix in stack)
    return math.sqrt(max(float(largest), 0.0))


def window_overlap(kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> int:
    """Return the most windows that one input position can lie in.

    >>> window_overlap((3, 3), (2, 2), (1, 1)), window_overlap((3,), (2,), (2,))
    (4, 3)
    """
    sizes = zip(kernel, strides, dilations, strict=True)
    return math.prod(math.ceil(k * math.gcd(s, d) / s) for k, s, d in sizes)


def conv_norm(weight: Array, strides: Sequence[int], dilations: Sequence[int]) -> float:
    """Return an upper bound of the norm of a convolution, or its adjoint, on inputs of any size.

    The weight is (groups, outputs, inputs, *kernel). The smaller of two bounds: the norm of the
    matrix (outputs, inputs * positions) times the root of the most windows over one position; and,
    without the strides, which only leave outputs out, the largest norm of the symbol
    sum_t W_t exp(i w t) over all w (Sedghi, Gupta and Long 2019). A trigonometric polynomial of
    degree n is nowhere above 1 / cos(pi n / N) of its largest value on N > 2n equal steps (M.
    Riesz), so finitely many w will do: those that MOST_WORK allows.
    """
    overlap = window_overlap(weight.shape[3:], strides, dilations)
    bound = matrix_norm(weight.reshape(*weight.shape[:2], -1)) * math.sqrt(overlap)
    groups, *sides = weight.shape[:3]
    per_point = 2 * groups * min(sides) ** 2 * (max(sides) + 4 * min(sides))
    degrees = [size // 2 for size in weight.shape[3:]]
    for fineness in GRIDS if overlap > 1 else ():
        steps = [max(fineness * degree, 1) for degree in degrees]
        if math.prod(steps) * per_point <= MOST_WORK:
            symbol = np.fft.rfftn(weight, s=steps, axes=range(3, weight.ndim))
            points = itertools.product(*map(range, symbol.shape[3:]))
            largest = max(matrix_norm(symbol[(slice(None),) * 3 + point]) for point in points)
            between = (math.cos(math.pi * d / n) for d, n in zip(degrees, steps, strict=True))
            return min(bound, largest / math.prod(between))
    return bound
