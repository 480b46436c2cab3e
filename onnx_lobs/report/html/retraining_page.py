"""Shows the record of a retraining as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from onnx_lobs.report.command import typed
from onnx_lobs.report.html.engine import fill
from onnx_lobs.report.html.page_table import PageTable, headings, number
from onnx_lobs.report.html.parts import Tile
from onnx_lobs.report.numbers import format_percent, format_score
from onnx_lobs.report.retraining import Retraining, retraining_rows, retraining_sentence
from onnx_lobs.report.words import model_name


def retraining_page(record: Retraining) -> str:
    """Return the page of a retraining.

    Raises
    ------
    ConfigError
        When jinja2 is not installed.
    """
    return fill(
        "retraining.html",
        title=f"Retraining report: {model_name(record.model)}",
        sentence=retraining_sentence(record),
        tiles=tuple(_tiles(record)),
        warnings=record.warnings,
        losses=_losses(record),
        facts=tuple(retraining_rows(record)),
        command=typed(record.command),
    )


def _tiles(record: Retraining) -> Iterator[Tile]:
    yield Tile("zeros", format_percent(record.zeros, record.of_weights), _was(record))
    for score in record.scores:
        before, after = (
            format_score(value, None, is_fraction=score.is_fraction)
            for value in (score.before, score.after)
        )
        yield Tile(score.name, after, f"was {before}")
    yield Tile("held-out loss", f"{record.loss_after:.4g}", f"was {record.loss_before:.4g}")


def _losses(record: Retraining) -> PageTable:
    rows = tuple((number(f"{step:,}", step), number(f"{x:.4g}", x)) for step, x in record.losses)
    return PageTable("losses", headings("step|loss", ()), rows)


def _was(record: Retraining) -> str:
    """Return how many zeros there were before, or that they are the same."""
    if record.zeros_before in (None, record.zeros):
        return "all stayed"
    return f"was {format_percent(record.zeros_before, record.of_weights)}"
