"""Holds what calibration leaves of a layer: moments of its inputs, and of its target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.origin import Centred, Origin, as_real, column_sums

SHORT = 256  # observations of which squares add up in the data's own precision


class TargetMoments:
    """Sums of a target y (rows) against the inputs x (columns) of the layer that aims at it.

    ``cross`` is sum y x^T (groups, rows, columns), ``total`` sum y (groups, rows),
    ``energy`` sum y^2 (groups, rows), all in float64.
    """

    def __init__(self, cross: FloatArray, total: FloatArray, energy: FloatArray) -> None:
        self.cross, self.total, self.energy = cross, total, energy
        self._of_y = Origin()

    @classmethod
    def zeros(cls, groups: int, rows: int, columns: int) -> TargetMoments:
        """Return empty sums."""
        return cls(
            np.zeros((groups, rows, columns)), np.zeros((groups, rows)), np.zeros((groups, rows))
        )

    def add_linear(
        self,
        weight: FloatArray,
        matrix: FloatArray,
        total: FloatArray,
        cross: FloatArray | None = None,
    ) -> None:
        """Add the sums of y = W z from those of z: `matrix` z z^T, `total` z, `cross` z x^T.

        Without `cross` z is x. Cost: 2 m d^2 flops per group and matrix, whatever the number of
        observations behind the sums.
        """
        own = weight @ matrix
        self.cross += own if cross is None else weight @ cross
        self.total += np.einsum("grd,gd->gr", weight, total)
        self.energy += np.einsum("grd,grd->gr", own, weight)

    def update(self, y: Array, x: Centred) -> None:
        """Add targets `y` (groups, n, rows) with the inputs that :meth:`Gram.update` returned."""
        n = y.shape[1]
        if n == 0:
            return
        y = as_real(y)
        # take an origin off, as Gram.update does
        self._of_y.see(y)
        rest, mean = self._of_y.take_off(y), self._of_y.value.astype(np.float64)
        left = column_sums(rest)
        add_cross(self.cross, Centred(rest, mean, left), x)
        # put it back: y = rest + mean
        self.total += left + n * mean
        self.energy += _column_energies(rest)
        self.energy += 2 * mean * left + n * mean**2

    def merge(self, other: TargetMoments) -> None:
        """Add the sums of another batch."""
        self.cross += other.cross
        self.total += other.total
        self.energy += other.energy


def add_cross(sums: FloatArray, y: Centred, x: Centred) -> None:
    """Add the sums of y x^T (groups, columns of y, columns of x) over the same observations."""
    n = x.rest.shape[1]
    # (y' + mean_y)(x' + mean_x)^T, where ' is the rest; terms that are zero are left out
    sums += y.rest.swapaxes(1, 2) @ x.rest
    if x.mean.any():
        sums += y.sums[:, :, None] * x.mean[:, None, :]
    if y.mean.any():
        x_all = x.sums + n * x.mean
        sums += y.mean[:, :, None] * x_all[:, None, :]


@dataclass
class Moments:
    """What one use read: moments of its inputs, and of the target that its outputs aim at.

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
    """The moments of a shared input, one per use of its weight: most batches, and the rest.

    ``held`` has no counts when there were too few batches to hold one out.
    """

    fit: tuple[Moments, ...]
    held: tuple[Moments, ...]

    def merge(self, other: Calibration) -> None:
        """Add what other batches gave."""
        pairs = zip((*self.fit, *self.held), (*other.fit, *other.held), strict=True)
        for moments, more in pairs:
            if more.inputs.count:
                moments.merge(more)

    def total(self, use: int) -> Moments:
        """Return the moments of one use over all batches; not to be modified."""
        first = self.fit[use]
        if self.held[use].inputs.count == 0:
            return first  # a Gram can be large
        inputs = Gram.joined(first.inputs, self.held[use].inputs)
        if first.targets is None:
            return Moments(inputs)
        targets = TargetMoments.zeros(*first.targets.cross.shape)
        for part in (first, self.held[use]):
            assert part.targets is not None
            targets.merge(part.targets)
        return Moments(inputs, targets)

    def rows(self, chosen: slice) -> Calibration:
        """Return the moments with the targets of some rows only; the Grams are shared."""
        return Calibration(
            tuple(moments.rows(chosen) for moments in self.fit),
            tuple(moments.rows(chosen) for moments in self.held),
        )


def _column_energies(x: Array) -> FloatArray:
    """Return the sums of squares of the columns of x (groups, n, d): short sums, then float64."""
    total = np.zeros((x.shape[0], x.shape[2]))
    for begin in range(0, x.shape[1], SHORT):
        some = x[:, begin : begin + SHORT]
        total += np.einsum("gnd,gnd->gd", some, some)
    return total
