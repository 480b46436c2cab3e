"""Calibrate layer by layer while the network is pruned, towards what the dense network does.

The graph is cut into stages at the layers; every stage runs once for the dense network and,
where that can differ, once for the pruned one, so that each layer is solved on the inputs
that the pruned network gives it, towards the pre-activations that the dense network has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

from onnx_lobs.calibration.collect import LEAST_COLUMNS, Collector, Lookup
from onnx_lobs.calibration.groups import Group
from onnx_lobs.calibration.independent import (
    Array,
    Feeds,
    Progress,
    calibrate_independent,
    lookup,
    tap_types,
)
from onnx_lobs.calibration.kept import KeptStages
from onnx_lobs.graph.model import Model, outer_names
from onnx_lobs.graph.session import Session
from onnx_lobs.graph.stages import Stage, cut, is_touched, stage_of, stage_session
from onnx_lobs.layers.layer import Use
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.linalg.workers import map_batches
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Overlay, Store, Values


def calibrate_sequential(
    dense: Model,
    pruned: Model | None,
    groups: Sequence[Group],
    batches: Iterable[Feeds],
    *,
    n_batches: int,
    provider: str,
    seed: int = 0,
    positions: int | None = None,
    least_columns: int = LEAST_COLUMNS,
    tick: Progress = lambda n: None,
    store: Store | None = None,
    is_known: Callable[[Group], bool] = lambda group: False,
    kept: KeptStages | None = None,
) -> Iterator[tuple[Group, Calibration | None]]:
    """Yield each group with its moments; its weights in `pruned` change before the next.

    Parameters
    ----------
    dense, pruned
        Execution copies of one model. The caller writes the solved weights of a yielded
        group into `pruned` and then asks for the next one. Without `pruned` the moments are
        those of :func:`~onnx_lobs.calibration.independent.calibrate_independent`, but only one
        stage and the Grams of one layer are in memory at a time.
    groups
        From :func:`onnx_lobs.calibration.groups.make_groups`.
    batches
        Read once, and once more where a weight is tied.
    store
        Where the values between stages are kept; None: in memory.
    is_known
        Asked just before a group is calibrated; one whose new weights are known already is
        yielded without moments.
    kept
        What the dense network's stages gave in an earlier run over these batches, or will give
        in this one.

    Notes
    -----
    The inputs are the pruned network's, the targets the dense network's pre-activations.
    A tied layer is calibrated on the dense network, since its later uses cannot be reached
    before it is solved; layers inside one If node see the pruned network's values from
    outside the node, but each other's dense ones. Cost: two forward passes in all, and the
    Grams; memory: the values that are live at one cut, for all batches and both networks,
    as far as `store` lets them.
    """
    tied = [group for group in groups if group.is_tied]
    ready: list[Calibration] = []
    if tied:
        ready = calibrate_independent(
            dense, tied, batches, n_batches=n_batches, provider=provider, seed=seed,
            positions=positions, least_columns=least_columns,
        )  # fmt: skip
    store = Store(sys.maxsize, Scratch()) if store is None else store
    by_top: dict[int, list[Group]] = {}
    for group in groups:
        if not group.is_tied:
            by_top.setdefault(group.top, []).append(group)
    stops = {top: _needs(dense, members, top) for top, members in by_top.items()}
    runner = Runner(dense, pruned, stops, batches, provider, store, kept)
    for top in sorted({group.top for group in groups}):
        found: list[tuple[Group, Calibration | None]] = [
            pair for pair in zip(tied, ready, strict=True) if pair[0].top == top
        ]
        if top in by_top:
            runner.advance(top)
            unknown = [group for group in by_top[top] if not is_known(group)]
            towards = pruned is not None
            makers = [
                partial(
                    Collector,
                    dense,
                    group,
                    n_batches,
                    seed,
                    towards=towards,
                    positions=positions,
                    least_columns=least_columns,
                )
                for group in unknown
            ]
            found += _collect(runner, top, by_top[top], makers)
            found += [(group, None) for group in by_top[top] if group not in unknown]
        while found:
            runner.note_change((layer.scope, layer.weight) for layer in found[0][0].layers)
            yield found.pop(0)
        tick(1)
    runner.close()


def _collect(
    runner: Runner,
    top: int,
    members: Sequence[Group],
    makers: Sequence[Callable[[], Collector]],
) -> Iterator[tuple[Group, Calibration]]:
    """Yield the moments of some of the groups, `members`, that begin at top-level node `top`.

    The batches are dealt out to collectors that work at the same time. How many there are does
    not depend on the machine, so neither do the sums.
    """
    if not makers:
        return
    towards = runner.pruned is not None
    first = [make() for make in makers]
    count = 1 if runner.shows_branches(members) else min(c.most_parts for c in first)
    parts = [first, *([make() for make in makers] for _ in range(1, count))]

    def add(part: int) -> None:
        for index, (clean, own) in enumerate(runner.taps(top, members)):
            if index % count == part:
                for collector in parts[part]:
                    collector.add(index, own, clean if towards else None)

    map_batches(add, range(count))
    for collectors in zip(*parts, strict=True):
        merged, *rest = (collector.result() for collector in collectors)
        for other in rest:
            merged.merge(other)
        yield collectors[0].group, merged


def _needs(dense: Model, groups: Sequence[Group], top: int) -> set[str]:
    """Return the values that must be there before the groups at top-level node `top` are solved."""
    outer = outer_names(dense.main.graph.node[top])
    return {
        name for g in groups for use in g.uses for name in (outer if use.scope else {use.input})
    }


class Runner:
    """Runs the stages of the dense and of the pruned network over all batches.

    ``clean`` holds the dense network's live values of every batch, ``own`` those of the pruned
    network that may differ, whose names are ``differing``.

    Parameters
    ----------
    dense, pruned
        Execution copies of one model; without `pruned` only the dense one runs.
    stops
        ``{index of a top-level node: names that must be live just before it runs}``, the only
        places that :meth:`advance` can go to, each once and in their order.
    batches
        Read once.
    provider
        Full name of an execution provider.
    store
        Where the values are kept.
    kept
        The dense network's, for other runs too.
    """

    def __init__(
        self,
        dense: Model,
        pruned: Model | None,
        stops: Mapping[int, Collection[str]],
        batches: Iterable[Feeds],
        provider: str,
        store: Store,
        kept: KeptStages | None = None,
    ) -> None:
        self.dense, self.pruned, self.provider = dense, pruned, provider
        self.kept = KeptStages(0) if kept is None else kept
        self.batches = batches
        self.store = store
        self.stages = dict(zip(sorted(stops), cut(dense, stops) if stops else (), strict=True))
        self.changed: set[tuple[int, str]] = set()
        self.differing: set[str] = set()
        self.clean: list[Values] = []
        self.own: list[Values] = []

    def note_change(self, tensors: Iterable[tuple[int, str]]) -> None:
        """Remember that the tensors (scope, name) of the pruned network change now."""
        self.changed |= set(tensors)

    def advance(self, top: int) -> None:
        """Run the stage that ends just before top-level node `top`, for both networks."""
        stage = self.stages[top]
        run_dense = _Lazy(self.dense, stage, self.provider)
        run_pruned = None
        if self.pruned is not None and self._differs(stage):
            run_pruned = _Lazy(self.pruned, stage, self.provider)
        for index, (clean, own) in enumerate(self._values(stage)):
            mine = {} if run_pruned is None else run_pruned(Overlay(own, clean))
            made = self.kept.outputs(top, index, partial(run_dense, clean))
            for values, new in ((clean, made), (own, mine)):
                values.keep(stage.live)
                values.add({name: new[name] for name in new if name in stage.live})
        if run_pruned is not None:
            self.differing |= set(stage.outputs)
        self.differing &= stage.live

    def _differs(self, stage: Stage) -> bool:
        """Whether a stage reads values or weights that the pruned network may have otherwise."""
        reads = bool(set(stage.inputs) & self.differing)
        return reads or is_touched(self.dense, stage, self.changed)

    def _values(self, stage: Stage) -> Iterator[tuple[Values, Values]]:
        """Yield the values of every batch: at first those that the batches themselves hold."""
        if self.clean:
            yield from zip(self.clean, self.own, strict=True)
            return
        wanted = {*stage.inputs, *stage.live}
        for feeds in self.batches:
            first = self.store.new()
            first.add({name: feeds[name] for name in feeds if name in wanted})
            self.clean.append(first)
            self.own.append(self.store.new())
            yield first, self.own[-1]

    def taps(self, top: int, groups: Sequence[Group]) -> Iterator[tuple[Lookup, Lookup]]:
        """Yield, per batch, how to look up a use's input: the dense and the pruned network's."""
        uses = [use for group in groups for use in group.uses if use.scope]
        inner = self._inner_session(top, groups, uses) if self.shows_branches(groups) else None
        for clean, own in zip(self.clean, self.own, strict=True):
            mine: Feeds = Overlay(own, clean)
            shown: Feeds = clean
            if inner is not None:
                same = not self.differing
                shown = Overlay(inner.run(clean), clean)
                mine = shown if same else Overlay(inner.run(mine), mine)
            yield lookup(shown), lookup(mine)

    @staticmethod
    def shows_branches(groups: Sequence[Group]) -> bool:
        """Whether the taps of these groups are inside a node, which must be run to see them."""
        return any(use.scope for group in groups for use in group.uses)

    def close(self) -> None:
        """Free all values."""
        for values in (*self.clean, *self.own):
            values.keep(())

    def _inner_session(self, top: int, groups: Sequence[Group], uses: Sequence[Use]) -> Session:
        """Return a session on one node with branches that shows the taps inside them."""
        types = tap_types(self.dense, groups)
        taps = [(use.scope, use.input) for use in uses]
        stage = stage_of(self.dense, top)
        return stage_session(self.dense, stage, self.clean[0], self.provider, taps, types)


class _Lazy:
    """A stage's session, made when its first batch shows the types of its inputs."""

    def __init__(self, model: Model, stage: Stage, provider: str) -> None:
        self.model, self.stage, self.provider = model, stage, provider
        self.session: Session | None = None

    def __call__(self, feeds: Feeds) -> dict[str, Array]:
        if not self.stage.nodes:
            return {}
        if self.session is None:
            self.session = stage_session(self.model, self.stage, feeds, self.provider)
        return self.session.run(feeds)
