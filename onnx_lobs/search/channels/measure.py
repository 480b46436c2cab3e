"""Measures every coupled group: the order in which its channels go, and what that loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.layers.channels.columns import column_channels
from onnx_lobs.layers.channels.coupling import CoupledGroup, Coupling
from onnx_lobs.layers.channels.query_key import QueryKey
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.layer_step import make_task
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key
from onnx_lobs.search.channels.dimensions import MeasuredProduct, measure_products
from onnx_lobs.search.channels.reading import ReadingLayer
from onnx_lobs.search.channels.usual_scores import usual_order
from onnx_lobs.search.trials import layer_moments
from onnx_lobs.solvers.channels.greedy import ChannelCurve, eliminate_channels, order_curve
from onnx_lobs.solvers.channels.reader import ChannelReader
from onnx_lobs.solvers.layerwise.pose import pose, usual_damp
from onnx_lobs.solvers.layerwise.prior import drawn_sums
from onnx_lobs.solvers.layerwise.task import LayerTask

LEAST_HELD = 8  # observations: fewer say nothing of a loss
SHARES = (0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)  # of a group's channels


@dataclass(frozen=True, eq=False)
class MeasuredChannels:
    """What was measured of the groups, in their order, and of the layers, by their key.

    `products` are those of queries and keys that can lose dimensions.
    """

    coupling: Coupling
    curves: tuple[ChannelCurve, ...]
    readers: tuple[tuple[ChannelReader, ...], ...]
    layers: Mapping[str, ReadingLayer]
    products: tuple[MeasuredProduct, ...] = ()


def measure_channels(
    setup: Setup,
    networks: Networks,
    coupling: Coupling,
    scratch: Scratch,
    progress: Progress,
    products: Sequence[QueryKey] = (),
) -> MeasuredChannels:
    """Return the curve of every group, and of `products`, on the dense network's inputs.

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
            curve = eliminate_channels(readers, len(group.channels))
        else:
            curve = order_curve(readers, order)
        curves.append(_on_held(curve, group, list(layers.values())))
        all_readers.append(tuple(readers))
        progress.advance()
    reduced = measure_products(setup, networks, products, scratch)
    return MeasuredChannels(coupling, tuple(curves), tuple(all_readers), layers, reduced)


def _reading(
    setup: Setup, networks: Networks, coupling: Coupling, scratch: Scratch
) -> dict[str, ReadingLayer]:
    """Calibrate the layers that read channels which can go."""
    free = np.unique([channel for group in coupling.groups for channel in group.channels])
    columns = {layer_key(layer): column_channels(coupling, layer) for layer in setup.layers}
    known = {key: found for key, found in columns.items() if found is not None}
    wanted = {key for key, found in known.items() if np.isin(found, free).any()}
    part = setup.only(wanted).with_options(sequential=False)
    result: dict[str, ReadingLayer] = {}
    if not part.layers:
        return result
    for layer, calibration in layer_moments(part, networks.only_dense(), scratch):
        task = make_task(part, networks, layer, calibration, 0)
        fit = task.calibration.fit
        sums = drawn_sums(task, fit)
        damp = usual_damp(task, sums)
        problem = pose(task, sums, damp, 0.0)
        mean = np.mean([moments.inputs.mean for moments in fit], axis=0)
        weight, held = problem.weight, _held_sums(task, mean)
        result[layer_key(layer)] = ReadingLayer(
            layer, known[layer_key(layer)], weight, problem.inverse, problem.energy, mean, held,
            0.0 if held is None else float(np.vdot(weight @ held, weight)),
        )  # fmt: skip
        problem.forget()
    return result


def _held_sums(task: LayerTask, mean: FloatArray) -> FloatArray | None:
    """Return sum (x - mean)(x - mean)^T over what was held out; None: too little was."""
    held = [moments.inputs for moments in task.calibration.held if moments.inputs.count]
    if sum(gram.count for gram in held) < LEAST_HELD:
        return None
    sums = np.zeros_like(held[0].matrix)
    for gram in held:
        off = gram.mean - mean
        sums += gram.scatter(centred=True) + gram.count * off[:, :, None] * off[:, None, :]
    return sums


def _on_held(
    curve: ChannelCurve, group: CoupledGroup, layers: Sequence[ReadingLayer]
) -> ChannelCurve:
    """Return a curve whose losses are those on what was held out, at SHARES and in between.

    On few observations a refit makes nearly nothing of a loss that others show in full.
    """
    ordered, n = np.asarray(group.channels, np.int64)[curve.order], curve.order.size
    readers = [each for each in layers if each.gone(ordered).any()]
    if not readers or any(each.held is None for each in readers):
        return curve
    counts = np.unique([round(share * n) for share in SHARES])
    losses = [0.0]
    for count in counts[1:]:
        gone = ordered[:count]
        losses.append(sum(each.held_loss(each.gone(gone)) for each in readers))
    # no lower than what was fitted, and no step down
    found = np.maximum.accumulate(np.interp(np.arange(n + 1), counts, losses))
    return ChannelCurve(curve.order, np.maximum(found, curve.loss))
