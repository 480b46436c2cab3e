"""States what is asked of one layer, adds up its moments, and measures errors by the sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray, RealArray
from onnx_lobs.linalg.moments import Calibration, Moments
from onnx_lobs.linalg.triangles import bands
from onnx_lobs.patterns import Pattern, Unstructured
from onnx_lobs.solvers import Status

STEADY = 1e-12  # of an output's mean square: a variance that is only rounding


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
        output = _mean_change(moments, weight, np.zeros_like(weight))
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


@dataclass(frozen=True)
class LayerTask:
    """What is asked of one layer.

    Parameters
    ----------
    weight
        W (groups, rows, columns), float64.
    calibration
        Moments per use, with targets of this layer's rows only.
    centred
        Per use: whether its bias may change, which absorbs the mean error.
    bias
        Present bias (groups, rows) for methods that prune it too, or None.
    n_prune, pattern, kernel_size
        As in :class:`onnx_lobs.solvers.Problem`.
    method, effort, refit
        Name in METHODS; how long it looks; whether the exact refit ends it (None: as the
        method was made).
    damp
        Fraction of the mean diagonal, or None to choose it, on the held-out batches if it can be.
    memory
        Bytes that the solver may allocate beyond the moments and weights; None: no limit.
    read_alone
        How much a weight counts by itself, beside the mean energy of an input: other nodes may read
        it for what it is, as a table of vectors.
    largest
        Largest number that the type of the stored weight holds.
    n_samples
        Samples behind all observations, which are independent where those of one sample are not;
        None: as many as observations.
    scale_of
        (groups, rows): which scale the weights of a row are to be multiples of, from 0, several
        rows may share one; None: they may have any value.
    """

    weight: FloatArray
    calibration: Calibration
    centred: tuple[bool, ...]
    n_prune: int
    bias: FloatArray | None = None
    pattern: Pattern = field(default_factory=Unstructured)
    kernel_size: int = 1
    method: str = "joint"
    effort: str = "default"
    refit: bool | None = None
    damp: float | None = None
    seed: int = 0
    memory: int | None = None
    read_alone: float = 0.0
    largest: float = np.inf
    n_samples: int | None = None
    scale_of: IntArray | None = None

    def independent(self, moments: Moments) -> float:
        """Return the samples behind the moments of a use, in proportion to its observations."""
        count = moments.inputs.count
        if self.n_samples is None:
            return float(count)
        whole = sum(part.inputs.count for part in (*self.calibration.fit, *self.calibration.held))
        return min(self.n_samples * len(self.centred) * count / max(whole, 1), float(count))

    def unsure_of_mean(self, moments: Moments) -> float:
        """Return the part of a use's mean that its bias does not take up: 1 / samples."""
        return 1.0 / max(self.independent(moments), 1.0)

    @property
    def has_target(self) -> bool:
        """Whether the layer aims at the dense network rather than at its own outputs."""
        return self.calibration.fit[0].targets is not None

    @property
    def is_sparse_already(self) -> bool:
        """Whether the weight has the zeros that are asked of it, so that it can stay as it is."""
        return self.pattern.n_present(self.weight == 0, self.kernel_size) >= self.n_prune

    def total_moments(self) -> tuple[Moments, ...]:
        """Return the moments of each use over all batches: new sums where some were held out."""
        return tuple(self.calibration.total(use) for use in range(len(self.centred)))

    def fit_sums(self) -> LayerSums:
        """Return the sums over the batches that are not held out, of all uses: new arrays."""
        return add_up(self.calibration.fit, self.centred, self.weight)

    def held_sums(self) -> LayerSums:
        """Return the sums over the batches that are held out, of all uses: new arrays."""
        return add_up(self.calibration.held, self.centred, self.weight)

    def sums_of(self, moments: Sequence[Moments]) -> LayerSums:
        """Return the sums of moments of all uses: new arrays."""
        return add_up(moments, self.centred, self.weight)


@dataclass(frozen=True)
class Outcome:
    """A solved layer: weights before rounding, and how they came about.

    ``held_error`` is the relative error on the held-out batches of the weights fitted
    without them, at the settings that these batches chose; None when nothing was held out or
    the method does not refit. ``damp`` is None where no Hessian was read. ``scales`` (n,) float32
    are those of which the weights are multiples, if the task asks for that.
    """

    weight: FloatArray
    bias_change: tuple[FloatArray | None, ...]
    status: Status
    damp: float | None
    target: float | None
    held_error: float | None
    info: dict[str, float | str | int]
    scales: RealArray | None = None


def excess(weight: FloatArray, sums: LayerSums) -> float:
    """Return sum ||y - V x||² about the means of the centred uses; rounding may make it < 0."""
    gradient = weight @ sums.scatter - 2 * sums.cross
    return max(float(np.vdot(gradient, weight)) + sums.energy, 0.0)


def bias_changes(
    task: LayerTask, moments: Sequence[Moments], weight: FloatArray
) -> tuple[FloatArray | None, ...]:
    """Return, per use, what its bias takes up of the mean of y - V x; None if it may not change.

    `moments` are those that the weights were fitted to.
    """
    return tuple(
        (1 - task.unsure_of_mean(use)) * _mean_change(use, task.weight, weight)
        if centre and use.inputs.count > 0
        else None
        for use, centre in zip(moments, task.centred, strict=True)
    )


def _mean_change(moments: Moments, dense: FloatArray, weight: FloatArray) -> FloatArray:
    mean = moments.inputs.mean
    if moments.targets is None:
        return np.asarray(np.einsum("grd,gd->gr", dense - weight, mean))
    target = moments.targets.total / moments.inputs.count
    return np.asarray(target - np.einsum("grd,gd->gr", weight, mean))


class ErrorMeter:
    """Measures the errors of a layer's weights on all batches, whose sums are made once.

    Parameters
    ----------
    task
        The layer. Not modified.
    """

    def __init__(self, task: LayerTask) -> None:
        self.task = task
        self._moments = task.total_moments()
        self._sums = task.sums_of(self._moments)

    def relative_error(self, weight: FloatArray, bias_change: Sequence[FloatArray | None]) -> float:
        """Return the mean squared change of the pre-activations over the dense ones' energy.

        Parameters
        ----------
        weight
            V (groups, rows, columns), the values as stored.
        bias_change
            Per use: what was added to its bias, or None.

        Returns
        -------
        float
            sum ||y - V x - c||² / sum ||y||², the latter about the mean of y where the bias of
            the use may change, unless y does not vary. 0.0 when there is no energy and no error,
            infinity when there is an error only.
        """
        task, sums = self.task, self._sums
        squared, energy = excess(weight, sums), sums.energy
        # of a use whose bias may change, what the bias does not take up
        steady = 0.0
        for moments, centre, change in zip(self._moments, task.centred, bias_change, strict=True):
            if centre and moments.inputs.count:
                left = _mean_change(moments, task.weight, weight)
                left = left if change is None else left - change
                squared += moments.inputs.count * float((left**2).sum())
                mean = _mean_change(moments, task.weight, np.zeros_like(weight))
                steady += moments.inputs.count * float((mean**2).sum())
        # outputs that do not vary: relative to their mean
        if energy <= STEADY * steady:
            energy = steady
        if energy <= 0:
            return 0.0 if squared <= 0 else float("inf")
        return squared / energy


def magnitude_weight(task: LayerTask) -> FloatArray:
    """Return W with its smallest weights zeroed and nothing else changed."""
    mask = task.pattern.select(np.abs(task.weight), task.n_prune, task.kernel_size)
    return np.where(mask, task.weight, 0.0)
