"""Numbers every index of every axis of every tensor, joins those that go together, pins others.

Rules only ever add joins and pins; what is coupled follows at the end, as the connected parts of
one sparse graph, whatever the order of the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from onnx_lobs.arrays import BoolArray, IntArray

AxisPlace = tuple[str, int]
"""name of a tensor, and one of its axes"""


@dataclass(frozen=True)
class ReadAxis:
    """What a product sums over: `ids` (groups, channels), of the node with this first output."""

    output: str
    ids: IntArray


@dataclass(frozen=True)
class CountedNode:
    """A product: its multiplications on one batch, and the axes that they are in proportion to."""

    output: str
    multiplications: int
    factors: tuple[IntArray, ...]


@dataclass(frozen=True)
class AxisClasses:
    """What goes together.

    Parameters
    ----------
    starts
        First number of every axis that has numbers.
    sizes
        Their sizes.
    labels
        (numbers,) the class that an index belongs to.
    pinned
        (numbers,) whether it is in a class that has to stay.
    reasons
        Why, by class.
    """

    starts: Mapping[AxisPlace, int]
    sizes: Mapping[AxisPlace, int]
    labels: IntArray
    pinned: BoolArray
    reasons: Mapping[int, str]

    def of(self, place: AxisPlace) -> IntArray:
        """Return the classes of the indices of an axis."""
        start = self.starts[place]
        return self.labels[start : start + self.sizes[place]]


class AxisLabels:
    """Gives numbers to indices, and gathers what rules say of them; it changes as they say it.

    Parameters
    ----------
    shapes
        Of the tensors. Not modified.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.reads: list[ReadAxis] = []
        self.counted: list[CountedNode] = []
        self._starts: dict[AxisPlace, int] = {}
        self._sizes: dict[AxisPlace, int] = {}
        self._count = 0
        self._joined: list[tuple[IntArray, IntArray]] = []
        self._pins: list[tuple[IntArray, str]] = []

    def ids(self, name: str, axis: int) -> IntArray:
        """Return the numbers of the indices of an axis, which may count from the end."""
        place = name, axis % len(self.shapes[name])
        if place not in self._starts:
            self._starts[place] = self._count
            self._sizes[place] = self.shapes[name][place[1]]
            self._count += self._sizes[place]
        start = self._starts[place]
        return np.arange(start, start + self._sizes[place])

    def join(self, one: IntArray, other: IntArray) -> None:
        """Say that indices go together, pair by pair; shapes broadcast."""
        first, last = np.broadcast_arrays(one, other)
        self._joined.append((first.ravel(), last.ravel()))

    def pin(self, ids: IntArray, reason: str) -> None:
        """Say that indices have to stay, and why."""
        if ids.size:
            self._pins.append((ids.ravel(), reason))

    def classes(self, more: Iterable[tuple[IntArray, str]] = ()) -> AxisClasses:
        """Return what goes together; `more` pins come after those of the rules.

        Cost: linear in the numbers and joins.
        """
        pairs = [np.concatenate(side) for side in zip(*self._joined, strict=True)] or [
            np.zeros(0, np.int64)
        ] * 2
        ones = np.ones(pairs[0].size, np.int8)
        graph = coo_array((ones, (pairs[0], pairs[1])), shape=(self._count, self._count))
        count, labels = connected_components(graph, directed=False)
        is_pinned, reasons = np.zeros(count, bool), dict[int, str]()
        for ids, reason in (*self._pins, *more):
            found = np.unique(labels[ids])
            for label in found[~is_pinned[found]].tolist():
                reasons[label] = reason
            is_pinned[found] = True
        return AxisClasses(
            dict(self._starts), dict(self._sizes), labels.astype(np.int64),
            is_pinned[labels], reasons,
        )  # fmt: skip
