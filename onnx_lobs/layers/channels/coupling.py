"""Finds the channels of a model that can go, each with all that goes with it, and what stays."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Scope, outer_names, subgraphs
from onnx_lobs.layers.channels.axes import AxisClasses, AxisLabels, AxisPlace, CountedNode, ReadAxis
from onnx_lobs.layers.channels.node_view import NodeView
from onnx_lobs.layers.channels.observed import Observed
from onnx_lobs.layers.channels.rules.shaping import aligned
from onnx_lobs.layers.channels.rules.table import RULES

MOST_TRIES = 24  # Reshapes whose carrier is looked for: each takes a walk over the graph

Spans = tuple[tuple[AxisPlace, int], ...]
"""the axes that a class of indices has a part in, and how many indices of each"""


@dataclass(frozen=True, eq=False)
class CoupledGroup:
    """Channels that stand alike in a model: each has indices of the same axes, as many of each.

    Parameters
    ----------
    channels
        The classes, ascending by their first place.
    spans
        Axes of constants and values, with the number of indices that a channel has there.
    reason
        Why they have to stay; empty where they can go.
    """

    channels: tuple[int, ...]
    spans: Spans
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Coupling:
    """What goes together in a model.

    Parameters
    ----------
    observed
        Its shapes.
    classes
        The class of every index of every axis.
    groups
        Channels that can go, by what they span; in graph order.
    pinned
        Channels of weights that have to stay, with the reason; the largest first.
    reads
        What products with weights sum over, by their first output.
    counted
        Multiplications of all products.
    carriers
        As in :class:`~onnx_lobs.layers.channels.node_view.NodeView`.
    """

    observed: Observed
    classes: AxisClasses
    groups: tuple[CoupledGroup, ...]
    pinned: tuple[CoupledGroup, ...]
    reads: Mapping[str, ReadAxis]
    counted: tuple[CountedNode, ...]
    carriers: Mapping[str, int]

    def of(self, ids: IntArray) -> IntArray:
        """Return the classes of indices."""
        return self.classes.labels[ids]

    def name_of(self, group: CoupledGroup) -> str:
        """Return the first weight that holds a group's channels."""
        model, shapes = self.observed.model, self.observed.shapes
        held = [
            name for (name, _), _ in group.spans if model.constant(model.main, name) is not None
        ]
        return next((name for name in held if len(shapes[name]) > 1), group.spans[0][0][0])


def find_coupling(
    observed: Observed,
    refitted: Mapping[str, str] | None = None,
    known: Mapping[str, int] | None = None,
) -> Coupling:
    """Return what goes together in a model, and what of it can go.

    Parameters
    ----------
    observed
        Its shapes.
    refitted
        By the first output of a product: why its weight cannot be refitted, empty where it can be.
        A product that is not named has no weight. None: all can, whatever they are.
    known
        The carriers of a model with the same nodes; None: they are looked for.

    Notes
    -----
    Cost: a walk over the graph, and one more for each Reshape that pins what it merges, up to
    MOST_TRIES.
    """
    carriers = dict(known or {})
    labels = _labels(observed, carriers)
    classes = labels.classes(_pins(labels, refitted))
    merging = [] if known is not None else _merging(observed, classes)
    for output, count in merging[:MOST_TRIES]:
        for carrier in range(1, count):
            other = _labels(observed, {**carriers, output: carrier})
            found = other.classes(_pins(other, refitted))
            if _n_free(found) > _n_free(classes):
                carriers, labels, classes = {**carriers, output: carrier}, other, found
    groups, pinned = _grouped(observed, classes)
    reads = {read.output: read for read in labels.reads}
    return Coupling(observed, classes, groups, pinned, reads, tuple(labels.counted), carriers)


def _labels(observed: Observed, carriers: Mapping[str, int]) -> AxisLabels:
    """Apply the rule of every node."""
    labels = AxisLabels(observed.shapes)
    main = observed.model.main
    for node in main.graph.node:
        rule = RULES.get(node.op_type) if node.domain in DEFAULT_DOMAINS else None
        names = {*outer_names(node), *filter(None, node.output)}
        view = NodeView(node, observed, labels, carriers)
        if node.op_type == "Constant" and node.domain in DEFAULT_DOMAINS:
            continue
        missing = any(name not in observed.shapes for name in names)
        if rule is None or missing or any(True for _ in subgraphs(node)):
            _pin_all(labels, names, f"{view.label} has no rule")
            continue
        rule.join(view)
        view.pin_rest(rule.rest)
    _pin_ends(observed, labels, main)
    return labels


def _pin_ends(observed: Observed, labels: AxisLabels, main: Scope) -> None:
    """Pin the inputs and outputs of the graph, which never change."""
    real = observed.model.proto.ir_version >= 4
    inputs = {name for name in main.inputs if real or name not in main.initializers}
    for names, what in ((inputs, "an input"), (main.outputs, "an output")):
        for name in sorted(names):
            _pin_all(labels, [name], f"{name!r} is {what} of the graph")


def _pin_all(labels: AxisLabels, names: Collection[str], reason: str) -> None:
    for name in names:
        for axis in range(len(labels.shapes.get(name, ()))):
            labels.pin(labels.ids(name, axis), reason)


def _pins(labels: AxisLabels, refitted: Mapping[str, str] | None) -> list[tuple[IntArray, str]]:
    """Return what is pinned since a product that sums over it cannot be refitted."""
    if refitted is None:
        return []
    no_weight = "multiplies two computed values"
    found = []
    for read in labels.reads:
        why = refitted.get(read.output, no_weight)
        if why:
            found.append((read.ids, f"{read.output!r} sums over it: {why}"))
    return found


def _merging(observed: Observed, classes: AxisClasses) -> list[tuple[str, int]]:
    """Return the Reshapes and Flattens that merge or split axes which are then pinned."""
    found = []
    for node in observed.model.main.graph.node:
        names = [*node.input[:1], *node.output[:1]]
        if node.op_type not in ("Reshape", "Flatten") or not set(names) <= set(observed.shapes):
            continue
        before, after = (observed.shapes[name] for name in names)
        if 0 in before:
            continue
        for one, other in aligned(before, after):
            count = max(len(one), len(other))
            place = (names[0], one[0]) if len(one) == 1 else (names[1], other[0])
            if count > 1 and min(len(one), len(other)) == 1 and _is_pinned(classes, place):
                found.append((node.output[0], count))
    return found


def _is_pinned(classes: AxisClasses, place: AxisPlace) -> bool:
    start = classes.starts.get(place)
    return start is not None and bool(classes.pinned[start : start + classes.sizes[place]].all())


def _n_free(classes: AxisClasses) -> int:
    return int((~classes.pinned).sum())


def _grouped(
    observed: Observed, classes: AxisClasses
) -> tuple[tuple[CoupledGroup, ...], tuple[CoupledGroup, ...]]:
    """Return the channels that can go, and those of weights that cannot, by what they span."""
    spans: dict[int, dict[AxisPlace, int]] = defaultdict(dict)
    for place in classes.starts:
        for label, count in zip(*np.unique(classes.of(place), return_counts=True), strict=True):
            spans[int(label)][place] = int(count)
    by_spans: dict[tuple[Spans, str], list[int]] = defaultdict(list)
    for label, found in spans.items():
        if _has_weight(observed, found):
            by_spans[tuple(found.items()), classes.reasons.get(label, "")].append(label)
    groups = [CoupledGroup(tuple(c), s, reason) for (s, reason), c in by_spans.items()]
    pinned = [group for group in groups if group.reason]
    free = [group for group in groups if not group.reason and len(group.channels) > 1]
    return tuple(free), tuple(sorted(pinned, key=partial(_n_weights, observed), reverse=True))


def _has_weight(observed: Observed, spans: Mapping[AxisPlace, int]) -> bool:
    """Whether a class has a part in a matrix, a kernel or a table of the model."""
    main = observed.model.main
    return any(
        len(observed.shapes[name]) > 1 and observed.model.constant(main, name) is not None
        for name, _ in spans
    )


def _n_weights(observed: Observed, group: CoupledGroup) -> int:
    """Return the numbers in the constants that a group has a part in."""
    main = observed.model.main
    names = {
        name for (name, _), _ in group.spans if observed.model.constant(main, name) is not None
    }
    return sum(math.prod(observed.shapes[name]) for name in names)
