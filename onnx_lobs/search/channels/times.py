"""Measures what a network's time is made of, by the widths of its groups of channels.

Every product is timed alone, at several widths of all groups at once; products of one shape once.
So is the whole network. Its time is taken to be a constant, a multiple of the sum of the products'
times and one of the numbers that all other nodes give, all found by least squares over the widths.
What a product gains from both its axes is shared between these in proportion to the logarithms of
what is left of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from scipy.optimize import nnls

from onnx_lobs.allocation.channel_costs import ChannelCosts
from onnx_lobs.arrays import Feeds, FloatArray, IntArray
from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.latency import is_in_one_piece, least_seconds
from onnx_lobs.layers.channels.costs import costs_of_parts
from onnx_lobs.layers.channels.coupling import Coupling
from onnx_lobs.layers.channels.query_key import QueryKey
from onnx_lobs.report.progress import Progress
from onnx_lobs.search.channels.one_node import TimedNode, element_types, one_node
from onnx_lobs.search.channels.widths import (
    COARSE,
    FINE,
    SHARES,
    kept_at,
    narrower,
    narrower_shapes,
)

FREE = ("Constant", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze")  # copy nothing
POINTS = 257  # of a curve over the shares of an axis: widths of 16 in 4,096
SECONDS_OF_NODE = 0.03  # that all widths of a product take turns for, at the least
SECONDS_OF_ALL = 2.0  # and all widths of the network
SLOW = 0.75  # of what a step of 16 takes: from there on, the next 8 channels are as slow as 16


@dataclass(frozen=True, eq=False)
class MeasuredTimes:
    """Seconds at several widths of the network, the first its own.

    Parameters
    ----------
    kept
        (widths, groups) channels that each group keeps.
    nodes
        (products, widths) seconds of each product alone.
    others
        (widths,) numbers that all other nodes give.
    whole
        (widths,) seconds of the network.
    align
        What widths had better be a multiple of: COARSE where a step of FINE is no faster.
    """

    kept: IntArray
    nodes: FloatArray
    others: FloatArray
    whole: FloatArray
    align: int


def time_costs(
    coupling: Coupling, feeds: Feeds, progress: Progress, products: Sequence[QueryKey] = ()
) -> tuple[ChannelCosts, int]:
    """Return the seconds that a network takes without some channels, and what to align them to.

    One thread of onnxruntime on this machine's CPU. Cost: see :func:`measure_times`. What
    dimensions of `products` save is not timed, but taken to be in proportion.

    Raises
    ------
    ConfigError
        When the model is not in one piece.
    """
    if not is_in_one_piece(coupling.observed.model.proto):
        raise ConfigError(
            "budget latency runs copies of the model, which has to be one file of less than 2 GiB "
            "without external data; take --budget macs, which follows the time of large products"
        )
    times = measure_times(coupling, feeds, progress)
    return costs_from_times(coupling, times, products), times.align


def measure_times(coupling: Coupling, feeds: Feeds, progress: Progress) -> MeasuredTimes:
    """Return the seconds of all products and of the network, the least of runs that take turns.

    Cost: some ten copies of the model that are narrower, all loaded at once; a second or two for
    these, and SECONDS_OF_NODE for each product of another shape.
    """
    own = [len(group.channels) for group in coupling.groups]
    kept = [np.asarray(own, np.int64), *(kept_at(coupling, share) for share in SHARES)]
    probes = [kept_at(coupling, 0.5, more) for more in (FINE, COARSE)]
    protos = [coupling.observed.model.proto, *(narrower(coupling, k) for k in (*kept[1:], *probes))]
    widths = [_nodes(coupling, proto, k) for proto, k in zip(protos, kept, strict=False)]
    progress.start("measuring latency", len(coupling.counted) + 1)
    known: dict[Hashable, list[float]] = {}
    nodes = []
    for product in coupling.counted:
        found = [width[product.output] for width in widths if product.output in width]
        nodes.append(_times_of(found, len(widths), known))
        progress.advance()
    whole = least_seconds([(proto, feeds) for proto in protos], SECONDS_OF_ALL)
    progress.advance()
    half = 1 + SHARES.index(0.5)
    align = best_align(whole[half], *whole[len(kept) :])
    return MeasuredTimes(
        np.stack(kept), np.asarray(nodes).reshape(len(nodes), len(kept)),
        other_numbers(coupling, kept), np.asarray(whole[: len(kept)]), align,
    )  # fmt: skip


def best_align(at: float, fine: float, coarse: float) -> int:
    """Return COARSE where FINE channels more take SLOW of the time of COARSE more, else FINE."""
    return COARSE if fine - at > SLOW * (coarse - at) else FINE


def _nodes(coupling: Coupling, proto: onnx.ModelProto, kept: IntArray) -> Mapping[str, TimedNode]:
    """Return the products of a narrower network alone, by their first output."""
    observed = coupling.observed
    model, shapes = Model(proto, observed.model.folder), narrower_shapes(coupling, kept)
    types, wanted = element_types(observed.model.proto), {each.output for each in coupling.counted}
    return {
        node.output[0]: one_node(model, node, shapes, types)
        for node in model.main.graph.node
        if node.output and node.output[0] in wanted
    }


def _times_of(
    widths: list[TimedNode], count: int, known: dict[Hashable, list[float]]
) -> list[float]:
    """Return the seconds of one product at all widths; 0 where nothing reads it any more."""
    key = tuple(width.key for width in widths)
    if key not in known:
        runs = [(width.proto, width.feeds) for width in widths]
        known[key] = least_seconds(runs, SECONDS_OF_NODE) if runs else []
    return known[key] if len(widths) == count else [0.0] * count


def costs_from_times(
    coupling: Coupling, times: MeasuredTimes, products: Sequence[QueryKey] = ()
) -> ChannelCosts:
    """Return the seconds of a network as costs of its products, of all other nodes and the rest."""
    sums = np.stack([np.ones(len(times.whole)), times.nodes.sum(axis=0), times.others], axis=1)
    sizes = np.maximum(sums[0], 1e-300)
    # relative to the widest: of all widths the same share is to be right
    found, _ = nnls(sums / sizes / times.whole[:, None], np.ones(len(times.whole)))
    constant, scale, each = found / sizes
    parts: list[tuple[float, Sequence[IntArray]]] = [
        (scale * float(seconds[0]), product.factors)
        for product, seconds in zip(coupling.counted, times.nodes, strict=True)
    ]
    shapes, classes = coupling.observed.shapes, coupling.classes
    for name in _others(coupling):
        places = [(name, axis) for axis in range(len(shapes[name]))]
        starts = [(classes.starts[p], classes.sizes[p]) for p in places if p in classes.starts]
        factors = [np.arange(start, start + size) for start, size in starts]
        parts.append((float(each) * math.prod(shapes[name]), factors))
    plain = costs_of_parts(coupling, [*parts, (float(constant), [])], products)
    return dataclasses.replace(plain, curves=_curves(plain, times))


def _others(coupling: Coupling) -> list[str]:
    """Return the outputs of all nodes that are no products and give tensors of their own."""
    products = {product.output for product in coupling.counted}
    nodes = coupling.observed.model.main.graph.node
    return [
        node.output[0]
        for node in nodes
        if node.output
        and node.output[0] not in products
        and node.op_type not in FREE
        and node.output[0] in coupling.observed.shapes
    ]


def other_numbers(coupling: Coupling, kept: Sequence[IntArray]) -> FloatArray:
    """Return (widths,) how many numbers all nodes give that are no products."""
    names = _others(coupling)
    shapes = [narrower_shapes(coupling, each) for each in kept]
    return np.asarray([sum(math.prod(s[name]) for name in names) for s in shapes], np.float64)


def _curves(costs: ChannelCosts, times: MeasuredTimes) -> FloatArray:
    """Return what each factor leaves of its part's time, at shares of its axis."""
    grid = np.linspace(0, 1, POINTS)
    curves = np.repeat(grid[None], costs.part.size, axis=0)
    # other parts are in proportion, and so are dimensions, behind the groups
    is_timed = costs.part < len(times.nodes)
    n_groups = times.kept.shape[1]
    of_products = np.flatnonzero(is_timed & ~costs.taken[:, n_groups:].any(axis=1))
    costs = dataclasses.replace(
        costs, part=costs.part[of_products], sizes=costs.sizes[of_products],
        taken=costs.taken[of_products, :n_groups],
    )  # fmt: skip
    gone = times.kept[0] - times.kept
    shares = 1 - (costs.taken @ gone.T) / costs.sizes[:, None]  # (factors, widths)
    logs = -np.log(np.maximum(shares, 1e-9))
    of_part = np.zeros((costs.base.size, logs.shape[1]))
    np.add.at(of_part, costs.part, logs)
    parts = np.divide(logs, of_part[costs.part], out=np.zeros_like(logs), where=logs > 0)
    left = times.nodes / np.maximum(times.nodes[:, :1], 1e-12)
    # no narrower product is taken to be slower
    left = np.minimum.accumulate(np.minimum(left, 1.0), axis=1)[costs.part] ** parts
    for row, share, rest in zip(of_products, shares, left, strict=True):
        curves[row] = _curve(grid, share, rest)
    return curves


def _curve(grid: FloatArray, shares: FloatArray, left: FloatArray) -> FloatArray:
    """Return what is left at all shares of the grid: of axes that never shrank, the share."""
    if shares.min() == 1:
        return grid
    at, first = np.unique(shares, return_index=True)
    return np.interp(grid, at, np.maximum.accumulate(left[first]))
