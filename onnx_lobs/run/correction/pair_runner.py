"""Runs two networks that differ in weights only, stage by stage and side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from onnx_lobs.arrays import Feeds
from onnx_lobs.calibration.lazy_stage import LazyStage, first_reads, stages_by_stop
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.stages import Stage, is_touched
from onnx_lobs.memory.store import Overlay, Store, Values


class PairRunner:
    """Runs the stages of the dense and of the pruned network over all batches.

    Parameters
    ----------
    dense, pruned
        Execution copies of one model.
    stops
        ``{index of a top-level node: names that must be live just before it runs}``, the only
        places that :meth:`advance` can go to, each once and in their order.
    batches
        Read once, by the first stage that runs.
    provider
        Full name of an execution provider.
    store
        Where the values are kept.

    Attributes
    ----------
    of_dense, of_pruned
        The live values of every batch: the dense network's, and those of the pruned network that
        may differ.
    differing
        The names of these.
    """

    def __init__(
        self,
        dense: Model,
        pruned: Model,
        stops: Mapping[int, Collection[str]],
        batches: Iterable[Feeds],
        provider: str,
        store: Store,
    ) -> None:
        self.dense, self.pruned, self.provider = dense, pruned, provider
        self.batches, self.store = batches, store
        self.stages = stages_by_stop(dense, stops)
        self.changed: set[tuple[int, str]] = set()
        self.differing: set[str] = set()
        self.of_dense: list[Values] = []
        self.of_pruned: list[Values] = []

    def mark_changed(self, tensors: Iterable[tuple[int, str]]) -> None:
        """Remember that the tensors (scope, name) of the pruned network change now."""
        self.changed |= set(tensors)

    def advance(self, top: int) -> None:
        """Run the stage that ends just before top-level node `top`, for both networks."""
        stage = self.stages[top]
        run_dense = LazyStage(self.dense, stage, self.provider)
        run_pruned = None
        if self._differs(stage):
            run_pruned = LazyStage(self.pruned, stage, self.provider)
        for of_dense, of_pruned in self._live():
            from_pruned = {} if run_pruned is None else run_pruned(Overlay(of_pruned, of_dense))
            from_dense = run_dense(of_dense)
            for values, made in ((of_dense, from_dense), (of_pruned, from_pruned)):
                values.keep(stage.live)
                values.add({name: made[name] for name in made if name in stage.live})
        if run_pruned is not None:
            self.differing |= set(stage.outputs)
        self.differing &= stage.live

    def _differs(self, stage: Stage) -> bool:
        """Whether a stage reads values or weights that the pruned network may have otherwise."""
        reads = bool(set(stage.inputs) & self.differing)
        return reads or is_touched(self.dense, stage, self.changed)

    def _live(self) -> Iterator[tuple[Values, Values]]:
        """Yield the values of every batch: at first those that the batches themselves hold."""
        if self.of_dense:
            yield from zip(self.of_dense, self.of_pruned, strict=True)
            return
        wanted = first_reads(self.stages)
        for feeds in self.batches:
            self.of_dense.append(self.store.new())
            self.of_dense[-1].add({name: feeds[name] for name in feeds if name in wanted})
            self.of_pruned.append(self.store.new())
            yield self.of_dense[-1], self.of_pruned[-1]

    def close(self) -> None:
        """Free all values."""
        for values in (*self.of_dense, *self.of_pruned):
            values.keep(())
