"""Counts what channels cost: multiplications, bytes of constants, or themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from onnx_lobs.allocation.channel_costs import ChannelCosts
from onnx_lobs.arrays import IntArray
from onnx_lobs.graph.files.external import stored_bytes
from onnx_lobs.layers.channels.coupling import Coupling
from onnx_lobs.layers.channels.query_key import QueryKey

CHANNEL_BUDGETS = ("macs", "bytes", "channels")


def channel_costs(
    coupling: Coupling, budget: str, products: Sequence[QueryKey] = ()
) -> ChannelCosts:
    """Return the costs of a network by the channels that are gone, in one of CHANNEL_BUDGETS.

    Multiplications are those of one batch. Behind the groups stand the dimensions of `products`;
    as channels, one is as many as the queries and keys that hold it.
    """
    if budget == "macs":
        counted = [(n.multiplications, n.factors) for n in coupling.counted]
        return costs_of_parts(coupling, counted, products)
    if budget == "bytes":
        return costs_of_parts(coupling, _constants(coupling), products)
    labels = coupling.classes.labels
    first = np.full(int(labels.max(initial=0)) + 1, -1, np.int64)
    first[labels[::-1]] = np.arange(labels.size)[::-1]  # one index of every class
    parts = [(len(g.channels), [first[list(g.channels)]]) for g in coupling.groups]
    starts = coupling.classes.starts
    for each in products:
        # the operand of the product: its dimensions are an axis of their own
        place = each.query.places[-1]
        ids = np.arange(starts[place], starts[place] + each.depth)
        parts.append((2 * each.heads * each.depth, [ids]))
    return costs_of_parts(coupling, parts, products)


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
    coupling: Coupling,
    parts: Iterable[tuple[float, Iterable[IntArray]]],
    products: Sequence[QueryKey] = (),
) -> ChannelCosts:
    """Return costs from each part's own and the axes that it is in proportion to, one a factor.

    An axis of heads and dimensions is two factors: these go apart.
    """
    starts = coupling.classes.starts
    of_start = {
        starts[place]: number for number, each in enumerate(products) for place in each.places
    }
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
            none = np.zeros(len(products))
            taken.append(np.concatenate([counts / np.asarray(sizes_of_group, np.float64), none]))
            product = of_start.get(int(ids.flat[0])) if ids.size else None
            if product is not None:
                part.append(number)
                sizes.append(float(products[product].depth))
                taken.append(
                    np.eye(len(sizes_of_group) + len(products))[len(sizes_of_group) + product]
                )
    width = len(sizes_of_group) + len(products)
    return ChannelCosts(
        np.asarray(base), np.asarray(part, np.int64), np.asarray(sizes),
        np.asarray(taken).reshape(len(part), width),
    )  # fmt: skip
