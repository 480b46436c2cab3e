"""Differentiates poolings: of windows, and of whole images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np

from onnx_lobs.arrays import FloatArray, IntArray
from onnx_lobs.graph.derivatives.reductions import shared_extreme
from onnx_lobs.graph.derivatives.step import BackwardStep, Found, Rule
from onnx_lobs.graph.derivatives.windows import WindowGeometry, laid_back, window_geometry

LOWEST = -3.0e38  # stands for a place outside of the image; float16 has its own


def average_pool(step: BackwardStep) -> Found:
    """Differentiate AveragePool: gradients over the number of pixels, laid back on the windows."""
    geometry = window_geometry(step, tuple(step.attribute("kernel_shape")))
    counts = _counts(geometry, step)
    flat = (math.prod(step.shape()[:2]), 1)
    over = step.op("Div", step.gradient, step.constant(counts))
    images = step.reshaped(over, (*flat, *geometry.outputs))
    ones = step.constant(np.ones((1, 1, *geometry.kernel)))
    yield 0, step.reshaped(laid_back(step, images, ones, geometry), step.shape())


def _counts(geometry: WindowGeometry, step: BackwardStep) -> FloatArray:
    """Return how many pixels each window counts: those inside, or inside the padding too."""
    n = len(geometry.kernel)
    pads = step.attribute("pads") or (0,) * 2 * n
    behind = tuple(pads[n:]) if step.attribute("auto_pad", "NOTSET") == "NOTSET" else geometry.end
    counts = np.ones((1,) * n)
    for axis in range(n):
        places = geometry.reads(axis)
        low, high = 0, geometry.inputs[axis]
        if step.attribute("count_include_pad", 0):
            low, high = low - geometry.begin[axis], high + max(behind[axis], 0)
        inside = ((places >= low) & (places < high)).sum(axis=1)
        counts = counts * inside.reshape([-1 if i == axis else 1 for i in range(n)])
    return counts


def max_pool(step: BackwardStep) -> Found:
    """Differentiate MaxPool: the first of equal pixels of a window gets its gradient.

    The pixels of every window are gathered again, which costs as many values as the kernel has
    places; the largest place is found, and gradients are laid back on the windows.
    """
    geometry = window_geometry(step, tuple(step.attribute("kernel_shape")))
    places, n = _places(geometry), math.prod(geometry.kernel)
    images, outside = math.prod(step.shape()[:2]), math.prod(geometry.inputs)
    flat = step.reshaped(step.x(), (images, outside))
    lowest = max(LOWEST, float(np.finfo(step.dtype).min))
    padded = step.op("Concat", flat, step.constant(np.full((images, 1), lowest)), axis=1)
    windows = step.op("Gather", padded, step.writer.constant(places), axis=1)
    best = step.op("ArgMax", windows, axis=1, keepdims=1)
    is_best = step.op("Equal", best, step.writer.constant(np.arange(n).reshape(1, n, 1)))
    g = step.reshaped(step.gradient, (images, 1, places.shape[1]))
    chosen = step.op("Mul", step.as_numbers(is_best), g)
    chosen = step.reshaped(chosen, (images, n, *geometry.outputs))
    onto = step.constant(np.eye(n).reshape(n, 1, *geometry.kernel))
    yield 0, step.reshaped(laid_back(step, chosen, onto, geometry), step.shape())


def _places(geometry: WindowGeometry) -> IntArray:
    """Return the flat place (kernel size, outputs) of every pixel read; outside: one past all."""
    n, total = len(geometry.kernel), math.prod(geometry.inputs)
    rows = []
    reads = [geometry.reads(axis) for axis in range(n)]
    for position in itertools.product(*map(range, geometry.kernel)):
        at = np.ix_(*(reads[axis][:, k] for axis, k in enumerate(position)))
        flat, is_inside = np.zeros((1,) * n, np.int64), np.ones((1,) * n, bool)
        for axis, size in enumerate(geometry.inputs):
            flat = flat * size + at[axis]
            is_inside = is_inside & (at[axis] >= 0) & (at[axis] < size)
        rows.append(np.where(is_inside, flat, total).reshape(-1))
    return np.stack(rows)


def global_average_pool(step: BackwardStep) -> Found:
    """Differentiate GlobalAveragePool: every pixel gets its part."""
    part = step.scaled(step.gradient, 1 / math.prod(step.shape()[2:]))
    yield 0, step.op("Expand", part, step.writer.integers(*step.shape()))


def global_max_pool(step: BackwardStep) -> Found:
    """Differentiate GlobalMaxPool; equal pixels share the gradient."""
    axes = range(2, len(step.shape()))
    yield 0, shared_extreme(step, step.gradient, step.y(), tuple(axes))


POOLING: Mapping[str, Rule] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
}
