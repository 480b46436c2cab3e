"""Runs the dense network once, ahead of the pruned one, for what its layers aim at.

Of every batch, and of every layer behind another one, the observations that calibration will
read are kept: the layer's inputs, or its own outputs where those are fewer. So the dense network
runs as a whole, and none of its activations is carried from stage to stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.calibration.dense_target import DenseTarget, key_of
from onnx_lobs.calibration.observation_choice import ObservationChoice
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.shared_inputs import SharedInput
from onnx_lobs.calibration.target_cache import TargetCache
from onnx_lobs.graph.model import Model, outer_names
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.staged import cuts
from onnx_lobs.graph.run.stages import Stage, cut, stage_session
from onnx_lobs.layers.layer import Use
from onnx_lobs.linalg.accumulator import TargetObservations
from onnx_lobs.linalg.workers import map_batches
from onnx_lobs.memory.store import Overlay, Store, Values


class DensePass:
    """Runs the dense network over all batches and stores what calibration will aim at.

    Parameters
    ----------
    dense
        Execution copy; it must not change.
    choices
        Of all shared inputs that are calibrated, in graph order. Those that no earlier one can
        change need no target of their own, nor do tied ones.
    types
        Element type of every tap, by scope and name.
    options
        Its provider and, in bytes, the weights in one session and the targets that it leaves; with
        more, the network runs in stages, each just before it is needed.
    store
        Where the targets are kept, and values between stages.
    cache
        Targets for other runs too.

    Notes
    -----
    Nothing runs before it is needed. Cost: one forward pass, and a second one of the first batch
    where the targets are too many. Memory: per layer 4 bytes for each observation and each input
    of the layer, or output if those are fewer, until :meth:`forget`, as far as `store` lets them;
    with several stages also the values that are live between two of them.
    """

    def __init__(
        self,
        dense: Model,
        choices: Sequence[ObservationChoice],
        types: Mapping[tuple[int, str], int],
        options: CalibrationOptions,
        store: Store,
        cache: TargetCache | None = None,
    ) -> None:
        self.dense, self.types, self.options, self.store = dense, types, options, store
        self.cache = TargetCache(0) if cache is None else cache
        changing = _changing(dense, [choice.shared for choice in choices])
        self._targets = {
            key_of(choice.shared.uses[0]): DenseTarget(dense, choice, types)
            for choice in choices
            if _reads(dense, choice.shared) & changing and not choice.shared.is_tied
        }
        targets = list(self._targets.values())
        self._ends = list(_by_weights(dense, targets, options.most_weights))
        self._parts = _cut(dense, self._ends)
        self._values: list[Values] = []
        self._stored: list[Values] = []
        self._gone: set[str] = set()
        made = {name for node in dense.main.graph.node for name in node.output}
        self._inputs = {name for part in self._parts for name in part.reads} - made

    def take(self, feeds: Feeds) -> None:
        """Remember a batch, the next one."""
        self._values.append(self.store.new())
        self._values[-1].add({name: feeds[name] for name in feeds if name in self._inputs})
        self._stored.append(self.store.new())

    def reach(self, shared_inputs: Iterable[SharedInput]) -> None:
        """See to it that :meth:`target` knows what it is asked for of these shared inputs."""
        wanted = {key_of(shared.uses[0]) for shared in shared_inputs} & set(self._targets)
        while any(target.key in wanted for part in self._parts for target in part.targets):
            too_many = [] if self._is_cached(self._parts) else self._run(self._parts[0])
            if too_many:
                self._split(too_many)
            else:
                del self._parts[0]

    def target(self, use: Use, batch: int) -> TargetObservations | None:
        """Return what a use aims at on a batch; None: it reads the same in the pruned network."""
        target = self._targets.get(key_of(use))
        if target is None:
            return None
        data = self.cache.find(target.key, batch)
        return target.restore(self._stored[batch][target.key] if data is None else data)

    def forget(self, shared_inputs: Iterable[SharedInput]) -> None:
        """Free the targets of these shared inputs."""
        self._gone |= {key_of(shared.uses[0]) for shared in shared_inputs}
        for stored in self._stored:
            stored.keep([name for name in stored if name not in self._gone])

    def close(self) -> None:
        """Free everything but what is cached for other runs."""
        for values in (*self._values, *self._stored):
            values.keep(())

    def _is_cached(self, parts: Sequence[_Part]) -> bool:
        keys = [target.key for part in parts for target in part.targets]
        batches = range(len(self._values))
        return all(self.cache.find(key, batch) is not None for key in keys for batch in batches)

    def _run(self, part: _Part) -> list[int]:
        """Run a stage over all batches; or return the bytes of each target, if too many."""
        later = {name for other in self._parts[1:] for name in other.reads}
        session: Session | None = None
        for batch, values in enumerate(self._values):
            if session is None and part.stage.nodes:
                session = stage_session(
                    self.dense, part.stage, values, self.options.provider, part.taps, self.types
                )
            made = {} if session is None else session.run(values)
            read = partial(DenseTarget.read, batch=batch, tapped=Overlay(made, values))
            found = map_batches(read, part.targets)
            if batch == 0 and part.is_divisible:
                sizes = [data.nbytes * len(self._values) for data in found]
                if sum(sizes) > self.options.most_targets:
                    return sizes
            self._write(batch, part.targets, found)
            values.keep(later)
            values.add({name: made[name] for name in made if name in later})
        del session
        release_memory()  # a batch of taps
        return []

    def _write(self, batch: int, targets: Sequence[DenseTarget], found: Sequence[Array]) -> None:
        """Store the targets of a batch, unless they are cached already, or needed no more."""
        for target, data in zip(targets, found, strict=True):
            is_cached = self.cache.find(target.key, batch) is not None
            is_cached = is_cached or self.cache.store(target.key, batch, data)
            if not is_cached and target.key not in self._gone:
                self._stored[batch].add({target.key: data})

    def _split(self, bytes_of_each: Sequence[int]) -> None:
        """Cut the next stage into several that each leave no more targets than they may."""
        done = len(self._ends) - len(self._parts)
        end, targets = self._ends[done]
        sizes = dict(zip(targets, bytes_of_each, strict=True))
        parts: list[list[DenseTarget]] = []
        used = 0
        for _, some in groupby(targets, key=lambda target: target.use.top):  # a node is not cut
            members = list(some)
            size = sum(sizes[target] for target in members)
            if not parts or used + size > self.options.most_targets:
                parts.append([])
                used = 0
            parts[-1] += members
            used += size
        ends = [*(part[0].use.top for part in parts[1:]), end]
        self._ends[done : done + 1] = list(zip(ends, parts, strict=True))
        self._parts = _cut(self.dense, self._ends)[done:]


@dataclass(frozen=True)
class _Part:
    """A stage of the dense network and the targets that are taken there."""

    stage: Stage
    targets: tuple[DenseTarget, ...]

    @property
    def taps(self) -> list[tuple[int, str]]:
        """The values inside branches that are tapped, by scope and name."""
        return sorted({target.name for target in self.targets if target.name[0]})

    @property
    def is_divisible(self) -> bool:
        """Whether its targets are of several nodes."""
        return len({target.use.top for target in self.targets}) > 1

    @property
    def reads(self) -> set[str]:
        """The values that must be there before it runs."""
        tapped = {name for scope, name in (target.name for target in self.targets) if scope == 0}
        return {*self.stage.inputs, *(tapped - set(self.stage.outputs))}


def _by_weights(
    dense: Model, targets: Sequence[DenseTarget], most_weights: int
) -> Iterator[tuple[int, list[DenseTarget]]]:
    """Yield the nodes before which stages end, and the targets whose layers are in each."""
    found: dict[int, list[DenseTarget]] = {}
    ends = [*cuts(dense, most_weights), len(dense.main.graph.node)]
    for target in targets:
        found.setdefault(next(end for end in ends if target.use.top < end), []).append(target)
    yield from sorted(found.items())


def _cut(dense: Model, ends: Sequence[tuple[int, Sequence[DenseTarget]]]) -> list[_Part]:
    """Return the stages that end before some nodes, in their order."""
    stops = {end: {_name_outside(dense, target) for target in some} for end, some in ends}
    stages = cut(dense, stops) if stops else ()
    return [_Part(stage, tuple(some)) for stage, (_, some) in zip(stages, ends, strict=True)]


def _name_outside(dense: Model, target: DenseTarget) -> str:
    """Return the top-level value that must be there for a target: of a branch, its node's."""
    scope, name = target.name
    if scope:
        name = next(filter(None, dense.main.graph.node[target.use.top].output))
    return name


def _changing(dense: Model, shared_inputs: Sequence[SharedInput]) -> set[str]:
    """Return the top-level values that change when the weights of the shared inputs do."""
    layers = [layer for shared in shared_inputs for layer in shared.layers]
    tops = {top for x in layers for top in (*x.other_tops, *(use.top for use in x.uses))}
    weights = {layer.weight for layer in layers if layer.scope == 0}
    changing: set[str] = set()
    for index, node in enumerate(dense.main.graph.node):
        if index in tops or outer_names(node) & (changing | weights):
            changing.update(name for name in node.output if name)
    return changing


def _reads(dense: Model, shared: SharedInput) -> set[str]:
    """Return the top-level values that the first use of a shared input depends on directly."""
    use = shared.uses[0]
    return set(outer_names(dense.main.graph.node[use.top])) if use.scope else {use.input}
