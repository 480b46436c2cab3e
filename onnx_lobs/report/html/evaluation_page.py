"""Shows the record of an evaluation as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from onnx_lobs.report.command import typed
from onnx_lobs.report.evaluation import Evaluation
from onnx_lobs.report.evaluation_text import evaluation_rows, figure_words, share_words
from onnx_lobs.report.html.engine import fill
from onnx_lobs.report.html.page_table import Cell, PageTable, headings, name, number, text
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
from onnx_lobs.report.sentences import evaluation_sentences
from onnx_lobs.report.words import model_name

if TYPE_CHECKING:
    from onnx_lobs.evaluation.output import OutputChange


def evaluation_page(evaluation: Evaluation) -> str:
    """Return the page of a comparison.

    Raises
    ------
    ConfigError
        When jinja2 is not installed.
    """
    return fill(
        "evaluation.html",
        title=f"Comparison report: {model_name(evaluation.pruned.model)}",
        sentences=tuple(evaluation_sentences(evaluation)),
        missed=evaluation.missed,
        tiles=tuple(_tiles(evaluation)),
        warnings=evaluation.warnings,
        outputs=_outputs(evaluation.outputs),
        samples=samples_view(evaluation.details),
        classes=classes_view(evaluation.details),
        facts=tuple((label, str(value)) for label, value in evaluation_rows(evaluation)),
        command=typed(evaluation.command),
    )


def _tiles(evaluation: Evaluation) -> Iterator[Tile]:
    yield zeros_tile(evaluation.pruned.zeros, evaluation.pruned.weights)
    yield from map(score_tile, evaluation.scores)
    yield from error_tiles(evaluation.error)
    yield from work_tiles(evaluation.multiplications)
    yield from size_tiles(evaluation.file_bytes, evaluation.gzip_bytes)


def _outputs(outputs: tuple[OutputChange, ...]) -> PageTable:
    words = "output|shape|error|cosine|same choice|greatest change|greatest value"
    rows = tuple(map(_output_row, outputs))
    return PageTable("outputs", headings(words, ("output", "shape")), rows)


def _output_row(output: OutputChange) -> tuple[Cell, ...]:
    cosine = "" if output.cosine is None else f"{output.cosine:.6f}"
    agreement = "" if output.agreement is None else share_words(output.agreement)
    return (
        name(output.name),
        text(" × ".join(map(str, output.shape))),
        number(figure_words(output.error), output.error),
        number(cosine, output.cosine),
        number(agreement, output.agreement),
        number(figure_words(output.max_change), output.max_change),
        number(figure_words(output.largest), output.largest),
    )
