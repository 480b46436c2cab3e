"""Streaming second moments of a layer's inputs, and of its target against its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Gram:
    """Sums over columns of data: ``X^T X``, ``sum x`` and the count, per group, in float64.

    Parameters
    ----------
    groups, columns
        The shape of the problem: `matrix` is (groups, columns, columns).

    Notes
    -----
    Each update multiplies one batch in the batch's own precision (float32 is enough: the
    rounding of one batch is about 1e-7 of its entries and averages out) and adds in float64.
    Cost of an update with n rows: n d^2 flops per group; memory 8 d^2 bytes per group.
    """

    def __init__(self, groups: int, columns: int) -> None:
        self.matrix: Array = np.zeros((groups, columns, columns))
        self.total: Array = np.zeros((groups, columns))
        self.count = 0
        self.groups, self.columns = groups, columns

    def update(self, x: NDArray) -> None:
        """Add the rows of `x` (groups, n, columns). `x` is not modified."""
        x = _as_real(x)
        if x.shape[1] == 0:
            return
        self.matrix += _self_product(x)
        self.total += x.sum(axis=1, dtype=np.float64)
        self.count += x.shape[1]

    def merge(self, other: Gram) -> None:
        """Add another Gram of the same shape."""
        self.matrix += other.matrix
        self.total += other.total
        self.count += other.count

    @property
    def mean(self) -> Array:
        """Mean input (groups, columns); zeros before the first update."""
        return self.total / max(self.count, 1)

    def scatter(self, centred: bool) -> Array:
        """Return ``sum x x^T``, or ``sum (x - mean)(x - mean)^T`` if `centred`."""
        if not centred:
            return self.matrix.copy()
        mean = self.mean
        return self.matrix - self.count * mean[:, :, None] * mean[:, None, :]


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

    def update(self, y: NDArray, x: NDArray) -> None:
        """Add rows of `y` (groups, n, rows) with the rows of `x` (groups, n, columns)."""
        y, x = _as_real(y), _as_real(x)
        self.cross += y.transpose(0, 2, 1) @ x
        self.total += y.sum(axis=1, dtype=np.float64)
        self.energy += np.einsum("gnr,gnr->gr", y, y, dtype=np.float64)

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
        """Return the moments of one use over all batches."""
        first = self.fit[use]
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


def _as_real(x: NDArray) -> NDArray:
    """Return `x` in float32 or float64; half precisions become float32."""
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def _self_product(x: NDArray) -> NDArray:
    """Return ``x^T x`` per group.

    NumPy multiplies a 2-D matrix by its own transpose with SYRK, half the flops of GEMM;
    many small groups are faster as one batched product.
    """
    if x.shape[2] < 32 and x.shape[0] > 1:
        return np.asarray(x.transpose(0, 2, 1) @ x)
    return np.stack([group.T @ group for group in x])
