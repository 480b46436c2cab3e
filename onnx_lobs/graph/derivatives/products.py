"""Differentiates products of matrices: MatMul and Gemm."""

from __future__ import annotations

from collections.abc import Mapping

from onnx_lobs.graph.derivatives.step import BackwardStep, Found, Rule

Shape = tuple[int, ...]


def matmul(step: BackwardStep) -> Found:
    """Differentiate MatMul: g Bᵀ and Aᵀ g, summed over the axes along which one was broadcast.

    A vector is a matrix of one row, on the left, or one column, on the right.
    """
    left, right = step.shape(0), step.shape(1)
    a, b = (1, *left) if len(left) == 1 else left, (*right, 1) if len(right) == 1 else right
    lead = step.out_shape()[: max(len(left), len(right), 2) - 2]
    whole = (*lead, a[-2], b[-1])
    g = step.gradient if whole == step.out_shape() else step.reshaped(step.gradient, whole)
    if step.wants(0):
        other = _transposed(step, step.x(1), right, b)
        made = step.op("MatMul", g, other)
        yield 0, _back(step, made, (*lead, *a[-2:]), a, left)
    if step.wants(1):
        other = _transposed(step, step.x(0), left, a)
        made = step.op("MatMul", other, g)
        yield 1, _back(step, made, (*lead, *b[-2:]), b, right)


def _transposed(step: BackwardStep, value: str, shape: Shape, matrix: Shape) -> str:
    """Return a value as matrices of shape `matrix`, with their last two axes exchanged."""
    if shape != matrix:
        return step.reshaped(value, (matrix[1], matrix[0]))  # a vector: nothing to move
    order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    return step.op("Transpose", value, perm=order)


def _back(step: BackwardStep, value: str, before: Shape, matrix: Shape, shape: Shape) -> str:
    summed = step.summed(value, before, matrix)
    return summed if matrix == shape else step.reshaped(summed, shape)


def gemm(step: BackwardStep) -> Found:
    """Differentiate Gemm: alpha A' B' + beta C, where A' and B' may be transposed."""
    alpha, beta = step.attribute("alpha", 1.0), step.attribute("beta", 1.0)
    ta, tb = step.attribute("transA", 0), step.attribute("transB", 0)
    g = step.gradient
    if step.wants(0):
        yield (
            0,
            (
                step.op("Gemm", step.x(1), g, transA=tb, transB=1, alpha=alpha)
                if ta
                else step.op("Gemm", g, step.x(1), transB=1 - tb, alpha=alpha)
            ),
        )
    if step.wants(1):
        yield (
            1,
            (
                step.op("Gemm", g, step.x(0), transA=1, transB=ta, alpha=alpha)
                if tb
                else step.op("Gemm", step.x(0), g, transA=1 - ta, alpha=alpha)
            ),
        )
    if step.wants(2):
        yield 2, step.scaled(step.fitted(g, 2), beta)


PRODUCTS: Mapping[str, Rule] = {"Gemm": gemm, "MatMul": matmul}
