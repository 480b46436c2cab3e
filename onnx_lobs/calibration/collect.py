"""Collects the moments of one shared input from the activations of one or two networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.calibration.held_out import is_held_out
from onnx_lobs.calibration.in_graph import SumsSource, no_sums
from onnx_lobs.calibration.observation_choice import ObservationChoice
from onnx_lobs.errors import ModelError, NotFiniteError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.linalg.accumulator import (
    Accumulator,
    InputSums,
    ObservationSums,
    TargetObservations,
)
from onnx_lobs.linalg.convolution.costs import WholeSums
from onnx_lobs.linalg.convolution.pixel_gram import PixelSums
from onnx_lobs.linalg.convolution.pixel_targets import PixelTargets
from onnx_lobs.linalg.moments import Calibration, Moments
from onnx_lobs.linalg.target_sums import TargetSums

MOST_PARTS = 4
KEPT_SIZES = 4  # of images, whose sums are kept apart until a further one comes
PART_NUMBERS = 1 << 23  # in the sums of all parts, about

InputSource = Callable[[Use], Array]
"""gives what a use reads"""
TargetSource = Callable[[Use], TargetObservations | None]
"""gives what a use aims at; None: what the layer's own weight makes of its inputs"""
ImageKey = tuple[WholeSums, bool, int, bool, tuple[int, ...]]
"""way, whether there is a target, place of the use, whether held out, and shape of an image"""


def no_target(use: Use) -> TargetObservations | None:
    """Say that a use aims at what the layer's own weight makes of its inputs."""
    return None


class Collector:
    """Accumulates the moments of one shared input, batch by batch.

    Parameters
    ----------
    model
        The dense network, for the layers' weights.
    choice
        What to calibrate, and which observations are read.
    has_target
        Whether the dense network's pre-activations are a target of their own.

    Attributes
    ----------
    most_parts
        How many collectors may share the batches: their sums should not take much memory.
    images
        Sums of whole images, of one size each, until they are added to those of observations.
    """

    def __init__(self, model: Model, choice: ObservationChoice, *, has_target: bool) -> None:
        self.choice, self.shared = choice, choice.shared
        layers, uses = self.shared.layers, self.shared.uses
        groups, columns = layers[0].layout.groups, layers[0].layout.columns
        self.rows = sum(layer.layout.rows for layer in layers)
        self.weight: FloatArray | None = None
        if has_target:
            self.weight = np.concatenate([_matrix(model, layer) for layer in layers], axis=1)
        wide = columns + min(self.rows, 2 * columns) * has_target
        numbers = groups * columns * wide * len(uses)
        most = min(MOST_PARTS, choice.n_batches)
        self.most_parts = int(np.clip(PART_NUMBERS // numbers, 1, most))
        self.fit = [self._new_sums(groups, columns) for _ in uses]
        self.held = [self._new_sums(groups, columns) for _ in uses]
        self.images: dict[ImageKey, Accumulator] = {}
        self.ways: dict[tuple[int, tuple[int, ...]], WholeSums | None] = {}

    def _new_sums(self, groups: int, columns: int) -> ObservationSums:
        return InputSums(groups, columns) if self.weight is None else TargetSums(self.weight)

    def add(
        self,
        index: int,
        input_of: InputSource,
        target_of: TargetSource = no_target,
        *,
        sums_of: SumsSource = no_sums,
    ) -> None:
        """Add batch `index`.

        Parameters
        ----------
        input_of
            The inputs.
        target_of
            What the outputs aim at.
        sums_of
            Sums, without a target, that are not to be computed from the inputs again.

        Raises
        ------
        ModelError
            When the two networks' activations have different sizes.
        """
        is_held = is_held_out(index, self.choice.held_every)
        for place, use in enumerate(self.shared.uses):
            # what overflows here is found, and named, in result()
            with np.errstate(over="ignore", invalid="ignore"):
                if (sums := sums_of(use)) is not None:
                    self._sums(place, is_held).add_moments(sums)
                    continue
                x, target = input_of(use), target_of(use)
                if x.size == 0:
                    continue
                if use.scope and target is not None and target.count == 0:
                    target = None  # a branch that the dense network did not take has no other
                self._pick(place, is_held, index, x, target).add(x, target)

    def _sums(self, place: int, is_held: bool) -> ObservationSums:
        return (self.held if is_held else self.fit)[place]

    def _pick(
        self, place: int, is_held: bool, index: int, x: Array, target: TargetObservations | None
    ) -> Accumulator:
        """Return what adds up a batch fastest: whole images, or the observations that are chosen.

        With a target, whole images are added up only pixel by pixel, where it is known at all
        outputs.
        """
        use = self.shared.uses[place]
        way = self._way(place, use, x)
        if target is not None and not (way is PixelSums and _has_all(use, x, target)):
            way = None
        if way is None or use.unfold is None:
            return _ChosenObservations(self.choice, use, index, self._sums(place, is_held))
        key = way, target is not None, place, is_held, x.shape[1:]
        if key not in self.images:
            self._make_room()
            image = use.unfold, use.groups, x.shape[2:], x.shape[1]
            self.images[key] = way(*image) if target is None else PixelTargets(*image, self.rows)
        return self.images[key]

    def _way(self, place: int, use: Use, x: Array) -> WholeSums | None:
        """Return :meth:`ObservationChoice.whole_sums` of the first batch of images of this size.

        A last batch of few samples would begin sums of its own.
        """
        key = place, x.shape[1:]
        if key not in self.ways:
            self.ways[key] = self.choice.whole_sums(use, x.shape)
        return self.ways[key]

    def _make_room(self) -> None:
        """Add up the sums of whole images where those of many sizes are kept."""
        sides = 2 * len(self.shared.uses)  # fitted and held out
        if len(self.images) >= KEPT_SIZES * sides:
            self._add_images()

    def _add_images(self) -> None:
        """Add the sums of whole images to those of observations."""
        for (_, _, place, is_held, _), images in self.images.items():
            self._sums(place, is_held).add_moments(images.result())
        self.images.clear()

    def merge(self, other: Collector) -> None:
        """Add what another collector of the same shared input read; it is not used any more."""
        pairs = zip((*self.fit, *self.held), (*other.fit, *other.held), strict=True)
        with np.errstate(over="ignore", invalid="ignore"):
            for collector in (self, other):
                collector.settle()
            for mine, theirs in pairs:
                mine.merge(theirs)

    def settle(self) -> None:
        """Finish the sums, which :meth:`merge` leaves less to do in one thread."""
        with np.errstate(over="ignore", invalid="ignore"):  # is found, and named, in result()
            self._add_images()
            for sums in (*self.fit, *self.held):
                sums.settle()

    def result(self) -> Calibration:
        """Return the moments.

        Raises
        ------
        NotFiniteError
            When a tap held NaN or infinity.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            self._add_images()
            fit, held = (tuple(one.result() for one in side) for side in (self.fit, self.held))
        for use, *pair in zip(self.shared.uses, fit, held, strict=True):
            if not all(_is_finite(moments) for moments in pair):
                raise NotFiniteError(
                    f"the input of {use.node!r} becomes NaN or infinite, or too large to square, "
                    "on the calibration data; check the data's scale, or exclude the layer"
                )
        return Calibration(fit, held)


class _ChosenObservations:
    """One batch of which the chosen observations are laid out and added, piece by piece."""

    def __init__(
        self, choice: ObservationChoice, use: Use, index: int, sums: ObservationSums
    ) -> None:
        self.choice, self.use, self.index, self.sums = choice, use, index, sums

    def add(self, observations: Array, target: TargetObservations | None = None) -> None:
        """Add the observations that are chosen of an activation, and what they aim at."""
        x, use, done = observations, self.use, 0
        sizes = use.output_sizes(x.shape)
        for piece, chosen in self.choice.pieces(use, len(x), sizes, self.index):
            some = use.observations(x[piece], chosen)
            rows = slice(done, done + some.shape[1])
            done = rows.stop
            if target is not None and done > target.count:
                break
            part = None if target is None else target.part(rows)
            self.sums.add(some, part, overwrite=not np.may_share_memory(some, x))
        if target is not None and target.count != done:
            raise ModelError(
                f"the input of {use.node!r} has another size in the pruned network than in the "
                "dense one; use --independent, which reads the dense one only, or exclude the layer"
            )

    def result(self) -> Moments:
        """Return the moments of this batch and of all before it."""
        return self.sums.result()


def _has_all(use: Use, x: Array, target: TargetObservations) -> bool:
    """Whether a target is known at every output of a convolution."""
    return target.is_output and target.count == len(x) * math.prod(use.output_sizes(x.shape))


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
