"""The record of a run: one frozen structure from which every form of report is made."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field

COLLAPSE = 0.2  # of the dense network's score
CLEARLY = 2.0  # standard errors
# 3 had `linear` in `output`; 2 `errors` in `allocation`; 1 the score's figures in `output` itself
SCHEMA = 4


@dataclass(frozen=True)
class LayerRecord:
    """What happened to one layer.

    Parameters
    ----------
    name, op
        As in the model.
    weights, zeros
        Counts after pruning.
    error
        Mean squared change of the layer's pre-activations on the calibration data, over the
        mean square of the dense ones (about their mean where a bias absorbs it): 0 is
        perfect, 1 as bad as a constant. Of the weights as stored, after rounding.
    held_error
        The same on batches that chose the damping and the target's share but neither the
        zeros nor the weights themselves, for weights fitted without them; slightly optimistic for
        that choice. None when nothing was held out or the method does not refit.
    magnitude_error
        What `error` would be had the smallest weights been zeroed, as is usual.
    status, remedy
        How the solver ended, and what can be done if that was not well.
    method
        What solved it.
    columns, samples
        Inputs of the layer problem, and observations that its Gram saw.
    damp
        Fraction of the mean diagonal used.
    target
        Weight of the dense network's target, in [0, 1]; None when the layer aimed at its
        own outputs.
    seconds
        Time to solve.
    first_order
        First-order prediction of what this layer's error alone does to the network's outputs: sum
        of squared changes over the sum of squares. None when it was not asked for, the layer did
        not change or lies in a branch, or no output is floating.
    """

    name: str
    op: str
    weights: int
    zeros: int
    error: float
    magnitude_error: float
    status: str
    seconds: float
    held_error: float | None = None
    remedy: str = ""
    method: str = ""
    columns: int = 0
    samples: int = 0
    damp: float | None = None
    target: float | None = None
    first_order: float | None = None
    info: dict[str, float | str | int] = field(default_factory=dict)

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return self.zeros / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class SkipRecord:
    """A node with weights that was left as it was, why, and what kind of reason that is.

    Kinds are the values of :class:`onnx_lobs.layers.refusal.RefusalKind`.
    """

    node: str
    op: str
    reason: str
    kind: str


@dataclass(frozen=True)
class Totals:
    """Sums over the pruned layers, and sizes of the files.

    ``file_bytes`` and ``gzip_bytes`` are (before, after), of the model and its external
    data; None where there was no file, the latter also where it has more than 1 GiB.
    """

    weights: int
    zeros: int
    seconds: float
    file_bytes: tuple[int, int] | None = None
    gzip_bytes: tuple[int, int] | None = None

    @property
    def sparsity(self) -> float:
        """Fraction of zeros among the weights of the pruned layers."""
        return self.zeros / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class ScoreRecord:
    """A score of the dense network and of the pruned one on the same test data.

    Parameters
    ----------
    name
        ``top1``, ``top5``, ``agreement``, ``cosine`` or ``FILE.py:FUNCTION``.
    before, after, drop
        The scores, higher is better, and `before` - `after`.
    before_error, after_error, drop_error
        Their standard errors, that of the drop from the samples' paired differences; None
        where the score is no mean over at least two samples.
    n
        Samples that the score is the mean of; 0 if it is no such mean.
    is_fraction
        Whether it is a share of samples, to be shown in per cent.
    drop_below, unchanged_below
        What the drop is below with 95 % confidence, from the paired differences, and what that of
        an unchanged network would be, above 0 for hits; None where there is no `drop_error`.
    """

    name: str
    before: float
    after: float
    drop: float
    before_error: float | None = None
    after_error: float | None = None
    drop_error: float | None = None
    n: int = 0
    is_fraction: bool = False
    drop_below: float | None = None
    unchanged_below: float | None = None

    @property
    def is_collapsed(self) -> bool:
        """Whether more than COLLAPSE of the score is lost, and by more than chance does."""
        spread = 0.0 if self.drop_error is None else self.drop_error
        return self.drop > COLLAPSE * abs(self.before) and self.drop > CLEARLY * spread


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
        `n_held` calibration samples that nothing was fitted to; None when it has no floating
        output, or one that cannot be compared, as a warning says.
    fitted_error, n_held
        The same on the fitted samples; how many were not: with none `error` is `fitted_error`.
    score
        Scores on the test data, or None without such.
    first_order
        First-order prediction of `error`: the layers' errors times the outputs' derivatives by
        them, behind all activations; None when not asked for or not to be had.
    bounds, notes
        Bounds of the error by output, if asked for; what the figures of outputs leave out.
    judged
        Outputs whose part in `error` is measured in front of their final activation.
    """

    error: float | None
    fitted_error: float | None = None
    n_held: int = 0
    score: ScoreRecord | None = None
    first_order: float | None = None
    bounds: tuple[BoundRecord, ...] = ()
    notes: tuple[str, ...] = ()
    judged: tuple[JudgedValue, ...] = ()


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
    """

    chosen: str
    budget: str
    losses: dict[str, float]
    finals: dict[str, dict[str, float | None]]
    sensitivity: dict[str, float]
    trials: int
    seconds: float


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


@dataclass(frozen=True, repr=False)
class Report:
    """The record of a run; `loops` is what compiles loops that can be, None: NumPy does all."""

    model: str
    options: dict[str, object]
    data: str
    layers: tuple[LayerRecord, ...]
    skipped: tuple[SkipRecord, ...]
    totals: Totals
    output: OutputRecord
    allocation: AllocationRecord | None = None
    target: TargetRecord | None = None
    warnings: tuple[str, ...] = ()
    correction: CorrectionRecord | None = None
    output_path: str | None = None
    loops: str | None = None

    def __repr__(self) -> str:
        """Return one short line."""
        totals = self.totals
        error = "unknown" if self.output.error is None else f"{self.output.error:.2g}"
        return (
            f"<Report {self.model!r}: {totals.zeros:,} of {totals.weights:,} weights zero "
            f"({100 * totals.sparsity:.1f} %) in {len(self.layers)} layers, output error {error}>"
        )

    def to_dict(self) -> dict[str, object]:
        """Return the record as plain values, with derived figures and the schema version."""
        record = dataclasses.asdict(self)
        for entry, layer in zip(record["layers"], self.layers, strict=True):
            entry["sparsity"] = layer.sparsity
        record["totals"]["sparsity"] = self.totals.sparsity
        return {"schema": SCHEMA, **record}

    def to_json(self) -> str:
        """Return the record as JSON; ``schema`` is the version of its form.

        What is infinite, such as the error of a layer whose outputs were all zero, is null.
        """
        return json.dumps(_without_infinity(self.to_dict()), indent=2, allow_nan=False)


def _without_infinity(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_infinity(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(one) for one in value]
    return None if isinstance(value, float) and math.isinf(value) else value
