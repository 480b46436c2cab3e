"""Says how a run is repeated: by its command, or from Python by its call."""

from __future__ import annotations

from onnx_lobs.report.command import DATA, MODEL, typed
from onnx_lobs.report.record import Report


def repetition(report: Report) -> tuple[str, str]:
    """Return the code that repeats a run, and a note on what stands in it for the reader's own."""
    if report.command and not {MODEL, DATA} & set(report.command):
        return typed(report.command), ""
    return python_call(report), "data and test stand for what was given; None where nothing was."


def python_call(report: Report) -> str:
    """Return the call of :func:`onnx_lobs.prune` with all options that are not the defaults."""
    from onnx_lobs.options.config import PruneConfig
    from onnx_lobs.options.option import values_of

    usual = values_of(PruneConfig())
    given = {
        name: value
        for name, value in report.options.items()
        if name == "seed" or value != usual.get(name)
    }
    words = "".join(f", {name}={value!r}" for name, value in given.items())
    return f"onnx_lobs.prune({report.model!r}, data, test=test{words})"
