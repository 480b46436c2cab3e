"""Two outputs side by side, sample by sample: what is finite, how alike, which choice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, BoolArray, FloatArray
from onnx_lobs.graph.model import is_float

NO_CHOICE = -1  # where a score is NaN


@dataclass(frozen=True, eq=False)
class ComparedOutput:
    """The same output of two models in float64, with 0 wherever one is NaN or infinite.

    ``nonfinite`` counts such values of each; ``clash`` is True where one model has such a
    value and the other has none, or another.
    """

    before: FloatArray
    after: FloatArray
    nonfinite: tuple[int, int]
    clash: BoolArray


def pair_up(before: Array, after: Array) -> ComparedOutput:
    """Return two floating arrays of one shape as a ComparedOutput; they are not modified."""
    a, b = before.astype(np.float64), after.astype(np.float64)
    wild_a, wild_b = ~np.isfinite(a), ~np.isfinite(b)
    wild = wild_a | wild_b
    clash = wild & (a != b) & ~(np.isnan(a) & np.isnan(b))
    a[wild] = b[wild] = 0
    return ComparedOutput(a, b, (int(wild_a.sum()), int(wild_b.sum())), clash)


def by_sample(values: Array, size: int) -> Array:
    """Return an output of `size` samples as (samples, values of each).

    An output whose first axis is no multiple of the number of samples, as where time stands
    before the batch, is taken as one sample.
    """
    if not values.size:
        return values.reshape(0, 1)
    return values.reshape(n_outcomes(values, size), -1)


def n_outcomes(values: Array, size: int) -> int:
    """Return for how many of `size` samples an output speaks: all, one, or if it is empty all."""
    divides = values.ndim > 0 and len(values) % size == 0
    return size if divides or not values.size else 1


def cosines(pair: ComparedOutput, size: int) -> FloatArray:
    """Return the cosine similarity of each sample: 1 for two zero vectors, 0 for one.

    A sample with a clash of NaN or infinity has 0.
    """
    a, b = by_sample(pair.before, size), by_sample(pair.after, size)
    norms = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    scale = norms[0] * norms[1]
    alike = np.where((norms[0] == 0) & (norms[1] == 0), 1.0, 0.0)
    np.divide((a * b).sum(axis=1), scale, out=alike, where=scale > 0)
    alike[by_sample(pair.clash, size).any(axis=1)] = 0
    return np.clip(alike, -1.0, 1.0)


def class_scores(value: object) -> Array | None:
    """Return scores (samples, classes) if `value` holds such of at least two classes.

    Axes of size 1 may follow.
    """
    if not isinstance(value, np.ndarray) or not is_float(value.dtype) or value.ndim < 2:
        return None
    if value.shape[1] < 2 or math.prod(value.shape[2:]) != 1:
        return None
    scores: Array = value.reshape(value.shape[:2])
    return scores


def choices(value: object) -> Array | None:
    """Return what an output chooses at each position, or None if it chooses nothing.

    Integers and booleans are choices themselves. FloatArray of rank 2 and 3 choose along the last
    axis; of higher rank, and where all axes from the third on are 1, along axis 1. A single
    class is no choice. Where a score is NaN the choice is -1.
    """
    if not isinstance(value, np.ndarray):
        return None
    if value.dtype.kind in "iub":
        return value
    if not is_float(value.dtype) or value.ndim < 2:
        return None
    scores = class_scores(value)
    scores = value if scores is None else scores
    axis = scores.ndim - 1 if scores.ndim < 4 else 1
    if scores.shape[axis] < 2:
        return None
    chosen: Array = scores.astype(np.float64).argmax(axis)
    chosen[np.isnan(scores).any(axis)] = NO_CHOICE
    return chosen


def agreements(before: object, after: object, size: int) -> FloatArray | None:
    """Return each sample's share of positions at which two outputs choose the same.

    None: the first chooses nothing. Where the shapes differ no position agrees.
    """
    one, other = choices(before), choices(after)
    if one is None:
        return None
    if other is None or one.shape != other.shape:
        return np.zeros(n_outcomes(one, size))
    shares: FloatArray = by_sample(one == other, size).mean(axis=1)
    return shares
