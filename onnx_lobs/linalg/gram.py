"""Streaming second moments of a layer's inputs, and of its target against its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Data = NDArray[Any]


class Gram:
    """Sums over columns of data: ``X^T X``, ``sum x`` and the count, per group, in float64.

    Parameters
    ----------
    groups, columns
        The shape of the problem: `matrix` is (groups, columns, columns).

    Notes
    -----
    Each update takes the batch's mean off, multiplies in the batch's own precision, and adds
    product and mean back in float64: the rounding is then about 1e-7 of the variances, however
    large the means are. Cost of an update with n rows: n d^2 flops per group and a copy of the
    rows; memory 8 d^2 bytes per group.
    """

    def __init__(self, groups: int, columns: int) -> None:
        self.matrix: Array = np.zeros((groups, columns, columns))
        self.total: Array = np.zeros((groups, columns))
        self.count = 0
        self.groups, self.columns = groups, columns

    def update(self, x: Data) -> None:
        """Add the rows of `x` (groups, n, columns). `x` is not modified."""
        n = x.shape[1]
        if n == 0:
            return
        rest, mean = _centre(_as_real(x))
        left = rest.sum(axis=1, dtype=np.float64)
        cross = (left + 0.5 * n * mean)[:, :, None] * mean[:, None, :]
        self.matrix += _self_product(rest)
        self.matrix += cross + cross.swapaxes(1, 2)
        self.total += left + n * mean
        self.count += n

    def merge(self, other: Gram) -> None:
        """Add another Gram of the same shape."""
        self.add(other.matrix, other.total, other.count)

    def add(self, matrix: Array, total: Array, count: int) -> None:
        """Add sums that were made elsewhere: x x^T, x, and their number."""
        self.matrix += matrix
        self.total += total
        self.count += count

    @property
    def mean(self) -> Array:
        """Mean input (groups, columns); zeros before the first update."""
        return np.asarray(self.total / max(self.count, 1))

    def scatter(self, centred: bool) -> Array:
        """Return ``sum x x^T``, or ``sum (x - mean)(x - mean)^T`` if `centred`."""
        if not centred:
            return np.array(self.matrix)
        mean = self.mean
        centre: Array = self.count * mean[:, :, None] * mean[:, None, :]
        return np.subtract(self.matrix, centre, out=centre)


@dataclass
class TargetMoments:
    """Sums of a target y (rows) against the inputs x (columns) of the layer that aims at it.

    ``cross`` is sum y x^T (groups, rows, columns), ``total`` sum y (groups, rows),
    ``energy`` sum y^2 (groups, rows), all in float64.
    """

    cross: Array
    total: Array
    energy: Array

    @classmethod
    def zeros(cls, groups: int, rows: int, columns: int) -> TargetMoments:
        """Return empty sums."""
        return cls(
            np.zeros((groups, rows, columns)), np.zeros((groups, rows)), np.zeros((groups, rows))
        )

    def add_own(self, weight: Array, matrix: Array, total: Array) -> None:
        """Add the sums of y = W x from those of x alone: `matrix` x x^T and `total` x.

        Cost: 2 m d^2 flops per group, whatever the number of rows behind the sums.
        """
        cross = weight @ matrix
        self.cross += cross
        self.total += np.einsum("grd,gd->gr", weight, total)
        self.energy += np.einsum("grd,grd->gr", cross, weight)

    def update(self, y: Data, x: Data) -> None:
        """Add rows of `y` (groups, n, rows) with the rows of `x` (groups, n, columns)."""
        n = y.shape[1]
        if n == 0:
            return
        (y_rest, y_mean), (x_rest, x_mean) = _centre(_as_real(y)), _centre(_as_real(x))
        y_left = y_rest.sum(axis=1, dtype=np.float64)
        x_left = x_rest.sum(axis=1, dtype=np.float64)
        self.cross += y_rest.transpose(0, 2, 1) @ x_rest
        self.cross += y_left[:, :, None] * x_mean[:, None, :]
        self.cross += y_mean[:, :, None] * (x_left + n * x_mean)[:, None, :]
        self.total += y_left + n * y_mean
        self.energy += np.einsum("gnr,gnr->gr", y_rest, y_rest, dtype=np.float64)
        self.energy += 2 * y_mean * y_left + n * y_mean**2

    def merge(self, other: TargetMoments) -> None:
        """Add the sums of another batch."""
        self.cross += other.cross
        self.total += other.total
        self.energy += other.energy


@dataclass
class Moments:
    """What one use of a group saw: inputs, and the target that its outputs aim at.

    ``targets`` is None when the target is the layer's own weight on the same inputs.
    """

    inputs: Gram
    targets: TargetMoments | None = None

    def merge(self, other: Moments) -> None:
        """Add the sums of `other`."""
        self.inputs.merge(other.inputs)
        if self.targets is not None and other.targets is not None:
            self.targets.merge(other.targets)

    def rows(self, chosen: slice) -> Moments:
        """Return the same inputs with the targets of some rows."""
        t = self.targets
        if t is None:
            return self
        part = TargetMoments(t.cross[:, chosen], t.total[:, chosen], t.energy[:, chosen])
        return Moments(self.inputs, part)


@dataclass(frozen=True)
class Calibration:
    """The moments of a group, one per use of its weight: most batches, and the rest.

    ``held`` has no counts when there were too few batches to hold one out.
    """

    fit: tuple[Moments, ...]
    held: tuple[Moments, ...]

    def total(self, use: int) -> Moments:
        """Return the moments of one use over all batches; not to be modified."""
        first = self.fit[use]
        if self.held[use].inputs.count == 0:
            return first  # a Gram can be large
        both = Moments(
            Gram(first.inputs.groups, first.inputs.columns),
            None if first.targets is None else TargetMoments.zeros(*first.targets.cross.shape),
        )
        both.merge(first)
        both.merge(self.held[use])
        return both

    def rows(self, chosen: slice) -> Calibration:
        """Return the moments with the targets of some rows only; the Grams are shared."""
        return Calibration(
            tuple(moments.rows(chosen) for moments in self.fit),
            tuple(moments.rows(chosen) for moments in self.held),
        )


def _centre(x: Data) -> tuple[Data, Array]:
    """Return the rows of `x` less their mean, in the type of `x`, and that mean (groups, d)."""
    mean = x.mean(axis=1, dtype=np.float64).astype(x.dtype)
    return x - mean[:, None, :], mean.astype(np.float64)


def _as_real(x: Data) -> Data:
    """Return `x` in float32 or float64; half precisions become float32."""
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def _self_product(x: Data) -> Data:
    """Return ``x^T x`` per group.

    NumPy multiplies a 2-D matrix by its own transpose with SYRK, half the flops of GEMM;
    many small groups are faster as one batched product.
    """
    if x.shape[2] < 32 and x.shape[0] > 1:
        return np.asarray(x.transpose(0, 2, 1) @ x)
    return np.stack([group.T @ group for group in x])
