"""States what is asked of one layer, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray, RealArray
from onnx_lobs.linalg.moments import Calibration, Moments
from onnx_lobs.patterns import Pattern, Unstructured
from onnx_lobs.solvers import Status
from onnx_lobs.solvers.layerwise.sums import LayerSums, add_up, mean_change


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

    def held_sums(self) -> LayerSums:
        """Return the sums over the batches that are held out, of all uses: new arrays."""
        return self.sums_of(self.calibration.held)

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


def bias_changes(
    task: LayerTask, moments: Sequence[Moments], weight: FloatArray
) -> tuple[FloatArray | None, ...]:
    """Return, per use, what its bias takes up of the mean of y - V x; None if it may not change.

    `moments` are those that the weights were fitted to.
    """
    return tuple(
        (1 - task.unsure_of_mean(use)) * mean_change(use, task.weight, weight)
        if centre and use.inputs.count > 0
        else None
        for use, centre in zip(moments, task.centred, strict=True)
    )


def magnitude_weight(task: LayerTask) -> FloatArray:
    """Return W with its smallest weights zeroed and nothing else changed."""
    mask = task.pattern.select(np.abs(task.weight), task.n_prune, task.kernel_size)
    return np.where(mask, task.weight, 0.0)
