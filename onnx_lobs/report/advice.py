"""Says what to try next, from what a run measured; a table of rules in order.

A rule looks at the record and at the command that repeats the run, and returns a sentence with
the command to type next, or nothing. The first of them count: who gets ten pieces of advice takes
none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from onnx_lobs.report.command import DATA, changed
from onnx_lobs.report.numbers import format_bytes, format_error, format_percent, format_score
from onnx_lobs.report.record import AdviceRecord, LayerRecord, Report
from onnx_lobs.report.record.score import CLEARLY
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.targets.runtimes import RUNTIMES

MOST = 2  # pieces of advice that one run gives
LOST = 0.5  # of the outputs' mean square: of such outputs about half is noise
LARGE_DROP = 0.01  # of a score: a point of top1, the least that users complain of
LARGE_ERROR = 0.1  # of the outputs' mean square, where there is no score
FEW_SAMPLES = 128  # below this, errors on other samples were several times those on the fitted ones
FEW_OBSERVATIONS = 0.1  # share of the weights in layers with fewer observations than inputs
FEW_WEIGHTS = 0.5  # share of the model's weights that took part
SMALLER = 0.9  # of its size, at most, for a file to count as smaller
WORST = 2  # layers named

Rule = Callable[[Report], AdviceRecord | None]


def with_advice(report: Report, command: Sequence[str]) -> Report:
    """Return the report with the command that repeats its run, and what to try next."""
    told = dataclasses.replace(report, command=tuple(command))
    return dataclasses.replace(told, advice=advise(told))


def advise(report: Report) -> tuple[AdviceRecord, ...]:
    """Return what to try next, the most urgent first, at most MOST; `report` has its command."""
    of_weights = (_few_weights, _same_size, _int8)  # which say nothing of channels
    rules = (r for r in RULES if report.has_zeros or r not in of_weights)
    found = (rule(report) for rule in rules)
    return tuple(advice for advice in found if advice is not None)[:MOST]


def _collapsed(report: Report) -> AdviceRecord | None:
    """The outputs have little to do with the dense model's."""
    score, error = report.output.score, report.output.error
    is_lost = error is not None and error > LOST
    if not (is_lost if score is None else score.is_collapsed):
        return None
    text = (
        "the outputs collapsed: see whether the samples are of the kind and the scale that the "
        "model takes, or ask for fewer zeros"
    )
    return AdviceRecord("collapsed", text, changed(report.command, "--dry-run", overwrite=False))


def _made_up(report: Report) -> AdviceRecord | None:
    """Nothing but random inputs was there to calibrate on."""
    if not report.is_made_up:
        return None
    text = "random inputs were used: give some hundred real ones, as an npz or a folder"
    return AdviceRecord("made-up data", text, _with_data(report))


def _few_samples(report: Report) -> AdviceRecord | None:
    """Calibration saw too little to tell what matters."""
    if report.samples is None or report.samples >= FEW_SAMPLES:
        return None
    short = [x for x in report.layers if x.columns and x.samples < x.columns]
    weights = sum(layer.weights for layer in short)
    if weights < FEW_OBSERVATIONS * report.totals.weights:
        return None
    layers = f"{len(short)} layer{'s have' if len(short) > 1 else ' has'}"
    text = (
        f"{report.samples} samples are few ({layers} fewer observations than inputs): give some "
        "hundred"
    )
    return AdviceRecord("few samples", text, _with_data(report))


def _missed(report: Report) -> AdviceRecord | None:
    """No sparsity met the target."""
    if report.target is None or report.target.is_met:
        return None
    effort = report.options.get("effort")
    if effort == "best" or "bytes" in report.target.limits:
        return None
    text = "the target was missed: look longer for better zeros"
    words = changed(report.command, "--effort", "best", drop=("--effort",))
    return AdviceRecord("target missed", text, words)


def _large_drop(report: Report) -> AdviceRecord | None:
    """The score fell by more than most users accept, and clearly."""
    score = report.output.score
    if score is None or report.target is not None:
        return None
    least = LARGE_DROP if score.is_fraction else LARGE_DROP * abs(score.before)
    if score.drop <= least or score.drop < CLEARLY * (score.drop_error or 0.0):
        return None
    fell = format_score(score.drop, None, is_fraction=score.is_fraction).replace(" %", " points")
    return _gentler(report, f"the score fell by {fell}", "--max-drop", f"{LARGE_DROP:g}")


def _large_error(report: Report) -> AdviceRecord | None:
    """The outputs changed much, and no score says what that means."""
    error = report.output.error
    if report.output.score is not None or report.target is not None:
        return None
    if error is None or error <= LARGE_ERROR:
        return None
    what = f"the outputs changed by {format_error(error)} of their mean square"
    return _gentler(report, what, "--max-output-error", "0.01")


def _gentler(report: Report, what: str, flag: str, limit: str) -> AdviceRecord | None:
    """Return the advice to search for fewer zeros, or where a pattern fixes them to spare layers.

    Zeros of an N:M pattern are as many as it says; a search would be refused.
    """
    if ":" not in str(report.options.get("pattern", "")):
        text = f"{what}: let the sparsity be found that keeps it within {limit}"
        sparsities = ("--sparsity", "--rounds", "--retrain-sparsity")
        words = changed(report.command, flag, limit, drop=sparsities)
        return AdviceRecord("large drop", text, words)
    worst = _worst(report.layers)
    if not worst or len(report.layers) <= len(worst):
        return None
    named = " and ".join(layer.name for layer in worst)
    text = f"{what}: leave the layers dense that lose most, {named}"
    exclude = [word for layer in worst for word in ("--exclude", layer.name)]
    return AdviceRecord("worst layers", text, changed(report.command, *exclude))


def _worst(layers: Sequence[LayerRecord]) -> list[LayerRecord]:
    """Return the layers that do most to the outputs, or where that is not known lose most."""
    pruned = [layer for layer in layers if layer.zeros]

    def loss(layer: LayerRecord) -> float:
        return layer.error if layer.first_order is None else layer.first_order

    return sorted(pruned, key=loss, reverse=True)[:WORST]


def _few_weights(report: Report) -> AdviceRecord | None:
    """Most of the model's weights were left as they are."""
    whole = report.totals.file and report.totals.file.weights
    if not whole or report.totals.weights >= FEW_WEIGHTS * whole:
        return None
    share = format_percent(report.totals.weights, whole)
    text = f"only {share} of the model's weights took part: see which were left, and why"
    return AdviceRecord("few weights", text, (report.command[0], "inspect", report.command[1]))


def _same_size(report: Report) -> AdviceRecord | None:
    """Zeros did not make the file smaller, and another format would."""
    sizes, sparsity = report.totals.file_bytes, report.totals.sparsity
    stored = FORMATS[str(report.options.get("storage", "dense"))]
    if sizes is None or stored.shrinks or sizes[1] <= SMALLER * sizes[0]:
        return None
    shrinking = [form for form in FORMATS.values() if form.shrinks]
    best = min(shrinking, key=lambda form: form.price(4), default=None)
    if best is None or (1 - sparsity) * best.price(4) > SMALLER * 4:
        return None
    if not _is_for_target(report, "storage", best.name):
        return None
    text = f"the file is not smaller ({format_bytes(sizes[1])}): store the zeros in less space"
    words = changed(report.command, "--format", best.name, drop=("--format",))
    return AdviceRecord("same size", text, words)


def _int8(report: Report) -> AdviceRecord | None:
    """The pruned model is good; int8 makes it smaller still, and keeps zeros."""
    if report.output_path is None or report.options.get("values", "fp32") != "fp32":
        return None
    if report.rounds or report.blocks:  # weights are rounded as they are solved, and moved since
        return None
    if report.dropped is not None or not _is_for_target(report, "values", "int8"):
        return None
    text = "int8 weights, rounded with the zeros, take a quarter of the bytes"
    return AdviceRecord("int8", text, changed(report.command, "--values", "int8"))


def _is_for_target(report: Report, name: str, value: str) -> bool:
    """Whether a value of an option helps on what the model is for; always where that is open."""
    row = RUNTIMES.get(str(report.options.get("target")))
    if row is None:
        return True
    if row.name == "c" and name == "storage":  # the file beside the code is not what runs
        return False
    return value in {"storage": row.storages, "values": row.values}[name]


def _with_data(report: Report) -> tuple[str, ...]:
    """Return the command with data that are still to be found."""
    return changed(report.command, "--data", DATA, drop=("--data", "--samples"))


RULES: tuple[Rule, ...] = (
    _collapsed,
    _made_up,
    _missed,
    _large_drop,
    _large_error,
    _few_samples,
    _few_weights,
    _same_size,
    _int8,
)
