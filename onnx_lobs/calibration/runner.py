"""Run a network stage by stage over all batches, with weights that change between stages.

Or two networks that differ in weights only, side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from onnx_lobs.graph.model import Model
from onnx_lobs.graph.session import Session
from onnx_lobs.graph.stages import Stage, cut, is_touched, stage_session
from onnx_lobs.memory.store import Overlay, Store, Values

Array = NDArray[Any]
Feeds = Mapping[str, Array]


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
    """

    def __init__(
        self,
        dense: Model,
        pruned: Model | None,
        stops: Mapping[int, Collection[str]],
        batches: Iterable[Feeds],
        provider: str,
        store: Store,
    ) -> None:
        self.dense, self.pruned, self.provider = dense, pruned, provider
        self.batches = batches
        self.store = store
        self.stages = dict(zip(sorted(stops), cut(dense, stops) if stops else (), strict=True))
        first = [self.stages[top] for top in sorted(stops)[:1]]
        self._wanted = {name for stage in first for name in (*stage.inputs, *stage.live)}
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
        for clean, own in self._values():
            mine = {} if run_pruned is None else run_pruned(Overlay(own, clean))
            made = run_dense(clean)
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
