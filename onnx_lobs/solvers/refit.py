"""Refits the kept weights by exact least squares, in float64; and in float32, for choices.

For each row, with S its kept and P its pruned columns, A = H + lambda I and R = Y + lambda W
(see :mod:`onnx_lobs.solvers.problem`; the damping pulls towards W)::

    v_S = A_SS⁻¹ R_S                                            kept side
    v   = v0 - v0_P (G_PP)⁻¹ G_P,:    v0 = R A⁻¹, G = A⁻¹        pruned side, when P is smaller

This is the minimiser of the damped objective on the mask: no values on it have a lower one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray, RealArray
from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg import lapack
from onnx_lobs.linalg.workers import ThreadBuffers, map_batches
from onnx_lobs.solvers.memory import Batching
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.scaled import Scaled

BATCHED = 48  # below this many unknowns one batched call beats a LAPACK call per support
NARROWEST = 16  # sizes that differ by less make one batch: a call costs more than padding
BATCH_BYTES = 64 << 20  # of the gathered matrices of one batch
SAFE_DAMP = 1e-9  # of the mean diagonal: below, A⁻¹ is too inexact for the pruned side


@dataclass(frozen=True)
class _Supports:
    """Distinct supports of some rows: rows with the same one share a factorisation.

    `chosen` (supports, d) is True for the unknowns to solve for; the rows of support i are
    ``rows[starts[i]:starts[i + 1]]``, numbered over all groups; `group` (supports,).
    """

    chosen: BoolArray
    rows: IntArray
    starts: IntArray
    group: IntArray


def refit(problem: Problem, mask: BoolArray) -> FloatArray:
    """Return the weights (groups, rows, d) that minimise the damped error on `mask`.

    Parameters
    ----------
    problem
        The layer. Not modified.
    mask
        (groups, rows, d) bool, True = kept. Not modified.

    Returns
    -------
    float64, exactly 0.0 where `mask` is False.

    Notes
    -----
    Per distinct support of size k: k³/3 flops and k² numbers, where k is the smaller of the
    kept and the pruned count. Memory beyond the problem's own: O(m d) and 64 MiB.
    """
    safe = (problem.damped.strength >= SAFE_DAMP * _mean_diagonal(problem)).all()
    if problem.is_tight and (2 * mask.sum(axis=2) <= mask.shape[2]).all():
        problem.damped.forget_factor()  # the kept side has factors of its own
    system = _System(
        problem.damped.matrix,
        problem.target,
        lambda: problem.inverse,
        lambda: problem.target @ problem.inverse,
    )
    fitted = _fit(system, mask, problem.batching, either_side=bool(safe))
    return np.asarray(fitted, dtype=np.float64)


def refit_scaled(scaled: Scaled, mask: BoolArray) -> RealArray:
    """Return about what :func:`refit` does, in scaled columns and their precision: for choices.

    In float32 that takes half the time. On 12 real layers it raised the damped error by 1e-7 of it
    at most, with a damping of 1e-5 or more; on made-up columns that are all nearly alike by 19 %
    at 4e-6. So where the layer is solved in float64, or float32 does not do, it is the exact refit.

    Parameters
    ----------
    scaled
        The layer. Not modified.
    mask
        (groups, rows, d) bool, True = kept. Not modified.

    Returns
    -------
    (groups, rows, d) of the type of ``scaled.matrix``, 0 on dead inputs.
    """
    problem = scaled.problem
    if scaled.dtype == np.float32:
        system = _System(
            scaled.matrix,
            scaled.target.reshape(problem.shape),
            lambda: scaled.inverse,
            lambda: scaled.free.reshape(problem.shape),
        )
        try:
            found = _fit(system, mask, problem.batching, either_side=True)
            if np.isfinite(found).all():
                return found
        except NotPositiveDefiniteError:
            pass  # in float32: the exact one has the digits that this takes, or raises in its turn
    exact = refit(problem, mask) * scaled.scale[:, None, :]
    return np.where(problem.damped.dead[:, None, :], 0.0, exact).astype(scaled.dtype)


def refit_nearly(scaled: Scaled, mask: BoolArray) -> FloatArray:
    """Return the weights of :func:`refit_scaled`; on a dead input a kept one keeps W's value."""
    values = refit_scaled(scaled, mask) / scaled.scale[:, None, :]
    dead = scaled.problem.damped.dead[:, None, :] & mask
    return np.where(dead, scaled.problem.weight, values)


@dataclass(frozen=True)
class _System:
    """A, R, and how to get A⁻¹ and R A⁻¹ where they are needed."""

    matrix: RealArray
    target: RealArray
    inverse: Callable[[], RealArray]
    free: Callable[[], RealArray]


def _fit(system: _System, mask: BoolArray, batching: Batching, *, either_side: bool) -> RealArray:
    """Solve for every row, on the pruned side where that is smaller and allowed."""
    groups, rows, columns = mask.shape
    flat = mask.reshape(-1, columns)
    kept = flat.sum(axis=1)
    result = np.zeros(flat.shape, system.matrix.dtype)
    pruned_side = (2 * kept > columns) & either_side
    group_of = np.repeat(np.arange(groups), rows)
    # rows that keep few weights: a system of the kept ones each
    kept_rows = np.flatnonzero(~pruned_side & (kept > 0))
    if kept_rows.size:
        right = system.target.reshape(-1, columns)
        result[kept_rows] = _solve(system.matrix, right, flat, kept_rows, group_of, batching)
    # rows that lose few: from the optimum of all weights, a system of the pruned ones each
    if pruned_side.any():
        inverse, free = system.inverse(), system.free().reshape(-1, columns)
        other = np.flatnonzero(pruned_side)
        shift = np.zeros_like(result)
        shift[other] = _solve(inverse, free, ~flat, other, group_of, batching)
        moved = shift.reshape(mask.shape) @ inverse
        result[other] = free[other] - moved.reshape(-1, columns)[other]
    result[~flat] = 0.0
    return result.reshape(mask.shape)


def _mean_diagonal(problem: Problem) -> FloatArray:
    diagonal = np.diagonal(problem.damped.matrix, axis1=1, axis2=2)
    return np.asarray(diagonal.mean(axis=1, keepdims=True), dtype=np.float64)


def _solve(
    matrix: RealArray,
    right: RealArray,
    chosen: BoolArray,
    rows: IntArray,
    group_of: IntArray,
    batching: Batching,
) -> RealArray:
    """Return x (len(rows), d) with ``matrix_CC x_C = right_C`` for the chosen C of each row."""
    result = np.zeros_like(right)
    # rows with one support share their system
    supports = _distinct(chosen[rows], rows, group_of)
    sizes = supports.chosen.sum(axis=1)
    order = np.argsort(sizes, kind="stable")
    # small systems many in a call, large ones by themselves on all cores
    small = order[(sizes[order] > 0) & (sizes[order] <= BATCHED)]
    for batch in _batches(small, sizes, batching.size(BATCH_BYTES)):
        _solve_batch(matrix, right, supports, batch, result)
    large = order[sizes[order] > BATCHED].tolist()
    scratch = ThreadBuffers()
    map_batches(
        lambda index: _solve_one(matrix, right, supports, index, result, scratch),
        large,
        batching.workers,
    )
    return result[rows]


def _distinct(chosen: BoolArray, rows: IntArray, group_of: IntArray) -> _Supports:
    """Sort `rows` by (group, support)."""
    packed = np.packbits(chosen, axis=1)
    group_bytes = group_of[rows].astype(">i8")[:, None].view(np.uint8)
    keys = np.ascontiguousarray(np.concatenate([group_bytes, packed], axis=1))
    as_one = keys.view(np.dtype((np.void, keys.shape[1]))).ravel()
    _, first, which = np.unique(as_one, return_index=True, return_inverse=True)
    order = np.argsort(which, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(which, minlength=first.size))])
    return _Supports(chosen[first], rows[order], starts, group_of[rows[first]])


def _batches(order: IntArray, sizes: IntArray, batch_bytes: int) -> Iterator[IntArray]:
    """Cut supports, sorted by size, into batches of bounded memory and little padding."""
    start = 0
    while start < order.size:
        size = int(sizes[order[start]])
        widest = size + max(NARROWEST, size // 4)
        most = max(1, batch_bytes // (8 * widest * widest))
        end = start + int(np.searchsorted(sizes[order[start : start + most]], widest, "right"))
        yield order[start:end]
        start = end


def _solve_batch(
    matrix: RealArray,
    right: RealArray,
    supports: _Supports,
    batch: IntArray,
    result: RealArray,
) -> None:
    """Solve many small supports in one call; short ones are padded with the identity."""
    # the columns of each support, padded to one size
    chosen = supports.chosen[batch]
    counts = chosen.sum(axis=1)
    size = int(counts.max())
    columns = np.argsort(~chosen, axis=1, kind="stable")[:, :size]
    real = np.arange(size) < counts[:, None]
    # their systems, the identity where they are padded
    group = supports.group[batch]
    systems = matrix[group[:, None, None], columns[:, :, None], columns[:, None, :]]
    systems *= real[:, :, None] & real[:, None, :]
    each = np.arange(size)
    systems[:, each, each] += ~real
    shared = supports.starts[batch + 1] - supports.starts[batch]
    for turn in range(int(shared.max())):  # rows of one support: as many turns as they share
        some = np.flatnonzero(shared > turn)
        row = supports.rows[supports.starts[batch[some]] + turn]
        sides = np.where(real[some], right[row[:, None], columns[some]], 0.0)
        try:
            values = np.linalg.solve(systems[some], sides[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError as error:
            raise NotPositiveDefiniteError(
                f"the Hessian of some {size} inputs or fewer is singular; raise damp"
            ) from error
        at, position = np.nonzero(real[some])
        result[row[at], columns[some][at, position]] = values[at, position]


def _solve_one(
    matrix: RealArray,
    right: RealArray,
    supports: _Supports,
    index: int,
    result: RealArray,
    scratch: ThreadBuffers,
) -> None:
    """Solve one large support for all its rows by Cholesky."""
    columns = np.flatnonzero(supports.chosen[index])
    rows = supports.rows[supports.starts[index] : supports.starts[index + 1]]
    system = scratch.upper(matrix[supports.group[index]], columns)
    status = lapack.potrf(system)
    if status:
        raise NotPositiveDefiniteError(
            f"the Hessian of {columns.size} kept inputs is singular at pivot {status}; raise damp"
        )
    sides = right[rows[:, None], columns[None, :]]
    lapack.potrs(system, sides)
    result[rows[:, None], columns[None, :]] = sides
