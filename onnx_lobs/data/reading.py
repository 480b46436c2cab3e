"""Reads an array as samples of an input: which axis counts them, or whether it is given whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batch_axis import BatchAxis
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.errors import DataError

Shape = Sequence[int | str | None]
MOST_AXES = 31  # of an array that gets one more: NumPy before 2 ends at 32


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read an array as samples of an input.

    Parameters
    ----------
    stored
        The array, perhaps with its axes in another order; a view.
    axis
        The axis of `stored` that counts samples; None: every batch gets it whole.
    is_single
        Whether that axis is none of the input's, which takes one sample a call.
    is_moved
        Whether the samples lay along the first axis, and the model has them along another.
    """

    stored: Array
    axis: int | None
    is_single: bool = False
    is_moved: bool = False

    @property
    def count(self) -> int | None:
        """Number of samples; None where it is given whole."""
        return None if self.axis is None else self.stored.shape[self.axis]


def read_batch(array: Array, spec: InputSpec, at: BatchAxis) -> Reading | None:
    """Return an array as a batch that the model takes as it is, or None.

    An array that lacks the batch axis only is one sample.
    """
    if spec.shape is None:
        return Reading(array, 0 if array.ndim else None)
    axis = at.axis
    for candidate in (array, _with_axis(array, axis or 0)):
        if matches(candidate.shape, spec.shape):
            return Reading(candidate, axis)
    return None


def stack_readings(array: Array, spec: InputSpec, at: BatchAxis) -> list[Reading]:
    """Return all ways to read an array as a stack of samples, the likeliest first."""
    if spec.shape is None:
        return [Reading(array, 0 if array.ndim else None)]
    shape, axis = spec.shape, at.axis
    found = []
    if axis is not None:
        if axis == 0 and array.ndim == len(shape) + 1 and array.shape[1] == 1:
            array = array[:, 0]  # samples that had a batch axis of their own when they were stacked
        found += _cut_readings(array, shape, axis)
        if axis and at.is_guess and matches(array.shape, _freed(shape, 0)):
            found.append(Reading(array, 0))
    if axis is None or at.is_guess:
        found += [
            Reading(candidate, None)
            for candidate in (array, _with_axis(array, 0), _as_scalar(array))
            if matches(candidate.shape, shape)
        ]
    if array.ndim == len(shape) + 1 and matches(array.shape[1:], shape):
        found.append(Reading(array, 0, is_single=True))
    return found


def _cut_readings(array: Array, shape: Shape, axis: int) -> list[Reading]:
    """Return the ways to read an array whose samples lie along an axis of the input."""
    wanted = _freed(shape, axis)
    found = []
    if matches(array.shape, wanted):
        found.append(Reading(array, axis))
    if matches(_with_axis(array, axis).shape, wanted):
        found.append(Reading(_with_axis(array, axis), axis))
    if axis and array.ndim == len(shape):
        moved = np.moveaxis(array, 0, axis)
        if matches(moved.shape, wanted):
            found.append(Reading(moved, axis, is_moved=True))
    return found


def choose_readings(
    readings: Sequence[Sequence[Reading]],
    inputs: Sequence[InputSpec],
    axes: Sequence[BatchAxis],
    where: str,
) -> tuple[list[Reading], int]:
    """Return one reading of each input, so that all have one number of samples, and that number.

    Raises
    ------
    DataError
        When there is no such choice.
    """
    first = _deciding(readings, axes)
    if first is None:
        whole = [next(way for way in ways if way.axis is None) for ways in readings]
        return whole, 1
    n = readings[first][0].count
    assert n is not None
    if n == 0:
        raise DataError(f"{where}: {inputs[first].name!r} holds no samples; give at least one")
    chosen = []
    for spec, ways in zip(inputs, readings, strict=True):
        fitting = [way for way in ways if way.axis is None or way.count == n]
        if not fitting:
            raise DataError(
                f"{where}: {spec.name!r} has {ways[0].count} samples and "
                f"{inputs[first].name!r} has {n}; give the same number, or data that is cut into "
                "batches already (a folder, an iterable)"
            )
        chosen.append(fitting[0])
    return chosen, n


def _deciding(readings: Sequence[Sequence[Reading]], axes: Sequence[BatchAxis]) -> int | None:
    """Return the input that says how many samples there are; None: all are given whole."""
    order = sorted(range(len(readings)), key=lambda i: axes[i].is_guess)
    for i in order:
        if all(way.axis is not None for way in readings[i]):
            return i
    counts = {i: readings[i][0].count for i in order}
    known = [i for i in order if counts[i] is not None]
    return known[0] if known and len({counts[i] for i in known}) == 1 else None


def matches(shape: tuple[int, ...], wanted: Shape) -> bool:
    """Whether a shape has the sizes that are fixed."""
    return len(shape) == len(wanted) and all(
        not isinstance(want, int) or want == have for want, have in zip(wanted, shape, strict=True)
    )


def _freed(shape: Shape, axis: int) -> Shape:
    """Return a shape with one axis open."""
    return [None if place == axis else size for place, size in enumerate(shape)]


def _with_axis(array: Array, axis: int) -> Array:
    """Return an array with an axis of size 1 more, if it can have one there."""
    if array.ndim >= MOST_AXES:
        return array
    return np.expand_dims(array, min(axis, array.ndim))


def _as_scalar(array: Array) -> Array:
    """Return an array of one value without axes."""
    return array.reshape(()) if array.size == 1 else array
