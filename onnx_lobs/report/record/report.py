"""Gathers the record of a run: one frozen structure from which every form of report is made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from onnx_lobs.report.record.advice import AdviceRecord
from onnx_lobs.report.record.as_json import to_json
from onnx_lobs.report.record.blocks import BlocksRecord
from onnx_lobs.report.record.channels import ChannelsRecord
from onnx_lobs.report.record.choice import AllocationRecord, CorrectionRecord, TargetRecord
from onnx_lobs.report.record.deploy import DeployRecord
from onnx_lobs.report.record.details import Details
from onnx_lobs.report.record.dropped import DroppedRecord
from onnx_lobs.report.record.inputs import InputRange
from onnx_lobs.report.record.layer import LayerRecord
from onnx_lobs.report.record.output import OutputRecord
from onnx_lobs.report.record.rounds import RoundRecord
from onnx_lobs.report.record.totals import SkipRecord, Totals

# 4 had no `details` and no `command`; 3 had `linear` in `output`; 2 `errors` in `allocation`;
# 1 the score's figures in `output` itself
SCHEMA = 5


@dataclass(frozen=True, repr=False)
class Report:
    """The record of a run.

    Parameters
    ----------
    model, options, data
        What was pruned, how, and on which samples.
    layers, skipped
        A record for each pruned layer, and for each node with weights that was left.
    totals
        Weights, zeros, seconds, sizes of files.
    output
        How the outputs and the score changed.
    allocation, target
        How zeros were shared and searched for; None where they were given.
    warnings
        Sentences, each with its remedy.
    correction
        What was corrected after pruning; None where nothing was.
    output_path
        The file written, if there is one.
    loops
        What compiles loops that can be; None: NumPy does all.
    samples, is_made_up
        Number of samples that calibrated the model, and whether they were random.
    command
        The words that repeat the run.
    advice
        What to try next.
    details
        What a page shows beside this.
    inputs
        Ranges of the inputs in the first batch.
    deploy
        What was made for ``--target`` or ``--chip``; None without.
    channels
        Those that were removed; None where none were to go.
    dropped
        Those that were empty, and dropped without loss; None where none were looked for.
    rounds
        Retrainings behind pruning; `output` is what the last of them left.
    blocks
        What ``--refit-blocks`` did; None without.
    """

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
    samples: int | None = None
    is_made_up: bool = False
    command: tuple[str, ...] = ()
    advice: tuple[AdviceRecord, ...] = ()
    details: Details = field(default_factory=Details)
    inputs: tuple[InputRange, ...] = ()
    deploy: DeployRecord | None = None
    channels: ChannelsRecord | None = None
    dropped: DroppedRecord | None = None
    rounds: tuple[RoundRecord, ...] = ()
    blocks: BlocksRecord | None = None

    @property
    def has_zeros(self) -> bool:
        """Whether single weights were pruned, and not channels alone removed."""
        return self.channels is None or self.channels.then_zeros

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
        record = {**dataclasses.asdict(self), "details": self.details.to_dict()}
        for entry, layer in zip(record["layers"], self.layers, strict=True):
            entry["sparsity"] = layer.sparsity
        record["totals"]["sparsity"] = self.totals.sparsity
        return {"schema": SCHEMA, **record}

    def to_json(self) -> str:
        """Return the record as JSON; ``schema`` is the version of its form.

        What is infinite, such as the error of a layer whose outputs were all zero, is null.
        """
        return to_json(self.to_dict())

    def to_html(self) -> str:
        """Return the record as a page of HTML that needs nothing else.

        Raises
        ------
        ConfigError
            When jinja2, which the extra ``report`` brings, is not installed.
        """
        from onnx_lobs.report.html.page import report_page

        return report_page(self)

    def to_markdown(self) -> str:
        """Return the record as Markdown."""
        from onnx_lobs.report.markdown import report_markdown

        return report_markdown(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from onnx_lobs.report.html.notebook import report_fragment

        return report_fragment(self)
