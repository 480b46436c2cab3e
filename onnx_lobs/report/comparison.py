"""Records several runs of one model side by side, and shows them as text, JSON and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from onnx_lobs.report.numbers import format_bytes, format_error, format_percent, percent
from onnx_lobs.report.parts import warning_panel
from onnx_lobs.report.record import Report
from onnx_lobs.report.several_runs import SeveralRuns
from onnx_lobs.report.svg import Labels, Series, line_chart
from onnx_lobs.report.table import plain_table


@dataclass(frozen=True)
class ComparedRun:
    """One run: what it was asked, and what came out; scores are None without test data."""

    method: str
    pattern: str
    weights: int
    zeros: int
    output_error: float | None
    score: float | None
    score_error: float | None
    gzip_bytes: int | None
    seconds: float

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return self.zeros / self.weights if self.weights else 0.0

    @property
    def name(self) -> str:
        """What its line in a plot is called."""
        return self.method if self.pattern == "unstructured" else f"{self.method} {self.pattern}"


@dataclass(frozen=True, kw_only=True)
class Comparison(SeveralRuns):
    """Several runs of one model on the same data, side by side."""

    runs: tuple[ComparedRun, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values, with the sparsities and the schema version."""
        record = super().to_dict()
        for entry, run in zip(record["runs"], self.runs, strict=True):
            entry["sparsity"] = run.sparsity
        return record


def compared_run(report: Report, gzip_bytes: int | None = None) -> ComparedRun:
    """Return what a comparison keeps of the report of a run."""
    score = report.output.score
    return ComparedRun(
        method=str(report.options["method"]),
        pattern=str(report.options["pattern"]),
        weights=report.totals.weights,
        zeros=report.totals.zeros,
        output_error=report.output.error,
        score=None if score is None else score.after,
        score_error=None if score is None else score.after_error,
        gzip_bytes=gzip_bytes,
        seconds=report.totals.seconds,
    )


def render_comparison(record: Comparison) -> RenderableType:
    """Return the record as a renderable: one row per run."""
    table = plain_table(f"{record.model} pruned in {len(record.runs)} ways")
    has_patterns = len({run.pattern for run in record.runs}) > 1
    table.add_column("method", no_wrap=True)
    if has_patterns:
        table.add_column("pattern", no_wrap=True)
    headings = ("zeros", "output\nerror", *([record.score] if record.score else []), "gzipped", "s")
    for heading in headings:
        table.add_column(str(heading), justify="right", no_wrap=True)
    for run in record.runs:
        table.add_row(
            run.method,
            *([run.pattern] if has_patterns else []),
            format_percent(run.zeros, run.weights),
            "-" if run.output_error is None else format_error(run.output_error),
            *([record.score_words(run.score, run.score_error)] if record.score else []),
            "" if run.gzip_bytes is None else format_bytes(run.gzip_bytes),
            f"{run.seconds:.1f}",
        )
    if record.score:
        empty = [""] * has_patterns
        table.add_row("dense", *empty, "", "", record.score_words(record.dense_score), "", "")
    return Group(table, "", Text(f"calibrated on {record.data}"), *warning_panel(record.warnings))


def plot_comparison(record: Comparison) -> str:
    """Return an SVG: the score against sparsity, or the output error where there is no score."""
    has_score = record.score is not None
    what = str(record.score) if has_score else "output error"
    names = dict.fromkeys(run.name for run in record.runs)
    lines = [Series(name, _points(record.runs, name, has_score=has_score)) for name in names]
    labels = Labels(
        f"{what} against sparsity",
        f"{what} of {record.model}, pruned by {', '.join(names)}.",
        "sparsity",
        what,
    )
    text = percent if has_score and record.is_fraction else "{:g}".format
    return line_chart(lines, labels, is_log=not has_score, x_text=percent, y_text=text)


def _points(
    runs: Sequence[ComparedRun], name: str, *, has_score: bool
) -> tuple[tuple[float, float], ...]:
    """Return sparsity and value of each run of a line that has a value."""
    found = ((r.sparsity, r.score if has_score else r.output_error) for r in runs if r.name == name)
    return tuple((sparsity, value) for sparsity, value in found if value is not None)
