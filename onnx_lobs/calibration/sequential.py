"""Calibrate layer by layer while the network is pruned, towards what the dense network does.

The dense network runs once, ahead, and leaves the observations that the layers aim at. The
pruned one is cut into stages at the layers, each of which runs once, so that a layer is solved on
the inputs that the layers before it leave, towards the pre-activations that the dense network has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from onnx_lobs.arrays import Feeds
from onnx_lobs.calibration.collect import Collector, Lookup
from onnx_lobs.calibration.dense_pass import DensePass
from onnx_lobs.calibration.independent import calibrate_independent, lookup, tap_types
from onnx_lobs.calibration.kept import KeptObservations
from onnx_lobs.calibration.reading import LEAST_OBSERVATIONS, Reading
from onnx_lobs.calibration.runner import Runner
from onnx_lobs.calibration.shared_inputs import SharedInput, within
from onnx_lobs.graph.model import Model, outer_names
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.stages import stage_of, stage_session
from onnx_lobs.layers.layer import Use
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.linalg.workers import map_batches
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Overlay, Store

Progress = Callable[[int], None]
Found = Iterator[tuple[SharedInput, Calibration | None]]

NOTED_PART = 2  # of the values' memory, for what is noted of the dense network


def calibrate_sequential(
    dense: Model,
    pruned: Model | None,
    groups: Sequence[SharedInput],
    batches: Iterable[Feeds],
    *,
    n_batches: int,
    provider: str,
    seed: int = 0,
    positions: int | None = None,
    least_observations: int = LEAST_OBSERVATIONS,
    tick: Progress = lambda n: None,
    store: Store | None = None,
    is_known: Callable[[SharedInput], bool] = lambda group: False,
    kept: KeptObservations | None = None,
    most_weights: int = sys.maxsize,
    most_noted: int = sys.maxsize,
    is_tight: bool = False,
    most_grams: int = sys.maxsize,
) -> Found:
    """Yield each group with its moments; its weights in `pruned` change before the next.

    Parameters
    ----------
    dense, pruned
        Execution copies of one model. The caller writes the solved weights of a yielded
        group into `pruned` and then asks for the next one. Without `pruned` the moments are
        those of :func:`~onnx_lobs.calibration.independent.calibrate_independent`, but only one
        stage and the Grams of one layer are in memory at a time.
    groups
        From :func:`onnx_lobs.calibration.shared_inputs.find_shared_inputs`.
    batches
        Read once, and once more where weights are tied, or more often: see `most_grams`.
    store
        Where the values between stages are kept; None: in memory.
    is_known
        Asked just before a group is calibrated; one whose new weights are known already is
        yielded without moments.
    kept
        What the dense network gave in an earlier run over these batches, or will give in this one.
    most_weights, most_noted
        As for :class:`~onnx_lobs.calibration.dense_pass.DensePass`.
    is_tight
        Whether memory that calibration leaves free is given back before a group is yielded.
    most_grams
        Bytes of the Grams of tied layers that are made in one pass over the batches.

    Raises
    ------
    DataError, ModelError
        As :class:`~onnx_lobs.calibration.collect.Collector`.

    Notes
    -----
    The inputs are the pruned network's, the targets the dense network's pre-activations.
    A tied layer is calibrated on the dense network, since its later uses cannot be reached
    before it is solved; layers inside one If node see the pruned network's values from
    outside the node, but each other's dense ones. Cost: two forward passes in all, and the
    Grams; memory: the values of the pruned network that are live at one cut, for all batches, and
    the observations that the dense one left, as far as `store` lets them.
    """
    store = Store(sys.maxsize, Scratch()) if store is None else store
    tied = _Tied(
        dense, groups, batches, most_grams, n_batches=n_batches, provider=provider, seed=seed,
        positions=positions, least_observations=least_observations,
    )  # fmt: skip
    readings = [
        Reading(group, n_batches, seed, positions=positions, least_observations=least_observations)
        for group in groups
    ]
    run = _Pass(dense, pruned, readings, batches, provider, store)
    if pruned is not None:
        run.look_ahead(batches, kept, most_weights, most_noted)
    for top, members in _by_top(groups).items():
        free = [group for group in members if not group.is_tied]
        found: list[tuple[SharedInput, Calibration | None]] = []
        if free:
            run.runner.advance(top)
            unknown = [group for group in free if not is_known(group)]
            found += run.collect(top, free, unknown)
            found += [(group, None) for group in free if group not in unknown]
        if is_tight and found:
            release_memory()
        for group in members:
            if group.is_tied:
                yield group, None if is_known(group) else tied.take(group)
        while found:
            yield found.pop(0)
        run.forget(free)
        tick(1)
    run.close()


def _by_top(groups: Sequence[SharedInput]) -> dict[int, list[SharedInput]]:
    """Return the groups by the top-level node that they begin at, in graph order."""
    found: dict[int, list[SharedInput]] = {}
    for group in sorted(groups, key=lambda group: group.top):
        found.setdefault(group.top, []).append(group)
    return found


class _Tied:
    """The moments of tied layers on the dense network, made in passes when they are asked for.

    Parameters
    ----------
    dense, groups, batches
        As for :func:`calibrate_sequential`.
    most_grams
        Bytes of the Grams of one pass.
    options
        Of :func:`~onnx_lobs.calibration.independent.calibrate_independent`.
    """

    def __init__(
        self,
        dense: Model,
        groups: Sequence[SharedInput],
        batches: Iterable[Feeds],
        most_grams: int,
        **options: Any,
    ) -> None:
        self.dense, self.batches, self.options = dense, batches, options
        self.all = sorted((g for g in groups if g.is_tied), key=lambda group: group.top)
        self.parts = list(within(self.all, most_grams))
        self.ready: dict[int, Calibration] = {}

    def take(self, group: SharedInput) -> Calibration:
        """Return the moments of a group, once; those of its pass are made with it."""
        if id(group) not in self.ready:
            part = next(p for p in self.parts if any(other is group for other in p))
            made = calibrate_independent(
                self.dense, part, self.batches, shown=self.all, **self.options
            )
            self.ready.update(zip(map(id, part), made, strict=True))
        return self.ready.pop(id(group))


class _Pass:
    """One pass of calibration: the network that runs in stages, and the dense one ahead of it."""

    def __init__(
        self,
        dense: Model,
        pruned: Model | None,
        readings: Sequence[Reading],
        batches: Iterable[Feeds],
        provider: str,
        store: Store,
    ) -> None:
        self.dense, self.provider, self.store = dense, provider, store
        self.own = dense if pruned is None else pruned
        self.readings = readings
        by_top = _by_top([r.group for r in readings if not r.group.is_tied])
        stops = {top: _needs(dense, members, top) for top, members in by_top.items()}
        self.runner = Runner(self.own, None, stops, batches, provider, store, stores_all=False)
        self.ahead: DensePass | None = None

    def look_ahead(
        self,
        batches: Iterable[Feeds],
        kept: KeptObservations | None,
        most_weights: int,
        most_noted: int,
    ) -> None:
        """Read the batches, and let the dense network say what the layers aim at."""
        groups = [reading.group for reading in self.readings]
        self.ahead = DensePass(
            self.dense, self.readings, tap_types(self.dense, groups), provider=self.provider,
            store=self.store.part(NOTED_PART), kept=kept, most_weights=most_weights,
            most_noted=most_noted,
        )  # fmt: skip
        for feeds in batches:
            self.runner.take(feeds)
            self.ahead.take(feeds)

    def collect(
        self, top: int, members: Sequence[SharedInput], wanted: Sequence[SharedInput]
    ) -> Iterator[tuple[SharedInput, Calibration]]:
        """Yield the moments of the `wanted` groups of those, `members`, that begin at node `top`.

        The batches are dealt out to collectors that work at the same time. How many there are does
        not depend on the machine, so neither do the sums.
        """
        if not wanted:
            return
        ahead = self.ahead
        if ahead is not None:
            ahead.reach(wanted)
        readings = [reading for reading in self.readings if reading.group in wanted]
        first = self._collectors(readings)
        count = 1 if _shows_branches(members) else min(c.most_parts for c in first)
        parts = [first, *(self._collectors(readings) for _ in range(1, count))]

        def add(part: int) -> None:
            for index, own in enumerate(self._taps(top, members)):
                if index % count == part:
                    goal = _no_goal if ahead is None else partial(ahead.seen, batch=index)
                    for collector in parts[part]:
                        collector.add(index, own, goal)
            for collector in parts[part]:
                collector.settle()

        map_batches(add, range(count))
        for collectors in zip(*parts, strict=True):
            whole, *rest = collectors
            for other in rest:
                whole.merge(other)
            yield whole.group, whole.result()

    def _collectors(self, readings: Sequence[Reading]) -> list[Collector]:
        towards = self.ahead is not None
        return [Collector(self.dense, reading, towards=towards) for reading in readings]

    def _taps(self, top: int, groups: Sequence[SharedInput]) -> Iterator[Lookup]:
        """Yield, per batch, how to look up a use's input."""
        inner = self._inner_session(top, groups) if _shows_branches(groups) else None
        for batch in range(len(self.runner.clean)):
            values = self.runner.shown(batch)
            yield lookup(values if inner is None else Overlay(inner.run(values), values))

    def _inner_session(self, top: int, groups: Sequence[SharedInput]) -> Session:
        """Return a session on one node with branches that shows the taps inside them."""
        types = tap_types(self.dense, groups)
        taps = [(use.scope, use.input) for group in groups for use in group.uses if use.scope]
        stage = stage_of(self.own, top)
        return stage_session(self.own, stage, self.runner.shown(0), self.provider, taps, types)

    def forget(self, groups: Sequence[SharedInput]) -> None:
        """Free what the dense network left for these groups."""
        if self.ahead is not None:
            self.ahead.forget(groups)

    def close(self) -> None:
        """Free all values."""
        self.runner.close()
        if self.ahead is not None:
            self.ahead.close()


def _no_goal(use: Use) -> None:
    """Say that the layer's own output is what it aims at."""


def _shows_branches(groups: Sequence[SharedInput]) -> bool:
    """Whether taps of these groups are inside a node, which must be run to see them."""
    return any(use.scope for group in groups for use in group.uses)


def _needs(dense: Model, groups: Sequence[SharedInput], top: int) -> set[str]:
    """Return the values that must be there before the groups at top-level node `top` are solved."""
    outer = outer_names(dense.main.graph.node[top])
    names: set[str] = set()
    for use in (use for group in groups for use in group.uses):
        names |= set[str](outer) if use.scope else {use.input}
    return names
