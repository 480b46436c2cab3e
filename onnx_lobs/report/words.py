"""Finds the words that all forms of report have in common."""

from __future__ import annotations

from onnx_lobs.report.record import ChangedSample

MOST_CLASSES = 20  # that are shown


def choice_words(sample: ChangedSample) -> str:
    """Return what a sample chose before and after in words; empty where it chooses nothing."""
    if sample.before is None:
        return ""
    same = sample.before == sample.after
    return f"still class {sample.before}" if same else f"class {sample.before} → {sample.after}"
