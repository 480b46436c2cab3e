"""Prunes by SparseGPT: columns from left to right, errors passed on to the columns to the right.

An exact elimination needs an inverse for every row, since each row loses other weights. SparseGPT
gives up the free order: all rows take the columns in one order, so that one inverse serves all.

With U upper triangular and UᵀU = A⁻¹, the inverse of A over the columns from j on has its first row
in U: removing w_j costs ``w_j² / U_jj²`` and moves the columns to its right by
``-w_j / U_jj U_j,j:``. The mask of a panel of 128 columns is chosen from these costs when the panel
begins, all rows together, with an equal share of the zeros in every panel; where windows have a
quota of zeros, each window is a panel. Columns run position by position, so that windows are
consecutive.

Paper: Frantar, Alistarh, ICML 2023 (arXiv 2301.00774). As published it has no refit; here the
exact one follows unless it is switched off. Cost: d³ + m d² flops. It starts from the unconstrained
optimum, which is W without a dense target. Blocks are left out: the paper has none, and its costs
price a column by what the columns to its right can still mend, so the columns of a block would
have no common price.
"""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray
from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg import lapack
from onnx_lobs.linalg.triangles import bands
from onnx_lobs.patterns import Quota
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.solution import Selection

PANEL = 128


def select_sparsegpt(problem: Problem) -> Selection:
    """Return the mask and SparseGPT's own values on it."""
    _, _, columns = problem.shape
    # start from the optimum of all weights, columns position by position
    order = np.arange(columns).reshape(-1, problem.kernel_size).T.ravel()
    weight = (problem.target @ problem.inverse)[:, :, order]
    weight[np.broadcast_to(problem.damped.dead[:, None, order], weight.shape)] = 0.0
    # U of the inverse, from whose rows the errors are passed on
    inverse = problem.damped.take_inverse() if problem.is_tight else problem.inverse
    upper = _upper(inverse, order, overwrite=problem.is_tight)
    # panel by panel
    mask = np.ones(weight.shape, dtype=np.bool_)
    for start, end, count in panels(problem):
        _prune_panel(problem, weight, mask, upper, start, end, count)
    back = np.argsort(order)
    return Selection(np.ascontiguousarray(mask[:, :, back]), weight[:, :, back])


def panels(problem: Problem) -> list[tuple[int, int, int]]:
    """Return start, end and zeros of each panel; their zeros add up to ``n_prune``."""
    groups, rows, columns = problem.shape
    if problem.quota is not None:
        edges = np.concatenate([[0], np.cumsum(window_sizes(problem.quota, problem.kernel_size))])
        counts = groups * rows * _by_position(problem.quota.zeros, problem.kernel_size)
    else:
        edges = np.append(np.arange(0, columns, PANEL), columns)
        parts = 1 if problem.pattern.shares_rows else groups * rows  # with as many zeros each
        total = problem.n_prune // max(parts, 1)
        counts = parts * np.diff(edges * total // columns)
    return [(int(a), int(b), int(c)) for a, b, c in zip(edges, edges[1:], counts, strict=False)]


def window_sizes(quota: Quota, kernel_size: int) -> IntArray:
    """Return the columns of each window, in the order of the columns position by position."""
    sizes = np.bincount(quota.window, minlength=quota.zeros.size)
    return _by_position(sizes, kernel_size)


def _by_position(numbers: IntArray, kernel_size: int) -> IntArray:
    """Return one number a window, whose order is by channel, ordered by kernel position."""
    return np.asarray(numbers.reshape(-1, kernel_size).T.ravel())


def _upper(inverse: FloatArray, order: IntArray, *, overwrite: bool = False) -> FloatArray:
    """Return U (groups, d, d) with UᵀU the inverse in that order, in the upper triangles.

    What is below them is anything. In place of the inverse, if the caller lets it `overwrite` that.
    """
    result = inverse if overwrite else np.empty_like(inverse)
    for one, out in zip(inverse, result, strict=True):
        if overwrite:
            _permute_rows(out, order)
        else:
            np.take(one, order, axis=0, out=out, mode="clip")  # with "raise" it makes a copy
        for rows in bands(len(out)):
            out[rows] = out[rows][:, order]
        status = lapack.potrf(out)
        if status:
            raise NotPositiveDefiniteError(
                f"the inverse of the Hessian is singular at pivot {status}; raise damp"
            )
    return result


def _permute_rows(matrix: FloatArray, order: IntArray) -> None:
    """Put the rows of a matrix into an order, in place: cycle by cycle, with one row apart."""
    left = set(np.flatnonzero(order != np.arange(order.size)).tolist())
    while left:
        first = place = left.pop()
        apart = matrix[first].copy()
        while (source := int(order[place])) != first:
            matrix[place] = matrix[source]
            left.remove(source)
            place = source
        matrix[place] = apart


def _prune_panel(
    problem: Problem,
    weight: FloatArray,
    mask: BoolArray,
    upper: FloatArray,
    start: int,
    end: int,
    count: int,
) -> None:
    """Choose the zeros of a panel and pass its errors on; `weight` and `mask` change."""
    # choose the panel's zeros by what they cost now
    diagonal = np.diagonal(upper, axis1=1, axis2=2)[:, None, start:end]
    scores = np.square(weight[:, :, start:end] / diagonal)
    mask[:, :, start:end] = _choose(problem, scores, count)
    # pass each column's error on within the panel, then all of them to what is behind it
    errors = np.zeros((*weight.shape[:2], end - start))
    for j in range(start, end):
        pruned = np.where(mask[:, :, j], 0.0, weight[:, :, j])
        errors[:, :, j - start] = pruned / diagonal[:, :, j - start]
        step = errors[:, :, j - start, None] * upper[:, None, j, j:end]
        weight[:, :, j:end] -= step
        weight[:, :, j] *= mask[:, :, j]
    weight[:, :, end:] -= errors @ upper[:, start:end, end:]


def _choose(problem: Problem, scores: FloatArray, count: int) -> BoolArray:
    if problem.quota is not None:  # the panel is one window
        order = np.argsort(scores, axis=2, kind="stable")
        mask = np.ones(scores.shape, dtype=np.bool_)
        each = count // max(scores.shape[0] * scores.shape[1], 1)
        np.put_along_axis(mask, order[:, :, :each], False, axis=2)
        return mask
    return problem.pattern.select(scores, count)
