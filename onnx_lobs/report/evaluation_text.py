"""An evaluation as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnx_lobs.report.evaluation import Evaluation, SideRecord
from onnx_lobs.report.numbers import format_error, format_percent
from onnx_lobs.report.parts import fact_grid, warning_panel
from onnx_lobs.report.record import range_words
from onnx_lobs.report.summary import error_words, judged_rows, score_row, size_rows, work_words
from onnx_lobs.report.table import Name, plain_table


def render_evaluation(evaluation: Evaluation) -> RenderableType:
    """Return an evaluation as a renderable that fits 80 columns and more.

    Parameters
    ----------
    evaluation
        Not modified.
    """
    parts: list[RenderableType] = [
        _output_table(evaluation),
        "",
        fact_grid(evaluation_rows(evaluation)),
    ]
    parts += warning_panel(evaluation.warnings)
    if evaluation.limits.any:
        missed = evaluation.missed
        parts += ["", *(Text(f"missed: {line}", "yellow") for line in missed)]
        parts += [] if missed else [Text("all limits are met")]
    return Group(*parts)


def _output_table(evaluation: Evaluation) -> Table:
    """Return one row per output: its error, cosine, agreement and greatest change."""
    table = plain_table("outputs")
    table.add_column("output", min_width=Name.least)
    for heading in (
        "shape",
        "error",
        "cosine",
        "same\nchoice",
        "greatest\nchange",
        "greatest\nvalue",
    ):
        table.add_column(heading, justify="right", no_wrap=heading != "shape")
    names = [output.name for output in evaluation.outputs]
    for output in evaluation.outputs:
        table.add_row(
            Name(output.name, names),
            "x".join(map(str, output.shape)),
            figure_words(output.error),
            "" if output.cosine is None else f"{output.cosine:.6f}",
            "" if output.agreement is None else share_words(output.agreement),
            figure_words(output.max_change),
            figure_words(output.largest),
        )
    return table


def evaluation_rows(evaluation: Evaluation) -> Iterator[tuple[str, str | Text]]:
    """Yield what is said of the whole comparison: labels, and values in words."""
    yield "dense model", evaluation.dense.model
    yield "pruned model", evaluation.pruned.model
    yield "compared on", range_words(evaluation.data, evaluation.inputs)
    has_notes = any(output.note for output in evaluation.outputs)
    yield "output error", error_words(evaluation.error, has_notes=has_notes)
    yield from judged_rows(evaluation.judged)
    yield from map(score_row, evaluation.scores)
    yield "zeros", f"{_zeros(evaluation.dense)} -> {_zeros(evaluation.pruned)}"
    if evaluation.multiplications is not None:
        yield "multiplications", work_words(evaluation.multiplications)
    yield from size_rows(evaluation.file_bytes, evaluation.gzip_bytes)
    yield "time", f"{evaluation.seconds:.1f} s"


def _zeros(side: SideRecord) -> str:
    return f"{side.zeros:,} of {side.weights:,} ({format_percent(side.zeros, side.weights)})"


def figure_words(value: float | None) -> str:
    """Return a figure of an output; empty where there is none."""
    return "" if value is None else format_error(value)


def share_words(share: float) -> str:
    """Return a share that is never shown as 100 % unless it is."""
    text = f"{100 * share:.2f}"
    return "99.99 %" if text == "100.00" and share < 1 else f"{text} %"
