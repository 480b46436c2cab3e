"""From batches to second moments: run the model, tap the layers' inputs, keep only the Grams.

Two ways. *Independent*: one pass over the dense network with every tap as an extra output.
*Sequential*: the graph is cut into stages at the layers; every stage runs once for the dense
network and once for the pruned one, so each layer is solved on the inputs that the pruned
network gives it, towards the pre-activations that the dense network has.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.errors import DataError
from onnx_lobs.graph.model import Model, outer_names
from onnx_lobs.graph.session import Session
from onnx_lobs.graph.stages import Stage, cut, is_touched, stage_session
from onnx_lobs.graph.taps import tap_name, with_outputs
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.linalg.gram import Calibration, Gram, Moments, TargetMoments

CHUNK_BYTES = 1 << 26
COLUMNS_PER_INPUT = 64
LEAST_COLUMNS = 1 << 16

Feeds = Mapping[str, NDArray]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Group:
    """Layers that are calibrated together, and the uses whose inputs are read.

    Either several layers that share one tap (their rows are stacked), or one tied layer
    with several uses, or, mostly, one layer with one use.
    """

    layers: tuple[Layer, ...]
    uses: tuple[Use, ...]

    @property
    def top(self) -> int:
        """Index of the top-level node before which the group is solved."""
        return min(use.top for layer in self.layers for use in layer.uses)

    @property
    def is_tied(self) -> bool:
        """Whether one weight has several uses."""
        return len(self.uses) > 1


def make_groups(layers: Sequence[Layer]) -> tuple[Group, ...]:
    """Group layers with the same tap; a tied layer is a group of its own. In graph order."""
    shared: dict[tuple[object, ...], list[Layer]] = {}
    for layer in layers:
        tied = len(layer.uses) > 1
        key = ("tied", layer.scope, layer.weight) if tied else layer.uses[0].tap
        shared.setdefault(key, []).append(layer)
    groups = [Group(tuple(members), members[0].uses) for members in shared.values()]
    return tuple(sorted(groups, key=lambda group: group.top))


def calibrate_independent(
    model: Model,
    groups: Sequence[Group],
    batches: Iterable[Feeds],
    *,
    n_batches: int,
    provider: str,
    seed: int = 0,
    tick: Progress = lambda n: None,
) -> list[Calibration]:
    """Return the moments of every group on the inputs of the dense network.

    Cost: one forward pass, the unfolding of every tap and n d^2 flops per Gram; memory the
    Grams, one batch of taps and one unfolded chunk of 64 MiB. Activations are not kept.
    """
    wanted = sorted({(use.scope, use.input) for group in groups for use in group.uses})
    session = Session(
        with_outputs(model, wanted, _types(model, groups)), folder=model.folder, provider=provider
    )
    collectors = [_Collector(model, group, n_batches, seed, towards=False) for group in groups]
    for index, feeds in enumerate(batches):
        values = session.run(feeds)
        for collector in collectors:
            collector.add(index, lambda use: values[tap_name(use.scope, use.input)])
        tick(1)
    return [collector.result() for collector in collectors]


def calibrate_sequential(
    dense: Model,
    pruned: Model,
    groups: Sequence[Group],
    batches: Iterable[Feeds],
    *,
    n_batches: int,
    provider: str,
    seed: int = 0,
    tick: Progress = lambda n: None,
) -> Iterator[tuple[Group, Calibration]]:
    """Yield each group with its moments; its weights in `pruned` change before the next.

    Parameters
    ----------
    dense, pruned
        Execution copies of one model. The caller writes the solved weights of a yielded
        group into `pruned` and then asks for the next one.

    Notes
    -----
    The inputs are the pruned network's, the targets the dense network's pre-activations.
    A tied layer is calibrated on the dense network, since its later uses cannot be reached
    before it is solved. Cost: two forward passes in all, and the Grams; memory: the values
    that are live at one cut, for all batches and both networks.
    """
    tied = [group for group in groups if group.is_tied]
    batches = list(batches)
    ready = dict(
        zip(
            (group.top for group in tied),
            calibrate_independent(
                dense, tied, batches, n_batches=n_batches, provider=provider, seed=seed
            )
            if tied
            else [],
            strict=True,
        )
    )
    single = [group for group in groups if not group.is_tied]
    by_top: dict[int, list[Group]] = {}
    for group in single:
        by_top.setdefault(group.top, []).append(group)
    runner = _Runner(dense, pruned, by_top, batches, provider)
    for top in sorted({group.top for group in groups}):
        if top in by_top:
            runner.advance(top)
            here = by_top[top]
            collectors = [_Collector(dense, g, n_batches, seed, towards=True) for g in here]
            for index, (clean, own) in enumerate(runner.taps(top)):
                for collector in collectors:
                    collector.add(index, own, clean)
            for group, collector in zip(here, collectors, strict=True):
                yield group, collector.result()
        yield from ((group, ready[top]) for group in tied if group.top == top)
        tick(1)


class _Collector:
    """Accumulates the moments of one group, chunk by chunk and position by position."""

    def __init__(
        self, model: Model, group: Group, n_batches: int, seed: int, *, towards: bool
    ) -> None:
        self.group = group
        self.n_batches = n_batches
        self.seed = seed
        layouts = [layer.layout for layer in group.layers]
        self.weight: NDArray | None = None
        if towards:
            self.weight = np.concatenate([_matrix(model, layer) for layer in group.layers], axis=1)
        shape = layouts[0].groups, sum(layout.rows for layout in layouts), layouts[0].columns
        self.fit = [self._empty(*shape) for _ in group.uses]
        self.held = [self._empty(*shape) for _ in group.uses]

    def _empty(self, groups: int, rows: int, columns: int) -> Moments:
        targets = None if self.weight is None else TargetMoments.zeros(groups, rows, columns)
        return Moments(Gram(groups, columns), targets)

    def add(
        self,
        index: int,
        own: Callable[[Use], NDArray],
        clean: Callable[[Use], NDArray] | None = None,
    ) -> None:
        """Add batch `index`: the pruned network's input and, for a target, the dense one's."""
        kept = self.held if is_held_out(index, self.n_batches) else self.fit
        for use, moments in zip(self.group.uses, kept, strict=True):
            x = own(use)
            if x.size == 0:
                continue
            target_x = x if clean is None else clean(use)
            for piece, chosen in self._pieces(use, x.shape, index):
                self._add_piece(use, moments, x[piece], target_x[piece], chosen, target_x is x)

    def _add_piece(
        self,
        use: Use,
        moments: Moments,
        x: NDArray,
        target_x: NDArray,
        chosen: NDArray | None,
        same: bool,
    ) -> None:
        columns = use.columns(x, chosen)
        moments.inputs.update(columns)
        if moments.targets is None or self.weight is None:
            return
        source = columns if same else use.columns(target_x, chosen)
        weight = self.weight.astype(np.result_type(source.dtype, np.float32))
        moments.targets.update(source @ weight.transpose(0, 2, 1), columns)

    def _pieces(
        self, use: Use, shape: tuple[int, ...], index: int
    ) -> Iterator[tuple[slice, NDArray | None]]:
        """Yield slices of the samples, each with the positions of it to read.

        A convolution reads at most COLUMNS_PER_INPUT * d (and LEAST_COLUMNS) columns over
        all batches, drawn at random: neighbouring windows say nearly the same.
        """
        if use.unfold is None:
            yield slice(None), None
            return
        d = self.fit[0].inputs.columns
        n = use.n_columns(shape)
        budget = max(COLUMNS_PER_INPUT * d, LEAST_COLUMNS) / self.n_batches
        fraction = min(1.0, budget / max(n, 1))
        rng = np.random.default_rng([self.seed, index, zlib.crc32(use.output.encode())])
        per_sample = max(n // shape[0], 1)
        width = 4 * d * use.groups * fraction * per_sample
        step = int(max(1, min(shape[0], CHUNK_BYTES // max(width, 1))))
        for begin in range(0, shape[0], step):
            count = per_sample * (min(begin + step, shape[0]) - begin)
            chosen = None
            if fraction < 1:
                size = max(1, round(fraction * count))
                chosen = np.sort(rng.choice(count, size=size, replace=False, shuffle=False))
            yield slice(begin, begin + step), chosen

    def result(self) -> Calibration:
        """Return the moments.

        Raises
        ------
        DataError
            When a tap held NaN or infinity.
        """
        for use, moments in zip(self.group.uses, self.fit, strict=True):
            if not np.isfinite(moments.inputs.total).all():
                raise DataError(
                    f"the input of {use.node!r} becomes NaN or infinite on the calibration "
                    "data; check the data's scale, or exclude the layer"
                )
        return Calibration(tuple(self.fit), tuple(self.held))


def is_held_out(index: int, n_batches: int) -> bool:
    """Whether a batch is kept apart to choose settings on: a tenth of them, at least one.

    With fewer than two batches nothing is held out.
    """
    if n_batches < 2:
        return False
    period = min(10, n_batches)
    return index % period == period - 1


class _Runner:
    """Runs the stages of the dense and of the pruned network over all batches."""

    def __init__(
        self,
        dense: Model,
        pruned: Model,
        by_top: Mapping[int, Sequence[Group]],
        batches: Sequence[Feeds],
        provider: str,
    ) -> None:
        self.dense, self.pruned, self.provider = dense, pruned, provider
        self.by_top = by_top
        stops = {top: self._needs(groups, top) for top, groups in by_top.items()}
        self.stages = dict(zip(sorted(stops), cut(dense, stops) if stops else (), strict=True))
        self.changed: set[tuple[int, str]] = set()
        self.differing: set[str] = set()
        self.clean: list[dict[str, NDArray]] = [dict(feeds) for feeds in batches]
        self.own: list[dict[str, NDArray]] = [{} for _ in batches]

    def _needs(self, groups: Sequence[Group], top: int) -> set[str]:
        names: set[str] = set()
        for group in groups:
            for use in group.uses:
                if use.scope == 0:
                    names.add(use.input)
                else:
                    names |= _outer(self.dense, top)
        return names

    def advance(self, top: int) -> None:
        """Run the stage that ends just before top-level node `top`, for both networks."""
        stage = self.stages[top]
        if stage.nodes:
            self._run(self.dense, stage, self.clean, self.clean)
            changes = set(stage.inputs) & self.differing
            if changes or is_touched(self.dense, stage, self.changed):
                inputs = [{**c, **o} for c, o in zip(self.clean, self.own, strict=True)]
                self._run(self.pruned, stage, inputs, self.own)
                self.differing |= set(stage.outputs)
        for store in (*self.clean, *self.own):
            for name in [name for name in store if name not in stage.live]:
                del store[name]
        self.differing &= stage.live
        for group in self.by_top[top]:
            for layer in group.layers:
                self.changed.add((layer.scope, layer.weight))

    def _run(
        self,
        model: Model,
        stage: Stage,
        inputs: Sequence[Feeds],
        store: Sequence[dict[str, NDArray]],
    ) -> None:
        session = stage_session(model, stage, inputs[0], self.provider)
        for feeds, values in zip(inputs, store, strict=True):
            values.update(session.run(feeds))

    def taps(self, top: int) -> Iterator[tuple[Callable[[Use], NDArray], Callable[[Use], NDArray]]]:
        """Yield, per batch, how to look up a use's input: the dense and the pruned network's."""
        uses = [use for group in self.by_top[top] for use in group.uses if use.scope]
        inner = self._inner_session(top, uses) if uses else None
        for clean, own in zip(self.clean, self.own, strict=True):
            mine = {**clean, **own}
            dense_values: Feeds = clean
            own_values: Feeds = mine
            if inner is not None:
                dense_values = {**clean, **inner.run(clean)}
                own_values = {**mine, **inner.run(mine)}
            yield _lookup(dense_values), _lookup(own_values)

    def _inner_session(self, top: int, uses: Sequence[Use]) -> Session:
        """Return a session on one node with branches that shows the taps inside them."""
        names = _outer(self.dense, top) - set(self.dense.main.initializers)
        node = Stage((top,), tuple(sorted(names)), (), frozenset())
        types = _types(self.dense, self.by_top[top])
        taps = [(use.scope, use.input) for use in uses]
        return stage_session(self.dense, node, self.clean[0], self.provider, taps, types)


def _lookup(values: Feeds) -> Callable[[Use], NDArray]:
    return lambda use: values[tap_name(use.scope, use.input)]


def _outer(model: Model, top: int) -> set[str]:
    return outer_names(model.main.graph.node[top])


def _matrix(model: Model, layer: Layer) -> NDArray[np.float64]:
    tensor = model.scopes[layer.scope].initializers[layer.weight]
    return layer.matrix(model.value(tensor))


def _types(model: Model, groups: Sequence[Group]) -> dict[str, int]:
    """Return the element type of every tap: that of the weight it is multiplied with."""
    types: dict[str, int] = {}
    for group in groups:
        layer = group.layers[0]
        tensor = model.scopes[layer.scope].initializers[layer.weight]
        for use in group.uses:
            types[use.input] = tensor.data_type
    return types
