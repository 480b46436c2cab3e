"""Adds up second moments of a layer's inputs, batch by batch."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.linalg.lapack import syrk
from onnx_lobs.linalg.origin import Centred, Origin, as_real, column_sums
from onnx_lobs.linalg.triangles import BAND, add_lower, bands, mirror_lower

SETTLE_ROWS = 1 << 13  # float32 sums of so many observations keep an error of about 3e-7
# columns from which products go to float64 at once, band by band: that costs up to a tenth of
# the product, and saves a third of the memory
LARGE = 1024
ENOUGH = 1024  # observations multiplied at once then: sums of fewer cost as much as their products
ROUNDING = 1e-6  # of what centring takes off: sums of float32 products keep their means to that
BATCHED = 64  # columns up to which many groups are faster as one batched product than apart


class Gram:
    """Sums over observations: ``X^T X``, ``sum x`` and the count, per group, in float64.

    Parameters
    ----------
    groups, columns
        The shape of the problem: `matrix` is (groups, columns, columns).

    Notes
    -----
    Inputs whose mean is large beside their deviation are counted from an origin, the mean of
    the first ones seen; the rounding is then about 3e-7 of the variances, however large the means
    are. Products add up in the data's own precision, half of each matrix only, for up to
    SETTLE_ROWS observations, of LARGE columns or more for one update; then they, and what the
    origin left out, are added in float64. Cost of an update with n observations: n d^2 flops
    per group and, where an origin is taken off, a copy of them; memory :func:`gram_bytes`.
    """

    def __init__(self, groups: int, columns: int) -> None:
        self.groups, self.columns = groups, columns
        self.count = 0
        self._matrix: FloatArray | None = None
        self._mirrored = True
        self._total: FloatArray = np.zeros((groups, columns))
        self._origin = Origin()
        self._sources: tuple[Gram, ...] = ()
        self._part: Array | None = None
        self._left: FloatArray = np.zeros((groups, columns))
        self._rows = 0
        self._waiting: list[Array] = []

    @classmethod
    def of(cls, matrix: FloatArray, total: FloatArray, count: int) -> Gram:
        """Return the Gram of sums that were made elsewhere: x x^T, x, and their number.

        The arrays are taken over: the caller does not change them any more.
        """
        made = cls(*total.shape)
        made._matrix, made._total, made.count = matrix, total, count
        return made

    @classmethod
    def joined(cls, one: Gram, two: Gram) -> Gram:
        """Return the sums of two Grams together, whose matrix is only made when it is asked for.

        Neither may be changed afterwards.
        """
        both = cls(one.groups, one.columns)
        both._sources = one, two
        both._total, both.count = one.total + two.total, one.count + two.count
        return both

    @property
    def matrix(self) -> FloatArray:
        """Sum of x x^T (groups, columns, columns), not to be modified."""
        if self._sources:
            return self._sources[0].matrix + self._sources[1].matrix
        self.settle()
        if self._matrix is None:
            self._matrix = np.zeros((self.groups, self.columns, self.columns))
        if not self._mirrored:
            mirror_lower(self._matrix)
            self._mirrored = True
        return self._matrix

    @matrix.setter
    def matrix(self, value: FloatArray) -> None:
        self.settle()
        self._matrix, self._mirrored = value, True

    @property
    def total(self) -> FloatArray:
        """Sum of x (groups, columns), not to be modified."""
        self.settle()
        return self._total

    @total.setter
    def total(self, value: FloatArray) -> None:
        self.settle()
        self._total = value

    def update(self, observations: Array, *, overwrite: bool = False) -> Centred:
        """Add observations (groups, n, columns), in either memory order, which must not change.

        Not modified, unless the caller lets it `overwrite` them, which saves a copy.

        Returns
        -------
        Centred
            What was multiplied, for those that need it too.
        """
        n = observations.shape[1]
        x = as_real(observations)
        if n == 0:
            return Centred(x, np.zeros((self.groups, self.columns)), np.zeros_like(self._left))
        # products of numbers near zero round least
        self._origin.see(x)
        rest = self._origin.take_off(x, out=x if overwrite else None)
        left = column_sums(rest)
        # large matrices go to float64 at once, which saves one of them
        if self.columns >= LARGE:
            self._add_at_once(rest, left)
        else:
            self._add_up(rest, left)
        self.count += n
        return Centred(rest, self._origin.value.astype(np.float64), left)

    def _add_up(self, rest: Array, left: FloatArray) -> None:
        """Add products to those of earlier observations in the data's precision."""
        n, dtype = rest.shape[1], rest.dtype
        if self._part is not None and (self._part.dtype != dtype or self._rows + n > SETTLE_ROWS):
            self.settle()
        if self._part is None:
            self._part = np.zeros((self.groups, self.columns, self.columns), dtype)
        _add_self_product(self._part, rest)
        self._left += left
        self._rows += n

    def _add_at_once(self, rest: Array, left: FloatArray) -> None:
        """Add products in float64, once there are enough observations."""
        if self._waiting and self._waiting[0].dtype != rest.dtype:
            self._multiply()
        self._waiting.append(rest)
        self._left += left
        self._rows += rest.shape[1]
        if sum(some.shape[1] for some in self._waiting) >= ENOUGH:
            self._multiply()

    def _multiply(self) -> None:
        """Add the products of what is waiting, a few rows of the matrices at a time."""
        if self._matrix is None:
            self._matrix = np.zeros((self.groups, self.columns, self.columns))
        waiting, self._waiting = self._waiting, []
        buffer = np.empty(BAND * self.columns, waiting[0].dtype)
        for group, total in enumerate(self._matrix):
            x = _in_order(_joined([some[group] for some in waiting]))
            # the lower triangle only, band by band: float32 products, float64 sums
            for rows in bands(self.columns):
                shape = rows.stop - rows.start, rows.stop
                part = buffer[: shape[0] * shape[1]].reshape(shape)
                total[rows, : rows.stop] += np.matmul(x[:, rows].T, x[:, : rows.stop], out=part)
        self._mirrored = False

    def merge(self, other: Gram) -> None:
        """Add another Gram of the same shape."""
        self.add(other.matrix, other.total, other.count)

    def add(self, matrix: FloatArray, total: FloatArray, count: int) -> None:
        """Add sums that were made elsewhere: x x^T, x, and their number."""
        self.settle()
        if self._matrix is None:
            self._matrix = np.array(matrix, dtype=np.float64)
        else:
            self._matrix += matrix
        self._total += total
        self.count += count

    def settle(self) -> None:
        """Add to the float64 sums what waits, and what has added up with the origin's share."""
        if self._waiting:
            self._multiply()
        if self._rows == 0:
            return
        part, n, left = self._part, self._rows, self._left
        self._part, self._rows, self._left = None, 0, np.zeros_like(self._left)
        if part is not None:
            is_first = self._matrix is None
            if self._matrix is None:
                self._matrix = np.empty((self.groups, self.columns, self.columns))
            add_lower(self._matrix, part, is_first=is_first)
        self._put_back(left, n)

    def _put_back(self, left: FloatArray, n: int) -> None:
        """Add to the sums what the origin left out of the products of n observations."""
        assert self._matrix is not None
        shift = self._origin.value.astype(np.float64)
        if shift.any():
            _add_shift(self._matrix, left, shift, n)
        self._total += left + n * shift
        self._mirrored = False

    @property
    def mean(self) -> FloatArray:
        """Mean input (groups, columns); zeros before the first update."""
        return np.asarray(self.total / max(self.count, 1))

    def scatter(self, centred: bool) -> FloatArray:
        """Return ``sum x x^T``, or ``sum (x - mean)(x - mean)^T`` if `centred`; a new array."""
        result = self.matrix if self._sources else np.array(self.matrix)
        if centred:
            total = self.total
            for band in bands(self.columns):
                mean = total[:, band] / max(self.count, 1)
                result[:, band] -= mean[:, :, None] * total[:, None, :]
            mirror_lower(result)  # to the last bit
            _settle_rounding(result, total**2 / max(self.count, 1), self.count)
        return result


def _settle_rounding(scatter: FloatArray, removed: FloatArray, count: int) -> None:
    """Put zeros, in place, where centring left less than nothing: such an input is constant.

    What was `removed` from the diagonal (groups, columns) was rounded, and products of float32
    below its least number were lost. A diagonal further below zero is left for who checks the Gram.
    """
    diagonal = np.diagonal(scatter, axis1=1, axis2=2)
    rounding = ROUNDING * removed + count * float(np.finfo(np.float32).tiny)
    constant = (diagonal < 0) & (diagonal >= -rounding)
    for group, column in zip(*np.nonzero(constant), strict=True):
        scatter[group, column] = 0.0
        scatter[group, :, column] = 0.0


def gram_bytes(groups: int, columns: int) -> int:
    """Return the bytes of a :class:`Gram` while float32 data are added."""
    return (8 if columns >= LARGE else 12) * groups * columns**2


def _add_shift(sums: FloatArray, left: FloatArray, shift: FloatArray, n: int) -> None:
    """Add ``left shift^T + shift left^T + n shift shift^T`` per group, to the lower triangles."""
    half = left + 0.5 * n * shift
    for rows in bands(sums.shape[-1]):
        to = slice(rows.stop)
        change = half[:, rows, None] * shift[:, None, to]
        change += shift[:, rows, None] * half[:, None, to]
        sums[:, rows, to] += change


def _add_self_product(sums: Array, x: Array) -> None:
    """Add ``x^T x`` per group to the lower triangles, in place; x is (groups, n, d).

    SYRK takes half the flops of GEMM and adds in place; many small groups are faster as one
    batched product.
    """
    if x.shape[0] > 1 and x.shape[2] < BATCHED:
        sums += x.swapaxes(1, 2) @ x
        return
    for total, one in zip(sums, x, strict=True):
        syrk(total, _in_order(one))


def _joined(parts: list[Array]) -> Array:
    """Return matrices (n, columns) as one, in the memory order of the first."""
    if len(parts) == 1:
        return parts[0]
    is_turned = parts[0].flags.f_contiguous
    whole = np.concatenate([part.T if is_turned else part for part in parts], axis=int(is_turned))
    return whole.T if is_turned else whole


def _in_order(x: Array) -> Array:
    """Return `x`, or a copy that BLAS takes as it is."""
    return x if x.flags.c_contiguous or x.flags.f_contiguous else np.ascontiguousarray(x)
