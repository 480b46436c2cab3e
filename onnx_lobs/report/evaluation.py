"""Records an evaluation, and which limits it misses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_lobs.options.limits import Limits
from onnx_lobs.report.numbers import format_error, format_percent, format_score
from onnx_lobs.report.record import SCHEMA, Details, InputRange, JudgedValue, ScoreRecord
from onnx_lobs.report.record.as_json import to_json

if TYPE_CHECKING:
    from onnx_lobs.evaluation.output import OutputChange

ROUNDING = 1e-9  # by which a difference of two scores may exceed a limit written in decimals


@dataclass(frozen=True)
class SideRecord:
    """One of two models: its file or name, its weights and how many of them are zero.

    Weights are those of layers that can be pruned, and quantised ones, whose zero is what stands
    for it. ``multiplications`` are those of one sample by weights that are not zero; None where
    they depend on sizes that the model leaves open, or some weights are quantised.
    """

    model: str
    weights: int
    zeros: int
    multiplications: int | None = None

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return self.zeros / self.weights if self.weights else 0.0


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A pruned model beside the dense one.

    Parameters
    ----------
    dense, pruned
        The two models; their weights are those of the layers that ``inspect`` lists, and quantised
        ones.
    data, samples
        Where the data come from, and how many samples they are.
    error
        Sum of squared changes of all floating outputs over their sum of squares; None when
        there is none, or one of them cannot be compared, as a warning says.
    outputs
        The same and more for each output.
    scores
        Scores of both; the first is the one that ``max_drop`` limits.
    file_bytes, gzip_bytes
        Sizes (dense, pruned) with external data; the latter None beyond 1 GiB, and for models
        without a file.
    limits
        What was demanded.
    seconds
        Time taken.
    warnings
        What to know about the figures.
    judged
        Outputs whose figures are of the values in front of their final activation.
    command
        The words that repeat the comparison; empty where it was started from Python.
    details
        Which samples and classes changed most.
    inputs
        Ranges of the inputs in the first batch.
    """

    dense: SideRecord
    pruned: SideRecord
    data: str
    samples: int
    error: float | None
    outputs: tuple[OutputChange, ...]
    scores: tuple[ScoreRecord, ...]
    file_bytes: tuple[int, int]
    gzip_bytes: tuple[int, int] | None
    limits: Limits
    seconds: float
    warnings: tuple[str, ...] = ()
    judged: tuple[JudgedValue, ...] = ()
    command: tuple[str, ...] = ()
    details: Details = field(default_factory=Details)
    inputs: tuple[InputRange, ...] = ()

    def __repr__(self) -> str:
        """Return one short line."""
        error = "unknown" if self.error is None else f"{self.error:.2g}"
        scores = "".join(f", {s.name} {s.before:.4g} -> {s.after:.4g}" for s in self.scores)
        return (
            f"<Evaluation of {self.pruned.model!r}: {100 * self.pruned.sparsity:.1f} % of "
            f"{self.pruned.weights:,} weights zero, output error {error}{scores}>"
        )

    @property
    def multiplications(self) -> tuple[int, int] | None:
        """Those of both models; None where one of them is not known."""
        before, after = self.dense.multiplications, self.pruned.multiplications
        return None if before is None or after is None else (before, after)

    @property
    def missed(self) -> tuple[str, ...]:
        """A sentence for every limit that is not met."""
        return tuple(_missed(self))

    def to_json(self) -> str:
        """Return the record as JSON; ``schema`` is the version of its form."""
        record = {"schema": SCHEMA, **dataclasses.asdict(self), "missed": self.missed}
        record["details"] = self.details.to_dict()
        for name in ("dense", "pruned"):
            record[name]["sparsity"] = getattr(self, name).sparsity
        return to_json(record)

    def to_html(self) -> str:
        """Return the record as a page of HTML that needs nothing else.

        Raises
        ------
        ConfigError
            When jinja2, which the extra ``report`` brings, is not installed.
        """
        from onnx_lobs.report.html.evaluation_page import evaluation_page

        return evaluation_page(self)

    def to_markdown(self) -> str:
        """Return the record as Markdown."""
        from onnx_lobs.report.markdown import evaluation_markdown

        return evaluation_markdown(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from onnx_lobs.report.html.notebook import evaluation_fragment

        return evaluation_fragment(self)


def _missed(evaluation: Evaluation) -> Iterator[str]:
    """Yield a sentence for every limit that is not met; what was not measured meets none."""
    limits = evaluation.limits
    if limits.max_output_error is not None:
        if evaluation.error is None:
            yield "the output error could not be measured, so it is not known to meet its limit"
        elif evaluation.error > limits.max_output_error:
            yield (
                f"the output error is {format_error(evaluation.error)}, more than "
                f"{limits.max_output_error:g}"
            )
    if limits.max_drop is not None:
        score = evaluation.scores[0]
        if score.drop > limits.max_drop + ROUNDING:
            drop = format_score(score.drop, score.drop_error, is_fraction=False)
            yield f"score {score.name} drops by {drop}, more than {limits.max_drop:g}"
    if limits.min_sparsity is not None and evaluation.pruned.sparsity < limits.min_sparsity:
        share = format_percent(evaluation.pruned.zeros, evaluation.pruned.weights)
        yield f"{share} of the weights are zero, fewer than {100 * limits.min_sparsity:g} %"
