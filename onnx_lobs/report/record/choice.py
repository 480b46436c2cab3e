"""Records how the zeros of a run were chosen, and corrected for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TargetRecord:
    """What was searched for in place of a sparsity, and what was found.

    Parameters
    ----------
    limits
        Largest value of each measure: ``drop`` of the score on the test data,
        ``output_error`` on the calibration data, ``bytes`` of the file and its external data.
    is_met
        Whether the run that this report is of keeps all of them, that of the drop with 95 %
        confidence where its standard error is known; or, where hits are so few that an unchanged
        network could not be told to keep it either, by what that one would have.
    sparsity
        That run's.
    runs
        Sparsity and measures of every run made, the standard error of its drop, and
        ``drop_below``, what that is below with 95 % confidence.
    """

    limits: dict[str, float]
    is_met: bool
    sparsity: float
    runs: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class AllocationRecord:
    """How the zeros of each layer were chosen by measurement.

    Parameters
    ----------
    chosen
        Name of the allocation.
    budget
        What the sparsity is a fraction of.
    losses
        Losses of the trials by their name, on samples that they were not fitted to: the geometric
        mean of the relative output error and of the share of changed choices, or what there is of
        the two. Of quick runs, so larger than the run's own.
    finals
        By name, for those that were run on most of the data: ``error``, ``changed`` and
        ``positions``, as :class:`onnx_lobs.evaluation.loss.OutputLoss` has them, on the rest. Empty
        where uniform zeros won the trials or were far behind, and with ``--effort fast``.
    sensitivity
        By layer: the output's relative error over the layer's own, that layer alone pruned.
    trials
        Quick runs made.
    seconds
        Time for all of it.
    stopped
        Quick runs that were stopped because they could not win.
    left_out
        What ``--time`` left no time for, in words; empty: nothing.
    """

    chosen: str
    budget: str
    losses: dict[str, float]
    finals: dict[str, dict[str, float | None]]
    sensitivity: dict[str, float]
    trials: int
    seconds: float
    stopped: int = 0
    left_out: str = ""


@dataclass(frozen=True)
class CorrectionRecord:
    """How the means and variances behind pruned layers were corrected.

    Parameters
    ----------
    sites
        Values whose statistics could be corrected.
    kind
        ``mean and variance``, ``mean``, or ``none`` where neither lowered the output error on
        the held-out batches, or there was nothing to judge by.
    norms, layers
        BatchNormalizations whose statistics changed, and layers whose bias and rows did.
    before, after
        Output error on the held-out batches; `after` is None when nothing was corrected, both
        when there were fewer than two batches or there is no floating output.
    """

    sites: int
    kind: str = "none"
    norms: int = 0
    layers: int = 0
    before: float | None = None
    after: float | None = None
