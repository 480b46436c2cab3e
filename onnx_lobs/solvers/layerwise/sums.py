"""Adds up the moments of a layer's uses, and measures errors by the sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray
from onnx_lobs.linalg.moments import Moments
from onnx_lobs.linalg.triangles import bands


class LayerSums:
    """Moments of all uses of a layer, added up.

    Parameters
    ----------
    scatter
        (groups, d, d) sum x x^T. These sums own it: see :meth:`take_hessian`.
    cross
        (groups, rows, d) sum y x^T.
    energies
        (groups, rows) sum y². All about the means for the uses that are centred.
    count
        Observations.
    """

    def __init__(
        self, scatter: FloatArray, cross: FloatArray, energies: FloatArray, count: int
    ) -> None:
        self._scatter: FloatArray | None = scatter
        self.cross, self.energies, self.count = cross, energies, count

    @property
    def scatter(self) -> FloatArray:
        """Sum x x^T (groups, d, d), until it is taken."""
        assert self._scatter is not None, "the scatter was taken to be a Hessian"
        return self._scatter

    @property
    def per_sample(self) -> float:
        """What turns these sums into the solver's, of mean squares: 2 over the count."""
        return 2 / max(self.count, 1)

    def take_hessian(self) -> FloatArray:
        """Return H = (2/n) sum x x^T, made in the place of the scatter, which is gone then.

        There is seldom memory for both; the other sums stay.
        """
        taken, self._scatter = self.scatter, None
        taken *= self.per_sample
        return taken

    @property
    def energy(self) -> float:
        """Sum y² over all rows."""
        return float(self.energies.sum())

    @property
    def diagonal(self) -> FloatArray:
        """Sum x² of every input (groups, d), about the means of the centred uses."""
        return np.asarray(np.einsum("gii->gi", self.scatter))

    def add(self, other: LayerSums) -> None:
        """Add the sums of another use."""
        self._scatter = np.add(self.scatter, other.scatter, out=self.scatter)
        self.cross = self.cross + other.cross
        self.energies = self.energies + other.energies
        self.count += other.count

    def add_mean(self, factor: float, moments: Moments, weight: FloatArray) -> None:
        """Add `factor` of what centring the sums of one use has taken off."""
        n, mean = moments.inputs.count, moments.inputs.mean
        output = mean_change(moments, weight, np.zeros_like(weight))
        for band in bands(mean.shape[1]):
            self.scatter[:, band] += factor * n * mean[:, band, None] * mean[:, None, :]
        self.cross = self.cross + factor * n * output[:, :, None] * mean[:, None, :]
        self.energies = self.energies + factor * n * output**2

    def mix(self, share: FloatArray, diagonal: FloatArray, weight: FloatArray) -> None:
        """Replace a `share` (groups,) of the moments by `diagonal` (groups, d), in place.

        The same share of the targets becomes what the layer's own weight makes of it.
        """
        left = 1.0 - share[:, None, None]
        added = share[:, None] * diagonal
        scatter = self.scatter
        scatter *= left
        index = np.arange(scatter.shape[1])
        scatter[:, index, index] += added
        self.cross = left * self.cross + weight * added[:, None, :]
        own = np.einsum("grd,gd->gr", weight**2, added)
        self.energies = left[:, :, 0] * self.energies + own

    def add_alone(self, diagonal: FloatArray, weight: FloatArray) -> None:
        """Add inputs that come one at a time, of energies `diagonal` (groups, d or 1), in place.

        Their targets are what the layer's own weight makes of them.
        """
        index = np.arange(self.scatter.shape[1])
        self.scatter[:, index, index] += diagonal
        self.cross = self.cross + weight * diagonal[:, None, :]
        self.energies = self.energies + (weight**2 * diagonal[:, None, :]).sum(axis=2)

    def part(self, groups: IntArray, rows: IntArray) -> LayerSums:
        """Return the sums of some rows of some groups: new arrays."""
        place = np.ix_(groups, rows)
        return LayerSums(self.scatter[groups], self.cross[place], self.energies[place], self.count)


def add_up(moments: Sequence[Moments], centred: Sequence[bool], weight: FloatArray) -> LayerSums:
    """Return the sums over all uses; without targets, y = W x."""
    groups, rows, columns = weight.shape
    scatter: FloatArray | None = None
    cross: FloatArray | None = None
    energies, count = np.zeros((groups, rows)), 0
    for use, centre in zip(moments, centred, strict=True):
        n = use.inputs.count
        if n == 0:
            continue
        # the products of outputs and inputs, about their means where the bias may change
        own = use.inputs.scatter(centre)
        if use.targets is None:
            towards = weight @ own
            energies += np.einsum("grd,grd->gr", towards, weight)
        else:
            mean = use.targets.total / n
            shift = n * mean[:, :, None] * use.inputs.mean[:, None, :] if centre else 0.0
            towards = use.targets.cross - shift
            energies += use.targets.energy - (n * mean**2 if centre else 0.0)
        scatter = own if scatter is None else np.add(scatter, own, out=scatter)
        cross = towards if cross is None else cross + towards
        count += n
    if scatter is None or cross is None:
        scatter, cross = np.zeros((groups, columns, columns)), np.zeros(weight.shape)
    return LayerSums(scatter, cross, energies, count)


def excess(weight: FloatArray, sums: LayerSums) -> float:
    """Return sum ||y - V x||² about the means of the centred uses; rounding may make it < 0."""
    gradient = weight @ sums.scatter - 2 * sums.cross
    return max(float(np.vdot(gradient, weight)) + sums.energy, 0.0)


def mean_change(moments: Moments, dense: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the mean of y - V x of one use (groups, rows); without targets y = W x, W `dense`."""
    mean = moments.inputs.mean
    if moments.targets is None:
        return np.asarray(np.einsum("grd,gd->gr", dense - weight, mean))
    target = moments.targets.total / moments.inputs.count
    return np.asarray(target - np.einsum("grd,gd->gr", weight, mean))
