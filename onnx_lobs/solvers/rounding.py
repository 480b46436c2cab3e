"""Rounds kept weights to multiples of a scale, each row's errors made up for by its other weights.

For the rows x of one group, with the damped Hessian M and v the weights before::

    minimise  1/2 (x - v)ᵀ M (x - v)    over  x_j = s q_j,  q_j in -127 .. 127,

and x_j = 0 where v_j = 0,

which is a closest vector problem. Four steps, none of which can make the result worse than plain
rounding does with the largest scale:

1. Scales. Of few fractions of the one that just holds the largest weight, the one with the least
   error by plain rounding.
2. Feedback. Weights are rounded one by one, and the error of each is passed on to those that are
   not rounded yet, at their optimum: with M = L Lᵀ over the kept weights, going back from the last,
   ``c_j = v_j - sum_{i > j} L_ij (x_i - v_i) / L_jj`` is rounded (Babai 1986; on the dense Hessian
   it is what GPTQ does). Left out where a factor for each row would take too long.
3. Descent. One weight at a time moves to where the error is least, the others fixed, until none
   moves; then scales to their optimum for these numbers, and once more.
4. Each scale keeps what is best of this and of plain rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray
from onnx_lobs.linalg.factor import cholesky

MOST_LEVEL = 127
FRACTIONS = (1.0, 0.97, 0.94, 0.9, 0.85, 0.8, 0.7)  # of the largest weight over MOST_LEVEL
SWEEPS = 6  # of descent; the third one changes hardly a weight
OWN_FACTORS = 2e10  # flops of a factor for each row, a second; beyond it descent starts as well
BATCH_NUMBERS = 1 << 23  # of the factors that are made at once, 64 MB
TINIEST = float(np.finfo(np.float32).tiny)  # scales stay normal numbers


@dataclass(frozen=True)
class RoundedRows:
    """Weights (groups, rows, d) that are multiples of the scales, (n,) float32, of their rows."""

    weight: FloatArray
    scales: NDArray[np.float32]


def round_rows(
    weight: FloatArray, hessian: FloatArray, scale_of: IntArray, *, most: int = MOST_LEVEL
) -> RoundedRows:
    """Return the weights rounded to multiples of a scale, by their second-order error.

    Parameters
    ----------
    weight
        V (groups, rows, d). Zeros stay zero. Not modified.
    hessian
        M (groups, d, d), positive definite, as it was damped. Not modified.
    scale_of
        (groups, rows): which scale a row has, from 0; several may share one.
    most
        Largest multiple: 127 of int8.

    Returns
    -------
    RoundedRows
        Products of whole numbers and float32 scales, as float32 rounds them. Their error is at
        most that of plain rounding with the least scales that hold all weights.

    Raises
    ------
    NotPositiveDefiniteError
        When M is not positive definite.

    Notes
    -----
    Cost: a product with M for each of FRACTIONS, k³/3 flops for each row with k kept weights, at
    most OWN_FACTORS, and some r d² for the sweeps. Memory: a few arrays of the weight's size.
    """
    grid = _Grid(weight, hessian, scale_of, most)
    plain_scales = grid.scales_for(FRACTIONS[0])
    plain = grid.nearest(weight, plain_scales)
    scales = _best_scales(grid, plain, plain_scales)
    rounded = _descend(grid, _pass_on(grid, scales), scales)
    scales = grid.fitted_scales(rounded, scales)
    rounded = _descend(grid, grid.nearest(rounded, scales), scales)
    worse = grid.errors(rounded) >= grid.errors(plain)
    kept = np.where(worse[scale_of][:, :, None], plain, rounded)
    return RoundedRows(kept, np.where(worse, plain_scales, scales).astype(np.float32))


class _Grid:
    """The weights to be rounded, and the error by which they are."""

    def __init__(
        self, weight: FloatArray, hessian: FloatArray, scale_of: IntArray, most: int
    ) -> None:
        self.weight, self.hessian, self.scale_of, self.most = weight, hessian, scale_of, most
        self.kept: BoolArray = weight != 0
        self.count = int(scale_of.max(initial=-1)) + 1

    def scales_for(self, fraction: float) -> FloatArray:
        """Return the scales (n,) at which the largest weight is `most` / `fraction` steps."""
        largest = np.zeros(self.count)
        np.maximum.at(largest, self.scale_of, np.abs(self.weight).max(axis=2, initial=0.0))
        return as_float32(np.where(largest > 0, fraction * largest / self.most, 1.0))

    def nearest(self, wanted: FloatArray, scales: FloatArray) -> FloatArray:
        """Return the multiples nearest to `wanted` where weights are kept, zeros elsewhere."""
        each = scales[self.scale_of][:, :, None]
        return np.where(self.kept, self.multiples(wanted, each), 0.0)

    def multiples(self, wanted: FloatArray, each: FloatArray) -> FloatArray:
        """Return the multiples of `each` nearest to `wanted`, as float32 holds them."""
        steps = np.clip(np.rint(wanted / each), -self.most, self.most)
        return np.asarray(as_float32(steps * each))

    def errors(self, rounded: FloatArray) -> FloatArray:
        """Return (x - v)ᵀ M (x - v) for each scale, (n,)."""
        change = rounded - self.weight
        return self.per_scale(np.einsum("grd,grd->gr", change @ self.hessian, change))

    def per_scale(self, of_rows: FloatArray) -> FloatArray:
        """Return the sums over the rows of each scale."""
        sums = np.zeros(self.count)
        np.add.at(sums, self.scale_of, of_rows)
        return sums

    def fitted_scales(self, rounded: FloatArray, scales: FloatArray) -> FloatArray:
        """Return the scales that are best for the multiples that `rounded` has of `scales`."""
        steps = rounded / scales[self.scale_of][:, :, None]
        pulled = steps @ self.hessian
        along = self.per_scale(np.einsum("grd,grd->gr", pulled, self.weight))
        square = self.per_scale(np.einsum("grd,grd->gr", pulled, steps))
        is_sound = (along > 0) & (square > 0)
        return as_float32(np.where(is_sound, along / np.where(is_sound, square, 1.0), scales))


def as_float32(values: FloatArray) -> FloatArray:
    """Return what float32 holds of values, above zero no less than its least normal number."""
    single = values.astype(np.float32).astype(np.float64)
    return np.where((values > 0) & (single < TINIEST), TINIEST, single)


def _best_scales(grid: _Grid, plain: FloatArray, scales: FloatArray) -> FloatArray:
    """Return, of the scales at all fractions, those with the least error by plain rounding."""
    best, least = scales, grid.errors(plain)
    for fraction in FRACTIONS[1:]:
        tried = grid.scales_for(fraction)
        errors = grid.errors(grid.nearest(grid.weight, tried))
        best = np.where(errors < least, tried, best)
        least = np.minimum(errors, least)
    return best


def _pass_on(grid: _Grid, scales: FloatArray) -> FloatArray:
    """Return the weights rounded one by one, errors passed on to those not yet rounded.

    A row's weights take their turn by the second moments of their inputs, the largest first. Where
    the factors would take too long, the nearest ones, from which descent ends nearly as low.
    """
    rows, columns = grid.weight.shape[1:]
    diagonal = np.diagonal(grid.hessian, axis1=1, axis2=2)
    counts = grid.kept.sum(axis=2).ravel()
    if float((counts.astype(np.float64) ** 3).sum()) / 3 > OWN_FACTORS:
        return grid.nearest(grid.weight, scales)
    each = scales[grid.scale_of]
    # rows that keep about as many weights are done at once
    weight, kept = grid.weight.reshape(-1, columns), grid.kept.reshape(-1, columns)
    result = np.zeros_like(weight)
    for some in _batches(counts):
        size = int(counts[some].max())
        group = some // rows
        order = np.argsort(np.where(kept[some], diagonal[group], -1.0), axis=1, kind="stable")
        chosen = order[:, columns - size :]  # in front of the kept ones some that are not
        is_kept = np.take_along_axis(kept[some], chosen, axis=1)
        system = grid.hessian[group[:, None, None], chosen[:, :, None], chosen[:, None, :]]
        system *= is_kept[:, :, None] & is_kept[:, None, :]
        system[:, np.arange(size), np.arange(size)] += ~is_kept
        wanted = np.take_along_axis(weight[some], chosen, axis=1)
        each_row = each.reshape(-1, 1)[some]
        found = _back(grid, wanted[:, None], is_kept[:, None], each_row, system)
        result[some[:, None], chosen] = found[:, 0]
    return result.reshape(grid.weight.shape)


def _back(
    grid: _Grid, wanted: FloatArray, kept: BoolArray, each: FloatArray, system: FloatArray
) -> FloatArray:
    """Return weights (b, rows, k) rounded from the last to the first, by systems (b, k, k).

    What is not kept is zero.
    """
    upper = np.ascontiguousarray(cholesky(system).swapaxes(1, 2))
    result, error = np.zeros_like(wanted), np.zeros_like(wanted)
    for j in reversed(range(wanted.shape[2])):
        passed = (error[:, :, j + 1 :] @ upper[:, j, j + 1 :, None])[:, :, 0]
        centre = wanted[:, :, j] - passed / upper[:, None, j, j]
        result[:, :, j] = np.where(kept[:, :, j], grid.multiples(centre, each), 0.0)
        error[:, :, j] = result[:, :, j] - wanted[:, :, j]
    return result


def _batches(counts: IntArray) -> Iterator[IntArray]:
    """Yield the rows that keep any weight, those together that keep about as many."""
    order = np.argsort(counts, kind="stable")
    start = int(np.searchsorted(counts[order], 1))
    while start < order.size:
        least = int(counts[order[start]])
        widest = least + max(4, least // 4)
        most = max(1, BATCH_NUMBERS // (widest * widest))
        some = order[start : start + most]
        some = some[counts[some] <= widest]
        yield some
        start += some.size


def _descend(grid: _Grid, rounded: FloatArray, scales: FloatArray) -> FloatArray:
    """Return the weights after each has moved, one at a time, to where the error is least."""
    result, each = rounded.copy(), scales[grid.scale_of]
    gradient = (result - grid.weight) @ grid.hessian
    for _ in range(SWEEPS):
        has_moved = False
        for j in range(result.shape[2]):
            curvature = grid.hessian[:, None, j, j]
            best = grid.multiples(result[:, :, j] - gradient[:, :, j] / curvature, each)
            step = np.where(grid.kept[:, :, j], best - result[:, :, j], 0.0)
            group, row = np.nonzero(step)
            if group.size:
                has_moved = True
                moved = step[group, row]
                result[group, row, j] = best[group, row]
                gradient[group, row] += moved[:, None] * grid.hessian[group, j]
        if not has_moved:
            break
    return np.asarray(result)
