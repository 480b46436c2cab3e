"""Records what pruning did to the whole network."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.report.record.score import ScoreRecord


@dataclass(frozen=True)
class BoundRecord:
    """How far one output can be, and is, from the dense network's, on the calibration data.

    Parameters
    ----------
    output
        Its name.
    bound
        Upper bound of the sum of squared changes over the sum of squares; None if there is none.
    measured
        The same of the outputs themselves; None where that is no finite number.
    layers
        What `bound` would be if only this layer had an error of its own, largest first.
    missing
        Why there is no bound: the nodes without a rule.
    """

    output: str
    bound: float | None
    measured: float | None
    layers: dict[str, float]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class JudgedValue:
    """An output that is judged in front of its final activation.

    ``activation`` is Softmax, LogSoftmax or Sigmoid; ``value`` is what goes into it, of a softmax
    less the mean of the classes.
    """

    output: str
    value: str
    activation: str


@dataclass(frozen=True)
class OutputRecord:
    """What pruning did to the whole network.

    Parameters
    ----------
    error
        Mean squared change of the network's floating outputs over their mean square, on
        calibration samples that nothing was fitted to; None when there were none, or it has no
        floating output, or one that cannot be compared, as a warning says.
    fitted_error, n_held
        The same on the samples that were fitted; how many `error` was measured on.
    score
        Scores on the test data, or None without such.
    first_order
        First-order prediction of `error`: the layers' errors times the outputs' derivatives by
        them, behind all activations; None when not asked for or not to be had.
    bounds, notes
        Bounds of the error by output, if asked for; what the figures of outputs leave out.
    judged
        Outputs whose part in `error` is measured in front of their final activation.
    n_fits
        Fits that left these samples out: the delivered one, and of few samples others.
    """

    error: float | None
    fitted_error: float | None = None
    n_held: int = 0
    score: ScoreRecord | None = None
    first_order: float | None = None
    bounds: tuple[BoundRecord, ...] = ()
    notes: tuple[str, ...] = ()
    judged: tuple[JudgedValue, ...] = ()
    n_fits: int = 0
