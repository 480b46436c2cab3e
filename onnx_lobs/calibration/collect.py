"""The moments of one group from its activations: which columns are read, and how multiplied."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.calibration.groups import Group
from onnx_lobs.calibration.in_graph import Made, not_made
from onnx_lobs.errors import DataError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.linalg.conv_costs import WholeSums, cheapest
from onnx_lobs.linalg.conv_gram import ConvSums
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Calibration, Moments, TargetMoments
from onnx_lobs.linalg.pixel_gram import PixelSums
from onnx_lobs.linalg.positions import Grid, Spread, grid_step, wants_grid
from onnx_lobs.linalg.towards import Towards
from onnx_lobs.linalg.unfold import Chosen, output_sizes, resolve

CHUNK_BYTES = 1 << 24
LEAST_COLUMNS = 1 << 16  # 1 << 13 doubled the error on data not seen; more gained nothing
# so many groups, or more, of a convolution read this part of them: on 17 depthwise layers that
# raised the error on data not seen by 0.1 % in the mean and by 0.5 % at most
MANY_GROUPS = 8
MOST_PARTS = 4
PART_NUMBERS = 1 << 23  # in the sums of all parts, about

Array = NDArray[Any]
Lookup = Callable[[Use], Array]


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
    positions
        Columns of data per input that a convolution reads, over all batches; None: all.
    least_columns
        Columns of data that it reads at the least.

    Attributes
    ----------
    most_parts
        How many collectors may share the batches: their sums should not take much memory.
    """

    def __init__(
        self,
        model: Model,
        group: Group,
        n_batches: int,
        seed: int,
        *,
        towards: bool,
        positions: int | None,
        least_columns: int = LEAST_COLUMNS,
    ) -> None:
        self.group = group
        self.n_batches = n_batches
        self.seed = seed
        layouts = [layer.layout for layer in group.layers]
        self.weight: Array | None = None
        if towards:
            self.weight = np.concatenate([_matrix(model, layer) for layer in group.layers], axis=1)
        shape = layouts[0].groups, sum(layout.rows for layout in layouts), layouts[0].columns
        least = least_columns / min(shape[0], MANY_GROUPS)
        wanted = math.inf if positions is None else max(positions * shape[2], least)
        self.budget = wanted / n_batches
        wide = shape[2] + min(shape[1], 2 * shape[2]) * towards
        numbers = shape[0] * shape[2] * wide * len(group.uses)
        self.most_parts = int(np.clip(PART_NUMBERS // numbers, 1, min(MOST_PARTS, n_batches)))
        self.fit = [self._empty(*shape) for _ in group.uses]
        self.held = [self._empty(*shape) for _ in group.uses]
        self.towards: dict[tuple[bool, int], Towards] = {}
        if self.weight is not None:
            for place in range(len(group.uses)):
                self.towards[False, place] = Towards(self.weight, self.fit[place])
                self.towards[True, place] = Towards(self.weight, self.held[place])
        self.whole: dict[tuple[WholeSums, int, bool, tuple[int, ...]], ConvSums | PixelSums] = {}

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
        is_held = is_held_out(index, self.n_batches)
        for place, use in enumerate(self.group.uses):
            moments = (self.held if is_held else self.fit)[place]
            if (sums := made(use)) is not None:
                moments.inputs.add(*sums)
                continue
            x = own(use)
            if x.size == 0:
                continue
            target_x = x if clean is None else clean(use)
            # what overflows here is found, and named, in result()
            with np.errstate(over="ignore", invalid="ignore"):
                if target_x is x and (kind := self._whole_sums(use, x)) is not None:
                    self._sums(kind, place, is_held, use, x).add(x)
                    continue
                for piece, chosen in self._pieces(use, x.shape, index):
                    z = None if target_x is x else target_x[piece]
                    towards = self.towards.get((is_held, place))
                    _add_piece(use, moments.inputs, towards, x[piece], z, chosen)

    def _whole_sums(self, use: Use, x: Array) -> WholeSums | None:
        """Return what reads all positions of a convolution for less than some unfolded cost."""
        if use.unfold is None or use.scale != 1:
            return None
        n = None if math.isinf(self.budget) else math.ceil(self.budget)
        return cheapest(x.shape, use.unfold, use.groups, n)

    def _sums(
        self, kind: WholeSums, place: int, is_held: bool, use: Use, x: Array
    ) -> ConvSums | PixelSums:
        """Return what adds up images of one size for a use."""
        assert use.unfold is not None
        key = kind, place, is_held, x.shape[1:]
        if key not in self.whole:
            self.whole[key] = kind(use.unfold, use.groups, x.shape[2:], x.shape[1])
        return self.whole[key]

    def _pieces(
        self, use: Use, shape: tuple[int, ...], index: int
    ) -> Iterator[tuple[slice, Chosen]]:
        """Yield slices of the samples, each with the positions of it to read.

        A convolution that is unfolded reads no more columns than its share of `positions`,
        drawn at random: neighbouring windows say nearly the same.
        """
        if use.unfold is None:
            yield slice(None), None
            return
        n = use.n_columns(shape)
        fraction = min(1.0, self.budget / max(n, 1))
        rng = np.random.default_rng([self.seed, index, zlib.crc32(use.output.encode())])
        per_sample = max(n // shape[0], 1)
        width = 4 * self.fit[0].inputs.columns * use.groups * fraction * per_sample
        step = int(max(1, min(shape[0], CHUNK_BYTES // max(width, 1))))
        for begin in range(0, shape[0], step):
            piece = slice(begin, begin + step)
            count = per_sample * (min(begin + step, shape[0]) - begin)
            yield piece, _choose(rng, use, shape, fraction, count)

    def result(self) -> Calibration:
        """Return the moments.

        Raises
        ------
        DataError
            When a tap held NaN or infinity.
        """
        for towards in self.towards.values():
            with np.errstate(over="ignore", invalid="ignore"):
                towards.finish()
        self.towards.clear()
        for (_, place, is_held, _), sums in self.whole.items():
            self._add_whole((self.held if is_held else self.fit)[place], sums)
        self.whole.clear()
        for use, *pair in zip(self.group.uses, self.fit, self.held, strict=True):
            if not all(_is_finite(moments) for moments in pair):
                raise DataError(
                    f"the input of {use.node!r} becomes NaN or infinite, or too large to square, "
                    "on the calibration data; check the data's scale, or exclude the layer"
                )
        return Calibration(tuple(self.fit), tuple(self.held))

    def _add_whole(self, moments: Moments, sums: ConvSums | PixelSums) -> None:
        """Add every position of some batches, whose target is the weight's own output."""
        with np.errstate(over="ignore", invalid="ignore"):
            matrix, total, count = sums.result()
            moments.inputs.add(matrix, total, count)
            if moments.targets is not None and self.weight is not None:
                moments.targets.add_linear(self.weight, matrix, total)


def _add_piece(
    use: Use, inputs: Gram, towards: Towards | None, x: Array, z: Array | None, chosen: Chosen
) -> None:
    """Add some samples: the pruned network's input x, the dense one's z if it differs."""
    columns = use.columns(x, chosen)
    if towards is None:
        inputs.update(columns, overwrite=not np.may_share_memory(columns, x))
    else:
        towards.add(columns, None if z is None else use.columns(z, chosen))


def _choose(
    rng: np.random.Generator, use: Use, shape: tuple[int, ...], fraction: float, count: int
) -> Chosen:
    """Return a `fraction` of the `count` positions of some samples of a convolution, or all."""
    geometry = use.unfold
    if fraction == 1 or geometry is None:
        return None
    if geometry.is_pointwise:
        return Spread.draw(rng, shape[2:], max(1, round(fraction * math.prod(shape[2:]))))
    columns = shape[1] // use.groups * geometry.taps
    if wants_grid(use.groups, columns, fraction):
        sizes = output_sizes(shape[2:], resolve(geometry, shape[2:]))
        return Grid.draw(rng, grid_step(sizes, fraction))
    size = max(1, round(fraction * count))
    return np.sort(rng.choice(count, size=size, replace=False, shuffle=False))


def is_held_out(index: int, n_batches: int) -> bool:
    """Whether a batch is kept apart to choose settings on: a tenth of them, at least one.

    With fewer than two batches nothing is held out.
    """
    if n_batches < 2:
        return False
    period = min(10, n_batches)
    return index % period == period - 1


def _is_finite(moments: Moments) -> bool:
    if moments.inputs.count == 0:
        return True
    # a sum that overflows or holds NaN does so in its diagonal too
    sums = [moments.inputs.matrix.diagonal(axis1=1, axis2=2), moments.inputs.total]
    if moments.targets is not None:
        sums += [moments.targets.energy, moments.targets.total]
    return all(bool(np.isfinite(array).all()) for array in sums)


def _matrix(model: Model, layer: Layer) -> NDArray[np.float64]:
    tensor = model.scopes[layer.scope].initializers[layer.weight]
    return layer.matrix(model.value(tensor))
