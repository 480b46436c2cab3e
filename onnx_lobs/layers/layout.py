"""Maps weights as ONNX stores them to the matrices of layer problems, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array


@dataclass(frozen=True)
class WeightLayout:
    """Exact two-way map between an ONNX weight and its (groups, rows, columns) matrices.

    Parameters
    ----------
    shape
        Shape of the ONNX tensor as the node sees it.
    grouped
        Shape of the view that has the group axis apart.
    axes
        Permutation of that view which yields (group, row, column...).
    groups, rows, columns
        Shape of the result; a row is one output, a column one input of the layer problem.
    """

    shape: tuple[int, ...]
    grouped: tuple[int, ...]
    axes: tuple[int, ...]
    groups: int
    rows: int
    columns: int

    def to_matrix(self, weight: Array) -> Array:
        """Return `weight` (shape `self.shape`) as (groups, rows, columns)."""
        view = weight.reshape(self.grouped).transpose(self.axes)
        matrix: Array = view.reshape(self.groups, self.rows, self.columns)
        return matrix

    def from_matrix(self, matrix: Array) -> Array:
        """Return the ONNX tensor of `matrix`; the inverse of :meth:`to_matrix`."""
        permuted = matrix.reshape([self.grouped[a] for a in self.axes])
        tensor: Array = permuted.transpose(np.argsort(self.axes)).reshape(self.shape)
        return tensor


def conv_layout(shape: tuple[int, ...], groups: int) -> WeightLayout:
    """Layout of a Conv weight (outputs, inputs / groups, *kernel)."""
    outputs, inputs, *kernel = shape
    view = (groups, outputs // groups, inputs, *kernel)
    columns = inputs * math.prod(kernel)
    return WeightLayout(shape, view, tuple(range(len(view))), groups, outputs // groups, columns)


def transposed_conv_layout(shape: tuple[int, ...], groups: int) -> WeightLayout:
    """Layout of a ConvTranspose weight (inputs, outputs / groups, *kernel)."""
    inputs, outputs, *kernel = shape
    view = (groups, inputs // groups, outputs, *kernel)
    axes = (0, 2, 1, *range(3, len(view)))
    return WeightLayout(shape, view, axes, groups, outputs, inputs // groups * math.prod(kernel))


def matmul_layout(shape: tuple[int, ...], rows_first: bool) -> WeightLayout:
    """Layout of a matrix, or a stack of matrices, of a Gemm or MatMul.

    `rows_first`: the tensor is (..., rows, columns) rather than (..., columns, rows). A
    one-dimensional weight is a single row.
    """
    if len(shape) == 1:
        return WeightLayout(shape, (1, 1, shape[0]), (0, 1, 2), 1, 1, shape[0])
    *batch, p, q = shape
    groups = math.prod(batch)
    rows, columns = (p, q) if rows_first else (q, p)
    axes = (0, 1, 2) if rows_first else (0, 2, 1)
    return WeightLayout(shape, (groups, p, q), axes, groups, rows, columns)
