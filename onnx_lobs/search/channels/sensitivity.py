"""Measures what the network's outputs make of the loss of one coupled group's channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnx_lobs.arrays import BoolArray, FloatArray, IntArray
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.write import round_weight, write_bias, write_weight
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.search.channels.measure import MeasuredChannels
from onnx_lobs.search.channels.reading import ReadingLayer
from onnx_lobs.search.trial_judge import Judge
from onnx_lobs.solvers.channels.swaps import channel_error

SHARE = 0.3  # of a group's channels that are gone when its sensitivity is measured
SAMPLES = 32  # that it is measured on, at least
FLOOR = 1e-3  # of the largest sensitivity: none is less


def sensitivities(
    setup: Setup, networks: Networks, measured: MeasuredChannels, progress: Progress
) -> tuple[float, ...]:
    """Return the output error over the loss, with some channels of each group alone gone.

    Notes
    -----
    Cost: per group, one refit of the layers that read it and a forward pass on SAMPLES samples.
    """
    batches = setup.batches
    count = int(np.searchsorted(np.cumsum(batches.sizes), SAMPLES)) + 1
    judge = Judge(networks, batches.pick(range(min(count, len(batches)))), setup.memory.activations)
    progress.start("measuring sensitivities", len(measured.curves))
    found = []
    parts = zip(measured.coupling.groups, measured.curves, measured.readers, strict=True)
    for group, curve, readers in parts:
        gone = curve.order[: max(1, round(SHARE * curve.order.size))]
        loss = channel_error(readers, gone)
        trial = networks.on_trial().pruned
        _remove(trial, measured, np.asarray(group.channels, np.int64)[gone])
        error = judge.loss(trial).error
        found.append(error / loss if loss > 0 and error is not None else 0.0)
        progress.advance()
    top = max(found, default=0.0)
    return tuple(max(each, FLOOR * top) if top > 0 else 1.0 for each in found)


def _remove(model: Model, measured: MeasuredChannels, classes: IntArray) -> None:
    """Refit the layers that read some channels without them, in place."""
    for each in measured.layers.values():
        columns = each.gone(classes)
        if columns.any():
            weight = np.stack(list(_refitted(each, columns)))
            layer = each.layer
            write_weight(model, layer, round_weight(layer, weight))
            change = np.einsum("grd,gd->gr", each.weight - weight, each.mean)
            for use in layer.uses:
                if use.bias is not None:
                    write_bias(model, use, layer, change)


def _refitted(each: ReadingLayer, columns: BoolArray) -> Iterator[FloatArray]:
    """Yield the weights of every group without some columns, the others refitted."""
    for weight, inverse, gone in zip(each.weight, each.inverse, columns, strict=True):
        at = np.flatnonzero(gone)
        factor = np.linalg.solve(inverse[np.ix_(at, at)], inverse[at])
        new = weight - weight[:, at] @ factor
        new[:, at] = 0.0
        yield new
