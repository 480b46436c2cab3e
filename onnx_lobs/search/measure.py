"""What is measured of every layer: its error curve, and what the output makes of its error."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.allocation.rules import Slot
from onnx_lobs.arrays import FloatArray
from onnx_lobs.calibration.independent import observations_per_sample
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.layers.layer import Layer
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.layer_step import make_task
from onnx_lobs.run.slots import layer_key, wanted_sparsity
from onnx_lobs.run.workspace import Workspace
from onnx_lobs.search.trials import Trials, layer_moments
from onnx_lobs.solvers.layerwise import loss_curve

# points of a curve: even ones, and closer ones towards the end, where errors change fastest
SHARES = np.unique(np.concatenate([np.linspace(0, 1, 33), 1 - 2.0 ** -np.arange(1, 11, 0.125)]))
CURVE_FLOPS = 2e10  # of the elimination of one layer; more rows than that are not looked at
LEAST_ROWS = 8
MOST_SHARE = 0.9  # zeros at which sensitivities are measured: beyond, errors no longer add up


@dataclass(frozen=True)
class MeasuredLayers:
    """What was measured of the layers, in their order.

    ``losses`` are relative errors at SHARES, (points,) each; ``sensitivity`` is the output's
    relative error over the layer's own, per layer; ``columns`` of data per sample.
    """

    slots: tuple[Slot, ...]
    losses: tuple[FloatArray, ...]
    sensitivity: FloatArray
    columns: FloatArray


def by_layer(layers: Sequence[Layer], values: FloatArray) -> dict[str, float]:
    """Return values by the key of their layer."""
    return {layer_key(layer): float(x) for layer, x in zip(layers, values, strict=True)}


def observations_of(work: Workspace) -> FloatArray:
    """Return the observations that a sample gives each layer."""
    feeds = next(iter(work.batches))
    groups = find_shared_inputs(work.layers)
    found = observations_per_sample(work.dense, groups, feeds, work.batches.sizes[0], work.provider)
    known = {
        layer_key(layer): value
        for group, value in zip(groups, found, strict=True)
        for layer in group.layers
    }
    return np.array([known[layer_key(layer)] for layer in work.layers])


def measure(
    work: Workspace,
    slots: Sequence[Slot],
    columns: FloatArray,
    trials: Trials,
    scratch: Scratch,
    progress: Progress,
) -> MeasuredLayers:
    """Return curves and sensitivities, on the dense network's inputs of the trials' samples.

    Cost: one forward pass and the Grams, the elimination of some rows of every layer, one quick
    solve of it, and a forward pass of the network on the samples that score.
    """
    progress.start("measuring layers", len(work.layers))
    config = dataclasses.replace(trials.work.config, sequential=False)
    dense = dataclasses.replace(trials.work, config=config, warnings=[], skips=[])
    level = min(wanted_sparsity(work.config, work.pattern), MOST_SHARE)
    level = level if level > 0 else 0.5
    losses: dict[str, FloatArray] = {}
    sensitivity: dict[str, float] = {}
    for layer, calibration in layer_moments(dense, scratch):
        key = layer_key(layer)
        task = make_task(dense, layer, calibration)
        groups, rows, d = task.weight.shape
        most = int(np.clip(CURVE_FLOPS / (groups * d**3), LEAST_ROWS, max(rows, LEAST_ROWS)))
        losses[key] = loss_curve(task, SHARES, most)
        n_prune = task.pattern.closest((groups, rows, d), level, task.kernel_size)
        own, whole = trials.error_of_one(layer, dataclasses.replace(task, n_prune=n_prune))
        sensitivity[key] = whole / own if own > 0 else 0.0
        progress.advance()
    keys = [layer_key(layer) for layer in work.layers]
    found = np.array([sensitivity.get(key, 0.0) for key in keys])
    unseen = np.zeros(len(SHARES))
    # what no data reach stays as it is, and the others have the zeros among themselves
    slots = [
        slot if key in losses else dataclasses.replace(slot, fixed=0.0)
        for key, slot in zip(keys, slots, strict=True)
    ]
    return MeasuredLayers(
        tuple(slots), tuple(losses.get(key, unseen) for key in keys), _floor(found), columns
    )


def _floor(sensitivity: FloatArray) -> FloatArray:
    """Return sensitivities of which none is below a thousandth of the largest, nor zero."""
    top = float(sensitivity.max(initial=0.0))
    return np.maximum(sensitivity, top / 1000 if top > 0 else 1.0)
