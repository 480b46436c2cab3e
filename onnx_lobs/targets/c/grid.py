"""Places real numbers on the grids of 8-bit integers, and scales sums by whole numbers.

Every grid has its zero at 0, so that padding, zeros of weights and products need no correction.
Values that are never negative, as behind a Relu, take the 256 steps of an unsigned byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, FloatArray, IntArray
from onnx_lobs.errors import DataError

FACTOR_BITS = 16  # of a factor: 2^-16 of a step is far below the half that rounding costs
MOST_SHIFT = 46  # WORD + MOST_STEP
SUM_LIMIT = 2**30 - 1  # of the sums on the device: half of 32 bits, the other half is for rounding
WORD = 16  # bits of a product that go first, with the lower word of 64 bits
MOST_STEP = 30  # bits that go after them: what 2^30 / 2^30 leaves


@dataclass(frozen=True)
class ByteGrid:
    """The 8-bit integers that stand for a tensor's values: value = scale * integer."""

    scale: float
    is_signed: bool

    @property
    def lowest(self) -> int:
        """The smallest integer; -128 is left out, so that the grid is symmetric."""
        return -127 if self.is_signed else 0

    @property
    def highest(self) -> int:
        """The largest integer."""
        return 127 if self.is_signed else 255

    @property
    def dtype(self) -> np.dtype[np.int8] | np.dtype[np.uint8]:
        """NumPy's type of the integers."""
        return np.dtype(np.int8) if self.is_signed else np.dtype(np.uint8)

    def quantise(self, values: Array) -> Array:
        """Return the nearest integers of the grid; a half goes up."""
        steps = np.floor(np.asarray(values, np.float64) / self.scale + 0.5)
        return np.clip(steps, self.lowest, self.highest).astype(self.dtype)

    def dequantise(self, steps: Array) -> FloatArray:
        """Return the values that integers stand for."""
        return np.asarray(steps, np.float64) * self.scale


def grid_of(name: str, lowest: float, highest: float) -> ByteGrid:
    """Return the grid of a tensor whose values lie in a range.

    Raises
    ------
    DataError
        The range is empty (only zeros) or not finite.
    """
    reach = max(abs(lowest), abs(highest))
    if not math.isfinite(reach) or reach == 0.0:
        raise DataError(
            f"the values of {name!r} on the calibration data reach from {lowest:g} to "
            f"{highest:g}, which no 8-bit grid can hold; give data on which it varies"
        )
    return ByteGrid(highest / 255, False) if lowest >= 0.0 else ByteGrid(reach / 127, True)


@dataclass(frozen=True, eq=False)
class Factors:
    """Whole numbers that scale sums: real factor = factor / 2^shift.

    Parameters
    ----------
    factor
        (n,) below 2^16.
    shift
        (n,) from 1 to 46.
    """

    factor: IntArray
    shift: IntArray

    @property
    def is_short(self) -> bool:
        """Whether products can be cut to 32 bits first: all factors below a half."""
        return bool(np.all(self.shift > WORD))

    @property
    def last_shift(self) -> IntArray:
        """Shifts that end the scaling: of short factors, those behind the cut."""
        return self.shift - WORD if self.is_short else self.shift

    def apply(self, sums: IntArray, grid: ByteGrid) -> Array:
        """Return sums times the factors, rounded (a half goes up), on a grid.

        Where all factors are short, 16 bits of the product are cut first, as on the device.

        Parameters
        ----------
        sums
            (n, ...) or, for one factor, of any shape.
        """
        spread = (-1, *(1,) * (sums.ndim - 1)) if self.factor.size > 1 else ()
        factor, shift = self.factor.reshape(spread), self.last_shift.reshape(spread)
        products = sums.astype(np.int64) * factor
        if self.is_short:
            products = products >> WORD
        scaled = (products + (np.int64(1) << (shift - 1))) >> shift
        return np.asarray(np.clip(scaled, grid.lowest, grid.highest), grid.dtype)


def factors_of(name: str, real: Array) -> Factors:
    """Return whole numbers for real factors, to 16 bits each.

    Raises
    ------
    DataError
        A factor is 2^15 or more: the input's grid is far coarser than the output's.
    """
    real = np.atleast_1d(np.asarray(real, np.float64))
    mantissa, exponent = np.frexp(real)
    factor = np.floor(mantissa * 2.0**FACTOR_BITS + 0.5).astype(np.int64)
    carried = factor == 2**FACTOR_BITS  # rounded up to the next power of two
    factor[carried] >>= 1
    shift = FACTOR_BITS - exponent.astype(np.int64) - carried
    if np.any(shift < 1):
        raise DataError(
            f"{name!r} scales sums by {real.max():g}, at most {2 ** (FACTOR_BITS - 1):,} is "
            "possible; check that the calibration data make its outputs vary"
        )
    factor[shift > MOST_SHIFT] = 0  # nothing of any sum is left
    return Factors(factor, np.minimum(shift, MOST_SHIFT))


def quantise_rows(weight: Array) -> tuple[Array, FloatArray]:
    """Round each row of a weight to symmetric 8-bit integers with a scale of its own.

    A row that lies on such a grid already, as one that was pruned and quantised at once, keeps it.

    Parameters
    ----------
    weight
        (rows, columns).

    Returns
    -------
    integers, scales
        (rows, columns) int8 from -127 to 127, and (rows,). Zeros stay zero. A row of zeros has
        the scale 0.
    """
    weight = np.asarray(weight, np.float64)
    reach = np.abs(weight).max(axis=1, initial=0.0)
    scales = reach / 127
    for row in np.flatnonzero(reach):
        scales[row] = _own_scale(weight[row][weight[row] != 0.0], reach[row])
    safe = np.where(scales > 0.0, scales, 1.0)
    return np.clip(np.rint(weight / safe[:, None]), -127, 127).astype(np.int8), scales


_ON_GRID = 1e-3  # of a step: float32 keeps 127 steps to 1e-5, a row rounded anew would move by .25


def _own_scale(values: FloatArray, reach: float) -> float:
    """Return the scale of the coarsest 8-bit grid that holds all values, or that of their reach."""
    steps = np.arange(1, 128)
    scaled = values[None, :8] * (steps[:, None] / reach)  # a few values rule most grids out
    for step in steps[np.abs(scaled - np.rint(scaled)).max(axis=1) < _ON_GRID]:
        exact = values * (step / reach)
        if np.abs(exact - np.rint(exact)).max() < _ON_GRID:
            return float(reach / step)
    return float(reach / 127)
