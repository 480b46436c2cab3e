"""Holds what is known of one value of the graph, whatever the data: some of its numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class SteadyValue:
    """Some numbers of a tensor that are the same for any data.

    Parameters
    ----------
    values
        Of the tensor's rank; an axis along which all is alike has size 1. 0 where not known.
    known
        Which are known; of the same shape.
    """

    values: Array
    known: BoolArray

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of both."""
        return self.values.shape

    def spread(self, shape: tuple[int, ...]) -> SteadyValue:
        """Return the same with the axes of a shape that this one broadcasts to."""
        both = (np.broadcast_to(each, shape) for each in (self.values, self.known))
        values, known = map(np.ascontiguousarray, both)
        return SteadyValue(values, known)

    def is_alike(self, axes: range) -> bool:
        """Whether all is alike along some axes."""
        return all(self.shape[axis] == 1 for axis in axes)

    def known_or_nan(self) -> FloatArray:
        """Return the numbers, NaN where they are not known."""
        return np.where(self.known, self.values, np.nan).astype(np.float64)


def steady(values: Array, known: BoolArray) -> SteadyValue | None:
    """Return what is known, with axes along which all is alike made 1; None where nothing is."""
    if not known.any():
        return None
    values, known = np.broadcast_arrays(values, known)
    values = np.where(known, values, np.zeros((), values.dtype))
    for axis, size in enumerate(values.shape):
        if size > 1:
            first = [np.take(each, [0], axis=axis) for each in (values, known)]
            if np.array_equal(known, np.broadcast_to(first[1], known.shape)) and np.array_equal(
                values, np.broadcast_to(first[0], values.shape)
            ):
                values, known = first
    return SteadyValue(values, known)


def whole(values: Array) -> SteadyValue:
    """Return a constant, of which all is known."""
    return SteadyValue(values, np.ones(values.shape, bool))
