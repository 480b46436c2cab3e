"""Holds the table of what runs pruned models: what each needs, and what zeros buy there.

To add one, add its row to ``RUNTIMES``, its name to ``TARGETS`` in
:mod:`onnx_lobs.options.output`, and what it wants beside the model to
:mod:`onnx_lobs.targets.beside`. Figures of speed are from the guide's page ``zeros``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.given import as_choice
from onnx_lobs.options.output import OPTIMISE, VALUES

_IN_PLACE = ("sparsity", "rounds", "max_drop", "max_output_error", "max_bytes")


@dataclass(frozen=True)
class Runtime:
    """One row of the table.

    Parameters
    ----------
    name
        What the user writes.
    options
        Options that it sets where they are not given.
    patterns, storages, values, activations
        Of these options what it can use: a regular expression, and names.
    why
        What the rest is refused with.
    least
        Share of zeros from which on its kernels use them; 0 where any do, or none.
    sparsity
        In place of the default where none is given, or None.
    """

    name: str
    options: Mapping[str, str]
    patterns: str = r".*"
    storages: Collection[str] = ("dense", "sparse", "packed")
    values: Collection[str] = ("fp32", "fp16", "int8")
    activations: Collection[str] = ("fp32", "int8")
    why: Mapping[str, str] = field(default_factory=dict)
    least: float = 0.0
    sparsity: float | None = None


RUNTIMES: Mapping[str, Runtime] = {
    row.name: row
    for row in (
        Runtime("onnxruntime", {"storage": "packed"}),
        Runtime(
            "openvino",
            {"storage": "packed"},
            storages=("dense", "packed"),
            why={"storage": "OpenVINO cannot read sparse initializers; take packed or dense"},
        ),
        Runtime(
            "mnn",
            {"pattern": "4x1", "storage": "dense", "values": "fp32", "budget": "macs"},
            patterns=r"unstructured|\d+x1",
            storages=("dense",),
            values=("fp32",),
            activations=("fp32",),
            why={
                "pattern": "MNN skips single zeros, and blocks of output channels; take 4x1",
                "storage": "MNN's converter wants dense weights; take dense",
                "values": "MNN skips zeros in float32 only; take fp32",
                "activations": "MNN skips zeros in float32 only; take fp32",
                "least": "MNN multiplies the zeros of a layer that has fewer than",
            },
            least=0.3,
        ),
        Runtime(
            "xnnpack",
            {"storage": "dense", "values": "fp32", "budget": "macs"},
            patterns=r"unstructured|[24]x1",
            storages=("dense",),
            values=("fp32", "fp16"),
            activations=("fp32",),
            why={
                "pattern": "XNNPACK skips single zeros and blocks of 2x1 and 4x1; take one of them",
                "storage": "converters to TFLite want dense weights; take dense",
                "values": "XNNPACK skips zeros in floating numbers only; take fp32 or fp16",
                "activations": "XNNPACK skips zeros in floating numbers only; take fp32",
                "least": "XNNPACK multiplies the zeros of 1x1 convolutions that have fewer than",
            },
            least=2 / 3,
            sparsity=0.75,
        ),
        Runtime(
            "tensorrt",
            {"pattern": "2:4", "storage": "dense"},
            patterns=r"2:4|1:4",
            storages=("dense",),
            why={
                "pattern": "TensorRT's sparse kernels want 2 zeros in 4 inputs; take 2:4",
                "storage": "TensorRT's parser wants dense weights; take dense",
            },
        ),
        Runtime(
            "c",
            {"storage": "dense", "values": "int8", "budget": "macs"},
            values=("fp32", "int8"),
            activations=("fp32",),
            why={
                "values": "the C code computes in int8 or float32; take one of these",
                "activations": "the C code has 8-bit grids of its own; leave it out",
            },
        ),
    )
}


def fill_options(values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return options completed by what their target sets.

    Parameters
    ----------
    values
        By name; what is missing has its default. Not modified.
    given
        Names of those that somebody wrote: they stay.
    """
    filled = dict(values)
    row = _row(values.get("target"))
    if row is None:
        return filled
    options = dict(row.options)
    if row.name == "c" and as_choice(str(filled.get("optimise")), OPTIMISE) == "size":
        options["budget"] = "weights"  # a weight takes its bytes wherever it stands
    if row.name == "openvino" and as_choice(str(filled.get("activations")), VALUES) == "int8":
        options["storage"] = "dense"  # OpenVINO computes in float with int8 that it has to unpack
    filled |= {name: value for name, value in options.items() if name not in given}
    if row.sparsity is not None and not any(name in given for name in _IN_PLACE):
        filled["sparsity"] = row.sparsity
    return filled


def set_by(target: object) -> Collection[str]:
    """Return the names of the options that a target sets; none where it is None or unknown."""
    row = _row(target)
    return () if row is None else tuple(row.options)


def origin(target: object, name: str, value: object) -> str:
    """Return words behind an option's value that say which target takes it, or none.

    >>> origin("c", "values", "int8")
    ', which --target c takes'
    >>> origin("c", "values", "fp32")
    ''
    """
    row = _row(target)
    takes = row is not None and row.options.get(name) == value
    return f", which --target {target} takes" if takes else ""


def _row(target: object) -> Runtime | None:
    return RUNTIMES.get(as_choice(target, RUNTIMES)) if isinstance(target, str) else None


def check_options(target: str, options: Mapping[str, Any]) -> None:
    """Raise ConfigError where an option contradicts a target.

    Parameters
    ----------
    target
        A name of the table.
    options
        Values of ``pattern``, ``storage``, ``values``, ``activations`` and ``sparsity``; None
        where one is left to the run.
    """
    row = RUNTIMES[target]
    allowed = {"storage": row.storages, "values": row.values, "activations": row.activations}
    wrong = [name for name, names in allowed.items() if options[name] not in (None, *names)]
    has_channels = options["pattern"] == "channels"  # which help every runtime
    if not has_channels and re.fullmatch(row.patterns, str(options["pattern"])) is None:
        wrong.insert(0, "pattern")
    if wrong:
        raise ConfigError(
            f"--target {target} with {_flag(wrong[0])} {options[wrong[0]]}: {row.why[wrong[0]]}"
        )
    sparsity = options["sparsity"]
    least = least_zeros(row, str(options["pattern"]))
    if not has_channels and sparsity is not None and least and sparsity <= least:
        raise ConfigError(
            f"--target {target} with --sparsity {sparsity:g}: {row.why['least']} "
            f"{100 * least:.0f} % of them; ask for more zeros"
        )


def _flag(name: str) -> str:
    return "--format" if name == "storage" else f"--{name}"


# of a layer, by how many output channels are zero together, as MNN's converter decides
_MNN_LEAST = {"unstructured": 0.6, "1x1": 0.6, "2x1": 0.5, "3x1": 0.4}


def least_zeros(row: Runtime, pattern: str) -> float:
    """Return the share of zeros of a layer from which on a runtime skips them."""
    return _MNN_LEAST.get(pattern, row.least) if row.name == "mnn" else row.least
