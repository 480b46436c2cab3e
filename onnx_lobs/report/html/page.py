"""Shows the record of a run as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnx_lobs.report.command import typed
from onnx_lobs.report.html.charts import errors_chart, search_charts, zeros_chart
from onnx_lobs.report.html.engine import fill
from onnx_lobs.report.html.figures import histogram_figure, map_source
from onnx_lobs.report.html.markup import Drawn
from onnx_lobs.report.html.page_table import Cell, PageTable, headings, name, number, prose, text
from onnx_lobs.report.html.parts import (
    Tile,
    classes_view,
    error_tiles,
    samples_view,
    score_tile,
    size_tiles,
    work_tiles,
    zeros_tile,
)
from onnx_lobs.report.numbers import format_error, format_gain, format_percent
from onnx_lobs.report.record import LayerPicture, LayerRecord, Report, SkipRecord
from onnx_lobs.report.repeat import repetition
from onnx_lobs.report.sentences import report_sentences
from onnx_lobs.report.summary import summary_rows
from onnx_lobs.report.text import report_warnings
from onnx_lobs.report.words import model_name

_MOST_SKIPPED = 500


@dataclass(frozen=True)
class LayersView:
    """The layers of a page: two charts and a table."""

    zeros: Drawn
    errors: Drawn
    grid: PageTable


@dataclass(frozen=True)
class PictureView:
    """One layer's weights: words, a histogram with its ends, a map."""

    name: str
    words: str
    histogram: Drawn
    low: str
    high: str
    source: str


def report_page(report: Report) -> str:
    """Return the page of a run.

    Raises
    ------
    ConfigError
        When jinja2 is not installed.
    """
    command, note = repetition(report)
    return fill(
        "report.html",
        title=f"Pruning report: {model_name(report.model)}",
        sentences=tuple(report_sentences(report)),
        tiles=tuple(_tiles(report)),
        warnings=tuple(report_warnings(report)),
        advice=tuple((one.text, typed(one.command)) for one in report.advice),
        search=search_charts(report.target, report.allocation),
        layers=_layers(report.layers) if report.layers else None,
        n_layers=len(report.layers),
        pictures=tuple(map(_picture, report.details.layers)),
        samples=samples_view(report.details),
        classes=classes_view(report.details),
        skipped=_skipped(report.skipped) if report.skipped else None,
        facts=tuple((label, str(value)) for label, value in summary_rows(report)),
        command=command,
        note=note,
    )


def _tiles(report: Report) -> Iterator[Tile]:
    totals = report.totals
    yield zeros_tile(totals.zeros, totals.weights)
    if report.output.score is not None:
        yield score_tile(report.output.score)
    yield from error_tiles(report.output.error)
    yield from work_tiles(totals.multiplications)
    yield from size_tiles(totals.file_bytes, totals.gzip_bytes)


def _layers(layers: tuple[LayerRecord, ...]) -> LayersView:
    has_held = any(layer.held_error is not None for layer in layers)
    held = "held out|" if has_held else ""
    words = f"#|layer|op|weights|zeros|error|{held}magnitude|times better|status|seconds"
    heads = headings(words, ("layer", "op", "status"))
    rows = tuple(_layer_row(i + 1, layer, has_held) for i, layer in enumerate(layers))
    return LayersView(zeros_chart(layers), errors_chart(layers), PageTable("layers", heads, rows))


def _layer_row(index: int, layer: LayerRecord, has_held: bool) -> tuple[Cell, ...]:
    held = layer.held_error
    gain = layer.magnitude_error / layer.error if layer.error else None
    return (
        number(str(index), index),
        name(layer.name),
        text(layer.op),
        number(f"{layer.weights:,}", layer.weights),
        number(format_percent(layer.zeros, layer.weights), layer.sparsity),
        number(format_error(layer.error), layer.error),
        *([number("" if held is None else format_error(held), held)] if has_held else []),
        number(format_error(layer.magnitude_error), layer.magnitude_error),
        number(format_gain(layer.error, layer.magnitude_error), gain),
        text(layer.status),
        number(f"{layer.seconds:.1f}", layer.seconds),
    )


def _picture(picture: LayerPicture) -> PictureView:
    groups, rows, columns = picture.shape
    words = f"{rows:,} outputs, {columns:,} inputs" + (f", {groups:,} groups" * (groups > 1))
    histogram = picture.histogram
    return PictureView(
        name=picture.name,
        words=words,
        histogram=histogram_figure(histogram, f"values of the weights of {picture.name}"),
        low=format_error(histogram.low),
        high=format_error(histogram.high),
        source=map_source(picture.kept),
    )


def _skipped(skips: tuple[SkipRecord, ...]) -> PageTable:
    """Return the nodes that were left, those with most weights first, where these are known."""
    by_weights = sorted(skips, key=lambda skip: -skip.weights)[:_MOST_SKIPPED]
    is_known = any(skip.weights for skip in skips)
    words = "node|op|weights|reason" if is_known else "node|op|reason"
    rows = tuple(
        (
            name(skip.node),
            text(skip.op),
            *([number(f"{skip.weights:,}", skip.weights)] if is_known else []),
            prose(skip.reason),
        )
        for skip in by_weights
    )
    return PageTable("nodes that were left", headings(words, ("node", "op", "reason")), rows)
