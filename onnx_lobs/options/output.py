"""Declares the options of what comes out: the form of the file, and what the report says."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.options.option import Affects, option
from onnx_lobs.options.word_kinds import SWITCH, choice, text

FORMATS = ("dense", "sparse", "packed")
VALUES = ("fp32", "fp16", "int8")
ACTIVATIONS = ("fp32", "int8")
OPTIMISE = ("speed", "size")
TARGETS = ("onnxruntime", "openvino", "mnn", "xnnpack", "tensorrt", "c")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """The options of what comes out."""

    target: str | None = option(
        None,
        "What will run the model: sets `pattern`, `storage`, `values` and `budget` as it needs "
        "them, unless they are given, writes what it needs beside the model, and says what to "
        "expect.",
        choice(TARGETS),
        unset="nothing is set",
        affects=Affects.RUN,
        brief="What will run it: mnn, tensorrt, c ...: sets what that needs.",
    )
    chip: str | None = option(
        None,
        "A microcontroller, by name or as flash=1MB,ram=256KB: whether it is large enough. With "
        "`target` c and no `sparsity`, limit or `rounds`: as few zeros as fit it.",
        text("PART"),
        unset="no part is looked at",
        affects=Affects.SOLVING,
    )
    optimise: str = option(
        "speed",
        "How C code stores the weights that are left: so that they take the fewest instructions, "
        "or the fewest bytes; with `target` c also the `budget`, macs or weights.",
        choice(OPTIMISE, "optimise"),
        affects=Affects.SOLVING,
    )
    storage: str | None = option(
        None,
        "How pruned weights are written. sparse: smaller file; onnxruntime reads it, many other "
        "tools do not. packed: smaller yet; onnxruntime and OpenVINO unpack it when they load it.",
        choice(FORMATS, "format"),
        flags=("--format",),
        unset="sparse where MODEL has sparse initializers, else dense",
        affects=Affects.RUN,
        brief="How weights are written; sparse makes a smaller file.",
        rank=9,
    )
    values: str = option(
        "fp32",
        "In what the values of pruned weights are kept: as they are, or rounded. int8: with a "
        "scale for each output, each rounding made up for by the other weights.",
        choice(VALUES, "values"),
        affects=Affects.SOLVING,
    )
    activations: str = option(
        "fp32",
        "In what the values between layers are. int8: for runtimes that compute in int8, by "
        "onnxruntime.quantization on the calibration data; with int8 `values`.",
        choice(ACTIVATIONS, "activations"),
        affects=Affects.RUN,
    )
    bound: bool = option(
        False,
        "Also bound the output error by the layers' errors and the norms behind them, and predict "
        "it to first order, for all layers and for each. Takes some 4 forward passes and the "
        "norms, and 4096 samples in all for single layers.",
        SWITCH,
        affects=Affects.RUN,
    )
