"""Says in words what came of a whole run: labels and values, for every form of report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from onnx_lobs.report.channels import channel_rows, dropped_rows
from onnx_lobs.report.command import typed
from onnx_lobs.report.numbers import (
    format_bytes,
    format_change,
    format_error,
    format_percent,
    format_score,
    format_score_change,
)
from onnx_lobs.report.record import (
    AllocationRecord,
    BlocksRecord,
    BoundRecord,
    CorrectionRecord,
    DeployRecord,
    JudgedValue,
    OutputRecord,
    Report,
    RoundRecord,
    ScoreRecord,
    TargetRecord,
    Totals,
    range_words,
)
from onnx_lobs.report.skips import file_rows
from onnx_lobs.report.words import aim_words, best_words, score_label

FIT_COLOURS = {"FITS": "green", "TIGHT": "yellow", "TOO BIG": "red"}


def summary_rows(report: Report) -> Iterator[tuple[str, str | Text]]:
    """Yield what is said of the whole run: labels, and values in words."""
    yield "calibrated on", range_words(report.data, report.inputs)
    yield from _target(report.target)
    yield from channel_rows(report.channels)
    yield from dropped_rows(report.dropped)
    yield from _totals(report.totals, has_zeros=report.has_zeros)
    yield from _allocation(report.allocation)
    yield from _correction(report.correction)
    if report.blocks is not None:
        yield "blocks", block_words(report.blocks)
    yield from _rounds(report.rounds)
    yield from _output(report)
    if report.output.score is not None:
        yield score_row(report.output.score)
    yield from deploy_rows(report.deploy, report.totals.file_bytes)
    loops = "" if report.loops is None else f", loops compiled by {report.loops}"
    yield "time", f"{report.totals.seconds:.1f} s{loops}"


def _totals(totals: Totals, *, has_zeros: bool = True) -> Iterator[tuple[str, str]]:
    share = format_percent(totals.zeros, totals.weights)
    file = totals.file
    is_all = file is not None and file.weights == totals.weights
    all_ = "all " if is_all else ""
    if has_zeros:
        yield "zeros", f"{totals.zeros:,} of {all_}{totals.weights:,} weights ({share})"
    yield from file_rows(file, is_all=is_all)
    if totals.multiplications is not None:
        yield "multiplications", work_words(totals.multiplications)
    yield from size_rows(totals.file_bytes, totals.gzip_bytes)


def work_words(work: tuple[int, int]) -> str:
    """Return multiplications (before, after) in words."""
    before, after = work
    fewer = "" if before == after or not after else f", {before / after:.3g}x fewer"
    return f"{before:,} -> {after:,} a sample, by weights that are not zero{fewer}"


def size_rows(
    file_bytes: tuple[int, int] | None, gzip_bytes: tuple[int, int] | None
) -> Iterator[tuple[str, str]]:
    """Yield the sizes of the files (before, after) in words, those that are known."""
    for label, sizes in (("file", file_bytes), ("file, gzipped", gzip_bytes)):
        if sizes is not None:
            before, after = map(format_bytes, sizes)
            yield label, f"{before} -> {after} ({format_change(*sizes)})"


def deploy_rows(
    record: DeployRecord | None, file_bytes: tuple[int, int] | None
) -> Iterator[tuple[str, str | Text]]:
    """Yield what was made for a target or a part, and what to expect there."""
    if record is None:
        return
    if record.chip is not None and record.fit is not None:
        words = f"{record.fit} on {record.chip}: {_needs(record, file_bytes)}"
        yield "chip", Text(words, FIT_COLOURS[record.fit])
    elif record.flash_bytes is not None:
        yield "C code", _needs(record, file_bytes)
    yield from (("expect", sentence) for sentence in record.expect)
    if record.files:
        yield "beside it", ", ".join(record.files)
    if record.command:
        yield "run it by", typed(record.command)


def _needs(record: DeployRecord, file_bytes: tuple[int, int] | None) -> str:
    if record.flash_bytes is None:
        size = 0 if file_bytes is None else file_bytes[1]
        return f"the file alone takes {size:,} B of flash; code and RAM are the runtime's"
    work = "" if record.multiplications is None else f", {record.multiplications:,} multiplications"
    return f"{record.flash_bytes:,} B of flash, {record.ram_bytes:,} B of RAM{work}"


def _target(record: TargetRecord | None) -> Iterator[tuple[str, str]]:
    if record is None:
        return
    is_known = any("drop_error" in run for run in record.runs)
    spare = {"drop": " with 95 % confidence"} if is_known else {}
    chosen = [run for run in record.runs if run["sparsity"] == record.sparsity]
    if record.is_met and chosen and chosen[0].get("drop_below", 0.0) > record.limits.get("drop", 1):
        spare = {"drop": " as far as so few samples tell: it looks no worse than unchanged"}
    words = " and ".join(
        f"{name} <= {limit:g}{spare.get(name, '')}" for name, limit in record.limits.items()
    )
    found = "met" if record.is_met else "MISSED"
    yield "target", f"{words}: {found} at sparsity {record.sparsity:.4g} ({len(record.runs)} runs)"


def _allocation(record: AllocationRecord | None) -> Iterator[tuple[str, str]]:
    if record is not None:
        finals = f" and {len(record.finals)} finals" if record.finals else ""
        stopped = f" ({record.stopped} stopped early)" if record.stopped else ""
        cost = f"{record.trials} trials{stopped}{finals}, {record.seconds:.1f} s"
        yield "zeros shared by", f"{record.chosen} ({cost})"


def _correction(record: CorrectionRecord | None) -> Iterator[tuple[str, str]]:
    if record is None or record.before is None or record.after is None:
        return
    parts = ((record.layers, "layer"), (record.norms, "normalisation"))
    where = " and ".join(f"{n} {word}{'s' * (n > 1)}" for n, word in parts if n)
    errors = f"{format_error(record.before)} -> {format_error(record.after)}"
    yield "corrected", f"{record.kind} behind {where} (held-out output error {errors})"


def block_words(record: BlocksRecord) -> str:
    """Return what fitting parts of the network did in words."""
    if record.error_before is None:
        return "no floating output tells what to keep; nothing was fitted"
    words = f"{record.fitted} of {record.spans} parts fitted"
    if record.error_after is None or not record.fitted:
        return f"{words}; nothing was kept"
    errors = f"{format_error(record.error_before)} -> {format_error(record.error_after)}"
    return f"{words}; output error {errors}" + ("" if record.is_kept else ", not kept")


def _rounds(records: Sequence[RoundRecord]) -> Iterator[tuple[str, str]]:
    """Yield what retraining did, round by round."""
    for number, record in enumerate(records, 1):
        label = "retrained" if len(records) == 1 else f"round {number}"
        yield label, round_words(record)


def round_words(record: RoundRecord) -> str:
    """Return what retraining did in words: where it began, and what it won."""
    before = "" if record.pruned is None else f"{100 * record.pruned:.4g} -> "
    words = (
        f"{before}{100 * record.sparsity:.4g} % zeros, {record.steps} steps "
        f"({best_words(record.best)}) towards {aim_words(record.towards)}"
    )
    if record.error_before is not None and record.error_after is not None:
        errors = f"{format_error(record.error_before)} -> {format_error(record.error_after)}"
        words += f"; output error {errors}"
    if record.score_before is not None and record.score_after is not None:
        pair = (record.score_before, record.score_after)
        is_fraction = record.score_after.is_fraction
        scores = (format_score(each.after, None, is_fraction=is_fraction) for each in pair)
        words += f"; {score_label(record.score_after.name)} {' -> '.join(scores)}"
    return words


def _output(report: Report) -> Iterator[tuple[str, str]]:
    yield "output error", _error_and_where(report.output)
    yield from judged_rows(report.output.judged)
    if report.output.first_order is not None:
        behind = " for the outputs behind them" if report.output.judged else ""
        predicted = format_error(report.output.first_order)
        yield "first order", f"{predicted} predicted from the layers' errors{behind}"
    for record in report.output.bounds:
        yield "error bound", _bound(record)


def _error_and_where(output: OutputRecord) -> str:
    """Return the output error, on which samples it was measured, and what it is on the others."""
    fitted = output.fitted_error
    if output.error is None and fitted is not None:
        return f"not known, as no sample was left out ({format_error(fitted)} on those fitted)"
    words = error_words(output.error, has_notes=bool(output.notes))
    if output.error is None or fitted is None:
        return words
    if output.n_fits > 1:
        where = f"{output.n_held} samples, each left out of one of {output.n_fits} fits"
        return f"{words} on {where}; {format_error(fitted)} on those fitted"
    return f"{words} on {output.n_held} held-out samples; {format_error(fitted)} on the others"


def _bound(record: BoundRecord) -> str:
    """Return one output's bound in words; where there is none, why."""
    measured = "" if record.measured is None else f" (measured {format_error(record.measured)})"
    if record.bound is None:
        return f"{record.output}: none{measured}: {'; '.join(record.missing)}"
    return f"{record.output}: at most {format_error(record.bound)}{measured}, on these data"


def error_words(error: float | None, *, has_notes: bool) -> str:
    """Return the output error in words; where there is none, why, or that a note says so."""
    if error is not None:
        return f"{format_error(error)} (mean squared change over mean square)"
    if has_notes:
        return "none: see the warnings"
    return "none: the network has no floating output"


def judged_rows(judged: Sequence[JudgedValue]) -> Iterator[tuple[str, str]]:
    """Yield which outputs were judged in front of their final activations, if there are any."""
    if judged:
        words = (f"{each.value}, in front of the final {each.activation}" for each in judged)
        yield "judged by", "; ".join(words)


def score_row(score: ScoreRecord) -> tuple[str, Text]:
    """Return a score's name, and its values before and after with their standard errors.

    They are red where most of what the score tells is lost.
    """
    before = format_score(score.before, score.before_error, is_fraction=score.is_fraction)
    after = format_score(score.after, score.after_error, is_fraction=score.is_fraction)
    change = format_score_change(
        score.after - score.before, score.drop_error, is_fraction=score.is_fraction
    )
    of = f" on {score.n:,} samples" if score.n else ""
    words = Text(f"{before} -> {after} ({change}{of})", "bold red" if score.is_collapsed else "")
    return score_label(score.name), words
