"""Orders channels by the usual scores, which look at no other channel: to compare OBS with.

Norms of filters: Li et al. 2016 (arXiv 1608.08710). Activity: after Hu et al. 2016 (arXiv
1607.03250), whose percentage of zeros goes with a small mean behind a ReLU.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray
from onnx_lobs.layers.channels.coupling import CoupledGroup, Coupling
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.search.channels.reading import ReadingLayer

NORMS = {"l1": 1, "l2": 2}


def usual_order(
    setup: Setup,
    networks: Networks,
    coupling: Coupling,
    group: CoupledGroup,
    layers: Mapping[str, ReadingLayer],
) -> IntArray | None:
    """Return the order that a usual score gives a group's channels; None: that of OBS."""
    name, ordered = setup.config.channel_choice, np.asarray(group.channels, np.int64)
    if name == "obs":
        return None
    if name == "random":
        return np.random.default_rng((setup.config.seed, int(ordered[0]))).permutation(ordered.size)
    if name in NORMS:
        readers = {x.layer.weight for x in layers.values() if np.isin(x.channels, ordered).any()}
        scores = filter_norms(networks, coupling, group, readers, NORMS[name])
    else:
        scores = np.zeros(ordered.size)
        for each in layers.values():
            own = np.isin(each.channels, ordered)
            place = np.searchsorted(ordered, each.channels[own])
            np.add.at(scores, place, np.abs(each.mean[own]))
    return np.asarray(np.argsort(scores, kind="stable"), np.int64)


def filter_norms(
    networks: Networks,
    coupling: Coupling,
    group: CoupledGroup,
    readers: Collection[str],
    order: int,
) -> FloatArray:
    """Return the norm of the weights that make each channel: of those that are no `readers`."""
    model, ordered = networks.result, np.asarray(group.channels, np.int64)
    totals = np.zeros(ordered.size)
    for (name, axis), _ in group.spans:
        tensor = model.constant(model.main, name)
        if tensor is None or len(tensor.dims) < 2 or name in readers:
            continue
        values = np.abs(model.value(tensor).astype(np.float64)) ** order
        sums = values.sum(axis=tuple(i for i in range(values.ndim) if i != axis))
        classes = coupling.classes.of((name, axis))
        own = np.isin(classes, ordered)
        np.add.at(totals, np.searchsorted(ordered, classes[own]), sums[own])
    return np.asarray(totals ** (1 / order))
