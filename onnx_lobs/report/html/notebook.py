"""Shows records in notebooks: a few lines of HTML without styles of the page or scripts."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from onnx_lobs.report.evaluation import Evaluation
from onnx_lobs.report.evaluation_text import evaluation_rows
from onnx_lobs.report.numbers import format_error, format_percent, shorten
from onnx_lobs.report.printable import printable
from onnx_lobs.report.record import LayerRecord, Report
from onnx_lobs.report.sentences import evaluation_sentences, report_sentences
from onnx_lobs.report.summary import summary_rows

_MOST_LAYERS = 12
_MOST_LETTERS = 60
_LEFT = ' style="text-align: left"'


def report_fragment(report: Report) -> str:
    """Return the sentences on a run, its warnings, and its worst layers, folded up."""
    worst = sorted(report.layers, key=lambda layer: -layer.error)[:_MOST_LAYERS]
    title = "layers" if len(worst) == len(report.layers) else f"the {len(worst)} worst layers"
    heads = ("layer", "op", "weights", "zeros", "error", "magnitude’s")
    return _fragment(
        report.model,
        report_sentences(report),
        report.warnings,
        (_table(title, heads, map(_layer, worst)), _facts(summary_rows(report))),
    )


def evaluation_fragment(evaluation: Evaluation) -> str:
    """Return the sentences on a comparison, its warnings, and its figures, folded up."""
    facts = _facts(evaluation_rows(evaluation))
    sentences = evaluation_sentences(evaluation)
    return _fragment(evaluation.pruned.model, sentences, evaluation.warnings, (facts,))


def _layer(layer: LayerRecord) -> tuple[str, ...]:
    return (
        shorten(layer.name, _MOST_LETTERS),
        layer.op,
        f"{layer.weights:,}",
        format_percent(layer.zeros, layer.weights),
        format_error(layer.error),
        format_error(layer.magnitude_error),
    )


def _fragment(
    title: str, sentences: Iterable[str], warnings: Iterable[str], folded: Iterable[str]
) -> str:
    parts = [f"<b>{escape(title)}</b>", f"<p>{' '.join(map(escape, sentences))}</p>"]
    told = "".join(f"<li>{escape(one)}</li>" for one in warnings)
    parts += [f"<b>warnings</b><ul>{told}</ul>"] if told else []
    return printable(f"<div>{''.join([*parts, *folded])}</div>")


def _table(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table folded up under its title."""
    head = "".join(f"<th>{escape(word)}</th>" for word in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(word)}</td>' for word in row)}</tr>" for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<details><summary>{escape(title)}</summary>{table}</details>"


def _facts(rows: Iterable[tuple[str, object]]) -> str:
    body = "".join(
        f"<tr><td{_LEFT}>{escape(label)}</td><td{_LEFT}>{escape(str(value))}</td></tr>"
        for label, value in rows
    )
    return f"<details><summary>all figures</summary><table><tbody>{body}</tbody></table></details>"
