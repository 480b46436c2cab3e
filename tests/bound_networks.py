"""Build pairs of small networks whose weights differ, and measure them by onnxruntime alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from build_onnx import run
from onnx import helper

from onnx_lobs.arrays import Array
from onnx_lobs.evaluation.bound.network import bound_network
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.report.record import BoundRecord

CPU = "CPUExecutionProvider"
Batches = list[dict[str, Array]]


def node(op: str, *names: str, **attributes: Any) -> onnx.NodeProto:
    """Make a node whose last name is the output."""
    return helper.make_node(op, list(names[:-1]), [names[-1]], **attributes)


def perturbed(
    proto: onnx.ModelProto, noise: float, seed: int = 5, names: tuple[str, ...] = ("w", "b")
) -> onnx.ModelProto:
    """Copy a model; constants whose names begin so lose elements and move, as in pruning."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    rng = np.random.default_rng(seed)
    for tensor in copy.graph.initializer:
        if tensor.name.startswith(names):
            array = onnx.numpy_helper.to_array(tensor)
            kept = rng.random(array.shape) > noise / 2
            change = array * kept + noise * 0.1 * rng.standard_normal(array.shape)
            new = onnx.numpy_helper.from_array(change.astype(array.dtype), tensor.name)
            tensor.CopyFrom(new)
    return copy


def bounds_of(
    dense: onnx.ModelProto, pruned: onnx.ModelProto, batches: Batches, **layers: str
) -> tuple[dict[str, BoundRecord], dict[str, float]]:
    """Bound a pair of models; return the records by output, and the predictions."""
    one, other = (Model(to_executable(proto, None, CPU)[0], None) for proto in (dense, pruned))
    records, predictions = bound_network(one, other, layers, batches, provider=CPU)
    return {record.output: record for record in records}, predictions


def error_of(
    dense: onnx.ModelProto, pruned: onnx.ModelProto, batches: Batches, *outputs: str
) -> float:
    """Return the sum of squared changes of some outputs over the sum of squares."""
    change = energy = 0.0
    for feeds in batches:
        before, after = run(dense, **feeds), run(pruned, **feeds)
        for name in outputs:
            change += float(np.square(after[name].astype("f8") - before[name]).sum())
            energy += float(np.square(before[name].astype("f8")).sum())
    return change / energy
