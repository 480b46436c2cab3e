"""Turns a model and samples into C files, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.targets.c.emit import CFiles, emit
from onnx_lobs.targets.c.lower.rules import lower
from onnx_lobs.targets.c.network import Network
from onnx_lobs.targets.c.program import Program
from onnx_lobs.targets.c.ranges import find_ranges

CHECKED_SAMPLES = 8  # inputs and outputs that the check compares


@dataclass(frozen=True, eq=False)
class CExport:
    """C files, and the program that they hold."""

    files: CFiles
    program: Program


def export_c(
    network: Network,
    samples: Iterable[Feeds],
    *,
    name: str,
    title: str,
    version: str,
    values: str = "int8",
    ranges: str = "minmax",
    optimise: str = "speed",
    most_samples: int = 256,
) -> CExport:
    """Return the C files of a network.

    Parameters
    ----------
    network
        From :func:`onnx_lobs.targets.c.network.read_network`.
    samples
        Inputs of one sample each; 8-bit grids come from at most `most_samples` of them.
    name, title, version
        As for :func:`onnx_lobs.targets.c.emit.emit`.
    values
        ``int8`` or ``fp32``: what weights and activations are.
    ranges
        How grids are chosen, as for :func:`onnx_lobs.targets.c.ranges.find_ranges`.
    optimise
        ``size`` or ``speed``: how weights are stored.

    Raises
    ------
    ModelError, DataError, InferenceError
        As :func:`onnx_lobs.targets.c.lower.rules.lower` and
        :func:`onnx_lobs.targets.c.ranges.find_ranges`.
    """
    taken = [dict(feeds) for feeds in islice(iter(samples), most_samples)]
    found = find_ranges(network, taken, ranges) if values == "int8" else None
    program = lower(network, found, optimise)
    checked = [quantised(program, feeds) for feeds in taken[:CHECKED_SAMPLES]]
    return CExport(emit(program, name, title, version, checked), program)


def quantised(program: Program, feeds: Feeds) -> Mapping[str, Array]:
    """Return the inputs of one sample in the types of a program."""
    return {
        value.name: np.asarray(feeds[value.name], np.float32).reshape(value.shape)
        if value.grid is None
        else value.grid.quantise(feeds[value.name]).reshape(value.shape)
        for value in program.inputs
    }
