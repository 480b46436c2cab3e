"""Upper bounds of the spectral norms of matrices and convolutions.

Every figure is guaranteed from above (up to the rounding of float64), which a power iteration
through the layer is not: it approaches the norm from below.
"""

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
    """Return an upper bound of the largest spectral norm in a stack of matrices.

    Parameters
    ----------
    matrices
        (..., rows, columns), real or complex. Not modified.

    Returns
    -------
    float
        The norm itself, from the eigenvalues of the smaller Gram; above MOST_ROWS rows, the
        smaller of the Frobenius norm and sqrt(largest row sum * largest column sum).

    Notes
    -----
    Cost: rows² columns, with the smaller side as rows.
    """
    if matrices.size == 0:
        return 0.0
    stack = matrices.reshape(-1, *matrices.shape[-2:])
    rows, columns = stack.shape[1:]
    if min(rows, columns) == 1:
        return math.sqrt(float(np.square(np.abs(stack)).sum(axis=(1, 2)).max()))
    if min(rows, columns) > MOST_ROWS:
        return _cheap_norm(stack)
    if rows > columns:
        stack = stack.swapaxes(1, 2)
    grams = (matrix @ matrix.conj().T for matrix in stack)
    largest = max(float(np.linalg.eigvalsh(gram)[-1]) for gram in grams)
    return math.sqrt(max(largest, 0.0))


def _cheap_norm(stack: Array) -> float:
    absolute = np.abs(stack)
    sums = np.sqrt(absolute.sum(axis=1).max(axis=1) * absolute.sum(axis=2).max(axis=1))
    frobenius = np.sqrt(np.square(absolute).sum(axis=(1, 2)))
    return float(np.minimum(sums, frobenius).max())


def window_overlap(kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> int:
    """Return the most windows that one input position can lie in.

    >>> window_overlap((3, 3), (2, 2), (1, 1)), window_overlap((3,), (2,), (2,))
    (4, 3)
    """
    return math.prod(
        math.ceil(k * math.gcd(s, d) / s)
        for k, s, d in zip(kernel, strides, dilations, strict=True)
    )


def conv_norm(
    weight: Array, strides: Sequence[int], dilations: Sequence[int], most_work: float = MOST_WORK
) -> float:
    """Return an upper bound of the spectral norm of a convolution on inputs of any size.

    Parameters
    ----------
    weight
        (groups, outputs, inputs, *kernel) of each group. Not modified.
    strides, dilations
        One per axis of the kernel.
    most_work
        Multiplications that may be spent.

    Returns
    -------
    float
        Zero-padding, cropping and borders only lower the norm. The adjoint, a ConvTranspose of
        the same weight, has the same one.

    Notes
    -----
    The smaller of two bounds. One: the norm of the matrix (outputs, inputs * taps) times the
    root of the most windows over one position. Two: a convolution with stride s is one with
    stride 1 over the s^n phases of its input taken as channels; on the infinite grid its norm
    is the largest spectral norm of its symbol sum_t W_t exp(i w t) over all w (Sedghi, Gupta and
    Long 2019, for the torus). A trigonometric polynomial of degree n is nowhere above
    1 / cos(pi n / N) of its largest value on N > 2n equal steps (M. Riesz), so finitely many w
    will do.
    """
    groups, outputs = weight.shape[:2]
    flat = weight.reshape(groups, outputs, -1)
    overlap = window_overlap(weight.shape[3:], strides, dilations)
    windows = matrix_norm(flat) * math.sqrt(overlap)
    if overlap == 1:
        return windows
    phased = _phases(weight, strides, dilations)
    steps = _grid(phased.shape, most_work)
    if steps is None:
        return windows
    return min(windows, _symbol_norm(phased, steps))


def _phases(weight: Array, strides: Sequence[int], dilations: Sequence[int]) -> Array:
    """Return the kernel of stride 1 and dilation 1 that has the same symbol.

    The dilation of an axis without stride only stretches the symbol, so it is left out.
    """
    for axis, (stride, dilation) in enumerate(zip(strides, dilations, strict=True), start=3):
        if stride == 1:
            continue
        size = weight.shape[axis]
        extent = dilation * (size - 1) + 1
        wide = np.zeros(
            (*weight.shape[:axis], -(-extent // stride) * stride, *weight.shape[axis + 1 :])
        )
        wide[(slice(None),) * axis + (slice(0, extent, dilation),)] = weight
        shape = (*wide.shape[:axis], -1, stride, *wide.shape[axis + 1 :])
        split = np.moveaxis(wide.reshape(shape), axis + 1, 3)
        weight = split.reshape(*split.shape[:2], -1, *split.shape[4:])
    return weight


def _degree(size: int) -> int:
    """Return the degree of a kernel's symbol along one axis, centred as well as can be."""
    return size // 2


def _grid(shape: tuple[int, ...], most_work: float) -> tuple[int, ...] | None:
    """Return how many steps of each axis to look at, or None if all choices cost too much."""
    groups, *sides = shape[:3]
    per_point = groups * min(sides) ** 2 * (max(sides) + 4 * min(sides))
    for fineness in GRIDS:
        steps = tuple(1 if size == 1 else fineness * _degree(size) for size in shape[3:])
        if math.prod(steps) / 2 * 4 * per_point <= most_work:
            return steps
    return None


def _symbol_norm(weight: Array, steps: tuple[int, ...]) -> float:
    axes = tuple(range(3, weight.ndim))
    symbol = np.fft.rfftn(weight, s=steps, axes=axes)
    points = itertools.product(*(range(n) for n in symbol.shape[3:]))
    largest = max(matrix_norm(symbol[(slice(None),) * 3 + point]) for point in points)
    between = (
        math.cos(math.pi * _degree(size) / n) if size > 1 else 1.0
        for size, n in zip(weight.shape[3:], steps, strict=True)
    )
    return largest / math.prod(between)
