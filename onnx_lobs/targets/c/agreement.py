"""Measures how far a C program is from the network that it was made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, Feeds, FloatArray
from onnx_lobs.graph.run.session import Session
from onnx_lobs.targets.c.export import quantised
from onnx_lobs.targets.c.network import Network
from onnx_lobs.targets.c.program import Program


@dataclass(frozen=True)
class Agreement:
    """What 8-bit integers cost.

    Parameters
    ----------
    samples
        That were compared.
    error
        Sum of squared changes of the outputs over the sum of squares.
    same_class
        Share of samples with the largest output at the same place, of the first output; None
        where it has less than two numbers.
    """

    samples: int
    error: float
    same_class: float | None


def compare(network: Network, program: Program, samples: Iterable[Feeds]) -> Agreement:
    """Run a program's reference and onnxruntime on the same samples.

    Raises
    ------
    ModelError, InferenceError
        onnxruntime cannot run the network.
    """
    session = Session(network.proto)
    changed = size = 0.0
    same: list[bool] = []
    for feeds in samples:
        wanted = session.run(feeds)
        got = program.compute(quantised(program, feeds))
        pairs = [
            (np.asarray(wanted[name], np.float64).reshape(-1), real_output(program, number, got))
            for number, name in enumerate(network.outputs)
        ]
        changed += sum(float(((a - b) ** 2).sum()) for a, b in pairs)
        size += sum(float((a**2).sum()) for a, _ in pairs)
        same.append(bool(pairs[0][0].argmax() == pairs[0][1].argmax()))
    has_classes = program.outputs[0].size > 1
    error = changed / size if size > 0.0 else float(changed > 0.0)
    return Agreement(len(same), error, float(np.mean(same)) if has_classes and same else None)


def real_output(program: Program, number: int, got: dict[str, Array]) -> FloatArray:
    """Return the numbers that an output's elements stand for."""
    value = program.outputs[number]
    elements = got[value.name].reshape(-1)
    return elements.astype(np.float64) if value.grid is None else value.grid.dequantise(elements)
