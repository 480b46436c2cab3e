"""Measures every layer: its error curve, and what the output makes of its error."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from onnx_lobs.allocation.rules import Slot
from onnx_lobs.arrays import FloatArray
from onnx_lobs.layers.layer import Layer
from onnx_lobs.patterns import Pattern
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.layer_step import make_task
from onnx_lobs.run.slots import layer_key
from onnx_lobs.search.alone import PrunedLayer
from onnx_lobs.search.costs import LayerCosts
from onnx_lobs.search.trials import Trials, layer_moments
from onnx_lobs.solvers.layerwise import loss_curve

# points of a curve: even ones, and closer ones towards the end, where errors change fastest
SHARES = np.unique(np.concatenate([np.linspace(0, 1, 33), 1 - 2.0 ** -np.arange(1, 11, 0.125)]))
# of the elimination of one layer, by the effort; more rows than that are not looked at
CURVE_FLOPS = {"fast": 5e9, "default": 5e9, "best": 2e10}
LEAST_ROWS = 8
MOST_SHARE = 0.9  # zeros at which sensitivities are measured: beyond, errors no longer add up


@dataclass(frozen=True)
class MeasuredLayers:
    """What was measured of the layers, in their order.

    ``losses`` are relative errors at SHARES, (points,) each; ``sensitivity`` is the output's
    relative error over the layer's own, per layer. Layers that no data reach have a slot with no
    zeros. `pattern` is where zeros may stand.
    """

    layers: tuple[Layer, ...]
    slots: tuple[Slot, ...]
    losses: tuple[FloatArray, ...]
    sensitivity: FloatArray
    pattern: Pattern

    @property
    def n_free(self) -> int:
        """How many layers data reach whose sparsity is not given."""
        return sum(slot.fixed is None for slot in self.slots)


def by_layer(layers: tuple[Layer, ...], values: FloatArray) -> dict[str, float]:
    """Return values by the key of their layer."""
    return {layer_key(layer): float(x) for layer, x in zip(layers, values, strict=True)}


def measure_layers(
    trials: Trials, costs: LayerCosts, level: float, progress: Progress
) -> MeasuredLayers:
    """Return curves and sensitivities, on the dense network's inputs of the trials' samples.

    Parameters
    ----------
    trials
        Prune layers one by one.
    costs
        What weights cost.
    level
        Sparsity of the run. At this, or MOST_SHARE if that is less, sensitivities are measured.

    Notes
    -----
    Cost: one forward pass and the Grams, the elimination of some rows of every layer, one quick
    solve of it, and the part of a forward pass behind it on the samples that score. Memory: the
    pruned weights of all layers.
    """
    setup, dense = trials.setup, trials.networks
    progress.start("measuring layers", 2 * len(setup.layers))
    independent = setup.with_options(sequential=False)
    lowest = by_layer(setup.layers, np.array([slot.lowest for slot in costs.slots]))
    losses: dict[str, FloatArray] = {}
    alone: list[PrunedLayer] = []
    own: dict[str, float] = {}
    sensitivity: dict[str, float] = {}
    for layer, calibration in layer_moments(independent, dense, trials.scratch):
        key, layout = layer_key(layer), layer.layout
        shape = layout.groups, layout.rows, layout.columns
        share = _measured_at(level, lowest[key])
        n_prune = setup.pattern.closest(shape, share, layer.kernel_size)
        task = make_task(independent, dense, layer, calibration, n_prune)
        losses[key] = loss_curve(task, SHARES, _curve_rows(layer, setup.config.effort))
        pruned, own[key] = trials.prune_alone(layer, task)
        alone.append(pruned)
        progress.advance()
    for pruned, whole in trials.errors_alone(alone):
        key = layer_key(pruned.layer)
        sensitivity[key] = whole / own[key] if own[key] > 0 else 0.0
        progress.advance()
    keys = [layer_key(layer) for layer in setup.layers]
    unseen = np.zeros(len(SHARES))
    # what no data reach stays as it is, and the others have the zeros among themselves
    slots = tuple(
        slot if key in losses else dataclasses.replace(slot, fixed=0.0)
        for key, slot in zip(keys, costs.slots, strict=True)
    )
    curves = tuple(losses.get(key, unseen) for key in keys)
    found = np.array([sensitivity.get(key, 0.0) for key in keys])
    return MeasuredLayers(setup.layers, slots, curves, _floor(found), setup.pattern)


def _measured_at(level: float, lowest: float) -> float:
    """Return the sparsity at which a layer is pruned alone: one that it does not have already."""
    level = min(level, MOST_SHARE)
    level = level if level > 0 else 0.5
    return level if level > lowest else (1 + lowest) / 2


def curve_flops(layer: Layer, effort: str) -> float:
    """Return the flops of a layer's curve."""
    layout = layer.layout
    return _curve_rows(layer, effort) * layout.groups * float(layout.columns) ** 3


def _curve_rows(layer: Layer, effort: str) -> int:
    """Return the rows of each group that a layer's curve is taken from, at the most."""
    layout = layer.layout
    affordable = CURVE_FLOPS[effort] / (layout.groups * layout.columns**3)
    return int(np.clip(affordable, LEAST_ROWS, max(layout.rows, LEAST_ROWS)))


def _floor(sensitivity: FloatArray) -> FloatArray:
    """Return sensitivities of which none is below a thousandth of the largest, nor zero."""
    top = float(sensitivity.max(initial=0.0))
    return np.maximum(sensitivity, top / 1000 if top > 0 else 1.0)
