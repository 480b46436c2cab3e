"""Differentiates the choice of parts: Slice, Split, Concat, Gather."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.graph.derivatives.step import BackwardStep, Found, NoDerivativeError, Rule


def slice_(step: BackwardStep) -> Found:
    """Differentiate Slice: gradients stand where values were taken, zeros elsewhere."""
    starts, ends = step.fixed(1).reshape(-1), step.fixed(2).reshape(-1)
    rank, gradient = len(step.shape()), step.gradient
    axes = step.fixed(3).reshape(-1) % rank if step.has(3) else np.arange(len(starts))
    steps = step.fixed(4).reshape(-1) if step.has(4) else np.ones(len(starts), int)
    for axis, start, end, by in zip(axes, starts, ends, steps, strict=True):
        size = step.shape()[axis]
        # ONNX's ends are Python's, but for an end before the first element, which no slice has
        stop = None if by < 0 and end < -size else int(end)
        gradient = put_back(step, gradient, int(axis), np.arange(size)[int(start) : stop : int(by)])
    yield 0, gradient


def gather(step: BackwardStep) -> Found:
    """Differentiate Gather by indices that are constants."""
    if step.wants(1):
        raise NoDerivativeError("indices have no gradient")
    axis = step.attribute("axis", 0) % len(step.shape())
    shape = list(step.shape())
    places = step.fixed(1).astype(np.int64) % shape[axis]
    shape[axis] = places.size
    gradient = step.reshaped(step.gradient, tuple(shape))
    yield 0, put_back(step, gradient, axis, places.reshape(-1))


def put_back(step: BackwardStep, gradient: str, axis: int, places: IntArray) -> str:
    """Put gradients at their places along an axis of the input; what comes twice is added up."""
    size, rank = step.shape()[axis], len(step.shape())
    if np.array_equal(places, np.arange(size)):
        return gradient
    if len(places) and np.array_equal(places, np.arange(places[0], places[0] + len(places))):
        pads = np.zeros((2, rank), np.int64)
        pads[:, axis] = places[0], size - places[-1] - 1
        return step.op("Pad", gradient, step.writer.integers(*pads.reshape(-1).tolist()))
    onto = np.zeros((len(places), size))
    onto[np.arange(len(places)), places] = 1
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    last = step.op("MatMul", step.op("Transpose", gradient, perm=order), step.constant(onto))
    return step.op("Transpose", last, perm=order)


def split(step: BackwardStep) -> Found:
    """Differentiate Split: gradients side by side, zeros for outputs that have none."""
    axis = step.attribute("axis", 0)
    parts = [
        step.constant(np.zeros(step.out_shape(k))) if g is None else g
        for k, g in enumerate(step.gradients)
    ]
    yield 0, step.op("Concat", *parts, axis=axis)


def concat(step: BackwardStep) -> Found:
    """Differentiate Concat: every input gets its part."""
    axis = step.attribute("axis") % len(step.out_shape())
    integers = step.writer.integers
    start = 0
    for position in range(len(step.node.input)):
        stop = start + step.shape(position)[axis]
        if step.wants(position):
            yield (
                position,
                step.op("Slice", step.gradient, integers(start), integers(stop), integers(axis)),
            )
        start = stop


SELECTION: Mapping[str, Rule] = {
    "Concat": concat,
    "Gather": gather,
    "Slice": slice_,
    "Split": split,
}
