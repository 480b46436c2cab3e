"""Measures every coupled group: the order in which its channels go, and what that loses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnx_lobs.layers.channels.columns import column_channels
from onnx_lobs.layers.channels.coupling import Coupling
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.layer_step import make_task
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key
from onnx_lobs.search.channels.reading import ReadingLayer
from onnx_lobs.search.channels.usual_scores import usual_order
from onnx_lobs.search.trials import layer_moments
from onnx_lobs.solvers.channels.greedy import ChannelCurve, eliminate_channels, order_curve
from onnx_lobs.solvers.channels.reader import ChannelReader
from onnx_lobs.solvers.layerwise.pose import pose, usual_damp
from onnx_lobs.solvers.layerwise.prior import drawn_sums


@dataclass(frozen=True, eq=False)
class MeasuredChannels:
    """What was measured of the groups, in their order, and of the layers, by their key."""

    coupling: Coupling
    curves: tuple[ChannelCurve, ...]
    readers: tuple[tuple[ChannelReader, ...], ...]
    layers: Mapping[str, ReadingLayer]


def measure_channels(
    setup: Setup, networks: Networks, coupling: Coupling, scratch: Scratch, progress: Progress
) -> MeasuredChannels:
    """Return the curve of every group, on the dense network's inputs.

    Notes
    -----
    Cost: one forward pass and the Grams of the layers that read channels; for each of them a
    Cholesky factor and its inverse; and :func:`eliminate_channels`. Memory: the inverses of all.
    """
    layers = _reading(setup, networks, coupling, scratch)
    progress.start("measuring channels", len(coupling.groups))
    curves, all_readers = [], []
    for group in coupling.groups:
        readers = [reader for each in layers.values() for reader in each.readers(group)]
        order = usual_order(setup, networks, coupling, group, layers)
        if order is None:
            curves.append(eliminate_channels(readers, len(group.channels)))
        else:
            curves.append(order_curve(readers, order))
        all_readers.append(tuple(readers))
        progress.advance()
    return MeasuredChannels(coupling, tuple(curves), tuple(all_readers), layers)


def _reading(
    setup: Setup, networks: Networks, coupling: Coupling, scratch: Scratch
) -> dict[str, ReadingLayer]:
    """Calibrate the layers that read channels which can go."""
    free = np.unique([channel for group in coupling.groups for channel in group.channels])
    columns = {layer_key(layer): column_channels(coupling, layer) for layer in setup.layers}
    pairs = [
        (layer, slot)
        for layer, slot in zip(setup.layers, setup.slots, strict=True)
        if (found := columns[layer_key(layer)]) is not None and np.isin(found, free).any()
    ]
    part = dataclasses.replace(
        setup.with_options(sequential=False),
        layers=tuple(layer for layer, _ in pairs), slots=tuple(slot for _, slot in pairs),
    )  # fmt: skip
    result = {}
    for layer, calibration in layer_moments(part, networks.only_dense(), scratch):
        channels = columns[layer_key(layer)]
        assert channels is not None
        task = make_task(part, networks, layer, calibration, 0)
        sums = drawn_sums(task, task.total_moments())
        damp = usual_damp(task, sums)
        problem = pose(task, sums, damp, 0.0)
        mean = np.mean([moments.inputs.mean for moments in task.total_moments()], axis=0)
        result[layer_key(layer)] = ReadingLayer(
            layer, channels, problem.weight, problem.inverse, problem.energy, mean
        )
        problem.forget()
    return result
