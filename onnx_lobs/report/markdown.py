"""Shows records as Markdown, with the tables that GitHub and most others know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from onnx_lobs.report.command import typed
from onnx_lobs.report.evaluation import Evaluation
from onnx_lobs.report.evaluation_text import evaluation_rows, figure_words, share_words
from onnx_lobs.report.numbers import format_error, format_gain, format_percent
from onnx_lobs.report.printable import printable
from onnx_lobs.report.record import ChangedSample, ClassScore, Details, LayerRecord, Report
from onnx_lobs.report.repeat import repetition
from onnx_lobs.report.retraining import Retraining, retraining_rows, retraining_sentence
from onnx_lobs.report.sentences import evaluation_sentences, report_sentences
from onnx_lobs.report.summary import summary_rows
from onnx_lobs.report.text import report_warnings
from onnx_lobs.report.words import MOST_CLASSES, choice_words, model_name, sample_words

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#!~&$])")  # what Markdown, HTML in it, or formulas read
_SKIP_HEADS = ("node", "op", "reason")
_LEAST_FENCE = 3


def report_markdown(report: Report) -> str:
    """Return the record of a run."""
    heads = ("#", "layer", "op", "weights", "zeros", "error", "magnitude's", "times better",
             "status")  # fmt: skip
    rows = (_layer_row(i + 1, layer) for i, layer in enumerate(report.layers))
    skips = ((skip.node, skip.op, skip.reason) for skip in report.skipped)
    command, note = repetition(report)
    return _joined(
        f"# Pruning report: {_plain(model_name(report.model))}",
        _paragraph(report_sentences(report)),
        *_list("Warnings", report_warnings(report)),
        *_advice(report),
        *_table("Layers", heads, rows, texts=("layer", "op", "status")),
        *_details(report.details),
        *_table("Nodes that were left", _SKIP_HEADS, skips, texts=_SKIP_HEADS),
        *_facts(summary_rows(report)),
        *_repeat(command, note),
    )


def evaluation_markdown(evaluation: Evaluation) -> str:
    """Return the record of a comparison."""
    heads = ("output", "shape", "error", "cosine", "same choice", "greatest change")
    rows = (
        (
            output.name,
            "×".join(map(str, output.shape)),
            figure_words(output.error),
            "" if output.cosine is None else f"{output.cosine:.6f}",
            "" if output.agreement is None else share_words(output.agreement),
            figure_words(output.max_change),
        )
        for output in evaluation.outputs
    )
    return _joined(
        f"# Comparison report: {_plain(model_name(evaluation.pruned.model))}",
        _paragraph(evaluation_sentences(evaluation)),
        *_list("Limits that were missed", evaluation.missed),
        *_list("Warnings", evaluation.warnings),
        *_table("Outputs", heads, rows, texts=("output", "shape")),
        *_details(evaluation.details),
        *_facts(evaluation_rows(evaluation)),
        *_repeat(typed(evaluation.command), ""),
    )


def retraining_markdown(record: Retraining) -> str:
    """Return the record of a retraining."""
    losses = ((f"{step:,}", f"{loss:.4g}") for step, loss in record.losses)
    return _joined(
        f"# Retraining report: {_plain(model_name(record.model))}",
        _paragraph([retraining_sentence(record)]),
        *_list("Warnings", record.warnings),
        *_facts(retraining_rows(record)),
        *_table("Losses on the held-out samples", ("step", "loss"), losses),
        *_repeat(typed(record.command), ""),
    )


def _advice(report: Report) -> Iterator[str]:
    for number, one in enumerate(report.advice):
        title = "" if number else "## What to try next\n\n"
        yield f"{title}{_plain(one.text)}\n\n{_fenced(typed(one.command))}"


def _layer_row(index: int, layer: LayerRecord) -> tuple[str, ...]:
    return (
        str(index),
        layer.name,
        layer.op,
        f"{layer.weights:,}",
        format_percent(layer.zeros, layer.weights),
        format_error(layer.error),
        format_error(layer.magnitude_error),
        format_gain(layer.error, layer.magnitude_error),
        layer.status,
    )


def _details(details: Details) -> Iterator[str]:
    """Yield the tables of samples and of classes, if there are any."""
    title = f"Samples whose outputs changed most, of {details.n_samples:,}"
    heads = ("sample", "label", "choice", "change")
    yield from _table(title, heads, map(_sample_row, details.samples), texts=heads[1:3])
    if len(details.classes) > 1:
        columns = ("class", "samples", "before, %", "after, %", "drop, points")
        title = f"Classes that lost most, of {len(details.classes):,}"
        yield from _table(title, columns, map(_class_row, details.classes[:MOST_CLASSES]))


def _sample_row(sample: ChangedSample) -> tuple[str, ...]:
    change = format_error(sample.change)
    return sample_words(sample), sample.label or "", choice_words(sample), change


def _class_row(one: ClassScore) -> tuple[str, ...]:
    shares = (f"{100 * x:.1f}" for x in (one.before, one.after, one.drop))
    return str(one.label), f"{one.n:,}", *shares


def _facts(rows: Iterable[tuple[str, object]]) -> Iterator[str]:
    yield from _table(
        "All figures",
        ("figure", "value"),
        ((a, str(b)) for a, b in rows),
        texts=("figure", "value"),
    )


def _repeat(command: str, note: str) -> Iterator[str]:
    if command:
        yield f"## To repeat this\n\n{_fenced(command)}"
    if note:
        yield _plain(note)


def _fenced(code: str) -> str:
    ticks = max((len(found) for found in re.findall("`+", code)), default=0)
    fence = "`" * max(ticks + 1, _LEAST_FENCE)
    return f"{fence}\n{code}\n{fence}"


def _list(title: str, entries: Iterable[str]) -> Iterator[str]:
    lines = [f"* {_plain(entry)}" for entry in entries]
    if lines:
        yield "\n".join((f"## {title}\n", *lines))


def _table(
    title: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    texts: Sequence[str] = (),
) -> Iterator[str]:
    """Yield a table under a heading, unless it has no rows; columns of `texts` go to the left."""
    lines = [f"| {' | '.join(map(_plain, row))} |" for row in rows]
    if lines:
        rule = " | ".join("---" if head in texts else "---:" for head in heads)
        yield "\n".join((f"## {title}\n", f"| {' | '.join(heads)} |", f"| {rule} |", *lines))


def _paragraph(sentences: Iterable[str]) -> str:
    return _plain(" ".join(sentences))


def _plain(text: str) -> str:
    """Return a text on one line that shows as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _joined(*parts: str) -> str:
    return printable("\n\n".join(parts))
