"""Finds the words that all forms of report have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath

from onnx_lobs.report.numbers import format_bytes, format_error
from onnx_lobs.report.record import ChangedSample

MOST_CLASSES = 20  # that are shown
_SCORES = {"top1": "top-1 score", "top5": "top-5 score"}
MEASURES: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "drop": ("Drop of the score", "{:.3g}".format),
    "output_error": ("Output error", format_error),
    "bytes": ("Size of the file", lambda value: format_bytes(round(value))),
}
"""what a target limits: its name, and how its values are written"""


def score_label(name: str) -> str:
    """Return what a score is called: built-in ones in words, others by their names."""
    return _SCORES.get(name, name)


def model_name(model: str) -> str:
    """Return what a title calls a model: the name of its file, without the folder."""
    return PurePath(model).name or model


def aim_words(towards: str) -> str:
    """Return what was learnt in words, by its name among the options."""
    return towards if towards == "labels" else f"the dense model's {towards}"


def best_words(best: int) -> str:
    """Return after which step a network was the best; 0: it stayed as it was."""
    return f"best after {best}" if best else "none was better than before"


def sample_words(sample: ChangedSample) -> str:
    """Return what a sample is called: its file, or its place in the data."""
    return sample.file or f"{sample.index:,}"


def choice_words(sample: ChangedSample) -> str:
    """Return what a sample chose before and after in words; empty where it chooses nothing."""
    if sample.before is None:
        return ""
    same = sample.before == sample.after
    return f"still class {sample.before}" if same else f"class {sample.before} → {sample.after}"
