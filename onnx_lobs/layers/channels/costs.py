"""Counts what channels cost: multiplications, bytes of constants, or themselves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from onnx_lobs.allocation.channel_costs import ChannelCosts
from onnx_lobs.arrays import IntArray
from onnx_lobs.graph.files.external import stored_bytes
from onnx_lobs.layers.channels.coupling import Coupling

CHANNEL_BUDGETS = ("macs", "bytes", "channels")


def channel_costs(coupling: Coupling, budget: str) -> ChannelCosts:
    """Return the costs of a network by the channels that are gone, in one of CHANNEL_BUDGETS.

    Multiplications are those of one batch.
    """
    if budget == "macs":
        return costs_of_parts(coupling, [(n.multiplications, n.factors) for n in coupling.counted])
    if budget == "bytes":
        return costs_of_parts(coupling, _constants(coupling))
    labels = coupling.classes.labels
    first = np.full(int(labels.max(initial=0)) + 1, -1, np.int64)
    first[labels[::-1]] = np.arange(labels.size)[::-1]  # one index of every class
    return costs_of_parts(
        coupling, [(len(g.channels), [first[list(g.channels)]]) for g in coupling.groups]
    )


def _constants(coupling: Coupling) -> list[tuple[float, list[IntArray]]]:
    """Return the bytes of every constant of the main graph, and its axes."""
    observed = coupling.observed
    classes, model = coupling.classes, observed.model
    found = []
    for name in observed.shapes:
        tensor = model.constant(model.main, name)
        if tensor is None:
            continue
        axes = [(name, axis) for axis in range(len(observed.shapes[name]))]
        starts = [p for p in axes if p in classes.starts]
        ids = [np.arange(classes.starts[p], classes.starts[p] + classes.sizes[p]) for p in starts]
        found.append((float(stored_bytes(tensor)), ids))
    return found


def costs_of_parts(
    coupling: Coupling, parts: Iterable[tuple[float, Iterable[IntArray]]]
) -> ChannelCosts:
    """Return costs from each part's own and the axes that it is in proportion to, one a factor."""
    of_class = np.full(int(coupling.classes.labels.max(initial=0)) + 1, -1, np.int64)
    sizes_of_group = [len(group.channels) for group in coupling.groups]
    for number, group in enumerate(coupling.groups):
        of_class[list(group.channels)] = number
    base, part, sizes, taken = [], [], [], []
    for number, (cost, factors) in enumerate(parts):
        base.append(float(cost))
        for ids in factors:
            groups = of_class[coupling.of(ids)]
            counts = np.bincount(groups[groups >= 0], minlength=len(sizes_of_group))
            part.append(number)
            sizes.append(float(ids.size))
            taken.append(counts / np.asarray(sizes_of_group, np.float64))
    width = len(sizes_of_group)
    return ChannelCosts(
        np.asarray(base), np.asarray(part, np.int64), np.asarray(sizes),
        np.asarray(taken).reshape(len(part), width),
    )  # fmt: skip
