"""The moments of one group from its activations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.calibration.in_graph import Made, not_made
from onnx_lobs.calibration.notes import DenseObservations
from onnx_lobs.calibration.reading import Reading
from onnx_lobs.errors import DataError, ModelError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.linalg.convolution.costs import WholeSums
from onnx_lobs.linalg.convolution.offset_gram import ConvSums
from onnx_lobs.linalg.convolution.pixel_gram import PixelSums
from onnx_lobs.linalg.convolution.pixel_targets import PixelTargets
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Calibration, Moments, TargetMoments
from onnx_lobs.linalg.towards import Towards

MOST_PARTS = 4
KEPT_SIZES = 4  # of images, whose sums are kept apart until a further one comes
PART_NUMBERS = 1 << 23  # in the sums of all parts, about

Lookup = Callable[[Use], Array]
Goal = Callable[[Use], DenseObservations | None]


class Collector:
    """Accumulates the moments of one group, chunk by chunk and position by position.

    Parameters
    ----------
    model
        The dense network, for the layers' weights.
    reading
        What to calibrate, and which observations it reads.
    towards
        Whether the dense network's pre-activations are a target of their own.

    Attributes
    ----------
    most_parts
        How many collectors may share the batches: their sums should not take much memory.
    """

    def __init__(self, model: Model, reading: Reading, *, towards: bool) -> None:
        self.reading, self.group = reading, reading.group
        n_batches, uses = reading.n_batches, self.group.uses
        layouts = [layer.layout for layer in self.group.layers]
        self.weight: Array | None = None
        if towards:
            self.weight = np.concatenate(
                [_matrix(model, layer) for layer in self.group.layers], axis=1
            )
        shape = layouts[0].groups, sum(layout.rows for layout in layouts), layouts[0].columns
        wide = shape[2] + min(shape[1], 2 * shape[2]) * towards
        numbers = shape[0] * shape[2] * wide * len(uses)
        self.most_parts = int(np.clip(PART_NUMBERS // numbers, 1, min(MOST_PARTS, n_batches)))
        self.fit = [self._empty(*shape) for _ in uses]
        self.held = [self._empty(*shape) for _ in uses]
        self.towards: dict[tuple[bool, int], Towards] = {}
        if self.weight is not None:
            for place in range(len(uses)):
                self.towards[False, place] = Towards(self.weight, self.fit[place])
                self.towards[True, place] = Towards(self.weight, self.held[place])
        self.pixels: dict[tuple[int, bool, tuple[int, ...]], PixelTargets] = {}
        self.whole: dict[tuple[WholeSums, int, bool, tuple[int, ...]], ConvSums | PixelSums] = {}
        self.kinds: dict[tuple[int, tuple[int, ...]], WholeSums | None] = {}

    def _empty(self, groups: int, rows: int, columns: int) -> Moments:
        targets = None if self.weight is None else TargetMoments.zeros(groups, rows, columns)
        return Moments(Gram(groups, columns), targets)

    def add(
        self,
        index: int,
        own: Lookup,
        goal: Goal = lambda use: None,
        *,
        made: Made = not_made,
    ) -> None:
        """Add batch `index`: what the uses read, and what the dense network has there.

        Parameters
        ----------
        own
            The inputs.
        goal
            What the target is made of; None: of the inputs themselves.
        made
            Sums, without a target, that are not to be computed from the inputs again.

        Raises
        ------
        ModelError
            When the two networks' activations have different sizes.
        """
        is_held = is_held_out(index, self.reading.n_batches)
        for place, use in enumerate(self.group.uses):
            moments = (self.held if is_held else self.fit)[place]
            if (sums := made(use)) is not None:
                moments.inputs.add(*sums)
                continue
            x = own(use)
            seen = goal(use)
            if x.size == 0:
                continue
            if use.scope and seen is not None and seen.count == 0:
                seen = None  # a branch that the dense network did not take has no other target
            # what overflows here is found, and named, in result()
            with np.errstate(over="ignore", invalid="ignore"):
                kind = self._whole_sums(place, use, x)
                if seen is None and kind is not None:
                    self._sums(kind, place, is_held, use, x).add(x)
                elif seen is not None and kind is PixelSums and _has_all(use, x, seen):
                    self._pixel_targets(place, is_held, use, x).add(x, seen.data)
                else:
                    self._add(
                        use, moments.inputs, self.towards.get((is_held, place)), index, x, seen
                    )

    def _pixel_targets(self, place: int, is_held: bool, use: Use, x: Array) -> PixelTargets:
        """Return what adds up images of one size, and the target at all their outputs."""
        assert use.unfold is not None
        assert self.weight is not None
        key = place, is_held, x.shape[1:]
        if key not in self.pixels:
            self._make_room()
            self.pixels[key] = PixelTargets(
                use.unfold, use.groups, x.shape[2:], x.shape[1], self.weight.shape[1]
            )
        return self.pixels[key]

    def _add(
        self,
        use: Use,
        inputs: Gram,
        towards: Towards | None,
        index: int,
        x: Array,
        seen: DenseObservations | None,
    ) -> None:
        """Add the observations that are read of one batch."""
        done = 0
        for piece, chosen in self.reading.pieces(use, len(x), use.output_sizes(x.shape), index):
            columns = use.columns(x[piece], chosen)
            rows = slice(done, done + columns.shape[1])
            done = rows.stop
            if towards is None:
                inputs.update(columns, overwrite=not np.may_share_memory(columns, x))
            elif seen is None:
                towards.add(columns)
            elif done > seen.count:
                break
            elif seen.is_output:
                towards.add_towards_outputs(columns, seen.data[:, rows])
            else:
                towards.add(columns, seen.data[:, rows])
        if seen is not None and seen.count != done:
            raise ModelError(
                f"the input of {use.node!r} has another size in the pruned network than in the "
                "dense one; use --independent, which reads the dense one only, or exclude the layer"
            )

    def _whole_sums(self, place: int, use: Use, x: Array) -> WholeSums | None:
        """Return :meth:`Reading.whole_sums` of the first batch of images of this size.

        A last batch of few samples would begin sums of its own.
        """
        key = place, x.shape[1:]
        if key not in self.kinds:
            self.kinds[key] = self.reading.whole_sums(use, x.shape)
        return self.kinds[key]

    def _sums(
        self, kind: WholeSums, place: int, is_held: bool, use: Use, x: Array
    ) -> ConvSums | PixelSums:
        """Return what adds up images of one size for a use."""
        assert use.unfold is not None
        key = kind, place, is_held, x.shape[1:]
        if key not in self.whole:
            self._make_room()
            self.whole[key] = kind(use.unfold, use.groups, x.shape[2:], x.shape[1])
        return self.whole[key]

    def _make_room(self) -> None:
        """Add up the sums of whole images where those of many sizes are kept."""
        sides = 2 * len(self.group.uses)  # fitted and held out
        if len(self.whole) + len(self.pixels) >= KEPT_SIZES * sides:
            self._add_whole()

    def merge(self, other: Collector) -> None:
        """Add what another collector of the same group read; it is not to be used any more."""
        sides = (False, self.fit, other.fit), (True, self.held, other.held)
        with np.errstate(over="ignore", invalid="ignore"):
            for collector in (self, other):
                collector.settle()
            for is_held, mine, theirs in sides:
                for place, (one, two) in enumerate(zip(mine, theirs, strict=True)):
                    if (is_held, place) in self.towards:
                        self.towards[is_held, place].merge(other.towards[is_held, place])
                    elif two.inputs.count:
                        one.merge(two)

    def result(self) -> Calibration:
        """Return the moments.

        Raises
        ------
        DataError
            When a tap held NaN or infinity.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            self._add_whole()
            for towards in self.towards.values():
                towards.finish()
        self.towards.clear()
        for use, *pair in zip(self.group.uses, self.fit, self.held, strict=True):
            if not all(_is_finite(moments) for moments in pair):
                raise DataError(
                    f"the input of {use.node!r} becomes NaN or infinite, or too large to square, "
                    "on the calibration data; check the data's scale, or exclude the layer"
                )
        return Calibration(tuple(self.fit), tuple(self.held))

    def settle(self) -> None:
        """Finish the sums, which :meth:`merge` leaves less to do in one thread."""
        with np.errstate(over="ignore", invalid="ignore"):  # is found, and named, in result()
            self._add_whole()
            for moments in (*self.fit, *self.held):
                if moments.inputs.count:
                    moments.inputs.settle()

    def _add_whole(self) -> None:
        """Add the sums of whole images, at every position."""
        for (_, place, is_held, _), whole in self.whole.items():
            towards = self.towards.get((is_held, place))
            inputs = (self.held if is_held else self.fit)[place].inputs
            (inputs.add if towards is None else towards.add_sums)(*whole.result())
        self.whole.clear()
        for (place, is_held, _), sums in self.pixels.items():
            self.towards[is_held, place].add_target_sums(*sums.result())
        self.pixels.clear()


def _has_all(use: Use, x: Array, seen: DenseObservations) -> bool:
    """Whether a target is known at every output of a convolution."""
    return seen.is_output and seen.count == len(x) * math.prod(use.output_sizes(x.shape))


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


def _matrix(model: Model, layer: Layer) -> FloatArray:
    tensor = model.scopes[layer.scope].initializers[layer.weight]
    return layer.matrix(model.value(tensor))
