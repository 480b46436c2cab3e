"""From batches to second moments: run the model, tap the layers' inputs, keep only the Grams.

Here all taps are read in one pass over the dense network;
:mod:`onnx_lobs.calibration.sequential` reads them layer by layer while the network is pruned.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnx_lobs.calibration.in_graph import Made, not_made, show
from onnx_lobs.errors import DataError
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.taps import tap_name
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.linalg.conv_gram import conv_gram, is_faster
from onnx_lobs.linalg.gram import Calibration, Gram, Moments, TargetMoments

CHUNK_BYTES = 1 << 26
COLUMNS_PER_INPUT = 64
LEAST_COLUMNS = 1 << 16

Array = NDArray[Any]
Feeds = Mapping[str, Array]
Lookup = Callable[[Use], Array]
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

    def parts(self, calibration: Calibration | None) -> Iterator[tuple[Layer, Calibration | None]]:
        """Yield each layer with its own part of the group's moments."""
        first = 0
        for layer in self.layers:
            rows = slice(first, first + layer.layout.rows)
            first += layer.layout.rows
            yield layer, None if calibration is None else calibration.rows(rows)


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
    shown: Sequence[Group] | None = None,
    in_graph: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> list[Calibration]:
    """Return the moments of every group on the inputs of the dense network.

    The inputs of the groups `shown` become outputs of the graph, at least these: which ones
    do can change how onnxruntime rounds. With `in_graph` the sums over columns are computed in
    the graph where they can be, over all positions; `note` is told where they cannot and why.

    Cost: one forward pass, the unfolding of every tap and n d^2 flops per Gram; memory the
    Grams, one batch of taps and one unfolded chunk of 64 MiB. Activations are not kept.
    In the graph: :func:`onnx_lobs.graph.gram_nodes.add_gram_outputs`.
    """
    shown = groups if shown is None else shown
    wanted = [(use, group.layers[0].layout.columns) for group in shown for use in group.uses]
    types = tap_types(model, shown)
    session = show(model, wanted, types, provider, in_graph=in_graph, note=note)
    collectors = [Collector(model, group, n_batches, seed, towards=False) for group in groups]
    for index, feeds in enumerate(batches):
        values = session.run(feeds)
        for collector in collectors:
            collector.add(index, lookup(values), made=session.made(values))
        tick(1)
    return [collector.result() for collector in collectors]


class Collector:
    """Accumulates the moments of one group, chunk by chunk and position by position.

    Parameters
    ----------
    model
        The dense network, for the layers' weights.
    group
        What to calibrate.
    n_batches
        How many batches will be added.
    seed
        Chooses the positions of convolutions that are read.
    towards
        Whether the dense network's pre-activations are a target of their own.
    """

    def __init__(
        self, model: Model, group: Group, n_batches: int, seed: int, *, towards: bool
    ) -> None:
        self.group = group
        self.n_batches = n_batches
        self.seed = seed
        layouts = [layer.layout for layer in group.layers]
        self.weight: Array | None = None
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
        own: Lookup,
        clean: Lookup | None = None,
        *,
        made: Made = not_made,
    ) -> None:
        """Add batch `index`: the pruned network's input and, for a target, the dense one's.

        What is `made`, sums without a target, is not computed from the input again.
        """
        kept = self.held if is_held_out(index, self.n_batches) else self.fit
        for use, moments in zip(self.group.uses, kept, strict=True):
            if (sums := made(use)) is not None:
                moments.inputs.add(*sums)
                continue
            x = own(use)
            if x.size == 0:
                continue
            target_x = x if clean is None else clean(use)
            if target_x is x and self._is_dense_faster(use, x):
                self._add_whole(use, moments, x)
                continue
            # what overflows here is found, and named, in result()
            with np.errstate(over="ignore", invalid="ignore"):
                for piece, chosen in self._pieces(use, x.shape, index):
                    self._add_piece(use, moments, x[piece], target_x[piece], chosen, target_x is x)

    def _is_dense_faster(self, use: Use, x: Array) -> bool:
        """Whether all positions of a convolution cost less from tap offsets than some unfolded."""
        if use.unfold is None or use.scale != 1:
            return False
        budget = math.ceil(self._budget())
        return is_faster(x.shape, use.unfold, use.groups, budget)

    def _add_whole(self, use: Use, moments: Moments, x: Array) -> None:
        """Add every position of a batch, whose target is the weight's own output."""
        assert use.unfold is not None
        matrix, total, count = conv_gram(x, use.unfold, use.groups)
        moments.inputs.add(matrix, total, count)
        if moments.targets is not None and self.weight is not None:
            moments.targets.add_own(self.weight, matrix, total)

    def _budget(self) -> float:
        """Return how many columns of a convolution are read per batch."""
        return max(COLUMNS_PER_INPUT * self.fit[0].inputs.columns, LEAST_COLUMNS) / self.n_batches

    def _add_piece(
        self,
        use: Use,
        moments: Moments,
        x: Array,
        target_x: Array,
        chosen: Array | None,
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
    ) -> Iterator[tuple[slice, Array | None]]:
        """Yield slices of the samples, each with the positions of it to read.

        A convolution that is unfolded reads at most COLUMNS_PER_INPUT * d (and LEAST_COLUMNS)
        columns over all batches, drawn at random: neighbouring windows say nearly the same.
        """
        if use.unfold is None:
            yield slice(None), None
            return
        d = self.fit[0].inputs.columns
        n = use.n_columns(shape)
        fraction = min(1.0, self._budget() / max(n, 1))
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
        for use, *pair in zip(self.group.uses, self.fit, self.held, strict=True):
            if not all(_is_finite(moments) for moments in pair):
                raise DataError(
                    f"the input of {use.node!r} becomes NaN or infinite, or too large to square, "
                    "on the calibration data; check the data's scale, or exclude the layer"
                )
        return Calibration(tuple(self.fit), tuple(self.held))


def columns_per_sample(
    model: Model, groups: Sequence[Group], feeds: Feeds, samples: int, provider: str
) -> list[float]:
    """Return how many columns of data a sample gives each group, by one run of `samples`."""
    wanted = [(use, group.layers[0].layout.columns) for group in groups for use in group.uses]
    found = lookup(show(model, wanted, tap_types(model, groups), provider).run(feeds))
    totals = [sum(use.n_columns(found(use).shape) for use in group.uses) for group in groups]
    return [total / samples for total in totals]


def is_held_out(index: int, n_batches: int) -> bool:
    """Whether a batch is kept apart to choose settings on: a tenth of them, at least one.

    With fewer than two batches nothing is held out.
    """
    if n_batches < 2:
        return False
    period = min(10, n_batches)
    return index % period == period - 1


def _is_finite(moments: Moments) -> bool:
    sums = [moments.inputs.matrix, moments.inputs.total]
    if moments.targets is not None:
        sums += [moments.targets.energy, moments.targets.total]
    return all(bool(np.isfinite(array).all()) for array in sums)


def lookup(values: Feeds) -> Lookup:
    """Return how to find a use's input among the values that a session showed."""
    return lambda use: values[tap_name(use.scope, use.input)]


def _matrix(model: Model, layer: Layer) -> NDArray[np.float64]:
    tensor = model.scopes[layer.scope].initializers[layer.weight]
    return layer.matrix(model.value(tensor))


def tap_types(model: Model, groups: Sequence[Group]) -> dict[tuple[int, str], int]:
    """Return the element type of every tap: that of the weight it is multiplied with."""
    types: dict[tuple[int, str], int] = {}
    for group in groups:
        layer = group.layers[0]
        tensor = model.scopes[layer.scope].initializers[layer.weight]
        stored = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        seen = onnx.helper.np_dtype_to_tensor_dtype(layer.chain.dtype(stored))
        types |= {(use.scope, use.input): seen for use in group.uses}
    return types
