"""Measures what the network's outputs make of the loss of one coupled group's channels."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.calibration.held_out import split_held
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.write import round_weight, write_bias, write_weight
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.search.channels.measure import MeasuredChannels
from onnx_lobs.search.trial_judge import Judge
from onnx_lobs.search.trials import remember_dense

SHARE = 0.3  # of a group's channels that are gone when its sensitivity is measured
SAMPLES = 32  # that it is measured on, at least
FLOOR = 1e-3  # of the largest sensitivity: none is less


def sensitivities(
    setup: Setup, networks: Networks, measured: MeasuredChannels, progress: Progress
) -> tuple[float, ...]:
    """Return the output error over the loss, with some channels of each group alone gone.

    Both are those of samples that were held out, if any were: on few samples a refit hides what is
    lost on others.

    Notes
    -----
    Cost: per group, one refit of the layers that read it and a forward pass on SAMPLES samples.
    """
    fitted, held = split_held(setup.batches)
    batches = fitted if held is None else held
    count = int(np.searchsorted(np.cumsum(batches.sizes), SAMPLES)) + 1
    judged = batches.pick(range(min(count, len(batches))))
    judge = Judge(networks, judged, remember_dense(setup, networks))
    progress.start("measuring sensitivities", len(measured.curves))
    found = []
    for group, curve in zip(measured.coupling.groups, measured.curves, strict=True):
        gone = curve.order[: max(1, round(SHARE * curve.order.size))]
        loss = float(curve.loss[gone.size])
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
            weight = each.without(columns)
            layer = each.layer
            write_weight(model, layer, round_weight(layer, weight))
            change = np.einsum("grd,gd->gr", each.weight - weight, each.mean)
            for use in layer.uses:
                if use.bias is not None:
                    write_bias(model, use, layer, change)
