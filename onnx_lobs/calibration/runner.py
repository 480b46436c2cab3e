"""Run a network stage by stage over all batches, with weights that change between stages.

Or two networks that differ in weights only, side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.stages import (
    Stage,
    cut,
    inputs_per_output,
    is_touched,
    join,
    stage_session,
)
from onnx_lobs.memory.store import Overlay, Store, Values, bytes_of

# A stage whose outputs are large and quickly made runs again whenever they are asked for, and
# with the stage behind it, rather than that they are stored: the expanding convolutions of
# MobileNets at high resolution, by far the largest values there are between two stages.
CHEAP = 64  # products per output, which take about as long as storing it and reading it again
LARGE = 4  # times the bytes that storing the outputs would free


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
        Read once, by the first stage that runs, unless they are all given to :meth:`take` before.
    provider
        Full name of an execution provider.
    store
        Where the values are kept.
    stores_all
        Whether ``clean`` and ``own`` hold all values that are live; else :meth:`shown` has those
        too that are made anew whenever they are looked at. Only of one network.

    Raises
    ------
    ValueError
        When two networks are not to be stored.
    """

    def __init__(
        self,
        dense: Model,
        pruned: Model | None,
        stops: Mapping[int, Collection[str]],
        batches: Iterable[Feeds],
        provider: str,
        store: Store,
        *,
        stores_all: bool = True,
    ) -> None:
        if pruned is not None and not stores_all:
            raise ValueError("the values of two networks are all stored")
        self.dense, self.pruned, self.provider = dense, pruned, provider
        self.batches = batches
        self.store = store
        self.stages = dict(zip(sorted(stops), cut(dense, stops) if stops else (), strict=True))
        first = [self.stages[top] for top in sorted(stops)[:1]]
        self._wanted = {name for stage in first for name in (*stage.inputs, *stage.live)}
        self.changed: set[tuple[int, str]] = set()
        self.differing: set[str] = set()
        self.stores_all = stores_all
        self._apart: _Lazy | None = None
        self.clean: list[Values] = []
        self.own: list[Values] = []

    def note_change(self, tensors: Iterable[tuple[int, str]]) -> None:
        """Remember that the tensors (scope, name) of the pruned network change now."""
        self.changed |= set(tensors)

    def advance(self, top: int) -> None:
        """Run the stage that ends just before top-level node `top`, for both networks."""
        stage = self.stages[top]
        was_apart, self._apart = self._apart, None
        if was_apart is not None:
            stage = join(self.dense, was_apart.stage, stage)
        run_dense = _Lazy(self.dense, stage, self.provider)
        run_pruned = None
        if self.pruned is not None and self._differs(stage):
            run_pruned = _Lazy(self.pruned, stage, self.provider)
        for clean, own in self._values():
            if self._apart is not None:
                clean.keep({*stage.live, *stage.inputs})
                continue
            mine = {} if run_pruned is None else run_pruned(Overlay(own, clean))
            made = run_dense(clean)
            if (
                was_apart is None
                and not self.stores_all
                and self._is_better_apart(stage, clean, made)
            ):
                self._apart = run_dense
                clean.keep({*stage.live, *stage.inputs})
                continue
            for values, new in ((clean, made), (own, mine)):
                values.keep(stage.live)
                values.add({name: new[name] for name in new if name in stage.live})
        if run_pruned is not None:
            self.differing |= set(stage.outputs)
        self.differing &= stage.live

    def _is_better_apart(self, stage: Stage, before: Feeds, made: Feeds) -> bool:
        """Whether a stage had better run again than its outputs be stored."""
        freed = sum(bytes_of(before[name]) for name in stage.inputs if name not in stage.live)
        added = sum(bytes_of(made[name]) for name in stage.outputs)
        return added > LARGE * freed and inputs_per_output(self.dense, stage) <= CHEAP

    def shown(self, batch: int) -> Feeds:
        """Return the dense network's live values of a batch; some may be made when asked for."""
        values = self.clean[batch]
        return values if self._apart is None else Overlay(_Made(self._apart, values), values)

    def _differs(self, stage: Stage) -> bool:
        """Whether a stage reads values or weights that the pruned network may have otherwise."""
        reads = bool(set(stage.inputs) & self.differing)
        return reads or is_touched(self.dense, stage, self.changed)

    def _values(self) -> Iterator[tuple[Values, Values]]:
        """Yield the values of every batch: at first those that the batches themselves hold."""
        if self.clean:
            yield from zip(self.clean, self.own, strict=True)
            return
        for feeds in self.batches:
            self.take(feeds)
            yield self.clean[-1], self.own[-1]

    def take(self, feeds: Feeds) -> None:
        """Remember the next batch, where that is not left to the first :meth:`advance`."""
        self.clean.append(self.store.new())
        self.clean[-1].add({name: feeds[name] for name in feeds if name in self._wanted})
        self.own.append(self.store.new())

    def close(self) -> None:
        """Free all values."""
        for values in (*self.clean, *self.own):
            values.keep(())


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


class _Made(Mapping[str, Array]):
    """A stage's outputs on one batch, made when the first of them is asked for."""

    def __init__(self, run: _Lazy, feeds: Feeds) -> None:
        self._run, self._feeds = run, feeds
        self._values: Feeds | None = None

    def __getitem__(self, name: str) -> Array:
        if self._values is None:
            self._values = self._run(self._feeds)
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._run.stage.outputs

    def __iter__(self) -> Iterator[str]:
        return iter(self._run.stage.outputs)

    def __len__(self) -> int:
        return len(self._run.stage.outputs)
