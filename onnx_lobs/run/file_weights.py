"""Counts the weights of a whole file: taken, skipped and why, quantised, and tables beside."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import iter_places
from onnx_lobs.layers.held_weights import tables
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.layers.refusal import RefusalKind
from onnx_lobs.layers.stored_weight import StoredWeight
from onnx_lobs.report.record import FileWeights


def count_weights(
    model: Model, layers: Sequence[Layer], skips: Sequence[Skip], *, zeros: bool = False
) -> FileWeights:
    """Return how many weights a model holds, each constant counted once.

    Parameters
    ----------
    model
        Not modified.
    layers, skips
        What :func:`onnx_lobs.layers.find.find_layers` found in it.
    zeros
        Whether the zeros of quantised weights are counted, for which their values are read.
    """
    found = {layer.stored.key: layer.stored for layer in layers}
    taken = sum(weight.size for weight in found.values())
    skipped: Counter[str] = Counter()
    for skip in skips:
        for weight in skip.held:
            if weight.key not in found:
                found[weight.key] = weight
                skipped[skip.refusal.kind.value] += weight.size
    beside = {w.key: w for w in tables(iter_places(model)) if w.key not in found}
    quantised = [weight for weight in found.values() if weight.is_quantised]
    return FileWeights(
        weights=taken + skipped.total(),
        taken=taken,
        skipped=dict(skipped.most_common()),
        tables=sum(weight.size for weight in beside.values()),
        quantised=sum(weight.size for weight in quantised),
        quantised_zeros=count_zeros(model, quantised) if zeros else None,
        products=sum(skip.refusal.kind is RefusalKind.NO_WEIGHT for skip in skips),
    )


def count_zeros(model: Model, weights: Iterable[StoredWeight]) -> int:
    """Return how many quantised weights are equal to the whole number that stands for 0.

    Where several share a byte none is counted. Cost: every value is read once.
    """
    total = 0
    for weight in weights:
        tensor = _tensor(model, weight.key) if weight.is_readable else None
        if tensor is not None:
            values = model.value(tensor)
            total += int((values == _zero_point(model, weight, values)).sum())
    return total


def _zero_point(model: Model, weight: StoredWeight, values: Array) -> Array:
    """Return what stands for 0, in a shape that goes with the values."""
    tensor = None if weight.zero_point is None else _tensor(model, weight.zero_point)
    if tensor is None:
        return np.zeros((), values.dtype)
    origin = model.value(tensor)
    if origin.ndim == values.ndim and origin.size > 1:  # blocks along the axis
        axis = weight.axis % values.ndim
        times = math.ceil(values.shape[axis] / origin.shape[axis])
        return origin.repeat(times, axis).take(range(values.shape[axis]), axis)
    if origin.size == 1:
        return origin.reshape(())
    shape = [1] * values.ndim
    shape[weight.axis % values.ndim] = origin.size
    return origin.reshape(shape)


def _tensor(model: Model, key: tuple[int, str]) -> onnx.TensorProto | None:
    scope, name = key
    return model.constant(model.scopes[scope], name)
