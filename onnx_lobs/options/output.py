"""Declares the options of what comes out: the form of the file, and what the report says."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.options.kinds import SWITCH, choice
from onnx_lobs.options.option import Affects, option

FORMATS = ("dense", "sparse")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """The options of what comes out."""

    storage: str | None = option(
        None,
        "How pruned weights are written. sparse: smaller file; onnxruntime reads it, many other "
        "tools do not.",
        choice(FORMATS, "format"),
        flags=("--format",),
        unset="sparse where MODEL has sparse initializers, else dense",
        affects=Affects.RUN,
        brief="How weights are written; sparse makes a smaller file.",
        rank=9,
    )
    bound: bool = option(
        False,
        "Also bound the output error by the layers' errors and the norms behind them, and predict "
        "it to first order, for all layers and for each. Takes some 4 forward passes and the "
        "norms, and 4096 samples in all for single layers.",
        SWITCH,
        affects=Affects.RUN,
    )
