"""Runs one network stage by stage over all batches, with weights that change between stages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.calibration.lazy_stage import LazyStage, first_reads, stages_by_stop
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.stages import Stage, join
from onnx_lobs.layers.fan_in import inputs_per_output
from onnx_lobs.memory.store import Overlay, Store, Values, bytes_of

# A stage whose outputs are large and quickly made runs again whenever they are asked for, and
# with the stage behind it, rather than that they are stored: the expanding convolutions of
# MobileNets at high resolution, by far the largest values there are between two stages.
CHEAP = 64  # products per output, which take about as long as storing it and reading it again
LARGE = 4  # times the bytes that storing the outputs would free


class NetworkRunner:
    """Runs the stages of one network over all batches and holds what is live between them.

    Parameters
    ----------
    model
        Execution copy. A stage sees the weights that it has when it is reached.
    stops
        ``{index of a top-level node: names that must be live just before it runs}``, the only
        places that :meth:`advance` can go to, each once and in their order.
    batches
        Read once, by the first stage that runs, unless they are all given to :meth:`take` before.
    provider
        Full name of an execution provider.
    store
        Where the values are kept.
    is_read_often
        Whether values are asked for so often that all had better be stored.

    Attributes
    ----------
    stored
        The values of every batch that are live and stored; :meth:`values` has those too that are
        made anew whenever they are looked at.
    """

    def __init__(
        self,
        model: Model,
        stops: Mapping[int, Collection[str]],
        batches: Iterable[Feeds],
        provider: str,
        store: Store,
        *,
        is_read_often: bool = False,
    ) -> None:
        self.model, self.provider = model, provider
        self.batches, self.store, self.is_read_often = batches, store, is_read_often
        self.stages = stages_by_stop(model, stops)
        self.stored: list[Values] = []
        self._wanted = first_reads(self.stages)
        self._unstored: LazyStage | None = None

    def take(self, feeds: Feeds) -> None:
        """Remember the next batch, where that is not left to the first :meth:`advance`."""
        self.stored.append(self.store.new())
        self.stored[-1].add({name: feeds[name] for name in feeds if name in self._wanted})

    def advance(self, top: int) -> None:
        """Run the stage that ends just before top-level node `top`."""
        stage = self.stages[top]
        before, self._unstored = self._unstored, None
        if before is not None:  # it runs again, as a part of this one
            stage = join(self.model, before.stage, stage)
        run = LazyStage(self.model, stage, self.provider)
        for batch, values in enumerate(self._live()):
            made = {} if self._unstored is not None else run(values)
            # the first batch decides; of two stages in a row the second is stored
            if batch == 0 and before is None and self._is_better_unstored(stage, values, made):
                self._unstored = run
            if self._unstored is not None:
                values.keep({*stage.live, *stage.inputs})
                continue
            values.keep(stage.live)
            values.add({name: made[name] for name in made if name in stage.live})

    def _is_better_unstored(self, stage: Stage, before: Feeds, made: Feeds) -> bool:
        """Whether a stage had better run again than its outputs be stored."""
        if self.is_read_often:
            return False
        freed = sum(bytes_of(before[name]) for name in stage.inputs if name not in stage.live)
        added = sum(bytes_of(made[name]) for name in stage.outputs)
        return added > LARGE * freed and inputs_per_output(self.model, stage) <= CHEAP

    def _live(self) -> Iterator[Values]:
        """Yield the values of every batch: at first those that the batches themselves hold."""
        if self.stored:
            yield from self.stored
            return
        for feeds in self.batches:
            self.take(feeds)
            yield self.stored[-1]

    def values(self, batch: int) -> Feeds:
        """Return the live values of a batch; some may be made when they are asked for."""
        stored = self.stored[batch]
        return stored if self._unstored is None else Overlay(_Made(self._unstored, stored), stored)

    def close(self) -> None:
        """Free all values."""
        for values in self.stored:
            values.keep(())


class _Made(Mapping[str, Array]):
    """A stage's outputs on one batch, made when the first of them is asked for."""

    def __init__(self, run: LazyStage, feeds: Feeds) -> None:
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
