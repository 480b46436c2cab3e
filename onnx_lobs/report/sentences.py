"""Says in plain sentences what a run or a comparison found, for readers new to its figures."""

from __future__ import annotations

from collections.abc import Iterator

from onnx_lobs.report.evaluation import Evaluation
from onnx_lobs.report.numbers import (
    format_bytes,
    format_change,
    format_percent,
    format_score,
    format_score_change,
)
from onnx_lobs.report.record import Report, ScoreRecord, TargetRecord
from onnx_lobs.report.record.score import CLEARLY
from onnx_lobs.report.words import MEASURES

_SCORE_WORDS = {"top1": "The top-1 score", "top5": "The top-5 score"}


def report_sentences(report: Report) -> Iterator[str]:
    """Yield what a run did, from what matters most on."""
    totals, n = report.totals, len(report.layers)
    share = format_percent(totals.zeros, totals.weights)
    where = "its only layer" if n == 1 else f"{n:,} layers"
    yield f"{share} of the {totals.weights:,} weights in {where} are zero."
    if report.target is not None:
        yield _target_sentence(report.target)
    if report.output.score is not None:
        yield score_sentence(report.output.score)
    n_held = report.output.n_held
    behind = f", on {n_held:,} samples that nothing was fitted to" if n_held else ""
    yield error_sentence(report.output.error) + f"{behind}."
    if totals.file_bytes is not None:
        yield size_sentence(totals.file_bytes, totals.gzip_bytes)
    if report.skipped:
        nodes = "1 node" if len(report.skipped) == 1 else f"{len(report.skipped):,} nodes"
        verb = "was" if len(report.skipped) == 1 else "were"
        yield f"{nodes} with weights {verb} left as found."


def _target_sentence(target: TargetRecord) -> str:
    limits = ((*MEASURES[name], limit) for name, limit in target.limits.items())
    names = " and ".join(f"{title.lower()} {words(limit)}" for title, words, limit in limits)
    n_runs = len(target.runs)
    if target.is_met:
        return f"The limit ({names} at most) is met; the search took {n_runs} runs."
    return f"The limit ({names} at most) is NOT met: this is the best of {n_runs} runs."


def score_sentence(score: ScoreRecord) -> str:
    """Return a score before and after, and whether the difference means anything."""
    before, after = (
        format_score(value, None, is_fraction=score.is_fraction)
        for value in (score.before, score.after)
    )
    change = format_score_change(
        score.after - score.before, score.drop_error, is_fraction=score.is_fraction
    )
    of = f" on {score.n:,} samples" if score.n else ""
    name = _SCORE_WORDS.get(score.name, f"The score {score.name}")
    verdict = ""
    if score.is_collapsed:
        verdict = " The network is of little use."
    elif score.drop_error is not None and abs(score.drop) <= CLEARLY * score.drop_error:
        verdict = " So small a difference can be chance."
    return f"{name} was {before} and is {after} ({change}{of}).{verdict}"


def error_sentence(error: float | None) -> str:
    """Return the output error in words, without a full stop."""
    if error is None:
        return "How much the outputs changed is not known"
    return f"The outputs changed by {100 * error:.3g} % of their mean square"


def size_sentence(file_bytes: tuple[int, int], gzip_bytes: tuple[int, int] | None) -> str:
    """Return the sizes of the file in words."""
    before, after = map(format_bytes, file_bytes)
    words = format_change(*file_bytes)
    size = f"has {after} as before" if words == "same size" else f"has {after} for {before}"
    text = f"The file {size}" + (f" ({words})" if words != "same size" else "")
    if gzip_bytes is not None:
        packed = " for ".join(map(format_bytes, reversed(gzip_bytes)))
        text += f"; packed by gzip, {packed} ({format_change(*gzip_bytes)})"
    return f"{text}."


def evaluation_sentences(evaluation: Evaluation) -> Iterator[str]:
    """Yield how two models differ, from what matters most on."""
    before, after = (
        format_percent(side.zeros, side.weights) for side in (evaluation.dense, evaluation.pruned)
    )
    weights = f"{evaluation.pruned.weights:,} weights that can be pruned"
    yield f"{after} of the {weights} are zero; in the dense model {before}."
    yield from map(score_sentence, evaluation.scores)
    yield f"{error_sentence(evaluation.error)}, on {evaluation.samples:,} samples."
    yield size_sentence(evaluation.file_bytes, evaluation.gzip_bytes)
