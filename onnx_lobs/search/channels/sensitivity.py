"""Measures what the network's outputs make of the loss of one coupled group's channels."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.calibration.held_out import held_every, is_held_out
from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.write import round_weight, write_bias, write_weight
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.search.channels.measure import MeasuredChannels
from onnx_lobs.search.trial_judge import Judge
from onnx_lobs.search.trials import remember_dense

SHARE = 0.3  # of a group's channels that are gone when its sensitivity is measured
SAMPLES = 64  # that it is measured on, at least
FLOOR = 1e-3  # of the largest sensitivity: none is less


def sensitivities(
    setup: Setup, networks: Networks, measured: MeasuredChannels, progress: Progress
) -> tuple[float, ...]:
    """Return the output error over the loss, with some channels of each group alone gone.

    The losses are those of samples that were held out, if any were: on few samples a refit hides
    what is lost on others. So is the output error, as far as these are SAMPLES: a tenth of few
    samples is too noisy.

    Notes
    -----
    Cost: per group, one refit of the layers that read it and a forward pass on SAMPLES samples.
    """
    judge = Judge(networks, _scored(setup.batches), remember_dense(setup, networks))
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


def _scored(batches: Batches) -> Batches:
    """Return the batches that were held out, and more where they have fewer than SAMPLES."""
    every = held_every(batches)
    order = sorted(range(len(batches)), key=lambda index: not is_held_out(index, every))
    ends = np.cumsum([batches.sizes[index] for index in order])
    n_held = sum(is_held_out(index, every) for index in order)
    count = max(n_held, int(np.searchsorted(ends, SAMPLES)) + 1)
    return batches.pick(order[:count])


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
